/** Verifies: a task whose connection breaks goes on, and runs once. */
import { describe, expect, test } from "bun:test"
import * as Protocol from "@parley/core/Protocol"
import type { TaskEvent } from "@parley/core/Node"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { ACCEPT_AFTER_MS } from "../src/internal/Executor.ts"
import { makeEndless, makeMesh, makeSignal, meet, reasonOf, run, until } from "./mesh.ts"
import { cut, resumingPair, Work } from "./resuming.ts"
import { ignore, requestMessage } from "./wire.ts"

describe("a task whose connection breaks", () => {
  test("is attached to again while it runs, and runs once", () =>
    run(
      Effect.gen(function* () {
        // Each time it comes back it gives its place among the held ones back.
        const { ada, bob } = yield* resumingPair({ perCaller: 1 })
        const began = makeSignal()
        const go = makeSignal()
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            runs += 1
            began.tell()
            return Effect.as(go.wait, "done")
          })
        )
        const events: Array<TaskEvent["_tag"]> = []
        const call = yield* Effect.forkChild(bob.call(Work, 1, { onEvent: ({ _tag }) => void events.push(_tag) }))
        yield* began.wait
        for (let n = 0; n < 3; n++) {
          expect(cut(bob)).toBe(1)
          yield* until(
            "it is told that it goes on",
            Effect.sync(() => events.filter((tag) => tag === "Resumed").length === n + 1)
          )
        }
        go.tell()
        expect(yield* Fiber.join(call)).toBe("done")
        expect(runs).toBe(1)
        const told = events.filter((tag) => tag !== "Searching" && tag !== "Trust")
        expect(told).toEqual(["Sent", "Resumed", "Accepted", "Resumed", "Resumed", "Answered"])
      })
    ))

  test("is accepted once on each stream", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        const began = makeSignal()
        yield* ada.serve(Work, () =>
          Effect.andThen(
            Effect.sync(began.tell),
            // Longer than an executor takes to say that it has accepted a task.
            Effect.as(Effect.sleep(ACCEPT_AFTER_MS + 50), "done")
          )
        )
        const call = yield* Effect.forkChild(bob.call(Work, 1))
        yield* began.wait
        cut(bob)
        expect(yield* Fiber.join(call)).toBe("done")
      })
    ))

  test("is answered from memory where it was done meanwhile", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.sync(() => {
            runs += 1
            // It ends before the answer is on its way.
            cut(ada)
            return "done"
          })
        )
        expect(yield* bob.call(Work, 1, { receipt: true })).toBe("done")
        expect(runs).toBe(1)
      })
    ))

  test("goes on waiting in the queue", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        const go = makeSignal()
        const runs: Array<unknown> = []
        yield* ada.serve(
          Work,
          (input) =>
            Effect.suspend(() => {
              runs.push(input)
              return Effect.as(go.wait, input)
            }),
          { concurrency: 1 }
        )
        const calls = yield* Effect.forEach([1, 2, 3, 4], (input) => Effect.forkChild(bob.call(Work, input)))
        yield* until(
          "three wait",
          Effect.map(ada.status, ({ serving }) => serving[0]?.waiting === 3)
        )
        cut(bob)
        yield* until(
          "they connect again",
          Effect.sync(() => bob.connections.list().length === 1)
        )
        go.tell()
        expect(yield* Effect.forEach(calls, Fiber.join)).toEqual([1, 2, 3, 4])
        expect(runs).toEqual([1, 2, 3, 4])
      })
    ))

  test("is sent again where it never arrived", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        let runs = 0
        yield* ada.serve(Work, () => Effect.sync(() => ++runs))
        yield* bob.call(Work, 0)
        // Sent and broken in one turn: nothing of it gets through.
        const call = yield* Effect.forkChild(
          bob.call(Work, 1, { onEvent: ({ _tag }) => void (_tag === "Sent" && cut(bob)) })
        )
        expect(yield* Fiber.join(call)).toBe(2)
        expect(runs).toBe(2)
      })
    ))

  test("is not sent again where its agent had it and lost it", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair({ ms: 0 })
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            runs += 1
            return Effect.never
          })
        )
        const events: Array<TaskEvent["_tag"]> = []
        const call = yield* Effect.forkChild(
          reasonOf(bob.call(Work, 1, { to: ada.nodeId, onEvent: ({ _tag }) => void events.push(_tag) }))
        )
        yield* until(
          "it is accepted",
          Effect.sync(() => events.includes("Accepted"))
        )
        cut(bob)
        expect((yield* Fiber.join(call))._tag).toBe("Disconnected")
        expect(runs).toBe(1)
      })
    ))

  test("is cancelled all the same", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const call = yield* Effect.forkChild(bob.call(Work, 1))
        yield* endless.began.wait
        cut(bob)
        yield* Fiber.interrupt(call)
        yield* endless.interrupted.wait
      })
    ))

  test("is given up when nobody comes back for it", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* resumingPair({ ms: 50 })
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        connection.open(Protocol.CALL, ignore)?.send(requestMessage("1"), undefined, true)
        yield* endless.began.wait
        connection.close("gone for good")
        yield* endless.interrupted.wait
        yield* until(
          "nothing runs",
          Effect.map(ada.status, ({ serving }) => serving[0]?.running === 0)
        )
      })
    ))

  for (const [when, drainFirst] of [
    ["drains", false],
    ["has begun to drain", true]
  ] as const) {
    test(`is given up when its caller has gone, and the agent ${when}`, () =>
      run(
        Effect.gen(function* () {
          const { ada, mesh } = yield* resumingPair({ ms: 60_000 }, 60_000)
          const endless = makeEndless()
          yield* ada.serve(Work, () => endless.run)
          const connection = yield* meet(yield* mesh.stranger(), ada)
          connection.open(Protocol.CALL, ignore)?.send(requestMessage("1"), undefined, true)
          yield* endless.began.wait
          const gone = Effect.suspend(() => {
            connection.close("gone for good")
            return until(
              "it has gone",
              Effect.map(ada.peers, (peers) => peers.length === 0)
            )
          })
          if (!drainFirst) yield* gone
          const drain = yield* Effect.forkChild(ada.drain, { startImmediately: true })
          if (drainFirst) yield* gone
          yield* endless.interrupted.wait
          yield* Fiber.join(drain)
        })
      ))
  }

  test("is given up when its caller has gone, and its capability is served no more", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* resumingPair({ ms: 60_000 }, 60_000)
        const endless = makeEndless()
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* ada.serve(Work, () => endless.run)
            const connection = yield* meet(yield* mesh.stranger(), ada)
            connection.open(Protocol.CALL, ignore)?.send(requestMessage("1"), undefined, true)
            yield* endless.began.wait
            connection.close("gone for good")
            yield* until(
              "it has gone",
              Effect.map(ada.peers, (peers) => peers.length === 0)
            )
          })
        )
        yield* endless.interrupted.wait
      })
    ))

  test("goes to another agent at once when its own has gone", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const bob = yield* mesh.node("bob")
        const took: Array<string> = []
        const agents = ["ada", "cal"].map((name) => ({ name, began: makeSignal() }))
        const scopes = yield* Effect.forEach(agents, ({ began, name }) =>
          Effect.gen(function* () {
            const ready = makeSignal()
            const leave = makeSignal()
            yield* Effect.forkChild(
              Effect.scoped(
                Effect.gen(function* () {
                  const member = yield* mesh.node(name, { guardrails: { drainMs: 1 } })
                  yield* member.serve(Work, () =>
                    Effect.suspend(() => {
                      took.push(name)
                      began.tell()
                      return took.length === 1 ? Effect.never : Effect.succeed(name)
                    })
                  )
                  ready.tell()
                  yield* leave.wait
                })
              )
            )
            yield* ready.wait
            return { name, leave }
          })
        )
        const call = yield* Effect.forkChild(bob.call(Work, 1, { deadline: "60 seconds" }))
        yield* until(
          "one has it",
          Effect.sync(() => took.length === 1)
        )
        scopes.find(({ name }) => name === took[0])?.leave.tell()
        expect(yield* Fiber.join(call)).toBe(agents.find(({ name }) => name !== took[0])!.name)
      })
    ))

  test("fails soon where there is no other", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const bob = yield* mesh.node("bob", { guardrails: { searchMs: 50 } })
        const began = makeSignal()
        const call = yield* Effect.scoped(
          Effect.gen(function* () {
            const ada = yield* mesh.node("ada", { guardrails: { drainMs: 1 } })
            yield* ada.serve(Work, () => Effect.suspend(() => (began.tell(), Effect.never)))
            const calling = yield* Effect.forkDetach(reasonOf(bob.call(Work, 1, { deadline: "60 seconds" })))
            yield* began.wait
            return calling
          })
        )
        expect((yield* Fiber.join(call))._tag).toMatch(/Disconnected|Rejected|NoPeer/)
      })
    ))
})
