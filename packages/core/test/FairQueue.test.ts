/**
 * Verifies: inputs that wait are bounded by bytes, and one caller cannot take all of that room; whatever callers do, places go to
 * those who have the fewest, in turn, and nobody waits for a place that may be had.
 */
import { describe, expect, test } from "bun:test"
import { FairQueue, MAX_WAITING_BYTES, PLACES_PER_FREE } from "../src/internal/FairQueue.ts"
import type { Work } from "../src/internal/Work.ts"
import type { NodeId } from "@parley/core/NodeId"
import { forRounds, fromSeed, seeded, type Seeded } from "@parley/core/testing/Seeded"

const greedy = "z6Mkgreedy" as NodeId
const modest = "z6Mkmodest" as NodeId
const body = "x".repeat(4 * 1024 * 1024)
/** What a queue looks at of a task. */
const work = (caller: NodeId, text: string): Work => ({ task: { caller }, request: { body: text } }) as unknown as Work

/** Lets a caller put in as many of the largest inputs as fit. */
const fill = (queue: FairQueue, caller: NodeId): number => {
  let count = 0
  while (queue.fits(caller, body.length) && count < 1_000) {
    queue.push(work(caller, body))
    count += 1
  }
  return count
}

describe("bytes that wait", () => {
  test("leave room for the next caller, however much one brings", () => {
    const queue = new FairQueue(4_096)
    const first = fill(queue, greedy)
    expect(first).toBeGreaterThan(8)
    expect(first * body.length).toBeLessThan(MAX_WAITING_BYTES / 4)
    expect(fill(queue, modest)).toBeGreaterThan(8)
    for (let i = 0; i < 200; i++) fill(queue, `z6Mk${i}` as NodeId)
    expect(queue.length * body.length).toBeLessThanOrEqual(MAX_WAITING_BYTES)
    // Small ones always find a place.
    expect(queue.fits("z6Mklate" as NodeId, 1_000)).toBe(true)
  })

  test("are given back as tasks begin or leave", () => {
    const { int } = fromSeed(7)
    const queue = new FairQueue(4_096)
    const waiting: Array<Work> = []
    for (let i = 0; i < 5_000; i++) {
      const step = int(3)
      if (step === 0 && waiting.length > 0) {
        const [gone] = waiting.splice(int(waiting.length), 1)
        queue.remove(gone!)
        // Once more is nothing.
        queue.remove(gone!)
      } else if (step === 1) {
        const next = queue.shift(1)
        expect(next === undefined).toBe(waiting.length === 0)
        if (next !== undefined) waiting.splice(waiting.indexOf(next), 1)
      } else {
        const one = work(`z6Mk${int(5)}` as NodeId, "y".repeat(int(100_000)))
        waiting.push(one)
        queue.push(one)
      }
      expect(queue.length).toBe(waiting.length)
    }
    while (queue.shift(1) !== undefined);
    expect(fill(queue, greedy)).toBe(fill(new FairQueue(4_096), greedy))
  })
})

/** As `expect`, in a tenth of the time. */
const must = (what: string, holds: boolean): void => {
  if (!holds) throw new Error(what)
}

/** Who runs and who waits, as an executor keeps it with a queue. */
class Places {
  readonly queue = new FairQueue(4_096)
  readonly count: number
  readonly running: Array<NodeId> = []
  readonly waiting: Array<Work> = []
  /** How often others began since a caller without a place has waited. */
  readonly #begunSince = new Map<NodeId, Map<NodeId, number>>()

