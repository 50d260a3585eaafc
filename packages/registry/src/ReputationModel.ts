/**
 * The reputation of a registry: Beta evidence from reports, each reviewer weighted by EigenTrust, fading with time.
 *
 * - A report counts as AgentMesh counts it: `quality` if it was a success, else `max(0, quality - 0.3)`. With a receipt it is one
 *   report's worth of evidence, without one a fifth of it.
 * - What a reviewer says of an agent is kept as two sums, for and against, that halve every 30 days. Together they are at most four
 *   reports' worth over all capabilities (`REVIEWER_CAP`): more reports make the opinion newer, not heavier.
 * - Opinions are added up by the reviewers' weights (`internal/Weights`): the score is the mean of Beta(1 + for, 1 + against). All
 *   that strangers say together, with receipts of their own or none, moves an agent by at most a tenth.
 * - Weights come from seeds: identities that are trusted beforehand. Where none are configured, the first `FOUNDERS` identities
 *   that ever showed a receipt stand in.
 * - As long as no report with a receipt was ever taken, there is nothing to weigh by: the score is AgentMesh's moving average,
 *   `old + 0.1 × (quality − old)` from 0.5.
 *
 * Scores follow from the reports, their order and times, and from the report after which weights were last settled: on every
 * machine the same, to the bit. An agent's record stands under its id, registered or not: leaving launders nothing, and a new
 * identity begins where nobody knows anything of it, below whoever did well on average.
 */
import type * as Schema from "effect/Schema"
import { interval } from "./BetaInterval.ts"
import type { Report } from "./Event.ts"
import { grown, left, STEPS, stepOf } from "./internal/Decay.ts"
import { Edges, NONE } from "./internal/Edges.ts"
import { type Row, rowOf, toJson } from "./internal/EdgeRow.ts"
import { Weights } from "./internal/Weights.ts"
import type { Standing } from "./Model.ts"
import type { Applied, Refusal, Reputation } from "./Reputation.ts"

export { HALF_LIFE_MS } from "./internal/Decay.ts"

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
/** Who stands in for seeds where none are configured: the first so many that showed a receipt. */
export const FOUNDERS = 8
/** Most seeds: an operator's own nodes and those of a few friends; every statement names them. */
export const MAX_SEEDS = 64
/** Reports of one reviewer about one agent within `WINDOW_MS` (an hour), three a second: past it they are refused. */
export const REPORTS_PER_WINDOW = 10_000
export const WINDOW_MS = 3_600_000
/** Most (agent, reviewer) pairs of which reports are counted for that; the oldest window is forgotten first. */
export const MAX_WINDOWS = 65_536
/** Most edges with receipts, and most without, in memory: about 120 bytes each. The one longest not renewed goes. */
export const MAX_ATTESTED_EDGES = 500_000
export const MAX_UNATTESTED_EDGES = 250_000
/** Most agents with a record: about 1 KiB each. The one longest not reported on goes. */
export const MAX_AGENTS = 250_000
/** Most capabilities of one agent that have a record of their own; what is said of others counts overall. */
export const MAX_CAPABILITIES = 256
/** Longest that one `settle` takes, in milliseconds: less than a frame, so that nobody waits for it. */
export const SLICE_MS = 8
/** Weights are settled anew when this share of the edges' number has come in reports, or `SETTLE_MS` after any report. */
export const SETTLE_SHARE = 1 / 16
export const SETTLE_MS = 30_000

/** Effective number of reports that AgentMesh's average remembers: (2 - RATE) / RATE. */
const REMEMBERED = (2 - RATE) / RATE
/** Evidence is added up in whole numbers of this part of a report, so that sums do not depend on their order. */
const SCALE = 2 ** 24
/** Half-lives that pass between two beginnings of the sums' clock: 2^8 × 2^24 × 4 × 100,000 reviewers stay exact. */
const ERA = 8 * STEPS

