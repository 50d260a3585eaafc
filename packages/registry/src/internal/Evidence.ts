/**
 * Evidence: what reports come to for an agent, in whole numbers, and the score that follows.
 */
import type { Report } from "../Event.ts"
import { STEPS } from "./Decay.ts"

/** Score of an agent of which nothing is known, as in AgentMesh. */
export const INITIAL = 0.5
/** How far one report moves AgentMesh's average. */
export const RATE = 0.1
/** What a failure costs besides, as in AgentMesh. */
export const FAILURE_PENALTY = 0.3
/** Reports' worth of doubt that evidence has to outweigh: the uniform prior, Beta(1, 1). */
export const PRIOR = 2
/** Most that one reviewer's word about one agent weighs, in reports: alone it moves a newcomer from 0.5 to at most 0.83. */
export const REVIEWER_CAP = 4
/** What a report without a receipt weighs: the reviewer is known, that there was a task is not. */
export const UNATTESTED = 0.2
/** Most that a reviewer's reports without receipts add, in reports. */
export const UNATTESTED_CAP = REVIEWER_CAP * UNATTESTED
/** What a stranger's report with a receipt weighs, and all strangers' together, in reports: they move 0.5 by at most a tenth. */
export const STRANGER = 0.1
export const STRANGERS_TOTAL = 0.5
/** How far reports without receipts move the prior together, once receipts are known in the registry. */
export const SWAY = 0.1
/** How much of what an agent earned in its other capabilities counts where it has no record yet. */
export const CARRIED = 0.5
/** Effective number of reports that AgentMesh's average remembers: (2 - RATE) / RATE. */
export const REMEMBERED = (2 - RATE) / RATE
/** Evidence is added up in whole numbers of this part of a report, so that sums do not depend on their order. */
export const SCALE = 2 ** 24
/** Half-lives that pass between two beginnings of the sums' clock: 2^8 × 2^24 × 4 × 100,000 reviewers stay exact. */
export const ERA = 8 * STEPS

/** Plain averages and counts, of an agent or of one of its capabilities. */
export interface Averages {
  /** AgentMesh's average, over all reports and over those without a receipt. */
  ema: number
  unattestedEma: number
  reports: number
  attested: number
}

/** Evidence, in 1 / SCALE reports as of the era's beginning. */
export interface Sums {
  good: number
  bad: number
  strangersGood: number
  strangersBad: number
}

export interface Subject extends Averages, Sums {
  readonly agent: Agent
  readonly capability: string
  readonly index: number
}

export interface Agent extends Averages, Sums {
  readonly id: string
  readonly subjects: Map<string, Subject>
  /** By reviewer: the first of its edges. */
  readonly edges: Map<number, number>
  /** The last report's step, and the beginning of the era it falls in. */
  last: number
  era: number
  /** Which weights the sums were made with. */
  epoch: number
}

export const clamp = (value: number, low: number, high: number): number =>
  value < low ? low : value > high ? high : value
/** What a report says of the work, 0 to 1. */
export const qualityOf = (report: Report): number => {
  const quality = report.quality >= 0 ? Math.min(report.quality, 1) : 0
  return report.success ? quality : Math.max(0, quality - FAILURE_PENALTY)
}
export const average = (of: Averages, quality: number, isAttested: boolean): void => {
  of.ema = clamp(of.ema + RATE * (quality - of.ema), 0, 1)
  of.reports += 1
  if (isAttested) of.attested += 1
  else of.unattestedEma = clamp(of.unattestedEma + RATE * (quality - of.unattestedEma), 0, 1)
}
export const empty = (): Averages & Sums => ({
  ema: INITIAL,
  unattestedEma: INITIAL,
  reports: 0,
  attested: 0,
  good: 0,
  bad: 0,
  strangersGood: 0,
  strangersBad: 0
})
const swayed = (unattestedEma: number): number => clamp(unattestedEma, INITIAL - SWAY, INITIAL + SWAY)

export const eraOf = (step: number): number => step - (step % ERA)

export const add = (subject: Subject, what: keyof Sums, amount: number): void => {
  subject.agent[what] += amount
  subject[what] += amount
}

/** How much of what strangers say counts. */
export const strangersPart = (of: Sums, fades: number): number => {
  const said = (of.strangersGood + of.strangersBad) * fades
  return said > 0 ? Math.min(STRANGER, STRANGERS_TOTAL / said) : 0
}

/** The mean of the Beta distribution over a prior. */
const mean = (of: Sums, fades: number, prior: number): number => {
  const part = strangersPart(of, fades)
  const good = (of.good + part * of.strangersGood) * fades
  const bad = (of.bad + part * of.strangersBad) * fades
  return clamp((PRIOR * prior + good) / (PRIOR + good + bad), 0, 1)
}

export const overall = (agent: Agent, fades: number): number => mean(agent, fades, swayed(agent.unattestedEma))

/** In one capability: what is known of the others is where it begins. */
export const special = (agent: Agent, subject: Subject | undefined, fades: number): number => {
  const good = agent.good - (subject?.good ?? 0)
  const bad = agent.bad - (subject?.bad ?? 0)
  const others = (PRIOR * INITIAL + good * fades) / (PRIOR + (good + bad) * fades)
  const prior = swayed((subject ?? agent).unattestedEma) + CARRIED * (others - INITIAL)
  return subject === undefined ? prior : mean(subject, fades, prior)
}
