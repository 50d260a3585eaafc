/**
 * One task in flight at one agent: sends it, keeps its time, and hears what comes back until it is over.
 *
 * It is one object: the handler of its stream, and its own entry on the wheel of deadlines.
 */
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import { type Address, type Connection, ResetCode, type Stream, type StreamHandler } from "../Transport.ts"
import { type Deadlines, Timed } from "./Deadlines.ts"
import * as Envelope from "./Envelope.ts"
import type { Experience } from "./Experience.ts"
import type { Job } from "./Job.ts"
import type { Peers } from "./Peers.ts"
import type { Recovery, Resumable } from "./Recovery.ts"
import * as Refusal from "./Refusal.ts"
import type { TaskId } from "./TaskId.ts"

/** Whom to place a task at. */
export interface Candidate {
  readonly node: NodeId
  /** `name@version`, or `name@range` where no record is known. */
  readonly capability: string
  readonly name: string
  readonly addresses: ReadonlyArray<Address>
}

/** Where and within what a job is tried. */
export interface Terms {
  readonly connection: Connection
  readonly deadlineMs: number
  readonly budget: number | undefined
  /** There are others to try: an agent that stays silent for half of the time has failed. */
  readonly others: boolean
}

/** What a task in flight needs of its node. */
export interface Host {
  readonly deadlines: Deadlines
  readonly peers: Peers
  readonly experience: Experience
  readonly recovery: Recovery
}

/**
 * A task that others could do waits so long for the connection to its agent, in ms: an address that answers does so within this,
 * and one that does not shall not hold the task up.
 */
export const OTHERS_WAIT_MS = 1_000

/** What a task has been through whose connection broke. */
interface Detour {
  /** There is no connection, and it waits for one. */
  waiting: boolean
  /** It asked to go on, and has not heard whether it can. */
  asking: boolean
  /** It went on: something came that had not come before. An acceptance is nothing of that kind. */
  progressed: boolean
  /** Something was heard of it before: its agent has it, or has lost it. */
  heard: boolean
}

/** Why a reset stream has no answer. */
const reasonOf = (code: ResetCode, peer: NodeId): NodeErrorReason => {
  switch (code) {
    case ResetCode.Disconnected:
      return { _tag: "Disconnected", peer }
    case ResetCode.UnknownProtocol:
      return { _tag: "Rejected", peer, code: "NotServing", detail: "the peer takes no tasks" }
    case ResetCode.Overloaded:
      return { _tag: "Overloaded", peer, retryAfterMs: 1_000, detail: "too many streams" }
    case ResetCode.TooSlow:
      return { _tag: "BadAnswer", peer, detail: "the stream was given up because one side read too slowly" }
    case ResetCode.Malformed:
      return { _tag: "BadAnswer", peer, detail: "the peer could not read the request" }
    default:
      return { _tag: "BadAnswer", peer, detail: `the peer gave the stream up (code ${code})` }
  }
}

/** Why a connection that stands takes no stream: it is about to go, or has as many as it may. */
const noMoreStreams = (connection: Connection): NodeErrorReason =>
  connection.state() === "open"
    ? { _tag: "Overloaded", peer: connection.peer, retryAfterMs: 100, detail: "no more streams on its connection" }
    : { _tag: "Disconnected", peer: connection.peer }

/** A task in flight. After `onResult`, `onEnd` or `onFailed` nothing more comes. */
export abstract class Outgoing extends Timed implements StreamHandler, Resumable {
  readonly job: Job
  readonly candidate: Candidate
  /** Its connection is another one after a break. */
  terms: Terms
  readonly #host: Host
  #startedAt = 0
  #stream: Stream | undefined
  /** Nothing was heard of it, and others could be tried. */
  #silent: boolean
  #accepted = false
  #over = false
  #detour: Detour | undefined

  constructor(host: Host, job: Job, candidate: Candidate, terms: Terms) {
    super()
    this.job = job
    this.candidate = candidate
    this.terms = terms
    this.#host = host
    this.#silent = terms.others
  }

  // The task as it goes to an agent: a request is read off the task in flight, and is no object of its own.

