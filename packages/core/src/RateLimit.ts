/**
 * RateLimit: token buckets, one per key, so that a source which asks too much waits alone. A burst of one second's worth unless told
 * otherwise, refilled at the rate. Times are in ms of a clock that never goes back.
 */

/** Keys remembered; past it the one first seen begins with a full bucket. */
const MAX_KEYS = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** A limit per key: `perSecond` tokens on average, `burst` at once. */
export class RateLimit {
  readonly #buckets = new Map<string, Bucket>()
  readonly #perSecond: number
  readonly #burst: number

  constructor(perSecond: number, burst: number = perSecond) {
    this.#perSecond = perSecond
    this.#burst = Math.max(1, burst)
  }

  /** Takes a whole token. Zero when there was one, else the milliseconds until there will be. */
  take(key: string, now: number): number {
    const bucket = this.#bucket(key, now)
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1
      return 0
    }
    return Math.max(1, Math.ceil(((1 - bucket.tokens) * 1000) / this.#perSecond))
  }

  /** Whether anything is left, for what is charged when its cost is known. */
  has(key: string, now: number): boolean {
    return this.#bucket(key, now).tokens > 0
  }

  /** Takes so many tokens where any is there, so that what is dear costs the time after it; false where none is. */
  spend(key: string, tokens: number, now: number): boolean {
    const bucket = this.#bucket(key, now)
    if (bucket.tokens <= 0) return false
    bucket.tokens -= tokens
    return true
  }

  /** Milliseconds until anything is left. */
  wait(key: string, now: number): number {
    const { tokens } = this.#bucket(key, now)
    return tokens > 0 ? 0 : Math.ceil((-tokens * 1000) / this.#perSecond) + 1
  }

  /** Charges so many tokens, whether or not they are there. */
  charge(key: string, tokens: number, now: number): void {
    this.#bucket(key, now).tokens -= tokens
  }

  #bucket(key: string, now: number): Bucket {
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      bucket = { tokens: this.#burst, at: now }
      this.#buckets.set(key, bucket)
      if (this.#buckets.size > MAX_KEYS) {
        const oldest = this.#buckets.keys().next()
        if (oldest.done !== true) this.#buckets.delete(oldest.value)
      }
    } else if (now > bucket.at) {
      bucket.tokens = Math.min(this.#burst, bucket.tokens + ((now - bucket.at) * this.#perSecond) / 1000)
      bucket.at = now
    }
    return bucket
  }
}
