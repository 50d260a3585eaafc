/**
 * Figures in documents, of the bench and of the lab: between `<!-- TOOL:NAME -->` and `<!-- /TOOL:NAME -->`, written from the
 * results, so that nobody types one.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.mjs"
import type { Machine } from "./Machine.ts"
import type { Measured } from "./Results.ts"

/** Whose figures they are, as `npm run` knows it. */
export type Tool = "bench" | "lab"

/** Where it was measured. */
export const machineText = ({ cores, cpu, memoryGiB, system }: Machine): string =>
  `on ${cores} cores (${cpu}, ${memoryGiB} GiB, ${system})`

/** The charts of one file of results, and its tables as a terminal shows them. */
export const shown = (tool: Tool, name: string, found: Measured | undefined): string => {
  if (found === undefined) return `Not measured yet: \`npm run ${tool} -- ${name}\` does.`
  const charts = found.charts.map((chart) => `![${name}: ${chart}](results/charts/${chart}.svg)\n`).join("")
  return `${charts}${charts === "" ? "" : "\n"}\`\`\`text\n${found.text}\n\`\`\``
}

/** A document with its figures as `block` gives them; throws where that knows no such name. */
export const rewrittenBy = (tool: Tool, text: string, block: (name: string) => string | undefined): string =>
  text.replace(new RegExp(`<!-- ${tool}:(\\S+) -->[\\s\\S]*?<!-- /${tool}:\\1 -->`, "g"), (_, name: string) => {
    const figures = block(name)
    if (figures === undefined) throw new Error(`the ${tool} has no figures of the name "${name}"`)
    return `<!-- ${tool}:${name} -->\n\n${figures}\n\n<!-- /${tool}:${name} -->`
  })

/** Brings the figures of these documents up to date. */
export const rewriteFiles = (documents: ReadonlyArray<string>, rewritten: (text: string) => string): void => {
  for (const name of documents) {
    const path = join(root, name)
    const before = readFileSync(path, "utf8")
    const after = rewritten(before)
    if (after !== before) writeFileSync(path, after)
  }
}
