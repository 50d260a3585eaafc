import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import type * as Schema from "effect/Schema"
import { type Aggregation as AnAggregation, makeStrategies, type Outcome } from "@parley/core/Strategy"
import { fromSeed } from "@parley/core/testing/Seeded"
import { testNode } from "@parley/core/testing/StrategySuite"
import * as Aggregation from "../src/Aggregation.ts"
import * as Consensus from "../src/Consensus.ts"
import * as Equivalence from "../src/Equivalence.ts"
import { patternOf } from "../src/internal/Pattern.ts"

const invite = (count: number, trust: (agent: number) => number = () => 0.5) =>
  Array.from({ length: count }, (_, agent) => ({ node: testNode(agent), trust: trust(agent), score: 0.5 }))
const answer = (agent: number, value: Schema.Json, quality?: number) => ({
  node: testNode(agent),
  capability: "test.echo@1.0.0",
  value,
  latencyMs: 1,
  ...(quality === undefined ? {} : { quality })
})
/** The outcome when agent i gives values[i]; `undefined` is silence. */
const count = (
  aggregation: AnAggregation,
  values: ReadonlyArray<Schema.Json | undefined>,
  invited = invite(values.length)
): Outcome => {
  const tally = aggregation.tally(invited)
  values.forEach((value, agent) => value !== undefined && tally.answer(answer(agent, value)))
  return tally.outcome()
}
const brief = ({ status, value }: Outcome) => (value === undefined ? status : `${status} ${JSON.stringify(value)}`)
const nodes = (...agents: ReadonlyArray<number>) => agents.map(testNode)

