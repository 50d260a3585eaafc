/** Verifies: the bytes of a task's messages as `docs/protocol.md` gives them, both ways, and that no bytes break a reader. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as Envelope from "../src/internal/Envelope.ts"
import * as JsonCodec from "../src/internal/JsonCodec.ts"
import * as Refusal from "../src/internal/Refusal.ts"
import * as TaskId from "../src/internal/TaskId.ts"
import { forRounds, mutate, type Seeded, seeded } from "../src/testing/Seeded.ts"
import { unhex } from "./vectors.ts"
import { requestOf } from "./wire.ts"

const HOSTILE_ROUNDS = 100_000
const hex = (...parts: ReadonlyArray<Uint8Array | string>): string =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : Buffer.from(part)))).toString("hex")
const message = (head: Uint8Array, body: string): Uint8Array => Buffer.concat([head, Buffer.from(body)])
const peer = Identity.generate().nodeId

const plain = requestOf({
  task: TaskId.read(unhex("000102030405060708090a0b0c0d0e0f"), 0),
  capability: "text.echo@1.0.0",
  deadlineMs: 30_000,
  hops: 2
})
const full: Envelope.Request = {
  ...plain,
  receipt: true,
  stream: true,
  budget: 0.25,
  trace: { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true }
}

const raw: Envelope.Request = { ...plain, bytes: true, raw: true }

describe("the bytes of a task", () => {
  test("a request", () => {
    expect(hex(Envelope.encodeRequest(plain), '{"n":1}')).toBe(
      "01000200007530000102030405060708090a0b0c0d0e0f0f746578742e6563686f40312e302e307b226e223a317d"
    )
  })

  test("a request with receipt, stream, trace and budget", () => {
    expect(hex(Envelope.encodeRequest(full), "1")).toBe(
      "010f020000753000" +
        "0102030405060708090a0b0c0d0e0f" +
        "0f746578742e6563686f40312e302e30" +
        "4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b701" +
        "3fd0000000000000" +
        "31"
    )
  })

  test("a request whose input are bytes", () => {
    const bytes = Buffer.concat([Envelope.encodeRequest(raw), Uint8Array.of(1, 2)])
    expect(hex(bytes)).toBe("01600200007530000102030405060708090a0b0c0d0e0f0f746578742e6563686f40312e302e300102")
    expect(Envelope.decodeRequest(bytes)).toMatchObject({ bytes: true, raw: true, body: '"AQI="' })
  })

  test("a request for a stream that may come as batches and bytes", () => {
    const request = { ...plain, stream: true, batches: true, bytes: true }
    expect(hex(Envelope.encodeRequest(request), "1")).toBe(
      "01380200007530000102030405060708090a0b0c0d0e0f0f746578742e6563686f40312e302e3031"
    )
  })

  test("answers", () => {
    expect(hex(Envelope.encodeResume({ ...plain, stream: true }, 5))).toBe(
      "0c08000102030405060708090a0b0c0d0e0f0000000000000005"
    )
    const far = Envelope.decodeResume(Envelope.encodeResume({ ...plain, receipt: true, bytes: true }, 2 ** 53 - 1))
    expect(far).toMatchObject({ hex: "000102030405060708090a0b0c0d0e0f", next: 2 ** 53 - 1 })
    expect([far?.receipt, far?.stream, far?.bytes]).toEqual([true, false, true])
    expect(Envelope.decodeResume(Envelope.encodeResume(plain, 2 ** 53))).toBeUndefined()
    expect(hex(Envelope.encodeResult(undefined, true), Uint8Array.of(0, 255))).toBe("0b000000ff")
    expect(hex(Envelope.encodeResult("{}", true), Uint8Array.of(1))).toBe("0b00027b7d01")
    expect(Envelope.decodeResponse(unhex("0b00027b7d0102"))).toEqual({ _tag: "Result", body: '"AQI="', receipt: "{}" })
    expect(hex(Envelope.encodeAccepted(1_500, 3))).toBe("02000005dc00000003")
    expect(hex(Envelope.encodeResult(undefined), '"ok"')).toBe("030000226f6b22")
    expect(hex(Envelope.encodeResult("{}"), "1")).toBe("0300027b7d31")
    expect(hex(Envelope.heads.rejected, "{}")).toBe("047b7d")
    expect(hex(Envelope.heads.countered, "{}")).toBe("057b7d")
    expect(hex(Envelope.heads.failed, "{}")).toBe("067b7d")
    expect(hex(Envelope.heads.chunk, "1")).toBe("0731")
    expect(hex(Envelope.heads.chunks, "[1,2]")).toBe("095b312c325d")
    expect(hex(Envelope.heads.bytes, Uint8Array.of(0, 255))).toBe("0a00ff")
    expect(hex(Envelope.encodeEnd)).toBe("08")
  })

  test("refusals", () => {
    expect(Refusal.encode({ code: "Overloaded", detail: "too much", retryAfterMs: 12 })).toBe(
      '{"detail":"too much","code":"Overloaded","retryAfterMs":12}'
    )
    expect(Refusal.encode({ detail: "later", deadlineMs: 1_500 })).toBe('{"detail":"later","deadlineMs":1500}')
    expect(Refusal.encode({ by: "handler", code: "Broken", detail: "it broke" })).toBe(
      '{"detail":"it broke","by":"handler","code":"Broken"}'
    )
  })
})

const randomRequest = (random: Seeded): Envelope.Request => ({
  task: TaskId.read(random.bytes(16), 0),
  capability: random.int(2) === 0 ? "work.do@1.0.0" : "x".repeat(random.int(256)),
  deadlineMs: random.int(0xffff_ffff),
  hops: random.int(256),
  receipt: random.int(2) === 0,
  stream: random.int(2) === 0,
  batches: random.int(2) === 0,
  bytes: random.int(2) === 0,
  raw: false,
  budget: random.int(2) === 0 ? undefined : random.next() * 1e6,
  trace:
    random.int(2) === 0
      ? undefined
      : {
          traceId: Buffer.from(random.bytes(16)).toString("hex"),
          spanId: Buffer.from(random.bytes(8)).toString("hex"),
          sampled: random.int(2) === 0
        }
})

test("no fresh task id comes twice", () => {
  const ids = new Set(Array.from({ length: 10_000 }, () => TaskId.fresh().hex))
  expect(ids.size).toBe(10_000)
  expect([...ids].every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true)
})

describe("what is written is read", () => {
  test("requests", () => {
    const random = seeded(0xe17e)
    forRounds(random, 5_000, () => {
      const request = randomRequest(random)
      const body = JSON.stringify({ text: Buffer.from(random.bytes(random.int(40))).toString("latin1") })
      const bytes = message(Envelope.encodeRequest(request), body)
      expect(Envelope.requestBodyBytes(bytes)).toBe(Buffer.byteLength(body))
      const { task, ...sent } = request
      const read = Envelope.decodeRequest(bytes)!
      expect(read).toMatchObject({ ...sent, body })
      expect(read.hex).toBe(task.hex)
    })
  })

  test("answers", () => {
    const random = seeded(0xa15e)
    forRounds(random, 5_000, () => {
      const body = JSON.stringify("é".repeat(random.int(30)))
      const receipt = random.int(2) === 0 ? undefined : JSON.stringify({ r: "x".repeat(random.int(2_000)) })
      const read = Envelope.decodeResponse(message(Envelope.encodeResult(receipt), body))
      expect(read).toEqual({ _tag: "Result", body, receipt })
      const [estimateMs, waiting] = [random.int(1e9), random.int(1e9)]
      expect(Envelope.decodeResponse(Envelope.encodeAccepted(estimateMs, waiting))).toEqual({
        _tag: "Accepted",
        estimateMs,
        waiting
      })
    })
  })

  test("JSON, short or long, but for a member that would change a prototype", () => {
    const padding = " ".repeat(100)
    for (const text of ['{"a":[1,null,"\\u00e9"]}', "[]", "0", '"\\u005f_proto__"']) {
      for (const padded of [text, text + padding]) {
        expect(JsonCodec.parse(padded, 64)).toEqual(JSON.parse(text))
      }
    }
    for (const text of ['{"__proto__":1}', '[{"\\u005f_proto__":{}}]', "", "{", "NaN"]) {
      for (const padded of [text, text + padding]) expect(JsonCodec.parse(padded, 64)).toBeInstanceOf(JsonCodec.Unfit)
    }
  })

  test("refusals, whatever a hook puts into them", () => {
    const random = seeded(0x4ef)
    const odd = [Number.NaN, Number.POSITIVE_INFINITY, -1, "12", undefined, null, {}, 1.5]
    forRounds(random, 5_000, () => {
      const detail = random.pick(["", "x".repeat(5_000), "\ud800", undefined, 7, "plain"]) as string
      const body = { detail, deadlineMs: random.pick(odd), retryAfterMs: random.pick(odd), costUsd: random.pick(odd) }
      const countered = Refusal.toReason("Countered", Refusal.encode(body as Refusal.CounteredBody), peer, "a@1", 1)
      expect(countered._tag).toBe("Countered")
      const code = random.pick(["", "Overloaded", "c".repeat(500), undefined, "TooLarge", "HopLimit"]) as string
      const rejected = Refusal.toReason(
        "Rejected",
        Refusal.encode({ ...body, code } as Refusal.RejectedBody),
        peer,
        "a@1",
        1
      )
      expect(rejected._tag).not.toBe("BadAnswer")
    })
  })
})

describe(`hostile bytes, ${HOSTILE_ROUNDS} each`, () => {
  test("requests", () => {
    const random = seeded(0x4057)
    let read = 0
    forRounds(random, HOSTILE_ROUNDS, (round) => {
      const bytes =
        round % 4 === 0
          ? random.bytes(random.int(80))
          : mutate(random, message(Envelope.encodeRequest(random.pick([plain, full, raw])), '{"n":1}'))
      const size = Envelope.requestBodyBytes(bytes)
      const request = Envelope.decodeRequest(bytes)
      if (request === undefined) return
      read += 1
      if (request.hex.length !== 32 || request.capability.length > 255) throw new Error("bounds")
      if (request.raw && request.body.length !== size) throw new Error("a body of another size")
      if (request.budget !== undefined && !(request.budget >= 0)) throw new Error("a negative budget")
    })
    // Some still are requests, or nothing was tried.
    expect(read).toBeGreaterThan(1_000)
  }, 60_000)

  test("answers", () => {
    const random = seeded(0x4058)
    const samples = [
      Envelope.encodeAccepted(1, 2),
      message(Envelope.encodeResult('{"r":1}'), '"ok"'),
      message(Envelope.encodeResult('{"r":1}', true), "bytes"),
      message(Envelope.heads.failed, '{"by":"handler","code":"x","detail":"y"}'),
      message(Envelope.heads.chunk, "[1]"),
      Envelope.encodeEnd
    ]
    let read = 0
    forRounds(random, HOSTILE_ROUNDS, (round) => {
      const bytes = round % 4 === 0 ? random.bytes(random.int(60)) : mutate(random, random.pick(samples))
      if (Envelope.decodeResponse(bytes) !== undefined) read += 1
    })
    expect(read).toBeGreaterThan(1_000)
  }, 60_000)

  test("refusals", () => {
    const random = seeded(0x4059)
    const samples = [
      Refusal.encode({ code: "Overloaded", detail: "d", retryAfterMs: 1, bytes: 2, limit: 3 }),
      Refusal.encode({ detail: "d", deadlineMs: 1, costUsd: 2, retryAfterMs: 3 }),
      Refusal.encode({ by: "executor", code: "OutputInvalid", detail: "d" })
    ].map((text) => Buffer.from(text))
    const tags = new Map<string, number>()
    forRounds(random, HOSTILE_ROUNDS, (round) => {
      const bytes = round % 8 === 0 ? random.bytes(random.int(60)) : mutate(random, random.pick(samples))
      const kind = random.pick(["Rejected", "Countered", "Failed"] as const)
      const reason = Refusal.toReason(kind, Buffer.from(bytes).toString("utf8"), peer, "a@1.0.0", 10)
      tags.set(reason._tag, (tags.get(reason._tag) ?? 0) + 1)
      if (reason._tag === "Countered" && !((reason.deadlineMs ?? 0) >= 0)) throw new Error("a negative deadline")
    })
    for (const tag of ["BadAnswer", "Countered", "Overloaded"]) expect(tags.get(tag)).toBeGreaterThan(50)
  }, 120_000)

  test("JSON bodies", () => {
    const random = seeded(0x405a)
    const samples = [
      '{"a":[1,2,{"b":null}],"c":"\\u00e9"}',
      "[[[[[[1]]]]]]",
      '{"__proto__":{"x":1}}',
      '"\\ud800"',
      "-1e5"
    ].map((text) => Buffer.from(text))
    let read = 0
    forRounds(random, HOSTILE_ROUNDS, (round) => {
      const bytes = round % 8 === 0 ? random.bytes(random.int(60)) : mutate(random, random.pick(samples))
      const parsed = JsonCodec.parse(Buffer.from(bytes).toString("utf8"), 5)
      if (parsed instanceof JsonCodec.Unfit) return
      read += 1
      const text = JSON.stringify(parsed)
      if (/"__proto__":/.test(text) || text.startsWith("[[[[[[")) throw new Error(`read ${text}`)
    })
    expect(read).toBeGreaterThan(1_000)
  }, 60_000)
})
