/**
 * Verifies: the Parley handshake: every pair of ciphers, no downgrade, network keys, identities, hostile bytes, forward secrecy, and
 * the vectors of `docs/protocol.md`.
 */
import { describe, expect, test } from "bun:test"
import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto"
import { readFileSync } from "node:fs"
import * as CipherSuite from "@parley/transport-tcp/CipherSuite"
import { CipherState, tagLength } from "@parley/transport-tcp/CipherState"
import type { Cipher } from "@parley/transport-tcp/CipherState"
import * as Handshake from "@parley/transport-tcp/Handshake"
import type { HandshakeError } from "@parley/transport-tcp/HandshakeError"
import * as X25519 from "@parley/transport-tcp/X25519"
import { skipTest } from "../../../test-support/Skip.ts"
import { hkdf } from "../src/internal/Hkdf.ts"

const empty = new Uint8Array(0)
const hex = (data: Uint8Array): string => Buffer.from(data).toString("hex")
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))
const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)
const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

/** An identity, a static key and an ephemeral key made of one small number, so that every run is the same. */
const node = (seed: number) => {
  const secret = filled(32, seed)
  const prefix = Buffer.from("302e020100300506032b657004220420", "hex")
  const privateKey = createPrivateKey({ key: Buffer.concat([prefix, secret]), format: "der", type: "pkcs8" })
  const identity = new Uint8Array(createPublicKey(privateKey).export({ format: "der", type: "spki" }).subarray(12))
  return {
    secret,
    staticSecret: filled(32, seed + 100),
    options: {
      identity,
      sign: (message: Uint8Array): Uint8Array => sign(null, message, privateKey),
      verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
        const key = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), publicKey])
        return verify(null, message, createPublicKey({ key, format: "der", type: "spki" }), signature)
      },
      staticKey: X25519.fromPrivateKey(filled(32, seed + 100))
    }
  }
}

const alice = node(1)
const bob = node(2)
const mallory = node(3)

interface End {
  readonly handshake: Handshake.Handshake
  outcome: Handshake.Outcome | undefined
  error: HandshakeError | undefined
}

type Wire = (message: Uint8Array, index: number) => Uint8Array

interface Run {
  readonly initiator: End
  readonly responder: End
  readonly messages: ReadonlyArray<Uint8Array>
}

/** Runs two ends against each other over a wire that sees, and may alter, each message; `cut` splits it into chunks. */
const run = (
  a: Handshake.InitiatorOptions,
  b: Handshake.Options,
  wire: Wire = (message) => message,
  cut: (message: Uint8Array) => ReadonlyArray<Uint8Array> = (message) => [message]
): Run => {
  const end = (handshake: Handshake.Handshake): End => ({ handshake, outcome: undefined, error: undefined })
  const initiator = end(Handshake.initiator(a))
  const responder = end(Handshake.responder(b))
  const messages: Array<Uint8Array> = []
  const deliver = (message: Uint8Array | undefined, to: End, from: End): void => {
    if (message === undefined || message.length === 0) return
    messages.push(message)
    for (const chunk of cut(wire(message, messages.length - 1))) {
      const step = to.handshake.receive(chunk)
      if (step._tag === "Established") to.outcome = step.outcome
      if (step._tag === "Failed") to.error ??= step.error
      deliver(step.send, from, to)
    }
  }
  deliver(initiator.handshake.hello, responder, initiator)
  return { initiator, responder, messages }
}

const seal = (state: CipherState, plaintext: Uint8Array): Uint8Array => {
  const out = new Uint8Array(plaintext.length + tagLength)
  state.seal(out, 0, plaintext)
  return out
}

/** Both ends agree on everything and their keys fit, in both directions. */
const expectAgreement = ({ initiator, responder }: Run): readonly [Handshake.Outcome, Handshake.Outcome] => {
  const [a, b] = [initiator.outcome, responder.outcome]
  if (a === undefined || b === undefined) {
    throw new Error(`no agreement: ${initiator.error?.message ?? "-"} / ${responder.error?.message ?? "-"}`)
  }
  expect(hex(a.handshakeHash)).toBe(hex(b.handshakeHash))
  expect([a.cipher, a.features, a.version]).toEqual([b.cipher, b.features, b.version])
  for (const [from, to] of [
    [a, b],
    [b, a]
  ] as const) {
    expect(hex(to.receive.openFresh(seal(from.send, filled(100, 5))) ?? empty)).toBe(hex(filled(100, 5)))
  }
  return [a, b]
}

