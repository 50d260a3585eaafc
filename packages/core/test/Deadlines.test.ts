/** Verifies: deadlines fire never early and soon after, cancelled ones not at all, and limits refill at their rate. */
import { describe, expect, test } from "bun:test"
import { Deadlines, type Entry, TICK_MS } from "../src/internal/Deadlines.ts"
import { RateLimit } from "@parley/core/RateLimit"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

describe("Deadlines", () => {
  test("thousands fire never early, cancelled ones never, and the timer rests afterwards", async () => {
    const random = seeded(0xdead)
    const wheel = new Deadlines()
    const early: Array<number> = []
    let fired = 0
    let cancelledFired = 0
    const waiting: Array<Promise<void>> = []
    const others: Array<Entry> = []
    for (let i = 0; i < 5_000; i++) {
      const ms = random.next() * 400
      const began = performance.now()
      if (random.int(3) === 0) {
        others.push(wheel.after(ms, () => (cancelledFired += 1)))
      } else {
        waiting.push(
          new Promise((resolve) => {
            wheel.after(ms, () => {
              fired += 1
              const late = performance.now() - began - ms
              if (late < 0) early.push(late)
              resolve()
            })
          })
        )
      }
    }
    expect(wheel.pending).toBe(5_000)
    for (const entry of others) {
      entry.cancel()
      entry.cancel()
    }
    expect(wheel.pending).toBe(waiting.length)
    await Promise.all(waiting)
    expect([early, cancelledFired, fired, wheel.pending]).toEqual([[], 0, waiting.length, 0])
  })

  test("one that fires may cancel those due with it, and the rest still fire", async () => {
    const wheel = new Deadlines()
    const fired: Array<number> = []
    const entries: Array<Entry> = []
    await new Promise<void>((resolve) => {
      const now = performance.now()
      // Within one tick, whichever comes first takes the two beside it away.
      for (let i = 0; i < 9; i++) {
        entries.push(
          wheel.after(35 - (performance.now() - now), () => {
            fired.push(i)
            if (i % 3 === 1) {
              entries[i - 1]?.cancel()
              entries[i + 1]?.cancel()
            }
          })
        )
      }
      wheel.after(60, resolve)
    })
    expect(fired.filter((i) => i % 3 === 1).sort()).toEqual([1, 4, 7])
    expect(wheel.pending).toBe(0)
  })

  test("they fire in the order of their times, also when their slots are the same a turn apart", async () => {
    const wheel = new Deadlines()
    const order: Array<number> = []
    const turn = 512 * TICK_MS
    const far = wheel.after(turn + 30, () => order.push(2))
    await new Promise<void>((resolve) => {
      wheel.after(30, () => order.push(0))
      wheel.after(60, () => {
        order.push(1)
        resolve()
      })
    })
    expect(order).toEqual([0, 1])
    expect(wheel.pending).toBe(1)
    far.cancel()
    expect(wheel.pending).toBe(0)
  })

  test("one that fires may set and cancel others, its neighbours in the slot too", async () => {
    const wheel = new Deadlines()
    const heard: Array<string> = []
    await new Promise<void>((resolve) => {
      const neighbours: Array<Entry> = []
      const fire = (name: string) => () => {
        heard.push(name)
        for (const each of neighbours) each.cancel()
        wheel.after(0, () => {
          heard.push("next")
          resolve()
        })
      }
      for (const name of ["a", "b", "c"]) neighbours.push(wheel.after(25, fire(name)))
    })
    expect(heard.length).toBe(2)
    expect(heard[1]).toBe("next")
    expect(wheel.pending).toBe(0)
  })

  test("for ever is a time, too", () => {
    const wheel = new Deadlines()
    const entry = wheel.after(Number.POSITIVE_INFINITY, () => {})
    expect(wheel.pending).toBe(1)
    entry.cancel()
    expect(wheel.pending).toBe(0)
  })
})

describe("RateLimit", () => {
  test("lets through a second's burst and then its rate, whatever the pattern, per key", () => {
    const random = seeded(0x7a7e)
    forRounds(random, 300, () => {
      const perSecond = 1 + random.int(50)
      const limit = new RateLimit(perSecond)
      let now = 1_000
      let through = 0
      const began = now
      for (let i = 0; i < 400; i++) {
        if (random.int(4) === 0) now += random.int(120)
        const wait = limit.take("a", now)
        if (wait === 0) through += 1
        else expect(wait <= Math.ceil(1_000 / perSecond)).toBe(true)
        expect(through <= perSecond + ((now - began) * perSecond) / 1_000 + 1e-6).toBe(true)
      }
      expect(limit.take("b", now)).toBe(0)
    })
  })

  test("who waits as long as it is told is let through", () => {
    const random = seeded(0x7a17)
    forRounds(random, 200, () => {
      const limit = new RateLimit(0.5 + random.next() * 20)
      let now = 0
      for (let i = 0; i < 60; i++) {
        const wait = limit.take("a", now)
        if (wait === 0) continue
        now += wait
        expect(limit.take("a", now)).toBe(0)
      }
    })
  })

  test("a clock that goes back gives nothing away", () => {
    const limit = new RateLimit(2)
    expect([limit.take("a", 5_000), limit.take("a", 5_000)]).toEqual([0, 0])
    expect(limit.take("a", 1_000)).toBeGreaterThan(0)
    expect(limit.take("a", 5_400)).toBeGreaterThan(0)
    expect(limit.take("a", 5_500)).toBe(0)
  })
})
