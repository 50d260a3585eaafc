/**
 * What every experiment of the lab gives: tables for people, data for scripts, charts, and its rows of `results/summary.json`.
 */
import type { Chart } from "../../bench/src/Part.ts"

/** A line of what Parley must reach, and whether it did. */
export interface Row {
  readonly id: string
  /** What is measured, with its unit. */
  readonly what: string
  /** What is asked for, as people read it: "at most 250 ms". */
  readonly goal: string
  /** In the unit of the goal; null where it could not be measured here. */
  readonly measured: number | null
  readonly met: boolean
  /** How often it was measured: searches, cuts, pairs, simulated nodes and hours, as `what` says. */
  readonly runs: number
  /** Repeats the run. */
  readonly seed: number
}

/** Judges a measurement. `unit` follows the number: "ms", "copies". */
export const row = (
  id: string,
  what: string,
  bound: { readonly atLeast: number } | { readonly atMost: number },
  unit: string,
  measured: number | undefined,
  runs: number,
  seed: number
): Row => {
  const least = "atLeast" in bound
  const limit = least ? bound.atLeast : bound.atMost
  const isMeasured = measured !== undefined && Number.isFinite(measured)
  return {
    id,
    what,
    goal: `${least ? "at least" : "at most"} ${limit.toLocaleString("en-US")} ${unit}`.trimEnd(),
    measured: isMeasured ? measured : null,
    met: isMeasured && (least ? measured >= limit : measured <= limit),
    runs,
    seed
  }
}

/** What an experiment found out. */
export interface Report {
  /** Tables and what they mean, for a terminal. */
  readonly text: string
  readonly rows: ReadonlyArray<Row>
  /** Written to `results/<experiment>.json`, beside the machine, the versions and the date. */
  readonly data: object
  /** Written to `results/charts/<name>.svg`; made with `bench/src/Charts.ts`. */
  readonly charts: ReadonlyArray<Chart>
}

/** How an experiment is run. */
export interface Terms {
  /** Progress, for the error output. */
  readonly say: (text: string) => void
  readonly seed: number
  /** A small run, of seconds, that shows that everything works and still judges what it can. Nothing is written. */
  readonly brief: boolean
}

/** One experiment: `npm run lab -- NAME`. */
export interface Experiment {
  /** One line for the list. */
  readonly what: string
  /** What this machine lacks for it (root, nft, namespaces); undefined when it can run. */
  readonly unavailable?: string | undefined
  readonly run: (terms: Terms) => Promise<Report>
}
