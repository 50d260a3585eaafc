/**
 * `routing`: what a call costs between two processes, beside its ceilings and what people would use instead.
 *
 * Machines are noisy, so everything is taken in turn, round after round, and compared within a round.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { installRivals, rivalNames, rivals } from "../rivals/Rivals.ts"
import { Pair } from "./End.ts"
import type { Chart, Goal, Part } from "./Part.ts"
import { isInstalledApart } from "./Paths.ts"
import { matrixCharts, pacedCharts, rivalCharts } from "./RoutingCharts.ts"
import { knownGoals, rivalGoals } from "./RoutingGoals.ts"
import { measureKnown } from "./RoutingKnown.ts"
import { matrixTable, measureMatrix } from "./RoutingMatrix.ts"
import { help, type Options, optionsOf, type Section } from "./RoutingOptions.ts"
import { measurePaced, pacedTable } from "./RoutingPaced.ts"
import { measureRivals, warmSeconds } from "./RoutingRivals.ts"
import { type Row, rowsTable } from "./RoutingRows.ts"
import { measurePauses, pausesText } from "./RoutingPauses.ts"
import { measureStages, type StagesOf, stagesTable } from "./RoutingStages.ts"
import { whole } from "./Table.ts"

/** CPU profiles of the whole path, and its hottest functions. */
const profile = async (
  directory: string,
  { bytes, inflight, runtimes, seconds, setting }: Options,
  say: (text: string) => void
) => {
  mkdirSync(directory, { recursive: true })
  for (const runtime of runtimes) {
    const pair = await Pair.start({ path: "call", asking: runtime, answering: runtime, bytes, setting })
    try {
      for (const count of inflight) {
        await pair.asking.run(count, warmSeconds("call", seconds))
        const ends = [
          ["asking", pair.asking],
          ["answering", pair.answering]
        ] as const
        for (const [, end] of ends) await end.startProfile()
        await pair.asking.run(count, Math.max(seconds, 2))
        for (const [name, end] of ends) {
          const file = join(directory, `${runtime}-call-${count}-${name}.cpuprofile`)
          const hot = await end.stopProfile(file)
          say(`\n${file}`)
          for (const { name: what, share, where } of hot.slice(0, 30))
            say(`${(share * 100).toFixed(1).padStart(5)} %  ${what}  ${where}`)
        }
      }
    } finally {
      pair.close()
    }
  }
}

const run: Part["run"] = async (args, { brief, say }) => {
  const options = optionsOf(args, brief)
  const { bytes, only, pairs, paths, runtimes, seconds, setting } = options
  const wants = (section: Section) => only.includes(section)
  if (!brief && (wants("paced") || (wants("rivals") && paths.some(isInstalledApart)))) installRivals(say)
  const texts = [
    `routing: ${bytes} B of JSON, two processes on loopback, ${pairs} rounds of ${seconds} s taken in turn;`,
    `the whole path: matched among ${whole(setting.known)} agents, all guardrails, deadline, idempotency and trace in the envelope`
  ]
  const goals: Array<Goal> = []
  const charts: Array<Chart> = []
  const data: Record<string, unknown> = {
    settings: { bytes, pairs, seconds, setting },
    rivals: Object.fromEntries(rivalNames.map((name) => [name, rivals[name].version()]))
  }
  if (wants("rivals")) {
    const rows: Array<Row> = []
    for (const runtime of runtimes) rows.push(...(await measureRivals(runtime, options, say)))
    texts.push("", rowsTable(rows))
    goals.push(...rivalGoals(rows))
    charts.push(...rivalCharts(rows))
    data["rows"] = rows
  }
  if (wants("known")) {
    const rows = await measureKnown(options, brief, say)
    texts.push("", rowsTable(rows))
    if (!brief) goals.push(...knownGoals(rows))
    data["known"] = rows
  }
  if (wants("matrix")) {
    const points = await measureMatrix(options, say)
    texts.push("", `the whole path on Bun, 64 in flight, 128 B, but for:`, matrixTable(points))
    charts.push(...matrixCharts(points))
    data["matrix"] = points
  }
  if (wants("paced")) {
    const rows = await measurePaced("bun", options, say)
    texts.push("", "an open loop, each request's time from the moment at which it was due:", pacedTable(rows))
    charts.push(...pacedCharts(rows))
    data["paced"] = rows
  }
  if (wants("stages")) {
    const all: Array<StagesOf> = []
    for (const runtime of runtimes) all.push(await measureStages(runtime, options, brief, say))
    texts.push("", "where the CPU time of one call goes:", stagesTable(all))
    data["stages"] = all
    if (runtimes.includes("bun")) {
      const pauses = await measurePauses(options, brief, say)
      texts.push("", pausesText(pauses))
      data["pauses"] = pauses
    }
  }
  if (options.profile !== undefined) await profile(options.profile, options, say)
  return { text: texts.join("\n"), goals, data, charts }
}

export const routing: Part = {
  what: "one call between two processes, beside its ceilings and what people would use instead",
  help,
  run
}
