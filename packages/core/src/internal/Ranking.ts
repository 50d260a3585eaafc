/**
 * The part of matching that changes with every call: trust, availability, and what has expired meanwhile, of what passed the
 * filters.
 */
import type { Match, MatchContext, Part } from "../Matcher.ts"
import type { Query, Weights } from "../Query.ts"
import { weightsOf } from "../Query.ts"
import { Best } from "./Best.ts"
import type { Offer } from "./CapabilityIndex.ts"

/** An offer that passed the filters, and the parts of its score that are the same until the index changes. */
export interface Passed {
  readonly offer: Offer
  readonly semantic: number
  readonly words: number
  readonly cost: number
  /** The same parts as they are told, once somebody has seen them. */
  told: { readonly semantic: Part; readonly cost: Part } | undefined
}

/** An offer with all parts of its score. */
export interface Candidate {
  readonly passed: Passed
  readonly offer: Offer
  readonly score: number
  readonly trust: number
  readonly availability: number
  /** Says why, to who is told of the match. */
  readonly free: { readonly why: string }
}

const clamp = (value: number): number => (value > 0 ? (value < 1 ? value : 1) : 0)

const hundredths = Array.from({ length: 101 }, (_, i) => (i / 100).toFixed(2))
/** A value from 0 to 1 with two digits. */
export const twoDigits = (value: number): string => hundredths[Math.round(clamp(value) * 100)]!
const trusts = hundredths.map((text) => `trust ${text}`)

/** The best of what passed, by one node's present view. */
export class Ranking {
  readonly #context: MatchContext
  readonly #weights: Weights
  readonly #weight: number
  readonly #minTrust: number | undefined
  readonly #best: Best
  /** How far whoever is still to come is trusted, where all are alike. */
  #rest: number | undefined
  /** The most that whoever is still to come is trusted. */
  #most: number

  constructor(query: Query, context: MatchContext, limit: number) {
    const weights = weightsOf(query)
    this.#context = context
    this.#weights = weights
    this.#weight = weights.semantic + weights.trust + weights.availability + weights.cost
    this.#minTrust = query.minTrust
    this.#best = new Best(limit)
    this.#most = clamp(context.trust.atMost?.anybody ?? 1)
  }

  /** From now on all that come are trusted alike. */
  theRestHas(trust: number): void {
    this.#rest = this.#most = clamp(trust)
  }

  /** From now on nobody comes who is trusted more. */
  theRestHasAtMost(trust: number): void {
    this.#most = clamp(trust)
  }

  /** Whether nothing with these parts can be among the best any more. */
  isBelow(semantic: number, cost: number): boolean {
    return this.#best.isFull && this.#best.isBelow(this.#bound(semantic, this.#most, cost))
  }

  consider(offer: Offer, words: number, semantic: number, cost: number, passed: Passed | undefined): void {
    const context = this.#context
    const best = this.#best
    const { definition, node } = offer
    if (offer.expiresAt <= context.now) return
    const trust = this.#rest ?? clamp(context.trust(node, definition.name, offer.capability))
    if (this.#minTrust !== undefined && trust < this.#minTrust) return
    if (best.isFull && best.isBelow(this.#bound(semantic, trust, cost))) return
    if (context.admits !== undefined && !context.admits(node, offer.capability)) return
    const free = context.availability(node, offer.capability)
    const availability = clamp(free.value)
    const weights = this.#weights
    const sum =
      weights.semantic * semantic + weights.trust * trust + weights.availability * availability + weights.cost * cost
    const score = this.#weight > 0 ? sum / this.#weight : 0
    if (best.isFull && best.isBelow(score)) return
    best.offer({
      passed: passed ?? { offer, semantic, words, cost, told: undefined },
      offer,
      score,
      trust,
      availability,
      free
    })
  }

  /** Best first. `why` tells how the semantic part came about. */
  matches(why: (passed: Passed) => string): Array<Match> {
    const sorted = this.#best.sorted()
    const matches: Array<Match> = []
    for (let i = 0; i < sorted.length; i++) matches.push(this.#explain(sorted[i]!, why))
    return matches
  }

  /** The most that an offer can score: with these parts, and full availability. */
  #bound(semantic: number, trust: number, cost: number): number {
    const weight = this.#weight
    if (weight <= 0) return 0
    const weights = this.#weights
    return (weights.semantic * semantic + weights.trust * trust + weights.availability + weights.cost * cost) / weight
  }

  #explain({ availability, free, offer, passed, score, trust }: Candidate, why: (passed: Passed) => string): Match {
    const weights = this.#weights
    const { usd } = offer
    passed.told ??= {
      semantic: { value: passed.semantic, weight: weights.semantic, why: why(passed) },
      cost: { value: passed.cost, weight: weights.cost, why: usd === 0 ? "free" : `$${usd} a call` }
    }
    return {
      node: offer.node,
      record: offer.holder.record,
      capability: offer.capability,
      score,
      parts: {
        semantic: passed.told.semantic,
        trust: { value: trust, weight: weights.trust, why: trusts[Math.round(trust * 100)]! },
        availability: { value: availability, weight: weights.availability, why: free.why },
        cost: passed.told.cost
      }
    }
  }
}
