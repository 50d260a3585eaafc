/**
 * A task between acceptance and answer, and the streams that wait for it.
 */
import type * as Fiber from "effect/Fiber"
import type { NodeId } from "../NodeId.ts"
import { ResetCode, type Stream, type StreamHandler } from "../Transport.ts"
import type { Entry as Deadline } from "./Deadlines.ts"
import * as Envelope from "./Envelope.ts"
import * as Refusal from "./Refusal.ts"
import type { Entry } from "./Running.ts"
import type { Served, TaskInfo } from "./Served.ts"
import type { Tail } from "./Tail.ts"
import type { TaskId } from "./TaskId.ts"

/** A task between acceptance and answer. */
export class Work implements Entry<Work> {
  readonly served: Served
  readonly request: Envelope.ReceivedRequest
  readonly input: unknown
  readonly task: TaskInfo
  /** Who waits for it; whoever joined is linked behind. Nearly all tasks have one. */
  waiter: Waiter | undefined
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  deadline: Deadline | undefined
  accept: Deadline | undefined
  /** How many tasks waited before it when its caller was told that it is accepted. */
  accepted: number | undefined
  startedAt: number
  expired = false
  /** What its chunks go through, once it has begun; only a stream has it. */
  tail: Tail | undefined
  /** Nobody waits for it, since a connection broke: when it is given up. */
  held: Deadline | undefined
  next: Work | undefined

  constructor(
    served: Served,
    request: Envelope.ReceivedRequest,
    input: unknown,
    task: TaskInfo,
    waiter: Waiter,
    startedAt: number
  ) {
    this.served = served
    this.request = request
    this.input = input
    this.task = task
    this.waiter = waiter
    this.startedAt = startedAt
  }
  get id(): TaskId {
    return this.request
  }
  get caller(): NodeId {
    return this.task.caller
  }
  /** Everyone who waits for it now. */
  get waiters(): ReadonlyArray<Waiter> {
    const all: Array<Waiter> = []
    for (let { waiter } = this; waiter !== undefined; waiter = waiter.behind) all.push(waiter)
    return all
  }
  join(waiter: Waiter): void {
    const last = this.waiters.at(-1)
    if (last === undefined) this.waiter = waiter
    else last.behind = waiter
  }
  leave(waiter: Waiter): void {
    const before = this.waiters.find(({ behind }) => behind === waiter)
    if (before !== undefined) before.behind = waiter.behind
    else if (this.waiter === waiter) this.waiter = waiter.behind
    waiter.behind = undefined
  }
}

/** Who handles what comes on a stream. */
export interface Desk {
  /** Takes a task. */
  readonly dispatch: (waiter: Waiter, message: Uint8Array) => void
  /** The waiter has gone; `broken`: with its connection. */
  readonly leave: (work: Work, waiter: Waiter, broken: boolean) => void
  /** Logs a defect. */
  readonly report: (defect: unknown) => void
}

/** One stream that waits for an answer. */
export class Waiter implements StreamHandler {
  readonly #desk: Desk
  readonly peer: NodeId
  readonly stream: Stream
  work: Work | undefined
  /** What came on the stream, once it is read. */
  request: Envelope.ReceivedRequest | Envelope.ReceivedResume | undefined
  /** Who waits for the same task, and came after it. */
  behind: Waiter | undefined
  /** What goes out on the stream, where those are chunks. */
  tail: Tail | undefined
  closed = false

  constructor(desk: Desk, peer: NodeId, stream: Stream) {
    this.#desk = desk
    this.peer = peer
    this.stream = stream
  }
  onMessage(message: Uint8Array, last: boolean): void {
    if (this.work !== undefined || !last) {
      this.stream.reset(ResetCode.Malformed)
      return this.onClosed()
    }
    try {
      this.#desk.dispatch(this, message)
    } catch (defect) {
      this.stream.reset(ResetCode.Internal)
      this.onClosed()
      this.#desk.report(defect)
    }
  }
  onWritable(): void {
    this.tail?.writable(this.stream)
  }
  onClosed(code?: ResetCode): void {
    this.closed = true
    this.tail?.detach(this.stream)
    const work = this.work
    if (work !== undefined) this.#desk.leave(work, this, code === ResetCode.Disconnected)
  }
  refuse(
    kind: "rejected" | "countered" | "failed",
    body: Refusal.RejectedBody | Refusal.CounteredBody | Refusal.FailedBody
  ) {
    this.stream.send(Envelope.heads[kind], Refusal.encode(body), true)
    this.release()
  }
  /** It has its answer: what was asked, which may be large, is not kept while the answer waits for a slow reader. */
  release(): void {
    this.work = undefined
    this.request = undefined
  }
}
