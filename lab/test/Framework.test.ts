import { describe, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { repository } from "../../test-support/Runtime.ts"
import { summaryText } from "../../bench/src/Summary.ts"
import { documents, rewritten } from "../src/Documents.ts"
import { row } from "../src/Experiment.ts"
import { experiments } from "../src/Experiments.ts"
import { readResults, type Results, resultsDirectory, summaryOf, writeResults } from "../src/Results.ts"

describe("rows", () => {
  test("are met at the bound, and not beyond it", () => {
    const most = (measured: number | undefined) => row("a", "b", { atMost: 250 }, "ms", measured, 5, 7)
    expect(most(250)).toEqual({
      id: "a",
      what: "b",
      goal: "at most 250 ms",
      measured: 250,
      met: true,
      runs: 5,
      seed: 7
    })
    expect(most(250.1).met).toBe(false)
    expect(row("a", "b", { atLeast: 16 }, "pairs", 15, 16, 7).met).toBe(false)
    for (const measured of [undefined, Number.NaN, Number.POSITIVE_INFINITY])
      expect(most(measured)).toMatchObject({ measured: null, met: false })
  })
})

describe("results", () => {
  const names = Object.keys(experiments)

  test("every experiment can be loaded, and says what it is", async () => {
    for (const load of Object.values(experiments)) expect((await load()).what.length > 0).toBe(true)
  })

  test("the summary holds the rows of what was run, in the order of the experiments, and the documents show them", () => {
    const directory = mkdtempSync(join(tmpdir(), "parley-lab-"))
    try {
      const results = (name: string): Results => ({
        experiment: name,
        date: "2026-11-21T00:00:00.000Z",
        machine: { cpu: "a cpu", cores: 2, memoryGiB: 24, system: "linux" },
        versions: {},
        runtime: "bun",
        seconds: 60,
        load: [0, 0],
        rows: [row(`${name}-row`, `what ${name} measures`, { atMost: 1.3 }, "copies", 1.234_567_89, 3, 7)],
        text: `table of ${name}`,
        charts: [`${name}-chart`]
      })
      for (const name of [...names].reverse())
        writeResults(directory, results(name), [{ name: `${name}-chart`, svg: "<svg/>" }])
      expect(summaryOf(directory).map(({ id }) => id)).toEqual(names.map((name) => `${name}-row`))
      expect(JSON.parse(readFileSync(join(directory, "summary.json"), "utf8"))).toEqual(
        names.map((name) => ({
          id: `${name}-row`,
          what: `what ${name} measures`,
          goal: "at most 1.3 copies",
          measured: 1.234_57,
          met: true,
          runs: 3,
          seed: 7
        }))
      )
      const text = rewritten("<!-- lab:rows --><!-- /lab:rows -->", directory)
      for (const name of names) expect(text).toContain(`what ${name} measures`)
    } finally {
      rmSync(directory, { recursive: true })
    }
    expect(() => rewritten("<!-- lab:nonsense -->x<!-- /lab:nonsense -->", directory)).toThrow()
  })

  test("what the documents and the summary say is what was measured", () => {
    const read = (file: string): string => readFileSync(join(repository, file), "utf8")
    for (const name of documents) expect(rewritten(read(name), resultsDirectory)).toBe(read(name))
    if (names.some((name) => readResults(resultsDirectory, name) !== undefined))
      expect(read("lab/results/summary.json")).toBe(summaryText(summaryOf(resultsDirectory)))
  })
})
