/**
 * The span in which a task's caller stands, as it came with the request: the parent of whatever span the handler makes. Its ids
 * are kept as numbers, and written as hex digits only for who reads them.
 */
import * as Context from "effect/Context"
import type * as Tracer from "effect/Tracer"
import * as TaskId from "./TaskId.ts"

/** Bytes of a trace on the wire: trace id, span id, flags (W3C Trace Context). */
export const TRACE_BYTES = 16 + 8 + 1

/** A span of another process. */
export class CallerSpan implements Tracer.ExternalSpan {
  readonly #trace: TaskId.TaskId
  readonly #high: number
  readonly #low: number
  readonly sampled: boolean

  /** Reads a trace, which must be there whole. */
  constructor(message: Uint8Array, at: number) {
    this.#trace = TaskId.read(message, at)
    this.#high = TaskId.word(message, at + 16)
    this.#low = TaskId.word(message, at + 20)
    this.sampled = (message[at + 24]! & 1) === 1
  }
  get _tag(): "ExternalSpan" {
    return "ExternalSpan"
  }
  get traceId(): string {
    return this.#trace.hex
  }
  get spanId(): string {
    return TaskId.digits(this.#high) + TaskId.digits(this.#low)
  }
  get annotations(): Context.Context<never> {
    return Context.empty()
  }
}
