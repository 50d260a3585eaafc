/**
 * A job placed at one agent for an answer in chunks; it stands once the first chunk is there.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Settings } from "../Guardrails.ts"
import type { NodeErrorReason } from "../NodeError.ts"
import { type Candidate, noMoreStreams, requestOf, type Terms } from "./Attempt.ts"
import { Chunks } from "./Chunks.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Experience } from "./Experience.ts"
import type { Job } from "./Job.ts"
import { Outgoing } from "./Outgoing.ts"
import type { Peers } from "./Peers.ts"
import { readChunks } from "./ReadChunks.ts"

/** What an open stream needs of its node. */
export interface Deps {
  readonly deadlines: Deadlines
  readonly peers: Peers
  readonly settings: Settings
  readonly experience: Experience
  /** Counts the stream that came to its end. */
  readonly count: (outcome: "answered") => void
}

/** Opens a stream at an agent. Its scope is the reader's: closed before the end, the task is cancelled. */
export const openStream = (
  deps: Deps,
  job: Job,
  candidate: Candidate,
  terms: Terms
): Effect.Effect<Chunks, NodeErrorReason, Scope.Scope> => {
  const { deadlines, experience, peers, settings } = deps
  const { connection, deadlineMs, budget, others } = terms
  const { node } = candidate
  return Effect.gen(function* () {
    const began = Deferred.makeUnsafe<void, NodeErrorReason>()
    const chunks = new Chunks()
    const sentAt = performance.now()
    let over = false
    const end = (): void => {
      if (over) return
      over = true
      timer.cancel()
      silence?.cancel()
      peers.ended(node)
    }
    const fail = (reason: NodeErrorReason): void => {
      end()
      experience.blame(job, candidate, reason)
      Deferred.doneUnsafe(began, Effect.fail(reason))
      chunks.end(reason)
    }
    const stop = (reason: NodeErrorReason): void => {
      outgoing.cancel()
      fail(reason)
    }
    const tooLate = (): void =>
      stop({ _tag: "DeadlineExceeded", peer: node, deadlineMs: job.deadlineMs, where: "caller" })
    const outgoing = new Outgoing(node, requestOf(job, candidate, deadlineMs, budget), {
      onAccepted: (estimateMs, waiting) => {
        silence?.cancel()
        job.emit?.({ _tag: "Accepted", peer: node, estimateMs, waiting })
      },
      onChunk: (message) => {
        silence?.cancel()
        const came: Array<unknown> = []
        const wrong = readChunks(settings, job, candidate, message, came)
        if (came.length > 0) {
          chunks.push(came, message.length)
          if (Deferred.doneUnsafe(began, Effect.void)) experience.works(candidate)
        }
        if (wrong !== undefined) stop(wrong)
      },
      onEnd: () => {
        end()
        experience.works(candidate)
        deps.count("answered")
        const latencyMs = performance.now() - sentAt
        experience.praise(job, candidate, 1, "streamed")
        job.emit?.({ _tag: "Answered", peer: node, latencyMs })
        chunks.end(undefined)
        Deferred.doneUnsafe(began, Effect.void)
      },
      onResult: () => {},
      onFailure: fail
    })
    peers.began(node)
    const timer = deadlines.after(deadlineMs, tooLate)
    const silence = others ? deadlines.after(deadlineMs / 2, tooLate) : undefined
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        if (over) return
        end()
        outgoing.cancel()
        job.emit?.({ _tag: "Cancelled", peer: node })
      })
    )
    if (outgoing.start(connection, job.body)) {
      chunks.flow(outgoing)
      job.emit?.({ _tag: "Sent", peer: node, relayed: connection.relayed })
    } else {
      fail(noMoreStreams(connection))
    }
    yield* Deferred.await(began)
    return chunks
  })
}
