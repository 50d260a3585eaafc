/**
 * Cluster vote: a majority of answers that say the same without being equal, such as sums that were rounded differently.
 *
 * Answers are joined by complete linkage: the two closest clusters first, as long as all their members are equivalent to
 * each other, so that a chain of small differences never joins what is far apart. The largest cluster wins when it holds
 * more than half of the invited agents; its value is its medoid, the answer with the smallest summed distance to the
 * others. Answers are taken in canonical order, so that the order in which they came plays no part.
 *
 * Source: complete linkage after T. Sørensen, 1948; the medoid after L. Kaufman and P. Rousseeuw, 1987.
 */
import type { Aggregation, Answer, Registered } from "@parley/core/Strategy"
import * as Equivalence from "./Equivalence.ts"
import * as Argument from "./internal/Argument.ts"
import { canonicalText, compareText } from "./internal/Poll.ts"
import { majorityOf, outcome, Roll } from "./internal/Roll.ts"

/** Answers with the same canonical text. */
interface Item {
  readonly text: string
  /** The answer of the first of them on the roll. */
  answer: Answer
  readonly places: Array<number>
}

interface Cluster {
  readonly items: ReadonlyArray<Item>
  readonly medoid: Item
  readonly size: number
}

/** The groups of a complete linkage that is cut at distance 1, each as indexes in ascending order. */
const link = (count: number, distance: (a: number, b: number) => number): Array<Array<number>> => {
  const distances = new Float64Array(count * count)
  for (let i = 0; i < count; i++) {
    for (let j = i + 1; j < count; j++) {
      const between = distance(i, j)
      distances[i * count + j] = distances[j * count + i] = between <= 1 ? between : Infinity
    }
  }
  const groups: Array<Array<number> | undefined> = Array.from({ length: count }, (_, i) => [i])
  /** The nearest later group of each, and how far it is. */
  const nearest = new Int32Array(count).fill(-1)
  const near = new Float64Array(count).fill(Infinity)
  const look = (i: number) => {
    nearest[i] = -1
    near[i] = Infinity
    for (let j = i + 1; j < count; j++) {
      if (groups[j] !== undefined && distances[i * count + j]! < near[i]!) {
        nearest[i] = j
        near[i] = distances[i * count + j]!
      }
    }
  }
  for (let i = 0; i < count; i++) look(i)
  for (;;) {
    let closest = -1
    for (let i = 0; i < count; i++) {
      if (near[i]! < Infinity && (closest < 0 || near[i]! < near[closest]!)) closest = i
    }
    if (closest < 0) return groups.filter((group) => group !== undefined).map((group) => group.sort((a, b) => a - b))
    const joined = nearest[closest]!
    groups[closest]!.push(...groups[joined]!)
    groups[joined] = undefined
    near[joined] = Infinity
    for (let k = 0; k < count; k++) {
      if (groups[k] === undefined || k === closest) continue
      const furthest = Math.max(distances[closest * count + k]!, distances[joined * count + k]!)
      distances[closest * count + k] = distances[k * count + closest] = furthest
    }
    // Distances only grow, so only who was near one of the two must look again.
    for (let k = 0; k < count; k++) {
      if (groups[k] !== undefined && (k === closest || nearest[k] === closest || nearest[k] === joined)) look(k)
    }
  }
}

/**
 * The clusters of the answers, largest first. An answer that more than half of the invited gave is its cluster's medoid
 * at once: no number of other members can be closer to all (where distances are a metric), and none may change it.
 */
const cluster = (items: ReadonlyArray<Item>, equivalence: Equivalence.Equivalence, need: number): Array<Cluster> => {
  const ordered = items.toSorted((a, b) => compareText(a.text, b.text))
  const comparison = equivalence.begin()
  for (const { answer } of ordered) comparison.add(answer)
  return link(ordered.length, comparison.distance)
    .map((group) => {
      let medoid = group[0]!
      let least = Infinity
      for (const candidate of group) {
        const sum =
          ordered[candidate]!.places.length >= need
            ? -1
            : group.reduce(
                (total, other) =>
                  other === candidate
                    ? total
                    : total + ordered[other]!.places.length * comparison.distance(candidate, other),
                0
              )
        if (sum < least) {
          medoid = candidate
          least = sum
        }
      }
      const members = group.map((index) => ordered[index]!)
      return {
        items: members,
        medoid: ordered[medoid]!,
        size: members.reduce((size, { places }) => size + places.length, 0)
      }
    })
    .sort((a, b) => b.size - a.size || compareText(a.medoid.text, b.medoid.text))
}

