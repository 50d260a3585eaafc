/**
 * Token buckets, one per source: how much a source may cost this node. What is charged may exceed what is there, so that a
 * dear thing costs the time after it.
 */

/** Sources remembered: past it the one that was first seen begins anew. */
const MAX_SOURCES = 10_000

interface Bucket {
  tokens: number
  at: number
}

/** A limit per source. */
export class Buckets {
  readonly #buckets = new Map<string, Bucket>()
  readonly #perMs: number
  readonly #burst: number

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1_000
    this.#burst = burst
  }

  /** Takes so many tokens where there are any; false, and nothing taken, where there are none. */
  take(source: string, tokens: number, now: number): boolean {
    const bucket = this.#bucket(source, now)
    if (bucket.tokens <= 0) return false
    bucket.tokens -= tokens
    return true
  }

  /** Whether any token is there. */
  has(source: string, now: number): boolean {
    return this.#bucket(source, now).tokens > 0
  }

  /** Milliseconds until there is a token again. */
  wait(source: string, now: number): number {
    const { tokens } = this.#bucket(source, now)
    return tokens > 0 ? 0 : Math.ceil(-tokens / this.#perMs) + 1
  }

  /** Takes tokens whether or not they are there. */
  charge(source: string, tokens: number, now: number): void {
    this.#bucket(source, now).tokens -= tokens
  }

  forget(source: string): void {
    this.#buckets.delete(source)
  }

  get size(): number {
    return this.#buckets.size
  }

  #bucket(source: string, now: number): Bucket {
    const known = this.#buckets.get(source)
    if (known !== undefined) {
      if (now > known.at) {
        known.tokens = Math.min(this.#burst, known.tokens + (now - known.at) * this.#perMs)
        known.at = now
      }
      return known
    }
    const bucket = { tokens: this.#burst, at: now }
    this.#buckets.set(source, bucket)
    if (this.#buckets.size > MAX_SOURCES) {
      const oldest = this.#buckets.keys().next()
      if (oldest.done !== true) this.#buckets.delete(oldest.value)
    }
    return bucket
  }
}
