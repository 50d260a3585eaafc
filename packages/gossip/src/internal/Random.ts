/** Randomness that is part of a machine's state: one seed gives one run. Not for secrets. */
export class Random {
  #state: number

  /** `seed`: any number; its 32 lowest bits count. */
  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1): mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** An integer in [0, below). */
  int(below: number): number {
    return Math.floor(this.next() * below)
  }

  /** One of them; undefined of none. */
  pick<A>(items: ReadonlyArray<A>): A | undefined {
    return items[this.int(items.length)]
  }

  /** Up to `count` of them, in random order. May change the array. */
  sample<A>(items: Array<A>, count: number): Array<A> {
    const many = Math.min(count, items.length)
    for (let i = 0; i < many; i++) {
      const j = i + this.int(items.length - i)
      const one = items[i]!
      items[i] = items[j]!
      items[j] = one
    }
    items.length = many
    return items
  }

  /** So many ms, give or take a quarter, so that nodes do not keep step. */
  about(ms: number): number {
    return ms * (0.75 + 0.5 * this.next())
  }
}
