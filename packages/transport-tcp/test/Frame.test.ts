/** Verifies: the bytes of every frame and record, their round trip, and that no bytes of a stranger break the parsers. */
import { describe, expect, test } from "bun:test"
import * as Frame from "@parley/transport-tcp/Frame"
import { RecordReader } from "../src/internal/Records.ts"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

type Event = ReadonlyArray<string | number>

/** Writes down what it hears; stops after `most` frames. */
class Recorder implements Frame.FrameSink {
  readonly events: Array<Event> = []
  readonly most: number

  constructor(most = Infinity) {
    this.most = most
  }

  onDataFrame(stream: number, flags: number, protocol: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (start > end || end > bytes.length) throw new Error(`a frame reaches from ${start} to ${end} of ${bytes.length}`)
    return this.#add("data", stream, flags, protocol, hex(bytes.subarray(start, end)))
  }
  onCreditFrame(stream: number, amount: number): boolean {
    return this.#add("credit", stream, amount)
  }
  onResetFrame(stream: number, code: number): boolean {
    return this.#add("reset", stream, code)
  }
  onPing(): boolean {
    return this.#add("ping")
  }
  onPong(): boolean {
    return this.#add("pong")
  }
  onGoAway(): boolean {
    return this.#add("goaway")
  }
  #add(...event: Event): boolean {
    this.events.push(event)
    return this.events.length < this.most
  }
}

/** Encodes an event as the session does. */
const encode = (event: Event): Uint8Array => {
  const [name, stream = 0, third = 0, fourth = 0, body = ""] = event
  const out = new Uint8Array(Frame.MAX_RECORD_BYTES)
  const bare = (type: number): Uint8Array => {
    Frame.writeHeader(out, 0, type, 0, 0)
    return out.slice(0, Frame.HEADER_BYTES)
  }
  switch (name) {
    case "data": {
      const flags = Number(third)
      const bytes = Buffer.from(String(body), "hex")
      const open = (flags & Frame.Flag.Open) === 0 ? 0 : 1
      Frame.writeHeader(out, 0, flags, Number(stream), bytes.length + open)
      if (open === 1) out[Frame.HEADER_BYTES] = Number(fourth)
      out.set(bytes, Frame.HEADER_BYTES + open)
      return out.slice(0, Frame.HEADER_BYTES + open + bytes.length)
    }
    case "credit":
      Frame.writeCredit(out, 0, Number(stream), Number(third))
      return out.slice(0, Frame.CREDIT_BYTES)
    case "reset":
      Frame.writeReset(out, 0, Number(stream), Number(third))
      return out.slice(0, Frame.RESET_BYTES)
    case "ping":
      return bare(Frame.Type.Ping)
    case "pong":
      return bare(Frame.Type.Pong)
    default:
      return bare(Frame.Type.GoAway)
  }
}

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

