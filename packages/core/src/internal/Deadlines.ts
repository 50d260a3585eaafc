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

/** Something that is due at some time: the wheel's own entry, so that a task needs no other object for its deadline. */
export abstract class Timed {
  next: Timed | undefined
  previous: Timed | undefined
  slot = 0
  /** Turns of the wheel that it still waits; -1 while it is on no wheel. */
  rounds = -1

  abstract onDue(): void
}

class Timer extends Timed implements Entry {
  readonly #wheel: Deadlines
  readonly #fire: () => void

  constructor(wheel: Deadlines, fire: () => void) {
    super()
    this.#wheel = wheel
    this.#fire = fire
  }
  cancel(): void {
    this.#wheel.drop(this)
  }
  onDue(): void {
    this.#fire()
  }
}

/** A wheel. It holds a timer only while something is pending. */
export class Deadlines {
  readonly #slots: Array<Timed | undefined> = Array.from({ length: SLOTS })
  /** What comes after the one that is told now, which may drop others. */
  #following: Timed | undefined
  #count = 0
  #tick = 0
  #startedAt = 0
  #timer: ReturnType<typeof setInterval> | undefined

  /** Calls `fire` after `ms` milliseconds, unless cancelled. */
  after(ms: number, fire: () => void): Entry {
    const timer = new Timer(this, fire)
    this.add(timer, ms, performance.now())
    return timer
  }

  /** Calls `onDue` of what is on no wheel, `ms` milliseconds after `now` (`performance.now()`), unless it is dropped. */
  add(timed: Timed, ms: number, now: number): void {
    if (this.#timer === undefined) {
      this.#startedAt = now
      this.#tick = 0
      this.#timer = setInterval(() => this.#advance(), TICK_MS)
    }
    const elapsed = now - this.#startedAt
    const due = Math.max(Math.floor((elapsed + Math.min(ms, LONGEST_MS)) / TICK_MS) + 1, this.#tick + 1)
    const slot = due % SLOTS
    timed.slot = slot
    timed.rounds = Math.floor((due - this.#tick - 1) / SLOTS)
    const first = this.#slots[slot]
    if (first !== undefined) {
      first.previous = timed
      timed.next = first
    }
    this.#slots[slot] = timed
    this.#count += 1
  }

  /** How many are pending. */
  get pending(): number {
    return this.#count
  }

  /** All that is pending, in no order. */
  list(): Array<Timed> {
    const all: Array<Timed> = []
    for (let timed of this.#slots) for (; timed !== undefined; timed = timed.next) all.push(timed)
    return all
  }

  /** Takes it off the wheel, where it is on it. */
  drop(timed: Timed): void {
    if (timed.rounds < 0) return
    timed.rounds = -1
    if (timed.next !== undefined) timed.next.previous = timed.previous
    if (timed.previous === undefined) this.#slots[timed.slot] = timed.next
    else timed.previous.next = timed.next
    if (this.#following === timed) this.#following = timed.next
    // An entry that points on to others, and has grown old, would keep them from the collector of young objects.
    timed.next = undefined
    timed.previous = undefined
    this.#count -= 1
  }

  #advance(): void {
    const now = Math.floor((performance.now() - this.#startedAt) / TICK_MS)
    while (this.#tick < now) {
      this.#tick += 1
      let timed = this.#slots[this.#tick % SLOTS]
      while (timed !== undefined) {
        this.#following = timed.next
        if (timed.rounds > 0) timed.rounds -= 1
        else if (timed.rounds === 0) {
          this.drop(timed)
          timed.onDue()
        }
        timed = this.#following
      }
    }
    if (this.#count === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }
}
