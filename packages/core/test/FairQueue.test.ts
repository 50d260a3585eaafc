/** Verifies: inputs that wait are bounded by bytes, and one caller cannot take all of that room. */
import { describe, expect, test } from "bun:test"
import { FairQueue, MAX_WAITING_BYTES } from "../src/internal/FairQueue.ts"
import type { Work } from "../src/internal/Work.ts"
import type { NodeId } from "@parley/core/NodeId"
import { fromSeed } from "@parley/core/testing/Seeded"

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
        const next = queue.shift()
        expect(next === undefined).toBe(waiting.length === 0)
        if (next !== undefined) waiting.splice(waiting.indexOf(next), 1)
      } else {
        const one = work(`z6Mk${int(5)}` as NodeId, "y".repeat(int(100_000)))
        waiting.push(one)
        queue.push(one)
      }
      expect(queue.length).toBe(waiting.length)
    }
    while (queue.shift() !== undefined);
    expect(fill(queue, greedy)).toBe(fill(new FairQueue(4_096), greedy))
  })
})