  get task(): TaskId {
    return this.job.task
  }
  get capability(): string {
    return this.candidate.capability
  }
  get deadlineMs(): number {
    return this.#detour === undefined ? this.terms.deadlineMs : Math.max(0, this.#left(performance.now()))
  }
  get hops(): number {
    return this.job.hops - 1
  }
  get receipt(): boolean {
    return this.job.receipt
  }
  get stream(): boolean {
    return this.job.stream
  }
  get batches(): boolean {
    return this.job.stream
  }
  get bytes(): boolean {
    return this.job.bytes
  }
  get raw(): boolean {
    return this.job.raw
  }
  get budget(): number | undefined {
    return this.terms.budget
  }
  get trace(): Envelope.Trace | undefined {
    return this.job.trace
  }

  // What recovery wants to know.

  get peer(): NodeId {
    return this.candidate.node
  }
  get addresses(): ReadonlyArray<Address> {
    return this.candidate.addresses
  }
  get isPatient(): boolean {
    return this.seen > 0 || !this.terms.others
  }
  get seen(): number {
    return 0
  }

  /** It goes on, on another stream, which may have to be paused. */
  protected onResumed(): void {}
  protected abstract onResult(body: string, receipt: string | undefined, latencyMs: number): void
  /** A message of chunks, valid during the call. */
  protected abstract onChunk(message: Uint8Array): void
  protected abstract onEnd(latencyMs: number): void
  protected abstract onFailed(reason: NodeErrorReason): void

  /** Sends the task; `now` by `performance.now()`. */
  start(now: number): void {
    const { candidate, job, terms } = this
    const { connection, deadlineMs } = terms
    this.#startedAt = now
    this.#host.peers.began(candidate.node)
    this.#host.deadlines.add(this, this.#silent ? deadlineMs / 2 : deadlineMs, now)
    const stream = connection.open(Protocol.CALL, this)
    if (stream === undefined) return this.#refused(connection)
    this.#stream = stream
    const body = job.raw ? Envelope.bytesOf(job.body) : job.body
    stream.send(Envelope.encodeRequest(this), body, true)
    job.emit?.({ _tag: "Sent", peer: candidate.node, relayed: connection.relayed })
  }

