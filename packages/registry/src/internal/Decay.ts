/**
 * How evidence fades: by half each half-life, in steps, so that every engine comes to the same bits.
 *
 * `Math.pow` and `Math.exp` may differ in their last digit between engines; square roots and products may not (IEEE 754).
 */
import { twoTo } from "./Elementary.ts"

/** Time in which evidence loses half of its weight, in milliseconds (30 days): agents change models and prompts in weeks. */
export const HALF_LIFE_MS = 30 * 86_400_000
/** Steps of a half-life: 42 minutes each, in which evidence fades by 0.07 %. */
export const STEPS = 1_024
/** One step, in milliseconds. */
export const STEP_MS = HALF_LIFE_MS / STEPS

/** 2^(-i / STEPS): each power is the product of the roots its bits name. */
const table = ((): Float64Array => {
  const roots: Array<number> = []
  let root = 0.5
  for (let size = STEPS / 2; size >= 1; size /= 2) {
    root = Math.sqrt(root)
    roots.push(root)
  }
  return Float64Array.from({ length: STEPS }, (_, i) => {
    let product = 1
    for (let bit = 0; bit < roots.length; bit++) if ((i & (STEPS >> (bit + 1))) !== 0) product *= roots[bit]!
    return product
  })
})()

/** The step a time falls in, counted from 1970. */
export const stepOf = (ms: number): number => Math.floor(ms / STEP_MS)

/** What is left after so many steps: 1 at first. A time before is as the beginning. */
export const left = (steps: number): number => {
  if (steps <= 0) return 1
  const halves = Math.floor(steps / STEPS)
  // A power of two is exact; beyond a thousand of them nothing is left.
  return halves > 1_000 ? 0 : table[steps - halves * STEPS]! * twoTo(-halves)
}

/** The inverse: what something of `steps` ago would have to be now to count as much. */
export const grown = (steps: number): number => {
  if (steps <= 0) return 1
  const halves = Math.ceil(steps / STEPS)
  return table[halves * STEPS - steps]! * twoTo(halves)
}