describe("Frame", () => {
  test("every frame is these bytes", () => {
    const snapshot: ReadonlyArray<readonly [Event, string]> = [
      [["data", 1, Frame.Flag.Open | Frame.Flag.Last, 5, "6869"], "30000000010003056869"],
      [["data", 0xffff_fffe, 0, 0, "68"], "00fffffffe000168"],
      [["data", 3, Frame.Flag.More, 0, ""], "40000000030000"],
      [["data", 2, Frame.Flag.Last, 0, "00"], "2000000002000100"],
      [["credit", 0, 0x0080_0000], "0100000000000400800000"],
      [["credit", 7, 0xffff_ffff], "01000000070004ffffffff"],
      [["reset", 9, 4], "0200000009000104"],
      [["ping"], "03000000000000"],
      [["pong"], "04000000000000"],
      [["goaway"], "05000000000000"]
    ]
    for (const [event, bytes] of snapshot) expect([event, hex(encode(event))]).toEqual([event, bytes])
    const recorder = new Recorder()
    expect(Frame.parse(concat(snapshot.map(([event]) => encode(event))), recorder)).toBe(undefined)
    expect(recorder.events).toEqual(snapshot.map(([event]) => event))
  })

  test("random frames come back as they were", () => {
    const random = seeded(11)
    forRounds(random, 500, () => {
      const events = Array.from({ length: 1 + random.int(8) }, (): Event => {
        const stream = 1 + random.int(0xffff_ffff)
        switch (random.int(6)) {
          case 0:
            return ["credit", random.int(2) * stream, 1 + random.int(0xffff_ffff)]
          case 1:
            return ["reset", stream, random.int(256)]
          case 2:
            return ["ping"]
          case 3:
            return ["goaway"]
          default: {
            const open = random.int(2) * Frame.Flag.Open
            const flags = open | random.pick([0, Frame.Flag.Last, Frame.Flag.More])
            return ["data", stream, flags, open === 0 ? 0 : random.int(256), hex(random.bytes(random.int(300)))]
          }
        }
      })
      const recorder = new Recorder()
      expect(Frame.parse(concat(events.map(encode)), recorder)).toBe(undefined)
      expect(recorder.events).toEqual(events)
    })
  })

  test("a frame that breaks a rule is named, and nothing of it is heard", () => {
    const cases: ReadonlyArray<readonly [string, string]> = [
      ["0000000001", "inside the head"],
      ["0000000001000261", "declares 2 bytes"],
      ["00000000000000", "for stream 0"],
      ["60000000010000", "flags"],
      ["80000000010000", "flags"],
      ["10000000010000", "no protocol"],
      ["010000000100030000ff", "3 bytes instead of 4"],
      ["0100000001000400000000", "gives nothing"],
      ["0200000001000200ff", "2 bytes instead of 1"],
      ["0200000000000100", "for stream 0"],
      ["03000000010000", "a body or a stream"],
      ["0300000000000100", "a body or a stream"],
      ["06000000000000", "unknown type"],
      ["23000000000000", "unknown type"]
    ]
    for (const [bytes, why] of cases) {
      const recorder = new Recorder()
      const wrong = Frame.parse(Buffer.from("03000000000000" + bytes, "hex"), recorder)
      expect([bytes, wrong?.includes(why), recorder.events]).toEqual([bytes, true, [["ping"]]])
    }
  })

  test("the sink can stop the parser", () => {
    const recorder = new Recorder(1)
    expect(Frame.parse(concat([encode(["ping"]), Uint8Array.of(0xff)]), recorder)).toBe(undefined)
    expect(recorder.events).toEqual([["ping"]])
  })

  test("100,000 hostile inputs end in frames or a reason, never in a throw", () => {
    const random = seeded(12)
    const valid = concat([
      encode(["data", 1, Frame.Flag.Open, 5, "68656c6c6f"]),
      encode(["credit", 1, 70_000]),
      encode(["reset", 3, 1]),
      encode(["ping"]),
      encode(["data", 1, Frame.Flag.Last, 0, "6279"])
    ])
    let refused = 0
    forRounds(random, 100_000, (round) => {
      const bytes = round % 2 === 0 ? mutate(random, valid) : random.bytes(random.int(40))
      if (Frame.parse(bytes, new Recorder()) !== undefined) refused++
    })
    expect(refused > 50_000 && refused < 100_000).toBe(true)
  }, 60_000)
})

describe("records", () => {
  const record = (length: number, fill: number): Uint8Array => {
    const bytes = new Uint8Array(2 + length).fill(fill)
    bytes[0] = length >>> 8
    bytes[1] = length
    return bytes
  }
  const read = (chunks: ReadonlyArray<Uint8Array>) => {
    const seen: Array<string> = []
    const reader = new RecordReader((bytes) => {
      seen.push(`${bytes.length}:${bytes[0]}:${bytes.at(-1)}`)
      return true
    })
    let wrong: string | undefined
    for (const chunk of chunks) wrong ??= reader.push(chunk)
    return { seen, wrong }
  }

  test("come out whole wherever the bytes are cut", () => {
    const stream = concat([record(23, 1), record(300, 2), record(24, 3)])
    const whole = ["23:1:1", "300:2:2", "24:3:3"]
    for (let at = 0; at <= stream.length; at++) {
      expect(read([stream.subarray(0, at), stream.subarray(at)])).toEqual({ seen: whole, wrong: undefined })
    }
    expect(read(Array.from(stream, (byte) => Uint8Array.of(byte)))).toEqual({ seen: whole, wrong: undefined })
    const random = seeded(13)
    forRounds(random, 300, () => {
      const chunks: Array<Uint8Array> = []
      for (let at = 0; at < stream.length;) {
        const end = at + 1 + random.int(120)
        chunks.push(stream.subarray(at, end))
        at = end
      }
      expect(read(chunks)).toEqual({ seen: whole, wrong: undefined })
    })
  })

  test("the largest fits, and one too short to hold a frame is refused", () => {
    expect(read([record(65_535, 7).subarray(0, 40_000), record(65_535, 7).subarray(40_000)]).seen).toEqual([
      "65535:7:7"
    ])
    expect(read([Uint8Array.of(0, 22)]).wrong).toBe("a record declares 22 bytes, the least is 23")
  })

  test("100,000 hostile chunks never break the reader", () => {
    const random = seeded(14)
    let records = 0
    forRounds(random, 100_000, () => {
      const reader = new RecordReader(() => ++records > 0)
      const bytes = mutate(random, concat([record(23, 1), record(40, 2)]))
      const cut = random.int(bytes.length + 1)
      if (reader.push(bytes.subarray(0, cut)) === undefined) reader.push(bytes.subarray(cut))
    })
    expect(records > 50_000).toBe(true)
  }, 60_000)
})
