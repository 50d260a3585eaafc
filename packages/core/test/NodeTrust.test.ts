/** Verifies: trust moves by what this node has seen for itself, by the formula, and a refusal punishes nobody. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Identity from "@parley/core/Identity"
import type { TaskEvent } from "@parley/core/Node"
import * as Trust from "@parley/core/Trust"
import * as Effect from "effect/Effect"
import { makeMesh, reasonOf, run } from "./mesh.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

const Work = Capability.untyped("work.do@1.0.0")

describe("Trust", () => {
  test("each experience moves the figure by a tenth of the way to its quality, within 0 and 1", () => {
    const random = seeded(0x7b057)
    const node = Identity.generate().nodeId
    forRounds(random, 200, () => {
      const trust = Trust.make()
      let expected = 0.5
      for (let i = 0; i < 50; i++) {
        const quality = random.next() * 1.4 - 0.2
        const { before, after } = trust.learn(node, "a", quality, "test")
        expect(before).toBe(expected)
        expected += 0.1 * (Math.min(1, Math.max(0, quality)) - expected)
        expect(after).toBeCloseTo(expected, 12)
        expected = after
      }
      expect(trust.learn(node, "a", Number.NaN, "nonsense").after).toBeCloseTo(expected * 0.9, 12)
      expect(trust.get(node, "b")).toBe(0.5)
    })
  })
})

describe("a node's trust", () => {
  test("an answer raises it, a failure, a late and an invalid answer lower it, by the same formula", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, (input) =>
          input === "fail" ? Effect.fail("no") : input === "late" ? Effect.never : Effect.succeed(input)
        )
        const value = Effect.map(bob.status, ({ trust }) => [trust[0]?.value, trust[0]?.why])
        const moves: Array<Trust.Move> = []
        const onEvent = (event: TaskEvent) => void (event._tag === "Trust" && moves.push(event.move))
        yield* bob.call(Work, 1, { onEvent })
        expect(yield* value).toEqual([0.55, "answered"])
        yield* reasonOf(bob.call(Work, "fail", { onEvent }))
        expect(yield* value).toEqual([0.55 + 0.1 * (0 - 0.55), "failed"])
        yield* reasonOf(bob.call(Work, "late", { deadline: 1_000, onEvent }))
        expect((yield* value)[1]).toBe("too late")
        yield* bob.call(Work, 2, { evaluate: () => 0.25, onEvent })
        const qualities = [1, 0, 0, 0.25]
        expect(moves.length).toBe(qualities.length)
        moves.forEach(({ after, before }, index) => {
          expect(after).toBeCloseTo(before + 0.1 * ((qualities[index] ?? 0) - before), 12)
        })
      })
    ))

  test("a caller whose input is refused, or that asks too much, does not punish the peer", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { maxPayloadBytes: 100 } })
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, () => Effect.succeed(1), {
          negotiate: ({ input }) =>
            input === "counter"
              ? { _tag: "Counter", deadlineMs: 1e9, detail: "much later" }
              : { _tag: "Reject", code: "NotYou", detail: "go away" }
        })
        for (const input of ["reject", "counter", "x".repeat(200)]) {
          for (let i = 0; i < 4; i++) yield* reasonOf(bob.call(Work, input, { to: ada.nodeId }))
        }
        const { openCircuits, trust } = yield* bob.status
        expect({ openCircuits, trust }).toEqual({ openCircuits: [], trust: [] })
      })
    ))

  test("an evaluator that throws is the caller's defect, and the node goes on", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, Effect.succeed)
        const broken = bob.call(Work, 1, {
          evaluate: () => {
            throw new TypeError("my evaluator")
          }
        })
        const exit = yield* Effect.exit(broken)
        expect(String(exit)).toContain("my evaluator")
        const shouting = {
          onEvent: () => {
            throw new TypeError("my listener")
          }
        }
        expect(yield* bob.call(Work, 2, shouting)).toBe(2)
      })
    ))
})
