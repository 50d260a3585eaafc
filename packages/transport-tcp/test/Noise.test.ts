/**
 * Verifies: the Noise vectors of XX and XXpsk3 with SHA-256, and the primitives under them against Wycheproof.
 * The vectors lie outside the project; without them these tests say so and skip.
 */
import { describe, expect, test } from "bun:test"
import { existsSync, readFileSync } from "node:fs"
import * as CipherSuite from "@parley/transport-tcp/CipherSuite"
import { CipherState, rekeyInterval, tagLength } from "@parley/transport-tcp/CipherState"
import type { Cipher } from "@parley/transport-tcp/CipherState"
import * as Noise from "@parley/transport-tcp/Noise"
import { NoiseError } from "@parley/transport-tcp/NoiseError"
import * as X25519 from "@parley/transport-tcp/X25519"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Aead from "../src/internal/Aead.ts"
import { hkdf } from "../src/internal/Hkdf.ts"

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"))
const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

const vectorUrl = (name: string): URL => new URL(`../../../../shared/vectors/${name}.json`, import.meta.url)

/** Declares a test over a vector file, or a skipped one that names its reason. */
const vectorTest = <A>(name: string, file: string, missing: string | undefined, body: (vectors: A) => void): void => {
  const reason = existsSync(vectorUrl(file)) ? missing : `no test vectors ${file}.json`
  skipTest(reason)(name, () => body(JSON.parse(readFileSync(vectorUrl(file), "utf8")) as A), 30_000)
}

const native = (cipher: Cipher): string | undefined =>
  CipherSuite.available().includes(cipher) ? undefined : `this runtime has no native ${cipher}`

const reasonOf = (body: () => unknown): string => {
  try {
    body()
  } catch (error) {
    if (error instanceof NoiseError) return error.reason
    throw error
  }
  return "no error"
}

interface NoiseVector {
  readonly source: string
  readonly protocol_name: string
  readonly init_prologue: string
  readonly init_static: string
  readonly init_ephemeral: string
  readonly init_psks?: ReadonlyArray<string>
  readonly resp_prologue: string
  readonly resp_static: string
  readonly resp_ephemeral: string
  readonly resp_psks?: ReadonlyArray<string>
  readonly handshake_hash?: string
  readonly messages: ReadonlyArray<{ readonly payload: string; readonly ciphertext: string }>
}

const seal = (state: CipherState, plaintext: Uint8Array): Uint8Array => {
  const out = new Uint8Array(plaintext.length + tagLength)
  expect(state.seal(out, 0, plaintext)).toBe(out.length)
  return out
}

const replay = (vector: NoiseVector, pattern: Noise.Pattern, cipher: Cipher): void => {
  const end = (prologue: string, key: string, ephemeral: string, psk: string | undefined): Noise.Options => ({
    pattern,
    cipher,
    prologue: bytes(prologue),
    staticKey: X25519.fromPrivateKey(bytes(key)),
    ephemeral: X25519.fromPrivateKey(bytes(ephemeral)),
    ...(psk === undefined ? {} : { psk: bytes(psk) })
  })
  const ends = [
    Noise.initiator(end(vector.init_prologue, vector.init_static, vector.init_ephemeral, vector.init_psks?.[0])),
    Noise.responder(end(vector.resp_prologue, vector.resp_static, vector.resp_ephemeral, vector.resp_psks?.[0]))
  ] as const
  for (const [i, message] of vector.messages.slice(0, 3).entries()) {
    const [writer, reader] = i % 2 === 0 ? ends : [ends[1], ends[0]]
    const written = writer.writeMessage(bytes(message.payload))
    expect(hex(written)).toBe(message.ciphertext)
    expect(hex(reader.readMessage(bytes(message.ciphertext)))).toBe(message.payload)
    expect(reader.payloadHash).toEqual(writer.payloadHash)
  }
  const sessions = [ends[0].split(), ends[1].split()] as const
  expect(hex(sessions[0].handshakeHash)).toBe(hex(sessions[1].handshakeHash))
  if (vector.handshake_hash !== undefined) expect(hex(sessions[0].handshakeHash)).toBe(vector.handshake_hash)
  expect(hex(sessions[0].remoteStatic)).toBe(hex(X25519.fromPrivateKey(bytes(vector.resp_static)).publicKey))
  for (const [i, message] of vector.messages.slice(3).entries()) {
    const [writer, reader] = i % 2 === 0 ? [sessions[1], sessions[0]] : sessions
    expect(hex(seal(writer.send, bytes(message.payload)))).toBe(message.ciphertext)
    expect(hex(reader.receive.openFresh(bytes(message.ciphertext)) ?? filled(1, 0))).toBe(message.payload)
  }
}

