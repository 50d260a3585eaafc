/**
 * Who plays: seven agents, of whom five describe tables, each in its own way and with a role of its own.
 */
import type { Runtime } from "../../../scripts/setup.mjs"
import type { Program } from "./Programs.ts"

/**
 * What makes an agent hard to work with, in the order in which the agents of the demo play it. Those that take long are
 * programs, and the liar is not: a verdict may stand before the last has answered, and its answer is to be heard.
 *
 * - `full`: it has one place, which is taken at first, and no queue: it counters with a retry-after
 * - `slow`: it answers late but in time, or is cancelled where the verdict stands without it
 * - `relayed`: it accepts no connections, and is reached through the tracker's relay
 * - `liar`: its numbers are plausible and wrong
 * - `killed`: its process is killed after the verdict
 */
export const roles = ["relayed", "killed", "liar", "full", "slow"] as const
/** What makes an agent hard to work with. */
export type Role = (typeof roles)[number]

/** How a full agent works: long enough to be met while it does, in milliseconds. */
export const FULL_MS = 500
/** How long a slow agent takes, in milliseconds: longer than a full one with all its counters. */
export const SLOW_MS = 2_500

/** How an agent does its work. */
export type Way =
  /** In its own process, over the library. */
  | { readonly _tag: "Module"; readonly method: "one-pass" | "two-passes" | "sql" }
  /** A program behind `parley serve --exec`. */
  | { readonly _tag: "Exec"; readonly program: Program }
  /** Serves something else. */
  | { readonly _tag: "Other"; readonly serves: "text.summarize" | "csv.describe@2" }

/** One agent. */
export interface Member {
  readonly name: string
  readonly way: Way
  readonly role: Role | undefined
  readonly runtime: Runtime
}

/** What is there, and what is wished. */
export interface Conditions {
  readonly awk: boolean
  readonly python: boolean
  /** Deals the roles; 0 gives them in the order of `roles`. */
  readonly seed: number
  /** A role that nobody plays. */
  readonly without: Role | undefined
  /** The runtimes that agents take turns on; at least one. */
  readonly runtimes: ReadonlyArray<Runtime>
}

/** Fisher and Yates, with the generator of the C standard's example, which is random enough for five cards. */
const dealt = (seed: number): ReadonlyArray<Role> => {
  const cards = [...roles]
  let state = seed
  for (let i = seed === 0 ? 0 : cards.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    const j = Math.floor((state / 2 ** 32) * (i + 1))
    const held = cards[i]!
    cards[i] = cards[j]!
    cards[j] = held
  }
  return cards
}

/** The seven. */
export const members = ({ awk, python, runtimes, seed, without }: Conditions): ReadonlyArray<Member> => {
  const ways: ReadonlyArray<readonly [string, Way]> = [
    ["ada", { _tag: "Module", method: "one-pass" }],
    ["bob", { _tag: "Module", method: "two-passes" }],
    ["carol", { _tag: "Module", method: "sql" }],
    ["dave", { _tag: "Exec", program: awk ? "awk" : "pairwise" }],
    ["erin", { _tag: "Exec", program: python ? "python" : "compensated" }],
    ["frank", { _tag: "Other", serves: "text.summarize" }],
    ["grace", { _tag: "Other", serves: "csv.describe@2" }]
  ]
  const cards = dealt(seed)
  return ways.map(([name, way], at) => ({
    name,
    way,
    role: cards[at] === without ? undefined : cards[at],
    runtime: runtimes[at % runtimes.length]!
  }))
}
