/** The small runs of experiments, for their tests. */
import type { Experiment, Row } from "../src/Experiment.ts"

/** Longest that a small run may take on a slow and busy machine, in ms. */
export const MOST_MS = 150_000

/** Makes the small run, and gives the rows that it misses; `PARLEY_SEED` in the environment repeats a run. */
export const missed = async (name: string, { run }: Experiment, seed: number): Promise<ReadonlyArray<Row>> => {
  const used = Number(process.env["PARLEY_SEED"] ?? seed)
  console.log(`${name}: PARLEY_SEED=${used}`)
  const said: Array<string> = []
  const { rows, text } = await run({ say: (line) => void said.push(line), seed: used, brief: true })
  if (rows.length === 0) throw new Error(`the small run of ${name} judges nothing`)
  const found = rows.filter(({ met }) => !met)
  if (found.length > 0) console.log(`${said.join("\n")}\n${text}`)
  return found
}
