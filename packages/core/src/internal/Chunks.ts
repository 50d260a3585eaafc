/**
 * The chunks of a long answer between the wire and its reader: a small buffer that stops the sender when it is full.
 */
import type * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { NodeErrorReason } from "../NodeError.ts"
import type { Outgoing } from "./Outgoing.ts"

/** Chunks that wait for a slow reader before the sender is stopped, and bytes of them, whichever comes first. */
const HIGH_WATER = { chunks: 1_024, bytes: 256 * 1024 }

/** A buffer of chunks with one reader. */
export class Chunks {
  #items: Array<unknown> = []
  #bytes = 0
  #ended = false
  #reason: NodeErrorReason | undefined
  #paused = false
  #wake: (() => void) | undefined
  #source: Outgoing | undefined

  /** Where the chunks come from, and what is paused when nobody takes them. */
  flow(source: Outgoing): void {
    this.#source = source
  }

  /** Takes a chunk; `bytes` is what it was on the wire, about. */
  push(chunk: unknown, bytes: number): void {
    this.#items.push(chunk)
    this.#bytes += bytes
    if (!this.#paused && (this.#items.length >= HIGH_WATER.chunks || this.#bytes >= HIGH_WATER.bytes)) {
      this.#paused = true
      this.#source?.pause()
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
          this.#wake = () => resume(Effect.void)
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
      this.#source?.resume()
    }
    return items as unknown as Arr.NonEmptyReadonlyArray<unknown>
  }
}
