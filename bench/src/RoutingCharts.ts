/** The pictures of the routing bench. */
import type { Runtime } from "../../scripts/setup.mjs"
import { bars, lines } from "./Charts.ts"
import type { Chart } from "./Part.ts"
import { isPlain, type PathName } from "./Paths.ts"
import type { Point } from "./RoutingMatrix.ts"
import type { Paced } from "./RoutingPaced.ts"
import type { Row } from "./RoutingRows.ts"
import { short, whole } from "./Table.ts"

const names: { readonly [R in Runtime]: string } = { bun: "Bun", deno: "Deno" }

/** Bare sockets do so many times as much that the others would not be seen beside them; they stand in the table. */
const isBare = (path: PathName): boolean => path === "echo" || path === "aesRecords" || path === "session"

const labelled = (row: Row): string => `${row.label} (${isPlain(row.path) ? "plain" : "encrypted"})`

const speed = (rows: ReadonlyArray<Row>, runtime: Runtime): ReadonlyArray<Chart> => {
  const shown = rows.filter((row) => row.asking === runtime && row.inflight === 64 && !isBare(row.path))
  const nats = shown.find(({ path }) => path === "nats")
  if (shown.length === 0) return []
  const times = runtime === "bun" ? 2 : 1.5
  return [
    bars({
      name: `routing-${runtime}`,
      title: `Calls a second on ${names[runtime]}, 64 in flight`,
      note: "two processes, 128 B of JSON; the whole path matches among 10,000 agents; longer is better",
      unit: "calls/s",
      write: whole,
      bars: shown
        .toSorted((a, b) => b.callsPerSecond.median - a.callsPerSecond.median)
        .map((row) => ({ label: labelled(row), value: row.callsPerSecond, ours: row.path === "call" })),
      ...(nats === undefined ? {} : { mark: { label: `${times} × NATS`, at: times * nats.callsPerSecond.median } })
    })
  ]
}

const alone = (rows: ReadonlyArray<Row>): ReadonlyArray<Chart> => {
  const shown = rows.filter((row) => row.asking === "bun" && row.inflight === 1)
  if (shown.length === 0) return []
  return [
    bars({
      name: "routing-alone",
      title: "One call at a time on Bun: the median answer",
      note: "two processes, 128 B of JSON, 1 in flight; shorter is better",
      unit: "µs",
      bars: shown
        .toSorted((a, b) => a.p50.median - b.p50.median)
        .map((row) => ({ label: labelled(row), value: row.p50, ours: row.path === "call" }))
    })
  ]
}

/** The pictures of what was measured beside the rivals. */
export const rivalCharts = (rows: ReadonlyArray<Row>): ReadonlyArray<Chart> => [
  ...speed(rows, "bun"),
  ...speed(rows, "deno"),
  ...alone(rows)
]

/** How speed grows with what is in flight. */
export const matrixCharts = (points: ReadonlyArray<Point>): ReadonlyArray<Chart> => {
  const of = (dimension: string, which: "call" | "echo") =>
    points
      .filter((point) => point.dimension === dimension)
      .map((point) => [point[which].inflight, point[which].callsPerSecond.median] as const)
  return [
    lines({
      name: "routing-inflight",
      title: "Calls a second by requests in flight",
      note: "two processes, 128 B of JSON; higher is better",
      x: { name: "requests in flight", log: true },
      y: { name: "calls/s", log: true },
      lines: [
        { label: "Parley on Bun", points: of("in flight", "call") },
        { label: "Parley on Deno", points: of("in flight, Deno", "call") },
        { label: "bare TCP echo on Bun", points: of("in flight", "echo") },
        { label: "bare TCP echo on Deno", points: of("in flight, Deno", "echo") }
      ]
    })
  ]
}

/** How long answers take under a load that comes by the clock. */
export const pacedCharts = (rows: ReadonlyArray<Paced>): ReadonlyArray<Chart> => {
  const of = (path: PathName, value: (row: Paced) => number) =>
    rows.filter((row) => row.path === path).map((row) => [row.perSecond, value(row)] as const)
  return [
    lines({
      name: "routing-paced",
      title: "How long an answer takes at a given load, on Bun",
      note: "open loop at 25, 50 and 75 % of what each does at most; lower is better",
      x: { name: "requests/s" },
      y: { name: "µs", log: true, write: short },
      lines: [
        { label: "Parley p50", points: of("call", (row) => row.p50.median) },
        { label: "NATS p50", points: of("nats", (row) => row.p50.median) },
        { label: "Parley p99", points: of("call", (row) => row.p99.median) },
        { label: "NATS p99", points: of("nats", (row) => row.p99.median) }
      ]
    })
  ]
}
