/** What stands in a folder of results, of the bench and of the lab: a file of each part, their charts, and the summary of all. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "../../scripts/setup.mjs"
import type { Machine } from "./Machine.ts"
import type { Chart, Goal } from "./Part.ts"
import { extraParts, parts } from "./Parts.ts"
import { summaryOf, summaryText } from "./Summary.ts"

/** Where those results are kept that everybody is shown. */
export const resultsDirectory = join(root, "bench", "results")

/** What every file holds, besides whose it is, what it judged and what it found out. */
export interface Measured {
  readonly date: string
  readonly machine: Machine
  readonly versions: { readonly [name: string]: string }
  /** How long it took. */
  readonly seconds: number
  /** Load average of one minute before and after: what else was going on. */
  readonly load: readonly [number, number]
  /** The tables as a terminal shows them, and the names of the charts. */
  readonly text: string
  readonly charts: ReadonlyArray<string>
}

/** What every part's file holds, besides what the part itself found out. */
export interface PartResults extends Measured {
  readonly bench: string
  readonly goals: ReadonlyArray<Goal>
}

/** A file of a folder; undefined where there is none. */
export const readFile = <A>(directory: string, file: string): A | undefined => {
  try {
    return JSON.parse(readFileSync(join(directory, file), "utf8")) as A
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined
    throw error
  }
}

export const readPart = <A extends object = object>(directory: string, part: string): (PartResults & A) | undefined =>
  readFile(directory, `${part}.json`)

export const readSummary = (directory: string): ReadonlyArray<Goal> => readFile(directory, "summary.json") ?? []

/** Six digits say all that was measured. */
const rounded = (_: string, value: unknown): unknown =>
  typeof value === "number" && Number.isFinite(value) && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value

/** Results as JSON: what holds no other list or object stands in one line, as a round does. */
export const jsonText = (json: object): string =>
  JSON.stringify(json, rounded, 1).replace(
    /([[{])\n\s*([^[\]{}]*?)\n\s*([\]}])/g,
    (_, open: string, inner: string, close: string) => `${open} ${inner.replaceAll(/\n\s*/g, " ")} ${close}`
  )

/** Writes a file and its charts. */
export const writeFile = (directory: string, name: string, json: object, charts: ReadonlyArray<Chart>): void => {
  mkdirSync(join(directory, "charts"), { recursive: true })
  writeFileSync(join(directory, `${name}.json`), `${jsonText(json)}\n`)
  for (const chart of charts) writeFileSync(join(directory, "charts", `${chart.name}.svg`), chart.svg)
}

/** Writes a part's file and charts, and the summary anew. */
export const writePart = (directory: string, part: string, json: object, charts: ReadonlyArray<Chart>): void => {
  writeFile(directory, part, json, charts)
  const goals = Object.keys({ ...parts, ...extraParts }).map((name) => readPart(directory, name)?.goals ?? [])
  writeFileSync(join(directory, "summary.json"), summaryText(summaryOf(goals, readSummary(directory))))
}
