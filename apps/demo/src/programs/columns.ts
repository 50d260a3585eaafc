/**
 * The task's JSON from stdin, as lines that any program can read, on stdout:
 *
 * ```text
 * table <TAB> ROWS
 * column <TAB> NAME AS JSON <TAB> MISSING <TAB> N
 * 12.5
 * …
 * end
 * ```
 *
 * `--delay MS` waits before, and `--doctored` lets the numbers be wrong: roles of the demo. A pipe hides the exit code of a
 * program at its head, so whoever reads counts only what ends in `end`.
 */
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { doctored, read } from "../Table.ts"

const { values } = parseArgs({ options: { delay: { type: "string" }, doctored: { type: "boolean" } } })
const { csv }: { readonly csv: string } = JSON.parse(readFileSync(0, "utf8"))
await new Promise((resolve) => setTimeout(resolve, Number(values.delay ?? 0)))
const table = values.doctored === true ? doctored(read(csv)) : read(csv)
const lines = [`table\t${table.rows}`]
for (const column of table.columns) {
  lines.push(`column\t${JSON.stringify(column.name)}\t${column.missing}\t${column.values.length}`)
  for (const value of column.values) lines.push(String(value))
}
lines.push("end")
process.stdout.write(`${lines.join("\n")}\n`)
