/** Verifies: handlers and callers are inferred from one definition, and what does not fit it is a typed error. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import type { NodeError } from "@parley/core/NodeError"
import type { Verdict } from "@parley/core/Strategy"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { makeMesh, type Member, reasonOf, run } from "./mesh.ts"

const When = Capability.make("time.shift", {
  version: "1.0.0",
  input: Schema.Struct({ at: Schema.DateFromString, days: Schema.Int }),
  output: Schema.Struct({ at: Schema.DateFromString })
})
const Ticks = Capability.stream("time.ticks", {
  version: "1.0.0",
  input: Schema.Struct({ from: Schema.DateFromString }),
  output: Schema.DateFromString
})
const day = (text: string | number): Date => new Date(text)
const serveWhen = (node: Member) =>
  node.serve(When, ({ at, days }) => Effect.succeed({ at: new Date(at.getTime() + days * 86_400_000) }))

/** Never called: it stands if it compiles. */
export const types = (node: Member) => {
  const called: Effect.Effect<{ readonly at: Date }, NodeError> = node.call(When, { at: new Date(), days: 1 })
  const untyped: Effect.Effect<Schema.Json, NodeError> = node.call("time.shift@^1", { at: "2026-01-01", days: 1 })
  const streamed: Stream.Stream<Date, NodeError> = node.stream(Ticks, { from: new Date() })
  const asked: Effect.Effect<Verdict<{ readonly at: Date }>, unknown> = node.ask(When, { at: new Date(), days: 1 })
  const listed: Effect.Effect<Verdict<ReadonlyArray<{ readonly at: Date }>>, unknown> = node.ask(
    When,
    { at: new Date(), days: 1 },
    { aggregate: { name: "all", shape: "answers", tally: () => never } }
  )
  return { called, untyped, streamed, asked, listed }
}
const never = { answer: () => {}, failure: () => {}, decided: () => undefined, outcome: () => outcome }
const outcome = { status: "insufficient" as const, confidence: 0, rule: "", votes: [], dissent: [] }

describe("a capability's types", () => {
  test("values cross as the schema's JSON, and come out as its values", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serveWhen(ada)
        const { at } = yield* bob.call(When, { at: day("2026-01-30T00:00:00Z"), days: 2 })
        expect(at).toEqual(day("2026-02-01T00:00:00Z"))
        expect(yield* bob.call("time.shift", { at: "2026-01-30T00:00:00.000Z", days: 2 })).toEqual({
          at: "2026-02-01T00:00:00.000Z"
        })
      })
    ))

  test("the record publishes both schemas as JSON Schema", () =>
    run(
      Effect.gen(function* () {
        const ada = yield* makeMesh().node("ada")
        yield* serveWhen(ada)
        const published = ada.record().capabilities.find(({ name }) => name === "time.shift")
        expect(published?.input).toMatchObject({
          type: "object",
          properties: { at: { type: "string" }, days: { type: "integer" } },
          required: ["at", "days"]
        })
        expect(published?.output).toMatchObject({ type: "object", required: ["at"] })
      })
    ))

  test("a typed caller's own input is checked before it is sent", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serveWhen(ada)
        const reason = yield* reasonOf(bob.call(When, { at: day(0), days: 1.5 }))
        expect(reason).toMatchObject({ _tag: "InputInvalid", capability: "time.shift@1.0.0" })
        expect("peer" in reason).toBe(false)
      })
    ))

  test("an untyped caller's wrong input is a typed error, and the executor goes on", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serveWhen(ada)
        for (const wrong of [null, [], "text", { at: "2026-01-01" }, { at: 1, days: 1 }, { at: "x", days: "1" }]) {
          const reason = yield* reasonOf(bob.call("time.shift@^1", wrong))
          expect(reason).toMatchObject({ _tag: "InputInvalid", peer: ada.nodeId })
        }
        yield* bob.call(When, { at: day(0), days: 0 })
        expect((yield* bob.status).trust).toMatchObject([{ node: ada.nodeId, samples: 1 }])
      })
    ))

  test("an output that does not fit the executor's schema is a typed error", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(When, () => Effect.succeed({ at: "not a date" as unknown as Date }))
        const reason = yield* reasonOf(bob.call(When, { at: day(0), days: 0 }))
        expect(reason).toMatchObject({ _tag: "OutputInvalid", peer: ada.nodeId })
      })
    ))

  test("an untyped executor's output that does not fit the caller's schema is a typed error", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Capability.untyped("time.shift@1.0.0"), () => Effect.succeed({ at: 7 }))
        const reason = yield* reasonOf(bob.call(When, { at: day(0), days: 0 }))
        expect(reason).toMatchObject({ _tag: "OutputInvalid", peer: ada.nodeId })
        expect(yield* bob.call("time.shift", {})).toEqual({ at: 7 })
      })
    ))

  test("what has no JSON form is a typed error at either end", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Capability.untyped("any.echo"), (input) =>
          Effect.succeed(input === 0 ? (undefined as unknown as Schema.Json) : input)
        )
        const big = { n: 1n } as unknown as Schema.Json
        expect(yield* reasonOf(bob.call("any.echo", big))).toMatchObject({ _tag: "InputInvalid" })
        expect(yield* reasonOf(bob.call("any.echo", 0))).toMatchObject({ _tag: "OutputInvalid" })
        expect(yield* bob.call("any.echo", { deep: [1, null, "x"] })).toEqual({ deep: [1, null, "x"] })
      })
    ))

  test("a call does not reach what streams, nor a stream what answers at once", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serveWhen(ada)
        yield* bob.call(When, { at: day(0), days: 0 })
        const asStream = bob.stream("time.shift", {}, { to: ada.nodeId })
        const reason = yield* reasonOf(Stream.runDrain(asStream))
        expect(reason).toMatchObject({ _tag: "Rejected", code: "WrongKind" })
      })
    ))
})
