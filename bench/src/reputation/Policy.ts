/** Whom a registry shows first, by what it was told: ours, and the two that it is compared with. */
import type { Report } from "@parley/registry/Event"
import { EXPLORED, type Known, shareOf } from "@parley/registry/Exploration"
import * as ReputationModel from "@parley/registry/ReputationModel"

export interface Policy extends Known {
  readonly tell: (report: Report, at: number) => void
  /** What is known of all is worked out anew. */
  readonly settle: (now: number) => void
  /** Where the first is not simply the one with the highest score: what to rank by in one discovery, by a random `draw`. */
  readonly lots?: (draw: () => number) => (agent: string) => number
  /** In which share of discoveries newcomers come first, by the best that is known. */
  readonly share: (best: number) => number
}

export type PolicyName = "parley" | "ema" | "eigentrust"

/** The registry's own. */
const parley = (seeds: ReadonlyArray<string>): Policy => {
  const model = ReputationModel.make({ seeds })
  return {
    tell: (report, at) => void model.apply(report, at),
    settle: model.settleAll,
    share: shareOf,
    evidence: model.evidence,
    score: model.score
  }
}

/** AgentMesh's: each report moves the score a tenth of the way, whoever tells it. Newcomers are tried as with ours. */
const ema = (): Policy => {
  const known = new Map<string, { score: number; reports: number }>()
  const of = (agent: string) => known.get(agent) ?? { score: 0.5, reports: 0 }
  return {
    tell: ({ agent, quality, success }) => {
      const { reports, score } = of(agent)
      const actual = success ? quality : Math.max(0, quality - 0.3)
      known.set(agent, { score: score + 0.1 * (actual - score), reports: reports + 1 })
    },
    settle: () => undefined,
    share: shareOf,
    evidence: (agent) => {
      const { reports, score } = of(agent)
      return { good: reports * score, bad: reports * (1 - score) }
    },
    score: (agent) => of(agent).score
  }
}

/** What goes back to the seeds in each round, and the rounds. */
const RESTART = 0.2
const ROUNDS = 20
/** With a chance of 10 % one is asked that nobody trusts yet; else each with a chance in proportion to its trust (section 4.6). */
const TRIED = 0.1

/** EigenTrust (Kamvar, Schlosser and Garcia-Molina, 2003) as published: satisfied less unsatisfied, no receipts, no decay. */
export const eigentrust = (seeds: ReadonlyArray<string>): Policy => {
  const satisfied = new Map<string, Map<string, number>>()
  let trust = new Map<string, number>()
  let most = 1
  const score = (agent: string) => (trust.get(agent) ?? 0) / most
  return {
    tell: ({ agent, quality, reviewer, success }) => {
      const said = satisfied.get(reviewer) ?? new Map<string, number>()
      satisfied.set(reviewer, said.set(agent, (said.get(agent) ?? 0) + (success && quality >= 0.5 ? 1 : -1)))
    },
    settle: () => {
      const local = [...satisfied].map(([reviewer, said]) => {
        const praised = [...said].filter(([, net]) => net > 0)
        return { reviewer, praised, sum: praised.reduce((sum, [, net]) => sum + net, 0) }
      })
      let now = new Map(seeds.map((seed) => [seed, 1 / seeds.length]))
      for (let round = 0; round < ROUNDS; round++) {
        const next = new Map<string, number>()
        for (const { praised, reviewer, sum } of local) {
          const has = now.get(reviewer)
          if (has === undefined) continue
          for (const [agent, net] of praised)
            next.set(agent, (next.get(agent) ?? 0) + ((1 - RESTART) * has * net) / sum)
        }
        const passed = [...next.values()].reduce((sum, value) => sum + value, 0)
        for (const seed of seeds) next.set(seed, (next.get(seed) ?? 0) + (1 - passed) / seeds.length)
        now = next
      }
      trust = now
      const agents = [...now].filter(([id]) => !seeds.includes(id)).map(([, value]) => value)
      most = Math.max(1e-12, ...agents)
    },
    share: () => TRIED,
    // Highest of u^(1/trust): drawn in proportion to trust (Efraimidis and Spirakis, 2006).
    lots: (draw) => (agent) => (score(agent) > 0 ? draw() ** (1 / score(agent)) : 0),
    evidence: (agent) => ({ good: score(agent) > 0 ? EXPLORED : 0, bad: 0 }),
    score
  }
}

export const policyOf = (name: PolicyName, seeds: ReadonlyArray<string>): Policy =>
  name === "parley" ? parley(seeds) : name === "ema" ? ema() : eigentrust(seeds)
