/** The bench's figures in the documents, by the name of their markers. */
import { machineText, rewriteFiles, rewrittenBy, shown } from "./Figures.ts"
import { extraParts, parts } from "./Parts.ts"
import { readPart, readSummary, resultsDirectory } from "./Results.ts"
import type { Point } from "./RoutingMatrix.ts"
import type { Paced } from "./RoutingPaced.ts"
import { type Row, runtimesOf } from "./RoutingRows.ts"
import { type Pauses, pausesText } from "./RoutingPauses.ts"
import { type StagesOf, stagesHeader, stagesRows } from "./RoutingStages.ts"
import { isPlain, labelOf } from "./Paths.ts"
import { measuredText } from "./Summary.ts"
import { markdownTable, short, spread, whole } from "./Table.ts"

export const documents: ReadonlyArray<string> = ["README.md", "bench/README.md"]

interface RoutingResults {
  readonly rows?: ReadonlyArray<Row>
  readonly matrix?: ReadonlyArray<Point>
  readonly paced?: ReadonlyArray<Paced>
  readonly stages?: ReadonlyArray<StagesOf>
  readonly pauses?: Pauses
}

const routing = (directory: string) => readPart<RoutingResults>(directory, "routing")

const goals = (directory: string): string =>
  markdownTable(
    ["what", "goal", "measured", "met"],
    readSummary(directory).map((goal) => [goal.what, goal.goal, measuredText(goal), goal.met ? "yes" : "**no**"])
  )

const rivals = (directory: string): string =>
  markdownTable(
    ["runtime", "in flight", "", "wire", "Parley's calls/s are × its", "calls/s", "p50 µs", "p99 µs", "CPU µs/call"],
    (routing(directory)?.rows ?? []).map((row) => [
      runtimesOf(row),
      String(row.inflight),
      row.path === "call" ? `**${labelOf(row.path)}**` : labelOf(row.path),
      isPlain(row.path) ? "plain" : "encrypted",
      row.path === "call" ? "1" : spread(row.parleyTimes),
      whole(row.callsPerSecond.median),
      short(row.p50.median),
      short(row.p99.median),
      short(row.cpuMicros.median)
    ])
  )

/** Beside whom Parley is so many times as fast, in a line each. */
const short64 = (directory: string): string => {
  const rows = (routing(directory)?.rows ?? []).filter((row) => row.inflight === 64 && row.path !== "call")
  const of = (path: string, runtime: string) => rows.find((row) => row.path === path && row.asking === runtime)
  const times = (row: Row | undefined) => (row === undefined ? "–" : spread(row.parleyTimes))
  return markdownTable(
    ["Parley's calls/s are × those of", "wire", "on Bun", "on Deno"],
    [...new Set(rows.map(({ path }) => path))]
      .filter((path) => path !== "session")
      .map((path) => [
        labelOf(path),
        isPlain(path) ? "plain" : "encrypted",
        times(of(path, "bun")),
        times(of(path, "deno"))
      ])
  )
}

const matrix = (directory: string): string =>
  markdownTable(
    ["changed", "to", "of the echo's rate", "calls/s", "p50 µs", "p99 µs", "CPU µs/call"],
    (routing(directory)?.matrix ?? []).map(({ call, dimension, ofEcho, value }) => [
      dimension,
      value,
      spread(ofEcho),
      whole(call.callsPerSecond.median),
      short(call.p50.median),
      short(call.p99.median),
      short(call.cpuMicros.median)
    ])
  )

const paced = (directory: string): string =>
  markdownTable(
    ["", "of its closed loop", "requests/s", "p50 µs", "p99 µs", "p99.9 µs"],
    (routing(directory)?.paced ?? []).map(({ p50, p99, p999, path, perSecond, share }) => [
      labelOf(path),
      `${share * 100} %`,
      whole(perSecond),
      spread(p50),
      spread(p99),
      short(p999.median)
    ])
  )

const stages = (directory: string): string =>
  (routing(directory)?.stages ?? [])
    .map(
      (one) =>
        `${one.runtime === "bun" ? "Bun" : "Deno"}, ${one.inflight} in flight:\n\n${markdownTable(stagesHeader, stagesRows(one))}`
    )
    .join("\n\n")

const pauses = (directory: string): string => {
  const found = routing(directory)?.pauses
  return found === undefined ? "Not measured yet: `npm run bench -- routing` does." : pausesText(found)
}

/** Where, when and with what. */
const machine = (directory: string): string => {
  const found = routing(directory)
  if (found === undefined) return ""
  const { date, load, machine, versions } = found
  const named = ["bun", "deno", "effect", "nats-server"].flatMap((name) =>
    versions[name] === undefined ? [] : [`${name} ${versions[name]}`]
  )
  return `Measured ${date.slice(0, 10)} ${machineText(machine)}, load ${load.join(" before and ")} after; ${named.join(", ")}.`
}

const blocks: { readonly [name: string]: (directory: string) => string } = {
  goals,
  rivals,
  short: short64,
  matrix,
  paced,
  stages,
  pauses,
  machine,
  ...Object.fromEntries(
    Object.keys({ ...parts, ...extraParts })
      .filter((name) => name !== "routing")
      .map((name) => [name, (directory: string) => shown("bench", name, readPart(directory, name))])
  )
}

/** A document with its figures as the results say. Throws where a name is unknown. */
export const rewritten = (text: string, directory: string): string =>
  rewrittenBy("bench", text, (name) => blocks[name]?.(directory))

/** Brings the figures of all documents up to date. */
export const rewriteDocuments = (): void => rewriteFiles(documents, (text) => rewritten(text, resultsDirectory))
