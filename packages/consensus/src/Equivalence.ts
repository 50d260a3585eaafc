/**
 * When two answers say the same: within a tolerance, with enough words in common, or close in meaning.
 *
 * An equivalence measures distances, scaled so that two answers are equivalent up to a distance of 1. It need not be
 * transitive; `clusterVote` puts only such answers together that are equivalent to each other.
 */
import * as Effect from "effect/Effect"
import type { EmbeddingModel } from "effect/ai/EmbeddingModel"
import type * as Schema from "effect/Schema"
import { type Answer, StrategyError } from "@parley/core/Strategy"
import { leavesOf } from "./internal/Leaves.ts"
import { canonicalText } from "./internal/Poll.ts"

/** Distances between the answers of one count. */
export interface Comparison {
  /** Takes the next answer in: the first is number 0. Done once per distinct value. */
  readonly add: (answer: Answer) => void
  /** Distance of two answers by their numbers: symmetric, 0 for equal ones, at most 1 for equivalent ones. */
  readonly distance: (a: number, b: number) => number
}

/** When two answers say the same. */
export interface Equivalence {
  /** What stands after `cluster-vote:`; empty for the default. */
  readonly name: string
  /** Begins the comparison of one count's answers. */
  readonly begin: () => Comparison
  /** Work per answer that needs time, such as an embedding. */
  readonly prepare?: (answer: Answer) => Effect.Effect<Answer, StrategyError>
}

/** An equivalence from a function that reads a value once and one that measures the distance of two. */
export const make = <T>(
  name: string,
  read: (value: Schema.Json, answer: Answer) => T,
  distance: (a: T, b: T) => number
): Equivalence => ({
  name,
  begin: () => {
    const items: Array<T> = []
    return {
      add: (answer) => void items.push(read(answer.value, answer)),
      distance: (a, b) => distance(items[a]!, items[b]!)
    }
  }
})

/** Relative tolerance of numbers where none is given: far above rounding, far below what any method of measuring differs by. */
export const DEFAULT_RELATIVE = 1e-6

/** How far numbers may be apart; the larger of the two counts. */
export interface Tolerance {
  /** Of the larger magnitude of the two. Default: `DEFAULT_RELATIVE`. */
  readonly relative?: number
  /** In the numbers' own unit. Default: 0. */
  readonly absolute?: number
}

/**
 * Equal but for small differences of numbers: every number in the one differs from its counterpart in the other by at most
 * the tolerance, and all else (keys, texts, lengths, truth values) is equal.
 */
export const numeric = ({ absolute = 0, relative = DEFAULT_RELATIVE }: Tolerance = {}): Equivalence => {
  for (const tolerance of [absolute, relative]) {
    if (!(tolerance >= 0 && tolerance < Infinity)) throw new RangeError(`it takes a tolerance from 0, not ${tolerance}`)
  }
  const parts = [
    ...(relative === DEFAULT_RELATIVE ? [] : [`${relative}`]),
    ...(absolute === 0 ? [] : [`absolute=${absolute}`])
  ]
  return make(parts.join(","), leavesOf, (a, b) => {
    if (a.form !== b.form) return Infinity
    let largest = 0
    for (let i = 0; i < a.numbers.length; i++) {
      const x = a.numbers[i]!
      const y = b.numbers[i]!
      if (x === y) continue
      const distance = Math.abs(x - y) / Math.max(absolute, relative * Math.max(Math.abs(x), Math.abs(y)))
      // Also when the tolerance is 0, and when the difference has no finite number.
      if (!(distance <= 1)) return Infinity
      if (distance > largest) largest = distance
    }
    return largest
  })
}

