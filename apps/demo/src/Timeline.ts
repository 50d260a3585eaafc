/** What happens, line by line, each with the seconds since the start and who it is about. Colour only where it is seen. */

/** How a line is meant. */
export type Tone = "plain" | "good" | "bad" | "quiet" | "head"

const codes: { readonly [tone in Tone]: string } = { plain: "", good: "32", bad: "31", quiet: "2", head: "1" }
const NAME_WIDTH = 8

/** Prints the timeline. */
export class Timeline {
  readonly #stream: NodeJS.WriteStream
  readonly #colour: boolean
  readonly #startedAt = performance.now()

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
    this.#colour = stream.isTTY && (process.env["NO_COLOR"] ?? "") === "" && process.env["TERM"] !== "dumb"
  }

  /** Seconds since the start. */
  get seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  say(who: string, text: string, tone: Tone = "plain"): void {
    this.#write(`${this.seconds.toFixed(2).padStart(6)} s  ${who.padEnd(NAME_WIDTH)}  ${text}`, tone)
  }

  /** A heading. */
  head(text: string): void {
    this.#write(`\n${text}`, "head")
  }

  /** A line that belongs to the one before. */
  more(text: string, tone: Tone = "plain"): void {
    this.#write(`${" ".repeat(8 + 2 + NAME_WIDTH + 2)}${text}`, tone)
  }

  #write(text: string, tone: Tone): void {
    const code = this.#colour ? codes[tone] : ""
    this.#stream.write(code === "" ? `${text}\n` : `\u001b[${code}m${text}\u001b[0m\n`)
  }
}

/** Rows with columns two spaces apart; figures stand to the right. */
export const aligned = (
  rows: ReadonlyArray<ReadonlyArray<string>>,
  right: (column: number) => boolean
): Array<string> => {
  const widths: Array<number> = []
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, [...cell].length)))
  const padded = (cell: string, at: number): string => {
    const space = " ".repeat(Math.max(0, (widths[at] ?? 0) - [...cell].length))
    return right(at) ? space + cell : cell + space
  }
  return rows.map((row) => row.map(padded).join("  ").trimEnd())
}

/** A figure with at most six significant digits. */
export const figure = (value: number | null): string => (value === null ? "-" : String(Number(value.toPrecision(6))))
