/**
 * A CSV text as numeric columns: the one place that says which cells are numbers. Every method of the demo begins here, so that
 * they differ in how they compute and not in what.
 *
 * - The first row names the columns; a name that is empty becomes `column 3`. Empty lines are no rows. A short row has missing
 *   cells at its end; what a row has beyond the names is left out.
 * - Fields are separated by a comma, a semicolon, a tab or a bar: whichever splits the first rows most evenly. They may be
 *   quoted as in RFC 4180; lines end in LF, CR or CRLF; a byte order mark at the beginning is skipped.
 * - A number is decimal: `12`, `-0.5`, `+.5`, `1e-3`, with spaces around it or not. Where semicolons separate, and in
 *   a table of one column, a comma may stand for the point, as spreadsheets write it in many countries. Nothing else is a number: no `1,234`, `$5`, `7 %`, `0x10`, `Infinity`.
 * - A number is 0, or its magnitude lies from 1e-100 to 1e100, so that squares and their sums stay finite.
 * - A cell is missing when it is empty, or one of the words in `MISSING`.
 * - A column is numeric when it has at least one number and besides numbers only missing cells.
 * - In a table without any, the lengths of the texts are the numbers, in characters: `length of name`.
 */
import { Buffer } from "node:buffer"
import { parse } from "csv-parse/sync"

/** Largest table, in bytes of UTF-8: as JSON it may double, and must fit the 4 MiB that a node takes. */
export const MAX_CSV_BYTES = 2 * 1024 * 1024
/** Most columns: more are a matrix, of which nobody reads a summary. */
export const MAX_COLUMNS = 1_000
/** Words that stand for a missing cell, in small letters. */
export const MISSING: ReadonlySet<string> = new Set("|na|n/a|#n/a|nan|null|none|nil|-|–|—|?|.|..".split("|"))
/** Rows that the separator is chosen by. */
const SAMPLE_ROWS = 20
/** Where two fit equally, the earlier one is taken. */
const SEPARATORS = [",", ";", "\t", "|"] as const

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const COMMA_NUMBER = /^[+-]?\d*,\d+$/

/** A numeric column. */
export interface Column {
  readonly name: string
  /** In the order of the rows; at least one. */
  readonly values: Float64Array
  readonly missing: number
}

/** The numeric part of a table. */
export interface Table {
  readonly rows: number
  readonly columns: ReadonlyArray<Column>
}

/** A text is no table. */
export class TableError extends Error {
  readonly _tag = "BadTable"
}

const records = (csv: string, delimiter: string, rows?: number): Array<Array<string>> => {
  try {
    return parse(csv, {
      bom: true,
      delimiter,
      relax_column_count: true,
      // A quote inside of an unquoted field, as in 5" disk, is text.
      relax_quotes: true,
      record_delimiter: ["\r\n", "\n", "\r"],
      skip_empty_lines: true,
      ...(rows === undefined ? {} : { to: rows })
    })
  } catch (cause) {
    throw new TableError(`it is no CSV: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
}

/** The separator that makes the most fields of the first rows, of those that make the same number in the most rows. */
const separatorOf = (csv: string): string => {
  let best: { readonly separator: string; readonly even: number; readonly fields: number } | undefined
  let problem: unknown
  for (const separator of SEPARATORS) {
    try {
      const rows = records(csv, separator, SAMPLE_ROWS)
      const fields = rows[0]?.length ?? 0
      if (fields < 2) continue
      const even = rows.filter((row) => row.length === fields).length / rows.length
      if (best === undefined || even > best.even || (even === best.even && fields > best.fields)) {
        best = { separator, even, fields }
      }
    } catch (cause) {
      problem = cause
    }
  }
  if (best === undefined && problem !== undefined) throw problem
  // A single column: any will do that does not split its decimal commas.
  return best?.separator ?? ";"
}

/** A cell as a number, `undefined` where it is missing, or `"text"`. */
const cellOf = (cell: string | undefined, comma: boolean): number | undefined | "text" => {
  const text = cell?.trim() ?? ""
  if (MISSING.has(text.toLowerCase())) return undefined
  const decimal = comma && COMMA_NUMBER.test(text) ? text.replace(",", ".") : text
  if (!NUMBER.test(decimal)) return "text"
  // The sign of -0 would be lost in JSON.
  const value = Number(decimal) + 0
  const size = Math.abs(value)
  return size === 0 || (size >= 1e-100 && size <= 1e100) ? value : "text"
}

/** How many characters a cell has, `undefined` where it is missing. */
const lengthOf = (cell: string | undefined): number | undefined => {
  const text = cell?.trim() ?? ""
  return MISSING.has(text.toLowerCase()) ? undefined : [...text].length
}

const columnOf = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  at: number,
  read: (cell: string | undefined) => number | undefined | "text"
): Column | undefined => {
  const values = new Float64Array(rows.length)
  let n = 0
  for (const row of rows) {
    const value = read(row[at])
    if (value === "text") return undefined
    if (value !== undefined) values[n++] = value
  }
  return n === 0 ? undefined : { name: "", values: values.subarray(0, n), missing: rows.length - n }
}

/** Reads a table. Throws `TableError`. */
export const read = (csv: string): Table => {
  const bytes = Buffer.byteLength(csv)
  if (bytes > MAX_CSV_BYTES) {
    throw new TableError(`it has ${bytes} bytes, and at most ${MAX_CSV_BYTES} are read: take a part of it`)
  }
  if (csv.includes("\0")) throw new TableError("it is no text: there are zero bytes in it")
  const separator = separatorOf(csv)
  const [names, ...rows] = records(csv, separator)
  if (names === undefined) throw new TableError("it is empty")
  if (names.length > MAX_COLUMNS) {
    throw new TableError(`it has ${names.length} columns, and at most ${MAX_COLUMNS} are read`)
  }
  const columnsOf = (what: string, read: (cell: string | undefined) => number | undefined | "text") =>
    names.flatMap((given, at) => {
      const column = columnOf(rows, at, read)
      const name = given.trim() === "" ? `column ${at + 1}` : given.trim()
      return column === undefined ? [] : [{ ...column, name: `${what}${name}` }]
    })
  const numeric = columnsOf("", (cell) => cellOf(cell, separator === ";"))
  return { rows: rows.length, columns: numeric.length > 0 ? numeric : columnsOf("length of ", lengthOf) }
}

/** A table that somebody has tampered with: every number is 8 % larger, or 1 where it was 0. For the liar of the demo. */
export const doctored = (table: Table): Table => ({
  ...table,
  columns: table.columns.map((column) => ({
    ...column,
    values: column.values.map((value) => (value === 0 ? 1 : value * 1.08))
  }))
})