describe("votes", () => {
  const { consensusThreshold, majorityVote, weightedVote } = Aggregation
  test("majority is more than half of the invited, silence included", () => {
    expect(count(majorityVote, ["a", "b", "a", undefined, "a"])).toEqual({
      status: "reached",
      value: "a",
      confidence: 0.6,
      rule: "3 of 5",
      votes: [
        { value: "a", weight: 3, nodes: nodes(0, 2, 4) },
        { value: "b", weight: 1, nodes: nodes(1) }
      ],
      dissent: nodes(1)
    })
    expect(brief(count(majorityVote, ["a", "a", undefined, undefined]))).toEqual("insufficient")
    expect(brief(count(majorityVote, ["a", "a", "b", "b"]))).toEqual("tied")
    expect(brief(count(majorityVote, ["a", "a", "b", "c"]))).toEqual("undecided")
    expect(brief(count(majorityVote, []))).toEqual("insufficient")
  })
  test("values are equal by canonical JSON, and a text never passes for another value", () => {
    expect(
      count(majorityVote, [
        { a: 1, b: [2] },
        { b: [2], a: 1 }
      ]).votes.length
    ).toEqual(1)
    expect(count(majorityVote, [1, "1", true, "true", null, "null", {}, "{}", [], "[]", 1.0]).votes.length).toEqual(10)
    expect(count(majorityVote, [0, -0]).votes.length).toEqual(1)
    expect(count(majorityVote, ["\ud800", "\ud800", { a: "\ud800" }, { a: "\ud800" }]).votes.length).toEqual(2)
  })
  test("a value is compared whole: nothing inherited, left out, added or nested elsewhere passes for the same", () => {
    const read = (text: string): Schema.Json => JSON.parse(text) as Schema.Json
    const different = [
      '{"a":1}',
      '{"a":1,"b":2}',
      '{"b":1}',
      '{"a":"1"}',
      '{"a":null}',
      '{"a":{}}',
      '{"a":[]}',
      '{"__proto__":{}}',
      '{"constructor":1}',
      "{}",
      "[]",
      "[1]",
      "[1,2]",
      "[[1],2]",
      '{"0":1}'
    ]
    expect(
      count(
        majorityVote,
        different.flatMap((text) => [read(text), read(text)])
      ).votes.map(({ weight }) => weight)
    ).toEqual(different.map(() => 2))
    for (const first of different) {
      expect(count(majorityVote, [first, ...different].map(read)).votes.length).toBe(different.length)
    }
    expect(
      count(majorityVote, [read('{"a":1,"b":2}'), read('{"b":2,"a":1}'), read('{"a":-0}'), read('{"a":0}')]).votes
        .length
    ).toBe(2)
  })
  test("large answers are counted alike, and no patterns of them are kept", () => {
    const large = (last: number): Schema.Json => [...Array.from({ length: 100_000 }, () => 0), last]
    expect(count(majorityVote, [large(1), large(1), large(2)]).votes.map(({ weight }) => weight)).toEqual([2, 1])
    expect(patternOf(large(1))).toBeUndefined()
    let nested: Schema.Json = 0
    for (let depth = 0; depth < 60; depth++) nested = { a: nested, b: Array.from({ length: 100 }, () => depth) }
    expect(patternOf(nested)).toBeUndefined()
    expect(patternOf({ rows: Array.from({ length: 1_000 }, () => 0) })?.fits({ rows: [0] })).toBe(false)
    expect(patternOf("text")?.fits("text")).toBe(true)
  })
  test("weighted is more than half of the invited trust, whatever the order of adding", () => {
    const trust = (agent: number) => [0.9, 0.3, 0.3, 0.1][agent]!
    const outcome = count(weightedVote, ["a", "b", "b", "b"], invite(4, trust))
    expect(brief(outcome)).toEqual('reached "a"')
    expect(outcome.confidence).toBeCloseTo(0.5625, 9)
    expect(outcome.rule).toEqual("more than 50 % of the trust")
    expect(brief(count(weightedVote, ["a", "b"], invite(2)))).toEqual("tied")
    expect(brief(count(weightedVote, [undefined, "b", "b", "b"], invite(4, trust)))).toEqual("insufficient")
    expect(
      brief(
        count(
          weightedVote,
          ["a", "a"],
          invite(2, () => 0)
        )
      )
    ).toEqual("insufficient")
    expect(
      brief(
        count(
          weightedVote,
          ["a", "b"],
          invite(2, (agent) => (agent === 0 ? NaN : 1))
        )
      )
    ).toEqual('reached "b"')
  })
  test("a threshold counts the invited, without binary fractions in the way", () => {
    expect(count(consensusThreshold(0.6), ["a", "a", "a", "b", "b"]).rule).toEqual("3 of 5")
    expect(
      count(
        consensusThreshold(0.7),
        Array.from({ length: 10 }, () => "a")
      ).rule
    ).toEqual("7 of 10")
    expect(brief(count(consensusThreshold(1), ["a", "a", undefined]))).toEqual("insufficient")
    expect(brief(count(consensusThreshold(0.2), ["a", "b", "b", "c", "d"]))).toEqual('reached "b"')
    expect(() => consensusThreshold(0)).toThrow(RangeError)
  })
  test("a majority of 500 is decided with the answer that makes it", () => {
    const tally = majorityVote.tally(invite(500))
    for (let agent = 0; agent < 250; agent++) {
      tally.answer(answer(agent, "a"))
      expect(tally.decided()).toEqual(undefined)
    }
    tally.answer(answer(250, "a"))
    expect(tally.decided()?.status).toEqual("reached")
  })
})

