/**
 * `routing`: what a call costs between two processes, and how much of that is the session and the socket.
 *
 * Machines are noisy, so the paths are taken in turn, round after round, and compared within a round.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, readFileSync } from "node:fs"
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { root, runtimePath, type Runtime } from "../../scripts/setup.mjs"
import { End, type Pair } from "./End.ts"
import type { Part, Report } from "./Part.ts"
import { payloadOf } from "./Path.ts"
import { type Results, type Round, type Row, rowOf, table } from "./Results.ts"
import type { PathName } from "./RoutingEnd.ts"
import { UsageError } from "./UsageError.ts"

/** Encrypted calls a second at 64 in flight on Bun that Parley promises on two cores. */
export const FLOOR = 100_000

const help = `bench routing: calls between two processes on loopback, beside the session alone and a bare TCP echo

  --runtime bun,deno    runtimes (default: both)
  --inflight 1,64       requests in flight (default: 1,64)
  --pairs N             rounds, each with every path (default: 5)
  --seconds S           length of each measurement (default: 0.8)
  --bytes N             payload as JSON (default: 128)
  --profile DIR         writes CPU profiles of the whole path there, and prints its hottest functions`

interface Options {
  readonly runtimes: ReadonlyArray<Runtime>
  readonly inflight: ReadonlyArray<number>
  readonly pairs: number
  readonly seconds: number
  readonly bytes: number
  readonly profile: string | undefined
}

const number = (name: string, text: string, least: number, isWhole: boolean): number => {
  const value = Number(text)
  if (text.trim() !== "" && value >= least && Number.isFinite(value) && (!isWhole || Number.isInteger(value)))
    return value
  throw new UsageError(`--${name} is ${isWhole ? "a whole number" : "a number"} from ${least}, not "${text}"`)
}

const runtimeOf = (text: string): Runtime => {
  if (text === "bun" || text === "deno") return text
  throw new UsageError(`--runtime is bun or deno, or both with a comma, not "${text}"`)
}

const optionsOf = (args: ReadonlyArray<string>): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runtime: { type: "string", default: "bun,deno" },
      inflight: { type: "string", default: "1,64" },
      pairs: { type: "string", default: "5" },
      seconds: { type: "string", default: "0.8" },
      bytes: { type: "string", default: "128" },
      profile: { type: "string" }
    }
  })
  return {
    runtimes: values.runtime.split(",").map(runtimeOf),
    inflight: values.inflight.split(",").map((text) => number("inflight", text, 1, true)),
    pairs: number("pairs", values.pairs, 1, true),
    seconds: number("seconds", values.seconds, 0.01, false),
    bytes: number("bytes", values.bytes, JSON.stringify({ ...payloadOf(32), text: "" }).length, true),
    profile: values.profile
  }
}

const pathNames: ReadonlyArray<PathName> = ["call", "session", "echo"]

const say = (text: string): void => void process.stderr.write(`${text}\n`)

const round = async ({ answering, asking }: Pair, inflight: number, seconds: number): Promise<Round> => {
  const [askedBefore, answeredBefore] = [await asking.cpu(), await answering.cpu()]
  const run = await asking.run(inflight, seconds)
  const [askedAfter, answeredAfter] = [await asking.cpu(), await answering.cpu()]
  const each = (before: number, after: number) => (run.calls === 0 ? 0 : (after - before) / run.calls)
  return { ...run, askingMicros: each(askedBefore, askedAfter), answeringMicros: each(answeredBefore, answeredAfter) }
}

const profiled = async (runtime: Runtime, pair: Pair, inflight: number, seconds: number, directory: string) => {
  const ends = [
    ["asking", pair.asking],
    ["answering", pair.answering]
  ] as const
  for (const [, end] of ends) await end.startProfile()
  await pair.asking.run(inflight, Math.max(seconds, 2))
  for (const [name, end] of ends) {
    const file = join(directory, `${runtime}-${pair.path}-${inflight}-${name}.cpuprofile`)
    const hot = await end.stopProfile(file)
    say(`\n${file}`)
    for (const { name: what, share, where } of hot.slice(0, 30)) {
      say(`${(share * 100).toFixed(1).padStart(5)} %  ${what}  ${where}`)
    }
  }
}

