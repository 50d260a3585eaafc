/**
 * How fast something grows, by Theil and Sen: the middle of the slopes between all pairs of points. A few that lie far off,
 * as memory does when a collection comes late, do not move it.
 */
export const slopeOf = (points: ReadonlyArray<readonly [number, number]>): number => {
  const slopes: Array<number> = []
  for (const [i, [x, y]] of points.entries()) {
    for (let j = 0; j < i; j++) {
      const [x0, y0] = points[j]!
      if (x !== x0) slopes.push((y - y0) / (x - x0))
    }
  }
  if (slopes.length === 0) return Number.NaN
  slopes.sort((a, b) => a - b)
  const half = slopes.length >> 1
  return slopes.length % 2 === 1 ? slopes[half]! : (slopes[half - 1]! + slopes[half]!) / 2
}
