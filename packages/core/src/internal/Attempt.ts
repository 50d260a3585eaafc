/**
 * One try to have a job answered by one agent.
 */
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Schema from "effect/Schema"
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import type { Receipt } from "../Receipt.ts"
import type { Connection } from "../Transport.ts"
import type { Job } from "./Job.ts"
import { type Candidate, type Host, Outgoing, type Terms } from "./Outgoing.ts"

/** An answer before it is decoded for the caller. */
export interface Placed {
  readonly output: unknown
  readonly json: Schema.Json
  readonly peer: NodeId
  readonly capability: string
  readonly latencyMs: number
  readonly relayed: boolean
  readonly receipt: Receipt | undefined
  /** What the answer is worth, 0 to 1: the caller's evaluator, or 1, since it is valid and on time. */
  readonly quality: number
}

/** What an attempt needs of its caller. */
export interface AttemptHost extends Host {
  /** Reads an answer, and learns from it. Throws what the caller's own evaluator throws. */
  readonly receive: (
    job: Job,
    candidate: Candidate,
    connection: Connection,
    body: string,
    receipt: string | undefined,
    latencyMs: number
  ) => Placed | NodeErrorReason
}

/** One try; once it is over, one of the three is called, unless it is cancelled. */
export abstract class Attempt extends Outgoing {
  readonly #host: AttemptHost

  constructor(host: AttemptHost, job: Job, candidate: Candidate, terms: Terms) {
    super(host, job, candidate, terms)
    this.#host = host
  }

  protected abstract onPlaced(placed: Placed): void
  /** The caller's own code threw. */
  protected abstract onDefect(defect: unknown): void

  protected onResult(body: string, receipt: string | undefined, latencyMs: number): void {
    const { candidate, job, terms } = this
    let placed: Placed | NodeErrorReason
    try {
      placed = this.#host.receive(job, candidate, terms.connection, body, receipt, latencyMs)
    } catch (defect) {
      return this.onDefect(defect)
    }
    if ("_tag" in placed) return this.failed(placed)
    job.emit?.({ _tag: "Answered", peer: candidate.node, latencyMs })
    this.onPlaced(placed)
  }

  protected onChunk(): void {}
  protected onEnd(): void {}
}

/** Cancels an attempt: one object a call, and no closure. */
export class Cancelling extends Effectable.Class<void> {
  readonly #attempt: Attempt

  constructor(attempt: Attempt) {
    super()
    this.#attempt = attempt
  }

  asEffect(): Effect.Effect<void> {
    this.#attempt.cancel()
    return Effect.void
  }
}

/** Hears once what came of an attempt. */
export interface Outcome {
  readonly onPlaced: (placed: Placed) => void
  readonly onFailed: (reason: NodeErrorReason) => void
  /** The caller's own code threw. */
  readonly onDefect: (defect: unknown) => void
}

/** An attempt that tells somebody. */
export class Told extends Attempt {
  readonly #outcome: Outcome

  constructor(host: AttemptHost, job: Job, candidate: Candidate, terms: Terms, outcome: Outcome) {
    super(host, job, candidate, terms)
    this.#outcome = outcome
  }

  protected onPlaced(placed: Placed): void {
    this.#outcome.onPlaced(placed)
  }
  protected onFailed(reason: NodeErrorReason): void {
    this.#outcome.onFailed(reason)
  }
  protected onDefect(defect: unknown): void {
    this.#outcome.onDefect(defect)
  }
}

/** What a fibre goes on with after an attempt. */
export interface Goal<A, E> {
  readonly onPlaced: (job: Job, placed: Placed) => Effect.Effect<A, E>
  readonly onFailed: (job: Job, candidate: Candidate, reason: NodeErrorReason) => Effect.Effect<A, E>
}

/** An attempt that a fibre waits for. */
export class Awaited<A, E> extends Attempt {
  readonly #goal: Goal<A, E>
  readonly #resume: (effect: Effect.Effect<A, E>) => void

  constructor(
    host: AttemptHost,
    job: Job,
    candidate: Candidate,
    terms: Terms,
    goal: Goal<A, E>,
    resume: (effect: Effect.Effect<A, E>) => void
  ) {
    super(host, job, candidate, terms)
    this.#goal = goal
    this.#resume = resume
  }

  protected onPlaced(placed: Placed): void {
    this.#resume(this.#goal.onPlaced(this.job, placed))
  }
  protected onFailed(reason: NodeErrorReason): void {
    this.#resume(this.#goal.onFailed(this.job, this.candidate, reason))
  }
  protected onDefect(defect: unknown): void {
    this.#resume(Effect.die(defect))
  }
}
