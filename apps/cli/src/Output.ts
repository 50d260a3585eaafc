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

/** Prints a result: as one line of JSON with `--json`, else as text. */
export const result = (options: Common, json: unknown, text: string): Effect.Effect<void> =>
  options.json ? print(JSON.stringify(json)) : print(text)

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

/** The columns that a text takes on a terminal: two for each wide character, none for a combining one. */
export const wide = (text: string): number => {
  let columns = 0
  for (const { segment } of segments.segment(text)) columns += isWide.test(segment) ? 2 : isMark.test(segment) ? 0 : 1
  return columns
}
const segments = new Intl.Segmenter()
const isWide =
  /^(?:\p{Emoji_Presentation}|\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|[\u3000-\u303f\uff01-\uff60\uffe0-\uffe6])|\ufe0f/u
const isMark = /^[\p{Mark}\p{Format}]+$/u

/** Lines and their indents joined to one line. */
export const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, " ")

/** Columns, two spaces apart, the last one as long as it is. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths: Array<number> = []
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, wide(cell))))
  return rows
    .map((row) =>
      row
        .map((cell, at) => (at === row.length - 1 ? cell : `${cell}${" ".repeat((widths[at] ?? 0) - wide(cell))}`))
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
