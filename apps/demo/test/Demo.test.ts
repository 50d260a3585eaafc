import { afterAll, describe, expect, test } from "bun:test"
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Table from "../src/Table.ts"
import { command } from "../../../test-support/Runtime.ts"

const main = join(import.meta.dirname, "../src/main.ts")
const folder = mkdtempSync(join(tmpdir(), "parley-demo-test-"))
const running = new Set<ChildProcess>()
afterAll(() => {
  for (const child of running) child.kill("SIGKILL")
  rmSync(folder, { recursive: true, force: true })
})

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The demo as a process, whose temporary files are put where the test sees them. */
const start = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) => {
  const temporary = mkdtempSync(join(folder, "tmp-"))
  const [file, ...first] = command(main)
  const child = spawn(file, [...first, ...args], {
    env: { ...process.env, TMPDIR: temporary, TMP: temporary, TEMP: temporary, ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  running.add(child)
  let stdout = ""
  let stderr = ""
  const ears = new Set<() => void>()
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("utf8")
    for (const ear of ears) ear()
  })
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")))
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code) => {
      running.delete(child)
      resolve({ code, stdout, stderr })
    })
  })
  /** Waits until stdout has what `found` looks for. */
  const said = (found: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const ear = () => {
        if (!found.test(stdout)) return
        ears.delete(ear)
        resolve(stdout)
      }
      ears.add(ear)
      ear()
      void ended.then(() => reject(new Error(`it ended without saying ${found}:\n${stdout}${stderr}`)))
    })
  return { child, ended, said, temporary, left: () => readdirSync(temporary) }
}

const file = (name: string, text: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** The last line of stdout, when it is the only one. */
const last = ({ code, stderr, stdout }: Ended) => {
  const lines = stdout.trimEnd().split("\n")
  if (lines.length !== 1 || lines[0] === "")
    throw new Error(`exit code ${code}, stdout:\n${stdout}\nstderr:\n${stderr}`)
  return JSON.parse(lines[0]!)
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    // One that nobody has collected yet is over all the same.
    return !existsSync(`/proc/${pid}/stat`) || !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))
  } catch {
    return false
  }
}