/** What may be set. */
export interface Options {
  /** Identities that are trusted beforehand; none: founders stand in. */
  readonly seeds?: ReadonlyArray<string>
  /** Bounds of memory, for tests and small machines. */
  readonly maxAttestedEdges?: number
  readonly maxUnattestedEdges?: number
  readonly maxAgents?: number
}

/** What speaks for an agent and against it, in effective reports. */
export interface Evidence {
  readonly good: number
  readonly bad: number
}

/** A reputation that can be looked into. */
export interface ReputationModel extends Reputation {
  /** Settles until there is nothing left to do. */
  readonly settleAll: (now: number) => void
  /**
   * Works out the weights as they would be settled now, and gives what puts them into effect, now or later: so that a replay can
   * have those of any link.
   */
  readonly prepare: () => () => void
  /** Reports taken in so far: the number of the evidence chain's last link. */
  readonly reports: () => number
  /** Of these, how many the reviewers' weights rest on. */
  readonly settled: () => number
  /** What those who are believed say for an agent and against it, in reports; strangers aside. */
  readonly evidence: (agent: string, capability: string, now: number) => Evidence
  /** How much a reviewer's word weighs, 0 to 1. */
  readonly weightOf: (reviewer: string) => number
  /** Who is trusted beforehand, or stands in for that. */
  readonly seeds: () => ReadonlyArray<string>
  /** Who was configured to be; none where founders stand in. */
  readonly configuredSeeds: () => ReadonlyArray<string>
  /** What is held. */
  readonly size: () => { readonly agents: number; readonly reviewers: number; readonly edges: number }
}

/** Plain averages and counts, of an agent or of one of its capabilities. */
interface Averages {
  /** AgentMesh's average, over all reports and over those without a receipt. */
  ema: number
  unattestedEma: number
  reports: number
  attested: number
}

/** Evidence, in 1 / SCALE reports as of the era's beginning. */
interface Sums {
  good: number
  bad: number
  strangersGood: number
  strangersBad: number
}

interface Subject extends Averages, Sums {
  readonly agent: Agent
  readonly capability: string
  readonly index: number
}

