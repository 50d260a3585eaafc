/**
 * How much each reviewer's word weighs, 0 to 1: EigenTrust from the seeds, then a test of each word against those of others.
 *
 * EigenTrust (Kamvar, Schlosser and Garcia-Molina, WWW 2003): trust is a unit of water that the seeds pour out. Whoever has some
 * passes it on, in proportion to what it found in tasks it has receipts for: half of it to the agents that worked well for it,
 * half to those reviewers who said the same of the same work, so that callers who serve nobody earn trust as well. In each
 * round a part (`RESTART`) goes back to the seeds, and so does what nobody is praised for. However many identities somebody has,
 * together they hold no more than what flows in to them from those who are trusted.
 *
 * Words are then compared: a reviewer whose words are farther from what the trusted say of the same agents than chance
 * explains (Pearson's chi-squared, a mean above `TOLERATED`) weighs less, by the square of how much farther. So an agent that
 * works well, or a caller that praises the good ones, cannot spend what it earned that way on slander.
 *
 * Then trust flows again, but not through opinions that the believed contradict: praise for an agent that failed everybody else, by
 * one lucky task, would let what is honest leak to those who praise it for a living.
 *
 * All is computed from a copy of the edges, in slices; sums are made in the order of the edges' last reports, so that the same
 * reports give the same bits, in whatever way they came into memory.
 */
import { left } from "./Decay.ts"
import type { Edges } from "./Edges.ts"
import { NONE } from "./Edges.ts"

/** Share of all trust that returns to the seeds in each round. Kamvar et al. took 0.1 to 0.2; more forgives colluders less. */
export const RESTART = 0.2
/** Rounds of the power iteration: what is still to move then is below 0.8^32, a thousandth. */
export const ROUNDS = 32
/** Times that all this is done: after the first, opinions that the believed contradict pass nothing on. */
export const PASSES = 3
/** Share of its trust that a reviewer passes to those who did well for it; the rest goes to those who say the same. */
export const PRAISE = 0.5
/** How far for and against must differ, in reports, to be an opinion: one lucky task is none. */
export const CHANCE = 1
/** A reviewer with this share of the typical trust weighs fully. Typical is the sum of squares: what a trusted unit's holder has. */
export const FULL_SHARE = 0.5
/** Mean squared distance from what others say, in variances, that chance explains. */
export const TOLERATED = 1
/** Rounds in which words are compared: each without those who were found off in the one before. */
export const COMPARISONS = 5
/** Benefit of the doubt, in reports that agreed: what a reviewer has before any of its words can be compared. */
const DOUBT = 1
/** Added to variances: qualities are judged, not measured. */
const SLACK = 0.03

/** A computation under way. */
export class Weights {
  /** Reports taken before the copy was made. */
  readonly reports: number
  readonly #reviewers: number
  readonly #of: Int32Array
  readonly #about: Int32Array
  /** The reviewer that the praised agent is, or `NONE`. */
  readonly #praised: Int32Array
  readonly #good: Float64Array
  readonly #bad: Float64Array
  /** Good less bad; by reviewer, the sum of how far from none; by subject, the sums for and against. */
  readonly #net: Float64Array
  readonly #opinions: Float64Array
  readonly #forIt: Float64Array
  readonly #againstIt: Float64Array
  readonly #seeds: ReadonlyArray<number>
  #trust: Float64Array
  /** What EigenTrust alone gives: what comparisons begin with, each time. */
  #earned: Float64Array
  #weights: Float64Array
  #round = 0
  #pass = 0

  constructor(
    edges: Edges,
    sizes: { readonly reviewers: number; readonly subjects: number; readonly reports: number },
    /** The reviewer that a subject's agent is, or `NONE`. */
    agentOf: Int32Array,
    seeds: ReadonlyArray<number>
  ) {
    const count = edges.count(true)
    this.reports = sizes.reports
    this.#reviewers = sizes.reviewers
    this.#of = new Int32Array(count)
    this.#about = new Int32Array(count)
    this.#praised = new Int32Array(count)
    this.#good = new Float64Array(count)
    this.#bad = new Float64Array(count)
    this.#net = new Float64Array(count)
    this.#opinions = new Float64Array(sizes.reviewers)
    this.#forIt = new Float64Array(sizes.subjects)
    this.#againstIt = new Float64Array(sizes.subjects)
    this.#seeds = seeds
    this.#trust = new Float64Array(sizes.reviewers)
    this.#earned = this.#weights = new Float64Array(sizes.reviewers)
    let last = 0
    for (let edge = edges.oldest(true); edge !== NONE; edge = edges.after(edge))
      last = Math.max(last, edges.step[edge]!)
    let i = 0
    for (let edge = edges.oldest(true); edge !== NONE; edge = edges.after(edge)) {
      const subject = edges.subject[edge]!
      const fades = left(last - edges.step[edge]!)
      this.#of[i] = edges.reviewer[edge]!
      this.#about[i] = subject
      this.#praised[i] = agentOf[subject]!
      const good = edges.good[edge]! * fades
      const bad = edges.bad[edge]! * fades
      this.#good[i] = good
      this.#bad[i] = bad
      i += 1
    }
    this.#begin()
  }

