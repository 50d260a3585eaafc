/** Verifies: when all work is done, nothing of it is left: no stream, no task, no load. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import type { Aggregation } from "@parley/core/Strategy"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { addressOf, idle, makeEndless, makeMesh, run, until } from "./mesh.ts"
import { seeded } from "../src/testing/Seeded.ts"

const Work = Capability.untyped("work.do@1.0.0")
const Rows = Capability.untyped("work.rows", { kind: "stream" })
const silent: Aggregation<"other"> = {
  name: "silent",
  shape: "other",
  tally: () => ({
    answer: () => {},
    failure: () => {},
    decided: () => undefined,
    outcome: () => ({ status: "undecided", confidence: 0, rule: "none", votes: [], dissent: [] })
  })
}

describe("leaks", () => {
  test("after calls, failures, cancellations, streams, asks and searches, only the announcements are open", () => {
    const random = seeded(0x1ea4)
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob", { guardrails: { circuit: { failures: 1e9, openMs: 1, entries: 10 } } })
        yield* ada.serve(Work, (input) =>
          input === "fail" ? Effect.fail("no") : input === "hang" ? makeEndless().run : Effect.succeed(input)
        )
        yield* ada.serve(Rows, () => Stream.map(Stream.range(1, 5_000), (n) => ({ n })))
        const connection = yield* bob.connections.connect({ node: ada.nodeId, addresses: [addressOf(ada.nodeId)] })
        const far = ada.connections.get(bob.nodeId)
        yield* bob.call(Work, "first")
        const doings: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
          bob.call(Work, "ok", { receipt: true }),
          bob.call(Work, "fail"),
          bob.call(Work, "hang", { deadline: 5 }),
          Effect.flatMap(Effect.forkChild(bob.call(Work, "hang")), (fiber) =>
            Effect.andThen(Effect.yieldNow, Fiber.interrupt(fiber))
          ),
          Stream.runDrain(Stream.take(bob.stream(Rows, 1), 3)),
          Stream.runDrain(bob.stream(Rows, 1)),
          bob.ask(Work, "ok", { select: { name: "all", select: (matches) => matches }, aggregate: silent }),
          bob.discover({ name: "work.none" }, { within: "1 second" }),
          bob.publish("nobody", "listens"),
          Stream.runDrain(Stream.take(bob.subscribe("own"), 0))
        ]
        for (let n = 0; n < 150; n++) yield* Effect.exit(random.pick(doings))
        yield* idle(ada)
        const open = Effect.sync(() => connection.streams())
        yield* until(
          `only two streams are open, not ${connection.streams()}`,
          Effect.map(open, (count) => count === 2)
        )
        expect(far?.streams()).toBe(2)
        expect(bob.connections.list().length).toBe(1)
        expect(yield* bob.call(Work, "last")).toBe("last")
      })
    )
  }, 30_000)
})
