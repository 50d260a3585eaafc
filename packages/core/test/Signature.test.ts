import { describe, expect, test } from "bun:test"
import { createHash } from "node:crypto"
import * as ed25519 from "@noble/ed25519"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Signature from "../src/Signature.ts"
import * as SignedBytes from "../src/SignedBytes.ts"
import * as Identity from "../src/Identity.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"
import { absent, read, unhex } from "./vectors.ts"

const schemes = [Signature.native, Signature.portable]
const { Point } = ed25519
const order = Point.CURVE().n
const prime = Point.CURVE().p

const number = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`)
const encode = (value: bigint): Uint8Array => unhex(value.toString(16).padStart(64, "0")).reverse()
const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))
const challenge = (r: Uint8Array, a: Uint8Array, message: Uint8Array): bigint =>
  number(
    new Uint8Array(
      createHash("sha512")
        .update(join(r, a, message))
        .digest()
    )
  ) % order

/** What both schemes say; they must say the same. */
const verdict = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
  const [native, portable] = schemes.map((scheme) => scheme.verify(publicKey, message, signature))
  expect({ portable }).toEqual({ portable: native })
  return native!
}

describe("Signature", () => {
  test("is native on these runtimes", () => {
    expect(Signature.best.name).toBe("native")
  })

  skipTest(absent("rfc8032_ed25519"))("gives the keys and signatures of RFC 8032, 7.1", () => {
    const vectors = read<Array<Record<"secretKey" | "publicKey" | "message" | "signature", string>>>("rfc8032_ed25519")
    expect(vectors.length).toBe(5)
    for (const vector of vectors) {
      const [seed, publicKey, message] = [unhex(vector.secretKey), unhex(vector.publicKey), unhex(vector.message)]
      for (const scheme of schemes) {
        expect(Buffer.from(scheme.publicKey(seed)).toString("hex")).toBe(vector.publicKey)
        expect(Buffer.from(scheme.sign(seed, message)).toString("hex")).toBe(vector.signature)
        expect(Buffer.from(scheme.signer(seed)(message)).toString("hex")).toBe(vector.signature)
      }
      expect(verdict(publicKey, message, unhex(vector.signature))).toBe(true)
    }
  })

  skipTest(absent("wycheproof_ed25519"))("agrees with Wycheproof, natively and portably", () => {
    interface Suite {
      readonly numberOfTests: number
      readonly testGroups: ReadonlyArray<{
        readonly publicKey: { readonly pk: string }
        readonly tests: ReadonlyArray<{ tcId: number; comment: string; msg: string; sig: string; result: string }>
      }>
    }
    const suite = read<Suite>("wycheproof_ed25519")
    let seen = 0
    for (const { publicKey, tests } of suite.testGroups) {
      for (const { comment, msg, result, sig, tcId } of tests) {
        const accepted = verdict(unhex(publicKey.pk), unhex(msg), unhex(sig))
        expect({ tcId, comment, accepted }).toEqual({ tcId, comment, accepted: result === "valid" })
        seen++
      }
    }
    expect(seen).toBe(suite.numberOfTests)
  })

  test("signs alike and verifies alike, whole and damaged", () => {
    const random = seeded(2)
    forRounds(random, 60, () => {
      const seed = random.bytes(32)
      const message = random.bytes(random.int(200))
      const publicKey = Signature.native.publicKey(seed)
      const signature = Signature.native.sign(seed, message)
      expect(Signature.portable.publicKey(seed)).toEqual(publicKey)
      expect(Signature.portable.sign(seed, message)).toEqual(signature)
      expect(verdict(publicKey, message, signature)).toBe(true)
      for (const original of [publicKey, signature]) {
        const damaged = Uint8Array.from(original)
        const at = random.int(damaged.length)
        damaged[at] = damaged[at]! ^ (1 << random.int(8))
        expect(
          original === publicKey ? verdict(damaged, message, signature) : verdict(publicKey, message, damaged)
        ).toBe(false)
      }
      expect(verdict(publicKey, join(message, Uint8Array.of(0)), signature)).toBe(false)
    })
  })

  test("refuses wrong lengths, an S beyond the order, and points that are not canonical", () => {
    const seed = new Uint8Array(32).fill(3)
    const message = new Uint8Array(8)
    const publicKey = Signature.native.publicKey(seed)
    const signature = Signature.native.sign(seed, message)
    expect(verdict(publicKey, message, signature.subarray(0, 63))).toBe(false)
    expect(verdict(publicKey, message, join(signature, Uint8Array.of(0)))).toBe(false)
    expect(verdict(publicKey.subarray(0, 31), message, signature)).toBe(false)
    expect(verdict(new Uint8Array(0), message, new Uint8Array(0))).toBe(false)
    const s = number(signature.subarray(32))
    expect(verdict(publicKey, message, join(signature.subarray(0, 32), encode(s + order)))).toBe(false)
    expect(verdict(encode(prime + 3n), message, signature)).toBe(false)
    expect(verdict(publicKey, message, join(encode(prime + 3n), signature.subarray(32)))).toBe(false)
    for (const scheme of schemes) {
      expect(() => scheme.publicKey(new Uint8Array(31))).toThrow("has 31")
      expect(() => scheme.signer(new Uint8Array(33))).toThrow("has 33")
    }
  })

  /** A point of order 8, from which all eight of small order come. */
  const torsion = Point.fromBytes(unhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), false)
  const smallOrderPoints = () => {
    const points: Array<Uint8Array> = [Point.ZERO.toBytes()]
    for (let k = 1n; k < 8n; k++) points.push(torsion.multiply(k, false).toBytes())
    return points
  }

  test("refuses all points of small order as key and as R, in either sign", () => {
    const points = smallOrderPoints()
    expect(new Set(points.map((point) => Buffer.from(point).toString("hex"))).size).toBe(8)
    const seed = new Uint8Array(32).fill(4)
    const publicKey = Signature.native.publicKey(seed)
    for (const point of points) {
      const flipped = Uint8Array.from(point)
      flipped[31] = flipped[31]! ^ 0x80
      for (const small of [point, flipped]) {
        // With A of small order, S = 0 and R = -k·A would hold for one message in at most eight.
        for (let m = 0; m < 32; m++) {
          const message = Uint8Array.of(m)
          for (const r of points) expect(verdict(small, message, join(r, new Uint8Array(32)))).toBe(false)
        }
        expect(verdict(publicKey, new Uint8Array(1), join(small, encode(1n)))).toBe(false)
        // R of small order that satisfies the equation: S·B = R + k·A with R = 0, so S = k·a.
        const message = new Uint8Array(2)
        const a = ed25519.utils.getExtendedPublicKey(seed).scalar
        const r = Point.ZERO.toBytes()
        const s = (challenge(r, publicKey, message) * a) % order
        expect(verdict(publicKey, message, join(r, encode(s)))).toBe(false)
      }
    }
  })

  test("refuses forgeries under keys of small order, also in encodings that are not canonical", () => {
    const withSign = (bytes: Uint8Array): Uint8Array => {
      const signed = Uint8Array.from(bytes)
      signed[31] = signed[31]! | 0x80
      return signed
    }
    // Under such a key A, S·B = R + k·A holds for R = S·B whenever k is a multiple of A's order: no secret is needed.
    const canonical = smallOrderPoints()
    const keys = [...canonical, encode(prime), encode(prime + 1n), encode(1n)].flatMap((key) => [key, withSign(key)])
    const r = Point.BASE.multiply(42n, false).toBytes()
    const signature = join(r, encode(42n))
    let forged = 0
    for (const key of keys) {
      for (let m = 0; m < 64; m++) {
        const message = Uint8Array.of(m)
        if (challenge(r, key, message) % 8n === 0n) forged++
        expect(verdict(key, message, signature)).toBe(false)
      }
    }
    expect(forged).toBeGreaterThan(keys.length)
  })

  test("checks the equation without the cofactor, where the library's own verify would accept", () => {
    const seed = new Uint8Array(32).fill(5)
    const { point, scalar } = ed25519.utils.getExtendedPublicKey(seed)
    const publicKey = point.add(torsion).toBytes()
    const r = Point.BASE.multiply(123_456_789n, false).toBytes()
    let split = 0
    for (let m = 0; m < 32; m++) {
      const message = Uint8Array.of(m)
      const k = challenge(r, publicKey, message)
      const signature = join(r, encode((123_456_789n + k * scalar) % order))
      const accepted = verdict(publicKey, message, signature)
      expect(accepted).toBe(k % 8n === 0n)
      if (!accepted && ed25519.verify(signature, message, publicKey, { zip215: false })) split++
    }
    expect(split).toBeGreaterThan(0)
  })
})

describe("verifying apart", () => {
  const apart = (scheme: Signature.SignatureScheme, key: Uint8Array, message: Uint8Array, signature: Uint8Array) => {
    const heard: Array<boolean> = []
    return new Promise<ReadonlyArray<boolean>>((resolve) =>
      scheme.verifyApart(key, message, signature, (holds) => {
        heard.push(holds)
        // Behind whatever it may still say.
        setImmediate(() => resolve(heard))
      })
    )
  }

  test("says once what verifying says, of whatever bytes", async () => {
    const random = seeded(11)
    const seed = random.bytes(32)
    const key = Signature.native.publicKey(seed)
    const message = random.bytes(200)
    const good = Signature.native.sign(seed, message)
    const tooLarge = Uint8Array.from(good)
    tooLarge.set(encode(order), 32)
    const cases: Array<readonly [Uint8Array, Uint8Array, Uint8Array]> = [
      [key, message, good],
      [key, message.subarray(1), good],
      [key, message, good.subarray(1)],
      [key, message, tooLarge],
      [key.subarray(1), message, good],
      [new Uint8Array(32), message, good],
      [encode(prime), message, good],
      // A forgery under the neutral element, which the equation alone takes for good.
      [encode(1n), message, join(Point.BASE.multiply(5n, false).toBytes(), encode(5n))],
      // No point of the curve: some runtimes do not import it.
      [encode(2n), message, good]
    ]
    for (let i = 0; i < 64; i++) {
      const other = Uint8Array.from(i % 2 === 0 ? good : key)
      other[random.int(other.length)]! ^= 1 << random.int(8)
      cases.push(i % 2 === 0 ? [key, message, other] : [other, message, good])
    }
    for (const scheme of schemes) {
      const said = await Promise.all(cases.map((each) => apart(scheme, ...each)))
      expect(said).toEqual(cases.map((each) => [scheme.verify(...each)]))
      expect(said.filter(([holds]) => holds)).toEqual([[true]])
    }
  })
})

describe("SignedBytes", () => {
  test("a signature under one name does not count under another", () => {
    const identity = Identity.fromSeed(new Uint8Array(32).fill(6))
    const body = new TextEncoder().encode("body")
    const signature = SignedBytes.sign(identity, "record", body)
    expect(Buffer.from(SignedBytes.make("record", body)).toString()).toBe("parley/record/1\nbody")
    expect(SignedBytes.verify(identity.nodeId, "record", body, signature)).toBe(true)
    expect(SignedBytes.verify(identity.nodeId, "receipt", body, signature)).toBe(false)
    expect(SignedBytes.verify(Identity.generate().nodeId, "record", body, signature)).toBe(false)
  })
})
