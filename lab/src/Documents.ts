/** The lab's figures in the documents, by the name of their markers. */
import { machineText, rewriteFiles, rewrittenBy, shown } from "../../bench/src/Figures.ts"
import { measuredText } from "../../bench/src/Summary.ts"
import { markdownTable } from "../../bench/src/Table.ts"
import { experiments } from "./Experiments.ts"
import { readResults, resultsDirectory, summaryOf } from "./Results.ts"

export const documents: ReadonlyArray<string> = ["README.md", "lab/README.md"]

const rows = (directory: string): string =>
  markdownTable(
    ["what", "goal", "measured", "runs", "seed", "met"],
    summaryOf(directory).map((row) => [
      row.what,
      row.goal,
      measuredText(row),
      row.runs.toLocaleString("en-US"),
      String(row.seed),
      row.met ? "yes" : "**no**"
    ])
  )

/** Where, when and with what. */
const machine = (directory: string): string => {
  const found = Object.keys(experiments).flatMap((name) => readResults(directory, name) ?? [])
  const [first] = found
  if (first === undefined) return ""
  const dates = found.map(({ date }) => date.slice(0, 10)).sort()
  const days = [...new Set([dates[0], dates.at(-1)])].join(" to ")
  const seconds = found.reduce((sum, one) => sum + one.seconds, 0)
  return `Measured ${days} ${machineText(first.machine)}, in ${Math.round(seconds / 60)} minutes; bun ${first.versions["bun"] ?? "–"}, deno ${first.versions["deno"] ?? "–"}.`
}

/** A document with its figures as the results say. Throws where a name is unknown. */
export const rewritten = (text: string, directory: string): string =>
  rewrittenBy("lab", text, (name) => {
    if (name === "rows") return rows(directory)
    if (name === "machine") return machine(directory)
    return Object.hasOwn(experiments, name) ? shown("lab", name, readResults(directory, name)) : undefined
  })

/** Brings the figures of all documents up to date. */
export const rewriteDocuments = (): void => rewriteFiles(documents, (text) => rewritten(text, resultsDirectory))
