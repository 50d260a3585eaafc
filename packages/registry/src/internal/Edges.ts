/**
 * Who has said what about whom: one edge for each agent, capability and reviewer, in columns of numbers, so that a million of them fit
 * and are walked quickly.
 *
 * Two rings keep them in the order of their last report, those with a receipt and those without one: each kind gives up its own
 * oldest where there is no room, so that words without receipts push out none that have one.
 */
import { left } from "./Decay.ts"
import { REVIEWER_CAP, SCALE, UNATTESTED, UNATTESTED_CAP } from "./Evidence.ts"

/** No edge. */
export const NONE = -1
const FIRST_CAPACITY = 1_024

/** The end of a ring: its oldest edge follows it, its newest stands before it. */
type Ring = 0 | 1
const RINGS = 2

export class Edges {
  /** Which subject (agent and capability), and which reviewer. */
  subject = new Int32Array(FIRST_CAPACITY)
  reviewer = new Int32Array(FIRST_CAPACITY)
  /** Decayed sums of what spoke for the agent and against it, as of `step`. */
  good = new Float64Array(FIRST_CAPACITY)
  bad = new Float64Array(FIRST_CAPACITY)
  step = new Int32Array(FIRST_CAPACITY)
  /** Reports, and how many of them had a receipt. */
  reports = new Float64Array(FIRST_CAPACITY)
  attested = new Float64Array(FIRST_CAPACITY)
  /** The next edge of the same reviewer about the same agent. */
  sibling = new Int32Array(FIRST_CAPACITY)
  #older = new Int32Array(FIRST_CAPACITY)
  #newer = new Int32Array(FIRST_CAPACITY)
  /** The first two places are the rings' ends. */
  #used = RINGS
  readonly #free: Array<number> = []
  readonly #count: [number, number] = [0, 0]

  constructor() {
    for (let ring = 0; ring < RINGS; ring++) this.#older[ring] = this.#newer[ring] = ring
  }

  /** How many have a receipt, or have none. */
  count(withReceipt: boolean): number {
    return this.#count[ringOf(withReceipt)]
  }

  /** A new edge, newest of its kind. */
  add(subject: number, reviewer: number, withReceipt: boolean): number {
    const edge = this.#free.pop() ?? this.#used++
    if (edge >= this.subject.length) this.#grow()
    this.subject[edge] = subject
    this.reviewer[edge] = reviewer
    this.good[edge] = this.bad[edge] = this.reports[edge] = this.attested[edge] = this.step[edge] = 0
    this.sibling[edge] = NONE
    this.#join(edge, ringOf(withReceipt))
    return edge
  }

  /** It was the last to get a report; its kind may have changed with it. */
  touch(edge: number, hadReceipt: boolean, withReceipt: boolean): void {
    this.#leave(edge, ringOf(hadReceipt))
    this.#join(edge, ringOf(withReceipt))
  }

  /** Takes a report in. More than the cap makes what was said before count less. */
  learn(edge: number, quality: number, isAttested: boolean, step: number): void {
    const weight = isAttested ? 1 : UNATTESTED
    const fades = left(step - this.step[edge]!)
    if (isAttested) this.attested[edge]! += 1
    this.reports[edge]! += 1
    const good = this.good[edge]! * fades + weight * quality
    const bad = this.bad[edge]! * fades + weight * (1 - quality)
    const most = Math.min(REVIEWER_CAP, this.attested[edge]! + UNATTESTED_CAP)
    const shrinks = good + bad > most ? most / (good + bad) : 1
    this.good[edge] = good * shrinks
    this.bad[edge] = bad * shrinks
    this.step[edge] = step
  }

  /** The share of a reviewer's edges about one agent that counts, by the first of them: the cap is for all together. */
  share(first: number): number {
    if (this.sibling[first] === NONE) return 1
    let last = 0
    for (let edge = first; edge !== NONE; edge = this.sibling[edge]!) last = Math.max(last, this.step[edge]!)
    let total = 0
    // Siblings stand in the order in which they came to be, not in that of their reports: whole numbers do not mind.
    for (let edge = first; edge !== NONE; edge = this.sibling[edge]!)
      total += Math.round((this.good[edge]! + this.bad[edge]!) * left(last - this.step[edge]!) * SCALE)
    return Math.min(1, (REVIEWER_CAP * SCALE) / total)
  }

  remove(edge: number): void {
    this.#leave(edge, ringOf(this.attested[edge]! > 0))
    this.#free.push(edge)
  }

  /** The one of its kind that got no report for the longest; `NONE` where there is none. */
  oldest(withReceipt: boolean): number {
    const first = this.#newer[ringOf(withReceipt)]!
    return first < RINGS ? NONE : first
  }

  /** The one after it, by last report; `NONE` at the end. */
  after(edge: number): number {
    const next = this.#newer[edge]!
    return next < RINGS ? NONE : next
  }

  #join(edge: number, ring: Ring): void {
    const newest = this.#older[ring]!
    this.#newer[newest] = edge
    this.#older[edge] = newest
    this.#newer[edge] = ring
    this.#older[ring] = edge
    this.#count[ring] += 1
  }

  #leave(edge: number, ring: Ring): void {
    this.#newer[this.#older[edge]!] = this.#newer[edge]!
    this.#older[this.#newer[edge]!] = this.#older[edge]!
    this.#count[ring] -= 1
  }

  #grow(): void {
    const size = this.subject.length * 2
    const ints = (from: Int32Array<ArrayBuffer>) => {
      const to = new Int32Array(size)
      to.set(from)
      return to
    }
    const floats = (from: Float64Array<ArrayBuffer>) => {
      const to = new Float64Array(size)
      to.set(from)
      return to
    }
    this.subject = ints(this.subject)
    this.reviewer = ints(this.reviewer)
    this.step = ints(this.step)
    this.sibling = ints(this.sibling)
    this.#older = ints(this.#older)
    this.#newer = ints(this.#newer)
    this.good = floats(this.good)
    this.bad = floats(this.bad)
    this.reports = floats(this.reports)
    this.attested = floats(this.attested)
  }
}

const ringOf = (withReceipt: boolean): Ring => (withReceipt ? 0 : 1)
