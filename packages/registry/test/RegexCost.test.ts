import { describe, expect, test } from "bun:test"
import { costOf } from "../src/internal/RegexCost.ts"

/** Small, fast, seeded (mulberry32). */
const randomOf = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
}

const patternOf = (random: () => number, depth = 0): string => {
  const pick = <A>(from: ReadonlyArray<A>): A => from[Math.floor(random() * from.length)]!
  let pattern = depth === 0 && random() < 0.5 ? "^" : ""
  for (let i = 0; i < 1 + random() * 4; i++) {
    const atom =
      depth < 3 && random() < 0.35
        ? `(${patternOf(random, depth + 1)}|${patternOf(random, depth + 1)})`
        : pick(["a", "b", ".", "[ab]", "\\w"])
    pattern += atom + pick(["", "", "*", "+", "?", "{2}", "{0,3}", "{2,}", "+?"])
  }
  return depth === 0 && random() < 0.5 ? `${pattern}$` : pattern
}

describe("the cost of a pattern", () => {
  test("is told for what is plain", () => {
    expect(costOf("^abc$")).toEqual({ ways: 1, growth: 0 })
    expect(costOf("abc")).toEqual({ ways: 1, growth: 1 })
    expect(costOf("^a+b*$")).toEqual({ ways: 1, growth: 2 })
    expect(costOf("^a?b{2,4}$")).toEqual({ ways: 6, growth: 0 })
    expect(costOf("^(?:ab)+$")).toEqual({ ways: 1, growth: 1 })
    expect(costOf("^[)(*]\\[\\u{61}\\p{L}$")).toEqual({ ways: 1, growth: 0 })
  })

  test("is not told for what may have none", () => {
    for (const pattern of [
      "(a+)+",
      "(a|b)*",
      "(?=a)",
      "(?<n>a)",
      "(a)\\1",
      "\\k<n>",
      "*a",
      "a**",
      "(",
      ")",
      "a)",
      "[a",
      "(a?){20}"
    ]) {
      expect([pattern, costOf(pattern)]).toEqual([pattern, undefined])
    }
  })

  test("holds: whatever is said to be quick is quick", () => {
    const seed = 20_261_121
    const random = randomOf(seed)
    let tried = 0
    for (let i = 0; i < 4_000; i++) {
      const pattern = patternOf(random)
      const cost = costOf(pattern)
      if (cost === undefined) continue
      for (const length of [10, 30, 100, 1_000]) {
        if (cost.ways * length ** cost.growth > 1_000_000) break
        tried += 1
        const regex = new RegExp(pattern, "u")
        const started = performance.now()
        regex.test(`${"a".repeat(length - 1)}!`)
        regex.test(`${"ab".repeat(length >> 1)}!`)
        const ms = performance.now() - started
        if (ms > 3_000) throw new Error(`${pattern} took ${ms} ms for ${length} characters (seed ${seed}, round ${i})`)
      }
    }
    expect(tried).toBeGreaterThan(1_000)
  }, 30_000)
})
