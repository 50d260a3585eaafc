/** Verifies: every pair of ciphers, no downgrade, network keys, identities, and the vectors of `docs/protocol.md`. */
import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import * as CipherSuite from "@parley/transport-tcp/CipherSuite"
import type { Cipher } from "@parley/transport-tcp/CipherState"
import * as Handshake from "@parley/transport-tcp/Handshake"
import * as X25519 from "@parley/transport-tcp/X25519"
import { skipTest } from "../../../test-support/Skip.ts"
import {
  alice,
  bob,
  bytes,
  concat,
  empty,
  expectAgreement,
  filled,
  hex,
  mallory,
  networkKey,
  networks,
  node,
  reasons,
  run,
  seal
} from "./HandshakeRun.ts"
import type { Path } from "./HandshakeRun.ts"

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
    const wires: ReadonlyArray<readonly [string, Path]> = [0, 1, 2].flatMap((index) => [
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
