/** Makes one verdict of many answers, in a process of its own. */
import { build } from "hdr-histogram-js"
import * as Aggregation from "@parley/consensus/Aggregation"
import * as Equivalence from "@parley/consensus/Equivalence"
import type { Aggregation as AnAggregation } from "@parley/core/Strategy"
import { fromSeed } from "@parley/core/testing/Seeded"
import { testNode } from "@parley/core/testing/StrategySuite"
import { obey } from "./Obey.ts"

/** What it is told; answered by an `AggregateRun`. */
export interface AggregateOrder {
  readonly _tag: "Aggregate"
  /** `labels`, `objects`: 500 answers to a majority vote. `texts`: 200 to a cluster vote by their words. */
  readonly name: "labels" | "objects" | "texts"
  readonly runs: number
}

/** Microseconds for one verdict. */
export interface AggregateRun {
  readonly p50: number
  readonly p99: number
}

const random = fromSeed(3)
const labels = ["cat", "dog", "bird"]
const text = (about: number): string =>
  Array.from({ length: 30 }, (_, i) => (random.int(6) === 0 ? `other${random.int(300)}` : `word${about}x${i}`)).join(
    " "
  )
const objectOf = (label: string) => ({ label, score: 0.9, lines: [1, 2] })

/** As it comes off the wire: no two answers are one object. */
const parsed = <A>(value: A): A => JSON.parse(JSON.stringify(value)) as A

// Three of five answers are alike; the others are of two kinds.
const answersOf: { readonly [K in AggregateOrder["name"]]: ReadonlyArray<string | ReturnType<typeof objectOf>> } = {
  labels: Array.from({ length: 500 }, () => labels[random.int(5) < 3 ? 0 : 1 + random.int(2)]!),
  objects: Array.from({ length: 500 }, () => parsed(objectOf(labels[random.int(5) < 3 ? 0 : 1 + random.int(2)]!))),
  texts: Array.from({ length: 200 }, () => text(random.int(3)))
}

const verdictOf = (aggregation: AnAggregation, name: AggregateOrder["name"]): (() => string) => {
  const values = answersOf[name]
  const invited = values.map((_, agent) => ({ node: testNode(agent), trust: 0.5, score: 0.5 }))
  const answers = values.map((value, agent) => ({
    node: testNode(agent),
    capability: "test.echo@1.0.0",
    value,
    latencyMs: 1
  }))
  return () => {
    const tally = aggregation.tally(invited)
    for (const answer of answers) tally.answer(answer)
    return tally.outcome().status
  }
}

const verdicts: { readonly [K in AggregateOrder["name"]]: () => string } = {
  labels: verdictOf(Aggregation.majorityVote, "labels"),
  objects: verdictOf(Aggregation.majorityVote, "objects"),
  texts: verdictOf(Aggregation.clusterVote(Equivalence.words()), "texts")
}

await obey<AggregateOrder>({}, async ({ name, runs }): Promise<AggregateRun> => {
  const histogram = build({ highestTrackableValue: 10_000_000_000, numberOfSignificantValueDigits: 3 })
  for (let i = 0; i < runs; i++) {
    const began = performance.now()
    if (verdicts[name]() === "insufficient") throw new Error("too few answers counted")
    histogram.recordValue(Math.round((performance.now() - began) * 1e6))
  }
  return { p50: histogram.getValueAtPercentile(50) / 1_000, p99: histogram.getValueAtPercentile(99) / 1_000 }
})
