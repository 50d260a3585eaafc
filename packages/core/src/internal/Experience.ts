/**
 * What a caller learns of agents from what came of its tasks: whom to trust, whose circuit to open, who is busy.
 */
import type { Breaker } from "../Breaker.ts"
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import type { Trust } from "../Trust.ts"
import type { Placed } from "./Attempt.ts"
import type { Candidate } from "./Outgoing.ts"
import type { Job } from "./Job.ts"
import type { Peers } from "./Peers.ts"

/** Whether the peer is to blame: a caller that it refused does not punish it. */
const blames = (reason: NodeErrorReason): boolean => {
  switch (reason._tag) {
    case "Unreachable":
    case "Disconnected":
    case "DeadlineExceeded":
    case "HandlerFailed":
    case "OutputInvalid":
    case "BadAnswer":
      return true
    default:
      return false
  }
}

const short: Partial<Record<NodeErrorReason["_tag"], string>> = {
  Unreachable: "unreachable",
  Disconnected: "connection lost",
  DeadlineExceeded: "too late",
  HandlerFailed: "failed",
  OutputInvalid: "invalid output",
  BadAnswer: "broke the protocol"
}

/** Learns from answers and failures; of its own node it learns nothing. */
export class Experience {
  readonly #self: NodeId
  readonly #trust: Trust["Service"]
  readonly #breaker: Breaker
  readonly #peers: Peers

  constructor(self: NodeId, trust: Trust["Service"], breaker: Breaker, peers: Peers) {
    this.#self = self
    this.#trust = trust
    this.#breaker = breaker
    this.#peers = peers
  }

  /** It answers: its circuit closes. */
  works(candidate: Candidate): void {
    this.#breaker.note(candidate.node, candidate.name, "success")
  }

  /** An answer, or a stream to its end, was worth `quality`, 0 to 1. */
  praise(job: Job, candidate: Candidate, quality: Placed["quality"], why: "answered" | "streamed"): void {
    if (candidate.node === this.#self) return
    const move = this.#trust.learn(candidate.node, candidate.name, quality, why)
    job.emit?.({ _tag: "Trust", move })
  }

  /** It takes nothing for so long. */
  busy(candidate: Candidate, forMs: number): void {
    this.#peers.busy(candidate.node, Date.now() + forMs)
  }

  /** A failure, which may be the agent's fault. */
  blame(job: Job, candidate: Candidate, reason: NodeErrorReason): void {
    if (reason._tag === "Overloaded") this.busy(candidate, reason.retryAfterMs)
    if (!blames(reason)) return
    const isAway = reason._tag === "Unreachable" || reason._tag === "Disconnected"
    this.#breaker.note(candidate.node, candidate.name, isAway ? "unreachable" : "failure")
    if (candidate.node === this.#self) return
    const move = this.#trust.learn(candidate.node, candidate.name, 0, short[reason._tag] ?? reason._tag)
    job.emit?.({ _tag: "Trust", move })
  }
}
