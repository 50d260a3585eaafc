/**
 * What every experiment of the lab gives: tables for people, data for scripts, charts, and its rows of `results/summary.json`.
 */
import { type Bound, type Chart, type Goal, goal } from "../../bench/src/Part.ts"

/** A goal that one seed was measured with. `runs`: searches, cuts, pairs, simulated nodes and hours, as `what` says. */
export interface Row extends Goal {
  /** Repeats the run. */
  readonly seed: number
}

/** Judges a measurement. `unit` follows the number: "ms", "copies". */
export const row = (
  id: string,
  what: string,
  bound: Bound,
  unit: string,
  measured: number | undefined,
  runs: number,
  seed: number
): Row => ({ ...goal(id, what, bound, unit, measured, runs), seed })

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
