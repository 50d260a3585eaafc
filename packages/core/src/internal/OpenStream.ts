/**
 * A job placed at one agent for an answer in chunks; it stands once the first chunk is there.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Settings } from "../Guardrails.ts"
import type { NodeErrorReason } from "../NodeError.ts"
import { ResetCode } from "../Transport.ts"
import { Chunks } from "./Chunks.ts"
import type { Job } from "./Job.ts"
import { type Candidate, type Host, Outgoing, type Terms } from "./Outgoing.ts"
import { readChunks } from "./ReadChunks.ts"

/** What an open stream needs of its node. */
export interface Deps extends Host {
  readonly settings: Settings
  /** Counts the stream that came to its end. */
  readonly count: (outcome: "answered") => void
}

class Opening extends Outgoing {
  readonly began = Deferred.makeUnsafe<void, NodeErrorReason>()
  readonly chunks = new Chunks(this)
  readonly #deps: Deps
  #seen = 0

  constructor(deps: Deps, job: Job, candidate: Candidate, terms: Terms) {
    super(deps, job, candidate, terms)
    this.#deps = deps
  }

  /** Chunks that came, which their reader may not have taken yet. */
  override get seen(): number {
    return this.#seen
  }

  protected override onResumed(): void {
    if (this.chunks.isPaused) this.pause()
  }

  protected onChunk(message: Uint8Array): void {
    const { candidate, job } = this
    const { experience, settings } = this.#deps
    const came: Array<unknown> = []
    const wrong = readChunks(settings, job, candidate, message, came)
    if (came.length > 0) {
      this.#seen += came.length
      this.chunks.push(came, message.length)
      if (Deferred.doneUnsafe(this.began, Effect.void)) experience.works(candidate)
    }
    if (wrong !== undefined) this.giveUp(wrong, ResetCode.Cancelled)
  }

  protected onEnd(latencyMs: number): void {
    const { candidate, job } = this
    const { count, experience } = this.#deps
    experience.works(candidate)
    count("answered")
    experience.praise(job, candidate, 1, "streamed")
    job.emit?.({ _tag: "Answered", peer: candidate.node, latencyMs })
    this.chunks.end(undefined)
    Deferred.doneUnsafe(this.began, Effect.void)
  }

  protected onFailed(reason: NodeErrorReason): void {
    Deferred.doneUnsafe(this.began, Effect.fail(reason))
    this.chunks.end(reason)
  }

  protected onResult(): void {}
}

/** Opens a stream at an agent. Its scope is the reader's: closed before the end, the task is cancelled. */
export const openStream = (
  deps: Deps,
  job: Job,
  candidate: Candidate,
  terms: Terms
): Effect.Effect<Chunks, NodeErrorReason, Scope.Scope> =>
  Effect.gen(function* () {
    const opening = new Opening(deps, job, candidate, terms)
    yield* Effect.addFinalizer(() => Effect.sync(() => opening.cancel()))
    opening.start(performance.now())
    yield* Deferred.await(opening.began)
    return opening.chunks
  })
