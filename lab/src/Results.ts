/** What stands in a folder of results: a file of each experiment, their charts, and the summary of all. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.mjs"
import { type Measured, readFile, writeFile } from "../../bench/src/Results.ts"
import { summaryText } from "../../bench/src/Summary.ts"
import type { Report, Row } from "./Experiment.ts"
import { experiments } from "./Experiments.ts"

/** Where those results are kept that everybody is shown. */
export const resultsDirectory = join(root, "lab", "results")

/** What every experiment's file holds, besides what the experiment itself found out. */
export interface Results extends Measured {
  readonly experiment: string
  readonly runtime: string
  readonly rows: ReadonlyArray<Row>
}

/** An experiment's file; undefined where there is none. */
export const readResults = (directory: string, name: string): Results | undefined => readFile(directory, `${name}.json`)

/** Rows of all experiments in their order, whichever ran last. */
export const summaryOf = (directory: string): ReadonlyArray<Row> =>
  Object.keys(experiments).flatMap((name) => readResults(directory, name)?.rows ?? [])

/** Writes an experiment's file and charts, and the summary anew. */
export const writeResults = (directory: string, results: Results, charts: Report["charts"]): void => {
  writeFile(directory, results.experiment, results, charts)
  writeFileSync(join(directory, "summary.json"), summaryText(summaryOf(directory)))
}
