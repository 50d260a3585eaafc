/**
 * What every part of the bench gives: tables for people, data for scripts, charts, and its lines of `results/summary.json`.
 */

import type { Runtime } from "../../scripts/setup.mjs"

/** The runtimes as sentences name them. */
export const titles: { readonly [R in Runtime]: string } = { bun: "Bun", deno: "Deno" }

/** A line of what Parley must reach, and whether it did. */
export interface Goal {
  readonly id: string
  /** What is measured, with its unit. */
  readonly what: string
  /** What is asked for, as people read it: "at least 2 × NATS". */
  readonly goal: string
  /** In the unit of the goal; null where it could not be measured here. */
  readonly measured: number | null
  readonly met: boolean
  /** Measurements behind the figure: rounds, or pairs of rounds. */
  readonly runs: number
}

/** How much is asked for. */
export type Bound = { readonly atLeast: number } | { readonly atMost: number }

/** Judges a measurement. `unit` follows the number: "× NATS", "µs". */
export const goal = (
  id: string,
  what: string,
  bound: Bound,
  unit: string,
  measured: number | undefined,
  runs: number
): Goal => {
  const least = "atLeast" in bound
  const limit = least ? bound.atLeast : bound.atMost
  const isMeasured = measured !== undefined && Number.isFinite(measured)
  return {
    id,
    what,
    goal: `${least ? "at least" : "at most"} ${limit.toLocaleString("en-US")} ${unit}`.trimEnd(),
    measured: isMeasured ? measured : null,
    met: isMeasured && (least ? measured >= limit : measured <= limit),
    runs
  }
}

/** A picture, written to `results/charts/<name>.svg`. */
export interface Chart {
  readonly name: string
  readonly svg: string
}

/** What a part found out. */
export interface Report {
  /** Tables and what they mean, for a terminal. */
  readonly text: string
  readonly goals: ReadonlyArray<Goal>
  /** Written to `results/<part>.json`, beside the machine, the versions and the date. */
  readonly data: object
  readonly charts: ReadonlyArray<Chart>
  /** Why the run ends with exit code 1 though everything was measured; for parts that judge. */
  readonly failed?: string
}

/** How a part is run. */
export interface Terms {
  /** Progress, for the error output. */
  readonly say: (text: string) => void
  /** A short run that only shows that everything works; its figures mean nothing. */
  readonly brief: boolean
}

/** One part of the bench: `npm run bench -- NAME`. */
export interface Part {
  /** One line for the list of parts. */
  readonly what: string
  /** What `--help` adds: the options of this part. */
  readonly help: string
  /** Its results are written only where `--out` says so. */
  readonly keepsNothing?: true
  /** Throws `UsageError` where it cannot understand its arguments. */
  readonly run: (args: ReadonlyArray<string>, terms: Terms) => Promise<Report>
}
