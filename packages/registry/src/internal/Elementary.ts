/**
 * Powers of two, logarithm and exponential from sums and products alone: the standard leaves `Math.pow`, `Math.log` and `Math.exp` to the engine, and
 * what is signed must come out the same on every one of them.
 */

const LN2_HIGH = 0.69314718036912381649
const LN2_LOW = 1.90821492927058770002e-10
const powers = new Float64Array(2_046)
powers[1_022] = 1
for (let i = 1; i <= 1_023; i++) {
  powers[1_022 + i] = powers[1_021 + i]! * 2
  if (i <= 1_022) powers[1_022 - i] = powers[1_023 - i]! / 2
}
const bits = new DataView(new ArrayBuffer(8))

/** Two to the power of a whole number from -1022 to 1023; exact. */
export const twoTo = (power: number): number => powers[power + 1_022]!

/** Natural logarithm of a positive, normal number; within 4e-16 of the magnitude of what is true. */
export const ln = (x: number): number => {
  bits.setFloat64(0, x)
  let exponent = ((bits.getUint16(0) >> 4) & 0x7ff) - 1_023
  bits.setUint16(0, (bits.getUint16(0) & 0x000f) | (1_023 << 4))
  let mantissa = bits.getFloat64(0)
  if (mantissa > Math.SQRT2) {
    mantissa /= 2
    exponent += 1
  }
  // ln m = 2 artanh s, |s| < 0.172: the powers beyond s^21 are below 1e-17.
  const s = (mantissa - 1) / (mantissa + 1)
  const square = s * s
  let sum = 0
  for (let k = 21; k >= 3; k -= 2) sum = (sum + 1 / k) * square
  return exponent * LN2_HIGH + (2 * s * (1 + sum) + exponent * LN2_LOW)
}

/** e to the power of x, for x from -700 to 700; 0 below. */
export const exp = (x: number): number => {
  if (x < -700) return 0
  const halves = Math.round(x / Math.LN2)
  const rest = x - halves * LN2_HIGH - halves * LN2_LOW
  let sum = 1
  for (let k = 16; k >= 1; k--) sum = 1 + (sum * rest) / k
  return sum * twoTo(halves)
}
