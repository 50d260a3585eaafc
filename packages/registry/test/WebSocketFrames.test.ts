/** Verifies: frames are RFC 6455's; what breaks the protocol or a bound is a fault, and nothing else is ever thrown. */
import { describe, expect, test } from "bun:test"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"
import {
  CloseCode,
  closePayload,
  encodeFrame,
  Fault,
  FrameReader,
  MAX_FRAGMENTS,
  Opcode
} from "../src/internal/WebSocketFrames.ts"

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(" ", ""), "hex")

const reader = (options: { readonly masked: boolean; readonly maxBytes?: number }) => {
  const heard: Array<string> = []
  const frames = new FrameReader({
    masked: options.masked,
    maxBytes: options.maxBytes ?? 1_000_000,
    sink: {
      onMessage: (text) => heard.push(text),
      onPing: (payload) => heard.push(`ping ${payload.toString("latin1")}`),
      onPong: () => heard.push("pong"),
      onClose: (code, reason) => heard.push(`close ${code} ${reason}`)
    }
  })
  return { heard, push: (bytes: Uint8Array) => frames.push(bytes) }
}
const faultOf = (run: () => void): number | undefined => {
  try {
    run()
    return undefined
  } catch (fault) {
    if (fault instanceof Fault) return fault.code
    throw fault
  }
}

describe("frames", () => {
  test("the examples of RFC 6455, 5.7", () => {
    const server = reader({ masked: false })
    server.push(hex("81 05 48 65 6c 6c 6f"))
    server.push(hex("01 03 48 65 6c 80 02 6c 6f"))
    server.push(hex("89 05 48 65 6c 6c 6f"))
    server.push(Buffer.concat([hex("82 7f 0000000000010000"), Buffer.alloc(65_536, "x")]))
    const client = reader({ masked: true })
    client.push(hex("81 85 37 fa 21 3d 7f 9f 4d 51 58"))
    client.push(hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"))
    expect(server.heard).toEqual(["Hello", "Hello", "ping Hello", "x".repeat(65_536)])
    expect(client.heard).toEqual(["Hello", "pong"])
    expect(encodeFrame(Opcode.Text, Buffer.from("Hello"), false).toString("hex")).toBe("810548656c6c6f")
    expect(encodeFrame(Opcode.Binary, Buffer.alloc(256), false).subarray(0, 4).toString("hex")).toBe("827e0100")
    expect(encodeFrame(Opcode.Close, closePayload(1000, "bye"), false).toString("hex")).toBe("880503e8627965")
  })

  test("any message comes back whole, masked or not, in pieces of any size", () => {
    const random = seeded(20_261_121)
    forRounds(random, 60, (round) => {
      const masked = random.next() < 0.5
      const texts = Array.from({ length: 3 }, () =>
        "äx✓".repeat(Math.floor(random.next() ** 6 * 30_000) + (round % 3) * 42)
      )
      const bytes = Buffer.concat(texts.map((text) => encodeFrame(Opcode.Text, Buffer.from(text), masked)))
      const { heard, push } = reader({ masked })
      for (let at = 0; at < bytes.length;) {
        const size = 1 + random.int(1 + random.int(4_000))
        push(bytes.subarray(at, at + size))
        at += size
      }
      expect(heard.length).toBe(3)
      expect(heard.every((text, at) => text === texts[at])).toBe(true)
    })
  })

  test("what breaks a rule is a fault with the code that says so", () => {
    const frame = (text: string) => () => reader({ masked: false, maxBytes: 1_000 }).push(hex(text))
    expect(faultOf(frame("c1 00"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("83 00"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("8b 00"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("81 80 00000000"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(() => reader({ masked: true }).push(hex("81 00")))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("09 00"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("89 7e 0080"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("80 00"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("01 00 81 00"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("88 01 03"))).toBe(CloseCode.ProtocolError)
    expect(faultOf(frame("81 02 c3 28"))).toBe(CloseCode.NotUtf8)
  })

  test("a length beyond the bound is refused before a byte of it has come", () => {
    expect(faultOf(() => reader({ masked: false, maxBytes: 1_000 }).push(hex("81 7e 03e9")))).toBe(CloseCode.TooLarge)
    expect(faultOf(() => reader({ masked: false }).push(hex("81 7f ffffffffffffffff")))).toBe(CloseCode.TooLarge)
    const parts = reader({ masked: false, maxBytes: 1_000 })
    parts.push(Buffer.concat([hex("01 7e 0320"), Buffer.alloc(800, "x")]))
    expect(faultOf(() => parts.push(hex("80 7e 00c9")))).toBe(CloseCode.TooLarge)
    const many = reader({ masked: false, maxBytes: 1_000_000 })
    many.push(hex("01 00"))
    expect(
      faultOf(() => {
        for (let at = 0; at <= MAX_FRAGMENTS; at++) many.push(hex("00 00"))
      })
    ).toBe(CloseCode.TooLarge)
  })

  test("random, cut and flipped bytes end in faults only", () => {
    const random = seeded(7)
    let faults = 0
    forRounds(random, 3_000, (round) => {
      const whole = encodeFrame(Opcode.Text, Buffer.from("some text of a message"), true)
      const bytes = round % 2 === 0 ? random.bytes(40) : mutate(random, whole)
      const { push } = reader({ masked: true, maxBytes: 4_096 })
      if (faultOf(() => push(bytes)) !== undefined) faults += 1
    })
    expect(faults).toBeGreaterThan(1_000)
  })
})
