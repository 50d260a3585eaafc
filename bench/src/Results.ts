/** What a run of the routing bench comes to, as data and as a table. */
import type { Run } from "./Load.ts"
import type { PathName } from "./RoutingEnd.ts"
import { type Spread, spreadOf as spread } from "./Spread.ts"

/** One round: a run, and the CPU time that each end used for a request. */
export interface Round extends Run {
  readonly askingMicros: number
  readonly answeringMicros: number
}

/** One path on one runtime with so many requests in flight. */
export interface Row {
  readonly runtime: string
  readonly inflight: number
  readonly path: PathName
  readonly callsPerSecond: Spread
  /** Microseconds. */
  readonly p50: Spread
  /** Microseconds. */
  readonly p99: Spread
  /** Microseconds of CPU time for each request. */
  readonly cpuMicros: { readonly asking: Spread; readonly answering: Spread }
  /** Requests a second beside those of the echo, round by round. */
  readonly toEcho: Spread
  readonly rounds: ReadonlyArray<Round>
}

/** The whole run. */
export interface Results {
  readonly bench: "routing"
  readonly date: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGiB: number
    readonly system: string
    /** Load average of one minute before and after: what else was going on. */
    readonly load: readonly [number, number]
  }
  readonly versions: { readonly [name: string]: string }
  readonly settings: {
    readonly bytes: number
    readonly seconds: number
    readonly pairs: number
    readonly knownCapabilities: number
  }
  readonly rows: ReadonlyArray<Row>
  readonly floor: { readonly callsPerSecond: number; readonly measured: number | undefined; readonly met: boolean }
}

/** A row of rounds, beside the echo's rounds that were taken in turn with them. */
export const rowOf = (
  runtime: string,
  inflight: number,
  path: PathName,
  rounds: ReadonlyArray<Round>,
  echo: ReadonlyArray<Round>
): Row => ({
  runtime,
  inflight,
  path,
  callsPerSecond: spread(rounds.map((round) => round.callsPerSecond)),
  p50: spread(rounds.map((round) => round.p50)),
  p99: spread(rounds.map((round) => round.p99)),
  cpuMicros: {
    asking: spread(rounds.map((round) => round.askingMicros)),
    answering: spread(rounds.map((round) => round.answeringMicros))
  },
  toEcho: spread(rounds.map((round, i) => round.callsPerSecond / (echo[i]?.callsPerSecond ?? Number.NaN))),
  rounds
})

const whole = (value: number): string => Math.round(value).toLocaleString("en-US")
const micros = (value: number): string => (value < 100 ? value.toFixed(1) : whole(value))
const share = (value: number): string => (value < 0.0995 ? value.toFixed(3) : value.toFixed(2))
const between = (write: (value: number) => string, { max, min }: Spread): string => `${write(min)} to ${write(max)}`

/** The rows for people. */
export const table = ({ floor, machine, rows, settings, versions, date }: Results): string => {
  const header = [
    "runtime",
    "in flight",
    "path",
    "calls/s",
    "(least to most)",
    "p50 µs",
    "p99 µs",
    "CPU µs/call",
    "of echo"
  ]
  const cells = rows.map((row) => [
    row.runtime,
    String(row.inflight),
    row.path,
    whole(row.callsPerSecond.median),
    between(whole, row.callsPerSecond),
    micros(row.p50.median),
    micros(row.p99.median),
    `${row.cpuMicros.asking.median.toFixed(2)} + ${row.cpuMicros.answering.median.toFixed(2)}`,
    row.path === "echo" ? "1" : `${share(row.toEcho.median)} (${between(share, row.toEcho)})`
  ])
  const widths = header.map((name, i) => Math.max(name.length, ...cells.map((line) => line[i]?.length ?? 0)))
  const line = (values: ReadonlyArray<string>) =>
    values
      .map((value, i) => (i === 0 || i === 2 ? value.padEnd(widths[i] ?? 0) : value.padStart(widths[i] ?? 0)))
      .join("  ")
      .trimEnd()
  const measured = floor.measured === undefined ? "not measured" : whole(floor.measured)
  return [
    `routing: ${settings.bytes} B of JSON, two processes on loopback, ${settings.pairs} rounds of ${settings.seconds} s taken in turn,`,
    `${whole(settings.knownCapabilities)} other capabilities known`,
    "",
    line(header),
    ...cells.map(line),
    "",
    `call: the whole path, encrypted. session: the encrypted session alone. echo: bare TCP. CPU: asking + answering end.`,
    `floor: ${whole(floor.callsPerSecond)} calls/s at 64 in flight on Bun: ${measured}${floor.measured === undefined ? "" : floor.met ? ", met" : ", NOT met"}`,
    `${date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}, load ${machine.load.join(" then ")}`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")
  ].join("\n")
}
