/**
 * Turns: a rate that is shared by all who ask, where keys cost nothing. Who is refused has a turn kept for when it asks again,
 * after those who were refused before it: however many others come, and however often they ask, it waits for no one who came later.
 */

/** How many turns there are at once, and in a second. */
export interface Rate {
  readonly atOnce: number
  readonly perSecond: number
}

/** Who was refused and has no turn yet; more are refused as if they had never asked. */
const MAX_WAITING = 4_096

/** The turns of those who ask; whoever has gone is to be forgotten. */
export class Turns<K> {
  readonly #rate: Rate
  /** In the order in which they were refused. */
  readonly #waiting = new Set<K>()
  /** Those with a turn kept for them. */
  readonly #kept = new Set<K>()
  #free: number
  #at: number

  /** `now`: ms of a clock that never goes back, as everywhere here. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate
    this.#free = rate.atOnce
    this.#at = now
  }

  /** Takes a turn. `hasRoom`: whether anything can come of it now; without, its turn is kept. */
  take(who: K, now: number, hasRoom = true): boolean {
    this.#refill(now)
    if (hasRoom && this.#kept.delete(who)) return true
    // Some are only left where nobody waits.
    if (hasRoom && this.#free >= 1) {
      this.#free -= 1
      return true
    }
    if (!this.#kept.has(who) && this.#waiting.size < MAX_WAITING) this.#waiting.add(who)
    return false
  }

  /** It has gone: its turn is another one's. */
  forget(who: K): void {
    this.#waiting.delete(who)
    if (this.#kept.delete(who)) this.#free += 1
  }

  #refill(now: number): void {
    this.#free += ((now - this.#at) * this.#rate.perSecond) / 1_000
    this.#at = now
    for (const who of this.#waiting) {
      if (this.#free < 1) break
      this.#free -= 1
      this.#waiting.delete(who)
      this.#kept.add(who)
    }
    this.#free = Math.min(this.#rate.atOnce, this.#free)
  }
}
