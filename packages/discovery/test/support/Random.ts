/** Seeded random numbers (mulberry32), so that a failing input can be made again. */
export const makeRandom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Random bytes, or an example with some of its bytes flipped, cut off, or repeated. */
export const hostile = (random: () => number, examples: ReadonlyArray<Uint8Array>): Uint8Array => {
  const below = (n: number): number => Math.floor(random() * n)
  if (below(4) === 0) return Uint8Array.from({ length: below(200) }, () => below(256))
  const bytes = Uint8Array.from(examples[below(examples.length)]!)
  for (let i = below(6); i > 0; i--) bytes[below(bytes.length)] = below(256)
  switch (below(4)) {
    case 0:
      return bytes.subarray(0, below(bytes.length))
    case 1: {
      const from = below(bytes.length)
      return Buffer.concat([bytes, bytes.subarray(from, from + below(64))])
    }
    default:
      return bytes
  }
}
