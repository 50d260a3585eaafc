/**
 * What waits to be told: bounded, the oldest goes first when there is no more room.
 */
import * as Effect from "effect/Effect"

/** A bounded queue of what waits to be told. */
export class Outbox<A> {
  readonly #max: number
  readonly #maxSize: number
  readonly #sizeOf: (item: A) => number
  #waiting: Array<A> = []
  #size = 0
  #wake: (() => void) | undefined
  /** What was given up for want of room. */
  dropped = 0

  constructor(max: number, maxSize = Number.POSITIVE_INFINITY, sizeOf: (item: A) => number = () => 0) {
    this.#max = max
    this.#maxSize = maxSize
    this.#sizeOf = sizeOf
  }

  get length(): number {
    return this.#waiting.length
  }

  push(item: A): void {
    this.#size += this.#sizeOf(item)
    this.#waiting.push(item)
    this.#bound()
    this.#wake?.()
  }

  /** The first ones, which are now the taker's. */
  take(count: number): ReadonlyArray<A> {
    const taken = this.#waiting.splice(0, count)
    for (const item of taken) this.#size -= this.#sizeOf(item)
    return taken
  }

  /** Gives back, in order, what could not be told now. */
  putBack(items: ReadonlyArray<A>): void {
    for (const item of items) this.#size += this.#sizeOf(item)
    this.#waiting = [...items, ...this.#waiting]
    this.#bound()
  }

  /** Waits until something is there. For one waiter. */
  readonly some: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.#waiting.length > 0) return resume(Effect.void)
    this.#wake = () => {
      this.#wake = undefined
      resume(Effect.void)
    }
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })

  #bound(): void {
    // In one go, for a queue that stays full would be moved as a whole with each item.
    let over = this.#waiting.length - this.#max > this.#max / 8 ? this.#waiting.length - this.#max : 0
    let size = this.#size
    for (let at = 0; at < over; at++) size -= this.#sizeOf(this.#waiting[at]!)
    while (size > this.#maxSize && over < this.#waiting.length - 1) size -= this.#sizeOf(this.#waiting[over++]!)
    if (over === 0) return
    this.#waiting.splice(0, over)
    this.#size = size
    this.dropped += over
  }
}
