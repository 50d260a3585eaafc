/**
 * Ranked choice: each answer is a list, the most preferred first; an instant run-off finds the winner.
 */
import type { Aggregation, Invited, Registered, Status } from "@parley/core/Strategy"
import type * as Schema from "effect/Schema"
import * as Argument from "./internal/Argument.ts"
import { canonicalText, compareText } from "./internal/Poll.ts"
import { majorityOf, outcome, Roll } from "./internal/Roll.ts"

/** Choices of one ballot that count; what stands behind them is not read. More than a person or model ranks with care. */
export const MAX_RANKS = 100

/** A ballot: canonical texts in order of preference, none twice; empty where the answer was no list. */
type Ballot = ReadonlyArray<string>

interface RunOff {
  readonly status: Status
  /** Of the last round: each choice and the places of the ballots that count for it; largest first. */
  readonly last: ReadonlyArray<readonly [text: string, places: ReadonlyArray<number>]>
}

const runOff = (ballots: ReadonlyMap<number, Ballot>): RunOff => {
  const out = new Set<string>()
  /** Ballots for each choice in each round so far. */
  const history: Array<Map<string, number>> = []
  for (;;) {
    const counts = new Map<string, Array<number>>()
    let counted = 0
    for (const [place, ballot] of ballots) {
      const choice = ballot.find((text) => !out.has(text))
      if (choice === undefined) continue
      counted++
      const places = counts.get(choice)
      if (places === undefined) counts.set(choice, [place])
      else places.push(place)
    }
    const last = [...counts].sort((a, b) => b[1].length - a[1].length || compareText(a[0], b[0]))
    if (last.length === 0) return { status: "undecided", last }
    const [most, least] = [last[0]![1].length, last.at(-1)![1].length]
    if (most * 2 > counted) return { status: "reached", last }
    if (most === least) return { status: "tied", last }
    // In the first round choices that lead no ballot go at once: they would go first, one by one, and move no ballot.
    if (history.length === 0) {
      for (const ballot of ballots.values()) for (const text of ballot) if (!counts.has(text)) out.add(text)
    }
    history.push(new Map(last.map(([text, places]) => [text, places.length])))
    const [weakest] = last
      .filter(([, places]) => places.length === least)
      .map(([text]) => text)
      .sort((a, b) => {
        for (const round of history) {
          const difference = (round.get(a) ?? 0) - (round.get(b) ?? 0)
          if (difference !== 0) return difference
        }
        return compareText(b, a)
      })
    out.add(weakest!)
  }
}

const tally = (invited: ReadonlyArray<Invited>) => {
  const roll = new Roll(invited)
  const need = majorityOf(roll.size)
  const ballots = new Map<number, Ballot>()
  const values = new Map<string, { readonly value: Schema.Json; readonly place: number }>()
  const firsts = new Map<string, number>()
  let mostFirsts = 0
  const valueOf = (text: string) => values.get(text)!.value
  const conclude = () => {
    const { last, status } = runOff(new Map([...ballots].sort(([a], [b]) => a - b)))
    const winner = last[0]
    const behind = new Set(winner?.[1])
    return outcome(roll, {
      status: roll.answered < need ? "insufficient" : status,
      value: winner === undefined ? undefined : valueOf(winner[0]),
      confidence: behind.size / Math.max(1, roll.size),
      rule: `instant run-off among at least ${need} of ${roll.size}`,
      votes: last.map(([text, places]) => ({
        value: valueOf(text),
        weight: places.length,
        nodes: places.map((place) => roll.invited[place]!.node)
      })),
      standsBehind: (place) => behind.has(place)
    })
  }
  return {
    answer: ({ node, value }: { readonly node: Invited["node"]; readonly value: Schema.Json }) => {
      const place = roll.answer(node)
      if (place < 0 || !Array.isArray(value)) return
      const ballot = new Set<string>()
      for (const choice of value.slice(0, MAX_RANKS) as Array<Schema.Json>) {
        const text = canonicalText(choice)
        ballot.add(text)
        if (!(values.get(text) !== undefined && values.get(text)!.place <= place)) {
          values.set(text, { value: choice, place })
        }
      }
      ballots.set(place, [...ballot])
      for (const first of ballot) {
        const count = (firsts.get(first) ?? 0) + 1
        firsts.set(first, count)
        mostFirsts = Math.max(mostFirsts, count)
        break
      }
    },
    failure: ({ node }: { readonly node: Invited["node"] }) => void roll.failure(node),
    decided: () =>
      roll.pending === 0 || mostFirsts >= need || roll.answered + roll.pending < need ? conclude() : undefined,
    outcome: conclude
  }
}

/**
 * The winner of an instant run-off: in each round every ballot counts for the choice that it ranks highest among those
 * left; a choice with more than half of the counting ballots wins, else the one with the fewest goes.
 *
 * - At least half of the invited agents and one more must answer, otherwise the outcome is insufficient. An answer that is no
 *   list counts as answered and for nobody.
 * - Of several with the fewest ballots the one goes that had fewer in the earliest round in which they differ; if there is
 *   none, the one whose canonical text comes last.
 * - Where all choices left have the same number of ballots the outcome is tied: no rule picks a winner.
 * - `decided` ends the count early when more than half of the invited rank the same choice first, or when too few can
 *   answer; else it waits for every agent.
 *
 * The value is one choice, not a list. Votes are those of the last round.
 */
export const rankedChoice: Aggregation<"other"> = { name: "ranked-choice", shape: "other", tally }

/** The ranked choice by name. */
export const registered = { "ranked-choice": Argument.none(rankedChoice) } satisfies Registered["aggregations"]
