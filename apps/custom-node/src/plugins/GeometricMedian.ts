/**
 * An Aggregation of one's own: `geometric-median` of points, which are lists of numbers of one length.
 *
 * The point with the least sum of distances to all answers, by Weiszfeld's iteration (Weiszfeld 1937; Vardi and Zhang 2000).
 * Unlike a mean it does not follow whoever lies far out, as long as fewer than half do; unlike the median of each coordinate
 * it does not depend on how the axes lie. It needs points of one length from more than half of the invited.
 *
 * Whoever is farther off than `OUTLIER` times the median distance dissents, and so loses trust.
 */
import * as Effect from "effect/Effect"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { NodeId } from "@parley/core/NodeId"
import {
  type Aggregation,
  type Answer,
  type Invited,
  type Outcome,
  type Registered,
  StrategyError,
  type Vote
} from "@parley/core/Strategy"

/** How many times farther than half of the others an answer must be to count as dissent. */
export const OUTLIER = 5
/** Longest point that counts: the work grows with it. */
export const MAX_LENGTH = 4_096
const ROUNDS = 100
/** Distances below this share of the numbers' size are rounding. */
const PRECISION = 1e-9
/** Numbers beyond the largest would overflow on the way; below the smallest everything is zero. */
const LARGEST = 1e100
const SMALLEST = 1e-100

type Point = ReadonlyArray<number>

const pointOf = (value: Answer["value"]): Point | undefined =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.length <= MAX_LENGTH &&
  value.every((each) => typeof each === "number" && Math.abs(each) <= LARGEST)
    ? (value as Point)
    : undefined
const distance = (a: Point, b: Point): number => Math.hypot(...a.map((each, i) => each - b[i]!))
const mean = (points: ReadonlyArray<Point>, weights: ReadonlyArray<number>): Point => {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return points[0]!.map((_, i) => points.reduce((sum, point, n) => sum + (point[i]! * weights[n]!) / total, 0))
}
const middle = (numbers: ReadonlyArray<number>): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0

const geometricMedianOf = (points: ReadonlyArray<Point>): Point => {
  // Both begin at what more than half agree on: one huge number would otherwise set the precision, or be the start.
  const rounding = Math.max(SMALLEST, middle(points.map((point) => Math.hypot(...point))) * PRECISION)
  let centre: Point = points[0]!.map((_, i) => middle(points.map((point) => point[i]!)))
  for (let round = 0; round < ROUNDS; round++) {
    const from = centre
    const weights = points.map((point) => 1 / Math.max(rounding, distance(point, from)))
    centre = mean(points, weights)
  }
  return centre
}

/** Equal points together, most voices first, then by their text: the same order on every machine. */
const votesOf = (answers: ReadonlyArray<Answer>): ReadonlyArray<Vote> => {
  const byText = new Map<string, { value: Answer["value"]; nodes: Array<NodeId> }>()
  for (const { node, value } of answers) {
    const text = CanonicalJson.stringify(value)
    const vote = byText.get(text) ?? { value, nodes: [] }
    vote.nodes.push(node)
    byText.set(text, vote)
  }
  return [...byText]
    .sort(([a, left], [b, right]) => right.nodes.length - left.nodes.length || (a < b ? -1 : 1))
    .map(([, { nodes, value }]) => ({ value, weight: nodes.length, nodes }))
}

/** The verdict on these answers, which come in the order of invitation. */
const conclude = (invited: number, answers: ReadonlyArray<Answer>): Outcome => {
  const need = Math.floor(invited / 2) + 1
  const base = { confidence: 0, rule: `points of one length from ${need} of ${invited}`, votes: votesOf(answers) }
  const everyone = answers.map(({ node }) => node)
  if (answers.length < need) return { ...base, status: "insufficient", dissent: everyone }
  const lengthOf = (answer: Answer) => pointOf(answer.value)?.length
  const sameLength = answers
    .map((answer) => answers.filter((other) => lengthOf(answer) !== undefined && lengthOf(other) === lengthOf(answer)))
    .find((group) => group.length >= need)
  if (sameLength === undefined) return { ...base, status: "undecided", dissent: everyone }
  const points = sameLength.map(({ value }) => pointOf(value)!)
  const value = geometricMedianOf(points)
  const far = points.map((point) => distance(point, value))
  const rounding = Math.max(0, ...value.map(Math.abs)) * 1e-6
  const allowed = OUTLIER * middle(far) + rounding
  const behind = new Set(sameLength.flatMap(({ node }, i) => (far[i]! <= allowed ? [node] : [])))
  return {
    ...base,
    status: "reached",
    value: [...value],
    confidence: behind.size / invited,
    dissent: everyone.filter((node) => !behind.has(node))
  }
}

/** The geometric median of all answers. It waits for everyone: any point may move it. */
export const geometricMedian: Aggregation<"answer"> = {
  name: "geometric-median",
  shape: "answer",
  tally: (invited: ReadonlyArray<Invited>) => {
    const nodes = [...new Set(invited.map(({ node }) => node))]
    const pending = new Set(nodes)
    const answers = new Map<NodeId, Answer>()
    // In the order of invitation, not of arrival: sums of floating-point numbers depend on their order.
    const outcome = () =>
      conclude(
        nodes.length,
        nodes.flatMap((node) => answers.get(node) ?? [])
      )
    return {
      answer: (answer) => void (pending.delete(answer.node) && answers.set(answer.node, answer)),
      failure: ({ node }) => void pending.delete(node),
      decided: () => (pending.size === 0 ? outcome() : undefined),
      outcome
    }
  }
}

/** What makes it known by name. */
export const registered: Registered = {
  aggregations: {
    "geometric-median": (argument) =>
      argument === undefined
        ? Effect.succeed(geometricMedian)
        : Effect.fail(
            new StrategyError({ code: "BadArgument", strategy: "geometric-median", detail: "it takes no argument" })
          )
  }
}
