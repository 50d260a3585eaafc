/**
 * Semver ranges, parsed once, with the verdict on each version remembered.
 */
import * as Result from "effect/Result"
import * as SemVer from "effect/SemVer"
import * as SemVerRange from "effect/SemVerRange"

/** Most ranges remembered: callers ask for few, and a stranger's queries must not fill the heap. */
const MAX_RANGES = 256
/** Most verdicts remembered of one range. */
const MAX_VERDICTS = 1_024

/** A parsed range. */
export class VersionRange {
  readonly #range: SemVerRange.SemVerRange
  readonly #verdicts = new Map<string, boolean>()

  constructor(range: SemVerRange.SemVerRange) {
    this.#range = range
  }

  /** Whether a version lies within; what is no version does not. */
  has(version: string): boolean {
    const known = this.#verdicts.get(version)
    if (known !== undefined) return known
    const parsed = SemVer.parse(version)
    const verdict = Result.isSuccess(parsed) && SemVerRange.matches(parsed.success)(this.#range)
    if (this.#verdicts.size >= MAX_VERDICTS) this.#verdicts.clear()
    this.#verdicts.set(version, verdict)
    return verdict
  }
}

const ranges = new Map<string, VersionRange | string>()

/** Reads a range; what is wrong with it, when it is none. */
export const parse = (text: string): VersionRange | string => {
  const known = ranges.get(text)
  if (known !== undefined) return known
  const parsed = SemVerRange.parse(text)
  const range = Result.isSuccess(parsed) ? new VersionRange(parsed.success) : parsed.failure.message
  if (ranges.size >= MAX_RANGES) ranges.clear()
  ranges.set(text, range)
  return range
}

/** Orders versions, the newer first; equal precedence (build metadata) by code unit, so that the order is total. */
export const newerFirst = (a: string, b: string): number => {
  if (a === b) return 0
  const left = SemVer.parse(a)
  const right = SemVer.parse(b)
  if (Result.isSuccess(left) && Result.isSuccess(right)) {
    const order = SemVer.Order(right.success, left.success)
    if (order !== 0) return order
  }
  return a < b ? -1 : 1
}
