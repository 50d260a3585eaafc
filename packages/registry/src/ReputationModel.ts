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
import { grown, left, stepOf } from "./internal/Decay.ts"
import { Edges, NONE } from "./internal/Edges.ts"
import { type Row, rowOf, toJson } from "./internal/EdgeRow.ts"
import {
  add,
  type Agent,
  average,
  type Averages,
  empty,
  eraOf,
  INITIAL,
  overall,
  PRIOR,
  qualityOf,
  REMEMBERED,
  SCALE,
  special,
  strangersPart,
  type Subject,
  type Sums
} from "./internal/Evidence.ts"
import { ReportWindows } from "./internal/ReportWindows.ts"
import { Reviewers } from "./internal/Reviewers.ts"
import { Weights } from "./internal/Weights.ts"
import type { Standing } from "./Model.ts"
import type { Applied, Refusal, Reputation } from "./Reputation.ts"

export { HALF_LIFE_MS } from "./internal/Decay.ts"
export {
  CARRIED,
  FAILURE_PENALTY,
  INITIAL,
  PRIOR,
  RATE,
  REVIEWER_CAP,
  STRANGER,
  STRANGERS_TOTAL,
  SWAY,
  UNATTESTED,
  UNATTESTED_CAP
} from "./internal/Evidence.ts"
export { MAX_WINDOWS, REPORTS_PER_WINDOW, WINDOW_MS } from "./internal/ReportWindows.ts"
export { FOUNDERS, MAX_SEEDS } from "./internal/Reviewers.ts"

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
  /** Whether any report with a receipt was ever taken. */
  readonly hasReceipts: () => boolean
  /** Who is trusted beforehand, or stands in for that. */
  readonly seeds: () => ReadonlyArray<string>
  /** Who was configured to be; none where founders stand in. */
  readonly configuredSeeds: () => ReadonlyArray<string>
  /** What is held. */
  readonly size: () => { readonly agents: number; readonly reviewers: number; readonly edges: number }
}

class Model implements ReputationModel {
  readonly #agents = new Map<string, Agent>()
  /** By number; numbers are used again. */
  readonly #subjects: Array<Subject | undefined> = []
  readonly #freeSubjects: Array<number> = []
  readonly #reviewers: Reviewers
  readonly #edges = new Edges()
  readonly #windows = new ReportWindows()
  readonly #max: { readonly attested: number; readonly unattested: number; readonly agents: number }
  /** Counts weights that came into effect. */
  #epoch = 0
  #reports = 0
  #settled = 0
  #settledAt = 0
  #hasReceipts = false
  #isFresh = true
  #work: Weights | undefined

  constructor(options: Options) {
    this.#reviewers = new Reviewers(options.seeds ?? [])
    this.#max = {
      attested: options.maxAttestedEdges ?? MAX_ATTESTED_EDGES,
      unattested: options.maxUnattestedEdges ?? MAX_UNATTESTED_EDGES,
      agents: options.maxAgents ?? MAX_AGENTS
    }
  }

  // Reports

  admit = (report: Report, now: number): Refusal | undefined => {
    const { agent, receipt, reviewer } = report
    if (reviewer === agent || (receipt !== undefined && receipt.executor === reviewer)) return { _tag: "SelfReview" }
    const retryAfterMs = this.#windows.take(reviewer, agent, now)
    return retryAfterMs > 0 ? { _tag: "OverCap", retryAfterMs } : undefined
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

    // What a founder said before, without receipts, counts from now on.
    if (isAttested && this.#reviewers.found(report.reviewer)) this.#epoch += 1
    const reviewer = this.#reviewers.numberOf(report.reviewer)
    this.#advance(agent, Math.max(stepOf(report.at ?? at), agent.last))
    if (agent.epoch !== this.#epoch) this.#refresh(agent)
    this.#count(agent, reviewer, -1)
    const edge = this.#edgeOf(agent, subject, reviewer, isAttested)
    this.#edges.learn(edge, quality, isAttested, agent.last)
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
      founder: this.#reviewers.founder(report.reviewer),
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
      const reviewer = this.#reviewers.numberOf(row.reviewer)
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
    for (const founder of founders) if (founder !== undefined) this.#reviewers.found(founder)
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
    const named = [...(this.#agents.get(id)?.subjects.keys() ?? [])].filter((name) => name !== "").sort()
    return ["", ...named].map((capability) => this.standing(id, capability, now))
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
    // They may come into effect at any time.
    this.#reviewers.hold()
    const work = this.#begin()
    while (!work.next());
    return () => this.#take(work)
  }

  /** One slice; true when it was the last one. */
  #step(now: number): boolean {
    if (this.#work === undefined) {
      this.#settledAt = now
      this.#reviewers.hold()
      this.#work = this.#begin()
      return false
    }
    if (!this.#work.next()) return false
    this.#take(this.#work)
    this.#work = undefined
    this.#reviewers.letGo()
    return true
  }

  #begin(): Weights {
    const reviewers = this.#reviewers
    const agentOf = Int32Array.from(this.#subjects, (subject) =>
      subject === undefined ? NONE : (reviewers.find(subject.agent.id) ?? NONE)
    )
    return new Weights(
      this.#edges,
      { reviewers: reviewers.count, subjects: this.#subjects.length, reports: this.#reports },
      agentOf,
      reviewers.seeds.map((seed) => reviewers.numberOf(seed))
    )
  }

  #take(work: Weights): void {
    this.#reviewers.weigh(work.weights, work.seeds)
    this.#settled = work.reports
    this.#epoch += 1
  }

  reports = (): number => this.#reports
  settled = (): number => this.#settled
  seeds = (): ReadonlyArray<string> => [...this.#reviewers.seeds]
  configuredSeeds = (): ReadonlyArray<string> => (this.#reviewers.areFounders ? [] : this.seeds())
  weightOf = (reviewer: string): number => {
    const number = this.#reviewers.find(reviewer)
    return number === undefined ? 0 : this.#reviewers.weight(number)
  }
  hasReceipts = (): boolean => this.#hasReceipts
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
    this.#reviewers.use(reviewer)
    return edge
  }

  /** Adds what a reviewer says of an agent to the sums, or takes it out. */
  #count(agent: Agent, reviewer: number, sign: 1 | -1): void {
    const edges = this.#edges
    const first = agent.edges.get(reviewer) ?? NONE
    if (first === NONE) return
    const share = edges.share(first)
    const weight = this.#reviewers.weight(reviewer)
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
    this.#reviewers.release(reviewer)
  }

  #dropAgent(agent: Agent): void {
    for (const [reviewer, first] of agent.edges) {
      for (let edge = first; edge !== NONE;) {
        const next = this.#edges.sibling[edge]!
        this.#edges.remove(edge)
        this.#reviewers.release(reviewer)
        edge = next
      }
    }
    for (const { index } of agent.subjects.values()) {
      this.#subjects[index] = undefined
      this.#freeSubjects.push(index)
    }
    this.#agents.delete(agent.id)
  }
}

/** A reputation that knows nothing yet. Throws a `RangeError` for more seeds than `MAX_SEEDS`. */
export const make = (options: Options = {}): ReputationModel => new Model(options)
