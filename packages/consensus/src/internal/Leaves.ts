/**
 * JSON seen as a form and the numbers filled into it: `{"mean":812.4,"unit":"g"}` is `{"mean":#,"unit":"g"}` and 812.4.
 */
import type * as Schema from "effect/Schema"

/** A value taken apart. Numbers stand in the order of the form, whose object members are sorted. */
export interface Leaves {
  /** Canonical text of the value with `#` for each number. */
  readonly form: string
  readonly numbers: ReadonlyArray<number>
}

/** Takes a value apart. */
export const leavesOf = (value: Schema.Json): Leaves => {
  const numbers: Array<number> = []
  const write = (part: Schema.Json): string => {
    if (typeof part === "number") {
      numbers.push(part)
      return "#"
    }
    if (typeof part !== "object" || part === null) return JSON.stringify(part)
    if (isArray(part)) return `[${part.map(write).join(",")}]`
    return `{${Object.keys(part)
      .sort()
      .map((key) => `${JSON.stringify(key)}:${write(part[key]!)}`)
      .join(",")}}`
  }
  return { form: write(value), numbers }
}

const isArray = (value: Schema.Json): value is ReadonlyArray<Schema.Json> => Array.isArray(value)

/** The value with its numbers replaced, in the order in which `leavesOf` gives them. */
export const withNumbers = (value: Schema.Json, numbers: ReadonlyArray<number>): Schema.Json => {
  let next = 0
  const fill = (part: Schema.Json): Schema.Json => {
    if (typeof part === "number") return numbers[next++]!
    if (typeof part !== "object" || part === null) return part
    if (isArray(part)) return part.map(fill)
    return Object.fromEntries(
      Object.keys(part)
        .sort()
        .map((key) => [key, fill(part[key]!)])
    )
  }
  return fill(value)
}