  /** The caller wants no answer any more; the executor hears of it. */
  cancel(): void {
    if (this.#over) return
    if (this.#detour?.waiting === true) this.#host.recovery.cancelled(this)
    this.#end()
    this.#stream?.reset(ResetCode.Cancelled)
    this.job.emit?.({ _tag: "Cancelled", peer: this.candidate.node })
  }

  /** What came is no answer, or too late: the task is given up, and the agent to blame. */
  giveUp(reason: NodeErrorReason, code: ResetCode): void {
    if (this.#over) return
    this.#end()
    this.#stream?.reset(code)
    this.failed(reason)
  }

  /** It is over, and this is what came of it. */
  protected failed(reason: NodeErrorReason): void {
    this.#host.experience.blame(this.job, this.candidate, reason)
    this.onFailed(reason)
  }

  pause(): void {
    this.#stream?.pause()
  }
  resume(): void {
    this.#stream?.resume()
  }

  onMessage(message: Uint8Array, last: boolean): void {
    if (this.#over) return
    this.#silent = false
    if (this.#detour !== undefined && this.#isUnknown(this.#detour, message)) return
    if (Envelope.hasChunks(message)) {
      if (last || !this.job.stream) return this.#bad("a chunk out of place")
      this.#progressed()
      return this.onChunk(message)
    }
    const response = Envelope.decodeResponse(message)
    if (response === undefined) return this.#bad("a message that is no answer")
    switch (response._tag) {
      case "Result":
        if (!last || this.job.stream) return this.#bad("a result out of place")
        if (message[0] === Envelope.Kind.BytesResult && !this.job.bytes) {
          return this.#bad("a result of bytes, which was not asked for")
        }
        this.#progressed()
        this.#end()
        return this.onResult(response.body, response.receipt, performance.now() - this.#startedAt)
      case "Accepted":
        if (last) return this.#bad("an acceptance without a result")
        // Once is enough: a peer that repeats it would only keep this node busy.
        if (this.#accepted) return this.#bad("a second acceptance")
        this.#accepted = true
        // It says that the task is still there, which is no news to who places it.
        if (this.#detour?.heard === true) return
        return this.job.emit?.({
          _tag: "Accepted",
          peer: this.candidate.node,
          estimateMs: response.estimateMs,
          waiting: response.waiting
        })
      case "End":
        if (!last || !this.job.stream) return this.#bad("an end out of place")
        this.#progressed()
        this.#end()
        return this.onEnd(performance.now() - this.#startedAt)
      default: {
        if (!last) return this.#bad("a refusal with more to come")
        const { capability, node } = this.candidate
        return this.#fail(Refusal.toReason(response._tag, response.body, node, capability, this.terms.deadlineMs))
      }
    }
  }

  onWritable(): void {}

  onClosed(code: ResetCode): void {
    if (this.#over || (code === ResetCode.Disconnected && this.#waits())) return
    const peer = this.candidate.node
    // An agent that knows of no resumption resets what asks for one.
    this.#fail(this.#detour?.asking === true ? { _tag: "Disconnected", peer } : reasonOf(code, peer))
  }

  onDue(): void {
    const now = performance.now()
    const left = this.#left(now)
    if (left > 0 && this.#detour?.waiting === true) return this.abandon()
    if (left > 0 && !this.#silent) return this.#host.deadlines.add(this, left, now)
    const { deadlineMs } = this.job
    const peer = this.candidate.node
    this.giveUp({ _tag: "DeadlineExceeded", peer, deadlineMs, where: "caller" }, ResetCode.Cancelled)
  }

  // Its connection broke.

  /** Waits for another connection, where there may be one in time. */
  #waits(): boolean {
    const now = performance.now()
    const left = this.#left(now)
    if (left <= 0 || !this.#host.recovery.wait(this, this.terms.connection)) return false
    const heard = this.#detour?.heard === true || this.#accepted || this.seen > 0
    this.#stream = undefined
    this.#accepted = false
    this.#detour = { waiting: true, asking: false, progressed: false, heard }
    this.#host.deadlines.drop(this)
    this.#host.deadlines.add(this, this.#patience(left), now)
    return true
  }

  /** How long it waits: to the end where nobody else could do it, half of that where others might be found. */
  #patience(left: number): number {
    if (this.seen > 0 || this.job.isPinned) return left
    return this.terms.others ? Math.min(OTHERS_WAIT_MS, left) : left / 2
  }

  #left(now: number): number {
    return this.#startedAt + this.terms.deadlineMs - now
  }

  resumeOn(connection: Connection): void {
    const detour = this.#detour
    if (this.#over || detour === undefined) return
    this.terms = { ...this.terms, connection }
    detour.waiting = false
    detour.asking = true
    const now = performance.now()
    const left = this.#left(now)
    this.#host.deadlines.drop(this)
    this.#host.deadlines.add(this, this.#silent ? Math.max(0, left - this.terms.deadlineMs / 2) : left, now)
    this.#send(Envelope.encodeResume(this, this.seen), undefined)
    if (this.#stream !== undefined) this.onResumed()
  }

  abandon(): void {
    if (!this.#over) this.#fail({ _tag: "Disconnected", peer: this.candidate.node })
  }

  /** Looks at the first answer after a resumption. An agent that never had the task gets it now; one that lost it has failed. */
  #isUnknown(detour: Detour, message: Uint8Array): boolean {
    if (!detour.asking) return false
    detour.asking = false
    if (message[0] !== Envelope.Kind.Rejected || !Refusal.isUnknownTask(message)) {
      const { candidate, job, terms } = this
      job.emit?.({ _tag: "Resumed", peer: candidate.node, relayed: terms.connection.relayed })
      return false
    }
    if (detour.heard) this.abandon()
    else this.#send(Envelope.encodeRequest(this), this.job.raw ? Envelope.bytesOf(this.job.body) : this.job.body)
    return true
  }

  #progressed(): void {
    if (this.#detour === undefined || this.#detour.progressed) return
    this.#detour.progressed = true
    this.#host.recovery.progressed(this.candidate.node)
  }

  #send(head: Uint8Array, body: string | Uint8Array | undefined): void {
    const stream = this.terms.connection.open(Protocol.CALL, this)
    if (stream === undefined) return this.#refused(this.terms.connection)
    this.#stream = stream
    stream.send(head, body, true)
  }

  /** A connection takes no stream: where it is about to go, another one may. */
  #refused(connection: Connection): void {
    if (connection.state() === "open" || !this.#waits()) this.#fail(noMoreStreams(connection))
  }

  #bad(detail: string): void {
    this.giveUp({ _tag: "BadAnswer", peer: this.candidate.node, detail }, ResetCode.Malformed)
  }

  #fail(reason: NodeErrorReason): void {
    this.#end()
    this.failed(reason)
  }

  #end(): void {
    this.#over = true
    if (this.#detour?.waiting === true) this.#host.recovery.drop(this)
    this.#host.deadlines.drop(this)
    this.#host.peers.ended(this.candidate.node)
  }
}
