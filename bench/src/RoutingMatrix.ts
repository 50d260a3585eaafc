/** The whole path with one thing changed at a time, each beside the bare echo of the same bytes in the same rounds. */
import type { Runtime } from "../../scripts/setup.mjs"
import { Pair, type PairSpec, type Round } from "./End.ts"
import { type Setting, usual } from "./Path.ts"
import type { Options } from "./RoutingOptions.ts"
import { warmSeconds } from "./RoutingRivals.ts"
import { headOf, rowOf, type Row } from "./RoutingRows.ts"
import { ratioOf, type Spread } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import { takeTurns } from "./Turns.ts"

/** Where the matrix is entered from: what is not said of a point is as here. */
const base = { asking: "bun", answering: "bun", bytes: 128, inflight: [64], setting: usual } as const

interface Group extends Partial<Omit<PairSpec, "path" | "setting" | "root">> {
  /** What is changed, and to what. */
  readonly dimension: string
  readonly value?: string
  readonly inflight?: ReadonlyArray<number>
  readonly setting?: Partial<Setting>
}

const KIB = 1_024
const MIB = 1_024 * KIB

const everyInflight = [1, 8, 64, 512]

const groups: ReadonlyArray<Group> = [
  { dimension: "in flight", inflight: everyInflight },
  { dimension: "in flight, Deno", inflight: everyInflight, asking: "deno", answering: "deno" },
  { dimension: "runtimes", value: "Bun asks Deno", answering: "deno" },
  { dimension: "runtimes", value: "Deno asks Bun", asking: "deno" },
  { dimension: "payload", value: "4 KiB", bytes: 4 * KIB },
  { dimension: "payload", value: "1 MiB", bytes: MIB, inflight: [8] },
  { dimension: "agents that answer", value: "8", setting: { peers: 8 } },
  { dimension: "agents that answer", value: "64", setting: { peers: 64 } },
  { dimension: "way", value: "through a relay", relayed: true },
  { dimension: "known capabilities", value: "10", setting: { known: 10 } },
  { dimension: "known capabilities", value: "100,000", setting: { known: 100_000 } },
  { dimension: "trace", value: "none", setting: { traced: false } }
]

/** How long each round is, of those beside the rivals: there are many points, and no goal is judged by them. */
const SHARE = 0.4

/** One point of the matrix. */
export interface Point {
  readonly dimension: string
  readonly value: string
  readonly call: Row
  readonly echo: Row
  /** Calls a second of the echo's frames, round by round. */
  readonly ofEcho: Spread
}

const measureGroup = async (
  group: Group,
  { pairs: rounds, seconds }: Pick<Options, "pairs" | "seconds">
): Promise<ReadonlyArray<Point>> => {
  const { bytes, answering, asking, inflight, setting } = { ...base, ...group }
  const runtimes: { readonly asking: Runtime; readonly answering: Runtime } = { asking, answering }
  const spec = { ...runtimes, bytes, setting: { ...usual, ...setting }, relayed: group.relayed === true }
  const call = await Pair.start({ ...spec, path: "call" })
  try {
    const echo = await Pair.start({ ...runtimes, bytes, path: "echo" })
    try {
      const points: Array<Point> = []
      for (const [i, count] of inflight.entries()) {
        const contestants = [call, echo].map((pair) => ({
          name: pair.path,
          // What was compiled for one number of requests serves the next one.
          warmUp: () => pair.asking.run(count, i === 0 ? warmSeconds(pair.path, 2 * seconds) : seconds),
          round: () => pair.round(count, seconds)
        }))
        const taken = await takeTurns<Round>(contestants, rounds)
        const [ours, theirs] = [taken.get("call")!, taken.get("echo")!]
        const head = { ...headOf("call", asking, count, bytes), answering }
        points.push({
          dimension: group.dimension,
          value: group.value ?? whole(count),
          call: rowOf(head, ours, ours),
          echo: rowOf({ ...head, ...headOf("echo", asking, count, bytes), answering }, theirs, ours),
          ofEcho: ratioOf(
            ours.map((round) => round.callsPerSecond),
            theirs.map((round) => round.callsPerSecond)
          )
        })
      }
      return points
    } finally {
      echo.close()
    }
  } finally {
    call.close()
  }
}

/** Every point. A group that fails is told of, and left out. */
export const measureMatrix = async (
  { pairs, seconds }: Options,
  say: (text: string) => void,
  wanted: (dimension: string) => boolean = () => true
): Promise<ReadonlyArray<Point>> => {
  const points: Array<Point> = []
  for (const group of groups.filter(({ dimension }) => wanted(dimension))) {
    points.push(...(await measureGroup(group, { pairs, seconds: seconds * SHARE })))
    say(`routing: ${group.dimension}${group.value === undefined ? "" : `, ${group.value}`}: measured`)
  }
  return points
}

export const matrixTable = (points: ReadonlyArray<Point>): string =>
  table(
    ["changed", "to", "calls/s", "of the echo", "p50 µs", "p99 µs", "CPU µs/call"],
    points.map(({ call, dimension, ofEcho, value }) => [
      dimension,
      value,
      whole(call.callsPerSecond.median),
      spread(ofEcho),
      short(call.p50.median),
      short(call.p99.median),
      short(call.cpuMicros.median)
    ])
  )
