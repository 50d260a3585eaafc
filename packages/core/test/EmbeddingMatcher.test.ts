import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as EmbeddingMatcher from "../src/EmbeddingMatcher.ts"
import * as Matcher from "../src/Matcher.ts"
import { suite } from "../src/testing/MatcherSuite.ts"
import { capability, context, node, recordOf } from "./matcher-world.ts"

describe("EmbeddingMatcher", () => {
  /** Texts about numbers point one way, texts about moods the other. */
  const vectorOf = (text: string) => [/table|figures|csv/.test(text) ? 3 : 0, /mood|feeling/.test(text) ? 2 : 0, 0.1]
  const run = <A>(works: boolean, body: (asked: Array<string>) => Effect.Effect<A, never, Matcher.Matcher>) => {
    const asked: Array<string> = []
    const model = EmbeddingModel.make({
      embedMany: ({ inputs }) => {
        asked.push(...inputs)
        // The wrong number of answers: the model's typed failure.
        if (!works) return Effect.succeed({ results: [], usage: { inputTokens: undefined } })
        return Effect.succeed({ results: inputs.map(vectorOf), usage: { inputTokens: undefined } })
      }
    })
    const matcher = Layer.effect(Matcher.Matcher, EmbeddingMatcher.make(works ? {} : { patience: 20 }))
    const layer = Layer.provide(matcher, Layer.effect(EmbeddingModel.EmbeddingModel, model))
    return Effect.runPromise(body(asked).pipe(Effect.provide(Layer.provideMerge(layer, Logger.layer([])))))
  }

  test("finds by meaning what shares no word, and embeds each text once", () =>
    run(true, (asked) =>
      Effect.gen(function* () {
        const matcher = yield* Matcher.Matcher
        for (let i = 0; i < 30; i++) matcher.upsert(recordOf(node(i), [capability("csv.describe")]))
        matcher.upsert(recordOf(node(30), [capability("text.mood")]))
        const query = { text: "summary figures" }
        expect(matcher.match(query, context())).toEqual([])
        yield* matcher.prepare(query)
        yield* matcher.prepare(query)
        const found = matcher.match(query, context())
        expect(found.length).toBe(30)
        expect(found[0]?.parts.semantic.why).toBe("meaning 1.00")
        expect(matcher.match({ text: "mood" }, context()).map((match) => match.node)).toEqual([node(30)])
        expect(asked.toSorted()).toEqual(["csv describe", "summary figures", "text mood"])
      })
    ))
  test("goes by the words when the model fails", () =>
    run(false, (asked) =>
      Effect.gen(function* () {
        const matcher = yield* Matcher.Matcher
        matcher.upsert(recordOf(node(0), [capability("csv.describe")]))
        yield* matcher.prepare({ text: "describe figures" })
        expect(asked.includes("describe figures")).toBe(true)
        expect(matcher.match({ text: "describe figures" }, context()).length).toBe(1)
        expect(matcher.match({ text: "figures" }, context())).toEqual([])
      })
    ))
})

/** A model that always gives the same few numbers for the same text. */
const model = EmbeddingModel.make({
  embedMany: ({ inputs }) =>
    Effect.succeed({
      results: inputs.map((text) => ["csv", "table", "mail", "mood"].map((word) => 0.1 + text.split(word).length - 1)),
      usage: { inputTokens: undefined }
    })
})
suite(
  { describe, expect, test },
  {
    name: "embeddings",
    make: Effect.provideServiceEffect(EmbeddingMatcher.make(), EmbeddingModel.EmbeddingModel, model)
  }
)