const measure = async (runtime: Runtime, options: Options): Promise<readonly [Array<Row>, number]> => {
  const { bytes, inflight, pairs, profile, seconds } = options
  const started: Array<Pair> = []
  try {
    for (const path of pathNames) started.push(await End.pair(runtime, path, bytes))
    const rows: Array<Row> = []
    // The whole path has most to be compiled, and is warmed up longest; enough for the optimising compilers.
    for (const pair of started) {
      const warm = pair.path === "call" ? 3 * seconds : seconds
      for (const count of inflight) await pair.asking.run(count, warm)
    }
    for (const count of inflight) {
      const rounds: Record<PathName, Array<Round>> = { call: [], session: [], echo: [] }
      for (let i = 0; i < pairs; i++) {
        const order = i % 2 === 0 ? started : [...started].reverse()
        for (const pair of order) rounds[pair.path].push(await round(pair, count, seconds))
      }
      for (const path of pathNames) rows.push(rowOf(runtime, count, path, rounds[path], rounds.echo))
      say(`${runtime}, ${count} in flight: measured`)
    }
    const [whole] = started
    if (profile !== undefined && whole !== undefined) {
      for (const count of inflight) await profiled(runtime, whole, count, seconds, profile)
    }
    return [rows, Math.max(...started.map(({ known }) => known))]
  } finally {
    for (const { answering, asking } of started) {
      asking.close()
      answering.close()
    }
  }
}

const versionOf = (runtime: Runtime): string =>
  execFileSync(runtimePath(runtime), ["--version"], { encoding: "utf8" })
    .trim()
    .replace(/^deno (\S+)[\s\S]*$/, "$1")

const packageVersion = (path: string): string => {
  const { version } = JSON.parse(readFileSync(join(root, path, "package.json"), "utf8")) as { readonly version: string }
  return version
}

const loadNow = (): number => Math.round((loadavg()[0] ?? 0) * 100) / 100

const run: Part["run"] = async (args, { brief }): Promise<Report> => {
  const asked = optionsOf(args)
  const options = brief ? { ...asked, pairs: 1, seconds: 0.05 } : asked
  const { bytes, pairs, profile, runtimes, seconds } = options
  if (profile !== undefined) mkdirSync(profile, { recursive: true })
  const loadBefore = loadNow()
  const rows: Array<Row> = []
  let knownCapabilities = 0
  for (const runtime of runtimes) {
    const [measured, known] = await measure(runtime, options)
    rows.push(...measured)
    knownCapabilities = Math.max(knownCapabilities, known)
  }
  const atFloor = rows.find((row) => row.runtime === "bun" && row.inflight === 64 && row.path === "call")
  const measured = atFloor?.callsPerSecond.median
  const results: Results = {
    bench: "routing",
    date: new Date().toISOString().slice(0, 10),
    machine: {
      cpu: cpus()[0]?.model.trim() ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${platform()} ${release()} ${arch()}`,
      load: [loadBefore, loadNow()]
    },
    versions: {
      parley: packageVersion("."),
      effect: packageVersion("node_modules/effect"),
      ...Object.fromEntries(runtimes.map((runtime) => [runtime, versionOf(runtime)]))
    },
    settings: { bytes, seconds, pairs, knownCapabilities },
    rows,
    floor: { callsPerSecond: FLOOR, measured, met: measured !== undefined && measured >= FLOOR }
  }
  return { text: table(results), goals: [], data: results, charts: [] }
}

export const routing: Part = {
  what: "calls between two processes, beside a bare TCP echo in the same run",
  help,
  run
}
