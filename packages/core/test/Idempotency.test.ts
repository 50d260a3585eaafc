/** Verifies: the same key of the same caller runs once at one executor, and the memory of answers is bounded. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import type * as Guardrails from "@parley/core/Guardrails"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { makeEndless, makeMesh, makeSignal, reasonOf, run } from "./mesh.ts"

const Work = Capability.untyped("work.do@1.0.0")
/** A task whose caller has gone is given up within a moment. */
const nobodyComesBack = { ms: 20, perCaller: 16, entries: 16, bytes: 1_000_000 }

/** An executor that counts its runs, and two callers. */
const counting = Effect.fnUntraced(function* (guardrails: Partial<Guardrails.Settings> = {}) {
  const mesh = makeMesh()
  const ada = yield* mesh.node("ada", { guardrails })
  const bob = yield* mesh.node("bob")
  const cal = yield* mesh.node("cal")
  const runs: Array<unknown> = []
  yield* ada.serve(Work, (input) => Effect.sync(() => runs.push(input)))
  return { mesh, ada, bob, cal, runs }
})

describe("idempotency", () => {
  test("the same key again gives the same answer without running again", () =>
    run(
      Effect.gen(function* () {
        const { bob, runs } = yield* counting()
        expect(yield* bob.call(Work, "a", { idempotencyKey: "order 7" })).toBe(1)
        expect(yield* bob.call(Work, "a", { idempotencyKey: "order 7" })).toBe(1)
        const again = yield* bob.request(Work, "a", { idempotencyKey: "order 7", receipt: true })
        expect(again.output).toBe(1)
        expect(again.receipt?.task).toBe(again.task)
        expect(runs).toEqual(["a"])
      })
    ))

  test("keys are each caller's own, and another key runs again", () =>
    run(
      Effect.gen(function* () {
        const { bob, cal, runs } = yield* counting()
        yield* bob.call(Work, "a", { idempotencyKey: "k" })
        yield* cal.call(Work, "a", { idempotencyKey: "k" })
        yield* bob.call(Work, "a", { idempotencyKey: "l" })
        expect(runs.length).toBe(3)
      })
    ))

  test("the same key with another input, or at another capability, is refused", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, runs } = yield* counting()
        yield* ada.serve(Capability.untyped("work.other"), () => Effect.succeed("other"))
        yield* bob.call(Work, "a", { idempotencyKey: "k" })
        const reused = { _tag: "Rejected", code: "KeyReused", peer: ada.nodeId }
        expect(yield* reasonOf(bob.call(Work, "b", { idempotencyKey: "k" }))).toMatchObject(reused)
        expect(yield* reasonOf(bob.call("work.other", "a", { idempotencyKey: "k" }))).toMatchObject(reused)
        expect(runs).toEqual(["a"])
      })
    ))

  test("who comes with the same key while the task runs waits for its answer", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const began = makeSignal()
        const gate = makeSignal()
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.gen(function* () {
            runs += 1
            began.tell()
            yield* gate.wait
            return runs
          })
        )
        const options = { idempotencyKey: "k" }
        const first = yield* Effect.forkChild(bob.call(Work, "a", options))
        yield* began.wait
        const second = yield* Effect.forkChild(bob.call(Work, "a", options), { startImmediately: true })
        const other = yield* reasonOf(bob.call(Work, "b", options))
        expect(other).toMatchObject({ _tag: "Rejected", code: "KeyReused" })
        yield* ada.serve(Capability.untyped("work.other"), () => Effect.succeed("other"))
        const elsewhere = yield* reasonOf(bob.call("work.other", "a", options))
        expect(elsewhere).toMatchObject({ _tag: "Rejected", code: "KeyReused" })
        gate.tell()
        expect([yield* Fiber.join(first), yield* Fiber.join(second)]).toEqual([1, 1])
      })
    ))

  test("the handler goes on while one of its callers still waits, and ends with the last", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const options = { idempotencyKey: "k" }
        const first = yield* Effect.forkChild(bob.call(Work, "a", options))
        yield* endless.began.wait
        const joined = makeSignal()
        const second = yield* Effect.forkChild(bob.call(Work, "a", { ...options, onEvent: () => joined.tell() }))
        yield* joined.wait
        // Answers come in order: when this one is here, the second request has been heard.
        yield* reasonOf(bob.call(Work, "b", options))
        yield* Fiber.interrupt(first)
        yield* reasonOf(bob.call(Work, "b", options))
        expect(endless.interrupted.happened()).toBe(false)
        yield* Fiber.interrupt(second)
        yield* endless.interrupted.wait
      })
    ))

  test("a handler whose only caller goes while it begins is interrupted", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { resume: { ...nobodyComesBack, entries: 0 } } })
        const bob = yield* mesh.node("bob")
        const endless = makeEndless()
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            for (const connection of ada.connections.list()) connection.close("a test")
            return endless.run
          })
        )
        yield* Effect.forkChild(Effect.exit(bob.call(Work, "a")))
        yield* endless.interrupted.wait
      })
    ))

  test("answers are kept up to a number, the oldest going first", () =>
    run(
      Effect.gen(function* () {
        const { bob, runs } = yield* counting({ idempotency: { entries: 3, bytes: 1_000_000, ms: 60_000 } })
        for (const key of ["a", "b", "c", "d"]) yield* bob.call(Work, key, { idempotencyKey: key })
        yield* bob.call(Work, "d", { idempotencyKey: "d" })
        yield* bob.call(Work, "b", { idempotencyKey: "b" })
        expect(runs).toEqual(["a", "b", "c", "d"])
        yield* bob.call(Work, "a", { idempotencyKey: "a" })
        expect(runs).toEqual(["a", "b", "c", "d", "a"])
      })
    ))

  test("answers are kept up to so many bytes", () =>
    run(
      Effect.gen(function* () {
        const { bob, runs } = yield* counting({ idempotency: { entries: 1_000, bytes: 2_500, ms: 60_000 } })
        const big = (letter: string) => letter.repeat(1_000)
        for (const letter of ["a", "b", "c"]) yield* bob.call(Work, big(letter), { idempotencyKey: letter })
        yield* bob.call(Work, big("b"), { idempotencyKey: "b" })
        expect(runs.length).toBe(3)
        yield* bob.call(Work, big("a"), { idempotencyKey: "a" })
        expect(runs.length).toBe(4)
        // One that is larger than all of it is not kept, and leaves the memory consistent.
        yield* bob.call(Work, "x".repeat(5_000), { idempotencyKey: "x" })
        yield* bob.call(Work, "x".repeat(5_000), { idempotencyKey: "x" })
        expect(runs.length).toBe(6)
      })
    ))

  test("answers are kept for a time", () =>
    run(
      Effect.gen(function* () {
        const { bob, runs } = yield* counting({ idempotency: { entries: 1_000, bytes: 1_000_000, ms: -1 } })
        yield* bob.call(Work, "a", { idempotencyKey: "a" })
        yield* bob.call(Work, "a", { idempotencyKey: "a" })
        expect(runs).toEqual(["a", "a"])
      })
    ))

  test("a receipt for what has no canonical form is refused, and the executor goes on", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* counting()
        yield* ada.serve(Capability.untyped("work.half"), () => Effect.succeed("\ud800"))
        const lone = yield* reasonOf(bob.call(Work, "\ud800", { receipt: true }))
        expect(lone).toMatchObject({ _tag: "InputInvalid" })
        const output = yield* reasonOf(bob.call("work.half", 1, { receipt: true }))
        expect(output).toMatchObject({ _tag: "HandlerFailed", code: "NoReceipt" })
        expect(yield* bob.call("work.half", 1)).toBe("\ud800")
      })
    ))
})
