/** Verifies: however the chunks of a stream travel, its reader gets the same ones, and no message of chunks breaks a reader. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Guardrails from "@parley/core/Guardrails"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import type { StreamHandler } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Envelope from "../src/internal/Envelope.ts"
import { type Job, makeJob, type Wanted } from "../src/internal/Job.ts"
import { readChunks } from "../src/internal/ReadChunks.ts"
import { TaskId } from "../src/internal/TaskId.ts"
import { forRounds, mutate, seeded } from "../src/testing/Seeded.ts"
import { makeMesh, makeSignal, meet, reasonOf, run } from "./mesh.ts"
import { announce } from "./records.ts"
import { requestMessage } from "./wire.ts"

const HOSTILE_ROUNDS = 100_000
const Rows = Capability.stream("rows.read", {
  version: "1.0.0",
  input: Schema.Int,
  output: Schema.Struct({ n: Schema.Int, text: Schema.String })
})
const Blocks = Capability.stream("blocks.read", { version: "1.0.0", input: Schema.Int, output: Schema.Uint8Array })

/** Cuts items into arrays of random length, as producers give them. */
const inArrays = <A>(items: ReadonlyArray<A>, cuts: ReadonlyArray<number>): Stream.Stream<A> => {
  let at = 0
  return Stream.flatMap(Stream.fromIterable(cuts), (length) => Stream.fromArray(items.slice(at, (at += length)))).pipe(
    Stream.concat(Stream.suspend(() => Stream.fromArray(items.slice(at))))
  )
}

const request = (capability: string, change: Partial<Envelope.Request>): Uint8Array =>
  requestMessage("1", { capability, stream: true, ...change })

