import { describe, expect, test } from "bun:test"
import type { NodeId } from "@parley/core/NodeId"
import { type Finished, Repeats } from "../src/internal/Repeats.ts"
import { TaskId } from "../src/internal/TaskId.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

const caller = (n: number): NodeId => `z6Mk${String(n).padStart(44, "a")}` as NodeId
const idOf = (n: number): TaskId => new TaskId(n, n % 3, n << 20, 0x7fff_ffff)
const answer = (n: number, body: string): Finished => ({
  kind: "result",
  id: idOf(n),
  capability: "math.double@1.0.0",
  input: "1",
  body,
  startedAt: n,
  finishedAt: n + 0.5
})

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

  test("what is too old makes room as soon as a caller comes, and leaves the share of callers that went to those who stay", () => {
    const repeats = new Repeats({ entries: 1_000, bytes: 1e9, ms: 10_000 })
    const at = (n: number, finishedAt: number): Finished => ({
      kind: "result",
      id: idOf(n),
      capability: "a@1.0.0",
      input: "1",
      body: String(n),
      startedAt: finishedAt,
      finishedAt
    })
    let n = 0
    for (let gone = 1; gone <= 100; gone++)
      for (let i = 0; i < 10; i++) repeats.set(caller(gone), at(n++, 1_000 + gone))
    // Within their age they are kept, whoever comes.
    repeats.set(caller(101), at(n++, 10_000))
    expect(repeats.get(caller(100), idOf(999))?.body).toBe("999")
    repeats.set(caller(102), at(n++, 11_050))
    expect(repeats.get(caller(49), idOf(489))).toBeUndefined()
    expect(repeats.get(caller(50), idOf(499))?.body).toBe("499")
    repeats.set(caller(103), at(n++, 30_000))
    expect(repeats.get(caller(100), idOf(999))).toBeUndefined()
    const from = n
    while (n < from + 999) repeats.set(caller(103), at(n++, 30_000))
    for (let each = from; each < n; each++) expect(repeats.get(caller(103), idOf(each))?.body).toBe(String(each))
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

  test("only whoever has its share makes room, each caller's oldest first, and no more than is needed", () => {
    const random = seeded(0x5a4e)
    forRounds(random, 40, () => {
      const entries = 5 + random.int(120)
      const callers = Array.from({ length: 1 + random.int(12) }, (_, n) => caller(n))
      const repeats = new Repeats({ entries, bytes: 1e9 })
      const added = new Map(callers.map((each) => [each, [] as Array<Finished>]))
      const kept = (of: NodeId): number =>
        added.get(of)!.filter((each) => repeats.get(of, each.id) !== undefined).length
      let before = callers.map(() => 0)
      for (let n = 0; n < 600; n++) {
        // Some do much more than others.
        const at = Math.min(random.int(callers.length), random.int(callers.length))
        const finished = answer(n, "x".repeat(random.int(300)))
        repeats.set(callers[at]!, finished)
        added.get(callers[at]!)!.push(finished)
        if (random.int(8) > 0 && n < 590) {
          before = []
          continue
        }
        const now = callers.map(kept)
        const total = now.reduce((sum, each) => sum + each, 0)
        expect(total).toBe(Math.min(n + 1, entries))
        for (const [i, each] of callers.entries()) {
          // What is kept are the newest, and they are what was added.
          const own = added.get(each)!
          for (const one of own.slice(own.length - now[i]!)) expect(repeats.get(each, one.id)).toEqual(one)
          if (i === at || before.length === 0 || now[i] === before[i]) continue
          const holding = before.filter((count) => count > 0).length
          expect(before[i]! * (holding + 1)).toBeGreaterThanOrEqual(before.reduce((sum, count) => sum + count, 0))
        }
        before = now
      }
    })
  })

  test("a caller that does much pushes out nothing of one that does little", () => {
    for (const limits of [
      { entries: 1_000, bytes: 1e9 },
      { entries: 1e9, bytes: 300_000 }
    ]) {
      const repeats = new Repeats(limits)
      for (let n = 0; n < 20; n++) repeats.set(caller(1), answer(n, "modest"))
      for (let n = 0; n < 20_000; n++) repeats.set(caller(2), answer(n, "x".repeat(300)))
      for (let n = 0; n < 20; n++) expect(repeats.get(caller(1), idOf(n))?.body).toBe("modest")
      expect(repeats.get(caller(2), idOf(19_200))?.body.length).toBe(300)
      expect(repeats.get(caller(2), idOf(18_000))).toBeUndefined()
    }
  })

  test("who held all of it gives way to many others, and what is left of it is whole", () => {
    const entries = 6_000
    const repeats = new Repeats({ entries, bytes: 1e9 })
    for (let n = 0; n < entries; n++) repeats.set(caller(0), answer(n, `${n} ${"é".repeat(n % 50)}`))
    for (let other = 1; other < 300; other++) {
      for (let n = 0; n < 20; n++) repeats.set(caller(other), answer(n, `${other} ${n}`))
    }
    const left = entries - 299 * 20
    for (let n = 0; n < entries - left; n++) expect(repeats.get(caller(0), idOf(n))).toBeUndefined()
    for (let n = entries - left; n < entries; n++) {
      expect(repeats.get(caller(0), idOf(n))).toEqual(answer(n, `${n} ${"é".repeat(n % 50)}`))
    }
    for (let other = 1; other < 300; other++) expect(repeats.get(caller(other), idOf(7))?.body).toBe(`${other} 7`)
  })

  test("of ten thousand callers something is kept, and the one that came first is forgotten", () => {
    const repeats = new Repeats({ entries: 65_536, bytes: 1e9 })
    for (let n = 0; n <= 10_000; n++) repeats.set(caller(n), answer(n, "kept"))
    expect(repeats.get(caller(0), idOf(0))).toBeUndefined()
    for (let n = 1; n <= 10_000; n++) expect(repeats.get(caller(n), idOf(n))?.body).toBe("kept")
  })

  test("ten thousand callers with one task each push out nothing of one that goes on", () => {
    const repeats = new Repeats({ entries: 100_000, bytes: 10_000_000 })
    const friend = caller(99_999)
    for (let i = 0; i < 3; i++) repeats.set(friend, answer(i, "kept"))
    for (let round = 0, stranger = 0; round < 3; round++) {
      for (let i = 0; i < 12_000; i++) repeats.set(caller(stranger++), answer(1, "x"))
      expect(repeats.get(friend, idOf(0))?.body).toBe("kept")
      repeats.set(friend, answer(10 + round, "more"))
    }
    // Whoever is gone for that long is forgotten like any other.
    for (let i = 0; i < 25_000; i++) repeats.set(caller(50_000 + i), answer(1, "x"))
    expect(repeats.get(friend, idOf(0))).toBeUndefined()
    expect(repeats.get(caller(74_999), idOf(1))?.body).toBe("x")
  })
})
