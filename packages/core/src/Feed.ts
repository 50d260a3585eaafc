/**
 * Feed: news from callbacks as streams, for any number of listeners.
 *
 * Whoever listens later hears first what still holds (`snapshot`), then what comes. A listener that does not take its news
 * loses the oldest of it, so that nobody can make the feed hold more than `MAX_WAITING` items for him.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import type * as Cause from "effect/Cause"

/** Items kept for a listener that is slow: more than a network of this size has news in a second. */
export const MAX_WAITING = 4_096

/** News from callbacks as streams. */
export interface Feed<A> {
  /** Tells every listener. */
  readonly publish: (item: A) => void
  /** Ends every listener's stream, now and from now on. */
  readonly end: () => void
  /** The news, until `end`. */
  readonly stream: Stream.Stream<A>
}

/** A feed; `snapshot` gives what a new listener must know to understand what follows. */
export const make = <A>(snapshot: () => Iterable<A> = () => []): Feed<A> => {
  const listeners = new Set<Queue.Queue<A, Cause.Done>>()
  let ended = false
  return {
    publish: (item) => {
      for (const listener of listeners) Queue.offerUnsafe(listener, item)
    },
    end: () => {
      ended = true
      for (const listener of listeners) Queue.endUnsafe(listener)
      listeners.clear()
    },
    stream: Stream.callback<A>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            for (const item of snapshot()) Queue.offerUnsafe(queue, item)
            if (ended) Queue.endUnsafe(queue)
            else listeners.add(queue)
          }),
          () => Effect.sync(() => listeners.delete(queue))
        ),
      { bufferSize: MAX_WAITING, strategy: "sliding" }
    )
  }
}