describe("the chunks of a stream", () => {
  test("come once, in order and whole, whatever arrays they were made in", () => {
    const random = seeded(0xc4a1)
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const long = ["", "é", "x".repeat(300), "y".repeat(20_000), "\u{1f600}".repeat(30_000)]
        const rows = Array.from({ length: 5_000 }, (_, n) => ({
          n,
          text: random.int(500) === 0 ? random.pick(long) : `row ${n}`
        }))
        const cuts = Array.from({ length: 200 }, () => random.int(random.int(10) === 0 ? 800 : 20))
        yield* ada.serve(Rows, () => inArrays(rows, cuts))
        const read = yield* Stream.runCollect(bob.stream(Rows, 1))
        expect(read.length).toBe(rows.length)
        expect(read).toEqual(rows)
      })
    )
  })

  test("bytes come as they were", () => {
    const random = seeded(0xc4a2)
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const sizes = [0, 1, 100, 32_767, 32_768, 65_511, 65_536, 200_000, 1_000_000]
        const blocks = Array.from({ length: 60 }, () => random.bytes(random.pick(sizes)))
        yield* ada.serve(Blocks, () => inArrays(blocks, [1, 2, 30]))
        const read = yield* Stream.runCollect(bob.stream(Blocks, 1))
        expect(read.map(({ length }) => length)).toEqual(blocks.map(({ length }) => length))
        // A plain array of bytes of their own, whatever else the transport holds.
        expect(read.every((bytes, at) => Buffer.compare(bytes, blocks[at]!) === 0)).toBe(true)
        // Who knows no definition gets the JSON that stands for them.
        const untyped = yield* Stream.runCollect(bob.stream("blocks.read", 1))
        expect(untyped).toEqual(blocks.map((bytes) => Buffer.from(bytes).toString("base64")))
      })
    )
  })

  test("what is no chunk, or too large, ends the stream behind the chunks before it", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { maxPayloadBytes: 1_000 } })
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal", { guardrails: { maxPayloadBytes: 300 } })
        const few = Array.from({ length: 40 }, (_, n) => ({ n, text: "" }))
        const odd: { [n: number]: ReadonlyArray<unknown> } = {
          1: [...few, { n: "one" }],
          2: [...few, undefined, few[0]],
          3: [...few, { n: 1, text: "x".repeat(1_001) }, few[0]],
          4: [...few, { n: 1, text: "x".repeat(400) }, few[0]]
        }
        yield* ada.serve(Capability.untyped("rows.read", { kind: "stream" }), (input) =>
          Stream.fromArray(odd[input as number] as ReadonlyArray<Schema.Json>)
        )
        yield* ada.serve(Blocks, (n) => Stream.make(Uint8Array.of(n), new Uint8Array(n)))
        const drain = (node: typeof bob, input: number) => {
          let count = 0
          const reading = Stream.runForEach(node.stream(Rows, input), () => Effect.sync(() => void (count += 1)))
          return Effect.map(reasonOf(reading), ({ _tag }) => [count, _tag] as const)
        }
        expect(yield* drain(bob, 1)).toEqual([40, "OutputInvalid"])
        expect((yield* drain(bob, 2))[0]).toBe(40)
        expect(yield* drain(bob, 3)).toEqual([40, "TooLarge"])
        expect(yield* drain(cal, 4)).toEqual([40, "TooLarge"])
        const blocks = (node: typeof bob, n: number) => reasonOf(Stream.runDrain(node.stream(Blocks, n)))
        expect(yield* blocks(bob, 1_001)).toMatchObject({ _tag: "TooLarge", limit: 1_000 })
        expect(yield* blocks(cal, 301)).toMatchObject({ _tag: "TooLarge", limit: 300, bytes: 301 })
      })
    ))

  test("each comes as JSON of its own to who offers nothing else", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        yield* ada.serve(Rows, () => Stream.make({ n: 1, text: "a" }, { n: 2, text: "b" }, { n: 3, text: "c" }))
        yield* ada.serve(Blocks, () => Stream.make(Uint8Array.of(1, 2), Uint8Array.of(3)))
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        const messagesOf = (capability: string, change: Partial<Envelope.Request>) =>
          Effect.gen(function* () {
            const over = makeSignal()
            const messages: Array<string> = []
            const handler: StreamHandler = {
              onMessage: (message, last) => {
                messages.push(`${message[0]} ${Buffer.from(message.subarray(1)).toString("latin1")}`)
                if (last) over.tell()
              },
              onWritable: () => {},
              onClosed: over.tell
            }
            const task = new TaskId(1, 2, 3, Math.floor(performance.now() * 1_000) >>> 0)
            connection.open(Protocol.CALL, handler)!.send(request(capability, { task, ...change }), undefined, true)
            yield* over.wait
            return messages
          })
        const [a, b, c] = ['{"n":1,"text":"a"}', '{"n":2,"text":"b"}', '{"n":3,"text":"c"}']
        expect(yield* messagesOf(Rows.id, {})).toEqual([`7 ${a}`, `7 ${b}`, `7 ${c}`, "8 "])
        expect(yield* messagesOf(Rows.id, { bytes: true })).toEqual([`7 ${a}`, `7 ${b}`, `7 ${c}`, "8 "])
        expect(yield* messagesOf(Rows.id, { batches: true })).toEqual([`9 [${a},${b},${c}]`, "8 "])
        expect(yield* messagesOf(Blocks.id, {})).toEqual(['7 "AQI="', '7 "Aw=="', "8 "])
        expect(yield* messagesOf(Blocks.id, { batches: true })).toEqual(['9 ["AQI=","Aw=="]', "8 "])
        expect(yield* messagesOf(Blocks.id, { bytes: true })).toEqual(["10 \x01\x02", "10 \x03", "8 "])
      })
    ))

  test("an executor that sends only JSON, one by one, is understood", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const stranger = yield* mesh.stranger()
        yield* stranger.connections.handle(Protocol.CALL, (_, stream) => ({
          onMessage: () => {
            for (const text of ['"AQI="', '""']) stream.send(Envelope.heads.chunk, text, false)
            stream.send(Envelope.encodeEnd, undefined, true)
          },
          onWritable: () => {},
          onClosed: () => {}
        }))
        yield* announce(stranger, ada, [Blocks])
        const read = yield* Stream.runCollect(ada.stream(Blocks, 1))
        expect(read).toEqual([Uint8Array.of(1, 2), new Uint8Array(0)])
      })
    ))
})