const reasons = ({ initiator, responder }: Run) => [initiator.error?.reason, responder.error?.reason]

/** Mulberry32: small, seedable, good enough to choose test inputs. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

const networkKey = filled(32, 77)
const networks = [
  ["no network key", {}],
  ["a network key", { networkKey }]
] as const

describe("agreement", () => {
  const sets: ReadonlyArray<ReadonlyArray<Cipher>> = [
    ["AESGCM"],
    ["ChaChaPoly"],
    ["AESGCM", "ChaChaPoly"],
    ["ChaChaPoly", "AESGCM"]
  ]
  const native = CipherSuite.available()
  for (const [network, key] of networks) {
    for (const offered of sets) {
      for (const own of sets) {
        const expected = own.find((cipher) => offered.includes(cipher))
        const there = expected === undefined || native.includes(expected)
        const reason = there ? undefined : `this runtime has no native ${expected}`
        skipTest(reason)(`${offered.join("+")} meets ${own.join("+")} with ${network}`, () => {
          const result = run({ ...alice.options, ...key, ciphers: offered }, { ...bob.options, ...key, ciphers: own })
          if (expected === undefined) {
            expect(reasons(result)).toEqual(["NoCommonCipher", "NoCommonCipher"])
            expect(result.initiator.error?.origin).toBe("peer")
          } else {
            const [a, b] = expectAgreement(result)
            expect(a.cipher).toBe(expected)
            expect([hex(a.peer), hex(b.peer)]).toEqual([hex(bob.options.identity), hex(alice.options.identity)])
          }
        })
      }
    }

    test(`settings, features, frame limits and early data arrive with ${network}`, () => {
      const asked: Array<Handshake.Peer> = []
      const earlyData = Uint8Array.from({ length: Handshake.maxEarlyData }, (_, i) => i)
      const [a, b] = expectAgreement(
        run(
          {
            ...alice.options,
            ...key,
            features: 0x8000_0013,
            maxFrame: 70_000,
            settings: filled(Handshake.maxSettings, 1),
            expectedPeer: bob.options.identity,
            earlyData: (peer) => {
              asked.push(peer)
              return earlyData
            }
          },
          { ...bob.options, ...key, features: 0x8000_0031, settings: filled(3, 2) }
        )
      )
      expect([a.features, b.features]).toEqual([0x8000_0011, 0x8000_0011])
      expect([a.maxFrame, b.maxFrame]).toEqual([Handshake.defaultMaxFrame, 70_000])
      expect([hex(a.settings), hex(b.settings)]).toEqual(["020202", hex(filled(Handshake.maxSettings, 1))])
      expect([a.earlyData.length, hex(b.earlyData)]).toEqual([0, hex(earlyData)])
      expect(asked.map((peer) => [hex(peer.peer), peer.maxFrame, hex(peer.settings)])).toEqual([
        [hex(bob.options.identity), Handshake.defaultMaxFrame, "020202"]
      ])
      expect([a.role, b.role]).toEqual(["initiator", "responder"])
    })

    test(`one byte at a time, and with transport bytes behind message 3, with ${network}`, () => {
      const single = (message: Uint8Array) => Array.from(message, (byte) => Uint8Array.of(byte))
      expectAgreement(run({ ...alice.options, ...key }, { ...bob.options, ...key }, undefined, single))
      const behind = run({ ...alice.options, ...key }, { ...bob.options, ...key }, (message, index) =>
        index === 2 ? concat(message, bytes("aabbcc")) : message
      )
      expect(hex(behind.responder.outcome?.rest ?? empty)).toBe("aabbcc")
    })

    test(`two sessions share nothing with ${network}`, () => {
      const once = () => run({ ...alice.options, ...key }, { ...bob.options, ...key })
      const [first, second] = [once(), once()]
      expect(hex(expectAgreement(first)[0].handshakeHash)).not.toBe(hex(expectAgreement(second)[0].handshakeHash))
      // A recorded message of one session fails in the other.
      for (const index of [1, 2]) {
        const replayed = run({ ...alice.options, ...key }, { ...bob.options, ...key }, (message, i) =>
          i === index ? first.messages[index]! : message
        )
        expect(reasons(replayed)[index === 1 ? 0 : 1]).toBe("BadMac")
      }
    })
  }
})

describe("refusals", () => {
  test("a network key that one end lacks, or another one, is told in words, and the identity stays hidden", () => {
    for (const [mine, theirs, reason] of [
      [{}, { networkKey }, "NetworkKeyMissing"],
      [{ networkKey }, {}, "NetworkKeyUnexpected"],
      [{ networkKey: filled(32, 78) }, { networkKey }, "NetworkKeyMismatch"]
    ] as const) {
      const result = run({ ...alice.options, ...mine }, { ...bob.options, ...theirs })
      expect(reasons(result)).toEqual([reason, reason])
      expect([result.initiator.error?.origin, result.responder.error?.origin]).toEqual(["peer", "local"])
      // All that the responder ever said: length, magic, version, status and zeros.
      expect(result.messages.length).toBe(2)
      expect(hex(result.messages[1]!)).toMatch(/^000c50524c5901[0-9a-f]{2}000000000000$/)
    }
  })

  test("a responder that skips the knock's check still cannot finish with another network key", () => {
    const knocks = (options: Handshake.InitiatorOptions) => Handshake.initiator(options).hello
    const ephemeral = X25519.generate()
    const result = run(
      { ...alice.options, networkKey: filled(32, 78), ephemeral },
      { ...bob.options, networkKey },
      (message, index) => (index === 0 ? knocks({ ...alice.options, networkKey, ephemeral }) : message)
    )
    expect(result.responder.error?.reason).toBe("BadMac")
  })

  test("another node at the address is UnexpectedPeer before it learns anything; this node itself is SelfDial", () => {
    const wrong = run({ ...alice.options, expectedPeer: mallory.options.identity }, bob.options)
    expect(wrong.initiator.error?.reason).toBe("UnexpectedPeer")
    expect(hex(wrong.initiator.error?.peer ?? empty)).toBe(hex(bob.options.identity))
    expect(wrong.messages.length).toBe(2)
    const self = run(alice.options, { ...alice.options, staticKey: X25519.generate() })
    expect(self.initiator.error?.reason).toBe("SelfDial")
    expect(self.messages.length).toBe(2)
  })

  test("an identity without its key, or with a signature of another session, is BadIdentitySignature", () => {
    const claims = { ...mallory.options, identity: bob.options.identity }
    expect(reasons(run(alice.options, claims))[0]).toBe("BadIdentitySignature")
    expect(reasons(run(claims, alice.options))[1]).toBe("BadIdentitySignature")
    let recorded: Uint8Array = empty
    const recording = {
      ...bob.options,
      sign: (message: Uint8Array) => (recorded = bob.options.sign(message))
    }
    expectAgreement(run(alice.options, recording))
    // Bob's static key and a signature he once made do not make a Bob.
    const stolen = { ...bob.options, sign: () => recorded }
    expect(reasons(run(alice.options, stolen))[0]).toBe("BadIdentitySignature")
    const throwing = {
      ...alice.options,
      verify: () => {
        throw new Error("no point")
      }
    }
    expect(reasons(run(throwing, bob.options))[0]).toBe("BadIdentitySignature")
  })

  test("versions, magic, lengths and low-order keys are told apart", () => {
    const answer = (first: Uint8Array) => {
      const step = Handshake.responder(bob.options).receive(first)
      return [step._tag === "Failed" ? step.error.reason : step._tag, hex(step.send ?? empty)]
    }
    const refusal = (status: string) => `000c50524c5901${status}000000000000`
    const hello = (head: string, length = 44) =>
      concat(bytes(`00${length.toString(16).padStart(2, "0")}`), bytes(head), filled(length - 12, 9))
    expect(answer(hello("50524c590203000300000000"))).toEqual(["UnsupportedVersion", refusal("01")])
    expect(answer(hello("50524c590205000300000000", 200))).toEqual(["UnsupportedVersion", refusal("01")])
    expect(answer(hello("50524c590101000000000000"))).toEqual(["NoCommonCipher", refusal("02")])
    expect(answer(hello("50524c590101020300000000"))).toEqual(["Malformed", refusal("06")])
    expect(answer(hello("50524c590101000300000000", 45))).toEqual(["Malformed", refusal("06")])
    expect(answer(hello("50524c580101000300000000"))).toEqual(["WrongMagic", ""])
    expect(answer(concat(bytes("002c50524c590101000300000000"), filled(32, 0)))).toEqual(["BadKey", ""])
    expect(answer(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"))).toEqual(["WrongMagic", ""])
    expect(answer(concat(hello("50524c590107000300000000"), bytes("00")))).toEqual(["OutOfOrder", ""])
    expect(answer(hello("50524c590107000300000000"))[0]).toBe("Pending")
    const initiator = Handshake.initiator(alice.options)
    const step = initiator.receive(Handshake.busy)
    expect([step._tag, step._tag === "Failed" && step.error.reason]).toEqual(["Failed", "Busy"])
    const after = initiator.receive(Handshake.busy)
    expect(after._tag === "Failed" && after.error.reason).toBe("OutOfOrder")
  })

  test("lengths beyond the bound of their place are refused by their two length bytes", () => {
    const third = Handshake.responder(bob.options)
    third.receive(Handshake.initiator(alice.options).hello)
    const over = Handshake.maxThirdMessage + 1
    const step = third.receive(Uint8Array.of(over >> 8, over & 255))
    expect(step._tag === "Failed" && step.error.reason).toBe("Oversized")
    expect(() => run({ ...alice.options, settings: filled(Handshake.maxSettings + 1, 0) }, bob.options)).toThrow(
      RangeError
    )
    expect(() => run({ ...alice.options, earlyData: filled(Handshake.maxEarlyData + 1, 0) }, bob.options)).toThrow(
      RangeError
    )
  })
})

describe("an attacker on the path", () => {
  const ciphers = CipherSuite.available()
  for (const [network, key] of networks) {
    test(`no changed byte of any message leaves two ends that both succeed, with ${network}`, () => {
      const a = { ...alice.options, ...key, ciphers, features: 3, earlyData: filled(8, 1) }
      const b = { ...bob.options, ...key, ciphers: [...ciphers].reverse(), features: 3 }
      const lengths = run(a, b).messages.map((message) => message.length)
      expect(lengths.length).toBe(3)
      for (const [index, length] of lengths.entries()) {
        for (let at = 0; at < length; at++) {
          // Every bit of the heads in clear, one bit of each later byte.
          const flips = index < 2 && at < 14 ? [1, 2, 4, 8, 16, 32, 64, 128] : [1 << (at % 8)]
          for (const flip of flips) {
            const result = run(a, b, (message, i) => {
              if (i !== index) return message
              const changed = Uint8Array.from(message)
              changed[at] = changed[at]! ^ flip
              return changed
            })
            const both = result.initiator.outcome !== undefined && result.responder.outcome !== undefined
            if (both) throw new Error(`message ${index + 1}, byte ${at}, bits ${flip}: both ends succeeded`)
          }
        }
      }
    }, 60_000)
  }

  test("an offer cut to one cipher, or without its features, does not succeed", () => {
    for (const [at, value] of [
      [2 + 7, 0b01],
      [2 + 11, 0]
    ] as const) {
      // The extra bit stands for a cipher to come, so that this also runs where only one is native.
      const result = run({ ...alice.options, features: 3 }, { ...bob.options, features: 3 }, (message, i) => {
        const changed = Uint8Array.from(message)
        if (i === 0) changed[at] = at === 9 ? (changed[at]! | 0b100) & ~0b10 : value
        return changed
      })
      expect(result.initiator.error?.reason).toBe("BadMac")
      expect(result.responder.outcome).toBe(undefined)
    }
  })

  test("messages cut short, grown, doubled or swapped do not succeed", () => {
    const wires: ReadonlyArray<readonly [string, Wire]> = [0, 1, 2].flatMap((index) => [
      [`cut ${index}`, (message, i) => (i === index ? message.subarray(0, message.length - 1) : message)],
      [
        `doubled ${index}`,
        (message, i) => (i === index && index < 2 ? concat(message, message) : i === 2 ? empty : message)
      ],
      [`empty ${index}`, (message, i) => (i === index ? empty : message)]
    ])
    for (const [name, wire] of wires) {
      const { initiator, responder } = run(alice.options, bob.options, wire)
      expect([name, initiator.outcome !== undefined && responder.outcome !== undefined]).toEqual([name, false])
    }
    const hello = Handshake.initiator(alice.options).hello
    const reflected = Handshake.initiator(bob.options).receive(hello)
    expect(reflected._tag).toBe("Failed")
  })
})

describe("hostile bytes", () => {
  const seed = 20_250_101

  /** Feeds one input in random pieces; the machine must answer each with a step and hold no more than one bounded frame. */
  const feed = (handshake: Handshake.Handshake, input: Uint8Array, next: () => number): Handshake.Step => {
    let step: Handshake.Step = { _tag: "Pending", send: undefined }
    for (let at = 0; at < input.length && step._tag === "Pending";) {
      const end = at + 1 + Math.floor(next() * input.length)
      step = handshake.receive(input.subarray(at, end))
      at = end
    }
    return step
  }

  const mutate = (input: Uint8Array, next: () => number): Uint8Array => {
    const kind = Math.floor(next() * 4)
    if (kind === 0) return input.subarray(0, Math.floor(next() * input.length))
    if (kind === 1) return Uint8Array.from({ length: Math.floor(next() * 300) }, () => next() * 256)
    if (kind === 2)
      return concat(
        input,
        Uint8Array.from({ length: 1 + Math.floor(next() * 40) }, () => next() * 256)
      )
    const changed = Uint8Array.from(input)
    for (let i = 1 + Math.floor(next() * 4); i > 0; i--) changed[Math.floor(next() * changed.length)] = next() * 256
    return changed
  }

  test("120,000 first messages, in a network with a key, all fail or wait, none succeeds or throws", () => {
    const next = random(seed)
    const hello = Handshake.initiator({ ...alice.options, networkKey }).hello
    const counts = new Map<string, number>()
    for (let i = 0; i < 120_000; i++) {
      const input = mutate(hello, next)
      const step = feed(Handshake.responder({ ...bob.options, networkKey }), input, next)
      const answered = step._tag === "Pending" && step.send !== undefined
      if (step._tag === "Established" || (answered && hex(input) !== hex(hello))) {
        throw new Error(`seed ${seed}, input ${i}: ${hex(input)}`)
      }
      const key = step._tag === "Failed" ? step.error.reason : step._tag
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    for (const reason of [
      "WrongMagic",
      "UnsupportedVersion",
      "Malformed",
      "NetworkKeyMismatch",
      "OutOfOrder",
      "Pending"
    ]) {
      expect([reason, (counts.get(reason) ?? 0) > 100]).toEqual([reason, true])
    }
  }, 60_000)

  test("2,000 answers and 2,000 third messages fail or wait, none succeeds or throws", () => {
    const next = random(seed + 1)
    const good = run(alice.options, bob.options).messages
    for (let i = 0; i < 2_000; i++) {
      const answer = mutate(good[1]!, next)
      const a = feed(Handshake.initiator(alice.options), answer, next)
      const responder = Handshake.responder(bob.options)
      responder.receive(good[0]!)
      const third = mutate(good[2]!, next)
      const b = feed(responder, third, next)
      if (a._tag === "Established" || b._tag === "Established") {
        throw new Error(`seed ${seed + 1}, input ${i}: ${hex(answer)} / ${hex(third)}`)
      }
    }
  }, 60_000)
})

