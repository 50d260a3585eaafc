/**
 * The chunks of a long answer between the wire and its reader: a small buffer that stops the sender when it is full.
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { NodeErrorReason } from "../NodeError.ts"
import type { Outgoing } from "./Outgoing.ts"

/** Bytes of chunks that wait for a slow reader before the sender is stopped; a window more may then still be on its way. */
const HIGH_WATER_BYTES = 256 * 1024
/** What a chunk costs of it besides its bytes: about what an empty one takes in memory. */
const CHUNK_COST = 32

/** A buffer of chunks with one reader. */
export class Chunks {
  #items: Array<unknown> = []
  #bytes = 0
  #ended = false
  #reason: NodeErrorReason | undefined
  #paused = false
  #wake: (() => void) | undefined
  readonly #source: Outgoing

  /** Where the chunks come from, and what is paused when nobody takes them. */
  constructor(source: Outgoing) {
    this.#source = source
  }

  /** Nobody takes them, and the source is to send no more. */
  get isPaused(): boolean {
    return this.#paused
  }

  /** Takes chunks that came together, and their array; `bytes` is what they were on the wire. */
  push(chunks: Array<unknown>, bytes: number): void {
    if (chunks.length === 0) return
    if (this.#items.length === 0) this.#items = chunks
    else for (const chunk of chunks) this.#items.push(chunk)
    this.#bytes += bytes + chunks.length * CHUNK_COST
    if (!this.#paused && this.#bytes >= HIGH_WATER_BYTES) {
      this.#paused = true
      this.#source.pause()
    }
    this.#tell()
  }

  end(reason: NodeErrorReason | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#reason = reason
    this.#tell()
  }

  #tell(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  /** All that is there, or waits for some. Fails with the reason, or with `Done` after the last chunk. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<unknown>, NodeErrorReason | Cause.Done> = Effect.suspend(
    () => {
      if (this.#items.length > 0) return Effect.succeed(this.#take())
      if (this.#ended) return this.#reason === undefined ? Cause.done() : Effect.fail(this.#reason)
      return Effect.andThen(
        Effect.callback<void>((resume) => {
          // The fibre may have been put off since it looked.
          if (this.#items.length > 0 || this.#ended) resume(Effect.void)
          else this.#wake = () => resume(Effect.void)
        }),
        Effect.suspend(() => this.pull)
      )
    }
  )

  #take(): Arr.NonEmptyReadonlyArray<unknown> {
    const items = this.#items
    this.#items = []
    this.#bytes = 0
    if (this.#paused) {
      this.#paused = false
      this.#source.resume()
    }
    return items as unknown as Arr.NonEmptyReadonlyArray<unknown>
  }
}
