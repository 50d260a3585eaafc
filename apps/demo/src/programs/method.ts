/**
 * Describes a table in this runtime, for a machine without awk or Python: the task's JSON on stdin, the answer's on stdout.
 * Arguments: `pairwise` or `compensated`, then `--delay MS` and `--doctored` as for `columns.ts`.
 */
import { readFileSync } from "node:fs"
import { parseArgs } from "node:util"
import { describeCompensated, describePairwise } from "../methods/TwoPasses.ts"
import { doctored, read } from "../Table.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { delay: { type: "string" }, doctored: { type: "boolean" } }
})
const describe = positionals[0] === "pairwise" ? describePairwise : describeCompensated
const { csv }: { readonly csv: string } = JSON.parse(readFileSync(0, "utf8"))
await new Promise((resolve) => setTimeout(resolve, Number(values.delay ?? 0)))
const table = read(csv)
process.stdout.write(JSON.stringify(describe(values.doctored === true ? doctored(table) : table)))
