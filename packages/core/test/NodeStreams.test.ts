/** Verifies: long answers come in order and to the end, a slow reader bounds the producer, and either end may stop. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import { WINDOW_BYTES } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { idle, makeMesh, makeSignal, reasonOf, run, until } from "./mesh.ts"

const Rows = Capability.stream("rows.read", {
  version: "1.0.0",
  input: Schema.Struct({ rows: Schema.Int }),
  output: Schema.Struct({ n: Schema.Int, text: Schema.String })
})
const ROW_BYTES = 1_024
const filler = "x".repeat(ROW_BYTES)

describe("Node.stream", () => {
  test("a slow reader bounds what the producer makes, in bytes", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        let made = 0
        const total = 20_000
        yield* ada.serve(Rows, ({ rows }) =>
          Stream.map(Stream.rechunk(Stream.range(1, rows), 1), (n) => {
            made += 1
            return { n, text: filler }
          })
        )
        const gate = makeSignal()
        let got = 0
        const reading = yield* Effect.forkChild(
          Stream.runForEach(bob.stream(Rows, { rows: total }), ({ n }) => {
            got += 1
            expect(n).toBe(got)
            return got === 1 ? gate.wait : Effect.void
          })
        )
        let before = -1
        // The producer stands still while the reader does.
        yield* until(
          "the producer has stopped",
          Effect.sync(() => {
            const still = made > 0 && made === before
            before = made
            return still
          })
        )
        // A window on the wire, as much in the reader's buffer, and one more on the way.
        expect(made * ROW_BYTES).toBeLessThan(4 * WINDOW_BYTES)
        gate.tell()
        yield* until(
          "all rows have come",
          Effect.sync(() => got === total)
        )
        expect(made).toBe(total)
        return reading
      })
    ))

  test("a reader that stops interrupts the producer", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const ended = makeSignal()
        yield* ada.serve(Rows, () =>
          Stream.ensuring(
            Stream.map(Stream.range(1, 1_000_000_000), (n) => ({ n, text: "" })),
            Effect.sync(ended.tell)
          )
        )
        const three = yield* Stream.runCollect(Stream.take(bob.stream(Rows, { rows: 1 }), 3))
        expect(three.map(({ n }) => n)).toEqual([1, 2, 3])
        yield* ended.wait
        yield* idle(ada)
        // Who had enough does not blame the producer.
        expect((yield* bob.status).trust).toEqual([])
      })
    ))

  test("what the producer sent before it failed arrives, and then its error", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Rows, () =>
          Stream.concat(Stream.make({ n: 1, text: "a" }, { n: 2, text: "b" }), Stream.fail("out of paper"))
        )
        const got: Array<number> = []
        const failing = Stream.runForEach(bob.stream(Rows, { rows: 1 }), ({ n }) => Effect.sync(() => void got.push(n)))
        expect(yield* reasonOf(failing)).toMatchObject({ _tag: "HandlerFailed", detail: "out of paper" })
        expect(got).toEqual([1, 2])
      })
    ))

  test("before the first chunk, a failure goes on to the next agent", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        yield* ada.serve(Rows, () => Stream.empty, { negotiate: () => ({ _tag: "Reject", code: "No", detail: "no" }) })
        yield* bob.serve(Rows, () => Stream.make({ n: 7, text: "bob" }))
        const all = yield* Stream.runCollect(cal.stream(Rows, { rows: 1 }, { where: { preferPeers: [ada.nodeId] } }))
        expect(all).toEqual([{ n: 7, text: "bob" }])
      })
    ))

  test("an empty answer ends at once", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Rows, () => Stream.empty)
        expect(yield* Stream.runCollect(bob.stream(Rows, { rows: 0 }))).toEqual([])
        expect((yield* bob.status).trust).toMatchObject([{ node: ada.nodeId, why: "streamed" }])
      })
    ))

  test("a chunk that does not fit, or is too large, ends the stream with a typed error", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { maxPayloadBytes: 2_000 } })
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal", { guardrails: { maxPayloadBytes: 500 } })
        yield* ada.serve(Capability.untyped("rows.read", { kind: "stream" }), (input) => {
          const { rows } = input as { readonly rows: number }
          return Stream.make({ n: 1, text: "" }, rows < 0 ? { n: "one" } : { n: 2, text: "x".repeat(rows) })
        })
        const drain = (node: typeof bob, rows: number) => reasonOf(Stream.runDrain(node.stream(Rows, { rows })))
        expect(yield* drain(bob, -1)).toMatchObject({ _tag: "OutputInvalid", peer: ada.nodeId })
        expect(yield* drain(bob, 3_000)).toMatchObject({ _tag: "TooLarge", limit: 2_000 })
        expect(yield* drain(cal, 1_000)).toMatchObject({ _tag: "TooLarge", limit: 500 })
        yield* idle(ada)
      })
    ))

  test("a stream that lasts beyond its deadline is stopped at both ends", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const ended = makeSignal()
        yield* ada.serve(Rows, () =>
          Stream.concat(Stream.make({ n: 1, text: "" }), Stream.never).pipe(Stream.ensuring(Effect.sync(ended.tell)))
        )
        const reason = yield* reasonOf(Stream.runDrain(bob.stream(Rows, { rows: 1 }, { deadline: 1_000 })))
        expect(reason).toMatchObject({ _tag: "DeadlineExceeded" })
        yield* ended.wait
      })
    ))
})
