/**
 * One pass: mean and variance are carried along from number to number; the median is selected, not sorted.
 *
 * Sources: B. P. Welford, "Note on a method for calculating corrected sums of squares and products", 1962; C. A. R. Hoare,
 * "Algorithm 65: Find", 1961.
 */
import { byColumn, settle } from "./Method.ts"

/** Puts the k-th smallest at its place, smaller ones before it and larger ones after it. */
const select = (values: Float64Array, k: number): number => {
  let left = 0
  let right = values.length - 1
  while (left < right) {
    const pivot = values[k]!
    let i = left
    let j = right
    while (i <= j) {
      while (values[i]! < pivot) i++
      while (values[j]! > pivot) j--
      if (i > j) break
      const swapped = values[i]!
      values[i++] = values[j]!
      values[j--] = swapped
    }
    if (j < k) left = i
    if (k < i) right = j
  }
  return values[k]!
}

const medianOf = (values: Float64Array): number => {
  const copy = values.slice()
  const half = copy.length >> 1
  const upper = select(copy, half)
  if (copy.length % 2 === 1) return upper
  let lower = copy[0]!
  for (let i = 1; i < half; i++) if (copy[i]! > lower) lower = copy[i]!
  return (lower + upper) / 2
}

/** Welford's one pass. */
export const describe = byColumn((values) => {
  const first = values[0]!
  let mean = 0
  let squares = 0
  let min = first
  let max = first
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!
    const deviation = value - first
    const delta = deviation - mean
    mean += delta / (i + 1)
    squares += delta * (deviation - mean)
    if (value < min) min = value
    if (value > max) max = value
  }
  return {
    mean: settle(first + mean, min, max),
    sd: values.length === 1 ? null : Math.sqrt(squares / (values.length - 1)),
    min,
    median: medianOf(values),
    max
  }
})
