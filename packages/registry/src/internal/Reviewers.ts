/**
 * Who reports, by number, and how much each one's word weighs; and the seeds that weights begin with.
 *
 * Numbers are used again when nothing is left of what somebody said, but not while weights are computed that know them by number.
 */

/** Who stands in for seeds where none are configured: the first so many that showed a receipt. */
export const FOUNDERS = 8
/** Most seeds: an operator's own nodes and those of a few friends; every statement names them. */
export const MAX_SEEDS = 64

export class Reviewers {
  /** Whether the first to show receipts stand in for seeds. */
  readonly areFounders: boolean
  readonly #numbers = new Map<string, number>()
  readonly #names: Array<string | undefined> = []
  readonly #free: Array<number> = []
  readonly #givenUp: Array<number> = []
  /** What is held of each. */
  readonly #uses: Array<number> = []
  readonly #seeds: Array<string>
  #weights = new Float64Array(64)
  #holds = 0

  constructor(seeds: ReadonlyArray<string>) {
    this.#seeds = [...new Set(seeds)]
    this.areFounders = this.#seeds.length === 0
    if (this.#seeds.length > MAX_SEEDS) {
      throw new RangeError(
        `${this.#seeds.length} seeds are configured, at most ${MAX_SEEDS} may be: name those you know best`
      )
    }
    for (const seed of this.#seeds) this.#believe(seed)
  }

  get size(): number {
    return this.#numbers.size
  }
  /** One more than the highest number. */
  get count(): number {
    return this.#names.length
  }
  get seeds(): ReadonlyArray<string> {
    return this.#seeds
  }
  find(name: string): number | undefined {
    return this.#numbers.get(name)
  }
  weight(reviewer: number): number {
    return this.#weights[reviewer]!
  }

  /** The number of a name; a new one is a stranger's. */
  numberOf(name: string): number {
    const known = this.#numbers.get(name)
    if (known !== undefined) return known
    const number = this.#free.pop() ?? this.#names.length
    this.#numbers.set(name, number)
    this.#names[number] = name
    this.#uses[number] = 0
    if (number >= this.#weights.length) {
      const more = new Float64Array(this.#weights.length * 2)
      more.set(this.#weights)
      this.#weights = more
    }
    this.#weights[number] = 0
    return number
  }

  use(reviewer: number): void {
    this.#uses[reviewer]! += 1
  }

  release(reviewer: number): void {
    this.#uses[reviewer]! -= 1
    if (this.#uses[reviewer]! > 0) return
    this.#numbers.delete(this.#names[reviewer]!)
    this.#names[reviewer] = undefined
    this.#weights[reviewer] = 0
    if (this.#holds === 0) this.#free.push(reviewer)
    else this.#givenUp.push(reviewer)
  }

  /** From now on no number is used again, until as many `letGo`. */
  hold(): void {
    this.#holds += 1
  }

  letGo(): void {
    this.#holds -= 1
    if (this.#holds === 0) this.#free.push(...this.#givenUp.splice(0))
  }

  /** Puts weights into effect that were begun with the first `seeds` seeds. Who came since is a stranger, founders aside. */
  weigh(weights: Float64Array, seeds: number): void {
    const all = new Float64Array(Math.max(this.#weights.length, this.#names.length))
    all.set(weights)
    for (let number = 0; number < this.#names.length; number++) if (this.#names[number] === undefined) all[number] = 0
    for (const seed of this.#seeds.slice(seeds)) all[this.#numbers.get(seed)!] = 1
    this.#weights = all
  }

  /** Its place among the founders, if it is one. */
  founder(name: string): number | undefined {
    const place = this.areFounders ? this.#seeds.indexOf(name) : -1
    return place < 0 ? undefined : place
  }

  /** Somebody has shown a receipt: the first ones become founders. True for one that did now. */
  found(name: string): boolean {
    if (!this.areFounders || this.#seeds.length >= FOUNDERS || this.#seeds.includes(name)) return false
    this.#seeds.push(name)
    this.#believe(name)
    return true
  }

  /** Never forgotten, whatever becomes of its words. */
  #believe(name: string): void {
    const number = this.numberOf(name)
    this.#uses[number]! += 1
    this.#weights[number] = 1
  }
}