/**
 * The value of the cluster that holds more than half of the invited agents. Votes are clusters: their medoid and members.
 *
 * `decided` is careful, not exact, because one more answer may draw the clusters anew or move the medoid: it ends the
 * count early when more than half of the invited gave the identical value, or when too few can answer; else it waits for
 * every agent.
 */
export const clusterVote = (equivalence: Equivalence.Equivalence = Equivalence.numeric()): Aggregation<"answer"> => {
  const { prepare } = equivalence
  return {
    name: equivalence.name === "" ? "cluster-vote" : `cluster-vote:${equivalence.name}`,
    shape: "answer",
    tally: (invited) => {
      const roll = new Roll(invited)
      const need = majorityOf(roll.size)
      const items = new Map<string, Item>()
      let identical = 0
      let found: Array<Cluster> | undefined
      const conclude = () => {
        found ??= cluster([...items.values()], equivalence, need)
        const [first, second] = found
        const size = first?.size ?? 0
        const members = new Set(first?.items.flatMap(({ places }) => places))
        return outcome(roll, {
          status:
            roll.answered < need
              ? "insufficient"
              : size === second?.size
                ? "tied"
                : size >= need
                  ? "reached"
                  : "undecided",
          value: first?.medoid.answer.value,
          confidence: size / Math.max(1, roll.size),
          rule: `${need} of ${roll.size}`,
          votes: found.map((group) => {
            const places = new Set(group.items.flatMap((item) => item.places))
            return {
              value: group.medoid.answer.value,
              weight: group.size,
              nodes: roll.nodes((place) => places.has(place))
            }
          }),
          standsBehind: (place) => members.has(place)
        })
      }
      return {
        answer: (answer) => {
          const place = roll.answer(answer.node)
          if (place < 0) return
          found = undefined
          const text = canonicalText(answer.value)
          const item = items.get(text)
          if (item === undefined) items.set(text, { text, answer, places: [place] })
          else {
            if (place < Math.min(...item.places)) item.answer = answer
            item.places.push(place)
          }
          identical = Math.max(identical, items.get(text)!.places.length)
        },
        failure: ({ node }) => void roll.failure(node),
        decided: () =>
          roll.pending === 0 || identical >= need || roll.answered + roll.pending < need ? conclude() : undefined,
        outcome: conclude
      }
    },
    ...(prepare === undefined ? {} : { prepare: (answer: Answer) => prepare(answer) })
  }
}

const read = (argument: string | undefined): Equivalence.Equivalence => {
  if (argument === undefined) return Equivalence.numeric()
  const expected = "a relative tolerance as in cluster-vote:0.01, or absolute=…, words=… or elements=…"
  const set = /^(?<kind>words|elements)(?:=(?<overlap>.*))?$/.exec(argument)?.groups
  if (set !== undefined) {
    const overlap =
      set["overlap"] === undefined ? Equivalence.DEFAULT_OVERLAP : Argument.number(set["overlap"], expected)
    return set["kind"] === "words" ? Equivalence.words(overlap) : Equivalence.elements(overlap)
  }
  if (argument.startsWith("embeddings")) {
    throw new RangeError("embeddings need a model: register clusterVote(Equivalence.embeddings(model)) under a name")
  }
  let tolerance: Equivalence.Tolerance = {}
  for (const part of argument.split(",")) {
    tolerance = part.startsWith("absolute=")
      ? { ...tolerance, absolute: Argument.number(part.slice("absolute=".length), expected) }
      : { ...tolerance, relative: Argument.number(part, expected) }
  }
  return Equivalence.numeric(tolerance)
}

/** The cluster vote by name. */
export const registered = {
  "cluster-vote": Argument.some("cluster-vote", (argument) => clusterVote(read(argument)))
} satisfies Registered["aggregations"]