interface HandshakeVector {
  readonly name: string
  readonly cipher: Cipher
  readonly networkKey: string | null
  readonly initiator: EndVector
  readonly responder: EndVector
  readonly earlyData: string
  readonly messages: ReadonlyArray<string>
  readonly handshakeHash: string
  readonly transport: ReadonlyArray<{ readonly from: string; readonly plaintext: string; readonly record: string }>
}
interface EndVector {
  readonly identitySeed: string
  readonly identity: string
  readonly staticPrivate: string
  readonly ephemeralPrivate: string
  readonly features: number
  readonly maxFrame: number
  readonly settings: string
}

describe("vectors of docs/protocol.md", () => {
  const file = new URL("handshake-vectors.json", import.meta.url)
  for (const vector of JSON.parse(readFileSync(file, "utf8")) as ReadonlyArray<HandshakeVector>) {
    const there = CipherSuite.available().includes(vector.cipher)
    skipTest(there ? undefined : `this runtime has no native ${vector.cipher}`)(vector.name, () => {
      const end = (from: EndVector): Handshake.Options => {
        const { options } = node(bytes(from.identitySeed)[0]!)
        expect(hex(options.identity)).toBe(from.identity)
        return {
          ...options,
          staticKey: X25519.fromPrivateKey(bytes(from.staticPrivate)),
          ephemeral: X25519.fromPrivateKey(bytes(from.ephemeralPrivate)),
          ciphers: [vector.cipher],
          features: from.features,
          maxFrame: from.maxFrame,
          settings: bytes(from.settings),
          ...(vector.networkKey === null ? {} : { networkKey: bytes(vector.networkKey) })
        }
      }
      const result = run({ ...end(vector.initiator), earlyData: bytes(vector.earlyData) }, end(vector.responder))
      expect(result.messages.map(hex)).toEqual([...vector.messages])
      const [a, b] = [result.initiator.outcome!, result.responder.outcome!]
      expect([hex(a.handshakeHash), hex(b.handshakeHash)]).toEqual([vector.handshakeHash, vector.handshakeHash])
      expect(hex(b.earlyData)).toBe(vector.earlyData)
      for (const { from, plaintext, record } of vector.transport) {
        expect(hex(seal((from === "initiator" ? a : b).send, bytes(plaintext)))).toBe(record)
        expect(hex((from === "initiator" ? b : a).receive.openFresh(bytes(record)) ?? empty)).toBe(plaintext)
      }
    })
  }
})

describe("forward secrecy", () => {
  const label = (pattern: string) => `Noise_${pattern}_25519_AESGCM_SHA256`

  /** The transport keys of a session from its Diffie-Hellman results: Noise's key schedule, written out a second time. */
  const transportKeys = (
    pattern: "XX" | "XXpsk3",
    initiatorEphemeral: Uint8Array,
    responderEphemeral: Uint8Array,
    secrets: { readonly ee: Uint8Array; readonly es: Uint8Array; readonly se: Uint8Array }
  ): Uint8Array => {
    const name = new TextEncoder().encode(label(pattern))
    let chain: Uint8Array =
      name.length > 32 ? createHash("sha256").update(name).digest() : concat(name, new Uint8Array(32 - name.length))
    const mix = (input: Uint8Array, length = 64) => (chain = hkdf(chain, input, length).subarray(0, 32))
    if (pattern === "XXpsk3") mix(initiatorEphemeral)
    if (pattern === "XXpsk3") mix(responderEphemeral)
    mix(secrets.ee)
    mix(secrets.es)
    mix(secrets.se)
    if (pattern === "XXpsk3") mix(networkKey, 96)
    return hkdf(chain, empty, 64)
  }

  for (const [network, key] of networks) {
    test(`a recorded session stays closed to who gets every long-term key, with ${network}`, () => {
      const ephemeralSecret = filled(32, 222)
      const result = run(
        { ...alice.options, ...key, ciphers: ["AESGCM"], ephemeral: X25519.fromPrivateKey(ephemeralSecret) },
        { ...bob.options, ...key, ciphers: ["AESGCM"] }
      )
      const record = seal(result.initiator.outcome!.send, new TextEncoder().encode("what they said"))
      const reply = seal(result.responder.outcome!.send, new TextEncoder().encode("and what came back"))
      const pattern = "networkKey" in key ? "XXpsk3" : "XX"
      // Of the transcript: both ephemeral public keys, in clear.
      const ei = result.messages[0]!.subarray(14, 46)
      const er = result.messages[1]!.subarray(14, 46)

      /** Tries every Diffie-Hellman result that these private keys give with any public key, in every place. */
      const attack = (privateKeys: ReadonlyArray<Uint8Array>): number => {
        const pairs = privateKeys.map(X25519.fromPrivateKey)
        const points = [ei, er, alice.options.staticKey.publicKey, bob.options.staticKey.publicKey]
        const computable = new Map<string, Uint8Array>([["00", new Uint8Array(32)]])
        for (const pair of pairs) {
          for (const point of points) {
            const shared = X25519.diffieHellman(pair, point)
            computable.set(hex(shared), shared)
          }
        }
        const candidates = [...computable.values()]
        let opened = 0
        for (const ee of candidates) {
          for (const es of candidates) {
            for (const se of candidates) {
              const keys = transportKeys(pattern, ei, er, { ee, es, se })
              if (new CipherState("AESGCM", keys.subarray(0, 32)).openFresh(record) !== undefined) opened++
              if (new CipherState("AESGCM", keys.subarray(32)).openFresh(reply) !== undefined) opened++
            }
          }
        }
        return opened
      }

      // The identities too, as X25519 keys (RFC 8032 section 5.1.5: the scalar is the first half of the seed's SHA-512).
      const scalars = [alice, bob].map((end) => createHash("sha512").update(end.secret).digest().subarray(0, 32))
      const longTerm = [alice.staticSecret, bob.staticSecret, ...scalars]
      expect(attack(longTerm)).toBe(0)
      // The control: with one ephemeral private key more, the same attack opens both directions.
      expect(attack([...longTerm, ephemeralSecret])).toBe(2)
    }, 60_000)
  }
})
