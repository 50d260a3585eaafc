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

/** A task between acceptance and answer. */
export interface Work extends Entry<Work> {
  readonly served: Served
  readonly request: Envelope.ReceivedRequest
  readonly input: unknown
  readonly task: TaskInfo
  readonly waiters: Array<Waiter>
  fiber: Fiber.Fiber<unknown, unknown> | undefined
  deadline: Deadline | undefined
  accept: Deadline | undefined
  /** How many tasks waited before it when its caller was told that it is accepted. */
  accepted: number | undefined
  startedAt: number
  expired: boolean
}

/** Who handles what comes on a stream. */
export interface Desk {
  /** Takes a task. */
  readonly dispatch: (waiter: Waiter, message: Uint8Array) => void
  /** The waiter has gone. */
  readonly leave: (work: Work, waiter: Waiter) => void
  /** Logs a defect. */
  readonly report: (defect: unknown) => void
}

/** One stream that waits for an answer. */
export class Waiter implements StreamHandler {
  readonly #desk: Desk
  readonly peer: NodeId
  readonly stream: Stream
  work: Work | undefined
  receipt = false
  /** It takes a result of bytes as they are. */
  bytes = false
  wake: (() => void) | undefined
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
    const wake = this.wake
    this.wake = undefined
    wake?.()
  }
  onClosed(): void {
    this.closed = true
    this.onWritable()
    const work = this.work
    if (work !== undefined) this.#desk.leave(work, this)
  }
  refuse(
    kind: "rejected" | "countered" | "failed",
    body: Refusal.RejectedBody | Refusal.CounteredBody | Refusal.FailedBody
  ) {
    this.stream.send(Envelope.heads[kind], Refusal.encode(body), true)
  }
}
