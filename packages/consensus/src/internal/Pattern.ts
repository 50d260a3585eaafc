/**
 * A JSON value made ready to be compared with many others: most answers of a vote are alike, and to see that takes half as long
 * as to write each of them.
 */

/** Most members and elements, at all depths, of a value that a pattern is made of: each takes ten times what it has in JSON. */
const MAX_PARTS = 1_024

/** How many of so many parts are left after a value's; below zero where it has more. */
const leftAfter = (value: unknown, left: number): number => {
  if (typeof value !== "object" || value === null || left < 0) return left
  const parts = Array.isArray(value) ? value : Object.values(value)
  let rest = left - parts.length
  for (let i = 0; i < parts.length && rest >= 0; i++) rest = leftAfter(parts[i], rest)
  return rest
}

/** The pattern of a value, unless that is a large one. */
export const patternOf = (value: unknown): Pattern | undefined =>
  leftAfter(value, MAX_PARTS) < 0 ? undefined : new Pattern(value)

/** Tells whether another value has the same JSON text: the same members in the same order. */
export class Pattern {
  readonly #value: unknown
  readonly #kind: "scalar" | "list" | "object"
  readonly #keys: ReadonlyArray<string>
  readonly #parts: ReadonlyArray<Pattern>

  constructor(value: unknown) {
    this.#value = value
    const isObject = typeof value === "object" && value !== null
    this.#kind = !isObject ? "scalar" : Array.isArray(value) ? "list" : "object"
    this.#keys = isObject ? Object.keys(value) : []
    this.#parts = isObject ? Object.values(value).map((part) => new Pattern(part)) : []
  }

  fits(value: unknown): boolean {
    if (this.#kind === "scalar") return this.#value === value
    if (typeof value !== "object" || value === null) return false
    const parts = this.#parts
    if (this.#kind === "list") {
      if (!Array.isArray(value) || value.length !== parts.length) return false
      for (let i = 0; i < parts.length; i++) if (!parts[i]!.fits(value[i])) return false
      return true
    }
    if (Array.isArray(value)) return false
    const keys = this.#keys
    let at = 0
    for (const key in value) {
      if (key !== keys[at] || !parts[at]!.fits((value as { readonly [key: string]: unknown })[key])) return false
      at++
    }
    return at === keys.length
  }
}
