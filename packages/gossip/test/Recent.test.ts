/** Verifies: what was noted last is known, and no more of it than was asked for. */
import { describe, expect, test } from "bun:test"
import { Recent } from "../src/internal/Recent.ts"

describe("what was noted", () => {
  test("is forgotten in the order of noting, and what is noted again begins anew", () => {
    const recent = new Recent<string, number>(3)
    for (const [key, value] of [
      ["a", 1],
      ["b", 2],
      ["c", 3],
      ["a", 4],
      ["d", 5]
    ] as const)
      recent.set(key, value)
    expect(["a", "b", "c", "d"].map((key) => recent.get(key))).toEqual([4, undefined, 3, 5])
    recent.delete("c")
    expect([recent.size, recent.has("c"), recent.has("a")]).toEqual([2, false, true])
    recent.set("e", 6)
    expect(["a", "d", "e"].map((key) => recent.get(key))).toEqual([4, 5, 6])
  })
})
