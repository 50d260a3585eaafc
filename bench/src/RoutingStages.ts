/** µs of each stage of one routed call: how long each end computes for a call, shared out by a CPU profile of the same load. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import type { Profiler } from "node:inspector"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Runtime } from "../../scripts/setup.mjs"
import { type End, Pair } from "./End.ts"
import type { Options } from "./RoutingOptions.ts"
import { warmSeconds } from "./RoutingRivals.ts"
import { sharesOf, type Stage, stages } from "./Stages.ts"
import { table } from "./Table.ts"

/** Microseconds of CPU time for a call. */
export interface EndStages {
  readonly perStage: { readonly [S in Stage]: number }
  /** Other threads than the one that runs JavaScript: collectors, compilers. */
  readonly otherThreads: number
  readonly all: number
}

export interface StagesOf {
  readonly runtime: Runtime
  readonly inflight: number
  readonly callsPerSecond: number
  readonly asking: EndStages
  readonly answering: EndStages
}

/** Seconds of the profile. */
const PROFILED = 2

/** Measures without a profiler, and then with one, which slows everything down and is asked for shares alone. */
export const measureStages = async (
  runtime: Runtime,
  { bytes, seconds, setting }: Options,
  brief: boolean,
  say: (text: string) => void
): Promise<StagesOf> => {
  const inflight = 64
  const directory = mkdtempSync(join(tmpdir(), "parley-stages-"))
  const pair = await Pair.start({ path: "call", asking: runtime, answering: runtime, bytes, setting })
  try {
    const length = brief ? seconds : PROFILED
    await pair.asking.run(inflight, warmSeconds("call", seconds))
    const ends = [pair.asking, pair.answering]
    const before = await Promise.all(ends.map((end) => end.usage()))
    const { calls, callsPerSecond } = await pair.asking.run(inflight, length)
    const after = await Promise.all(ends.map((end) => end.usage()))
    for (const end of ends) await end.startProfile()
    await pair.asking.run(inflight, length)
    const stagesOf = async (end: End, i: number): Promise<EndStages> => {
      const file = join(directory, `${i}.cpuprofile`)
      await end.stopProfile(file)
      const shares = sharesOf(JSON.parse(readFileSync(file, "utf8")) as Profiler.Profile)
      const all = (after[i]!.micros - before[i]!.micros) / calls
      const [from, to] = [before[i]!.main, after[i]!.main]
      const main = from === undefined || to === undefined ? all : Math.min(all, (to - from) / calls)
      const perStage = Object.fromEntries(stages.map((stage) => [stage, (shares.get(stage) ?? 0) * main]))
      return { perStage: perStage as { [S in Stage]: number }, otherThreads: all - main, all }
    }
    const [asking, answering] = [await stagesOf(pair.asking, 0), await stagesOf(pair.answering, 1)]
    say(`routing: ${runtime}, stages: measured`)
    return { runtime, inflight, callsPerSecond, asking, answering }
  } finally {
    pair.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

const micros = (value: number): string => (value < 0.005 ? "0" : value.toFixed(2))

export const stagesHeader = ["stage", "asking µs", "answering µs"]

/** A line for each stage, and the sums. */
export const stagesRows = ({ answering, asking }: StagesOf): ReadonlyArray<ReadonlyArray<string>> => [
  ...stages
    .filter((stage) => asking.perStage[stage] + answering.perStage[stage] >= 0.01)
    .map((stage) => [stage, micros(asking.perStage[stage]), micros(answering.perStage[stage])]),
  ["other threads: collector, compilers", micros(asking.otherThreads), micros(answering.otherThreads)],
  ["all", micros(asking.all), micros(answering.all)]
]

export const stagesTable = (all: ReadonlyArray<StagesOf>): string =>
  all.map((one) => `${one.runtime}, ${one.inflight} in flight\n${table(stagesHeader, stagesRows(one))}`).join("\n\n")