describe("Noise vectors", () => {
  for (const [pattern, cipher, count] of [
    ["XX", "AESGCM", 2],
    ["XX", "ChaChaPoly", 2],
    ["XXpsk3", "AESGCM", 1],
    ["XXpsk3", "ChaChaPoly", 1]
  ] as const) {
    const name = `Noise_${pattern}_25519_${cipher}_SHA256`
    vectorTest<ReadonlyArray<NoiseVector>>(name, "noise", native(cipher), (vectors) => {
      const chosen = vectors.filter((vector) => vector.protocol_name === name)
      expect(chosen.length).toBe(count)
      for (const vector of chosen) {
        expect(vector.messages.length).toBeGreaterThan(3)
        replay(vector, pattern, cipher)
      }
    })
  }
})

interface Wycheproof<T> {
  readonly testGroups: ReadonlyArray<{ readonly ivSize?: number; readonly tests: ReadonlyArray<T> }>
}
interface AeadVector {
  readonly tcId: number
  readonly key: string
  readonly iv: string
  readonly aad: string
  readonly msg: string
  readonly ct: string
  readonly tag: string
  readonly result: string
}

describe("Wycheproof", () => {
  type X25519Vector = Record<"public" | "private" | "shared" | "result", string> & {
    readonly tcId: number
    readonly flags: ReadonlyArray<string>
  }
  vectorTest<Wycheproof<X25519Vector>>("x25519", "wycheproof_x25519", undefined, ({ testGroups }) => {
    let [agreed, refused] = [0, 0]
    for (const vector of testGroups.flatMap((group) => group.tests)) {
      const run = () => X25519.diffieHellman(X25519.fromPrivateKey(bytes(vector.private)), bytes(vector.public))
      if (vector.flags.includes("ZeroSharedSecret")) {
        expect([vector.tcId, reasonOf(run)]).toEqual([vector.tcId, "BadKey"])
        refused++
      } else {
        expect([vector.tcId, hex(run())]).toEqual([vector.tcId, vector.shared])
        agreed++
      }
    }
    expect([agreed, refused]).toEqual([487, 31])
  })

  for (const [file, cipher, valid, invalid] of [
    ["wycheproof_aes_gcm", "AESGCM", 39, 27],
    ["wycheproof_chacha20_poly1305", "ChaChaPoly", 256, 60]
  ] as const) {
    vectorTest<Wycheproof<AeadVector>>(cipher, file, native(cipher), ({ testGroups }) => {
      const counts = { valid: 0, invalid: 0 }
      // Nonces of another length cannot be given to this layer: they are made inside it.
      for (const vector of testGroups.filter((group) => group.ivSize === 96).flatMap((group) => group.tests)) {
        const [key, iv, ad] = [bytes(vector.key), bytes(vector.iv), bytes(vector.aad)]
        const opened = Aead.open(cipher, key, iv, ad, bytes(vector.ct + vector.tag))
        const sealed = new Uint8Array(vector.msg.length / 2 + tagLength)
        Aead.seal(cipher, key, iv, ad, bytes(vector.msg), sealed, 0)
        if (vector.result === "valid") {
          counts.valid++
          expect([vector.tcId, opened === undefined ? "refused" : hex(opened)]).toEqual([vector.tcId, vector.msg])
          expect([vector.tcId, hex(sealed)]).toEqual([vector.tcId, vector.ct + vector.tag])
        } else {
          counts.invalid++
          expect([vector.tcId, opened]).toEqual([vector.tcId, undefined])
        }
      }
      expect(counts).toEqual({ valid, invalid })
    })
  }

  type HkdfVector = Record<"ikm" | "salt" | "info" | "okm" | "result", string> & {
    readonly tcId: number
    readonly size: number
  }
  vectorTest<Wycheproof<HkdfVector>>("HKDF-SHA-256", "wycheproof_hkdf_sha256", undefined, ({ testGroups }) => {
    let count = 0
    for (const vector of testGroups.flatMap((group) => group.tests)) {
      const run = () => hex(hkdf(bytes(vector.salt), bytes(vector.ikm), vector.size, bytes(vector.info)))
      if (vector.result === "valid") expect([vector.tcId, run()]).toEqual([vector.tcId, vector.okm])
      else expect(run).toThrow(RangeError)
      count++
    }
    expect(count).toBe(86)
  })
})

