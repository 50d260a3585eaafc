import { describe, expect, test } from "bun:test"
import type { NodeId } from "@parley/core/NodeId"
import { type Finished, Repeats } from "../src/internal/Repeats.ts"
import { TaskId } from "../src/internal/TaskId.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

const caller = (n: number): NodeId => `z6Mk${String(n).padStart(44, "1")}` as NodeId
const idOf = (n: number): TaskId => new TaskId(n, n % 3, -n, 0x7fff_ffff)

describe("Repeats", () => {
  test("keeps what a plain list would keep, whatever is put in", () => {
    const random = seeded(0x4e7a)
    forRounds(random, 12, () => {
      const limits = { entries: 1 + random.int(60), bytes: 500 + random.int(200_000) }
      const repeats = new Repeats(limits)
      let model: Array<readonly [NodeId, Finished]> = []
      for (let i = 0; i < 250; i++) {
        const from = caller(random.int(3))
        const text = (most: number) => "é🙂x".repeat(random.int(most))
        const finished: Finished = {
          kind: random.int(2) === 0 ? "result" : "failed",
          id: idOf(random.int(40)),
          capability: `math.double@1.${random.int(3)}.0`,
          input: text(20),
          body: text(random.int(20) === 0 ? 12_000 : 20),
          startedAt: random.int(1e9),
          finishedAt: random.int(1e9) + 0.5
        }
        repeats.set(from, finished)
        // What is too large changes nothing.
        if (Buffer.byteLength(finished.input + finished.body) <= limits.bytes) model.push([from, finished])
        // Never more than was allowed, and what is there is the newest of its task.
        const kept = model.filter(
          ([by, each], at) =>
            repeats.get(by, each.id) !== undefined &&
            !model.slice(at + 1).some(([other, later]) => other === by && later.id.same(each.id))
        )
        for (const [by, each] of kept) expect(repeats.get(by, each.id)).toEqual(each)
        const bytes = kept.reduce((sum, [, each]) => sum + Buffer.byteLength(each.input + each.body), 0)
        expect(kept.length).toBeLessThanOrEqual(limits.entries)
        expect(bytes).toBeLessThanOrEqual(limits.bytes)
        model = kept
      }
    })
  })

  test("a task is its caller's own", () => {
    const repeats = new Repeats({ entries: 8, bytes: 10_000 })
    const finished: Finished = {
      kind: "result",
      id: idOf(1),
      capability: "math.double@1.0.0",
      input: "1",
      body: "2",
      startedAt: 1,
      finishedAt: 2
    }
    repeats.set(caller(1), finished)
    repeats.set(caller(2), { ...finished, body: "3" })
    expect(repeats.get(caller(1), idOf(1))?.body).toBe("2")
    expect(repeats.get(caller(2), idOf(1))?.body).toBe("3")
    expect(repeats.get(caller(3), idOf(1))).toBeUndefined()
    expect(repeats.get(caller(1), idOf(2))).toBeUndefined()
  })

  test("the oldest go first, by count", () => {
    const repeats = new Repeats({ entries: 1_000, bytes: 1e9 })
    for (let n = 0; n < 5_000; n++) {
      repeats.set(caller(n % 7), {
        kind: "result",
        id: idOf(n),
        capability: "math.double@1.0.0",
        input: "x".repeat(200),
        body: String(n),
        startedAt: n,
        finishedAt: n
      })
    }
    for (let n = 0; n < 4_000; n++) expect(repeats.get(caller(n % 7), idOf(n))).toBeUndefined()
    for (let n = 4_000; n < 5_000; n++) expect(repeats.get(caller(n % 7), idOf(n))?.body).toBe(String(n))
  })

  test("what is larger than all that may be kept is not kept", () => {
    const repeats = new Repeats({ entries: 8, bytes: 1_000 })
    const finished: Finished = {
      kind: "result",
      id: idOf(1),
      capability: "a@1.0.0",
      input: "",
      body: "x".repeat(100_000),
      startedAt: 1,
      finishedAt: 2
    }
    repeats.set(caller(1), finished)
    expect(repeats.get(caller(1), idOf(1))).toBeUndefined()
    repeats.set(caller(1), { ...finished, body: "small" })
    repeats.set(caller(1), { ...finished, id: idOf(2) })
    expect(repeats.get(caller(1), idOf(1))?.body).toBe("small")
  })
})
