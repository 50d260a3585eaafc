/** A way to describe a table. */
import { type Description, NEGLIGIBLE, type Summary } from "../Describe.ts"
import type { Column, Table } from "../Table.ts"

/** What a method finds out of a column. */
export type Figures = Omit<Summary, "name" | "n" | "missing">

/** Describes a table. */
export type Method = (table: Table) => Description

/** A method that looks at one column at a time. */
export const byColumn =
  (figuresOf: (values: Float64Array) => Figures): Method =>
  ({ columns, rows }) => ({
    rows,
    columns: columns.map((column: Column) => ({
      name: column.name,
      n: column.values.length,
      missing: column.missing,
      ...figuresOf(column.values)
    }))
  })

/** The mean, or 0 where it is what rounding left of one. */
export const settle = (mean: number, min: number, max: number): number =>
  Math.abs(mean) < NEGLIGIBLE * Math.max(-min, max) ? 0 : mean

/** The middle of ascending numbers. */
export const middle = (sorted: Float64Array): number => {
  const half = sorted.length >> 1
  const upper = sorted[half]!
  return sorted.length % 2 === 1 ? upper : (sorted[half - 1]! + upper) / 2
}
