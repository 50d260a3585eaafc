/** Verifies: a call under a span makes spans at both ends of one trace; without one there are none. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import { makeMesh, run } from "./mesh.ts"

/** A tracer that remembers what it made. */
const recording = () => {
  const spans: Array<Tracer.NativeSpan> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return { spans, tracer }
}
const Work = Capability.untyped("work.do@1.0.0")
const Relayed = Capability.untyped("work.relay@1.0.0")

describe("tracing", () => {
  test("caller and executor stand in one trace", () => {
    const { spans, tracer } = recording()
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, () => Effect.withSpan(Effect.succeed(1), "inside"))
        yield* Effect.withSpan(bob.call(Work, 1), "outside")
        const named = (name: string) => {
          const span = spans.find((each) => each.name === name)
          if (span === undefined) throw new Error(`no span ${name} among ${spans.map((each) => each.name).join(", ")}`)
          return span
        }
        const [outside, call, serve, inside] = ["outside", "call work.do@1.0.0", "serve work.do@1.0.0", "inside"].map(
          named
        )
        expect(new Set([outside, call, serve, inside].map((span) => span?.traceId)).size).toBe(1)
        const parentOf = (span: Tracer.NativeSpan | undefined) =>
          span?.parent._tag === "Some" ? span.parent.value.spanId : undefined
        expect([call, serve, inside].map(parentOf)).toEqual([outside, call, serve].map((span) => span?.spanId))
        expect(serve?.attributes.get("parley.caller")).toBe(bob.nodeId)
      }).pipe(Effect.provideService(Tracer.Tracer, tracer))
    )
  })

  test("without a span around it, a call makes none", () => {
    const { spans, tracer } = recording()
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, Effect.succeed)
        yield* bob.call(Work, 1)
        expect(spans.filter(({ name }) => name.includes("work.do")).map(({ name }) => name)).toEqual([])
      }).pipe(Effect.provideService(Tracer.Tracer, tracer))
    )
  })

  test("where nobody collects spans, the handler still stands in its caller's, and hands the trace on", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        const traceId = Effect.map(Effect.currentParentSpan, (span) => span.traceId)
        yield* ada.serve(Work, () => Effect.orDie(traceId))
        yield* cal.serve(Relayed, () =>
          Effect.gen(function* () {
            const own = yield* Effect.currentParentSpan
            return [own._tag, own.traceId, own.sampled, yield* cal.call(Work, 1)]
          }).pipe(Effect.orDie)
        )
        yield* Effect.gen(function* () {
          const id = yield* traceId
          expect(yield* bob.call(Relayed, 1)).toEqual(["ExternalSpan", id, true, id])
        }).pipe(Effect.withSpan("outside"))
      })
    ))
})
