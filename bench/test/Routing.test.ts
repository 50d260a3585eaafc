import { afterAll, describe, expect, test } from "bun:test"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { command } from "../../test-support/Runtime.ts"
import { type Row, rowOf } from "../src/RoutingRows.ts"

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

const own = ["call", "session", "echo", "aesEcho", "aesRecords"]

interface Results {
  readonly bench: string
  readonly versions: { readonly [name: string]: string }
  readonly rows: ReadonlyArray<Row>
}

describe("bench routing", () => {
  test("measures every path on both runtimes, as JSON and in a file", async () => {
    const args = ["routing", "--brief", "--only", "rivals", "--paths", own.join(",")]
    const { code, err, out } = await bench(...args, "--json", "--out", join(directory, "deep"))
    expect(err).not.toContain("rror")
    expect(code).toBe(0)
    const results = JSON.parse(out) as Results
    expect(JSON.parse(readFileSync(join(directory, "deep", "routing.json"), "utf8"))).toEqual(results)
    expect(results.bench).toBe("routing")
    expect(Object.keys(results.versions)).toEqual(expect.arrayContaining(["parley", "effect", "bun", "deno"]))
    expect(results.rows.map((row) => `${row.asking} ${row.answering} ${row.inflight} ${row.path}`)).toEqual(
      ["bun", "deno"].flatMap((runtime) => own.map((path) => `${runtime} ${runtime} 8 ${path}`))
    )
    for (const row of results.rows) {
      expect(row.rounds.length).toBe(2)
      for (const round of row.rounds) {
        expect(round.calls).toBeGreaterThan(0)
        expect(round.p50).toBeGreaterThan(0)
        expect(round.p99).toBeGreaterThanOrEqual(round.p50)
        expect(round.max).toBeGreaterThanOrEqual(round.p99)
      }
      const { callsPerSecond, parleyTimes } = row
      expect(callsPerSecond.min).toBeLessThanOrEqual(callsPerSecond.median)
      expect(callsPerSecond.median).toBeLessThanOrEqual(callsPerSecond.max)
      if (row.path === "call") expect(parleyTimes).toEqual({ median: 1, min: 1, max: 1 })
      else expect(parleyTimes.min).toBeGreaterThan(0)
    }
  }, 60_000)

  test("says what is wrong with a command line, and ends with 2", async () => {
    for (const [args, words] of [
      [["nonsense"], 'there is no part "nonsense"'],
      [["routing", "--pairs", "0"], '--pairs is a whole number from 1, not "0"'],
      [["routing", "--seconds", "soon"], '--seconds is a number from 0.01, not "soon"'],
      [["routing", "--runtime", "node"], '--runtime knows bun, deno, not "node"'],
      [["routing", "--only", "everything"], "--only knows rivals, "],
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

describe("rows", () => {
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
      answeringMicros: 2
    })
    const head = {
      name: "x",
      label: "x",
      path: "echo",
      asking: "bun",
      answering: "bun",
      inflight: 1,
      bytes: 128
    } as const
    const row = rowOf(head, [round(100), round(1_000), round(100)], [round(10), round(100), round(30)])
    expect(row.parleyTimes).toEqual({ median: 0.1, min: 0.1, max: 0.3 })
    expect(row.cpuMicros).toEqual({ median: 3, min: 3, max: 3 })
  })
})
