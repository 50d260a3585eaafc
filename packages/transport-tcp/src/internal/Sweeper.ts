/**
 * Sweeper: the one timer of all sessions of a node, which has each look after itself now and then.
 *
 * Sessions are dealt out to slots that come round one after the other, so that thousands of them never ask for their peers'
 * signs of life at the same moment.
 */
import type { SessionLimits } from "../Limits.ts"

/** Slots of a round; the timer wakes for each. */
const SLOTS = 32
/** Shortest time between two slots, in ms. */
const LEAST_MS = 5

/** What is swept: `slot` belongs to the sweeper. */
export interface Swept {
  slot: number
  /** Called once a round: three times in the shortest of the limits. */
  tick(now: number): void
}

export class Sweeper {
  readonly #slots: ReadonlyArray<Set<Swept>>
  readonly #everyMs: number
  #timer: ReturnType<typeof setInterval> | undefined
  #size = 0
  #next = 0
  #due = 0

  constructor({ deadAfterMs, keepaliveMs, stallTimeoutMs }: SessionLimits) {
    const round = Math.max(LEAST_MS, Math.min(keepaliveMs, deadAfterMs, stallTimeoutMs) / 3)
    const slots = Math.max(1, Math.min(SLOTS, Math.floor(round / LEAST_MS)))
    this.#slots = Array.from({ length: slots }, () => new Set<Swept>())
    this.#everyMs = round / slots
  }

  add(swept: Swept): void {
    swept.slot = this.#next
    this.#next = (this.#next + 1) % this.#slots.length
    this.#slots[swept.slot]!.add(swept)
    this.#size++
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => this.#sweep(), this.#everyMs)
    this.#timer.unref()
  }

  remove(swept: Swept): void {
    if (this.#slots[swept.slot]?.delete(swept) !== true || --this.#size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #sweep(): void {
    const now = performance.now()
    const due = this.#slots[this.#due]!
    this.#due = (this.#due + 1) % this.#slots.length
    for (const swept of due) swept.tick(now)
  }
}
