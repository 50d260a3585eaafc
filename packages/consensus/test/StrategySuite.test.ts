/** Each law of the suites is seen to fail for something that breaks it. */
import { describe, expect, test } from "bun:test"
import type { Aggregation, Selection } from "@parley/core/Strategy"
import { aggregationSuite, selectionSuite } from "@parley/core/testing/StrategySuite"
import * as Aggregations from "../src/Aggregation.ts"
import * as Selections from "../src/Selection.ts"
import { brokenLaws } from "../../../test-support/BrokenLaws.ts"

const values = ["a", "b", "c"]
const { majorityVote } = Aggregations
const broken = (
  change: (tally: ReturnType<Aggregation["tally"]>, size: number) => Partial<typeof tally>
): Aggregation => ({
  ...majorityVote,
  tally: (invited) => {
    const tally = majorityVote.tally(invited)
    return { ...tally, ...change(tally, invited.length) }
  }
})
const failingOf = (make: () => Aggregation, exact = true) =>
  brokenLaws((api) => aggregationSuite(api, { name: "broken", make, values, exact }))
const failingSelection = (select: Selection["select"]) =>
  brokenLaws((api) => selectionSuite(api, { name: "broken", make: () => ({ name: "broken", select }), count: 3 }))

const inAnyOrder = "comes to the same outcome in any order of the same answers"
const oneWord = "counts one word per node, and strangers not at all"
const saysWho = "says who stands where, each once, and a value only when it is reached"
const keeps = "never takes back what it decided, and decides when nobody is left"
const decides = "decides exactly when nothing can change any more: every standing of up to four agents"

describe("aggregationSuite", () => {
  test("passes what keeps the laws", async () => {
    expect(await failingOf(() => majorityVote)).toEqual([])
  })
  test("notices that order decides", async () => {
    expect(await failingOf(() => Aggregations.firstResponse, false)).toContain(inAnyOrder)
  })
  test("notices two votes of one node, and votes of strangers", async () => {
    const counting = Aggregations.custom("count", () => 1)
    const lax: Aggregation = {
      ...counting,
      tally: (invited) => {
        let words = 0
        const tally = counting.tally(invited)
        return {
          ...tally,
          answer: (answer) => {
            words++
            tally.answer(answer)
          },
          outcome: () => ({ ...tally.outcome(), rule: `${words} words` })
        }
      }
    }
    expect(await failingOf(() => lax)).toContain(oneWord)
  })
  test("notices a value that was not reached", async () => {
    expect(
      await failingOf(() => broken((tally) => ({ outcome: () => ({ ...tally.outcome(), value: "a" }) })))
    ).toContain(saysWho)
  })
  test("notices a decision that comes too early", async () => {
    const failed = await failingOf(() =>
      broken((tally) => ({
        decided: () => ((tally.outcome().votes[0]?.nodes.length ?? 0) >= 2 ? tally.outcome() : tally.decided())
      }))
    )
    expect(failed).toContain(decides)
    expect(failed).toContain(keeps)
  })
  test("notices a decision that comes too late, or never", async () => {
    const late = () =>
      broken((tally, size) => ({
        decided: () => {
          const decided = tally.decided()
          const open = size - (decided?.votes.flatMap(({ nodes }) => nodes).length ?? 0)
          return open > 1 ? undefined : decided
        }
      }))
    expect(await failingOf(late)).toContain(decides)
    expect(await failingOf(() => broken(() => ({ decided: () => undefined })), false)).toContain(keeps)
  })
})

describe("selectionSuite", () => {
  test("passes what keeps the laws", async () => {
    const { select } = Selections.topN(3)
    expect(await failingSelection(select)).toEqual([])
  })
  test("notices strangers, doubles, own dice, changed matches and wrong numbers", async () => {
    const { select } = Selections.topN(3)
    const among = "chooses among the matches, none twice"
    const repeats = "chooses the same for the same context, and leaves the matches as they are"
    expect(
      await failingSelection((matches, context) => select(matches, context).map((match) => ({ ...match })))
    ).toContain(among)
    expect(await failingSelection((matches) => [...matches, ...matches])).toContain(among)
    let calls = 0
    expect(await failingSelection((matches) => matches.slice(0, calls++ % 4))).toContain(repeats)
    expect(await failingSelection((matches) => (matches as Array<(typeof matches)[number]>).sort())).toContain(repeats)
    expect(await failingSelection((matches, context) => select(matches, context).slice(0, 2))).toEqual([
      "chooses 3 nodes, or all where fewer match"
    ])
  })
})
