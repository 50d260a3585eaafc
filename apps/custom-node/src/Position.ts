/**
 * The work: where is somebody whose distance to a few beacons is known? Three ways to compute it, and a wrong one.
 */
import * as Capability from "@parley/core/Capability"
import * as Schema from "effect/Schema"

/** A beacon, and how far from it one is, in metres. */
export const Range = Schema.Struct({ x: Schema.Finite, y: Schema.Finite, distance: Schema.Finite })
type Ranges = ReadonlyArray<typeof Range.Type>
type Point = readonly [number, number]

/** Where the capability is served, and what it costs. */
export interface Terms {
  readonly site: string
  readonly usdPerCall: number
}

/** The capability on an agent's terms. Callers need none. */
export const make = (terms?: Terms) =>
  Capability.make("position.locate", {
    version: "1.0.0",
    description: "Locates a point from its distances to beacons of known place (trilateration)",
    input: Schema.Array(Range).check(Schema.isMinLength(3), Schema.isMaxLength(1_000)),
    output: Schema.Array(Schema.Finite),
    ...(terms === undefined
      ? {}
      : { metadata: { site: terms.site }, ...(terms.usdPerCall > 0 ? { cost: { usdPerCall: terms.usdPerCall } } : {}) })
  })

/** Solves A·v = b for two unknowns, where A is symmetric: `[[a, b], [b, c]]`. */
const solve = (a: number, b: number, c: number, right: Point): Point => {
  const determinant = a * c - b * b
  return [(c * right[0] - b * right[1]) / determinant, (a * right[1] - b * right[0]) / determinant]
}

/** Least squares over the rows `u·x + v·y = w`. */
const leastSquares = (rows: ReadonlyArray<readonly [u: number, v: number, w: number]>): Point => {
  const sum = (f: (row: readonly [number, number, number]) => number) => rows.reduce((all, row) => all + f(row), 0)
  return solve(
    sum(([u]) => u * u),
    sum(([u, v]) => u * v),
    sum(([, v]) => v * v),
    [sum(([u, , w]) => u * w), sum(([, v, w]) => v * w)]
  )
}

/** The circles' equations minus the first one are linear. */
const linear = ([first, ...rest]: Ranges): Point =>
  leastSquares(
    rest.map(({ distance, x, y }) => [
      2 * (x - first!.x),
      2 * (y - first!.y),
      first!.distance ** 2 - distance ** 2 + x ** 2 - first!.x ** 2 + y ** 2 - first!.y ** 2
    ])
  )

/** Least squares of the distances themselves, by Gauss and Newton's iteration from the beacons' middle. */
const iterative = (ranges: Ranges): Point => {
  let at: Point = [
    ranges.reduce((sum, { x }) => sum + x, 0) / ranges.length,
    ranges.reduce((sum, { y }) => sum + y, 0) / ranges.length
  ]
  for (let round = 0; round < 30; round++) {
    const [x, y] = at
    const step = leastSquares(
      ranges.map((beacon) => {
        const far = Math.max(1e-9, Math.hypot(x - beacon.x, y - beacon.y))
        return [(x - beacon.x) / far, (y - beacon.y) / far, beacon.distance - far]
      })
    )
    at = [x + step[0], y + step[1]]
  }
  return at
}

/** Looks at a grid around the best point so far, ever finer. */
const search = (ranges: Ranges): Point => {
  const error = ([x, y]: Point) =>
    ranges.reduce((sum, beacon) => sum + (Math.hypot(x - beacon.x, y - beacon.y) - beacon.distance) ** 2, 0)
  let best: Point = [ranges[0]!.x, ranges[0]!.y]
  for (let step = Math.max(...ranges.map(({ distance }) => distance)); step > 1e-4; step /= 2) {
    const [x, y] = best
    for (let i = -4; i <= 4; i++) {
      for (let j = -4; j <= 4; j++) {
        const candidate: Point = [x + i * step, y + j * step]
        if (error(candidate) < error(best)) best = candidate
      }
    }
  }
  return best
}

/** Mixes up the axes. */
const swapped = (ranges: Ranges): Point => {
  const [x, y] = linear(ranges)
  return [y, x]
}

/** The ways by name. */
export const methods = { linear, iterative, search, swapped }
/** One of the ways. */
export type Method = keyof typeof methods
