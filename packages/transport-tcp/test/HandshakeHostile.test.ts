/** Verifies: random, changed, cut or grown bytes at any stage of the handshake never crash it, never succeed, never pile up. */
import { describe, expect, test } from "bun:test"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import * as Handshake from "@parley/transport-tcp/Handshake"
import { HandshakeError } from "@parley/transport-tcp/HandshakeError"
import * as Wire from "../src/internal/HandshakeWire.ts"
import { alice, bob, bytes, concat, filled, hex, mutate, networkKey, run } from "./HandshakeRun.ts"

const seed = 20_250_101

describe("hostile bytes", () => {
  /** Feeds one input in random pieces; the machine must answer each with a step and hold no more than one bounded frame. */
  const feed = (handshake: Handshake.Handshake, input: Uint8Array, random: Seeded): Handshake.Step => {
    let step: Handshake.Step = { _tag: "Pending", send: undefined }
    for (let at = 0; at < input.length && step._tag === "Pending";) {
      const end = at + 1 + random.int(input.length)
      step = handshake.receive(input.subarray(at, end))
      at = end
    }
    return step
  }

  test("120,000 first messages, in a network with a key, all fail or wait, none succeeds or throws", () => {
    const random = fromSeed(seed)
    const hello = Handshake.initiator({ ...alice.options, networkKey }).hello
    const counts = new Map<string, number>()
    for (let i = 0; i < 120_000; i++) {
      const input = mutate(hello, random)
      const step = feed(Handshake.responder({ ...bob.options, networkKey }), input, random)
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
    const random = fromSeed(seed + 1)
    const good = run(alice.options, bob.options).messages
    for (let i = 0; i < 2_000; i++) {
      const answer = mutate(good[1]!, random)
      const a = feed(Handshake.initiator(alice.options), answer, random)
      const responder = Handshake.responder(bob.options)
      responder.receive(good[0]!)
      const third = mutate(good[2]!, random)
      const b = feed(responder, third, random)
      if (a._tag === "Established" || b._tag === "Established") {
        throw new Error(`seed ${seed + 1}, input ${i}: ${hex(answer)} / ${hex(third)}`)
      }
    }
  }, 60_000)
})

describe("payload fields", () => {
  const limits = {
    settings: Handshake.maxSettings,
    earlyData: Handshake.maxEarlyData,
    certificate: Handshake.maxCertificate
  }
  const fields: Wire.Fields = {
    identity: filled(32, 1),
    signature: filled(64, 2),
    maxFrame: 65_536,
    settings: bytes("0a0b"),
    earlyData: bytes("ff"),
    certificate: bytes("0102")
  }
  const encoded = Wire.encodeFields(fields)
  const decode = (input: Uint8Array): string => {
    try {
      Wire.decodeFields(input, limits)
      return "accepted"
    } catch (error) {
      if (error instanceof HandshakeError) return error.reason
      throw error
    }
  }

  test("have the bytes of docs/protocol.md, come back as they were, and later types are passed over", () => {
    const head = `010020${"01".repeat(32)}020040${"02".repeat(64)}`
    expect(hex(encoded)).toBe(`${head}030004000100000400020a0b050001ff0600020102`)
    const read = Wire.decodeFields(concat(encoded, bytes("c80003010203")), limits)
    expect(hex(Wire.encodeFields(read))).toBe(hex(encoded))
    expect([hex(read.identity), read.maxFrame, hex(read.settings)]).toEqual([hex(filled(32, 1)), 65_536, "0a0b"])
  })

  test("missing, repeated, misplaced, cut and oversized ones are refused", () => {
    for (let length = 0; length < encoded.length; length++) {
      // Cuts behind the required fields, the settings and the early data are whole payloads.
      const expected = length === 109 || length === 114 || length === 118 ? "accepted" : "Malformed"
      expect([length, decode(encoded.subarray(0, length))]).toEqual([length, expected])
    }
    expect(decode(concat(encoded, bytes("050000")))).toBe("Malformed")
    expect(decode(concat(encoded, encoded))).toBe("Malformed")
    expect(decode(Wire.encodeFields({ ...fields, maxFrame: 0 }))).toBe("Malformed")
    expect(decode(Wire.encodeFields({ ...fields, identity: filled(31, 1) }))).toBe("Malformed")
    expect(decode(Wire.encodeFields({ ...fields, settings: filled(Handshake.maxSettings + 1, 1) }))).toBe("Oversized")
    expect(decode(Wire.encodeFields({ ...fields, earlyData: filled(Handshake.maxEarlyData + 1, 1) }))).toBe("Oversized")
    const certificate = filled(Handshake.maxCertificate + 1, 1)
    expect(decode(Wire.encodeFields({ ...fields, certificate }))).toBe("Oversized")
  })

  test("100,000 changed payloads are read or refused, nothing else", () => {
    const random = fromSeed(seed)
    const counts = { accepted: 0, refused: 0 }
    for (let i = 0; i < 100_000; i++) {
      const input = mutate(encoded, random)
      try {
        if (decode(input) === "accepted") counts.accepted++
        else counts.refused++
      } catch (cause) {
        throw new Error(`seed ${seed}, input ${i}: ${hex(input)}`, { cause })
      }
    }
    expect([counts.accepted > 1_000, counts.refused > 1_000]).toEqual([true, true])
  }, 60_000)
})
