/** Verifies: circuits per agent and capability: closed, open, half-open with one probe, healed by reports alone. */
import { describe, expect, test } from "bun:test"
import { seeded } from "@parley/core/testing/Seeded"
import * as Circuits from "@parley/registry/Circuits"

const FAILURES = 3
const OPEN_MS = 1_000
const make = () => new Circuits.Circuits({ failures: FAILURES, openMs: OPEN_MS })

describe("circuits", () => {
  test("open after so many failures in a row, and tell when the agent becomes degraded", () => {
    const circuits = make()
    expect(circuits.note("a", "csv", false, 0)).toBe(undefined)
    expect(circuits.note("a", "csv", true, 1)).toBe(undefined)
    for (let i = 0; i < FAILURES - 1; i++) expect(circuits.note("a", "csv", false, 2 + i)).toBe(undefined)
    expect(circuits.state("a", "csv", 5)).toBe("closed")
    expect(circuits.note("a", "csv", false, 5)).toBe("degraded")
    expect(circuits.state("a", "csv", 6)).toBe("open")
    expect([circuits.state("a", "text", 6), circuits.state("b", "csv", 6)]).toEqual(["closed", "closed"])
    expect(circuits.all("a", 6)).toEqual([
      { capability: "csv", state: "open", failures: FAILURES, retryAfterMs: OPEN_MS - 1 }
    ])
  })

  test("a late success does not close an open one; its probe does, and there is one at a time", () => {
    const circuits = make()
    for (let i = 0; i < FAILURES; i++) circuits.note("a", "csv", false, 0)
    expect(circuits.note("a", "csv", true, OPEN_MS - 1)).toBe(undefined)
    expect(circuits.isDegraded("a")).toBe(true)
    expect(circuits.state("a", "csv", OPEN_MS)).toBe("probe")
    circuits.probe("a", "csv", OPEN_MS)
    expect(circuits.state("a", "csv", OPEN_MS)).toBe("open")
    expect(circuits.note("a", "csv", true, OPEN_MS + 1)).toBe("healthy")
    expect(circuits.all("a", OPEN_MS + 1)).toEqual([])
  })

  test("a probe that fails opens it again, one that nobody reports on frees its place", () => {
    const circuits = make()
    for (let i = 0; i < FAILURES; i++) circuits.note("a", "csv", false, 0)
    circuits.probe("a", "csv", OPEN_MS)
    circuits.note("a", "csv", false, OPEN_MS + 10)
    expect(circuits.state("a", "csv", 2 * OPEN_MS + 9)).toBe("open")
    circuits.probe("a", "csv", 2 * OPEN_MS + 10)
    expect(circuits.state("a", "csv", 3 * OPEN_MS + 9)).toBe("open")
    expect(circuits.state("a", "csv", 3 * OPEN_MS + 10)).toBe("probe")
  })

  test("reports that name no capability speak for all of the agent's", () => {
    const circuits = make()
    for (let i = 0; i < FAILURES; i++) circuits.note("a", "", false, 0)
    expect([circuits.state("a", "csv", 1), circuits.state("a", "", 1)]).toEqual(["open", "open"])
    circuits.probe("a", "csv", OPEN_MS)
    expect(circuits.state("a", "text", OPEN_MS)).toBe("open")
    circuits.note("a", "", true, OPEN_MS)
    expect(circuits.state("a", "csv", OPEN_MS)).toBe("closed")
  })

  test("agree with a model over random reports, probes and times", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = seeded(seed)
      const circuits = make()
      // The model: by key, how many failures in a row, and since when it is open or a probe is on its way.
      const model = new Map<string, { failures: number; until: number | undefined }>()
      let now = 0
      const is: Array<string> = []
      const meant: Array<string> = []
      for (let step = 0; step < 300; step++) {
        now += random.int(OPEN_MS / 2)
        const agent = ["a", "b"][random.int(2)]!
        const capability = ["x", "y"][random.int(2)]!
        const key = `${agent} ${capability}`
        const known = model.get(key) ?? { failures: 0, until: undefined }
        const isDue = known.until !== undefined && now >= known.until
        if (random.int(4) === 0) {
          circuits.probe(agent, capability, now)
          if (isDue) model.set(key, { ...known, until: now + OPEN_MS, probing: true } as typeof known)
        } else {
          const success = random.int(3) === 0
          circuits.note(agent, capability, success, now)
          const isProbed = isDue || (known as { readonly probing?: boolean }).probing === true
          if (known.until !== undefined && !isProbed) {
            // Late words change nothing.
          } else if (success) model.delete(key)
          else if (known.until !== undefined) model.set(key, { failures: FAILURES, until: now + OPEN_MS })
          else {
            const failures = known.failures + 1
            model.set(key, { failures, until: failures >= FAILURES ? now + OPEN_MS : undefined })
          }
        }
        for (const each of ["a x", "a y", "b x", "b y"]) {
          const [who = "", what = ""] = each.split(" ")
          const { until } = model.get(each) ?? { until: undefined }
          const expected = until === undefined ? "closed" : now >= until ? "probe" : "open"
          is.push(`${step} ${each} ${circuits.state(who, what, now)}`)
          meant.push(`${step} ${each} ${expected}`)
        }
        const open = [...model].filter(([, { until }]) => until !== undefined)
        is.push(`${step} ${circuits.open} ${circuits.isDegraded("a")}`)
        meant.push(`${step} ${open.length} ${open.some(([each]) => each.startsWith("a"))}`)
      }
      expect({ seed, is }).toEqual({ seed, is: meant })
    }
  })

  test("forget the one longest untouched beyond their bound, and count what is left", () => {
    const circuits = make()
    for (let i = 0; i < FAILURES; i++) circuits.note("first", "csv", false, 0)
    for (let i = 0; i < Circuits.MAX_CIRCUITS; i++) circuits.note(`agent-${i}`, "csv", false, 1)
    expect([circuits.isDegraded("first"), circuits.open]).toEqual([false, 0])
    expect(circuits.all("agent-0", 1).length).toBe(1)
  })
})
