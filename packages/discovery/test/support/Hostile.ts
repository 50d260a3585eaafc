import type { Seeded } from "@parley/core/testing/Seeded"

/** Random bytes, or an example with some of its bytes flipped, cut off, or repeated. */
export const hostile = (random: Seeded, examples: ReadonlyArray<Uint8Array>): Uint8Array => {
  const { int: below } = random
  if (below(4) === 0) return random.bytes(below(200))
  const bytes = Uint8Array.from(random.pick(examples))
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