  /** Does one slice; true when `weights` are ready. */
  next(): boolean {
    if (this.#round < ROUNDS) this.#flow()
    else {
      if (this.#round === ROUNDS) this.#weigh()
      this.#compare()
    }
    this.#round += 1
    if (this.#round < ROUNDS + COMPARISONS) return false
    this.#pass += 1
    if (this.#pass === PASSES) return true
    this.#round = 0
    this.#begin()
    return false
  }

  /** How many seeds there were. */
  get seeds(): number {
    return this.#seeds.length
  }

  /** By reviewer; once `next` was true. */
  get weights(): Float64Array {
    return this.#weights
  }

  /** Opinions that pass trust on, and all trust with the seeds. */
  #begin(): void {
    const [of, about, good, bad, weights] = [this.#of, this.#about, this.#good, this.#bad, this.#weights]
    // What those who are believed so far say for each subject, less what they say against it: nothing at first.
    const balance = new Float64Array(this.#forIt.length)
    for (let i = 0; i < of.length; i++) balance[about[i]!]! += weights[of[i]!]! * (good[i]! - bad[i]!)
    this.#opinions.fill(0)
    this.#forIt.fill(0)
    this.#againstIt.fill(0)
    for (let i = 0; i < of.length; i++) {
      const reviewer = of[i]!
      const subject = about[i]!
      const own = good[i]! - bad[i]!
      const others = balance[subject]! - weights[reviewer]! * own
      const isContradicted = own * others < 0 && Math.abs(others) > CHANCE
      const net = Math.abs(own) > CHANCE && !isContradicted ? own - Math.sign(own) * CHANCE : 0
      this.#net[i] = net
      this.#opinions[reviewer]! += Math.abs(net)
      if (net > 0) this.#forIt[subject]! += net
      else this.#againstIt[subject]! -= net
    }
    this.#trust.fill(0)
    for (const seed of this.#seeds) this.#trust[seed] = 1 / this.#seeds.length
  }

  #flow(): void {
    const [of, about, praised, net] = [this.#of, this.#about, this.#praised, this.#net]
    const [trust, opinions] = [this.#trust, this.#opinions]
    const next = new Float64Array(this.#reviewers)
    const agreeing = new Float64Array(this.#forIt.length)
    const refusing = new Float64Array(this.#againstIt.length)
    for (let i = 0; i < of.length; i++) {
      const opinion = net[i]!
      const agent = praised[i]!
      const share = opinion === 0 ? 0 : (trust[of[i]!]! * Math.abs(opinion)) / opinions[of[i]!]!
      if (share === 0) continue
      if (opinion < 0) refusing[about[i]!]! += share
      else if (agent === NONE) agreeing[about[i]!]! += share
      else {
        agreeing[about[i]!]! += (1 - PRAISE) * share
        next[agent]! += PRAISE * share
      }
    }
    for (let i = 0; i < of.length; i++) {
      const subject = about[i]!
      if (net[i]! > 0) next[of[i]!]! += (agreeing[subject]! * net[i]!) / this.#forIt[subject]!
      else if (net[i]! < 0) next[of[i]!]! -= (refusing[subject]! * net[i]!) / this.#againstIt[subject]!
    }
    let sum = 0
    for (let i = 0; i < next.length; i++) {
      next[i] = whole(next[i]! * (1 - RESTART))
      sum += next[i]!
    }
    for (const seed of this.#seeds) next[seed]! += (1 - sum) / this.#seeds.length
    this.#trust = next
  }

  #weigh(): void {
    let typical = 0
    for (const trust of this.#trust) typical += whole(trust * trust)
    this.#earned = this.#trust.map((trust) => {
      const share = typical > 0 ? Math.min(1, trust / (FULL_SHARE * typical)) : 0
      return share * share
    })
    for (const seed of this.#seeds) this.#weights[seed] = 1
  }

  #compare(): void {
    const [of, about, good, bad, weights] = [this.#of, this.#about, this.#good, this.#bad, this.#weights]
    const known = new Float64Array(this.#forIt.length)
    const against = new Float64Array(this.#forIt.length)
    for (let i = 0; i < of.length; i++) {
      known[about[i]!]! += weights[of[i]!]! * good[i]!
      against[about[i]!]! += weights[of[i]!]! * bad[i]!
    }
    const distance = new Float64Array(this.#reviewers)
    const compared = new Float64Array(this.#reviewers)
    for (let i = 0; i < of.length; i++) {
      const reviewer = of[i]!
      const weight = weights[reviewer]!
      const said = good[i]! + bad[i]!
      if (!(said > 0)) continue
      const otherGood = Math.max(0, known[about[i]!]! - weight * good[i]!)
      const others = otherGood + Math.max(0, against[about[i]!]! - weight * bad[i]!)
      const mean = (1 + otherGood) / (2 + others)
      const off = good[i]! / said - mean
      // The variance of a mean of `said` reports, and of what the others say itself.
      const variance = mean * (1 - mean) * (1 / Math.max(1, said) + 1 / (2 + others)) + SLACK
      const sure = others / (2 + others)
      distance[reviewer]! += (sure * off * off) / variance
      compared[reviewer]! += sure
    }
    const next = new Float64Array(this.#reviewers)
    for (let i = 0; i < this.#reviewers; i++) {
      if (!(compared[i]! > 0)) continue
      const sure = compared[i]! / (compared[i]! + DOUBT)
      next[i] = this.#earned[i]! * sure * excess(distance[i]!, compared[i]!)
    }
    for (const seed of this.#seeds) next[seed] = excess(distance[seed]!, compared[seed]!)
    this.#weights = next
  }
}

/** A multiple of 2^-50: sums of such up to 1 are exact, in whatever order reviewers are numbered. */
const whole = (share: number): number => Math.round(share * GRAIN) / GRAIN
const GRAIN = 2 ** 50

/** What is left of a weight, by how far from others its words are: the tolerated share of their mean distance, squared. */
const excess = (distance: number, compared: number): number => {
  const mean = (distance + DOUBT * TOLERATED) / (compared + DOUBT)
  return mean > TOLERATED ? (TOLERATED * TOLERATED) / (mean * mean) : 1
}
