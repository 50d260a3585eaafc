/**
 * Choices: one answer is taken as it is (the first, the longest, the best), or all of them are.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Aggregation, Answer, Invited, Registered, Shape, Status, StrategyError } from "@parley/core/Strategy"
import * as Argument from "./internal/Argument.ts"
import { canonicalText, compareText, Poll } from "./internal/Poll.ts"
import { outcome, Roll } from "./internal/Roll.ts"

/** Everything heard so far: who, what, and how many said the same. */
class Heard {
  readonly roll: Roll
  readonly poll: Poll
  readonly answers: Array<Answer | undefined>
  #first = -1

  constructor(invited: ReadonlyArray<Invited>) {
    this.roll = new Roll(invited)
    this.poll = new Poll(this.roll.size)
    this.answers = Array.from<Answer | undefined>({ length: this.roll.size })
  }

  readonly answer = (answer: Answer): void => {
    const place = this.roll.answer(answer.node)
    if (place < 0) return
    if (this.#first < 0) this.#first = place
    this.answers[place] = answer
    this.poll.addValue(place, answer.value, 1)
  }

  readonly failure = ({ node }: { readonly node: Answer["node"] }): void => void this.roll.failure(node)

  /** The place of the node that answered first, or -1. */
  get first(): number {
    return this.#first
  }

  /** The outcome in which the answer at a place is the value. */
  choose(place: number, rule: string, otherwise: Status) {
    const chosen = this.poll.at(place)
    return outcome(this.roll, {
      status: chosen === undefined ? otherwise : "reached",
      value: chosen?.value,
      confidence: chosen === undefined ? 0 : chosen.weight / this.roll.size,
      rule,
      votes: this.poll.votes(this.roll, 1),
      standsBehind: (other) => this.poll.at(other) === chosen
    })
  }

  /** Answers in the order of invitation, whatever the order in which they came. */
  inOrder(): Array<Answer> {
    return this.answers.filter((answer) => answer !== undefined)
  }

  /**
   * The place of the answer with the largest figure, or -1. Of equal ones the value that more agents gave, then the one
   * whose canonical text comes first.
   */
  largest(figure: (answer: Answer) => number | undefined): number {
    let best = -1
    let bestFigure = -Infinity
    this.answers.forEach((answer, place) => {
      const value = answer === undefined ? undefined : figure(answer)
      if (value === undefined || value < bestFigure) return
      if (value > bestFigure || this.#isBefore(place, best)) best = place
      bestFigure = value
    })
    return best
  }

  #isBefore(a: number, b: number): boolean {
    const left = this.poll.at(a)!
    const right = this.poll.at(b)!
    if (left === right) return false
    if (left.weight !== right.weight) return left.weight > right.weight
    return compareText(canonicalText(left.value), canonicalText(right.value)) < 0
  }
}

/** The first valid answer. Here, and only here, the order of answers decides; a certificate lists them in that order. */
export const firstResponse: Aggregation<"answer"> = {
  name: "first-response",
  shape: "answer",
  tally: (invited) => {
    const heard = new Heard(invited)
    const conclude = () => heard.choose(heard.first, "first valid answer", "insufficient")
    return {
      answer: heard.answer,
      failure: heard.failure,
      decided: () => (heard.first >= 0 || heard.roll.pending === 0 ? conclude() : undefined),
      outcome: conclude
    }
  }
}

const lengthOf = (value: Schema.Json): number =>
  typeof value === "string" ? value.length : canonicalText(value).length

/**
 * The longest answer: a text by its UTF-16 units, anything else by its canonical JSON. Of equally long ones the one that
 * more agents gave, then the one whose canonical text comes first. Any answer still out may be longer, so all are waited for.
 */
export const longest: Aggregation<"answer"> = {
  name: "longest",
  shape: "answer",
  tally: (invited) => {
    const heard = new Heard(invited)
    const conclude = () =>
      heard.choose(
        heard.largest(({ value }) => lengthOf(value)),
        "longest answer",
        "insufficient"
      )
    return {
      answer: heard.answer,
      failure: heard.failure,
      decided: () => (heard.roll.pending === 0 ? conclude() : undefined),
      outcome: conclude
    }
  }
}

/** Scores an answer, 0 to 1, by reading it. The match's score plays no part. */
export type Judge = (answer: Answer, input: Schema.Json) => number | Effect.Effect<number, StrategyError>

const qualityOf = ({ quality }: Answer): number | undefined =>
  quality === undefined || Number.isNaN(quality) ? undefined : Math.min(1, Math.max(0, quality))

const best = (name: string, judge: Judge | undefined): Aggregation<"answer"> => ({
  name,
  shape: "answer",
  tally: (invited) => {
    const heard = new Heard(invited)
    const conclude = () =>
      heard.choose(
        heard.largest(qualityOf),
        heard.roll.answered === 0 || heard.answers.some((answer) => answer?.quality !== undefined)
          ? "highest quality"
          : "highest quality, and no answer was scored",
        heard.roll.answered === 0 ? "insufficient" : "undecided"
      )
    return {
      answer: heard.answer,
      failure: heard.failure,
      decided: () => (heard.roll.pending === 0 ? conclude() : undefined),
      outcome: conclude
    }
  },
  ...(judge === undefined
    ? {}
    : {
        prepare: (answer, input) => {
          const judged = judge(answer, input)
          return typeof judged === "number"
            ? Effect.succeed({ ...answer, quality: judged })
            : Effect.map(judged, (quality) => ({ ...answer, quality }))
        }
      })
})

/**
 * The answer with the highest quality as `judge` sees it. Of equal ones the value that more agents gave, then the one
 * whose canonical text comes first. A NaN leaves an answer unscored; with no scored answer the outcome is undecided.
 *
 * Give it a name of its own, and register it under that, where others shall be able to run it again.
 */
export const bestScore = (judge: Judge, name = "best-score"): Aggregation<"answer"> => best(name, judge)

/** `bestScore` with the quality that the answers bring along: what the node's evaluator made of them. */
export const bestQuality: Aggregation<"answer"> = best("best-score", undefined)

/** All answers, as a list in the order of invitation. */
export const ensemble: Aggregation<"answers"> = {
  name: "ensemble",
  shape: "answers",
  tally: (invited) => {
    const heard = new Heard(invited)
    const conclude = () =>
      outcome(heard.roll, {
        status: heard.roll.answered === 0 ? "insufficient" : "reached",
        value: heard.inOrder().map(({ value }) => value),
        confidence: heard.roll.answered / Math.max(1, heard.roll.size),
        rule: "all answers",
        votes: heard.poll.votes(heard.roll, 1)
      })
    return {
      answer: heard.answer,
      failure: heard.failure,
      decided: () => (heard.roll.pending === 0 ? conclude() : undefined),
      outcome: conclude
    }
  }
}

/** What a custom aggregation may say of itself. */
export interface CustomOptions<S extends Shape> {
  /** What the value is made of. Default: `other`. */
  readonly shape?: S
  /** The rule in a person's words. Default: the name. */
  readonly rule?: string
  /**
   * Whether the value cannot change any more whatever `pending` more agents answer. Default: only when none is pending.
   * A wrong yes breaks the promise that a decided verdict is never taken back.
   */
  readonly isFinal?: (answers: ReadonlyArray<Answer>, pending: number) => boolean
}

/**
 * An aggregation from a function of the answers, which come in the order of invitation. It must be pure; `undefined` says
 * that the answers do not do, which makes the outcome undecided, or insufficient where there are none.
 */
export const custom = <S extends Shape = "other">(
  name: string,
  conclude: (answers: ReadonlyArray<Answer>, invited: ReadonlyArray<Invited>) => Schema.Json | undefined,
  options: CustomOptions<S> = {}
): Aggregation<S> => ({
  name,
  // The default of the type parameter and this one are the same.
  shape: options.shape ?? ("other" as S),
  tally: (invited) => {
    const heard = new Heard(invited)
    const concluded = () => {
      const answers = heard.inOrder()
      const value = conclude(answers, heard.roll.invited)
      const text = value === undefined ? undefined : canonicalText(value)
      const agrees = (place: number) => {
        const choice = heard.poll.at(place)
        return choice !== undefined && canonicalText(choice.value) === text
      }
      // Agents dissent where others said exactly the value; where nobody did, it was made of all answers.
      const behind = heard.roll.nodes(agrees).length
      return outcome(heard.roll, {
        status: value !== undefined ? "reached" : answers.length === 0 ? "insufficient" : "undecided",
        value,
        confidence: (behind === 0 ? answers.length : behind) / Math.max(1, heard.roll.size),
        rule: options.rule ?? name,
        votes: heard.poll.votes(heard.roll, 1),
        standsBehind: behind === 0 ? () => true : agrees
      })
    }
    return {
      answer: heard.answer,
      failure: heard.failure,
      decided: () =>
        heard.roll.pending === 0 || options.isFinal?.(heard.inOrder(), heard.roll.pending) === true
          ? concluded()
          : undefined,
      outcome: concluded
    }
  }
})

/** The choices by name. */
export const registered = {
  "first-response": Argument.none(firstResponse),
  longest: Argument.none(longest),
  "best-score": Argument.none(bestQuality),
  ensemble: Argument.none(ensemble)
} satisfies Registered["aggregations"]
