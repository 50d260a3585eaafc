/**
 * Whom to ask: ways to choose among the matches of a query.
 *
 * Every one of them asks a node at most once, by its best match: a node has one vote, so asking it twice only costs. Where
 * fewer nodes match than are wanted, all of them are asked.
 */
import type { Match } from "@parley/core/Matcher"
import type { Registered, Selection, SelectionContext } from "@parley/core/Strategy"
import * as Argument from "./internal/Argument.ts"

/** Agents asked by `top` where no number is given: one liar, and one that fails, leave a majority. */
export const DEFAULT_TOP = 5
/** Agents asked by `random`, `weighted` and `diverse` where no number is given: the fewest that can outvote one. */
export const DEFAULT_COUNT = 3

/** Each node's best match; matches come best first. */
const onePerNode = (matches: ReadonlyArray<Match>): Array<Match> => {
  const seen = new Set<string>()
  return matches.filter(({ node }) => {
    if (seen.has(node)) return false
    seen.add(node)
    return true
  })
}

/** A whole number below `bound`. */
const below = (bound: number, context: SelectionContext): number =>
  Math.min(bound - 1, Math.floor(context.random() * bound))

const named = (
  name: string,
  select: (matches: Array<Match>, context: SelectionContext) => Array<Match>
): Selection => ({
  name,
  select: (matches, context) => select(onePerNode(matches), context)
})

/** Every node that matches. */
export const all: Selection = named("all", (matches) => matches)

/** The `count` best. */
export const topN = (count: number): Selection => {
  Argument.checkCount(count)
  return named(`top-${count}`, (matches) => matches.slice(0, count))
}

/**
 * The next `count` in turn, so that every node gets the same share of questions.
 *
 * The circle is in the order of NodeIds, not of scores, because scores move with every answer; `context.turn` says how
 * often this node has chosen for the question before.
 */
export const roundRobin = (count = 1): Selection => {
  Argument.checkCount(count)
  return named(count === 1 ? "round-robin" : `round-robin-${count}`, (matches, { turn }) => {
    const circle = matches.sort((a, b) => (a.node < b.node ? -1 : 1))
    const { length } = circle
    if (count >= length) return circle
    const start = ((turn % length) * (count % length)) % length
    return Array.from({ length: count }, (_, i) => circle[(start + i) % length]!)
  })
}

/** `count` at random, each as likely as the other; the same ones for the same `context.random`. */
export const random = (count: number): Selection => {
  Argument.checkCount(count)
  return named(`random-${count}`, (matches, context) => {
    const wanted = Math.min(count, matches.length)
    for (let i = 0; i < wanted; i++) {
      const j = i + below(matches.length - i, context)
      const drawn = matches[j]!
      matches[j] = matches[i]!
      matches[i] = drawn
    }
    return matches.slice(0, wanted)
  })
}

/**
 * `count` at random without replacement, each draw in proportion to score ÷ (1 + tasks in flight there). Those with a
 * score of 0 are drawn only when no other is left, the best ranked first.
 */
export const weighted = (count: number): Selection => {
  Argument.checkCount(count)
  return named(`weighted-${count}`, (matches, context) => {
    const weights = matches.map((match) => {
      const weight = match.score / (1 + Math.max(0, context.load(match)))
      return weight > 0 && Number.isFinite(weight) ? weight : 0
    })
    const chosen: Array<Match> = []
    while (chosen.length < count && matches.length > 0) {
      let rest = context.random() * weights.reduce((sum, weight) => sum + weight, 0)
      let index = Math.max(
        0,
        weights.findLastIndex((weight) => weight > 0)
      )
      for (let i = 0; i < index; i++) {
        rest -= weights[i]!
        if (rest < 0) {
          index = i
          break
        }
      }
      chosen.push(...matches.splice(index, 1))
      weights.splice(index, 1)
    }
    return chosen
  })
}

/**
 * `count` times the less loaded of two drawn at random; of equally loaded ones the better ranked.
 *
 * Source: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. Looking at two instead of at
 * all keeps many askers with the same stale view from running to the same agent.
 */
export const leastLoaded = (count = 1): Selection => {
  Argument.checkCount(count)
  return named(count === 1 ? "least-loaded" : `least-loaded-${count}`, (matches, context) => {
    const chosen: Array<Match> = []
    while (chosen.length < count && matches.length > 0) {
      const first = below(matches.length, context)
      let index = first
      if (matches.length > 1) {
        const other = below(matches.length - 1, context)
        const second = other < first ? other : other + 1
        const [better, worse] = first < second ? [first, second] : [second, first]
        index = context.load(matches[worse]!) < context.load(matches[better]!) ? worse : better
      }
      chosen.push(...matches.splice(index, 1))
    }
    return chosen
  })
}

/**
 * The host of a match: the host part of its record's first address, without port; the whole address where it has none.
 *
 * Agents behind one relay count as of one host: they fail together with it, and nobody outside can see whether they are
 * one machine or many. A node writes its addresses itself, so this spreads risk and proves nothing.
 */
export const hostOf = (match: Match): string => {
  const address = match.record.addresses[0] ?? `node:${match.node}`
  const authority = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?(?<host>\[[^\]/?#]*\]|[^:/?#]*)/i.exec(address)?.groups?.[
    "host"
  ]
  return authority === undefined || authority === "" ? address : authority.toLowerCase()
}

/** `count` nodes over as many hosts as there are: the best of each host, then the second of each, and so on. */
export const diverse = (count: number): Selection => {
  Argument.checkCount(count)
  return named(`diverse-${count}`, (matches) => {
    const hosts = new Map<string, Array<Match>>()
    for (const match of matches) {
      const host = hostOf(match)
      const known = hosts.get(host)
      if (known === undefined) hosts.set(host, [match])
      else known.push(match)
    }
    const chosen: Array<Match> = []
    for (let round = 0; chosen.length < Math.min(count, matches.length); round++) {
      for (const ofHost of hosts.values()) {
        const match = ofHost[round]
        if (match !== undefined && chosen.length < count) chosen.push(match)
      }
    }
    return chosen
  })
}

const counted = (name: string, make: (count: number) => Selection, otherwise: number) =>
  Argument.some(name, (argument) =>
    make(argument === undefined ? otherwise : Argument.number(argument, `a whole number, as in ${name}-${otherwise}`))
  )

/** The selections of this package by name. */
export const registered = {
  all: Argument.none(all),
  top: counted("top", topN, DEFAULT_TOP),
  "round-robin": counted("round-robin", roundRobin, 1),
  random: counted("random", random, DEFAULT_COUNT),
  weighted: counted("weighted", weighted, DEFAULT_COUNT),
  "least-loaded": counted("least-loaded", leastLoaded, 1),
  diverse: counted("diverse", diverse, DEFAULT_COUNT)
} satisfies Registered["selections"]