describe("choices", () => {
  test("the first response is the first, whoever was invited first", () => {
    const tally = Aggregation.firstResponse.tally(invite(3))
    tally.failure({ node: testNode(0), reason: "refused" })
    expect(tally.decided()).toEqual(undefined)
    tally.answer(answer(2, "c"))
    expect(brief(tally.decided()!)).toEqual('reached "c"')
    tally.answer(answer(1, "b"))
    expect(tally.decided()?.dissent).toEqual(nodes(1))
    expect(brief(tally.decided()!)).toEqual('reached "c"')
  })
  test("longest, and of equally long ones what more agents gave", () => {
    expect(brief(count(Aggregation.longest, ["aa", "b", "cc", "cc"]))).toEqual('reached "cc"')
    expect(brief(count(Aggregation.longest, ["bb", "aa"]))).toEqual('reached "aa"')
    expect(brief(count(Aggregation.longest, [{ a: 1 }, "short"]))).toEqual('reached {"a":1}')
  })
  test("best-score goes by the quality of the answer, not of the match", () => {
    const tally = Aggregation.bestQuality.tally(
      [0, 1, 2].map((agent) => ({ node: testNode(agent), trust: 0.5, score: 1 - agent / 10 }))
    )
    tally.answer(answer(0, "a", 0.4))
    tally.answer(answer(1, "b", 0.8))
    tally.answer(answer(2, "c", NaN))
    expect(brief(tally.outcome())).toEqual('reached "b"')
    expect(brief(count(Aggregation.bestQuality, ["a", "b"]))).toEqual("undecided")
  })
  test("a judge sees the answer and the input once, in its preparation", () => {
    const best = Aggregation.bestScore(({ value }, input) => (value === input ? 1 : 0))
    const prepared = Effect.runSync(best.prepare!(answer(0, "x"), "x"))
    expect(prepared.quality).toEqual(1)
    expect(best.name).toEqual("best-score")
  })
  test("an ensemble lists all answers in the order of invitation", () => {
    const tally = Aggregation.ensemble.tally(invite(3))
    for (const agent of [2, 0]) tally.answer(answer(agent, agent))
    expect(tally.outcome()).toEqual({
      status: "reached",
      value: [0, 2],
      confidence: 2 / 3,
      rule: "all answers",
      votes: [
        { value: 0, weight: 1, nodes: nodes(0) },
        { value: 2, weight: 1, nodes: nodes(2) }
      ],
      dissent: []
    })
  })
  test("a custom one is a function", () => {
    const unanimous = Aggregation.custom(
      "unanimous",
      (answers, invited) => (answers.length === invited.length ? answers[0]?.value : undefined),
      { shape: "answer", rule: "all of them" }
    )
    expect(brief(count(unanimous, [1, 1]))).toEqual("reached 1")
    expect(brief(count(unanimous, [1, undefined]))).toEqual("undecided")
    expect(count(unanimous, [1, 2]).dissent).toEqual(nodes(1))
  })
})

describe("numbers", () => {
  const { median, trimmedMean } = Aggregation
  test("median of numbers, odd and even, and a liar does not move it", () => {
    expect(brief(count(median, [3, 1, 1e300]))).toEqual("reached 3")
    expect(brief(count(median, [1, 2, 3, 1e300]))).toEqual("reached 2.5")
    expect(count(median, [1.7e308, 1.6e308]).value).toBeGreaterThan(1.64e308)
    expect(count(median, [1.7e308, 1.6e308]).value).toBeLessThan(1.66e308)
    expect(brief(count(median, [5, undefined]))).toEqual("insufficient")
    expect(brief(count(median, ["x", "y", 1]))).toEqual("undecided")
  })
  test("objects of one form are combined number by number", () => {
    const outcome = count(median, [
      { mean: 2, columns: [{ name: "x", sd: 1 }] },
      { columns: [{ sd: 3, name: "x" }], mean: 4 },
      { mean: 9, columns: [{ name: "x", sd: 2 }] },
      { mean: 9, columns: [{ name: "y", sd: 2 }] }
    ])
    expect(outcome.value).toEqual({ columns: [{ name: "x", sd: 2 }], mean: 4 })
    expect(outcome.dissent).toEqual(nodes(3))
    expect(outcome.confidence).toEqual(0.75)
  })
  test("a median is decided as soon as equal numbers fix it", () => {
    const tally = median.tally(invite(5))
    for (const agent of [0, 1]) tally.answer(answer(agent, 7))
    expect(tally.decided()).toEqual(undefined)
    tally.answer(answer(2, 7))
    expect(brief(tally.decided()!)).toEqual("reached 7")
  })
  test("trimmed mean leaves out the outer numbers", () => {
    expect(brief(count(trimmedMean(), [1, 2, 3, 4, 1000]))).toEqual("reached 3")
    expect(brief(count(trimmedMean(0), [1, 2, 3, 6]))).toEqual("reached 3")
    expect(brief(count(trimmedMean(0), [1.5e308, 1.5e308]))).toEqual("reached 1.5e+308")
    expect(() => trimmedMean(0.5)).toThrow(RangeError)
  })
})

