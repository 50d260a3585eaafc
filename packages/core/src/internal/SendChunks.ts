/**
 * The handler of a stream, as its caller hears it: each array of chunks that its Effect Stream gives goes out in as few messages
 * as it fits in, no faster than the reader takes them.
 */
import { Buffer } from "node:buffer"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as EffectStream from "effect/Stream"
import * as Envelope from "./Envelope.ts"
import * as JsonCodec from "./JsonCodec.ts"
import type { Tail } from "./Tail.ts"
import type { Work } from "./Work.ts"

/** A chunk does not fit its schema. */
export class OutputInvalid extends Data.TaggedError("OutputInvalid")<{ readonly detail: string }> {}
/** A chunk is larger than the cap. */
export class OutputTooLarge extends Data.TaggedError("OutputTooLarge")<{ readonly bytes: number }> {}

type Wrong = OutputInvalid | OutputTooLarge

/** How long a message of several chunks is to be, in characters: a few to a record, many to a window. */
const AIM = 16 * 1024
/** Chunks of the first message, before it is known how long they are. */
const FIRST = 16
/** Most chunks of one message. */
const MOST = 4_096

const isJson = (value: unknown): boolean =>
  value !== undefined && typeof value !== "function" && typeof value !== "symbol"

/** Sends the chunks of one task. */
class Sender {
  readonly #work: Work
  readonly #tail: Tail
  readonly #limit: number
  readonly #limitOfBatch: number
  readonly #aim: number
  readonly #asBytes: boolean
  #most: number

  constructor(work: Work, tail: Tail, limit: number) {
    const { request, served } = work
    this.#work = work
    this.#tail = tail
    this.#limit = limit
    this.#limitOfBatch = Math.min(limit, Envelope.MAX_BATCH_BYTES)
    this.#aim = Math.min(AIM, limit / 2)
    this.#asBytes = request.bytes && served.bytes
    this.#most = request.batches ? FIRST : 1
  }

  /** Sends chunks from the one at `from`, and waits wherever the reader is behind. */
  readonly send = (chunks: ReadonlyArray<unknown>, from: number): Effect.Effect<void, Wrong> =>
    Effect.suspend(() => {
      let at = from
      while (at < chunks.length && !this.#tail.isOver) {
        const sent = this.#asBytes ? this.#bytes(chunks[at]) : this.#json(chunks, at)
        if (typeof sent === "object") return Effect.fail(sent)
        at += Math.abs(sent)
        if (sent < 0) return Effect.andThen(this.#writable(), this.send(chunks, at))
      }
      return Effect.void
    })

  /** Waits until more may be sent: also for a reader to come back. */
  #writable(): Effect.Effect<void> {
    const tail = this.#tail
    return Effect.callback((resume) => {
      // The fibre may have been put off since it looked.
      if (tail.isReady || tail.isOver) resume(Effect.void)
      else tail.wake = () => resume(Effect.void)
    })
  }

  // Each gives how many chunks were sent, below zero when that was all that may be sent for now.

  #bytes(chunk: unknown): number | Wrong {
    if (!(chunk instanceof Uint8Array)) return new OutputInvalid({ detail: "a chunk is no Uint8Array" })
    if (chunk.length > this.#limit) return new OutputTooLarge({ bytes: chunk.length })
    return this.#tail.push(Envelope.heads.bytes, this.#tail.copyOf(chunk), 1) ? 1 : -1
  }

  #json(chunks: ReadonlyArray<unknown>, from: number): number | Wrong {
    const { output } = this.#work.served
    const most = Math.min(this.#most, chunks.length - from)
    const encoded: Array<Schema.Json> = []
    while (encoded.length < most) {
      const json = output.encode(chunks[from + encoded.length])
      const isUnfit = json instanceof JsonCodec.Unfit
      if (!isUnfit && isJson(json)) encoded.push(json)
      else if (encoded.length > 0) break
      else return new OutputInvalid({ detail: isUnfit ? json.detail : "it has no JSON form" })
    }
    let count = encoded.length
    while (count > 1) {
      if (encoded.length > count) encoded.length = count
      const text = JsonCodec.stringify(encoded)
      // Where all of them are within the cap, each is.
      if (text !== undefined && JsonCodec.excess(text, this.#limitOfBatch) === 0) {
        this.#most = Math.min(Math.max(1, Math.round((this.#aim / text.length) * count)), MOST, 8 * count)
        return this.#tail.push(Envelope.heads.chunks, text, count) ? count : -count
      }
      count = count >> 1
    }
    const body = JsonCodec.stringify(encoded[0]!)
    if (body === undefined) return new OutputInvalid({ detail: "it has no JSON form" })
    const bytes = Buffer.byteLength(body)
    if (bytes > this.#limit) return new OutputTooLarge({ bytes })
    return this.#tail.push(Envelope.heads.chunk, body, 1) ? 1 : -1
  }
}

/** The handler of a stream: sends what it gives; a chunk has at most `limit` bytes. */
export const sendChunks = (
  work: Work,
  chunks: EffectStream.Stream<unknown, unknown>,
  limit: number
): Effect.Effect<void, unknown> => {
  const { tail } = work
  if (tail === undefined) return Effect.void
  const sender = new Sender(work, tail, limit)
  return EffectStream.runForEachArray(chunks, (array) => sender.send(array, 0))
}
