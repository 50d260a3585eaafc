import { afterAll, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { current } from "../../test-support/Runtime.ts"
import { skipTest } from "../../test-support/Skip.ts"
import { rivals } from "../rivals/Rivals.ts"
import type { Paced } from "../src/RoutingPaced.ts"
import { type Row, rowOf } from "../src/RoutingRows.ts"
import type { StagesOf } from "../src/RoutingStages.ts"
import { bench } from "./Bench.ts"

const directory = mkdtempSync(join(tmpdir(), "parley-bench-"))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const own = ["call", "session", "echo", "aesEcho", "aesRecords"]

interface Results {
  readonly bench: string
  readonly versions: { readonly [name: string]: string }
  readonly rows: ReadonlyArray<Row>
  readonly known: ReadonlyArray<Row>
  readonly paced: ReadonlyArray<Paced>
  readonly stages: ReadonlyArray<StagesOf>
  readonly goals: ReadonlyArray<{ readonly id: string }>
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
    expect(existsSync(join(directory, "deep", "summary.json"))).toBe(true)
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
  }, 120_000)

  skipTest(rivals.nats.unavailable(current))(
    "sends calls by the clock, beside NATS",
    async () => {
      const { code, out } = await bench("routing", "--brief", "--only", "paced", "--json")
      expect(code).toBe(0)
      const { paced } = JSON.parse(out) as Results
      expect(paced.map(({ path, share }) => `${path} ${share}`)).toEqual(
        [0.25, 0.5, 0.75].flatMap((share) => [`call ${share}`, `nats ${share}`])
      )
      for (const { p50, p999, rounds } of paced) {
        expect(rounds.every(({ calls }) => calls > 0)).toBe(true)
        expect(p999.median).toBeGreaterThanOrEqual(p50.median)
      }
    },
    120_000
  )

  test("compares nodes that know few and many, and says where a call's time goes", async () => {
    const args = ["routing", "--brief", "--only", "known,stages", "--runtime", current]
    const { code, out } = await bench(...args, "--json", "--profile", join(directory, "profiles"))
    expect(code).toBe(0)
    const { known, stages } = JSON.parse(out) as Results
    expect(known.map(({ rounds }) => rounds.length)).toEqual([4, 4])
    for (const { answering, asking } of stages) {
      for (const { all, otherThreads, perStage } of [asking, answering]) {
        const sum = Object.values(perStage).reduce((a, b) => a + b, otherThreads)
        expect(Math.abs(sum / all - 1)).toBeLessThan(0.001)
        // A brief profile has few samples, and not of every stage.
        expect(Object.values(perStage).some((micros) => micros > 0)).toBe(true)
      }
    }
    for (const end of ["asking", "answering"]) {
      const file = join(directory, "profiles", `${current}-call-8-${end}.cpuprofile`)
      expect(JSON.parse(readFileSync(file, "utf8"))).toHaveProperty("nodes")
    }
  }, 120_000)

  test("fails where a goal is required and missed", async () => {
    const args = ["routing", "--brief", "--only", "rivals", "--paths", "call", "--runtime", current, "--inflight", "64"]
    const { code, err, out } = await bench(...args, "--require")
    // NATS takes no part, so that what is asked for beside it cannot be met.
    expect(err).toContain(`routed-call-${current}-nats is missed: not measured`)
    expect(out).toMatch(new RegExp(`^routed-call-${current}-nats .* NO$`, "m"))
    expect(code).toBe(1)
  }, 120_000)

  test("a part that cannot be measured fails, with 1", async () => {
    const tooLarge = String(8 * 1024 * 1024)
    const args = [
      "routing",
      "--brief",
      "--only",
      "rivals",
      "--paths",
      "call",
      "--runtime",
      current,
      "--bytes",
      tooLarge
    ]
    const { code, err } = await bench(...args)
    expect(err).toContain("bench: routing failed")
    expect(code).toBe(1)
  }, 120_000)

  test("says what is wrong with a command line, and ends with 2", async () => {
    for (const [args, words] of [
      [["nonsense"], 'there is no part "nonsense"'],
      [["routing", "nonsense"], 'there is no part "nonsense"'],
      [["routing", "idle", "--runtime", "bun"], "options of a part go with one part alone"],
      [["compare"], "compare takes two revisions"],
      [["compare", "no-such-revision"], 'git knows no revision "no-such-revision"'],
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
  }, 120_000)
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