  constructor(count: number) {
    this.count = count
  }
  get free(): number {
    return this.count - this.running.length
  }
  has(caller: NodeId): number {
    return this.running.filter((each) => each === caller).length
  }
  waits(caller: NodeId): boolean {
    return this.waiting.some(({ task }) => task.caller === caller)
  }
  arrive(caller: NodeId, endsAtOnce: () => boolean): void {
    if (this.queue.lets(caller, this.free)) return this.#begin(caller, endsAtOnce)
    const one = work(caller, "y")
    this.queue.push(one)
    this.waiting.push(one)
  }
  leave(at: number): void {
    const [gone] = this.waiting.splice(at, 1)
    this.queue.remove(gone!)
  }
  end(at: number, endsAtOnce: () => boolean): void {
    const [caller] = this.running.splice(at, 1)
    this.queue.gaveBack(caller!)
    for (let next = this.queue.shift(this.free); next !== undefined; next = this.queue.shift(this.free)) {
      const fewest = Math.min(...this.waiting.map(({ task }) => this.has(task.caller)))
      must("the next one has the fewest places", this.has(next.task.caller) === fewest)
      this.waiting.splice(this.waiting.indexOf(next), 1)
      this.#begin(next.task.caller, endsAtOnce)
    }
  }
  #begin(caller: NodeId, endsAtOnce: () => boolean): void {
    for (const [other, begun] of this.#begunSince) if (other !== caller) begun.set(caller, (begun.get(caller) ?? 0) + 1)
    this.#begunSince.delete(caller)
    // Some are left to others.
    must("some places are left to others", this.has(caller) < this.free * PLACES_PER_FREE)
    if (endsAtOnce()) return
    this.running.push(caller)
    this.queue.took(caller)
  }
  check(callers: ReadonlyArray<NodeId>): void {
    must("no more run than may", this.free >= 0)
    must("the queue has those who wait", this.queue.length === this.waiting.length)
    for (const caller of callers) {
      const places = this.has(caller)
      if (!this.waits(caller) || places > 0) this.#begunSince.delete(caller)
      else if (!this.#begunSince.has(caller)) this.#begunSince.set(caller, new Map())
      // Nobody waits for a place that it may have.
      must("nobody waits for a place that it may have", !this.waits(caller) || places >= this.free * PLACES_PER_FREE)
      const others = callers.some((other) => other !== caller && this.waits(other))
      must("the queue knows of others", this.queue.hasOther(caller) === others)
    }
    for (const begun of this.#begunSince.values()) {
      for (const times of begun.values())
        must("whoever has no place waits for one task of each other such caller", times === 1)
    }
  }
}

/** Callers who differ in what they want: their shares of what comes. */
const crowd = (random: Seeded, count: number): (() => NodeId) => {
  const greed = Array.from({ length: count }, () => 1 + random.int(4) ** 4)
  const all = greed.reduce((sum, each) => sum + each, 0)
  return () => {
    let at = random.int(all)
    return `z6Mk${greed.findIndex((each) => (at -= each) < 0)}` as NodeId
  }
}

describe("places", () => {
  test("go to those who have the fewest, and in turn, whatever callers want and however long they take", () => {
    const random = seeded(11)
    forRounds(random, 150, () => {
      const places = new Places(random.pick([1, 2, 3, 4, 16, 17, 40, 100]))
      const count = 1 + random.int(6)
      const next = crowd(random, count)
      const callers = Array.from({ length: count }, (_, index) => `z6Mk${index}` as NodeId)
      const arriving = random.pick([4, 6, 8])
      const endsAtOnce = (): boolean => random.int(8) === 0
      for (let step = 0; step < 300; step++) {
        const what = random.int(10)
        if (what < arriving) places.arrive(next(), endsAtOnce)
        else if (what === 9 && places.waiting.length > 0) places.leave(random.int(places.waiting.length))
        else if (places.running.length > 0) places.end(random.int(places.running.length), endsAtOnce)
        places.check(callers)
      }
    })
  })

  test("are nearly all one caller's who is alone, and then there is one for each who comes", () => {
    const never = (): boolean => false
    for (const [count, most] of [
      [1, 1],
      [2, 2],
      [16, 16],
      [17, 16],
      [34, 32],
      [256, 241]
    ] as const) {
      const places = new Places(count)
      for (let n = 0; n < 300; n++) places.arrive(greedy, never)
      expect(places.running.length).toBe(most)
      for (let n = 0; places.free > 0; n++) {
        places.arrive(`z6Mk${n}` as NodeId, never)
        expect(places.has(`z6Mk${n}` as NodeId)).toBe(1)
      }
    }
  })
})
