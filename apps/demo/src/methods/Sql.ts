/** SQL: the numbers go into a table of SQLite in memory, and its aggregates do the rest. */
import { DatabaseSync } from "node:sqlite"
import type { Table } from "../Table.ts"
import { type Method, settle } from "./Method.ts"

const FIGURES = `
  WITH origin AS (SELECT x AS first FROM cell WHERE rowid = 1),
       centre AS (SELECT first, avg(x - first) AS mean FROM cell, origin)
  SELECT first + mean AS mean, sum((x - first - mean) * (x - first - mean)) AS squares, min(x) AS min, max(x) AS max
  FROM cell, centre`

const MEDIAN = `
  SELECT avg(x) AS median
  FROM (SELECT x FROM cell ORDER BY x LIMIT 2 - (SELECT count(*) FROM cell) % 2 OFFSET (SELECT (count(*) - 1) / 2 FROM cell))`

const numbers = (row: unknown): { readonly [name: string]: number } => row as { readonly [name: string]: number }

/** SQLite's aggregates. */
export const describe: Method = ({ columns, rows }: Table) => {
  const database = new DatabaseSync(":memory:")
  try {
    database.exec("CREATE TABLE cell (x REAL)")
    const insert = database.prepare("INSERT INTO cell (x) VALUES (?)")
    const figures = database.prepare(FIGURES)
    const median = database.prepare(MEDIAN)
    return {
      rows,
      columns: columns.map(({ missing, name, values }) => {
        database.exec("DELETE FROM cell; BEGIN")
        for (const value of values) insert.run(value)
        database.exec("COMMIT")
        const found = numbers(figures.get())
        const { max, mean, min, squares } = found as { max: number; mean: number; min: number; squares: number }
        return {
          name,
          n: values.length,
          missing,
          mean: settle(mean, min, max),
          sd: values.length === 1 ? null : Math.sqrt(squares / (values.length - 1)),
          min,
          median: numbers(median.get())["median"]!,
          max
        }
      })
    }
  } finally {
    database.close()
  }
}
