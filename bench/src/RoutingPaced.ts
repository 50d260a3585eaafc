/** An open loop: requests by the clock, at a part of what the closed loop does, for the whole path and for NATS. */
import type { Runtime } from "../../scripts/setup.mjs"
import { Pair, type Round } from "./End.ts"
import { labelOf, type PathName, unavailable } from "./Paths.ts"
import type { Options } from "./RoutingOptions.ts"
import { warmSeconds } from "./RoutingRivals.ts"
import { type Spread, spreadOf } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import { takeTurns, valuesOf } from "./Turns.ts"

const contestants: ReadonlyArray<PathName> = ["call", "nats"]
const shares = [0.25, 0.5, 0.75]

/** One contestant at one rate. Latencies count from the moment at which a request was due, in microseconds. */
export interface Paced {
  readonly path: PathName
  readonly runtime: Runtime
  readonly share: number
  /** Of its own closed loop. */
  readonly perSecond: number
  readonly achieved: Spread
  readonly p50: Spread
  readonly p99: Spread
  readonly p999: Spread
  readonly rounds: ReadonlyArray<Round>
}

/** Each at shares of its own closed loop, in turn. */
export const measurePaced = async (
  runtime: Runtime,
  { bytes, pairs: rounds, seconds, setting }: Options,
  say: (text: string) => void
): Promise<ReadonlyArray<Paced>> => {
  const pairs: Array<Pair> = []
  try {
    for (const path of contestants) {
      const why = unavailable(path, runtime)
      if (why === undefined) pairs.push(await Pair.start({ path, asking: runtime, answering: runtime, bytes, setting }))
      else say(`routing: an open loop without ${labelOf(path)} on ${runtime}: ${why}`)
    }
    const closed = await takeTurns<Round>(
      pairs.map((pair) => ({
        name: pair.path,
        warmUp: () => pair.asking.run(64, warmSeconds(pair.path, seconds)),
        round: () => pair.round(64, seconds)
      })),
      rounds
    )
    const paced: Array<Paced> = []
    for (const share of shares) {
      const rateOf = ({ path }: Pair) =>
        Math.max(1, Math.round(share * spreadOf(valuesOf(closed, path, (round) => round.callsPerSecond)).median))
      const taken = await takeTurns<Round>(
        pairs.map((pair) => ({
          name: pair.path,
          warmUp: () => pair.asking.pace(rateOf(pair), seconds),
          round: () => pair.paced(rateOf(pair), seconds)
        })),
        rounds
      )
      for (const pair of pairs) {
        const of = (value: (round: Round) => number) => spreadOf(valuesOf(taken, pair.path, value))
        paced.push({
          path: pair.path,
          runtime,
          share,
          perSecond: rateOf(pair),
          achieved: of((round) => round.callsPerSecond),
          p50: of((round) => round.p50),
          p99: of((round) => round.p99),
          p999: of((round) => round.p999),
          rounds: taken.get(pair.path) ?? []
        })
      }
    }
    say(`routing: ${runtime}, an open loop: measured`)
    return paced
  } finally {
    for (const pair of pairs) pair.close()
  }
}

export const pacedTable = (rows: ReadonlyArray<Paced>): string =>
  table(
    ["runtime", "path", "of its closed loop", "requests/s", "answered/s", "p50 µs", "p99 µs", "p99.9 µs"],
    rows.map(({ achieved, p50, p99, p999, path, perSecond, runtime, share }) => [
      runtime,
      labelOf(path),
      `${share * 100} %`,
      whole(perSecond),
      whole(achieved.median),
      spread(p50),
      spread(p99),
      short(p999.median)
    ])
  )
