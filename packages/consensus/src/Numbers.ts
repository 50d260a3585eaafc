/**
 * Numbers: median and trimmed mean of what the agents measured or computed.
 *
 * An answer is a number, or JSON with numbers in it. Answers of the same form, which are equal but for their numbers, are
 * combined number by number: `{"mean":1,"n":3}` and `{"mean":2,"n":3}` have the median `{"mean":1.5,"n":3}`. The form that
 * more than half of the invited agents gave counts; others, and answers without a number, are dissent.
 *
 * Fewer than half of the invited agents cannot move a median beyond what an honest one said. Neither aggregation tells
 * who was far off: `cluster-vote` does.
 */
import type { Aggregation, Registered } from "@parley/core/Strategy"
import type * as Schema from "effect/Schema"
import * as Argument from "./internal/Argument.ts"
import { leavesOf, withNumbers } from "./internal/Leaves.ts"
import { isSettled, Poll, statusOf } from "./internal/Poll.ts"
import { majorityOf, outcome, Roll } from "./internal/Roll.ts"

/** Numbers of all answers of one form: a sorted column for each number in it. */
type Columns = ReadonlyArray<Array<number>>

interface Combination {
  readonly name: string
  readonly what: string
  readonly combine: (sorted: ReadonlyArray<number>) => number
  /** Whether up to `pending` more numbers, of any size, leave the figure as it is. */
  readonly isFixed: (sorted: ReadonlyArray<number>, pending: number) => boolean
}

/** Where a number goes in a sorted column. */
const placeIn = (column: ReadonlyArray<number>, number: number): number => {
  let low = 0
  let high = column.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (column[middle]! < number) low = middle + 1
    else high = middle
  }
  return low
}

const combination = ({ combine, isFixed, name, what }: Combination): Aggregation<"answer"> => ({
  name,
  shape: "answer",
  tally: (invited) => {
    const roll = new Roll(invited)
    const poll = new Poll(roll.size)
    const need = majorityOf(roll.size)
    const forms = new Map<unknown, Columns>()
    const valueOf = (key: unknown, model: Schema.Json) => withNumbers(model, forms.get(key)!.map(combine))
    const conclude = () =>
      outcome(roll, {
        status: statusOf(poll, need, roll.answered),
        value: poll.leader === undefined ? undefined : valueOf(poll.leader.key, poll.leader.value),
        confidence: roll.size === 0 ? 0 : poll.top / roll.size,
        rule: `${what} of at least ${need} of ${roll.size}`,
        votes: poll.votes(roll, 1, ({ key, value }) => valueOf(key, value)),
        standsBehind: (place) => poll.at(place) === poll.leader
      })
    const isDecided = (): boolean =>
      roll.pending === 0 ||
      (isSettled(poll, need, roll.answered, roll.pending) &&
        (poll.top < need || forms.get(poll.leader?.key)!.every((column) => isFixed(column, roll.pending))))
    return {
      answer: ({ node, value }) => {
        const place = roll.answer(node)
        if (place < 0) return
        const { form, numbers } = leavesOf(value)
        if (numbers.length === 0 || !numbers.every(Number.isFinite)) return
        poll.add(place, form, value, 1)
        const columns = forms.get(form)
        if (columns === undefined) {
          forms.set(
            form,
            numbers.map((number) => [number])
          )
        } else {
          numbers.forEach((number, i) => columns[i]!.splice(placeIn(columns[i]!, number), 0, number))
        }
      },
      failure: ({ node }) => void roll.failure(node),
      decided: () => (isDecided() ? conclude() : undefined),
      outcome: conclude
    }
  }
})

/** Half-way between two numbers, without overflow. */
const between = (a: number, b: number): number => (a === b ? a : a / 2 + b / 2)

const medianOf = (sorted: ReadonlyArray<number>): number =>
  between(sorted[(sorted.length - 1) >> 1]!, sorted[sorted.length >> 1]!)

/**
 * The median, number by number; half-way between the two in the middle where their count is even.
 *
 * `decided` is exact: equal numbers around the middle end the count early.
 */
export const median: Aggregation<"answer"> = combination({
  name: "median",
  what: "median",
  combine: medianOf,
  isFixed: (sorted, pending) => {
    const { length } = sorted
    const now = medianOf(sorted)
    for (let more = 1; more <= pending; more++) {
      const low = (length + more - 1) >> 1
      const high = (length + more) >> 1
      // All of them above every number, then all below. Those counted are a majority, so the middle is always among them.
      if (between(sorted[low]!, sorted[high]!) !== now) return false
      if (between(sorted[low - more]!, sorted[high - more]!) !== now) return false
    }
    return true
  }
})

/** Share that `trimmed-mean` leaves out at each end where none is given. */
export const DEFAULT_TRIM = 0.2

/**
 * The mean without the outer numbers: this share of them, rounded down, is left out at each end; 0 ≤ share < 0.5.
 *
 * `decided` waits for every agent, unless too few can answer: any number may move a mean.
 */
export const trimmedMean = (share: number = DEFAULT_TRIM): Aggregation<"answer"> => {
  if (!(share >= 0 && share < 0.5)) throw new RangeError(`it takes a share from 0 and below 0.5, not ${share}`)
  return combination({
    name: share === DEFAULT_TRIM ? "trimmed-mean" : `trimmed-mean:${share}`,
    what: `mean without ${Math.round(share * 1000) / 10} % at each end`,
    combine: (sorted) => {
      const cut = Math.floor(sorted.length * share + 1e-9)
      const kept = sorted.slice(cut, sorted.length - cut)
      const sum = kept.reduce((total, number) => total + number, 0)
      return Number.isFinite(sum) ? sum / kept.length : kept.reduce((total, number) => total + number / kept.length, 0)
    },
    isFixed: () => false
  })
}

/** The aggregations of numbers by name. */
export const registered = {
  median: Argument.none(median),
  "trimmed-mean": Argument.some("trimmed-mean", (argument) =>
    trimmedMean(
      argument === undefined
        ? DEFAULT_TRIM
        : Argument.number(argument, "the share left out at each end, such as trimmed-mean:0.2")
    )
  )
} satisfies Registered["aggregations"]
