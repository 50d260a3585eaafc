/**
 * A running count of who stands for what, with the two largest weights always at hand, so that "can this still change?"
 * costs the same for five agents and for five hundred.
 */
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { Status, Vote } from "@parley/core/Strategy"
import type * as Schema from "effect/Schema"
import { type Pattern, patternOf } from "./Pattern.ts"
import type { Roll } from "./Roll.ts"

/** One of the things that agents stand for. */
export interface Choice {
  readonly key: unknown
  /** As its first agent on the roll wrote it. */
  value: Schema.Json
  place: number
  /** In whole units. */
  weight: number
}

/** The canonical text of a value; the plain JSON text of one that has none (lone surrogates), which equals only itself. */
export const canonicalText = (value: Schema.Json): string => {
  try {
    return CanonicalJson.stringify(value)
  } catch {
    return `not canonical: ${JSON.stringify(value)}`
  }
}

/** Stands for all objects with one text. */
interface Key {
  readonly text: string
}

/** Distinct objects that the next one is compared with before its text is looked for: the first that came. */
const COMPARED = 4

/** Orders texts by their UTF-16 units, the same way on every machine. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Counts weights, which must be whole numbers: sums of them do not depend on their order. */
export class Poll {
  /** The largest weight, and the largest weight of another choice; 0 where there is none. */
  top = 0
  second = 0
  leader: Choice | undefined
  readonly #choices = new Map<unknown, Choice>()
  readonly #byPlace: Array<Choice | undefined>
  readonly #canonical = new Map<string, Key>()
  /** Objects that were written the same way need to be canonicalised once only. */
  readonly #written = new Map<string, Key>()
  readonly #first: Array<{ readonly pattern: Pattern; readonly key: Key }> = []

  constructor(size: number) {
    this.#byPlace = Array.from<Choice | undefined>({ length: size })
  }

  /** Counts the agent at a place for a value, by the value's canonical form. */
  addValue(place: number, value: Schema.Json, weight: number): Choice {
    // Scalars are their own key: no two kinds of them are equal in a Map, and 0 equals -0 there as in canonical JSON.
    return this.add(place, typeof value === "object" && value !== null ? this.#objectKey(value) : value, value, weight)
  }

  /** Counts the agent at a place for what has this key. */
  add(place: number, key: unknown, value: Schema.Json, weight: number): Choice {
    let choice = key === this.leader?.key ? this.leader : this.#choices.get(key)
    if (choice === undefined) {
      choice = { key, value, place, weight: 0 }
      this.#choices.set(key, choice)
    } else if (place < choice.place) {
      choice.value = value
      choice.place = place
    }
    choice.weight += weight
    this.#byPlace[place] = choice
    if (choice === this.leader) this.top = choice.weight
    else if (choice.weight > this.top) {
      this.second = this.top
      this.top = choice.weight
      this.leader = choice
    } else if (choice.weight > this.second) this.second = choice.weight
    return choice
  }

  /** What the agent at a place stands for. */
  at(place: number): Choice | undefined {
    return this.#byPlace[place]
  }

  /** Largest weight first, then by canonical text. `unit` is what one unit of weight counts. */
  votes(roll: Roll, unit: number, valueOf: (choice: Choice) => Schema.Json = (choice) => choice.value): Array<Vote> {
    const entries: Array<{
      readonly choice: Choice
      readonly voters: Array<Vote["nodes"][number]>
      readonly text: string
    }> = []
    const votersOf = new Map<Choice, Array<Vote["nodes"][number]>>()
    let last: Choice | undefined
    let voters: Array<Vote["nodes"][number]> = []
    for (let place = 0; place < roll.size; place++) {
      const choice = this.#byPlace[place]
      if (choice === undefined) continue
      if (choice !== last) {
        const known = votersOf.get(choice)
        voters = known ?? []
        last = choice
        if (known === undefined) {
          votersOf.set(choice, voters)
          entries.push({ choice, voters, text: "" })
        }
      }
      voters.push(roll.invited[place]!.node)
    }
    return entries
      .map((entry, _, entries) => (entries.length > 1 ? { ...entry, text: canonicalText(entry.choice.value) } : entry))
      .sort((a, b) => b.choice.weight - a.choice.weight || compareText(a.text, b.text))
      .map(({ choice, voters }) => ({ value: valueOf(choice), weight: choice.weight * unit, nodes: voters }))
  }

  /** One key for all objects and arrays with the same canonical text. It is no string, so no string can pass for it. */
  #objectKey(value: object): Key {
    const first = this.#first
    for (let i = 0; i < first.length; i++) if (first[i]!.pattern.fits(value)) return first[i]!.key
    const key = this.#keyByText(value)
    const pattern = first.length < COMPARED ? patternOf(value) : undefined
    if (pattern !== undefined) first.push({ pattern, key })
    return key
  }

  #keyByText(value: object): Key {
    const written = JSON.stringify(value)
    let key = this.#written.get(written)
    if (key === undefined) {
      const text = canonicalText(value as Schema.Json)
      key = this.#canonical.get(text) ?? { text }
      this.#canonical.set(text, key)
      this.#written.set(written, key)
    }
    return key
  }
}

/** How a poll stands in which `need` of the invited weight decides, and `answered` of it has answered. */
export const statusOf = (poll: Poll, need: number, answered: number): Status =>
  answered < need
    ? "insufficient"
    : poll.top > 0 && poll.top === poll.second
      ? "tied"
      : poll.top >= need
        ? "reached"
        : "undecided"

/**
 * Whether no answers of the weight that is still pending can change the status or the leader.
 *
 * With one unit of weight for each agent this is exact. With other weights it is exact for "reached" and "insufficient";
 * an "undecided" is recognised late where only a sum of weights that cannot be made would lead to a tie.
 */
export const isSettled = (poll: Poll, need: number, answered: number, pending: number): boolean => {
  if (pending === 0) return true
  if (answered < need) return answered + pending < need
  if (poll.top === 0) return pending < Math.min(2, need)
  return poll.second + pending < poll.top && (poll.top >= need || poll.top + pending < need)
}
