/**
 * `csv.describe@1.0.0`: the summary statistics of a table, as every agent of the demo has to understand it.
 *
 * Which cells are numbers, and what a table is at all, stands in `Table.ts`. Of each numeric column: how many numbers and how
 * many missing cells it has, the mean, the standard deviation of a sample (divided by n − 1; null for a single number), the
 * smallest, the middle (of an even number: the mean of the two in the middle) and the largest number.
 *
 * Methods round differently, so they agree to about nine digits and not to the last. Two rules keep that true where numbers
 * cancel out: deviations are taken from the column's first number, so that equal numbers have a deviation of exactly 0; and a
 * mean below `NEGLIGIBLE` of the column's largest magnitude is 0.
 */
import * as Schema from "effect/Schema"
import * as Capability from "@parley/core/Capability"

/** A mean smaller than this part of the largest magnitude is what rounding left of a zero: doubles carry 16 digits. */
export const NEGLIGIBLE = 1e-8

/** What is said of one numeric column. */
export const Summary = Schema.Struct({
  name: Schema.String,
  n: Schema.Int,
  missing: Schema.Int,
  mean: Schema.Finite,
  sd: Schema.NullOr(Schema.Finite),
  min: Schema.Finite,
  median: Schema.Finite,
  max: Schema.Finite
})
/** What is said of one numeric column. */
export type Summary = typeof Summary.Type

/** What is said of a table. */
export const Description = Schema.Struct({ rows: Schema.Int, columns: Schema.Array(Summary) })
/** What is said of a table. */
export type Description = typeof Description.Type

/** What people may search for. */
export const words = "Summary statistics of a table: mean, standard deviation, minimum, median, maximum of each column"
export const tags: ReadonlyArray<string> = ["csv", "statistics"]
/** It tells missing cells from zeros: not every summary of a table does. */
export const features: ReadonlyArray<string> = ["missing-values"]

/** What an agent says of its own service besides. */
export interface Serving {
  /** Typical time to answer, in milliseconds. */
  readonly latencyMs?: number
  /** Tasks at once. */
  readonly concurrency?: number
}

/** The capability as one agent serves it. */
export const make = (serving: Serving = {}): Capability.Capability<{ readonly csv: string }, Description, "call"> =>
  Capability.make("csv.describe", {
    ...serving,
    version: "1.0.0",
    description: words,
    tags,
    features,
    input: Schema.Struct({ csv: Schema.String }),
    output: Description
  })

/** The capability as callers know it. */
export const Describe = make()
