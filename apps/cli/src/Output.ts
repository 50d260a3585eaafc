/**
 * Results go to stdout, everything else to stderr.
 */
import * as Effect from "effect/Effect"
import type { Common } from "./Flags.ts"

const write = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    // Whether the reader has gone is told by the stream's error event; see main.ts.
    stream.write(text, () => resume(Effect.void))
  })

/**
 * A text without the control characters that could rewrite the terminal: much of what is told was written by strangers. Line
 * ends and tabs stay.
 */
export const harmless = (text: string): string =>
  text.replaceAll(isControl, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`)
// oxlint-disable-next-line no-control-regex
const isControl = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g

/** Prints a result. */
export const print = (text: string): Effect.Effect<void> =>
  Effect.suspend(() => write(process.stdout, text.endsWith("\n") ? text : `${text}\n`))

/** Prints a result: as one line of JSON with `--json`, else as text. A terminal is shown it `harmless`, a pipe gets it as it is. */
export const result = (options: Common, json: unknown, text: string): Effect.Effect<void> => {
  const told = options.json ? JSON.stringify(json) : text
  return print(process.stdout.isTTY === true ? harmless(told) : told)
}

/** Says something beside the result, unless `--quiet`. */
export const note = (options: Common, text: string): Effect.Effect<void> =>
  options.quiet || options.json ? Effect.void : Effect.suspend(() => write(process.stderr, `${harmless(text)}\n`))

/** `note` for callbacks, which do not wait. */
export const noteNow = (options: Common, text: string): void => {
  if (!options.quiet && !options.json) process.stderr.write(`${harmless(text)}\n`)
}

/** Prints an error. */
export const error = (text: string): Effect.Effect<void> =>
  Effect.suspend(() => write(process.stderr, `${harmless(text)}\n`))

/** The columns that a letter takes on a terminal: two where it is a wide one, none where it is a combining one. */
const columnsOf = (letter: string): number => (isWide.test(letter) ? 2 : isMark.test(letter) ? 0 : 1)
const segments = new Intl.Segmenter()
const isWide =
  /^(?:\p{Emoji_Presentation}|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|[\u3000-\u303f\uff01-\uff60\uffe0-\uffe6])|\ufe0f/u
const isMark = /^[\p{Mark}\p{Format}]+$/u

/** The columns that a text takes on a terminal. */
export const wide = (text: string): number => {
  let columns = 0
  for (const { segment } of segments.segment(text)) columns += columnsOf(segment)
  return columns
}

/** A text in so many columns: what does not fit gives way to `…`. */
export const cut = (text: string, columns: number): string => {
  if (wide(text) <= columns) return text
  let kept = ""
  let left = columns - 1
  for (const { segment } of segments.segment(text)) {
    left -= columnsOf(segment)
    if (left < 0) break
    kept += segment
  }
  return `${kept}…`
}

/** Lines and their indents joined to one line. */
export const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, " ")

/** Below so many columns nothing is shortened: what is left would tell nothing. */
const LEAST = 10

/** How wide a table may be: as the terminal; without end in a pipe, a file, and on a terminal that does not know its size. */
const room = (): number => (process.stdout.isTTY === true && process.stdout.columns) || Number.POSITIVE_INFINITY

/**
 * Columns, two spaces apart. On a terminal that is too narrow for them the `first` one is shortened (the last one, unless told), and
 * where that is not enough, the widest ones.
 */
export const table = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  first = (rows[0]?.length ?? 0) - 1,
  columns = room()
): string => {
  const widths: Array<number> = []
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, wide(cell))))
  for (let over = widths.reduce((sum, width) => sum + width + 2, -2) - columns; over > 0; over--) {
    const at = widths[first]! > LEAST ? first : widths.lastIndexOf(Math.max(...widths))
    if (widths[at]! <= LEAST) break
    widths[at]!--
  }
  return rows
    .map((row) =>
      row
        .map((cell, at) => cut(cell, widths[at]!))
        .map((cell, at) => (at === row.length - 1 ? cell : `${cell}${" ".repeat(widths[at]! - wide(cell))}`))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** A NodeId's beginning, enough to tell agents apart by eye. */
export const short = (node: string): string => (node.length > 14 ? `${node.slice(0, 12)}…` : node)

/** A figure with at most six significant digits. */
export const figure = (value: number): string => String(Number(value.toPrecision(6)))

/** A text among others: as JSON where it has lines of its own. */
const word = (text: string): string => (/[\n\t]/.test(text) ? harmless(JSON.stringify(text)) : harmless(text))

/** A JSON value for a person: `mean 812.4  sd 139.8` for an object of scalars, else as JSON. */
export const plain = (value: unknown): string => {
  if (typeof value === "string") return harmless(value)
  if (typeof value === "number") return figure(value)
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const entries = Object.entries(value)
    if (entries.length > 0 && entries.every(([, part]) => typeof part !== "object" || part === null)) {
      return entries
        .map(([name, part]) => `${harmless(name)} ${typeof part === "string" ? word(part) : plain(part)}`)
        .join("  ")
    }
  }
  return harmless(JSON.stringify(value) ?? "nothing")
}
