/** Who has announced what at this DHT node: NodeIds by the hash that they announced, each for a while. */
import { Buffer } from "node:buffer"
import { randomInt } from "node:crypto"

/** How long an announcement counts without being renewed, in milliseconds (30 min, as BEP 5's implementations do). */
export const ANNOUNCED_MS = 1_800_000
/** Hashes that a node keeps announcements of: about 25 MB with `MAX_KEPT`. Past it, the one longest untouched goes. */
export const MAX_HASHES = 10_000
/** Announcements of one hash; past it, the oldest goes: an answer tells few of them in any case. */
export const MAX_OF_HASH = 256
/** Announcements that one host may have under one hash: some nodes behind one NAT, and no flood. */
export const MAX_OF_HOST = 16
/** Announcements in all. */
export const MAX_KEPT = 100_000

interface Announced {
  readonly key: Buffer
  readonly host: string
  readonly until: number
}

/** Announcements, in memory, bounded. */
export class Announcers {
  readonly #byHash = new Map<string, Map<string, Announced>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Notes or renews one; false when that host has too many under this hash. */
  add(hash: string, key: Uint8Array, host: string, now: number): boolean {
    const all = this.#byHash.get(hash) ?? new Map<string, Announced>()
    const name = Buffer.from(key).toString("latin1")
    const old = all.get(name)
    if (old === undefined || old.host !== host) {
      let ofHost = 0
      for (const one of all.values()) if (one.host === host && one.until > now) ofHost++
      if (ofHost >= MAX_OF_HOST) return false
    }
    if (all.delete(name)) this.#size--
    all.set(name, { key: Buffer.from(key), host, until: now + ANNOUNCED_MS })
    this.#size++
    // The last touched stands last, in both maps.
    this.#byHash.delete(hash)
    this.#byHash.set(hash, all)
    if (all.size > MAX_OF_HASH) this.#drop(all)
    while (this.#byHash.size > MAX_HASHES || this.#size > MAX_KEPT) this.#forgetOldest()
    return true
  }

  /** Some of those announced under a hash, at random; at most `most`. */
  sample(hash: string, most: number, now: number): ReadonlyArray<Buffer> {
    const all = this.#byHash.get(hash)
    if (all === undefined) return []
    const live: Array<Buffer> = []
    for (const [name, one] of all) {
      if (one.until > now) live.push(one.key)
      else if (all.delete(name)) this.#size--
    }
    if (all.size === 0) this.#byHash.delete(hash)
    for (let i = 0; i < Math.min(most, live.length - 1); i++) {
      const other = randomInt(i, live.length)
      const one = live[i]!
      live[i] = live[other]!
      live[other] = one
    }
    return live.slice(0, most)
  }

  #drop(all: Map<string, Announced>): void {
    const oldest = all.keys().next()
    if (oldest.done !== true && all.delete(oldest.value)) this.#size--
  }
  #forgetOldest(): void {
    const oldest = this.#byHash.keys().next()
    if (oldest.done === true) return
    this.#size -= this.#byHash.get(oldest.value)?.size ?? 0
    this.#byHash.delete(oldest.value)
  }
}