/** Sets as sorted numbers: what is in them is numbered as it comes. */
const sets = (name: string, overlap: number, membersOf: (value: Schema.Json) => Iterable<string>): Equivalence => {
  if (!(overlap > 0 && overlap <= 1)) throw new RangeError(`it takes an overlap above 0 and up to 1, not ${overlap}`)
  return {
    name: `${name}=${overlap}`,
    begin: () => {
      const numbers = new Map<string, number>()
      const items: Array<Uint32Array> = []
      return {
        add: ({ value }) => {
          const members = new Set<number>()
          for (const member of membersOf(value)) {
            let number = numbers.get(member)
            if (number === undefined) numbers.set(member, (number = numbers.size))
            members.add(number)
          }
          items.push(Uint32Array.from(members).sort())
        },
        distance: (a, b) => {
          const left = items[a]!
          const right = items[b]!
          let common = 0
          for (let i = 0, j = 0; i < left.length && j < right.length;) {
            const difference = left[i]! - right[j]!
            if (difference === 0) common++
            if (difference <= 0) i++
            if (difference >= 0) j++
          }
          const union = left.length + right.length - common
          const jaccard = union === 0 ? 1 : common / union
          if (jaccard < overlap) return Infinity
          return jaccard === 1 ? 0 : (1 - jaccard) / (1 - overlap)
        }
      }
    }
  }
}

function* textsIn(value: Schema.Json): Generator<string> {
  if (typeof value === "string") yield value
  else if (typeof value === "object" && value !== null) for (const part of Object.values(value)) yield* textsIn(part)
}

function* wordsIn(value: Schema.Json): Generator<string> {
  for (const text of textsIn(value)) yield* text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
}

/** Share of common words from which texts say the same where none is given. */
export const DEFAULT_OVERLAP = 0.5

/**
 * Enough words in common: the words in both, as a share of the words in either (Jaccard). Words are runs of letters and
 * digits in all texts of the answer, in lower case; numbers and keys outside of texts are not looked at.
 */
export const words = (overlap: number = DEFAULT_OVERLAP): Equivalence => sets("words", overlap, wordsIn)

/**
 * Enough elements in common, as a share of the elements in either (Jaccard). Elements of a list are its values, those of an
 * object its members, each by its canonical JSON; anything else is one element.
 */
export const elements = (overlap: number = DEFAULT_OVERLAP): Equivalence =>
  sets("elements", overlap, (value) => {
    if (typeof value !== "object" || value === null) return [canonicalText(value)]
    return Array.isArray(value)
      ? value.map(canonicalText)
      : Object.entries(value).map(([key, member]) => `${JSON.stringify(key)}:${canonicalText(member)}`)
  })

/** Carries an answer's embedding. Copies made by spreading keep it; JSON leaves it out. */
const embedding = Symbol("@parley/consensus/Equivalence/embedding")

interface Embedded extends Answer {
  readonly [embedding]?: Float64Array
}

/** Cosine similarity from which texts mean the same where none is given. */
export const DEFAULT_SIMILARITY = 0.9

/**
 * Close in meaning: the cosine of the answers' embeddings is at least `similarity`. Each answer is embedded once, when it
 * is prepared: a text as it is, anything else as its canonical JSON. An answer that was not prepared is close to none.
 */
export const embeddings = (model: EmbeddingModel, similarity: number = DEFAULT_SIMILARITY): Equivalence => {
  if (!(similarity > 0 && similarity <= 1)) {
    throw new RangeError(`it takes a similarity above 0 and up to 1, not ${similarity}`)
  }
  const name = `embeddings=${similarity}`
  const equivalence = make(
    name,
    (_, answer: Embedded) => answer[embedding],
    (a, b) => {
      if (a === undefined || b === undefined || a.length !== b.length) return Infinity
      let cosine = 0
      for (let i = 0; i < a.length; i++) cosine += a[i]! * b[i]!
      if (!(cosine >= similarity - 1e-12)) return Infinity
      return cosine >= 1 || similarity === 1 ? 0 : Math.min(1, (1 - cosine) / (1 - similarity))
    }
  )
  return {
    ...equivalence,
    prepare: (answer) =>
      model.embed(typeof answer.value === "string" ? answer.value : canonicalText(answer.value)).pipe(
        Effect.map(({ vector }): Embedded => {
          const length = Math.hypot(...vector)
          return { ...answer, [embedding]: Float64Array.from(vector, (part) => part / length) }
        }),
        Effect.mapError(
          (error) =>
            new StrategyError({
              code: "Failed",
              strategy: `cluster-vote:${name}`,
              detail: `the answer of ${answer.node} could not be embedded: ${error.message}`
            })
        )
      )
  }
}
