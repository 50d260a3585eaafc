/** Verifies: one timer looks after all sessions of a node, each once a round, and never all of them at once. */
import { describe, expect, test } from "bun:test"
import { sessionDefaults } from "../src/Limits.ts"
import { Sweeper, type Swept } from "../src/internal/Sweeper.ts"

const limits = { ...sessionDefaults, keepaliveMs: 120 }

/** Counts its ticks, and says when it has had so many. */
const counting = (wanted: number) => {
  let ticks = 0
  let done = (): void => {}
  const enough = new Promise<void>((resolve) => (done = resolve))
  const at: Array<number> = []
  const swept: Swept = {
    slot: -1,
    tick: (now) => {
      at.push(now)
      if (++ticks === wanted) done()
    }
  }
  return { swept, at, enough, ticks: () => ticks }
}

/** Timers keep no process alive: somebody must. */
const awake = async (wait: Promise<unknown>): Promise<void> => {
  const timer = setInterval(() => {}, 1_000)
  await wait
  clearInterval(timer)
}

describe("sweeper", () => {
  test("each is looked after once a round, and a round has several moments", async () => {
    const sweeper = new Sweeper(limits)
    const all = Array.from({ length: 40 }, () => counting(3))
    for (const { swept } of all) sweeper.add(swept)
    await awake(Promise.all(all.map(({ enough }) => enough)))
    const last = all.map(({ ticks }) => ticks())
    expect(Math.max(...last) - Math.min(...last)).toBeLessThanOrEqual(1)
    expect(new Set(all.map(({ at }) => at[1])).size).toBe(8)
    expect(Math.max(...all.map(({ swept }) => swept.slot))).toBe(7)
    for (const { swept } of all) sweeper.remove(swept)
  })

  test("one that has gone is left alone, also when it goes while others are looked after", async () => {
    const sweeper = new Sweeper({ ...limits, stallTimeoutMs: 3 })
    const [stays, goes] = [counting(4), counting(1)]
    const leaving: Swept = {
      slot: -1,
      tick: (now) => {
        goes.swept.tick(now)
        sweeper.remove(leaving)
        sweeper.remove(leaving)
      }
    }
    sweeper.add(leaving)
    sweeper.add(stays.swept)
    await awake(stays.enough)
    expect(goes.ticks()).toBe(1)
    sweeper.remove(stays.swept)
    // It starts again for somebody new.
    const late = counting(2)
    sweeper.add(late.swept)
    await awake(late.enough)
    sweeper.remove(late.swept)
    expect(stays.ticks()).toBe(4)
  })
})
