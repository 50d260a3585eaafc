/** `results/summary.json`: a row for each line of what Parley must reach. */
import type { Goal } from "./Part.ts"
import { short, table } from "./Table.ts"

/** A row of the file: these members, in this order. */
const rowOf = ({ goal, id, measured, met, runs, what }: Goal): Goal => ({ id, what, goal, measured, met, runs })

/**
 * The rows of all parts, in the order of `parts`, and then those of before that no part has: the order does not depend on which
 * parts ran last.
 */
export const summaryOf = (
  parts: ReadonlyArray<ReadonlyArray<Goal>>,
  before: ReadonlyArray<Goal>
): ReadonlyArray<Goal> => {
  const rows = parts.flat().map(rowOf)
  const ids = new Set(rows.map(({ id }) => id))
  return [...rows, ...before.filter(({ id }) => !ids.has(id)).map(rowOf)]
}

/** A row in a line, so that a change of one goal is a change of one line; of the lab's summary, too. */
export const summaryText = (goals: ReadonlyArray<Goal>): string =>
  `[\n${goals.map((goal) => `  ${JSON.stringify(goal)}`).join(",\n")}\n]\n`

/** A measurement as tables show it. */
export const measuredText = ({ measured }: Goal): string => (measured === null ? "not measured" : short(measured))

/** The goals for a terminal. */
export const goalsTable = (goals: ReadonlyArray<Goal>): string =>
  table(
    ["goal", "what", "asked for", "measured", "runs", "met"],
    goals.map((goal) => [goal.id, goal.what, goal.goal, measuredText(goal), String(goal.runs), goal.met ? "yes" : "NO"])
  )
