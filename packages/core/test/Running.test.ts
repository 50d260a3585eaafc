/** Verifies: the table of running tasks against a Map, and ids of tasks as text and as hashes. */
import { describe, expect, test } from "bun:test"
import type { NodeId } from "@parley/core/NodeId"
import { type Entry, Running } from "../src/internal/Running.ts"
import * as TaskId from "../src/internal/TaskId.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

interface Task extends Entry<Task> {}

const caller = (n: number): NodeId => `z6Mk${String(n).padStart(44, "a")}` as NodeId

describe("Running", () => {
  test("holds what a map would hold", () => {
    const random = seeded(0x2a11)
    forRounds(random, 20, () => {
      const running = new Running<Task>()
      const model = new Map<string, Task>()
      const most = 1 + random.int(600)
      for (let i = 0; i < 4_000; i++) {
        // Mostly growing at first, mostly shrinking later.
        const id = new TaskId.TaskId(random.int(2), 0, random.int(most) << 20, 7)
        const by = caller(random.int(3))
        const key = `${by} ${id.hex}`
        const known = model.get(key)
        expect(running.get(by, id)).toBe(known)
        if (known === undefined && random.int(4_000) > i) {
          const task: Task = { caller: by, id, next: undefined }
          running.add(task)
          model.set(key, task)
          expect(running.has(task)).toBe(true)
        } else if (known !== undefined && random.int(4_000) < i) {
          expect(running.delete(known)).toBe(true)
          expect(running.delete(known)).toBe(false)
          expect(running.has(known)).toBe(false)
          expect(known.next).toBeUndefined()
          model.delete(key)
        }
        expect(running.size).toBe(model.size)
      }
      expect(new Set(running.list())).toEqual(new Set(model.values()))
    })
  })
})

describe("TaskId", () => {
  test("is read from bytes and shown as hex", () => {
    const random = seeded(0x1d)
    forRounds(random, 1_000, () => {
      const bytes = random.bytes(24)
      const id = TaskId.read(bytes, 5)
      expect(id.hex).toBe(Buffer.from(bytes.subarray(5, 21)).toString("hex"))
      expect(id.same(TaskId.read(bytes, 5))).toBe(true)
      const other = Uint8Array.from(bytes)
      other[5 + random.int(16)]! ^= 1 << random.int(8)
      expect(id.same(TaskId.read(other, 5))).toBe(false)
    })
  })

  test("ids that differ in few bits, wherever, fall apart", () => {
    for (const of of [
      (n: number) => new TaskId.TaskId(n, 0, 0, 0),
      (n: number) => new TaskId.TaskId(0, n << 18, 0, 0),
      (n: number) => new TaskId.TaskId(n << 31, n << 16, n, n >>> 1),
      (n: number) => new TaskId.TaskId(n, n, n, n)
    ]) {
      const buckets = new Int32Array(4_096)
      for (let n = 0; n < 4_096; n++) buckets[TaskId.hash(of(n)) >>> 20]! += 1
      // By chance a dozen at most; what lines up would have hundreds.
      expect(Math.max(...buckets)).toBeLessThan(64)
    }
  })
})
