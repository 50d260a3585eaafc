/** The lines of `results/summary.json` that routing is judged by. */
import type { Runtime } from "../../scripts/setup.mjs"
import type { Round } from "./End.ts"
import { type Goal, goal } from "./Part.ts"
import type { PathName } from "./Paths.ts"
import type { Row } from "./RoutingRows.ts"
import { differenceOf, ratioOf, spreadOf } from "./Spread.ts"

const find = (rows: ReadonlyArray<Row>, path: PathName, runtime: Runtime, inflight: number): ReadonlyArray<Round> =>
  rows.find((row) => row.path === path && row.asking === runtime && row.inflight === inflight && row.bytes === 128)
    ?.rounds ?? []

const speed = (round: Round): number => round.callsPerSecond
const p50 = (round: Round): number => round.p50

/** What was measured beside the rivals, as far as it was. */
export const rivalGoals = (rows: ReadonlyArray<Row>): ReadonlyArray<Goal> => {
  const times = (path: PathName, runtime: Runtime) =>
    ratioOf(find(rows, "call", runtime, 64).map(speed), find(rows, path, runtime, 64).map(speed)).median
  const bun = find(rows, "call", "bun", 64)
  const deno = find(rows, "call", "deno", 64)
  const one = find(rows, "call", "bun", 1)
  const beside = (path: PathName) => find(rows, path, "bun", 1).map(p50)
  return [
    ...(bun.length === 0
      ? []
      : [
          goal(
            "routed-call-bun-nats",
            "routed calls/s on Bun, 64 in flight, of NATS",
            { atLeast: 2 },
            "× NATS JS",
            times("nats", "bun"),
            bun.length
          ),
          goal(
            "routed-call-bun-aes-echo",
            "routed calls/s on Bun, 64 in flight, of the AES-GCM echo",
            { atLeast: 0.5 },
            "× AES-GCM echo",
            times("aesEcho", "bun"),
            bun.length
          )
        ]),
    ...(deno.length === 0
      ? []
      : [
          goal(
            "routed-call-deno-nats",
            "routed calls/s on Deno, 64 in flight, of NATS on Deno",
            { atLeast: 1.5 },
            "× NATS JS",
            times("nats", "deno"),
            deno.length
          )
        ]),
    ...(one.length === 0
      ? []
      : [
          goal(
            "p50-one-nats",
            "p50 at 1 in flight on Bun, of NATS",
            { atMost: 0.75 },
            "× NATS JS",
            ratioOf(one.map(p50), beside("nats")).median,
            one.length
          ),
          goal(
            "p50-one-over-echo",
            "p50 at 1 in flight on Bun, above the bare echo",
            { atMost: 60 },
            "µs",
            differenceOf(one.map(p50), beside("echo")).median,
            one.length
          )
        ]),
    ...(bun.length === 0
      ? []
      : [
          goal(
            "p99-p50",
            "p99 at 64 in flight on Bun, of its p50",
            { atMost: 5 },
            "× p50",
            spreadOf(bun.map((round) => round.p99 / round.p50)).median,
            bun.length
          )
        ])
  ]
}

/** The node that knows few comes first. */
export const knownGoals = ([few, many]: ReadonlyArray<Row>): ReadonlyArray<Goal> =>
  few === undefined || many === undefined
    ? []
    : [
        goal(
          "known-100000",
          "routed calls/s on Bun with 100,000 known capabilities, of those with 10",
          { atLeast: 0.9 },
          "× with 10",
          ratioOf(many.rounds.map(speed), few.rounds.map(speed)).median,
          few.rounds.length
        )
      ]
