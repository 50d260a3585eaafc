/**
 * One task on its way to one executor: sends the request, and hears what comes back until it is over.
 */
import { randomFillSync } from "node:crypto"
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import { type Connection, ResetCode, type Stream, type StreamHandler } from "../Transport.ts"
import * as Envelope from "./Envelope.ts"
import * as Refusal from "./Refusal.ts"

const pool = new Uint8Array(4_096)
let poolAt = pool.length

/** A fresh random task id, 16 bytes. */
export const newTask = (): Uint8Array => {
  if (poolAt === pool.length) {
    randomFillSync(pool)
    poolAt = 0
  }
  const task = pool.slice(poolAt, poolAt + Envelope.TASK_BYTES)
  poolAt += Envelope.TASK_BYTES
  return task
}

/** Hears what comes of a task. After `onResult`, `onEnd` or `onFailure` nothing more comes. */
export interface Sink {
  readonly onAccepted: (estimateMs: number, waiting: number) => void
  readonly onResult: (body: string, receipt: string | undefined) => void
  /** A message of chunks, valid during the call. */
  readonly onChunk: (message: Uint8Array) => void
  readonly onEnd: () => void
  readonly onFailure: (reason: NodeErrorReason) => void
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

/** A task in flight. */
export class Outgoing implements StreamHandler {
  readonly #peer: NodeId
  readonly #request: Envelope.Request
  readonly #sink: Sink
  #stream: Stream | undefined
  #accepted = false
  #over = false

  constructor(peer: NodeId, request: Envelope.Request, sink: Sink) {
    this.#peer = peer
    this.#request = request
    this.#sink = sink
  }

  /** Sends the request; false when the connection takes no new stream. */
  start(connection: Connection, body: string): boolean {
    const stream = connection.open(Protocol.CALL, this)
    if (stream === undefined) return false
    this.#stream = stream
    stream.send(Envelope.encodeRequest(this.#request), body, true)
    return true
  }

  /** The caller wants no answer any more; the executor hears of it. */
  cancel(): void {
    if (this.#over) return
    this.#over = true
    this.#stream?.reset(ResetCode.Cancelled)
  }

  pause(): void {
    this.#stream?.pause()
  }
  resume(): void {
    this.#stream?.resume()
  }

  onMessage(message: Uint8Array, last: boolean): void {
    if (this.#over) return
    if (Envelope.hasChunks(message)) {
      if (last || !this.#request.stream) return this.#bad("a chunk out of place")
      return this.#sink.onChunk(message)
    }
    const response = Envelope.decodeResponse(message)
    if (response === undefined) return this.#bad("a message that is no answer")
    switch (response._tag) {
      case "Result":
        if (!last || this.#request.stream) return this.#bad("a result out of place")
        this.#over = true
        return this.#sink.onResult(response.body, response.receipt)
      case "Accepted":
        if (last) return this.#bad("an acceptance without a result")
        // Once is enough: a peer that repeats it would only keep this node busy.
        if (this.#accepted) return this.#bad("a second acceptance")
        this.#accepted = true
        return this.#sink.onAccepted(response.estimateMs, response.waiting)
      case "End":
        if (!last || !this.#request.stream) return this.#bad("an end out of place")
        this.#over = true
        return this.#sink.onEnd()
      default: {
        if (!last) return this.#bad("a refusal with more to come")
        this.#over = true
        const { capability, deadlineMs } = this.#request
        return this.#sink.onFailure(Refusal.toReason(response._tag, response.body, this.#peer, capability, deadlineMs))
      }
    }
  }

  onWritable(): void {}

  onClosed(code: ResetCode): void {
    if (this.#over) return
    this.#over = true
    this.#sink.onFailure(reasonOf(code, this.#peer))
  }

  #bad(detail: string): void {
    this.#over = true
    this.#stream?.reset(ResetCode.Malformed)
    this.#sink.onFailure({ _tag: "BadAnswer", peer: this.#peer, detail })
  }
}
