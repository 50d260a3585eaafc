/**
 * Reputation: what the registry concludes from reports. A pure state machine: the same reports in the same order give the same
 * standing on every machine.
 *
 * The model, its sources and its constants stand in the implementation.
 */
import type * as Schema from "effect/Schema"
import type { Report } from "./Event.ts"
import type { Standing } from "./Model.ts"

/** Why a report does not count. */
export type Refusal =
  | { readonly _tag: "SelfReview" }
  | { readonly _tag: "SecondReview"; readonly task: string }
  | { readonly _tag: "OverCap"; readonly retryAfterMs: number }

/** What a report came to. */
export interface Applied {
  readonly score: number
  readonly ema: number
  /** The row to keep for (agent, capability, reviewer). */
  readonly edge: Schema.Json
}

/** What the registry concludes from reports. */
export interface Reputation {
  /** Whether a report may count; second reviews are the store's claims. */
  readonly admit: (report: Report, now: number) => Refusal | undefined
  /** Takes a report in, and gives what to keep. */
  readonly apply: (report: Report, at: number) => Applied
  /** Puts rows that `apply` gave back, at a restart; then `settle` once. */
  readonly restore: (edges: Iterable<Schema.Json>) => void
  /** 0 to 1, synchronous and fast: read for each candidate of each discovery. `capability` `""`: overall. */
  readonly score: (agent: string, capability: string, now: number) => number
  /** What speaks for an agent and against it, in reports' worth; as fast as `score`. */
  readonly evidence: (agent: string, capability: string, now: number) => { readonly good: number; readonly bad: number }
  /** In one capability; `""`: overall. */
  readonly standing: (agent: string, capability: string, now: number) => Standing
  /** Overall first, then by capability. */
  readonly standings: (agent: string, now: number) => ReadonlyArray<Standing>
  /** Computes reviewers' weights anew where enough has changed; called now and then, and bounded in time. */
  readonly settle: (now: number) => void
}
