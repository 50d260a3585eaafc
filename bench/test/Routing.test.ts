import { afterAll, describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { command } from "../../test-support/Runtime.ts"
import { rowOf, type Results } from "../src/Results.ts"
import { spreadOf as spread } from "../src/Spread.ts"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const bench = (
  ...args: ReadonlyArray<string>
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> =>
  new Promise((resolve, reject) => {
    const [program, ...first] = command(main)
    const child = spawn(program, [...first, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let out = ""
    let err = ""
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()))
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()))
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, out, err }))
  })

const directory = mkdtempSync(join(tmpdir(), "parley-bench-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const brief = ["routing", "--seconds", "0.05", "--pairs", "2", "--inflight", "8"]

describe("bench routing", () => {
  test("measures every path on both runtimes, as JSON and in a file", async () => {
    const file = join(directory, "deep", "routing.json")
    const out_ = join(directory, "deep")
    const { code, err, out } = await bench(...brief, "--json", "--out", out_)
    expect(err).not.toContain("rror")
    expect(code).toBe(0)
    const results = JSON.parse(out) as Results
    expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(results)
    expect(results.bench).toBe("routing")
    expect(results.settings).toEqual({ bytes: 128, seconds: 0.05, pairs: 2, knownCapabilities: 10_000 })
    expect(Object.keys(results.versions)).toEqual(["parley", "effect", "bun", "deno"])
    expect(results.rows.map((row) => `${row.runtime} ${row.inflight} ${row.path}`)).toEqual(
      ["bun", "deno"].flatMap((runtime) => ["call", "session", "echo"].map((path) => `${runtime} 8 ${path}`))
    )
    for (const row of results.rows) {
      expect(row.rounds.length).toBe(2)
      for (const round of row.rounds) {
        expect(round.calls).toBeGreaterThan(0)
        expect(round.p50).toBeGreaterThan(0)
        expect(round.p99).toBeGreaterThanOrEqual(round.p50)
        expect(round.max).toBeGreaterThanOrEqual(round.p99)
      }
      const { callsPerSecond, toEcho } = row
      expect(callsPerSecond.min).toBeLessThanOrEqual(callsPerSecond.median)
      expect(callsPerSecond.median).toBeLessThanOrEqual(callsPerSecond.max)
      if (row.path === "echo") expect(toEcho).toEqual({ median: 1, min: 1, max: 1 })
      else expect(toEcho.min).toBeGreaterThan(0)
    }
    // 64 in flight were not asked for.
    expect(results.floor.callsPerSecond).toBe(100_000)
    expect(results.floor.met).toBe(false)
  }, 60_000)

  test("says what is wrong with a command line, and ends with 2", async () => {
    for (const [args, words] of [
      [["nonsense"], 'there is no part "nonsense"'],
      [["routing", "--pairs", "0"], '--pairs is a whole number from 1, not "0"'],
      [["routing", "--seconds", "soon"], '--seconds is a number from 0.01, not "soon"'],
      [["routing", "--runtime", "node"], '--runtime is bun or deno, or both with a comma, not "node"'],
      [["routing", "--unheard-of"], "--unheard-of"]
    ] as const) {
      const { code, err, out } = await bench(...args)
      expect(err).toContain(words)
      expect(out).toBe("")
      expect(code).toBe(2)
    }
    const help = await bench("routing", "--help")
    expect(help.code).toBe(0)
    expect(help.out).toContain("--inflight")
  }, 60_000)
})

describe("results", () => {
  test("the middle, the least and the most", () => {
    expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 })
    expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 })
    expect(spread([7])).toEqual({ median: 7, min: 7, max: 7 })
  })

  test("the ratio compares rounds that were taken together", () => {
    const round = (callsPerSecond: number) => ({
      calls: 1,
      seconds: 1,
      callsPerSecond,
      p50: 1,
      p90: 1,
      p99: 1,
      p999: 1,
      max: 1,
      askingMicros: 1,
      answeringMicros: 1
    })
    const row = rowOf("bun", 1, "call", [round(10), round(100), round(30)], [round(100), round(1_000), round(100)])
    expect(row.toEcho).toEqual({ median: 0.1, min: 0.1, max: 0.3 })
  })
})
