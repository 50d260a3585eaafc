/** Sorted arrays of strings, by their characters' codes. */

/** Where a string stands, or would stand: the first place that is not before it. */
export const placeOf = (sorted: ReadonlyArray<string>, value: string): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (sorted[middle]! < value) low = middle + 1
    else high = middle
  }
  return low
}

/** Puts a string in its place. */
export const insert = (sorted: Array<string>, value: string): void => {
  const place = placeOf(sorted, value)
  if (sorted[place] !== value) sorted.splice(place, 0, value)
}
