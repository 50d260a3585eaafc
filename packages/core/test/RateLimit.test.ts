/** Verifies: what one key takes is bounded on average and at once, whatever it costs, and takes nothing from another. */
import { describe, expect, test } from "bun:test"
import { RateLimit } from "@parley/core/RateLimit"

describe("a limit", () => {
  test("gives whole tokens, a burst at once, and says how long the next one takes", () => {
    const limit = new RateLimit(10, 3)
    expect([0, 0, 0, 0].map(() => limit.take("a", 0))).toEqual([0, 0, 0, 100])
    expect(limit.take("b", 0)).toBe(0)
    expect([limit.take("a", 50), limit.take("a", 100), limit.take("a", 100)]).toEqual([50, 0, 100])
    // Nothing is saved up beyond the burst.
    expect([0, 0, 0, 0].map(() => limit.take("a", 60_000) === 0)).toEqual([true, true, true, false])
  })

  test("lets what is dear cost the time after it", () => {
    const limit = new RateLimit(10, 3)
    expect([limit.spend("a", 13, 0), limit.spend("a", 1, 0), limit.has("a", 0)]).toEqual([true, false, false])
    expect([limit.wait("a", 0), limit.wait("b", 0)]).toEqual([1_001, 0])
    expect([limit.has("a", 1_000), limit.spend("a", 1, 1_000)]).toEqual([false, false])
    expect([limit.wait("a", 1_001), limit.has("a", 1_001), limit.spend("a", 1, 1_001)]).toEqual([0, true, true])
    limit.charge("b", 4, 0)
    expect([limit.has("b", 100), limit.has("b", 101)]).toEqual([false, true])
  })

  test("goes by no clock that goes back, and remembers no more keys than it may", () => {
    const limit = new RateLimit(1, 1)
    expect([limit.take("a", 1_000), limit.take("a", 0) > 0, limit.take("a", 1_500)]).toEqual([0, true, 500])
    for (let n = 0; n < 10_000; n++) limit.take(`k${n}`, 1_500)
    expect(limit.take("a", 1_500)).toBe(0)
    expect(limit.take("k9999", 1_500)).toBe(1_000)
  })
})