describe("clusters", () => {
  const within = (relative: number) => Aggregation.clusterVote(Equivalence.numeric({ relative }))
  test("rounding does not divide, a lie does, and the medoid is the value", () => {
    const outcome = count(Aggregation.clusterVote(), [
      { mean: 812.4, n: 488 },
      { mean: 812.400_000_1, n: 488 },
      { n: 488, mean: 812.400_000_2 },
      { mean: 1200, n: 488 },
      { mean: 812.400_000_1, n: 488 }
    ])
    expect(brief(outcome)).toEqual('reached {"mean":812.4000001,"n":488}')
    expect(outcome.confidence).toEqual(0.8)
    expect(outcome.rule).toEqual("3 of 5")
    expect(outcome.dissent).toEqual(nodes(3))
  })
  test("a chain of small differences does not join what is far apart", () => {
    const outcome = count(within(0.05), [100, 104, 108, 112, 116])
    expect(outcome.status).toEqual("tied")
    expect(outcome.votes.map(({ weight }) => weight)).toEqual([2, 2, 1])
  })
  test("tolerances are relative, absolute, or both, and cover nothing but numbers", () => {
    expect(brief(count(within(0), [1, 1 + 1e-15]))).toEqual("tied")
    const absolute = Aggregation.clusterVote(Equivalence.numeric({ absolute: 5 }))
    expect(absolute.name).toEqual("cluster-vote:absolute=5")
    expect(brief(count(absolute, [0, 2, -2]))).toEqual("reached 0")
    expect(brief(count(within(1), [{ a: 1 }, { b: 1 }]))).toEqual("tied")
    expect(brief(count(within(1), [1e308, -1e308]))).toEqual("tied")
  })
  test("what a majority gave identically is the value, also where distances are odd", () => {
    const odd: Record<string, number> = { "v x": 0.1, "v y": 1, "x y": 0 }
    const equivalence = Equivalence.make("odd", String, (a, b) => odd[[a, b].sort().join(" ")] ?? 0)
    const tally = Aggregation.clusterVote(equivalence).tally(invite(5))
    for (const agent of [0, 1, 2]) tally.answer(answer(agent, "v"))
    expect(brief(tally.decided()!)).toEqual('reached "v"')
    tally.answer(answer(3, "x"))
    tally.answer(answer(4, "y"))
    expect(brief(tally.decided()!)).toEqual('reached "v"')
    expect(tally.outcome().dissent).toEqual([])
  })
  test("texts with enough words in common", () => {
    const words = Aggregation.clusterVote(Equivalence.words(0.6))
    const outcome = count(words, [
      "The cat sat on the mat.",
      "the cat sat on a mat",
      "dogs bark",
      "on the mat the cat sat"
    ])
    expect(outcome.votes[0]!.nodes).toEqual(nodes(0, 1, 3))
    expect(outcome.dissent).toEqual(nodes(2))
  })
  test("sets with enough elements in common", () => {
    const elements = Aggregation.clusterVote(Equivalence.elements(0.5))
    expect(count(elements, [["a", { x: 1 }], [{ x: 1 }, "a"], ["z"]]).dissent).toEqual(nodes(2))
  })
  test("texts close in meaning, each embedded once", async () => {
    const asked: Array<string> = []
    const model = await Effect.runPromise(
      EmbeddingModel.make({
        embedMany: ({ inputs }) => {
          asked.push(...inputs)
          const vectors: Record<string, Array<number>> = { yes: [1, 0.1], yeah: [2, 0.3], no: [0, 1] }
          return Effect.succeed({ results: inputs.map((input) => vectors[input]!), usage: { inputTokens: 1 } })
        }
      })
    )
    const aggregation = Aggregation.clusterVote(Equivalence.embeddings(model))
    const tally = aggregation.tally(invite(3))
    for (const [agent, value] of ["yes", "yeah", "no"].entries()) {
      const prepared = await Effect.runPromise(aggregation.prepare!(answer(agent, value), null))
      expect(JSON.parse(JSON.stringify(prepared))).toEqual(answer(agent, value))
      tally.answer({ ...prepared })
    }
    expect(tally.outcome().dissent).toEqual(nodes(2))
    expect(asked).toEqual(["yes", "yeah", "no"])
    expect(brief(count(aggregation, ["yes", "yeah", "no"]))).toEqual("tied")
  })
})

