/** What stands in a folder of results: a file of each experiment, their charts, and the summary of all. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.mjs"
import { jsonText } from "../../bench/src/Results.ts"
import type { Report, Row } from "./Experiment.ts"
import { experiments } from "./Experiments.ts"

/** Where those results are kept that everybody is shown. */
export const resultsDirectory = join(root, "lab", "results")

/** What every experiment's file holds, besides what the experiment itself found out. */
export interface Results {
  readonly experiment: string
  readonly date: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGiB: number
    readonly system: string
  }
  readonly versions: { readonly [name: string]: string }
  readonly runtime: string
  readonly seconds: number
  /** Load average of one minute before and after: what else was going on. */
  readonly load: readonly [number, number]
  readonly rows: ReadonlyArray<Row>
  /** The tables as a terminal shows them, and the names of the charts. */
  readonly text: string
  readonly charts: ReadonlyArray<string>
}

/** An experiment's file; undefined where there is none. */
export const readResults = (directory: string, name: string): Results | undefined => {
  try {
    return JSON.parse(readFileSync(join(directory, `${name}.json`), "utf8")) as Results
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined
    throw error
  }
}

/** A row of the summary: these members, in this order. */
const rowOf = ({ goal, id, measured, met, runs, seed, what }: Row): Row => ({
  id,
  what,
  goal,
  measured: measured === null || Number.isInteger(measured) ? measured : Number(measured.toPrecision(6)),
  met,
  runs,
  seed
})

/** Rows of all experiments in their order, whichever ran last. */
export const summaryOf = (directory: string): ReadonlyArray<Row> =>
  Object.keys(experiments).flatMap((name) => (readResults(directory, name)?.rows ?? []).map(rowOf))

/** A row in a line, so that a change of one figure is a change of one line. */
export const summaryText = (rows: ReadonlyArray<Row>): string =>
  `[\n${rows.map((row) => `  ${JSON.stringify(row)}`).join(",\n")}\n]\n`

/** Writes an experiment's file and charts, and the summary anew. */
export const writeResults = (directory: string, results: Results, charts: Report["charts"]): void => {
  mkdirSync(join(directory, "charts"), { recursive: true })
  writeFileSync(join(directory, `${results.experiment}.json`), `${jsonText(results)}\n`)
  for (const { name, svg } of charts) writeFileSync(join(directory, "charts", `${name}.svg`), svg)
  writeFileSync(join(directory, "summary.json"), summaryText(summaryOf(directory)))
}
