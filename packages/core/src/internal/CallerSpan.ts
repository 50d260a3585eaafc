/**
 * The span in which a task's caller stands, as it came with the request: the parent of whatever span the handler makes. Its ids
 * are kept as numbers, and written as hex digits only for who reads them.
 */
import * as Context from "effect/Context"
import * as Tracer from "effect/Tracer"
import * as TaskId from "./TaskId.ts"

/** Bytes of a trace on the wire: trace id, span id, flags (W3C Trace Context). */
export const TRACE_BYTES = 16 + 8 + 1

/** A span of another process. */
export class CallerSpan implements Tracer.ExternalSpan {
  readonly #trace: TaskId.TaskId
  readonly #high: number
  readonly #low: number
  readonly sampled: boolean
  #services: Context.Context<never> | undefined
  #within: Context.Context<never> | undefined

  /** Reads a trace, which must be there whole. */
  constructor(message: Uint8Array, at: number) {
    this.#trace = TaskId.read(message, at)
    this.#high = TaskId.word(message, at + 16)
    this.#low = TaskId.word(message, at + 20)
    this.sampled = (message[at + 24]! & 1) === 1
  }
  /** Whether it is what lies there. */
  isAt(message: Uint8Array, at: number): boolean {
    return (
      TaskId.word(message, at + 20) === this.#low &&
      TaskId.word(message, at + 16) === this.#high &&
      TaskId.word(message, at) === this.#trace.a &&
      TaskId.word(message, at + 4) === this.#trace.b &&
      TaskId.word(message, at + 8) === this.#trace.c &&
      TaskId.word(message, at + 12) === this.#trace.d &&
      ((message[at + 24]! & 1) === 1) === this.sampled
    )
  }
  /** What runs in these services, within this span. */
  within(services: Context.Context<never>): Context.Context<never> {
    if (this.#within === undefined || this.#services !== services) {
      this.#services = services
      this.#within = Context.add(services, Tracer.ParentSpan, this)
    }
    return this.#within
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

/**
 * Spans read last, by a byte of their ids. A caller makes many calls within one, and what is made for the first of them (what a
 * fibre looks up of its services, too) serves them all.
 */
export class RecentSpans {
  readonly #spans: Array<CallerSpan | undefined> = Array.from({ length: 256 })

  /** Reads a trace, which must be there whole. */
  read(message: Uint8Array, at: number): CallerSpan {
    const byte = message[at + 23]!
    const known = this.#spans[byte]
    if (known?.isAt(message, at) === true) return known
    const span = new CallerSpan(message, at)
    this.#spans[byte] = span
    return span
  }
}