describe("ranked choice", () => {
  const { rankedChoice } = Aggregation
  const ballots = (text: string) => text.split(" ").map((ballot) => ballot.split(""))
  test("the weakest goes, and its ballots move on", () => {
    const outcome = count(rankedChoice, ballots("abc abc bca bca cba"))
    expect(brief(outcome)).toEqual('reached "b"')
    expect(outcome.votes.map(({ value, weight }) => [value, weight])).toEqual([
      ["b", 3],
      ["a", 2]
    ])
  })
  test("of equally weak ones the one goes that was weaker before, then the last by its text", () => {
    expect(brief(count(rankedChoice, ballots("a a a b b cb db")))).toEqual('reached "b"')
    // b and c lead two ballots each; c goes for its text, and its ballots choose b.
    expect(brief(count(rankedChoice, ballots("a a a bc bc cb cb")))).toEqual('reached "b"')
  })
  test("equal to the end is a tie, and no list is no ballot", () => {
    expect(brief(count(rankedChoice, ballots("ab ba")))).toEqual("tied")
    expect(brief(count(rankedChoice, ["a", "b"]))).toEqual("undecided")
    expect(count(rankedChoice, [["a"], ["a"], "b"]).dissent).toEqual(nodes(2))
    expect(brief(count(rankedChoice, [["a", "a"], undefined, undefined]))).toEqual("insufficient")
  })
})

describe("aggregations by name", () => {
  const find = (name: string) => Effect.runSync(Effect.result(Consensus.strategies.aggregation(name)))
  test("each finds itself by its own name", () => {
    for (const name of [
      "majority-vote",
      "weighted-vote",
      "consensus-threshold:0.6",
      "first-response",
      "longest",
      "best-score",
      "ensemble",
      "median",
      "trimmed-mean",
      "trimmed-mean:0.1",
      "cluster-vote",
      "cluster-vote:0.01",
      "cluster-vote:1e-9",
      "cluster-vote:0.01,absolute=5",
      "cluster-vote:words=0.7",
      "cluster-vote:elements=0.5",
      "ranked-choice"
    ]) {
      const found = find(name)
      expect(found._tag === "Success" ? found.success.name : found.failure.message).toEqual(name)
    }
    expect(Consensus.strategies.names.aggregations.length).toEqual(11)
  })
  test("wrong arguments say what is right", () => {
    const messageOf = (name: string) => {
      const found = find(name)
      return found._tag === "Failure" ? found.failure.message : "found"
    }
    expect(messageOf("consensus-threshold:60")).toEqual(
      'strategy "consensus-threshold": it takes a share above 0 and up to 1, not 60'
    )
    expect(messageOf("cluster-vote:close")).toContain("relative tolerance")
    expect(messageOf("cluster-vote:embeddings=0.9")).toContain("need a model")
    expect(messageOf("trimmed-mean:0.7")).toContain("below 0.5")
    expect(messageOf("majority-vote:3")).toContain("takes no argument")
  })
  test("others can be added, and replace", () => {
    const own = Aggregation.custom("own", () => 1)
    const joined = makeStrategies(Consensus.registered, { aggregations: { own: () => Effect.succeed(own) } })
    expect(Effect.runSync(joined.aggregation("own"))).toEqual(own)
    expect(joined.names.aggregations).toContain("median")
  })
})

describe("speed", () => {
  test("200 texts are clustered in time that nobody notices", () => {
    const random = fromSeed(1)
    const texts = Array.from({ length: 200 }, (_, agent) =>
      Array.from({ length: 40 }, (_, i) => `w${(agent % 4) * 40 + (random.next() < 0.15 ? random.int(400) : i)}`)
    )
    const start = performance.now()
    count(
      Aggregation.clusterVote(Equivalence.words(0.5)),
      texts.map((words) => words.join(" "))
    )
    // About 10 ms; the bound only catches another order of growth.
    expect(performance.now() - start).toBeLessThan(1_000)
  })
})
