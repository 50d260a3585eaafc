/**
 * The caller's side of a negotiation: takes up an agent's counters as far as the job allows, and asks again.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { NodeErrorReason } from "../NodeError.ts"
import type { Candidate } from "./Outgoing.ts"
import type { Experience } from "./Experience.ts"
import type { Job } from "./Job.ts"

/** Counters that one agent may make for one task before it counts as unwilling. */
const MAX_COUNTERS = 5

/** Sends a job once, within a deadline and a budget. */
export type Once<A, R> = (deadlineMs: number, budget: number | undefined) => Effect.Effect<A, NodeErrorReason, R>

/** Goes on from a first counter, up to `counterFactor` times the job's deadline. */
export const takeUp = <A, R>(
  job: Job,
  candidate: Candidate,
  first: NodeErrorReason & { readonly _tag: "Countered" },
  once: Once<A, R>,
  counterFactor: number,
  experience: Experience
): Effect.Effect<A, NodeErrorReason, R> =>
  Effect.gen(function* () {
    let terms = first
    // Whoever names no budget takes up the cost that is asked, by sending it as the budget.
    let budget = job.budget
    for (let round = 0; round < MAX_COUNTERS; round++) {
      const longest = job.deadlineMs * counterFactor
      const takenUp =
        (terms.costUsd === undefined || job.budget === undefined || terms.costUsd <= job.budget) &&
        (terms.deadlineMs ?? 0) <= longest &&
        (terms.retryAfterMs ?? 0) < longest - (performance.now() - job.startedAt)
      experience.busy(candidate, terms.retryAfterMs ?? terms.deadlineMs ?? 0)
      job.emit?.({ _tag: "Countered", peer: candidate.node, terms, takenUp })
      if (!takenUp) break
      yield* Effect.sleep(terms.retryAfterMs ?? 0)
      const left = longest - (performance.now() - job.startedAt)
      if (job.budget === undefined && terms.costUsd !== undefined) budget = terms.costUsd
      const result = yield* Effect.result(once(left, budget))
      if (Result.isSuccess(result)) return result.success
      if (result.failure._tag !== "Countered") return yield* Effect.fail(result.failure)
      terms = result.failure
    }
    return yield* Effect.fail<NodeErrorReason>(terms)
  })