describe("CipherState", () => {
  const key = filled(32, 7)
  for (const cipher of ["AESGCM", "ChaChaPoly"] as const) {
    skipTest(native(cipher))(
      `${cipher}: seals into a buffer at an offset, in place too, and opens in order only`,
      () => {
        const [send, receive, inPlace] = [1, 2, 3].map(() => new CipherState(cipher, key)) as [
          CipherState,
          CipherState,
          CipherState
        ]
        const message = Uint8Array.from({ length: 300 }, (_, i) => i)
        const out = new Uint8Array(400)
        expect(send.seal(out, 50, message)).toBe(316)
        expect(out.subarray(0, 50)).toEqual(new Uint8Array(50))
        expect(out.subarray(366)).toEqual(new Uint8Array(34))
        const own = new Uint8Array(316)
        own.set(message)
        inPlace.seal(own, 0, own.subarray(0, 300))
        expect(own).toEqual(out.slice(50, 366))

        const second = seal(send, message)
        expect(hex(second)).not.toBe(hex(own))
        const plain = new Uint8Array(310)
        expect(receive.open(second, plain, 0)).toBe(-1)
        expect(plain).toEqual(new Uint8Array(310))
        expect(receive.open(own, plain, 10)).toBe(300)
        expect(plain.slice(10)).toEqual(message)
        expect(receive.open(own, plain, 0)).toBe(-1)
        expect(Uint8Array.from(receive.openFresh(second) ?? [])).toEqual(message)
        expect(receive.openFresh(seal(send, new Uint8Array(0)))?.length).toBe(0)
        expect(receive.nonce).toBe(3n)
      }
    )

    skipTest(native(cipher))(
      `${cipher}: a buffer without room uses no nonce, a short or altered message does not open`,
      () => {
        const [send, receive] = [new CipherState(cipher, key), new CipherState(cipher, key)]
        expect(() => send.seal(new Uint8Array(20), 0, filled(5, 1))).toThrow(RangeError)
        expect(send.nonce).toBe(0n)
        const sealed = seal(send, filled(5, 1))
        expect(() => receive.open(sealed, new Uint8Array(4), 0)).toThrow(RangeError)
        for (let length = 0; length < sealed.length; length++) {
          expect(receive.openFresh(sealed.subarray(0, length))).toBe(undefined)
        }
        for (let i = 0; i < sealed.length * 8; i++) {
          const flipped = Uint8Array.from(sealed)
          flipped[i >> 3] = flipped[i >> 3]! ^ (1 << (i & 7))
          expect(receive.openFresh(flipped)).toBe(undefined)
        }
        expect(receive.openFresh(sealed)?.length).toBe(5)
      }
    )

    skipTest(native(cipher))(`${cipher}: both ends change the key at the same message, as REKEY says`, () => {
      const [send, receive] = [0, 1].map(() => new CipherState(cipher, key, { rekeyInterval: 4 })) as [
        CipherState,
        CipherState
      ]
      const plain = new CipherState(cipher, key)
      const messages = Array.from({ length: 10 }, (_, i) => filled(20, i))
      for (const [i, message] of messages.entries()) {
        const sealed = seal(send, message)
        // By hand: the key of `plain` is replaced exactly before messages 4 and 8.
        if (i === 4 || i === 8) plain.rekey()
        expect(hex(sealed)).toBe(hex(seal(plain, message)))
        expect(hex(receive.openFresh(sealed) ?? filled(1, 255))).toBe(hex(message))
      }
      const fresh = new CipherState(cipher, key, { nonce: BigInt(rekeyInterval) - 1n })
      const never = new CipherState(cipher, key, { nonce: BigInt(rekeyInterval) - 1n, rekeyInterval: 2 ** 31 })
      expect(hex(seal(fresh, messages[0]!))).toBe(hex(seal(never, messages[0]!)))
      expect(hex(seal(fresh, messages[0]!))).not.toBe(hex(seal(never, messages[0]!)))
    })

    skipTest(native(cipher))(`${cipher}: the counter carries into its upper word and ends before 2^64 - 1`, () => {
      const options = { nonce: 2n ** 32n - 1n, rekeyInterval: 2 ** 31 }
      const state = new CipherState(cipher, key, options)
      seal(state, filled(1, 1))
      expect(state.nonce).toBe(2n ** 32n)
      // The nonce of message 2^32 + 1, written by hand: 4 zero bytes, then the counter in the cipher's byte order.
      const nonce = bytes(cipher === "AESGCM" ? "000000000000000100000001" : "000000000100000001000000")
      const counted = new CipherState(cipher, key, { ...options, nonce: 2n ** 32n + 1n })
      const expected = new Uint8Array(1 + tagLength)
      Aead.seal(cipher, key, nonce, undefined, filled(1, 1), expected, 0)
      expect(hex(seal(counted, filled(1, 1)))).toBe(hex(expected))

      const last = new CipherState(cipher, key, { nonce: 2n ** 64n - 2n })
      seal(last, filled(1, 1))
      expect(reasonOf(() => seal(last, filled(1, 1)))).toBe("NonceExhausted")
      expect(reasonOf(() => last.openFresh(filled(20, 1)))).toBe("NonceExhausted")
    })
  }
})

