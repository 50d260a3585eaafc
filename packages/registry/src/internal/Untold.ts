/**
 * What each listener was not yet told, bounded: where very much waits, only the last word about each agent stays.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Change } from "../Presence.ts"

/** Changes that wait for one listener before those that a later one has overtaken are left out. */
export const MAX_UNTOLD = 65_536

class Listener {
  #waiting: Array<Change> = []
  #limit: number
  #wake: (() => void) | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  tell(change: Change, limit: number): void {
    this.#waiting.push(change)
    if (this.#waiting.length > this.#limit) {
      const last = new Map<string, Change>()
      for (const each of this.#waiting) {
        last.delete(each.agent)
        last.set(each.agent, each)
      }
      this.#waiting = [...last.values()]
      this.#limit = Math.max(limit, 2 * this.#waiting.length)
    }
    this.#wake?.()
  }

  readonly take: Effect.Effect<ReadonlyArray<Change>> = Effect.callback((resume) => {
    const give = (): void => {
      this.#wake = undefined
      const taken = this.#waiting
      this.#waiting = []
      resume(Effect.succeed(taken))
    }
    if (this.#waiting.length > 0) return give()
    this.#wake = give
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })
}

/** Changes told to whoever listens from then on. */
export class Untold {
  readonly #listeners = new Set<Listener>()
  readonly #limit: number

  constructor(limit = MAX_UNTOLD) {
    this.#limit = limit
  }

  readonly tell = (change: Change): void => {
    for (const listener of this.#listeners) listener.tell(change, this.#limit)
  }

  readonly stream: Stream.Stream<Change> = Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const listener = new Listener(this.#limit)
          this.#listeners.add(listener)
          return listener
        }),
        (listener) => Effect.sync(() => this.#listeners.delete(listener))
      ),
      (listener) => Stream.fromIterableEffectRepeat(listener.take)
    )
  )
}
