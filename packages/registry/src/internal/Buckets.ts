/**
 * Token buckets by key, in plain code and bounded memory.
 *
 * A bucket is one number (GCRA, ITU-T I.371): the time at which it is full again. Who takes a token pushes that time away by what
 * one token takes to come back; he may as long as it stays within what a whole burst takes. A bucket that is full is
 * the same as none, so only such are let go: nobody gets his tokens back by filling the table with other keys. Where
 * every bucket is in use, new keys share `MAX_SHARED` buckets by their hash, until some are full again; keys of different
 * rates never share one.
 */
import type { Bucket } from "../Limits.ts"

/** Most buckets of their own: 100,000 keys that all did something within their refill time. About 16 MB. */
export const MAX_BUCKETS = 100_000
/** Buckets that the keys beyond share, for each rate. */
export const MAX_SHARED = 4_096
/** Buckets that are looked at in each call, to let go of full ones. */
const SWEEP = 2
/** Buckets that are looked at for a new key when there is no room. */
const SWEEP_FULL = 64

/** FNV-1a over UTF-16 units. */
const hash = (key: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193)
  return h >>> 0
}

/** Token buckets; `now` is given, in milliseconds of a clock that does not jump. */
export class Buckets {
  readonly #fullAt = new Map<string, number>()
  readonly #shared = new Map<number, Float64Array>()
  readonly #max: number
  readonly #maxShared: number
  #walk: Iterator<[string, number]>

  constructor(max = MAX_BUCKETS, shared = MAX_SHARED) {
    this.#max = max
    this.#maxShared = shared
    this.#walk = this.#fullAt.entries()
  }

  /** How many keys have a bucket of their own. */
  get size(): number {
    return this.#fullAt.size
  }

  /** 0 when it may go on, else milliseconds until it may. */
  take(key: string, bucket: Bucket, tokens: number, now: number): number {
    this.#sweep(SWEEP, now)
    const own = this.#fullAt.get(key)
    if (own === undefined && this.#fullAt.size >= this.#max) {
      this.#sweep(SWEEP_FULL, now)
      if (this.#fullAt.size >= this.#max) {
        const shared = this.#sharedAt(bucket.perSecond)
        const at = hash(key) % shared.length
        return this.#count(shared[at]!, bucket, tokens, now, (fullAt) => (shared[at] = fullAt))
      }
    }
    return this.#count(own ?? 0, bucket, tokens, now, (fullAt) => this.#fullAt.set(key, fullAt))
  }

  #sharedAt(perSecond: number): Float64Array {
    let shared = this.#shared.get(perSecond)
    if (shared === undefined) this.#shared.set(perSecond, (shared = new Float64Array(this.#maxShared)))
    return shared
  }

  #count(before: number, bucket: Bucket, tokens: number, now: number, keep: (fullAt: number) => void): number {
    const each = 1_000 / bucket.perSecond
    const fullAt = Math.max(now, before) + Math.min(tokens, bucket.burst) * each
    const wait = fullAt - bucket.burst * each - now
    // A hair of a millisecond is rounding, not debt.
    if (wait > 0.001) return Math.max(1, Math.ceil(wait))
    keep(fullAt)
    return 0
  }

  /** A Map's iterator goes on over what is set meanwhile; at the end it begins anew. */
  #sweep(count: number, now: number): void {
    for (let n = count; n > 0; n--) {
      const next = this.#walk.next()
      if (next.done === true) {
        this.#walk = this.#fullAt.entries()
        return
      }
      if (next.value[1] <= now) this.#fullAt.delete(next.value[0])
    }
  }
}