describe("HandshakeState", () => {
  const options = (): Noise.Options => ({
    pattern: "XX",
    cipher: "AESGCM",
    prologue: bytes("00"),
    staticKey: X25519.generate()
  })
  const none = new Uint8Array(0)

  test("out of turn, early split and use after a failure are OutOfOrder", () => {
    expect(reasonOf(() => Noise.responder(options()).writeMessage(none))).toBe("OutOfOrder")
    expect(reasonOf(() => Noise.initiator(options()).readMessage(filled(32, 1)))).toBe("OutOfOrder")
    expect(reasonOf(() => Noise.initiator(options()).split())).toBe("OutOfOrder")
    const end = Noise.responder(options())
    expect(reasonOf(() => end.readMessage(filled(31, 9)))).toBe("Truncated")
    expect(reasonOf(() => end.readMessage(filled(32, 9)))).toBe("OutOfOrder")
  })

  test("points of low order are BadKey, messages over 65,535 bytes Oversized", () => {
    const end = Noise.responder(options())
    end.readMessage(filled(32, 0))
    expect(reasonOf(() => end.writeMessage(none))).toBe("BadKey")
    expect(reasonOf(() => Noise.responder(options()).readMessage(filled(65_536, 1)))).toBe("Oversized")
    expect(reasonOf(() => Noise.initiator(options()).writeMessage(filled(65_504, 1)))).toBe("Oversized")
    expect(Noise.initiator(options()).writeMessage(filled(65_503, 1)).length).toBe(65_535)
  })

  test("another prologue or another psk is BadMac", () => {
    const psk = filled(32, 3)
    const run = (prologue: Uint8Array, theirs: Uint8Array): void => {
      const [a, b] = [
        Noise.initiator({ ...options(), pattern: "XXpsk3", psk }),
        Noise.responder({ ...options(), pattern: "XXpsk3", psk: theirs, prologue })
      ]
      b.readEphemeral(a.writeMessage(none).subarray(0, 32))
      a.readMessage(b.writeMessage(none))
      b.readMessage(a.writeMessage(none))
      expect(hex(a.split().handshakeHash)).toBe(hex(b.split().handshakeHash))
    }
    expect(reasonOf(() => run(bytes("01"), psk))).toBe("BadMac")
    expect(reasonOf(() => run(bytes("00"), filled(32, 4)))).toBe("BadMac")
    expect(reasonOf(() => run(bytes("00"), psk))).toBe("no error")
    expect(reasonOf(() => Noise.initiator({ ...options(), psk }))).toBe("BadKey")
    expect(reasonOf(() => Noise.initiator({ ...options(), pattern: "XXpsk3" }))).toBe("BadKey")
  })
})

describe("CipherSuite", () => {
  test("AES-GCM is there on every runtime, and what is there works", () => {
    expect(CipherSuite.available()).toContain("AESGCM")
    expect(CipherSuite.toBits(["AESGCM", "ChaChaPoly"])).toBe(3)
  })

  test("the responder's order decides among what is offered; unknown bits are passed over", () => {
    expect(CipherSuite.choose(0b11, ["ChaChaPoly", "AESGCM"])).toBe("ChaChaPoly")
    expect(CipherSuite.choose(0b1111_1101, ["ChaChaPoly", "AESGCM"])).toBe("AESGCM")
    expect(CipherSuite.choose(0b1111_1100, ["ChaChaPoly", "AESGCM"])).toBe(undefined)
    expect([0, 1, 2, 3, 4].map(CipherSuite.fromBit)).toEqual([undefined, "AESGCM", "ChaChaPoly", undefined, undefined])
  })
})
