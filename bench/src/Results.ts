/** What stands in a folder of results: a file of each part, their charts, and the summary of all. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.mjs"
import type { Goal, Report } from "./Part.ts"
import { extraParts, parts } from "./Parts.ts"
import { summaryOf, summaryText } from "./Summary.ts"

/** Where those results are kept that everybody is shown. */
export const resultsDirectory = join(root, "bench", "results")

/** What every part's file holds, besides what the part itself found out. */
export interface PartResults {
  readonly bench: string
  readonly date: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGiB: number
    readonly system: string
  }
  readonly versions: { readonly [name: string]: string }
  /** How long the part took. */
  readonly seconds: number
  /** Load average of one minute before and after: what else was going on. */
  readonly load: readonly [number, number]
  readonly goals: ReadonlyArray<Goal>
  /** The tables as a terminal shows them, and the names of the charts. */
  readonly text: string
  readonly charts: ReadonlyArray<string>
}

/** A file of a folder; undefined where there is none. */
const read = <A>(directory: string, file: string): A | undefined => {
  try {
    return JSON.parse(readFileSync(join(directory, file), "utf8")) as A
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined
    throw error
  }
}

export const readPart = <A extends object = object>(directory: string, part: string): (PartResults & A) | undefined =>
  read(directory, `${part}.json`)

export const readSummary = (directory: string): ReadonlyArray<Goal> => read(directory, "summary.json") ?? []

/** Six digits say all that was measured. */
const rounded = (_: string, value: unknown): unknown =>
  typeof value === "number" && Number.isFinite(value) && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value

/** Results as JSON: what holds no other list or object stands in one line, as a round does. */
export const jsonText = (json: object): string =>
  JSON.stringify(json, rounded, 1).replace(
    /([[{])\n\s*([^[\]{}]*?)\n\s*([\]}])/g,
    (_, open: string, inner: string, close: string) => `${open} ${inner.replaceAll(/\n\s*/g, " ")} ${close}`
  )

/** Writes a part's file and charts, and the summary anew. */
export const writePart = (directory: string, part: string, json: object, charts: Report["charts"]): void => {
  mkdirSync(join(directory, "charts"), { recursive: true })
  writeFileSync(join(directory, `${part}.json`), `${jsonText(json)}\n`)
  for (const { name, svg } of charts) writeFileSync(join(directory, "charts", `${name}.svg`), svg)
  const goals = Object.keys({ ...parts, ...extraParts }).map((name) => readPart(directory, name)?.goals ?? [])
  writeFileSync(join(directory, "summary.json"), summaryText(summaryOf(goals, readSummary(directory))))
}
