/** `results/summary.json`: a row for each line of what Parley must reach. */
import { short, table } from "./Table.ts"
import type { Goal } from "./Part.ts"

/** A row of the file: these members, in this order. */
export const rowOf = ({ goal, id, measured, met, runs, what }: Goal): Goal => ({ id, what, goal, measured, met, runs })

/**
 * The rows of before with those of this run in their places. Rows of parts that did not run stay; new ones come behind the row
 * that they followed in their part, so that the order does not depend on which parts ran.
 */
export const merge = (before: ReadonlyArray<Goal>, now: ReadonlyArray<Goal>): ReadonlyArray<Goal> => {
  const rows = before.map(rowOf)
  let last = rows.length - 1
  for (const goal of now.map(rowOf)) {
    const at = rows.findIndex(({ id }) => id === goal.id)
    if (at >= 0) {
      rows[at] = goal
      last = at
    } else rows.splice((last += 1), 0, goal)
  }
  return rows
}

/** The goals for a terminal. */
export const goalsTable = (goals: ReadonlyArray<Goal>): string =>
  table(
    ["goal", "what", "asked for", "measured", "runs", "met"],
    goals.map(({ goal, id, measured, met, runs, what }) => [
      id,
      what,
      goal,
      measured === null ? "not measured" : short(measured),
      String(runs),
      met ? "yes" : "NO"
    ])
  )
