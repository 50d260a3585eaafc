/** The whole path beside its ceilings and everyone else's, in turn. */
import type { Runtime } from "../../scripts/setup.mjs"
import { Pair, type Round } from "./End.ts"
import { labelOf, type PathName, unavailable } from "./Paths.ts"
import type { Options } from "./RoutingOptions.ts"
import { headOf, type Row, rowsOf } from "./RoutingRows.ts"
import { takeTurns } from "./Turns.ts"

/** Seconds of load before anything counts: the whole path has most to be compiled. */
export const warmSeconds = (path: PathName, seconds: number): number =>
  path === "call" ? Math.max(6 * seconds, 0.1) : 2 * seconds

/** Starts the pairs of those who can run here; says of the others why not. */
const startAll = async (
  paths: ReadonlyArray<PathName>,
  runtime: Runtime,
  { bytes, setting }: Options,
  say: (text: string) => void
): Promise<Array<Pair>> => {
  const pairs: Array<Pair> = []
  for (const path of paths) {
    const why = unavailable(path, runtime)
    if (why !== undefined) {
      say(`routing: without ${labelOf(path)} on ${runtime}: ${why}`)
      continue
    }
    try {
      pairs.push(await Pair.start({ path, asking: runtime, answering: runtime, bytes, setting }))
    } catch (error) {
      // Without the whole path there is nothing to compare.
      if (path === "call") {
        for (const pair of pairs) pair.close()
        throw error
      }
      say(`routing: without ${labelOf(path)} on ${runtime}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return pairs
}

/** Every path of the options in turn, on one runtime. */
export const measureRivals = async (
  runtime: Runtime,
  options: Options,
  say: (text: string) => void
): Promise<ReadonlyArray<Row>> => {
  const { bytes, inflight, pairs: rounds, paths, seconds } = options
  const pairs = await startAll(paths, runtime, options, say)
  try {
    const rows: Array<Row> = []
    for (const [i, count] of inflight.entries()) {
      const contestants = pairs.map((pair) => ({
        name: pair.path,
        // What was compiled for one number of requests serves the next one.
        warmUp: () => pair.asking.run(count, i === 0 ? warmSeconds(pair.path, seconds) : seconds),
        round: () => pair.round(count, seconds)
      }))
      const taken = await takeTurns<Round>(contestants, rounds)
      rows.push(
        ...rowsOf(
          pairs.map(({ path }) => headOf(path, runtime, count, bytes)),
          taken,
          "call"
        )
      )
      say(`routing: ${runtime}, ${count} in flight, ${pairs.length} in turn: measured`)
    }
    return rows
  } finally {
    for (const pair of pairs) pair.close()
  }
}
