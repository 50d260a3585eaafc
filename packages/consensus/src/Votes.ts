/**
 * Votes: the value that enough of the invited agents gave, equal by canonical JSON (RFC 8785).
 *
 * Shares are of the agents invited, not of those that answered: whoever is silent agrees with nobody. Counting is O(1) per
 * answer and so is `decided`, which is exact where each agent counts the same: it says so with the first answer after
 * which nothing can change.
 */
import type { Aggregation, Invited, Registered } from "@parley/core/Strategy"
import * as Argument from "./internal/Argument.ts"
import { isSettled, Poll, statusOf } from "./internal/Poll.ts"
import { majorityOf, outcome, Roll } from "./internal/Roll.ts"

/** Trust is counted in millionths, so that sums of it are exact and do not depend on the order of answers. */
export const TRUST_UNIT = 1e-6

interface Plurality {
  readonly name: string
  /** Whole units of weight of an agent. */
  readonly weigh: ((agent: Invited) => number) | undefined
  readonly unit: number
  /** The weight that a value needs, of the total weight invited. */
  readonly need: (total: number) => number
  readonly rule: (need: number, total: number) => string
}

const plurality = ({ name, need: needOf, rule, unit, weigh }: Plurality): Aggregation<"answer"> => ({
  name,
  shape: "answer",
  tally: (invited) => {
    const roll = new Roll(invited)
    const poll = new Poll(roll.size)
    const weights = weigh === undefined ? undefined : roll.invited.map(weigh)
    const total = weights === undefined ? roll.size : weights.reduce((sum, weight) => sum + weight, 0)
    const need = needOf(total)
    let answered = 0
    let pending = total
    const conclude = () =>
      outcome(roll, {
        status: statusOf(poll, need, answered),
        value: poll.leader?.value,
        confidence: total === 0 ? 0 : poll.top / total,
        rule: rule(need, total),
        votes: poll.votes(roll, unit),
        standsBehind: (place) => poll.at(place) === poll.leader
      })
    return {
      answer: ({ node, value }) => {
        const place = roll.answer(node)
        if (place < 0) return
        const weight = weights === undefined ? 1 : weights[place]!
        answered += weight
        pending -= weight
        poll.addValue(place, value, weight)
      },
      failure: ({ node }) => {
        const place = roll.failure(node)
        if (place >= 0) pending -= weights === undefined ? 1 : weights[place]!
      },
      decided: () => (isSettled(poll, need, answered, pending) ? conclude() : undefined),
      outcome: conclude
    }
  }
})

const countRule = (need: number, total: number): string => `${need} of ${total}`

/** The value that more than half of the invited agents gave. */
export const majorityVote: Aggregation<"answer"> = plurality({
  name: "majority-vote",
  weigh: undefined,
  unit: 1,
  need: majorityOf,
  rule: countRule
})

/**
 * The value behind which more than half of the invited agents' trust stands. With no trust at all nothing is reached.
 *
 * `decided` is exact for reached and insufficient. That nobody can reach the half any more is said as soon as no tie is
 * possible either, judged by the sum of the weights that are pending.
 */
export const weightedVote: Aggregation<"answer"> = plurality({
  name: "weighted-vote",
  weigh: ({ trust }) => (trust > 0 ? Math.round(Math.min(1, trust) / TRUST_UNIT) : 0),
  unit: TRUST_UNIT,
  need: majorityOf,
  rule: () => "more than 50 % of the trust"
})

/**
 * The value that at least this share of the invited agents gave, 0 < share ≤ 1; the most frequent one, where the share is
 * so small that several values have it.
 */
export const consensusThreshold = (share: number): Aggregation<"answer"> => {
  if (!(share > 0 && share <= 1)) throw new RangeError(`it takes a share above 0 and up to 1, not ${share}`)
  return plurality({
    name: `consensus-threshold:${share}`,
    weigh: undefined,
    unit: 1,
    // 0.7 × 10 is a little more than 7 in binary.
    need: (total) => Math.max(1, Math.ceil(share * total - 1e-9)),
    rule: countRule
  })
}

/** Share of `consensus-threshold` where none is given: two thirds, which a third of liars cannot sway. */
export const DEFAULT_THRESHOLD = 2 / 3

/** The votes by name. */
export const registered = {
  "majority-vote": Argument.none(majorityVote),
  "weighted-vote": Argument.none(weightedVote),
  "consensus-threshold": Argument.some("consensus-threshold", (argument) =>
    consensusThreshold(
      argument === undefined
        ? DEFAULT_THRESHOLD
        : Argument.number(argument, "a share such as consensus-threshold:0.6 for 60 %")
    )
  )
} satisfies Registered["aggregations"]
