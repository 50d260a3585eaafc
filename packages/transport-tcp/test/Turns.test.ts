/** Verifies: however many ask and however often, turns are no more than their rate, and each who was refused has its own in time. */
import { describe, expect, test } from "bun:test"
import { forRounds, seeded } from "@parley/core/testing/Seeded"
import { Turns } from "../src/internal/Turns.ts"

const rate = { atOnce: 4, perSecond: 2 }

describe("turns", () => {
  test("are had at once where nobody waits, and kept for whoever was refused", () => {
    const turns = new Turns<string>(rate, 0)
    for (const who of ["a", "b", "c", "a"]) expect(turns.take(who, 0)).toBe(true)
    for (const who of ["patient", "late"]) expect(turns.take(who, 0)).toBe(false)
    expect(turns.take("late", 500)).toBe(false)
    // Others ask at every moment meanwhile.
    for (let now = 500; now <= 5_000; now += 10) expect(turns.take(`new ${now}`, now)).toBe(false)
    expect(turns.take("patient", 5_000)).toBe(true)
    expect(turns.take("late", 5_000)).toBe(true)
    expect(turns.take("patient", 5_000)).toBe(false)
    // Of a long time in which nobody asked, no more is left than there is at once.
    for (const who of ["late", "a", "b", "c", "d"]) turns.forget(who)
    turns.forget("patient")
    for (let now = 500; now <= 5_000; now += 10) turns.forget(`new ${now}`)
    const after = ["a", "b", "c", "d", "e"].map((who) => turns.take(who, 1_000_000))
    expect(after).toEqual([true, true, true, true, false])
  })

  test("are not lost on who has gone, nor on who finds no room", () => {
    const turns = new Turns<string>({ atOnce: 1, perSecond: 1 }, 0)
    expect(turns.take("first", 0, false)).toBe(false)
    expect(turns.take("second", 0)).toBe(false)
    turns.forget("first")
    expect(turns.take("second", 0)).toBe(true)
    expect(turns.take("third", 0)).toBe(false)
    expect(turns.take("third", 1_000, false)).toBe(false)
    expect(turns.take("third", 1_000)).toBe(true)
  })

  test("come to each who keeps asking, after those before it, whatever strangers do", () => {
    const random = seeded(3)
    forRounds(random, 60, () => {
      const turns = new Turns<number>(rate, 0)
      const honest = 0
      const strangers = new Set<number>()
      let [now, taken, key] = [0, 0, 1]
      /** When the honest one has its turn at the latest. */
      let due: number | undefined
      for (let step = 0; step < 2_000; step++) {
        now += random.int(60)
        const what = random.int(20)
        if (what === 0) {
          const has = turns.take(honest, now)
          if (has) taken += 1
          if (due !== undefined && now >= due && !has) throw new Error(`refused at ${now}, ${now - due} ms late`)
          if (has) due = undefined
          else due ??= now + ((strangers.size + 1) * 1_000) / rate.perSecond
        } else if (what === 1 && strangers.size > 0) {
          const gone = random.pick([...strangers])
          strangers.delete(gone)
          turns.forget(gone)
        } else {
          const who = random.int(3) > 0 || strangers.size === 0 ? key++ : random.pick([...strangers])
          strangers.add(who)
          if (turns.take(who, now, random.int(4) > 0)) taken += 1
        }
        if (taken > rate.atOnce + (now * rate.perSecond) / 1_000) throw new Error(`${taken} turns until ${now}`)
      }
      expect(taken).toBeGreaterThan(0)
    })
  })
})