describe(`messages of chunks, ${HOSTILE_ROUNDS} hostile ones`, () => {
  const settings = { ...Guardrails.defaults, maxPayloadBytes: 200, maxJsonDepth: 4 }
  const jobOf = (wanted: Wanted): Job => {
    const job = makeJob(settings, wanted, "stream", 1, {}, undefined, true, undefined)
    if ("_tag" in job) throw new Error(job._tag)
    return job
  }
  const rows = jobOf(Rows as unknown as Wanted)
  const blocks = jobOf(Blocks as unknown as Wanted)
  const node = Identity.generate().nodeId
  const candidate = { node, capability: Rows.id, name: Rows.name, addresses: [] }

  test("are read within bounds, or are typed failures", () => {
    const random = seeded(0xc4a3)
    const message = (head: Uint8Array, body: string | Uint8Array) => Buffer.concat([head, Buffer.from(body as string)])
    const samples = [
      message(Envelope.heads.chunk, '{"n":1,"text":"a"}'),
      message(Envelope.heads.chunk, '"AQI="'),
      message(Envelope.heads.chunks, '[{"n":1,"text":"a"},{"n":2,"text":"b"}]'),
      message(Envelope.heads.chunks, '["AQI=","","Aw=="]'),
      message(Envelope.heads.chunks, `[${'{"n":1,"text":"a"},'.repeat(20)}0]`),
      message(Envelope.heads.chunks, "[[[[[[[]]]]]]]"),
      message(Envelope.heads.chunks, "{}"),
      message(Envelope.heads.bytes, random.bytes(100)),
      message(Envelope.heads.bytes, random.bytes(300))
    ]
    const seen = { read: 0, wrong: 0 }
    forRounds(random, HOSTILE_ROUNDS, (round) => {
      const sample = samples[round % samples.length]!
      const bytes = random.int(4) === 0 ? sample : mutate(random, sample)
      const job = random.int(2) === 0 ? rows : blocks
      const chunks: Array<unknown> = []
      const wrong = readChunks(settings, job, candidate, bytes, chunks)
      if (wrong === undefined) seen.read += 1
      else seen.wrong += 1
      if (wrong !== undefined && wrong._tag !== "TooLarge" && wrong._tag !== "OutputInvalid")
        throw new Error(wrong._tag)
      for (const chunk of chunks) {
        const fits = job === blocks ? chunk instanceof Uint8Array && chunk.length <= 200 : typeof chunk === "object"
        if (!fits) throw new Error(`a chunk of another kind: ${String(chunk)}`)
      }
    })
    expect(seen.read).toBeGreaterThan(HOSTILE_ROUNDS / 20)
    expect(seen.wrong).toBeGreaterThan(HOSTILE_ROUNDS / 20)
  }, 60_000)

  test("a message of more chunks than both ends agreed on is refused unread", () => {
    const body = `[${"1,".repeat(Envelope.MAX_BATCH_BYTES / 2)}1]`
    const chunks: Array<unknown> = []
    const wrong = readChunks(
      settings,
      rows,
      candidate,
      Buffer.concat([Envelope.heads.chunks, Buffer.from(body)]),
      chunks
    )
    expect(wrong).toMatchObject({ _tag: "OutputInvalid" })
    expect(chunks).toEqual([])
    const none = Buffer.concat([Envelope.heads.chunks, Buffer.from("[]")])
    expect(readChunks(settings, rows, candidate, none, chunks)).toMatchObject({ _tag: "OutputInvalid" })
  })
})
