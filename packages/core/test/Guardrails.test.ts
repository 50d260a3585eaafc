/** Verifies: what an executor allows is bounded, and whoever is over a bound is told so. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Guardrails from "@parley/core/Guardrails"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { addressOf, idle, makeEndless, makeMesh, makeSignal, pair, reasonOf, run } from "./mesh.ts"

const Work = Capability.untyped("work.do@1.0.0")

describe("guardrails", () => {
  test("a layer changes some, and the rest stay the defaults", () =>
    run(
      Effect.gen(function* () {
        const context = yield* Layer.build(Guardrails.layer({ hops: 7 }))
        const settings = yield* Effect.provide(Guardrails.Guardrails, context)
        expect(settings).toEqual({ ...Guardrails.defaults, hops: 7 })
      })
    ))

  test("the deadline is enforced at the executor: the handler is interrupted", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair({ maxDeadlineMs: 40 })
        const endless = makeEndless()
        let deadline = 0
        yield* ada.serve(Work, (_, task) => {
          deadline = task.deadline - Date.now()
          return endless.run
        })
        const reason = yield* reasonOf(bob.call(Work, 1, { deadline: "20 seconds" }))
        expect(reason).toMatchObject({ _tag: "DeadlineExceeded", peer: ada.nodeId, where: "executor" })
        expect(endless.interrupted.happened()).toBe(true)
        expect(deadline).toBeLessThanOrEqual(40)
      })
    ))

  test("when the caller's fibre is interrupted, the handler is", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const call = yield* Effect.forkChild(bob.call(Work, 1))
        yield* endless.began.wait
        yield* Fiber.interrupt(call)
        yield* endless.interrupted.wait
        yield* idle(ada)
      })
    ))

  test("when the caller's node goes, the handler is interrupted", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const bob = yield* mesh.node("bob")
            yield* Effect.forkScoped(bob.call(Work, 1))
            yield* endless.began.wait
          })
        )
        yield* endless.interrupted.wait
      })
    ))

  test("when the caller's node goes, whoever called is told, and the handler is not kept for a node that is no more", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const call = yield* Effect.scoped(
          Effect.gen(function* () {
            const bob = yield* mesh.node("bob")
            const calling = yield* Effect.forkDetach(reasonOf(bob.call(Work, 1, { to: ada.nodeId })))
            yield* endless.began.wait
            return calling
          })
        )
        expect(yield* Fiber.join(call)).toMatchObject({ _tag: "Disconnected", peer: ada.nodeId })
        yield* endless.interrupted.wait
      })
    ))

  test("an input over the cap is refused at the caller, and at the executor whose cap is lower", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* pair({ maxPayloadBytes: 1_000 })
        const cal = yield* mesh.node("cal", { guardrails: { maxPayloadBytes: 500 } })
        yield* ada.serve(Work, () => Effect.succeed("ok"))
        const text = "é".repeat(499)
        expect(yield* bob.call(Work, text)).toBe("ok")
        expect(yield* reasonOf(bob.call(Work, `${text}x`))).toEqual({ _tag: "TooLarge", bytes: 1_001, limit: 1_000 })
        expect(yield* reasonOf(cal.call(Work, text))).toEqual({ _tag: "TooLarge", bytes: 1_000, limit: 500 })
        expect((yield* ada.status).serving[0]?.done).toBe(1)
      })
    ))

  test("an output over the cap is refused at the executor, and at the caller whose cap is lower", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* pair({ maxPayloadBytes: 1_000 })
        const cal = yield* mesh.node("cal", { guardrails: { maxPayloadBytes: 500 } })
        yield* ada.serve(Work, (size) => Effect.succeed("x".repeat(Number(size))))
        expect(yield* reasonOf(bob.call(Work, 999))).toEqual({ _tag: "TooLarge", bytes: 1_001, limit: 1_000 })
        expect(yield* reasonOf(cal.call(Work, 700))).toEqual({ _tag: "TooLarge", bytes: 702, limit: 500 })
        expect(yield* cal.call(Work, 100)).toBe("x".repeat(100))
      })
    ))

  test("JSON nested too deeply is refused before it is built", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair({ maxJsonDepth: 8 })
        yield* ada.serve(Work, () => Effect.succeed("ok"))
        const nested = (depth: number) => JSON.parse(`${"[".repeat(depth)}${"]".repeat(depth)}`)
        expect(yield* bob.call(Work, nested(8))).toBe("ok")
        expect(yield* reasonOf(bob.call(Work, nested(9)))).toMatchObject({ _tag: "InputInvalid", peer: ada.nodeId })
      })
    ))

  test("so many run, so many wait, in order, and one more is countered", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const order: Array<number> = []
        const gate = makeSignal()
        const twoRun = makeSignal()
        let most = 0
        let running = 0
        yield* ada.serve(
          Work,
          (n) =>
            Effect.gen(function* () {
              order.push(Number(n))
              most = Math.max(most, ++running)
              if (order.length === 2) twoRun.tell()
              yield* gate.wait
              running -= 1
              return n
            }),
          { concurrency: 2, queue: 3 }
        )
        yield* bob.discover({ name: "work.do" })
        const calls: Array<Fiber.Fiber<unknown, unknown>> = []
        for (let n = 0; n < 5; n++) {
          const accepted = makeSignal()
          const onEvent = ({ _tag }: { readonly _tag: string }) => {
            if (_tag === (n < 2 ? "Sent" : "Accepted")) accepted.tell()
          }
          calls.push(yield* Effect.forkChild(bob.call(Work, n, { onEvent })))
          yield* accepted.wait
        }
        yield* twoRun.wait
        expect((yield* ada.status).serving[0]).toMatchObject({ running: 2, waiting: 3 })
        const reason = yield* reasonOf(bob.call(Work, 5, { deadline: 10 }))
        expect(reason._tag === "Countered" || reason._tag === "DeadlineExceeded").toBe(true)
        gate.tell()
        for (const call of calls) yield* Fiber.join(call)
        expect(order).toEqual([0, 1, 2, 3, 4])
        expect(most).toBe(2)
      })
    ))

  test("a task that waits when its deadline comes is told so, and its place is free", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run, { concurrency: 1, queue: 1 })
        const call = yield* Effect.forkChild(bob.call(Work, 1))
        yield* endless.began.wait
        expect(yield* reasonOf(bob.call(Work, 2, { deadline: 30 }))).toMatchObject({ _tag: "DeadlineExceeded" })
        yield* Fiber.interrupt(call)
        yield* endless.interrupted.wait
        yield* idle(ada)
      })
    ))

  test("a peer above its rate is told when to come back; another is served on", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* pair({ ratePerSecond: 3 })
        const cal = yield* mesh.node("cal")
        yield* ada.serve(Work, () => Effect.succeed("ok"))
        const asked = bob.call(Work, 1).pipe(
          Effect.as(undefined),
          Effect.catch(({ reason }) => Effect.succeed(reason))
        )
        // Three, and more where these alone take a good part of a second.
        let served = 0
        let reason = yield* asked
        for (; reason === undefined && served < 100; reason = yield* asked) served += 1
        expect(served).toBeGreaterThanOrEqual(3)
        if (reason?._tag !== "Overloaded") throw new Error(reason?._tag)
        expect(reason.peer).toBe(ada.nodeId)
        expect(reason.retryAfterMs).toBeGreaterThan(0)
        expect(reason.retryAfterMs).toBeLessThanOrEqual(334)
        expect(yield* cal.call(Work, 1)).toBe("ok")
        // The peer did nothing wrong in protecting itself.
        expect((yield* bob.status).trust).toMatchObject([{ samples: served }])
      })
    ))

  test("a task is passed on no more often than its hops, also when the handlers do not mind them", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const hops: Array<number> = []
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Capability.untyped("loop.a"), (_, task) => {
          hops.push(task.hops)
          return ada.call("loop.b", 1)
        })
        yield* bob.serve(Capability.untyped("loop.b"), (_, task) => {
          hops.push(task.hops)
          return bob.call("loop.a", 1)
        })
        const reason = yield* reasonOf(bob.call("loop.a", 1))
        expect(hops).toEqual([2, 1, 0])
        expect(reason).toMatchObject({ _tag: "HandlerFailed", code: "NodeError" })
        expect(JSON.stringify(reason)).toContain("hops budget")
        expect(yield* reasonOf(bob.call("loop.a", 1, { budget: { hops: 0 } }))).toMatchObject({
          _tag: "BudgetExceeded",
          what: "hops"
        })
      })
    ))

  test("what a handler calls inherits the deadline and the budget of its task", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Capability.untyped("outer"), () => ada.call("inner", 1, { deadline: "1 hour" }))
        yield* bob.serve(Capability.untyped("inner"), (_, task) =>
          Effect.succeed({ left: task.deadline - Date.now(), usd: task.maxCostUsd ?? null })
        )
        const got = yield* bob.call("outer", 1, { deadline: "3 seconds", budget: { costUsd: 0.25 } })
        const { left, usd } = got as { readonly left: number; readonly usd: number }
        expect(usd).toBe(0.25)
        expect(left).toBeLessThanOrEqual(3_000)
      })
    ))

  test("a draining node finishes what runs, refuses what comes, and withdraws its record", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const began = makeSignal()
        const gate = makeSignal()
        yield* ada.serve(Work, () =>
          Effect.gen(function* () {
            began.tell()
            yield* gate.wait
            return "finished"
          })
        )
        const running = yield* Effect.forkChild(bob.call(Work, 1))
        yield* began.wait
        const drained = makeSignal()
        const drain = yield* Effect.forkChild(Effect.andThen(ada.drain, Effect.sync(drained.tell)), {
          startImmediately: true
        })
        const refused = yield* reasonOf(bob.call(Work, 2, { to: ada.nodeId }))
        expect(refused).toMatchObject({ _tag: "Rejected", code: "Draining" })
        expect(drained.happened()).toBe(false)
        expect(yield* bob.discover({ name: "work.do" }, { within: 0 })).toEqual([])
        expect(
          yield* reasonOf(Effect.scoped(ada.serve(Capability.untyped("late"), () => Effect.succeed(1))))
        ).toMatchObject({ _tag: "CannotServe" })
        gate.tell()
        expect(yield* Fiber.join(running)).toBe("finished")
        yield* Fiber.join(drain)
      })
    ))

  test("when a capability's scope closes, running tasks may end, and new ones find it gone", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const began = makeSignal()
        const gate = makeSignal()
        const inside = yield* Effect.forkChild(
          Effect.scoped(
            Effect.gen(function* () {
              yield* ada.serve(Work, () => Effect.as(Effect.andThen(Effect.sync(began.tell), gate.wait), "finished"))
              yield* began.wait
            })
          )
        )
        const running = yield* Effect.forkChild(bob.call(Work, 1))
        yield* began.wait
        const gone = bob.call(Work, 2, { to: ada.nodeId })
        let reason = yield* reasonOf(gone)
        while (reason._tag !== "Rejected") reason = yield* reasonOf(gone)
        expect(reason.code).toBe("UnknownCapability")
        gate.tell()
        expect(yield* Fiber.join(running)).toBe("finished")
        yield* Fiber.join(inside)
      })
    ))

  test("a handler that outlasts the drain is given up when its scope closes", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair({ drainMs: 20 })
        const endless = makeEndless()
        const running = yield* Effect.forkChild(Effect.flip(bob.call(Work, 1, { to: addressOf(ada.nodeId) })))
        yield* Effect.scoped(
          Effect.andThen(
            ada.serve(Work, () => endless.run),
            endless.began.wait
          )
        )
        yield* endless.interrupted.wait
        expect((yield* Fiber.join(running)).reason).toMatchObject({ _tag: "Rejected", code: "Draining" })
      })
    ))
})
