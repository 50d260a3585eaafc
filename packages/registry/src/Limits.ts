/**
 * Limits: how often an identity or an address may do something. A token bucket per key; with Redis, over all instances.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"

/** A token bucket. */
export interface Bucket {
  /** Tokens that come back in a second. */
  readonly perSecond: number
  /** Most tokens that gather. */
  readonly burst: number
}

/** How often something may be done. */
export class Limits extends Context.Service<
  Limits,
  {
    /**
     * Takes `tokens` (default 1) from a bucket: 0 when it may go on, else milliseconds until it may. Never fails: where the shared
     * store does not answer, this instance counts alone.
     */
    readonly take: (key: string, bucket: Bucket, tokens?: number) => Effect.Effect<number>
  }
>()("@parley/registry/Limits") {}
