/**
 * The Beta distribution's quantiles: how sure a score is.
 *
 * The regularised incomplete beta function I_x(a, b) by its continued fraction (DLMF 8.17.22, evaluated by Lentz's method), its
 * logarithms of the gamma function by Stirling's series (DLMF 5.11.1), and its inverse by Newton's method between bounds
 * that close in, which cannot fail: I is monotone in x. Only sums, products and quotients are used, so every engine comes to
 * the same bits.
 */
import { exp, ln } from "./internal/Elementary.ts"

/** The central part of the distribution between the two bounds. */
export const CENTRAL = 0.9

/** What is found is within 2^-42 of what is true, far below what anybody reads. */
const PRECISION = 2 ** -42
/** Most steps: a quarter of them halve the bounds, whatever Newton's do. */
const MAX_STEPS = 200
/** Below it, zero is as good. */
const SMALLEST = 1e-290
/** Most terms of the fraction. It needs a few times the square root of the larger parameter. */
const MAX_TERMS = 20_000
const TINY = 1e-300

/** ln Γ(x) for positive x: within 1e-14 of the magnitude of what is true. */
const lnGamma = (x: number): number => {
  // Stirling's series from 12 on; below, Γ(x) = Γ(x + n) / (x (x+1) … (x+n-1)).
  let product = 1
  let shifted = x
  while (shifted < 12) {
    product *= shifted
    shifted += 1
  }
  const inverse = 1 / shifted
  const square = inverse * inverse
  const series =
    inverse *
    (1 / 12 +
      square *
        (-1 / 360 +
          square *
            (1 / 1_260 + square * (-1 / 1_680 + square * (1 / 1_188 + square * (-691 / 360_360 + square / 156))))))
  return (shifted - 0.5) * ln(shifted) - shifted + 0.9189385332046728 + series - ln(product)
}

const fraction = (a: number, b: number, x: number): number => {
  let c = 1
  let d = 1 - ((a + b) * x) / (a + 1)
  d = 1 / (Math.abs(d) < TINY ? TINY : d)
  let product = d
  for (let m = 1; m <= MAX_TERMS; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    d = 1 + even * d
    d = 1 / (Math.abs(d) < TINY ? TINY : d)
    c = 1 + even / c
    if (Math.abs(c) < TINY) c = TINY
    product *= d * c
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    d = 1 + odd * d
    d = 1 / (Math.abs(d) < TINY ? TINY : d)
    c = 1 + odd / c
    if (Math.abs(c) < TINY) c = TINY
    const factor = d * c
    product *= factor
    if (Math.abs(factor - 1) < 1e-14) break
  }
  return product
}

let lastA = NaN
let lastB = NaN
let lastLnBeta = NaN
/** ln B(a, b); of the same two as before without computing it again: an interval asks for it a hundred times. */
const lnBeta = (a: number, b: number): number => {
  if (a !== lastA || b !== lastB) {
    lastLnBeta = lnGamma(a) + lnGamma(b) - lnGamma(a + b)
    lastA = a
    lastB = b
  }
  return lastLnBeta
}

/** I_x(a, b), with the logarithms of x and of 1 - x. */
const share = (x: number, a: number, b: number, lnX: number, lnRest: number): number => {
  if (x <= 0) return 0
  if (x >= 1) return 1
  const front = exp(a * lnX + b * lnRest - lnBeta(a, b))
  // The fraction converges fast on this side of the mean; on the other one I_x(a, b) = 1 - I_{1-x}(b, a).
  return x < (a + 1) / (a + b + 2)
    ? Math.min(1, (front * fraction(a, b, x)) / a)
    : Math.max(0, 1 - (front * fraction(b, a, 1 - x)) / b)
}

/** I_x(a, b) for positive a and b: the share of Beta(a, b) below x. */
export const cumulative = (x: number, a: number, b: number): number => share(x, a, b, ln(x), ln(1 - x))

/** The x below which the share `p` of Beta(a, b) lies, for positive a and b. */
export const quantile = (p: number, a: number, b: number): number => {
  let low = 0
  let high = 1
  let x = a / (a + b)
  for (let i = 0; i < MAX_STEPS && high - low > PRECISION; i++) {
    // Logarithms are most of the work, and both the share and the density want them.
    const lnX = ln(x)
    const lnRest = ln(1 - x)
    const off = share(x, a, b, lnX, lnRest) - p
    if (off < 0) low = x
    else high = x
    const density = exp((a - 1) * lnX + (b - 1) * lnRest - lnBeta(a, b))
    const next = x - off / density
    // Newton's step where it stays between the bounds, else half-way.
    if (Math.abs(next - x) < PRECISION / 2) return Math.min(1, Math.max(0, next))
    x = next > low && next < high && i % 4 < 3 ? next : (low + high) / 2
    if (x <= SMALLEST || x >= 1 - PRECISION / 2) break
  }
  return (low + high) / 2
}

/** The bounds of the central 90 % of Beta(a, b). */
export const interval = (a: number, b: number): { readonly low: number; readonly high: number } => ({
  low: quantile((1 - CENTRAL) / 2, a, b),
  high: quantile((1 + CENTRAL) / 2, a, b)
})