interface Agent extends Averages, Sums {
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

const clamp = (value: number, low: number, high: number): number => (value < low ? low : value > high ? high : value)
/** What a report says of the work, 0 to 1. */
const qualityOf = (report: Report): number => {
  const quality = report.quality >= 0 ? Math.min(report.quality, 1) : 0
  return report.success ? quality : Math.max(0, quality - FAILURE_PENALTY)
}
const average = (of: Averages, quality: number, isAttested: boolean): void => {
  of.ema = clamp(of.ema + RATE * (quality - of.ema), 0, 1)
  of.reports += 1
  if (isAttested) of.attested += 1
  else of.unattestedEma = clamp(of.unattestedEma + RATE * (quality - of.unattestedEma), 0, 1)
}
const empty = (): Averages & Sums => ({
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

class Model implements ReputationModel {
  readonly #agents = new Map<string, Agent>()
  /** Subjects and reviewers have numbers, which are used again. */
  readonly #subjects: Array<Subject | undefined> = []
  readonly #freeSubjects: Array<number> = []
  readonly #reviewers = new Map<string, number>()
  readonly #names: Array<string | undefined> = []
  readonly #freeReviewers: Array<number> = []
  /** Edges of each reviewer. */
  readonly #uses: Array<number> = []
  readonly #edges = new Edges()
  readonly #seeds: Array<string>
  readonly #areFounders: boolean
  readonly #windows = new Map<string, { since: number; count: number }>()
  readonly #max: { readonly attested: number; readonly unattested: number; readonly agents: number }
  #weights = new Float64Array(64)
  #epoch = 0
  #reports = 0
  #settled = 0
  #settledAt = 0
  #hasReceipts = false
  #isFresh = true
  #work: Weights | undefined
  /** Weights of former times may come into effect: no number is used again. */
  #keepsNumbers = false
  /** Numbers given up while weights are computed: used again only afterwards. */
  #givenUp: Array<number> = []

  constructor(options: Options) {
    this.#seeds = [...new Set(options.seeds ?? [])]
    this.#areFounders = this.#seeds.length === 0
    if (this.#seeds.length > MAX_SEEDS) {
      throw new RangeError(
        `${this.#seeds.length} seeds are configured, at most ${MAX_SEEDS} may be: name those you know best`
      )
    }
    this.#max = {
      attested: options.maxAttestedEdges ?? MAX_ATTESTED_EDGES,
      unattested: options.maxUnattestedEdges ?? MAX_UNATTESTED_EDGES,
      agents: options.maxAgents ?? MAX_AGENTS
    }
    for (const seed of this.#seeds) this.#trustBeforehand(seed)
  }

  // Reports

  admit = (report: Report, now: number): Refusal | undefined => {
    const { agent, receipt, reviewer } = report
    if (reviewer === agent || (receipt !== undefined && receipt.executor === reviewer)) return { _tag: "SelfReview" }
    const key = `${reviewer}\n${agent}`
    const window = this.#windows.get(key)
    if (window === undefined || now >= window.since + WINDOW_MS || now < window.since) {
      this.#windows.delete(key)
      this.#windows.set(key, { since: now, count: 1 })
      if (this.#windows.size > MAX_WINDOWS)
        for (const oldest of this.#windows.keys()) return void this.#windows.delete(oldest)
      return undefined
    }
    if (window.count >= REPORTS_PER_WINDOW) return { _tag: "OverCap", retryAfterMs: window.since + WINDOW_MS - now }
    window.count += 1
    return undefined
  }

  apply = (report: Report, at: number): Applied => {
    const isAttested = report.receipt !== undefined
    const quality = qualityOf(report)
    const agent = this.#agentOf(report.agent)
    const subject = this.#subjectOf(agent, report.capability)
    this.#reports += 1
    if (isAttested) this.#hasReceipts = true
    average(agent, quality, isAttested)
    average(subject, quality, isAttested)

    const reviewer = this.#reviewerOf(report.reviewer)
    const founder = isAttested ? this.#found(report.reviewer) : this.#founderOf(report.reviewer)
    this.#advance(agent, Math.max(stepOf(report.at ?? at), agent.last))
    if (agent.epoch !== this.#epoch) this.#refresh(agent)
    this.#count(agent, reviewer, -1)
    const edge = this.#edgeOf(agent, subject, reviewer, isAttested)
    this.#learn(edge, quality, isAttested, agent.last)
    this.#count(agent, reviewer, 1)
    this.#makeRoom(agent)

    const { attested, bad, good, reports, step } = this.#edges
    const row: Row = {
      agent: report.agent,
      capability: subject.capability,
      reviewer: report.reviewer,
      report: this.#reports,
      step: step[edge]!,
      good: good[edge]!,
      bad: bad[edge]!,
      reports: reports[edge]!,
      attested: attested[edge]!,
      founder,
      ofSubject: subject,
      ofAgent: agent
    }
    return { score: this.score(report.agent, "", at), ema: agent.ema, edge: toJson(row) }
  }

  restore = (rows: Iterable<Schema.Json>): void => {
    const all: Array<Row> = []
    for (const json of rows) all.push(rowOf(json))
    all.sort((a, b) => a.report - b.report)
    const founders: Array<string> = []
    for (const row of all) {
      const agent = this.#agentOf(row.agent)
      const subject = this.#subjectOf(agent, row.capability)
      Object.assign(agent, row.ofAgent)
      Object.assign(subject, row.ofSubject)
      if (row.ofAgent.attested > 0) this.#hasReceipts = true
      if (row.founder !== undefined) founders[row.founder] = row.reviewer
      this.#reports = row.report
      const reviewer = this.#reviewerOf(row.reviewer)
      const edge = this.#edgeOf(agent, subject, reviewer, row.attested > 0)
      const edges = this.#edges
      edges.good[edge] = row.good
      edges.bad[edge] = row.bad
      edges.step[edge] = row.step
      edges.reports[edge] = row.reports
      edges.attested[edge] = row.attested
      agent.last = Math.max(agent.last, row.step)
      agent.epoch = -1
      this.#makeRoom(agent)
    }
    if (this.#areFounders) for (const founder of founders) if (founder !== undefined) this.#found(founder)
    for (const agent of this.#agents.values()) agent.era = eraOf(agent.last)
    this.#isFresh = true
  }

  // Standings

  score = (id: string, capability: string, now: number): number => {
    const agent = this.#agents.get(id)
    if (agent === undefined) return INITIAL
    const subject = capability === "" ? undefined : agent.subjects.get(capability)
    if (!this.#hasReceipts) return (subject ?? agent).ema
    if (agent.epoch !== this.#epoch) this.#refresh(agent)
    const fades = left(stepOf(now) - agent.era) / SCALE
    return capability === "" ? overall(agent, fades) : special(agent, subject, fades)
  }

  standings = (id: string, now: number): ReadonlyArray<Standing> => {
    const agent = this.#agents.get(id)
    if (agent === undefined) return [this.#standing(null, empty(), INITIAL, now, 0)]
    if (agent.epoch !== this.#epoch) this.#refresh(agent)
    const named = [...agent.subjects.values()]
      .filter(({ capability }) => capability !== "")
      .sort((a, b) => (a.capability < b.capability ? -1 : 1))
    return [
      this.#standing(null, agent, this.score(id, "", now), now, agent.era),
      ...named.map((subject) =>
        this.#standing(subject.capability, subject, this.score(id, subject.capability, now), now, agent.era)
      )
    ]
  }

  standing = (id: string, capability: string, now: number): Standing => {
    const name = capability === "" ? null : capability
    const agent = this.#agents.get(id)
    const of = name === null ? agent : agent?.subjects.get(name)
    if (agent === undefined || of === undefined) {
      return this.#standing(name, empty(), this.score(id, capability, now), now, 0)
    }
    if (agent.epoch !== this.#epoch) this.#refresh(agent)
    return this.#standing(name, of, this.score(id, capability, now), now, agent.era)
  }

  evidence = (id: string, capability: string, now: number): Evidence => {
    const agent = this.#agents.get(id)
    const of = capability === "" ? agent : agent?.subjects.get(capability)
    if (agent === undefined || of === undefined) return { good: 0, bad: 0 }
    if (!this.#hasReceipts) {
      const weight = Math.min(of.reports, REMEMBERED)
      return { good: weight * of.ema, bad: weight * (1 - of.ema) }
    }
    if (agent.epoch !== this.#epoch) this.#refresh(agent)
    const fades = left(stepOf(now) - agent.era) / SCALE
    return { good: of.good * fades, bad: of.bad * fades }
  }

  #weight(of: Averages & Sums, fades: number): number {
    // AgentMesh's average remembers the last reports only.
    if (!this.#hasReceipts) return Math.min(of.reports, REMEMBERED)
    return (of.good + of.bad + strangersPart(of, fades) * (of.strangersGood + of.strangersBad)) * fades
  }

  #standing(capability: string | null, of: Averages & Sums, score: number, now: number, era: number): Standing {
    const weight = this.#weight(of, left(stepOf(now) - era) / SCALE)
    // Where evidence is, its mean is the score: Beta(score × all, (1 - score) × all), which never begins at nothing.
    const all = PRIOR + weight
    const sure = (share: number) => Math.max(share * all, 0.01)
    const { high, low } = interval(sure(score), sure(1 - score))
    return {
      capability,
      score,
      low: Math.min(low, score),
      high: Math.max(high, score),
      reports: of.reports,
      attested: of.attested,
      weight,
      ema: of.ema
    }
  }

  // Weights

  settle = (now: number): void => {
    if (this.#isFresh) return this.settleAll(now)
    if (this.#work === undefined && !this.#isDue(now)) return
    const until = performance.now() + SLICE_MS
    do if (this.#step(now)) return
    while (performance.now() < until)
  }

  settleAll = (now: number): void => {
    this.#isFresh = false
    while (this.#work !== undefined || this.#settled < this.#reports) this.#step(now)
  }

  #isDue(now: number): boolean {
    const waiting = this.#reports - this.#settled
    if (waiting === 0) return false
    const enough = this.#edges.count(true) * SETTLE_SHARE
    return waiting >= Math.max(enough, 1) || now - this.#settledAt >= SETTLE_MS || now < this.#settledAt
  }

  prepare = (): (() => void) => {
    this.#keepsNumbers = true
    const work = this.#begin()
    while (!work.next());
    return () => this.#take(work)
  }

  /** One slice; true when it was the last one. */
  #step(now: number): boolean {
    if (this.#work === undefined) {
      this.#settledAt = now
      this.#work = this.#begin()
      return false
    }
    if (!this.#work.next()) return false
    this.#take(this.#work)
    this.#work = undefined
    if (!this.#keepsNumbers) this.#freeReviewers.push(...this.#givenUp)
    this.#givenUp = []
    return true
  }

  #begin(): Weights {
    const agentOf = Int32Array.from(this.#subjects, (subject) =>
      subject === undefined ? NONE : (this.#reviewers.get(subject.agent.id) ?? NONE)
    )
    return new Weights(
      this.#edges,
      { reviewers: this.#names.length, subjects: this.#subjects.length, reports: this.#reports },
      agentOf,
      this.#seeds.map((seed) => this.#reviewers.get(seed)!)
    )
  }

  /** Puts weights into effect. Whoever came after they were begun is a stranger until the next time, founders aside. */
  #take(work: Weights): void {
    const weights = new Float64Array(Math.max(this.#weights.length, this.#names.length))
    weights.set(work.weights)
    for (let reviewer = 0; reviewer < this.#names.length; reviewer++)
      if (this.#names[reviewer] === undefined) weights[reviewer] = 0
    for (const seed of this.#founded(work)) weights[this.#reviewers.get(seed)!] = 1
    this.#weights = weights
    this.#settled = work.reports
    this.#epoch += 1
  }

  /** Founders that were none when the weights were begun. */
  #founded(work: Weights): ReadonlyArray<string> {
    return this.#seeds.slice(work.seeds)
  }

  reports = (): number => this.#reports
  settled = (): number => this.#settled
  seeds = (): ReadonlyArray<string> => [...this.#seeds]
  configuredSeeds = (): ReadonlyArray<string> => (this.#areFounders ? [] : [...this.#seeds])
  weightOf = (reviewer: string): number => {
    const index = this.#reviewers.get(reviewer)
    return index === undefined ? 0 : this.#weights[index]!
  }
  size = () => ({
    agents: this.#agents.size,
    reviewers: this.#reviewers.size,
    edges: this.#edges.count(true) + this.#edges.count(false)
  })

  // Who is who

  /** The agent's record; from now on it is the last one reported on. */
  #agentOf(id: string): Agent {
    const known = this.#agents.get(id)
    const agent: Agent = known ?? { id, ...empty(), subjects: new Map(), edges: new Map(), last: 0, era: 0, epoch: -1 }
    if (known !== undefined) this.#agents.delete(id)
    this.#agents.set(id, agent)
    return agent
  }

  #subjectOf(agent: Agent, name: string): Subject {
    const known = agent.subjects.get(name)
    if (known !== undefined) return known
    if (name !== "" && agent.subjects.size >= MAX_CAPABILITIES) return this.#subjectOf(agent, "")
    const index = this.#freeSubjects.pop() ?? this.#subjects.length
    const subject: Subject = { agent, capability: name, index, ...empty() }
    agent.subjects.set(name, subject)
    this.#subjects[index] = subject
    return subject
  }

  #reviewerOf(name: string): number {
    const known = this.#reviewers.get(name)
    if (known !== undefined) return known
    const index = this.#freeReviewers.pop() ?? this.#names.length
    this.#reviewers.set(name, index)
    this.#names[index] = name
    this.#uses[index] = 0
    if (index >= this.#weights.length) {
      const more = new Float64Array(this.#weights.length * 2)
      more.set(this.#weights)
      this.#weights = more
    }
    this.#weights[index] = 0
    return index
  }

  #trustBeforehand(name: string): void {
    const index = this.#reviewerOf(name)
    // Never forgotten, whatever becomes of its edges.
    this.#uses[index]! += 1
    this.#weights[index] = 1
  }

  #founderOf(name: string): number | undefined {
    const place = this.#areFounders ? this.#seeds.indexOf(name) : NONE
    return place === NONE ? undefined : place
  }

  /** Its place among the founders; the first ones become some. */
  #found(name: string): number | undefined {
    const place = this.#founderOf(name)
    if (place !== undefined || !this.#areFounders || this.#seeds.length >= FOUNDERS) return place
    this.#seeds.push(name)
    const hadEdges = this.#reviewers.has(name)
    this.#trustBeforehand(name)
    // What it said before, without receipts, counts from now on.
    if (hadEdges) this.#epoch += 1
    return this.#seeds.length - 1
  }

  // Edges

  #edgeOf(agent: Agent, subject: Subject, reviewer: number, isAttested: boolean): number {
    const edges = this.#edges
    const first = agent.edges.get(reviewer) ?? NONE
    for (let edge = first; edge !== NONE; edge = edges.sibling[edge]!) {
      if (edges.subject[edge] !== subject.index) continue
      const hadReceipt = edges.attested[edge]! > 0
      edges.touch(edge, hadReceipt, hadReceipt || isAttested)
      return edge
    }
    const edge = edges.add(subject.index, reviewer, isAttested)
    edges.sibling[edge] = first
    agent.edges.set(reviewer, edge)
    this.#uses[reviewer]! += 1
    return edge
  }

  #learn(edge: number, quality: number, isAttested: boolean, step: number): void {
    const edges = this.#edges
    const weight = isAttested ? 1 : UNATTESTED
    const fades = left(step - edges.step[edge]!)
    if (isAttested) edges.attested[edge]! += 1
    edges.reports[edge]! += 1
    const good = edges.good[edge]! * fades + weight * quality
    const bad = edges.bad[edge]! * fades + weight * (1 - quality)
    const most = Math.min(REVIEWER_CAP, edges.attested[edge]! + UNATTESTED_CAP)
    const shrinks = good + bad > most ? most / (good + bad) : 1
    edges.good[edge] = good * shrinks
    edges.bad[edge] = bad * shrinks
    edges.step[edge] = step
  }

  /** Adds what a reviewer says of an agent to the sums, or takes it out. */
  #count(agent: Agent, reviewer: number, sign: 1 | -1): void {
    const edges = this.#edges
    const first = agent.edges.get(reviewer) ?? NONE
    if (first === NONE) return
    let share = 1
    if (edges.sibling[first] !== NONE) {
      let last = 0
      let total = 0
      for (let edge = first; edge !== NONE; edge = edges.sibling[edge]!) last = Math.max(last, edges.step[edge]!)
      // Siblings stand in the order in which they came to be, not in that of their reports: whole numbers do not mind.
      for (let edge = first; edge !== NONE; edge = edges.sibling[edge]!)
        total += Math.round((edges.good[edge]! + edges.bad[edge]!) * left(last - edges.step[edge]!) * SCALE)
      share = Math.min(1, (REVIEWER_CAP * SCALE) / total)
    }
    const weight = this.#weights[reviewer]!
    for (let edge = first; edge !== NONE; edge = edges.sibling[edge]!) {
      const since = edges.step[edge]! - agent.era
      const scale = share * (since >= 0 ? grown(since) : left(-since)) * SCALE
      const good = edges.good[edge]! * scale
      const bad = edges.bad[edge]! * scale
      const subject = this.#subjects[edges.subject[edge]!]!
      add(subject, "good", sign * Math.round(weight * good))
      add(subject, "bad", sign * Math.round(weight * bad))
      if (!(edges.attested[edge]! > 0) || weight >= 1) continue
      add(subject, "strangersGood", sign * Math.round((1 - weight) * good))
      add(subject, "strangersBad", sign * Math.round((1 - weight) * bad))
    }
  }

  /** The agent's clock goes on; sums are made anew where an era begins. */
  #advance(agent: Agent, step: number): void {
    agent.last = step
    const era = eraOf(step)
    if (era === agent.era) return
    agent.era = era
    agent.epoch = -1
  }

  /** Makes an agent's sums anew. */
  #refresh(agent: Agent): void {
    agent.epoch = this.#epoch
    for (const sums of [agent, ...agent.subjects.values()])
      sums.good = sums.bad = sums.strangersGood = sums.strangersBad = 0
    for (const reviewer of agent.edges.keys()) this.#count(agent, reviewer, 1)
  }

  // Room

  #makeRoom(but: Agent): void {
    const edges = this.#edges
    if (edges.count(true) > this.#max.attested) this.#dropEdge(edges.oldest(true))
    if (edges.count(false) > this.#max.unattested) this.#dropEdge(edges.oldest(false))
    if (this.#agents.size <= this.#max.agents) return
    for (const oldest of this.#agents.values()) {
      if (oldest !== but) this.#dropAgent(oldest)
      return
    }
  }

  #dropEdge(edge: number): void {
    const edges = this.#edges
    const { agent } = this.#subjects[edges.subject[edge]!]!
    const reviewer = edges.reviewer[edge]!
    const first = agent.edges.get(reviewer)!
    if (first === edge && edges.sibling[edge] === NONE) agent.edges.delete(reviewer)
    else if (first === edge) agent.edges.set(reviewer, edges.sibling[edge]!)
    else {
      let before = first
      while (edges.sibling[before] !== edge) before = edges.sibling[before]!
      edges.sibling[before] = edges.sibling[edge]!
    }
    edges.remove(edge)
    agent.epoch = -1
    this.#release(reviewer)
  }

  #dropAgent(agent: Agent): void {
    for (const [reviewer, first] of agent.edges) {
      for (let edge = first; edge !== NONE;) {
        const next = this.#edges.sibling[edge]!
        this.#edges.remove(edge)
        this.#release(reviewer)
        edge = next
      }
    }
    for (const { index } of agent.subjects.values()) {
      this.#subjects[index] = undefined
      this.#freeSubjects.push(index)
    }
    this.#agents.delete(agent.id)
  }

  #release(reviewer: number): void {
    this.#uses[reviewer]! -= 1
    if (this.#uses[reviewer]! > 0) return
    this.#reviewers.delete(this.#names[reviewer]!)
    this.#names[reviewer] = undefined
    this.#weights[reviewer] = 0
    if (this.#work === undefined && !this.#keepsNumbers) this.#freeReviewers.push(reviewer)
    else this.#givenUp.push(reviewer)
  }
}

const eraOf = (step: number): number => step - (step % ERA)

const add = (subject: Subject, what: keyof Sums, amount: number): void => {
  subject.agent[what] += amount
  subject[what] += amount
}

/** How much of what strangers say counts. */
const strangersPart = (of: Sums, fades: number): number => {
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

const overall = (agent: Agent, fades: number): number => mean(agent, fades, swayed(agent.unattestedEma))

/** In one capability: what is known of the others is where it begins. */
const special = (agent: Agent, subject: Subject | undefined, fades: number): number => {
  const good = agent.good - (subject?.good ?? 0)
  const bad = agent.bad - (subject?.bad ?? 0)
  const others = (PRIOR * INITIAL + good * fades) / (PRIOR + (good + bad) * fades)
  const prior = swayed((subject ?? agent).unattestedEma) + CARRIED * (others - INITIAL)
  return subject === undefined ? prior : mean(subject, fades, prior)
}

/** A reputation that knows nothing yet. Throws a `RangeError` for more seeds than `MAX_SEEDS`. */
export const make = (options: Options = {}): ReputationModel => new Model(options)
