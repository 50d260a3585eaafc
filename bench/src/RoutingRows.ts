/** What rounds of the routing bench come to, and how they are shown. */
import type { Runtime } from "../../scripts/setup.mjs"
import type { Round } from "./End.ts"
import { isPlain, labelOf, type PathName } from "./Paths.ts"
import { ratioOf, type Spread, spreadOf } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import type { Rounds } from "./Turns.ts"

/** One contestant on one pair of runtimes with so many requests in flight. */
export interface Row {
  readonly name: string
  readonly label: string
  readonly path: PathName
  readonly asking: Runtime
  readonly answering: Runtime
  readonly inflight: number
  readonly bytes: number
  readonly callsPerSecond: Spread
  /** Microseconds. */
  readonly p50: Spread
  /** Microseconds. */
  readonly p99: Spread
  /** Microseconds of CPU time for each request, of both ends; a server between them is not counted. */
  readonly cpuMicros: Spread
  /** How many times as many calls a second Parley does, round by round. */
  readonly parleyTimes: Spread
  readonly rounds: ReadonlyArray<Round>
}

/** What is known of a row before it is measured. */
export type RowHead = Pick<Row, "name" | "label" | "path" | "asking" | "answering" | "inflight" | "bytes">

/** The row of a contestant, beside `parley`'s rounds that were taken in turn with its own. */
export const rowOf = (head: RowHead, rounds: ReadonlyArray<Round>, parley: ReadonlyArray<Round>): Row => {
  const each = (value: (round: Round) => number) => spreadOf(rounds.map(value))
  const speed = (round: Round) => round.callsPerSecond
  return {
    ...head,
    callsPerSecond: each(speed),
    p50: each((round) => round.p50),
    p99: each((round) => round.p99),
    cpuMicros: each((round) => round.askingMicros + round.answeringMicros),
    parleyTimes: ratioOf(parley.map(speed), rounds.map(speed)),
    rounds
  }
}

/** The rows of those who were taken in turn. */
export const rowsOf = (heads: ReadonlyArray<RowHead>, rounds: Rounds<Round>, parley: string): ReadonlyArray<Row> =>
  heads.map((head) => rowOf(head, rounds.get(head.name) ?? [], rounds.get(parley) ?? []))

export const runtimesOf = ({ answering, asking }: Pick<Row, "asking" | "answering">): string =>
  asking === answering ? asking : `${asking} → ${answering}`

/** The rows for people. */
export const rowsTable = (rows: ReadonlyArray<Row>): string =>
  table(
    [
      "runtime",
      "in flight",
      "path",
      "wire",
      "calls/s",
      "(least to most)",
      "Parley is ×",
      "p50 µs",
      "p99 µs",
      "CPU µs/call"
    ],
    rows.map((row) => [
      runtimesOf(row),
      String(row.inflight),
      row.label,
      isPlain(row.path) ? "plain" : "encrypted",
      whole(row.callsPerSecond.median),
      `${whole(row.callsPerSecond.min)} to ${whole(row.callsPerSecond.max)}`,
      spread(row.parleyTimes),
      short(row.p50.median),
      short(row.p99.median),
      short(row.cpuMicros.median)
    ])
  )

/** A row's head for a path of its own name. */
export const headOf = (path: PathName, runtime: Runtime, inflight: number, bytes: number): RowHead => ({
  name: path,
  label: labelOf(path),
  path,
  asking: runtime,
  answering: runtime,
  inflight,
  bytes
})
