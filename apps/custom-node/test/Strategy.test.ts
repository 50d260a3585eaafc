/** Verifies: the laws of Strategy over a selection and an aggregation written against `@parley/core` alone. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Strategy from "@parley/core/Strategy"
import { aggregationSuite, selectionSuite, testMatch, testNode } from "@parley/core/testing/StrategySuite"
import * as Cheapest from "../src/plugins/Cheapest.ts"
import * as GeometricMedian from "../src/plugins/GeometricMedian.ts"

const api = { describe, expect, test }

for (const count of [1, 3]) {
  selectionSuite(api, { name: `cheapest-${count}`, make: () => Cheapest.cheapest(count), count })
}
aggregationSuite(api, {
  name: "geometric-median",
  make: () => GeometricMedian.geometricMedian,
  values: [[0, 0], [0, 1], [90, -7], "nowhere"]
})

describe("cheapest", () => {
  test("asks those that cost least, and of equal prices the better match", () => {
    const priced = (number: number, score: number, usdPerCall?: number) => {
      const match = testMatch(number, score)
      const cost = usdPerCall === undefined ? {} : { cost: { usdPerCall } }
      return { ...match, capability: { ...match.capability, ...cost } }
    }
    const matches = [priced(1, 0.9, 2), priced(2, 0.8, 0.5), priced(3, 0.7), priced(4, 0.6, 0.5), priced(3, 0.5)]
    const chosen = Cheapest.cheapest(2).select(matches, { random: () => 0, turn: 0, load: () => 0 })
    expect(chosen).toEqual([matches[2]!, matches[1]!])
  })
})

describe("geometric median", () => {
  const verdictOf = (...values: ReadonlyArray<unknown>) => {
    const invited = values.map((_, i) => ({ node: testNode(i), trust: 0.5, score: 0.5 }))
    const tally = GeometricMedian.geometricMedian.tally(invited)
    values.forEach((value, i) =>
      tally.answer({ node: testNode(i), capability: "x@1.0.0", value: value as number, latencyMs: 1 })
    )
    return tally.outcome()
  }
  const near = (value: unknown, expected: ReadonlyArray<number>) =>
    Array.isArray(value) && expected.every((each, i) => Math.abs(each - Number(value[i])) < 1e-3)

  test("is the middle one of three on a line, and of a triangle the point that sees its sides at 120 degrees", () => {
    expect(near(verdictOf([0, 0], [1, 1], [5, 5]).value, [1, 1])).toBe(true)
    expect(near(verdictOf([0, 0], [1, 0], [0.5, Math.sqrt(3) / 2]).value, [0.5, Math.sqrt(3) / 6])).toBe(true)
  })
  test("does not follow whoever lies far out, and says that he dissents", () => {
    const { dissent, status, value } = verdictOf([10, 10.01], [10.01, 10], [9.99, 10], [1e6, -1e6])
    expect([status, dissent]).toEqual(["reached", [testNode(3)]])
    expect(Math.hypot(Number((value as Array<number>)[0]) - 10, Number((value as Array<number>)[1]) - 10) < 0.02).toBe(
      true
    )
  })
  test("holds against huge numbers, and takes none beyond what it can compute with", () => {
    for (const huge of [1e30, 1e99, 1e300]) {
      const { dissent, value } = verdictOf([1, 1], [1, 1.001], [1.001, 1], [huge, -huge])
      expect([near(value, [1, 1]), dissent]).toEqual([true, [testNode(3)]])
    }
    const most = Number.MAX_VALUE
    expect(verdictOf([most, most], [-most, most], [most, -most]).status).toBe("undecided")
    expect(verdictOf([0, 0], [0, 0], [0, 0]).value).toEqual([0, 0])
  })
  test("does not depend on how the axes lie", () => {
    const points = [
      [0, 0],
      [4, 1],
      [2, 6],
      [-3, 2]
    ]
    const turn = ([x, y]: ReadonlyArray<number>) => [0.6 * x! - 0.8 * y!, 0.8 * x! + 0.6 * y!]
    const straight = verdictOf(...points).value as Array<number>
    expect(near(verdictOf(...points.map(turn)).value, turn(straight))).toBe(true)
  })
  test("needs points of one length from more than half", () => {
    expect(verdictOf([1], [1, 2], "x").status).toBe("undecided")
    expect(verdictOf([1], [1], "x").status).toBe("reached")
  })
})

describe("both by name", () => {
  const { aggregation, selection } = Strategy.makeStrategies(Cheapest.registered, GeometricMedian.registered)
  test("are found, and a wrong argument is a typed error", async () => {
    expect((await Effect.runPromise(selection("cheapest-4"))).name).toBe("cheapest-4")
    expect((await Effect.runPromise(aggregation("geometric-median"))).name).toBe("geometric-median")
    expect((await Effect.runPromise(Effect.flip(selection("cheapest-0")))).code).toBe("BadArgument")
    expect((await Effect.runPromise(Effect.flip(aggregation("geometric-median:2")))).code).toBe("BadArgument")
  })
})
