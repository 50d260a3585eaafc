/**
 * The lab's figures in the documents, between `<!-- lab:NAME -->` and `<!-- /lab:NAME -->`: written from the results, so that
 * nobody types one.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.mjs"
import { markdownTable, short } from "../../bench/src/Table.ts"
import type { Row } from "./Experiment.ts"
import { experiments } from "./Experiments.ts"
import { readResults, resultsDirectory, summaryOf } from "./Results.ts"

export const documents: ReadonlyArray<string> = ["README.md", "lab/README.md"]

/** A measurement as tables show it. */
export const measuredText = ({ measured }: Row): string => (measured === null ? "not measured" : short(measured))

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
  return `Measured ${days} on ${first.machine.cores} cores (${first.machine.cpu}, ${first.machine.memoryGiB} GiB, ${first.machine.system}), in ${Math.round(seconds / 60)} minutes; bun ${first.versions["bun"] ?? "–"}, deno ${first.versions["deno"] ?? "–"}.`
}

/** An experiment's charts, and its tables as a terminal shows them. */
const shown =
  (name: string) =>
  (directory: string): string => {
    const found = readResults(directory, name)
    if (found === undefined) return `Not measured yet: \`npm run lab -- ${name}\` does.`
    const charts = found.charts.map((chart) => `![${name}: ${chart}](results/charts/${chart}.svg)\n`).join("")
    return `${charts}${charts === "" ? "" : "\n"}\`\`\`text\n${found.text}\n\`\`\``
  }

/** A document with its figures as the results say. Throws where a name is unknown. */
export const rewritten = (text: string, directory: string): string =>
  text.replace(/<!-- lab:(\S+) -->[\s\S]*?<!-- \/lab:\1 -->/g, (_, name: string) => {
    const block =
      name === "rows"
        ? rows(directory)
        : name === "machine"
          ? machine(directory)
          : Object.hasOwn(experiments, name)
            ? shown(name)(directory)
            : undefined
    if (block === undefined) throw new Error(`the lab has no figures of the name "${name}"`)
    return `<!-- lab:${name} -->\n\n${block}\n\n<!-- /lab:${name} -->`
  })

/** Brings the figures of all documents up to date. */
export const rewriteDocuments = (): void => {
  for (const name of documents) {
    const path = join(root, name)
    const before = readFileSync(path, "utf8")
    const after = rewritten(before, resultsDirectory)
    if (after !== before) writeFileSync(path, after)
  }
}
