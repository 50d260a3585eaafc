import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { makeMesh, run } from "./mesh.ts"

const Double = Capability.make("math.double", {
  version: "1.2.0",
  description: "Doubles a number",
  input: Schema.Struct({ n: Schema.Finite }),
  output: Schema.Struct({ n: Schema.Finite })
})

const Count = Capability.stream("math.count", {
  version: "1.0.0",
  input: Schema.Struct({ to: Schema.Int }),
  output: Schema.Struct({ n: Schema.Int })
})

describe("Node.call", () => {
  test("finds who serves, and gets a typed answer", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Double, ({ n }) => Effect.succeed({ n: n * 2 }))
        expect(yield* bob.call(Double, { n: 21 })).toEqual({ n: 42 })
        expect(yield* bob.call("math.double@^1", { n: 2 })).toEqual({ n: 4 })
        const answer = yield* bob.request(Double, { n: 1 }, { receipt: true })
        expect(answer.peer).toBe(ada.nodeId)
        expect(answer.receipt?.executor).toBe(ada.nodeId)
      })
    ))

  test("streams with back-pressure, to the end", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Count, ({ to }) => Stream.map(Stream.range(1, to), (n) => ({ n })))
        const all = yield* Stream.runCollect(bob.stream(Count, { to: 30_000 }))
        expect(all.length).toBe(30_000)
        expect(all.at(-1)).toEqual({ n: 30_000 })
      })
    ))
})
