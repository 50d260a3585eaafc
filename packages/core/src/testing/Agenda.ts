/**
 * Agenda: what is due in simulated time, earliest first, and in the order of adding where times are equal.
 *
 * A wheel of one slot a millisecond, so that adding and taking cost the same with a million entries as with ten.
 */

interface Entry<Item> {
  readonly at: number
  readonly order: number
  readonly item: Item
}

/** Slots of the wheel: what is due later than so many ms from now waits aside, which is rare. A power of two. */
const SLOTS = 1 << 16
const MASK = SLOTS - 1

const earlier = <Item>(a: Entry<Item>, b: Entry<Item>): number => a.at - b.at || a.order - b.order

/** What is due, and when. */
export class Agenda<Item> {
  readonly #wheel: Array<Array<Entry<Item>> | undefined> = Array.from({ length: SLOTS })
  /** Beyond the wheel, in no order. */
  #aside: Array<Entry<Item>> = []
  /** When the earliest of those enters the wheel. */
  #asideAt = Infinity
  /** The slot that is being emptied, sorted, and how far. */
  #slot: Array<Entry<Item>> = []
  #next = 0
  #tick = 0
  #order = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Adds what is due at `at`, which is no earlier than what was taken last. */
  add(at: number, item: Item): void {
    const entry = { at, order: this.#order++, item }
    this.#size++
    this.#place(entry)
  }

  /** Takes what is due next, no later than `until`. */
  take(until: number): Item | undefined {
    for (;;) {
      const entry = this.#slot[this.#next]
      if (entry !== undefined) {
        if (entry.at > until) return undefined
        this.#next++
        this.#size--
        this.#now = entry.at
        return entry.item
      }
      if (this.#size === 0 || this.#tick >= Math.floor(until)) return undefined
      this.#turn()
    }
  }

  /** When what was taken last was due. */
  get now(): number {
    return this.#now
  }
  #now = 0

  #place(entry: Entry<Item>): void {
    const tick = Math.floor(entry.at)
    if (tick <= this.#tick) {
      // Into the slot being emptied, behind all that is due no later.
      const slot = this.#slot
      let i = slot.length
      while (i > this.#next && earlier(entry, slot[i - 1]!) < 0) i--
      if (i === slot.length) slot.push(entry)
      else slot.splice(i, 0, entry)
      return
    }
    if (tick - this.#tick >= SLOTS) {
      this.#aside.push(entry)
      this.#asideAt = Math.min(this.#asideAt, tick - SLOTS + 1)
      return
    }
    const slot = this.#wheel[tick & MASK]
    if (slot === undefined) this.#wheel[tick & MASK] = [entry]
    else slot.push(entry)
  }

  #turn(): void {
    this.#tick++
    this.#slot = this.#wheel[this.#tick & MASK] ?? []
    this.#wheel[this.#tick & MASK] = undefined
    this.#next = 0
    if (this.#tick >= this.#asideAt) {
      const aside = this.#aside
      this.#aside = []
      this.#asideAt = Infinity
      for (const entry of aside) this.#place(entry)
    }
    if (this.#slot.length > 1) this.#slot.sort(earlier)
  }
}
