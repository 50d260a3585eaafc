/**
 * One timer for all deadlines: a hashed wheel (Varghese and Lauck, 1987), so that a call costs no timer of its own.
 *
 * A deadline fires up to one tick late, never early.
 */

/** Length of a tick: finer than the deadlines people set, coarse enough to cost nothing. */
export const TICK_MS = 10
const SLOTS = 512
/** Longest time that is told from forever, in ms: a hundred years. */
const LONGEST_MS = 3_155_760_000_000

/** A pending deadline. */
export interface Entry {
  cancel(): void
}

class Pending implements Entry {
  next: Pending | undefined
  previous: Pending | undefined
  readonly #wheel: Deadlines
  readonly slot: number
  rounds: number
  readonly fire: () => void

  constructor(wheel: Deadlines, slot: number, rounds: number, fire: () => void) {
    this.#wheel = wheel
    this.slot = slot
    this.rounds = rounds
    this.fire = fire
  }
  cancel(): void {
    this.#wheel.drop(this)
  }
}

/** A wheel. It holds a timer only while something is pending. */
export class Deadlines {
  readonly #slots: Array<Pending | undefined> = Array.from({ length: SLOTS })
  #count = 0
  #tick = 0
  #startedAt = 0
  #timer: ReturnType<typeof setInterval> | undefined

  /** Calls `fire` after `ms` milliseconds, unless cancelled. */
  after(ms: number, fire: () => void): Entry {
    if (this.#timer === undefined) {
      this.#startedAt = performance.now()
      this.#tick = 0
      this.#timer = setInterval(() => this.#advance(), TICK_MS)
    }
    const elapsed = performance.now() - this.#startedAt
    const due = Math.max(Math.floor((elapsed + Math.min(ms, LONGEST_MS)) / TICK_MS) + 1, this.#tick + 1)
    const slot = due % SLOTS
    const pending = new Pending(this, slot, Math.floor((due - this.#tick - 1) / SLOTS), fire)
    const first = this.#slots[slot]
    if (first !== undefined) {
      first.previous = pending
      pending.next = first
    }
    this.#slots[slot] = pending
    this.#count += 1
    return pending
  }

  /** How many are pending. */
  get pending(): number {
    return this.#count
  }

  drop(pending: Pending): void {
    if (pending.rounds < 0) return
    pending.rounds = -1
    if (pending.next !== undefined) pending.next.previous = pending.previous
    if (pending.previous === undefined) this.#slots[pending.slot] = pending.next
    else pending.previous.next = pending.next
    // An entry that points on to others, and has grown old, would keep them from the collector of young objects.
    pending.next = undefined
    pending.previous = undefined
    this.#count -= 1
  }

  #advance(): void {
    const now = Math.floor((performance.now() - this.#startedAt) / TICK_MS)
    while (this.#tick < now) {
      this.#tick += 1
      let pending = this.#slots[this.#tick % SLOTS]
      while (pending !== undefined) {
        const next: Pending | undefined = pending.next
        if (pending.rounds > 0) pending.rounds -= 1
        else if (pending.rounds === 0) {
          this.drop(pending)
          pending.fire()
        }
        pending = next
      }
    }
    if (this.#count === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}