/** Asks again and again, gently: the system tells nobody when a stranger's process ends. */
const until = async (holds: () => boolean, what: () => string): Promise<void> => {
  const began = performance.now()
  while (!holds()) {
    if (performance.now() - began > 10_000) throw new Error(`not within 10 s: ${what()}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const odd =
  '\uFEFFArtikel;"Preis; € ""netto""";Menge;Notiz\r\n' +
  'Äpfel;1,25;10;"rot,\r\nsüß"\r\nBirnen;-;7;\r\n"Ка́ша; 粥";3,5;;\'n/a\'\r\n\r\nBrot;+,75;-3;🥖\r\n'

describe("the demo", () => {
  test("ends with one line of JSON, in which all of it happened", async () => {
    const demo = start(["--json"])
    const ended = await demo.ended
    expect(ended.stderr).toContain("All of it happened")
    expect(ended.code).toBe(0)
    const { agents, certificateVerified, countered, failovers, liars, relayed, verdict } = last(ended)
    expect(verdict.status).toBe("reached")
    expect(verdict.value.rows).toBe(118)
    expect(verdict.value.columns[0]).toMatchObject({ name: "atomic number", n: 118, mean: 59.5, min: 1, max: 118 })
    expect(verdict.value.columns[3].missing).toBe(34)
    expect({ agents, certificateVerified, countered, failovers, liars }).toEqual({
      agents: 7,
      certificateVerified: true,
      countered: 1,
      failovers: 1,
      liars: ["carol"]
    })
    expect(relayed).toBeGreaterThanOrEqual(1)
    expect(demo.left()).toEqual([])
  }, 120_000)

  test("has a registry beside it that saw all of it, and trusts the liar least; then everything ends", async () => {
    const demo = start(["--registry", "--json"])
    const ended = await demo.ended
    expect(ended.stderr).toContain("All of it happened")
    expect(ended.code).toBe(0)
    const { registry } = last(ended)
    expect(registry).toMatchObject({ published: true })
    expect(registry.online).toBeGreaterThanOrEqual(7)
    expect(registry.traces).toBeGreaterThan(10)
    const { standings } = registry as {
      readonly standings: ReadonlyArray<{ readonly name: string; readonly score: number; readonly attested: number }>
    }
    expect(standings.every(({ attested }) => attested > 0)).toBe(true)
    expect(standings.at(-1)?.name).toBe("carol")
    expect(standings.at(-1)?.score).toBeLessThan(0.5)
    expect(demo.left()).toEqual([])
  }, 120_000)

  test("keeps the registry's page and its agents up until it is interrupted, where that is asked for", async () => {
    const demo = start(["--registry", "--keep"])
    const text = await demo.said(/The page: http:\/\/127\.0\.0\.1:\d+\/[^]*Ctrl-C ends it/)
    const url = /The page: (\S+)/.exec(text)?.[1] ?? ""
    const pids = [...text.matchAll(/process (\d+)/g)].map(([, pid]) => Number(pid))
    const page = await fetch(url)
    expect(page.status).toBe(200)
    expect(await page.text()).toContain("<html")
    const agents: unknown = await (await fetch(`${url}agents`)).json()
    expect(Array.isArray(agents) && agents.length).toBe(8)
    process.kill(demo.child.pid!, "SIGINT")
    const { code, stdout } = await demo.ended
    expect(code).toBe(0)
    expect(stdout).toContain("Every process has ended.")
    expect(pids.some(isAlive)).toBe(false)
    expect(demo.left()).toEqual([])
  }, 120_000)

  test("tells of a table that nobody here wrote, with other agents in the roles", async () => {
    const demo = start(["--csv", file("odd.csv", odd), "--seed", "7"])
    const { code, stderr, stdout } = await demo.ended
    expect(stderr).toBe("")
    expect(code).toBe(0)
    expect(stdout).not.toContain("\u001b")
    expect(stdout).toMatch(/Preis; € "netto" +3 +1 +1\.83333 +1\.46487 +0\.75 +1\.25 +3\.5\n/)
    expect(stdout).toMatch(/Menge +3 +1 +4\.66667 +6\.80686 +-3 +7 +10\n/)
    expect(stdout).toContain("4 rows")
    for (const part of [
      /counters: its one place is taken/,
      /through the relay, sealed end to end/,
      /verdict +reached: [34] of 5 say the same/,
      /stands alone: it says that Preis; € "netto" has mean /,
      /proof +the certificate is valid: \d receipts of \d distinct agents over the same input/,
      /is killed \(SIGKILL\)/,
      /on to the next/,
      /All of it happened, in [\d.]+ s/
    ]) {
      expect(stdout).toMatch(part)
    }
    expect(demo.left()).toEqual([])
  }, 120_000)

  test("runs on two runtimes at once", async () => {
    const { code, stderr, stdout } = await start(["--mixed"]).ended
    expect(stderr).toBe("")
    expect(code).toBe(0)
    expect(stdout).toMatch(/ada +process \d+ on (bun|deno), one pass/)
    expect(stdout).toMatch(/bob +process \d+ on (bun|deno), two passes/)
  }, 120_000)

  test("needs neither awk nor Python", async () => {
    // The shell is found by its path, and so is the runtime.
    const ended = await start(["--json"], { PATH: join(folder, "nothing") }).ended
    expect(ended.stderr).toContain("pairwise sums")
    expect(ended.stderr).toContain("compensated sums")
    expect(ended.code).toBe(0)
    expect(last(ended).verdict.status).toBe("reached")
  }, 120_000)

  for (const [role, what, json] of [
    ["liar", "nobody was outvoted as the one liar", { liars: [] }],
    ["full", "no agent that was full countered", { countered: 0 }],
    ["killed", "no killed agent was tried first", { failovers: 0 }],
    ["relayed", "no agent was reached through the relay", { relayed: 0 }],
    ["slow", "no slow agent (2500 ms) answered late but in time", {}]
  ] as const) {
    test(`fails and says so when nobody plays: ${role}`, async () => {
      const ended = await start(["--json", "--without", role]).ended
      expect(ended.stderr.split("\n").filter((line) => line.startsWith("did not happen")).length).toBe(1)
      expect(ended.stderr).toContain(`did not happen: ${what}`)
      expect(ended.code).toBe(1)
      expect(last(ended)).toMatchObject(json)
    }, 120_000)
  }

  for (const signal of ["SIGKILL", "SIGINT"] as const) {
    test(`leaves neither processes nor files behind after ${signal}`, async () => {
      const demo = start([])
      const text = await demo.said(/counters/)
      const pids = [...text.matchAll(/process (\d+)/g)].map(([, pid]) => Number(pid))
      expect(pids.length).toBe(8)
      expect(pids.every(isAlive)).toBe(true)
      // Not child.kill: Deno then tells of the signal, whatever the exit code was.
      process.kill(demo.child.pid!, signal)
      const { code } = await demo.ended
      expect(code).toBe(signal === "SIGINT" ? 130 : null)
      await until(
        () => !pids.some(isAlive) && demo.left().length === 0,
        () => `left: processes ${pids.filter(isAlive).join()}, files ${demo.left().join()}`
      )
    }, 120_000)
  }

  test("says what is wrong with a file or the command line, and starts nothing", async () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<string>, number, string]> = [
      [["--csv", join(folder, "nosuch.csv")], 65, "there is no such file"],
      [["--csv", file("names.csv", "a,b\n")], 65, "no cells"],
      [["--csv", file("open.csv", 'a,b\n"1,2\n')], 65, "Quote Not Closed"],
      [
        ["--csv", file("large.csv", `a\n${"1\n".repeat(Table.MAX_CSV_BYTES / 2)}`)],
        65,
        `at most ${Table.MAX_CSV_BYTES}`
      ],
      [["--csv", file("zero.csv", new Uint8Array(100))], 65, "zero bytes"],
      [["--bogus"], 64, "--bogus"],
      [["--without", "fun"], 64, "there is no such role"]
    ]
    for (const [args, exitCode, what] of cases) {
      const { code, stderr, stdout } = await start(args).ended
      expect({ args, code, stdout }).toEqual({ args, code: exitCode, stdout: "" })
      expect(stderr).toContain(what)
    }
    const help = await start(["--help"]).ended
    expect(help.code).toBe(0)
    expect(help.stdout).toContain("Usage: npm run demo")
  }, 120_000)
})
