import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import { aggregationSuite, type AggregationUnderTest } from "@parley/core/testing/StrategySuite"
import * as Aggregation from "../src/Aggregation.ts"
import * as Equivalence from "../src/Equivalence.ts"

const laws = (subject: Omit<AggregationUnderTest, "name"> & { readonly name?: string }) =>
  aggregationSuite({ describe, expect, test }, { name: subject.make().name, ...subject })

const labels = ["a", "b", "c"]
// The first two are one value.
const objects = [{ label: "a", n: 1 }, { n: 1, label: "a" }, { label: "b", n: 1 }, ["a"]]

laws({ make: () => Aggregation.majorityVote, values: labels, exact: true })
laws({ name: "majority-vote of objects", make: () => Aggregation.majorityVote, values: objects, exact: true })
for (const share of [0.25, 0.34, 0.5, 0.6, 2 / 3, 1]) {
  laws({ make: () => Aggregation.consensusThreshold(share), values: ["a", "b", "c", "d"], exact: true })
}
laws({ name: "weighted-vote, equal trust", make: () => Aggregation.weightedVote, values: labels, exact: true })
laws({
  name: "weighted-vote, unequal trust",
  make: () => Aggregation.weightedVote,
  values: labels,
  trust: (agent) => [0.9, 0.1, 0.25, 0.65, 0.3][agent % 5]!
})
laws({
  name: "weighted-vote, no trust in some",
  make: () => Aggregation.weightedVote,
  values: labels,
  trust: (agent) => (agent % 2 === 0 ? 0 : 0.7)
})
laws({ name: "weighted-vote, no trust", make: () => Aggregation.weightedVote, values: labels, trust: () => 0 })
laws({ make: () => Aggregation.firstResponse, values: labels, ordered: true, exact: true })
laws({ make: () => Aggregation.longest, values: ["a", "bb", "cc", { a: 1 }] })
laws({ make: () => Aggregation.bestQuality, values: labels, quality: (value) => [0.2, 0.9, 0.9][value]! })
laws({
  name: "best-score by a judge",
  make: () => Aggregation.bestScore(({ value }) => Effect.succeed(value === "b" ? 1 : 0.5)),
  values: labels
})
laws({ make: () => Aggregation.ensemble, values: labels, exact: true })
laws({
  make: () => Aggregation.custom("count", (answers) => (answers.length === 0 ? undefined : answers.length)),
  values: labels,
  exact: true
})
laws({ make: () => Aggregation.median, values: [1, 2, 7, "none"] })
// Far apart on both sides of the rest, so that whatever can move the median is among the values.
laws({ name: "median, exact", make: () => Aggregation.median, values: [-1000, 3, 4, 1000], exact: true })
laws({
  name: "median, exact, and not of numbers",
  make: () => Aggregation.median,
  values: [-1000, 1000, "none", { n: 1 }],
  exact: true
})
laws({
  name: "median of objects",
  make: () => Aggregation.median,
  values: [{ n: 1, mean: 2 }, { mean: 4, n: 1 }, { n: 3, mean: 9 }, { mean: 4 }]
})
laws({ make: () => Aggregation.trimmedMean(), values: [1, 2, 1e6, null] })
laws({ make: () => Aggregation.trimmedMean(0.25), values: [0.1, 0.2, 0.3, { x: 1 }] })
laws({ make: () => Aggregation.clusterVote(), values: [100, 100.000_01, 100.000_15, "x"] })
laws({
  make: () => Aggregation.clusterVote(Equivalence.numeric({ relative: 0.1 })),
  values: [10, 10.8, 11.6, 12.5]
})
laws({
  make: () => Aggregation.clusterVote(Equivalence.words(0.5)),
  values: ["the cat sat", "the cat sat down", "down sat the dog", "no"]
})
laws({
  make: () => Aggregation.clusterVote(Equivalence.elements(0.5)),
  values: [["a", "b"], ["b", "a", "c"], ["c"], {}]
})

/** Texts by their first two letters: a plane in which "aa" and "ab" are close. */
const model = Effect.runSync(
  EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.succeed({
        results: inputs.map((input) => {
          const angle = input.charCodeAt(0) * 1.3 + input.charCodeAt(1) / 50
          return [Math.cos(angle), Math.sin(angle)]
        }),
        usage: { inputTokens: undefined }
      })
  })
)
laws({
  make: () => Aggregation.clusterVote(Equivalence.embeddings(model, 0.999)),
  values: ["aa", "ab", "ad", "za"]
})
laws({
  make: () => Aggregation.rankedChoice,
  values: [["a", "b", "c"], ["b", "c", "a"], ["c", "b"], "not a list"]
})
