/** What several rounds come to, and how two contestants of the same rounds compare. */

/** The middle of several rounds, the least and the most. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

/** Of no values at all, every figure is NaN. */
export const spreadOf = (values: ReadonlyArray<number>): Spread => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const at = (i: number) => sorted[Math.max(0, Math.min(sorted.length - 1, i))] ?? Number.NaN
  return { median: (at(Math.ceil(middle) - 1) + at(Math.floor(middle))) / 2, min: at(0), max: at(sorted.length - 1) }
}

/**
 * `ours` beside `theirs`, round by round: a round's values were taken one after the other, so what the machine did meanwhile
 * touches both. Rounds that only one of them has are left out.
 */
export const ratioOf = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): Spread =>
  spreadOf(ours.slice(0, theirs.length).map((value, i) => value / theirs[i]!))

/** `ours` less `theirs`, round by round. */
export const differenceOf = (ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>): Spread =>
  spreadOf(ours.slice(0, theirs.length).map((value, i) => value - theirs[i]!))

/** The value that such a part of sorted ones does not exceed, by nearest rank; NaN of none. */
export const quantile = (sorted: ArrayLike<number>, part: number): number =>
  sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN
