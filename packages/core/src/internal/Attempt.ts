/**
 * One try to have a job answered by one agent: sends the task, keeps its time, and tells once what came of it.
 */
import type * as Schema from "effect/Schema"
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import type { Receipt } from "../Receipt.ts"
import type { Address, Connection } from "../Transport.ts"
import type { Deadlines, Entry } from "./Deadlines.ts"
import type { Request } from "./Envelope.ts"
import type { Job } from "./Job.ts"
import { Outgoing, type Sink } from "./Outgoing.ts"
import type { Peers } from "./Peers.ts"

/** Whom to place a task at. */
export interface Candidate {
  readonly node: NodeId
  /** `name@version`, or `name@range` where no record is known. */
  readonly capability: string
  readonly name: string
  readonly addresses: ReadonlyArray<Address>
}

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
export interface AttemptHost {
  readonly deadlines: Deadlines
  readonly peers: Peers
  /** Reads an answer, and learns from it. Throws what the caller's own evaluator throws. */
  readonly receive: (
    job: Job,
    candidate: Candidate,
    connection: Connection,
    body: string,
    receipt: string | undefined,
    latencyMs: number
  ) => Placed | NodeErrorReason
  /** Learns from a failure. */
  readonly blame: (job: Job, candidate: Candidate, reason: NodeErrorReason) => void
}

/** Hears once what came of an attempt. */
export interface Outcome {
  readonly onPlaced: (placed: Placed) => void
  readonly onFailed: (reason: NodeErrorReason) => void
  /** The caller's own code threw. */
  readonly onDefect: (defect: unknown) => void
}

/** Where and within what a job is tried. */
export interface Terms {
  readonly connection: Connection
  readonly deadlineMs: number
  readonly budget: number | undefined
  /** There are others to try: an agent that stays silent for half of the time has failed. */
  readonly others: boolean
}

export class Attempt implements Sink {
  readonly #host: AttemptHost
  readonly #job: Job
  readonly #candidate: Candidate
  readonly #terms: Terms
  readonly #outcome: Outcome
  readonly #outgoing: Outgoing
  readonly #sentAt = performance.now()
  readonly #timer: Entry
  readonly #silence: Entry | undefined

  constructor(host: AttemptHost, job: Job, candidate: Candidate, terms: Terms, outcome: Outcome) {
    this.#host = host
    this.#job = job
    this.#candidate = candidate
    this.#terms = terms
    this.#outcome = outcome
    this.#outgoing = new Outgoing(candidate.node, requestOf(job, candidate, terms.deadlineMs, terms.budget), this)
    const tooLate = (): void => this.#tooLate()
    this.#timer = host.deadlines.after(terms.deadlineMs, tooLate)
    this.#silence = terms.others ? host.deadlines.after(terms.deadlineMs / 2, tooLate) : undefined
  }

  /** Sends the task. */
  start(): void {
    const { connection } = this.#terms
    const { node } = this.#candidate
    this.#host.peers.began(node)
    if (!this.#outgoing.start(connection, this.#job.body)) return this.onFailure(noMoreStreams(connection))
    this.#job.emit?.({ _tag: "Sent", peer: node, relayed: connection.relayed })
  }

  /** The caller wants no answer any more. */
  cancel(): void {
    this.#over()
    this.#outgoing.cancel()
    this.#job.emit?.({ _tag: "Cancelled", peer: this.#candidate.node })
  }

  onAccepted(estimateMs: number, waiting: number): void {
    this.#silence?.cancel()
    this.#job.emit?.({ _tag: "Accepted", peer: this.#candidate.node, estimateMs, waiting })
  }

  onResult(body: string, receipt: string | undefined): void {
    this.#over()
    const job = this.#job
    const latencyMs = performance.now() - this.#sentAt
    let placed: Placed | NodeErrorReason
    try {
      placed = this.#host.receive(job, this.#candidate, this.#terms.connection, body, receipt, latencyMs)
    } catch (defect) {
      return this.#outcome.onDefect(defect)
    }
    if ("_tag" in placed) return this.#failed(placed)
    job.emit?.({ _tag: "Answered", peer: this.#candidate.node, latencyMs })
    this.#outcome.onPlaced(placed)
  }

  onFailure(reason: NodeErrorReason): void {
    this.#over()
    this.#failed(reason)
  }

  onChunk(): void {}
  onEnd(): void {}

  #failed(reason: NodeErrorReason): void {
    this.#host.blame(this.#job, this.#candidate, reason)
    this.#outcome.onFailed(reason)
  }

  #tooLate(): void {
    this.#outgoing.cancel()
    const { deadlineMs } = this.#job
    this.onFailure({ _tag: "DeadlineExceeded", peer: this.#candidate.node, deadlineMs, where: "caller" })
  }

  #over(): void {
    this.#timer.cancel()
    this.#silence?.cancel()
    this.#host.peers.ended(this.#candidate.node)
  }
}

/** The task as it goes to an agent. */
export const requestOf = (job: Job, candidate: Candidate, deadlineMs: number, budget: number | undefined): Request => ({
  task: job.task,
  capability: candidate.capability,
  deadlineMs,
  hops: job.hops - 1,
  receipt: job.receipt,
  stream: job.stream,
  batches: job.stream,
  bytes: job.stream && job.bytes,
  budget,
  trace: job.trace
})

/** Why a connection that stands takes no stream: it is about to go, or has as many as it may. */
export const noMoreStreams = (connection: Connection): NodeErrorReason =>
  connection.state() === "open"
    ? { _tag: "Overloaded", peer: connection.peer, retryAfterMs: 100, detail: "no more streams on its connection" }
    : { _tag: "Disconnected", peer: connection.peer }
