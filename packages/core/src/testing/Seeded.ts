/**
 * Random inputs that come again, for tests: what fails once fails again with the seed that the failure names.
 *
 * ```ts
 * const random = seeded(1)
 * forRounds(random, 10_000, () => decode(mutate(random, example)))
 * ```
 */
import { Buffer } from "node:buffer"

/** A source of random numbers (mulberry32), not for secrets. */
export interface Seeded {
  readonly seed: number
  /** In [0, 1). */
  readonly next: () => number
  /** An integer in [0, below). */
  readonly int: (below: number) => number
  readonly pick: <A>(items: ReadonlyArray<A>) => A
  readonly bytes: (length: number) => Uint8Array
}

/** The source of exactly this seed, a 32-bit integer. */
export const fromSeed = (seed: number): Seeded => {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  const int = (below: number): number => Math.floor(next() * below)
  return {
    seed,
    next,
    int,
    pick: (items) => items[int(items.length)]!,
    bytes: (length) => Uint8Array.from({ length }, () => int(256))
  }
}

/** The source of one seed; `PARLEY_SEED` in the environment replaces it. */
export const seeded = (fallback: number): Seeded => fromSeed(Number(process.env["PARLEY_SEED"] ?? fallback))

/** Runs a property; on failure the message names the seed and the round, and `PARLEY_SEED` repeats it. */
export const forRounds = (random: Seeded, rounds: number, property: (round: number) => void): void => {
  for (let round = 0; round < rounds; round++) {
    try {
      property(round)
    } catch (cause) {
      throw new Error(`Round ${round} of ${rounds} failed; repeat it with PARLEY_SEED=${random.seed}`, { cause })
    }
  }
}

/** One to four small injuries: flipped bits, cuts, insertions, repeated or swapped pieces. */
export const mutate = (random: Seeded, original: Uint8Array): Uint8Array => {
  let bytes = Array.from(original)
  for (let n = 1 + random.int(4); n > 0; n--) {
    const at = random.int(bytes.length + 1)
    switch (random.int(6)) {
      case 0:
        if (at < bytes.length) bytes[at] = bytes[at]! ^ (1 << random.int(8))
        break
      case 1:
        bytes = bytes.slice(0, at)
        break
      case 2:
        bytes.splice(at, 0, ...random.bytes(1 + random.int(8)))
        break
      case 3:
        bytes.splice(at, 1 + random.int(8))
        break
      case 4:
        bytes.splice(at, 0, ...bytes.slice(at, at + random.int(16)))
        break
      default:
        bytes.splice(
          at,
          0,
          ...Buffer.from(random.pick(['"', "{", "[", "}", "]", ",", "null", "1e999", "-1", "\\u0000"]))
        )
    }
  }
  return Uint8Array.from(bytes)
}
