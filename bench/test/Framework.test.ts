import { describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import type { Profiler } from "node:inspector"
import { join } from "node:path"
import { repository } from "../../test-support/Runtime.ts"
import { bars, lines } from "../src/Charts.ts"
import { judge } from "../src/Compare.ts"
import { documents, rewritten } from "../src/Documents.ts"
import { Load } from "../src/Load.ts"
import { pace } from "../src/Pace.ts"
import { type Goal, goal } from "../src/Part.ts"
import { jsonText, resultsDirectory } from "../src/Results.ts"
import { differenceOf, quantile, ratioOf, spreadOf } from "../src/Spread.ts"
import { sharesOf } from "../src/Stages.ts"
import { summaryOf, summaryText } from "../src/Summary.ts"
import { markdownTable, short, table } from "../src/Table.ts"
import { takeTurns, valuesOf } from "../src/Turns.ts"

describe("goals", () => {
  test("are met at the bound, and not beyond it", () => {
    const most = (measured: number | undefined) => goal("a", "b", { atMost: 60 }, "µs", measured, 5)
    expect(most(60)).toEqual({ id: "a", what: "b", goal: "at most 60 µs", measured: 60, met: true, runs: 5 })
    expect(most(60.1).met).toBe(false)
    const least = (measured: number) => goal("a", "b", { atLeast: 10_000 }, "", measured, 5)
    expect(least(10_000)).toEqual({ id: "a", what: "b", goal: "at least 10,000", measured: 10_000, met: true, runs: 5 })
    expect(least(9_999).met).toBe(false)
  })
  test("that could not be measured are missed", () => {
    for (const measured of [undefined, Number.NaN, Number.POSITIVE_INFINITY])
      expect(goal("a", "b", { atLeast: 1 }, "×", measured, 0)).toMatchObject({ measured: null, met: false })
  })
})

describe("spreads", () => {
  test("the middle, the least and the most", () => {
    expect(spreadOf([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
    expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 })
    expect(spreadOf([7])).toEqual({ median: 7, min: 7, max: 7 })
    expect(spreadOf([])).toEqual({ median: Number.NaN, min: Number.NaN, max: Number.NaN })
  })
  test("a quantile is one of the values: that which so many of them do not exceed", () => {
    const values = [10, 20, 30, 40]
    expect([0, 0.25, 0.26, 0.5, 0.99, 1].map((part) => quantile(values, part))).toEqual([10, 10, 20, 20, 40, 40])
    expect(quantile([], 0.5)).toBe(Number.NaN)
  })
  test("ratios and differences compare what was taken together", () => {
    expect(ratioOf([10, 100, 30], [100, 1_000, 100])).toEqual({ median: 0.1, min: 0.1, max: 0.3 })
    expect(differenceOf([10, 100, 30], [1, 200, 10])).toEqual({ median: 9, min: -100, max: 20 })
    expect(ratioOf([10, 100], [5])).toEqual({ median: 2, min: 2, max: 2 })
  })
})

describe("turns", () => {
  test("everyone is warmed up first, and the order alternates", async () => {
    const seen: Array<string> = []
    const contestant = (name: string) => ({
      name,
      warmUp: async () => void seen.push(`warm ${name}`),
      round: async (round: number) => {
        seen.push(`${name}${round}`)
        return seen.length
      }
    })
    const rounds = await takeTurns([contestant("a"), contestant("b")], 3)
    expect(seen).toEqual(["warm a", "warm b", "a0", "b0", "b1", "a1", "a2", "b2"])
    expect(valuesOf(rounds, "b", (position) => position)).toEqual([4, 5, 8])
    expect(valuesOf(rounds, "c", (position) => position)).toEqual([])
  })
  test("a name is taken once", async () => {
    const same = { name: "a", round: async () => 1 }
    await expect(takeTurns([same, same], 1)).rejects.toThrow("two contestants")
  })
})

describe("the summary", () => {
  const row = (id: string, measured: number): Goal => ({ id, what: id, goal: "g", measured, met: true, runs: 5 })
  test("has the parts' rows in their order, and keeps those that no part has", () => {
    const rows = summaryOf([[row("a", 1), row("b", 2)], [], [row("c", 3)]], [row("c", 9), row("old", 4), row("a", 9)])
    expect(rows.map(({ id, measured }) => [id, measured])).toEqual([
      ["a", 1],
      ["b", 2],
      ["c", 3],
      ["old", 4]
    ])
  })
  test("rows have six members, one row a line", () => {
    const more = { ...row("a", 1), more: true }
    const text = summaryText(summaryOf([[more]], [row("b", 2)]))
    expect(Object.keys(JSON.parse(text)[0])).toEqual(["id", "what", "goal", "measured", "met", "runs"])
    expect(text.split("\n").length).toBe(5)
  })
})

describe("tables", () => {
  test("figures are flush right", () => {
    expect(
      table(
        ["name", "n"],
        [
          ["a", "1"],
          ["bcdef", "23"]
        ]
      )
    ).toBe("name    n\na       1\nbcdef  23")
    expect(markdownTable(["name", "n"], [["a", "1"]])).toBe("| name | n |\n| --- | ---: |\n| a | 1 |")
  })
  test("three digits count", () => {
    expect([0, 0.01234, 0.1234, 1.234, 12.34, 123.4, 1_234, Number.NaN].map(short)).toEqual([
      "0",
      "0.0123",
      "0.123",
      "1.23",
      "12.3",
      "123",
      "1,234",
      "–"
    ])
  })
})

describe("compare", () => {
  const base = [100, 102, 98, 101, 99, 100, 103, 97]
  const times = (factor: number, noise: ReadonlyArray<number> = []) =>
    base.map((value, i) => value * factor * (noise[i] ?? 1))
  test("passes an equal revision, whatever one slow moment does", () => {
    expect(judge("calls/s", base, times(1), true, 0.1).failed).toBe(false)
    expect(judge("calls/s", base, times(1, [0.5, 0.4, 1, 1.02, 1.01, 0.99, 1, 1]), true, 0.1).failed).toBe(false)
    // Slower in the middle, but only in some rounds: that is the machine.
    expect(judge("calls/s", base, times(1, [0.7, 0.7, 0.7, 0.7, 0.7, 1.3, 1.3, 1.3]), true, 0.1).failed).toBe(false)
  })
  test("finds a slower one, and one that uses more", () => {
    const slower = judge("calls/s", base, times(0.8), true, 0.1)
    expect(slower.failed).toBe(true)
    expect(slower.slower).toBeCloseTo(0.25)
    expect(judge("CPU", base, times(1.2), false, 0.1)).toMatchObject({ failed: true, agreed: 1 })
    expect(judge("CPU", base, times(1.05), false, 0.1).failed).toBe(false)
    expect(judge("CPU", base, times(0.5), false, 0.1).failed).toBe(false)
    expect(judge("calls/s", base, times(2), true, 0.1).failed).toBe(false)
  })
})

describe("an open loop", () => {
  test("counts from when a request was due, so that a stall is seen by all that it held up", async () => {
    let sent = 0
    const once = () => {
      sent += 1
      // The first answer takes 150 ms of the only thread, in which 75 of the hundred fall due.
      if (sent === 1) for (const until = performance.now() + 150; performance.now() < until;);
      return Promise.resolve()
    }
    const load = new Load(0.2)
    await pace({ run: () => Promise.resolve(), once }, 500, load)
    const { calls, max, p50 } = load.run()
    expect(calls).toBe(sent)
    expect(calls).toBeGreaterThanOrEqual(95)
    expect(max).toBeGreaterThanOrEqual(149_000)
    // A loop that counted from when it sent would have one slow answer in a hundred.
    expect(p50).toBeGreaterThan(1_000)
  })
  test("fails with the first request that fails", async () => {
    const once = () => Promise.reject(new Error("no"))
    await expect(pace({ run: () => Promise.resolve(), once }, 100, new Load(0.05))).rejects.toThrow("no")
  })
})

describe("stages", () => {
  test("what the runtime does counts for whoever called it", () => {
    const frame = (functionName: string, url: string) => ({
      functionName,
      url,
      scriptId: "",
      lineNumber: 0,
      columnNumber: 0
    })
    const codec = "file:///p/packages/core/src/internal/JsonCodec.ts"
    const aead = "file:///p/packages/transport-tcp/src/internal/Aead.ts"
    const profile: Profiler.Profile = {
      startTime: 0,
      endTime: 1,
      nodes: [
        { id: 1, callFrame: frame("(root)", ""), children: [2, 4, 7] },
        { id: 2, callFrame: frame("decode", codec), children: [3] },
        { id: 3, callFrame: frame("parse", ""), children: [] },
        { id: 4, callFrame: frame("seal", aead), children: [5] },
        { id: 5, callFrame: frame("update", "node:crypto"), children: [] },
        { id: 6, callFrame: frame("_write", "ext:deno_node/net.ts"), children: [] },
        { id: 7, callFrame: frame("(idle)", ""), children: [6] }
      ],
      samples: [2, 3, 3, 4, 5, 6, 6, 6, 6, 6, 7, 7, 7]
    }
    const shares = sharesOf(profile)
    expect(shares.get("JSON and schemas")).toBeCloseTo(0.3)
    expect(shares.get("sealing")).toBeCloseTo(0.2)
    expect(shares.get("socket")).toBeCloseTo(0.5)
    expect([...shares.values()].reduce((a, b) => a + b)).toBeCloseTo(1)
  })
})

describe("charts", () => {
  test("bring their own background, and hold what they are told", () => {
    const common = { name: "x", title: "Title", note: "Note" }
    const value = { median: 2, min: 1, max: 3 }
    const { svg } = bars({ ...common, unit: "calls/s", bars: [{ label: "Parley", value, ours: true }] })
    expect(svg).toMatch(/^<svg [^>]*width="820"/)
    expect(svg).toContain('fill="#ffffff"')
    for (const word of ["Title", "Note", "Parley", "calls/s"]) expect(svg).toContain(word)
    const drawn = lines({
      ...common,
      x: { name: "x", log: true },
      y: { name: "y" },
      lines: [
        {
          label: "a",
          points: [
            [1, 2],
            [10, Number.NaN]
          ]
        }
      ]
    })
    expect(drawn.svg).not.toContain("NaN")
    expect(drawn.svg.length).toBeLessThan(20_000)
  })
})

describe("documents", () => {
  for (const name of documents) {
    test(`the figures of ${name} are those of the results`, () => {
      const text = readFileSync(join(repository, name), "utf8")
      expect(rewritten(text, resultsDirectory)).toBe(text)
    })
  }
  test("figures of no known name are refused", () => {
    expect(() => rewritten("<!-- bench:x --><!-- /bench:x -->", resultsDirectory)).toThrow('of the name "x"')
  })
})

describe("results", () => {
  test("a round stands in one line, with six digits, and reads as it was written", () => {
    const results = { a: [{ x: 1.23456789, y: [1, 2], z: "[{\n}]" }], b: 1_234_567_890, c: {}, d: null }
    const text = jsonText(results)
    expect(JSON.parse(text)).toEqual({ ...results, a: [{ ...results.a[0], x: 1.23457 }] })
    expect(jsonText({ rounds: [{ a: 1, b: 2 }] })).toContain('{ "a": 1, "b": 2 }')
  })
})
