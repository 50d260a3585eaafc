import { describe, expect, test } from "bun:test"
import { StreamTable } from "../src/internal/StreamTable.ts"

describe("StreamTable", () => {
  test("holds what a Map would, whatever is added and removed in which order", () => {
    const table = new StreamTable<{ readonly id: number }>()
    const model = new Map<number, { readonly id: number }>()
    let seed = 0x51ed
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
      return Math.floor((seed / 2 ** 32) * below)
    }
    for (let step = 0; step < 20_000; step++) {
      const id = random(600) + (step % 3 === 0 ? 0xffff_fd00 : 1)
      if (model.has(id)) {
        table.delete(id)
        model.delete(id)
      } else if (random(2) === 0) {
        const stream = { id }
        table.add(stream)
        model.set(id, stream)
      } else {
        table.delete(id)
      }
      expect(table.size).toBe(model.size)
      const other = random(600) + 1
      expect(table.get(other)).toBe(model.get(other))
    }
    expect(new Set(table.values())).toEqual(new Set(model.values()))
    for (const [id, stream] of model) expect(table.get(id)).toBe(stream)
    table.clear()
    expect(table.size).toBe(0)
    expect(table.values()).toEqual([])
    for (const id of model.keys()) expect(table.get(id)).toBeUndefined()
  })

  test("has grown for a peer's thousands of streams, and is small again when they are gone", () => {
    const table = new StreamTable<{ readonly id: number }>()
    for (let id = 2; id <= 8_192; id += 2) table.add({ id })
    expect(table.room).toBeGreaterThanOrEqual(8_192)
    for (let id = 2; id < 8_192; id += 2) table.delete(id)
    expect(table.get(8_192)).toEqual({ id: 8_192 })
    table.delete(8_192)
    expect(table.size).toBe(0)
    expect(table.room).toBeLessThanOrEqual(256)
    table.add({ id: 7 })
    expect(table.get(7)).toEqual({ id: 7 })
    expect(table.values()).toEqual([{ id: 7 }])
  })
})
