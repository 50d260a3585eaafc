/** Tables for a terminal, and how figures are written in them. */
import type { Spread } from "./Spread.ts"

/** 1234.6 → "1,235". */
export const whole = (value: number): string =>
  Number.isFinite(value) ? Math.round(value).toLocaleString("en-US") : "–"

/** Three digits that count: "0.0123", "1.23", "12.3", "123", "1,234". */
export const short = (value: number): string => {
  if (!Number.isFinite(value)) return "–"
  const size = Math.abs(value)
  if (size === 0 || size >= 100) return whole(value)
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4)
}

/** "1.23 (1.1 to 1.4)". */
export const spread = ({ max, median, min }: Spread, write: (value: number) => string = short): string =>
  `${write(median)} (${write(min)} to ${write(max)})`

/** Columns side by side; a column of figures is flush right, one of words flush left. */
export const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const columns = header.map((name, i) => {
    const cells = rows.map((row) => row[i] ?? "")
    const isNumber = cells.length > 0 && cells.every((cell) => cell === "" || /^[-–+≥≤]?[\d–]/.test(cell))
    return { isNumber, width: Math.max(name.length, ...cells.map((cell) => cell.length)) }
  })
  const line = (cells: ReadonlyArray<string>) =>
    columns
      .map(({ isNumber, width }, i) => (isNumber ? (cells[i] ?? "").padStart(width) : (cells[i] ?? "").padEnd(width)))
      .join("  ")
      .trimEnd()
  return [line(header), ...rows.map(line)].join("\n")
}

/** The same as a table of Markdown. */
export const markdownTable = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [
    `| ${header.join(" | ")} |`,
    `| ${header.map((_, i) => (rows.length > 0 && rows.every((row) => /^[-–+]?[\d–]/.test(row[i] ?? "")) ? "---:" : "---")).join(" | ")} |`,
    ...rows.map((row) => `| ${row.join(" | ")} |`)
  ].join("\n")
