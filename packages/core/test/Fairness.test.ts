/** Verifies: a caller with many tasks, or with long ones, does not keep another one from its turn. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { makeMesh, makeSignal, reasonOf, run, until } from "./mesh.ts"

const Work = Capability.untyped("work.do@1.0.0")

describe("places", () => {
  test("are given in turns: one task of a second caller is next, whatever the first one has waiting", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const server = yield* mesh.node("server")
        const greedy = yield* mesh.node("greedy", { guardrails: { attempts: 1 } })
        const modest = yield* mesh.node("modest")
        const order: Array<string> = []
        const gate = yield* Deferred.make<void>()
        yield* server.serve(
          Work,
          (input, task) =>
            Effect.andThen(
              Effect.sync(() => void order.push(task.caller === modest.nodeId ? "modest" : "greedy")),
              Effect.as(Deferred.await(gate), input)
            ),
          { concurrency: 1, queue: 8 }
        )
        const waiting = (n: number) =>
          until(
            `${n} wait`,
            Effect.map(server.status, ({ serving }) => serving[0]?.waiting === n)
          )
        const many = yield* Effect.forkChild(
          Effect.forEach(
            Array.from({ length: 9 }, (_, n) => n),
            (n) => Effect.exit(greedy.call(Work, n, { to: server.nodeId, deadline: "20 seconds" })),
            { concurrency: "unbounded" }
          )
        )
        yield* waiting(8)
        const accepted = makeSignal()
        const one = yield* Effect.forkChild(
          modest.call(Work, "one", {
            to: server.nodeId,
            deadline: "20 seconds",
            onEvent: (event) => void (event._tag === "Accepted" && accepted.tell())
          })
        )
        // Its task takes the place of the last of the eight, whose caller is told to come back, and does.
        yield* accepted.wait
        yield* Deferred.succeed(gate, undefined)
        expect(yield* Fiber.join(one)).toBe("one")
        expect((yield* Fiber.join(many)).every((exit) => exit._tag === "Success")).toBe(true)
        expect(order[0]).toBe("greedy")
        expect(order.indexOf("modest") <= 2).toBe(true)
        expect(order.length).toBe(10)
      })
    ))

  test("are not all taken by one caller, where there are many", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const server = yield* mesh.node("server")
        const [greedy, modest] = [yield* mesh.node("greedy"), yield* mesh.node("modest")]
        const gate = yield* Deferred.make<void>()
        yield* server.serve(
          Work,
          (input, { caller }) => Effect.as(caller === modest.nodeId ? Effect.yieldNow : Deferred.await(gate), input),
          { concurrency: 34 }
        )
        const call = (from: typeof greedy) => from.call(Work, 1, { to: server.nodeId, deadline: "20 seconds" })
        const many = yield* Effect.forkChild(
          Effect.all(
            Array.from({ length: 40 }, () => call(greedy)),
            { concurrency: "unbounded" }
          )
        )
        yield* until(
          "32 run and 8 wait",
          Effect.map(server.status, ({ serving: [one] }) => one?.running === 32 && one.waiting === 8)
        )
        for (let n = 0; n < 3; n++) expect(yield* call(modest)).toBe(1)
        yield* Deferred.succeed(gate, undefined)
        expect((yield* Fiber.join(many)).length).toBe(40)
      })
    ))

  test("do not gather with the caller whose tasks take long", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const server = yield* mesh.node("server")
        const [slow, quick] = [yield* mesh.node("slow"), yield* mesh.node("quick")]
        const ends: Array<() => void> = []
        let slowBegan = 0
        yield* server.serve(
          Work,
          (input, { caller }) => {
            const end = makeSignal()
            if (caller === quick.nodeId) ends.push(end.tell)
            else slowBegan += 1
            return Effect.as(end.wait, input)
          },
          { concurrency: 4 }
        )
        const calls = (from: typeof slow, count: number) =>
          Effect.forkChild(
            Effect.all(
              Array.from({ length: count }, () => from.call(Work, 1, { to: server.nodeId, deadline: "20 seconds" })),
              { concurrency: "unbounded" }
            )
          )
        const waiting = (count: number) =>
          until(
            `${count} wait`,
            Effect.map(server.status, ({ serving: [one] }) => one?.running === 4 && one.waiting === count)
          )
        const short = yield* calls(quick, 12)
        yield* waiting(8)
        const long = yield* calls(slow, 8)
        yield* waiting(16)
        for (let ended = 1; ended <= 10; ended++) {
          ends.shift()!()
          yield* waiting(16 - ended)
          expect(slowBegan).toBe(Math.min(ended, 2))
        }
        for (const end of ends) end()
        expect((yield* Fiber.join(short)).length).toBe(12)
        yield* Fiber.interrupt(long)
      })
    ))

  test("stay with who waits when the newcomer has as many: it is countered", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const server = yield* mesh.node("server")
        const [a, b] = [yield* mesh.node("a"), yield* mesh.node("b")]
        yield* server.serve(Work, () => Effect.never, { concurrency: 1, queue: 1 })
        const call = (from: typeof a) =>
          Effect.forkChild(Effect.exit(from.call(Work, 1, { to: server.nodeId, deadline: "20 seconds" })))
        const fibers = [yield* call(a), yield* call(a)]
        yield* until(
          "one waits",
          Effect.map(server.status, ({ serving }) => serving[0]?.waiting === 1)
        )
        const reason = yield* reasonOf(b.call(Work, 1, { to: server.nodeId, deadline: 60 }))
        expect(["Countered", "DeadlineExceeded"]).toContain(reason._tag)
        for (const fiber of fibers) yield* Fiber.interrupt(fiber)
      })
    ))
})
