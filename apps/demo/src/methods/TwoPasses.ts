/**
 * Two passes: the mean first, then the squared deviations from it, less the square of what rounding left of their sum; the
 * median from a sorted copy. Sums are plain, pairwise or compensated: three methods of one shape.
 *
 * Sources: T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", 1983; A. Neumaier,
 * "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", 1974.
 */
import { byColumn, type Method, middle, settle } from "./Method.ts"

type Sum = (values: Float64Array) => number

const plain: Sum = (values) => {
  let sum = 0
  for (const value of values) sum += value
  return sum
}

/** Halves are summed apart, so that the error grows with the logarithm of the length. */
const pairwise: Sum = (values) => {
  if (values.length <= 16) return plain(values)
  const half = values.length >> 1
  return pairwise(values.subarray(0, half)) + pairwise(values.subarray(half))
}

/** What each addition loses is summed beside it. */
const compensated: Sum = (values) => {
  let sum = 0
  let lost = 0
  for (const value of values) {
    const next = sum + value
    lost += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum
    sum = next
  }
  return sum + lost
}

const make = (sum: Sum): Method =>
  byColumn((values) => {
    const n = values.length
    const first = values[0]!
    const deviations = values.map((value) => value - first)
    const mean = sum(deviations) / n
    const rests = deviations.map((deviation) => deviation - mean)
    const rest = sum(rests)
    const squares = sum(rests.map((value) => value * value)) - (rest * rest) / n
    const sorted = values.toSorted()
    const min = sorted[0]!
    const max = sorted[n - 1]!
    return {
      mean: settle(first + mean, min, max),
      sd: n === 1 ? null : Math.sqrt(Math.max(0, squares) / (n - 1)),
      min,
      median: middle(sorted),
      max
    }
  })

/** Two passes with plain sums. */
export const describe = make(plain)
/** Two passes with pairwise sums. */
export const describePairwise = make(pairwise)
/** Two passes with compensated sums. */
export const describeCompensated = make(compensated)
