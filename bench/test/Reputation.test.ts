/** Verifies: that the market of `npm run bench -- reputation` tells honest registries from gullible ones, with a seed of its own. */
import { describe, expect, test } from "bun:test"
import { Market, type Terms, usual } from "../src/reputation/Market.ts"

const short: Partial<Terms> = { rounds: 100, agents: 40, callers: 16 }
const last = (change: Partial<Terms>) => {
  const { good } = new Market({ ...usual, ...short, ...change }, 90_001).run()
  return good.slice(60).reduce((sum, value) => sum + value, 0) / (good.length - 60)
}

describe("a market in which most reporters lie", () => {
  test("gives callers good agents by the registry's reputation, and bad ones by a plain average", () => {
    expect(last({ sybils: 0, attackFrom: Infinity })).toBeGreaterThan(0.95)
    expect(last({})).toBeGreaterThan(0.9)
    expect(last({ policy: "ema" })).toBeLessThan(0.1)
    expect(last({ policy: "ema", sybils: 0, attackFrom: Infinity })).toBeGreaterThan(0.9)
  })

  test("comes to the same with the same seed", () => {
    const outcome = () => new Market({ ...usual, ...short, rounds: 30 }, 7).run()
    expect(outcome()).toEqual(outcome())
  })
})
