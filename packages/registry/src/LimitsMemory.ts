/**
 * Limits for one process: token buckets in bounded memory.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Buckets } from "./internal/Buckets.ts"
import { Limits } from "./Limits.ts"

export { MAX_BUCKETS, MAX_SHARED } from "./internal/Buckets.ts"

/** What bounds the memory of limits. */
export interface Options {
  /** Most keys with a bucket of their own; default `MAX_BUCKETS`. */
  readonly maxBuckets?: number
  /** Buckets that the keys beyond share; default `MAX_SHARED`. */
  readonly maxShared?: number
}

/** Limits for one process. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const clock = yield* Clock.Clock
  const buckets = new Buckets(options.maxBuckets, options.maxShared)
  return Limits.of({
    take: (key, bucket, tokens = 1) =>
      Effect.sync(() => buckets.take(key, bucket, tokens, Number(clock.monotonicTimeNanosUnsafe()) / 1e6))
  })
})

/** Limits for one process. */
export const layer: Layer.Layer<Limits> = Layer.effect(Limits, make())
