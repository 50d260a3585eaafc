/** Verifies: with several matching agents, calls are asked at once, and each goes by what was learned before it. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { makeMesh, run } from "./mesh.ts"

const Work = Capability.untyped("work.do@1.0.0")

describe("several matching agents", () => {
  test("calls in flight are shared out by load, and one that failed is asked last", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const caller = yield* mesh.node("caller")
        const asked = new Map<string, number>()
        const gate = Promise.withResolvers<void>()
        let broken = ""
        for (const name of ["ada", "bob", "cal", "dan"]) {
          const node = yield* mesh.node(name)
          yield* node.serve(Work, () =>
            Effect.suspend(() => {
              asked.set(name, (asked.get(name) ?? 0) + 1)
              if (broken === name) return Effect.fail("it is broken")
              return Effect.as(
                Effect.promise(() => gate.promise),
                name
              )
            })
          )
          yield* caller.connections.connect({ node: node.nodeId, addresses: node.connections.addresses() })
        }
        const all = yield* caller.discover({ name: "work.do", version: "^1" })
        expect(all.length).toBe(4)
        const calls = yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 8 }), () => caller.call(Work, 1), { concurrency: "unbounded" })
        )
        // Each agent has its share before any has answered.
        while ([...asked.values()].reduce((sum, n) => sum + n, 0) < 8) yield* Effect.yieldNow
        expect([...asked.values()].sort()).toEqual([2, 2, 2, 2])
        gate.resolve()
        expect((yield* Fiber.join(calls)).length).toBe(8)

        // Whoever fails loses trust with it, and the next call goes to another.
        broken = (yield* caller.call(Work, 1)) as string
        const failed = yield* Effect.flip(caller.call(Work, 1))
        expect(failed.reason._tag).toBe("HandlerFailed")
        asked.clear()
        expect(yield* caller.call(Work, 1)).not.toBe(broken)
        expect(asked.has(broken)).toBe(false)
      })
    ))
})
