/**
 * A market with ground truth: agents of hidden quality, honest callers who take whom the registry shows first, and those who game it.
 *
 * An hour is a round. In each, every honest caller asks the registry for the one best agent (`Matcher.match`, as discovery
 * does), gives it a task, and reports what came of it with a receipt. Sybils do the same work for the attack: each praises a
 * colluder or slanders a good agent, in turns by chance, with true receipts: colluders sign them among themselves, and good
 * agents serve whoever asks. The signatures themselves are left out here; the registry checks them before its reputation
 * hears of a report.
 */
import type { AgentRecord } from "@parley/core/AgentRecord"
import * as Matcher from "@parley/core/Matcher"
import type { Match, TrustOf } from "@parley/core/Matcher"
import type { NodeId } from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"
import type { Receipt } from "@parley/core/Receipt"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import type { Report } from "@parley/registry/Event"
import { newcomersFirst } from "@parley/registry/Exploration"
import { type Policy, type PolicyName, policyOf } from "./Policy.ts"

/** What a run is like. */
export interface Terms {
  readonly policy: PolicyName
  readonly rounds: number
  /** Honest callers, and how many of them are seeds. */
  readonly callers: number
  readonly seeds: number
  readonly agents: number
  /** Share of agents that work badly and collude, when there is an attack. */
  readonly colluding: number
  /** Sybils per honest caller. */
  readonly sybils: number
  /** The round in which the attack begins; `Infinity`: never. */
  readonly attackFrom: number
  /** Whether anybody has receipts, and whether the attackers have. */
  readonly receipts: "all" | "honest" | "none"
  /** Share of a sybil's reports that praise good agents, to be believed. */
  readonly camouflage: number
  /** Seeds that join the attack. */
  readonly traitors: number
  /** Agents that work well for a while and then badly, until nobody asks any more. */
  readonly oscillating: number
  /** Bad agents, and whether they come back under a new name when their score is below a newcomer's. */
  readonly whitewashers: number
  readonly whitewash: boolean
}

export const usual: Terms = {
  policy: "parley",
  rounds: 240,
  callers: 30,
  seeds: 3,
  agents: 60,
  colluding: 0.3,
  sybils: 10,
  attackFrom: 0,
  receipts: "all",
  camouflage: 0,
  traitors: 0,
  oscillating: 3,
  whitewashers: 3,
  whitewash: true
}

/** What came of a run. */
export interface Outcome {
  /** Share of the tasks of each round that went to an agent that worked well then. */
  readonly good: ReadonlyArray<number>
  /** Share of all tasks that whitewashers got. */
  readonly whitewashed: number
  /** New names they took. */
  readonly names: number
}

/** An agent is good when it does at least so much of its work well. */
const GOOD = 0.8
const HOUR = 3_600_000
const START = Date.UTC(2026, 0, 1)
const CAPABILITY = "work"
/** Tasks in which an oscillating agent works well, before and after it milks what it earned. */
const EARNING = 60
const MILKING = 30
const WEIGHTS_EVERY = 4
const idle = { value: 1, why: "idle" }
const query: Query = Object.freeze({ name: CAPABILITY, limit: 1 })

interface Agent {
  id: NodeId
  /** Share of tasks done well, in its good times. */
  readonly quality: number
  readonly kind: "honest" | "colluder" | "oscillating" | "whitewasher"
  tasks: number
}

const idOf = (letter: string, number: number): NodeId => `z6Mk${letter.repeat(36)}${11_111_111 + number}` as NodeId

const recordOf = (node: NodeId): AgentRecord =>
  ({
    v: 1,
    node,
    name: "agent",
    seq: 1,
    issuedAt: 0,
    expiresAt: 8e15,
    addresses: [],
    capabilities: [{ name: CAPABILITY, version: "1.0.0", description: "" }],
    sig: ""
  }) as unknown as AgentRecord

export class Market {
  readonly #terms: Terms
  readonly #random: Seeded
  readonly #policy: Policy
  readonly #matcher = Matcher.make()
  readonly #agents: Array<Agent> = []
  readonly #byId = new Map<string, Agent>()
  readonly #callers: ReadonlyArray<string>
  readonly #sybils: ReadonlyArray<string>
  readonly #traitors: ReadonlyArray<string>
  #names = 0
  #tasks = 0
  #now = START

  constructor(terms: Terms, seed: number) {
    this.#terms = terms
    this.#random = fromSeed(seed)
    this.#callers = Array.from({ length: terms.callers }, (_, i) => idOf("C", i))
    this.#sybils = Array.from({ length: terms.callers * terms.sybils }, (_, i) => idOf("S", i))
    // The seeds that only slander: beyond the honest callers, so that runs with and without them have the same demand.
    this.#traitors = Array.from({ length: terms.traitors }, (_, i) => idOf("T", i))
    this.#policy = policyOf(terms.policy, [...this.#callers.slice(0, terms.seeds), ...this.#traitors])
    const colluders = Math.round(terms.agents * terms.colluding)
    for (let i = 0; i < terms.agents; i++) {
      const kind =
        i < colluders
          ? "colluder"
          : i < colluders + terms.oscillating
            ? "oscillating"
            : i < colluders + terms.oscillating + terms.whitewashers
              ? "whitewasher"
              : "honest"
      const draw = this.#random.next()
      // Of the honest, a third is good, a third middling and a third bad.
      const honest = [0.85 + 0.1 * draw, 0.5 + 0.2 * draw, 0.1 + 0.3 * draw][i % 3]!
      this.#join({
        id: this.#newId(),
        quality: kind === "honest" ? honest : kind === "oscillating" ? 0.95 : 0.2,
        kind,
        tasks: 0
      })
    }
  }

  run(): Outcome {
    const good: Array<number> = []
    const { attackFrom, rounds } = this.#terms
    for (let round = 0; round < rounds; round++) {
      this.#now = START + round * HOUR
      if (round >= attackFrom) this.#attack()
      good.push(this.#trade())
      if (round % WEIGHTS_EVERY === 0) this.#policy.settle(this.#now)
      if (this.#terms.whitewash) this.#launder()
    }
    const asked = rounds * this.#callers.length
    return { good, whitewashed: this.#tasks / asked, names: this.#names - this.#terms.agents }
  }

  /** Every honest caller has a task; the share that was given to an agent that works well now. */
  #trade(): number {
    let chosen = 0
    for (const caller of this.#callers) {
      const agent = this.#discover()
      const quality = qualityNow(agent)
      if (quality >= GOOD) chosen += 1
      if (agent.kind === "whitewasher") this.#tasks += 1
      agent.tasks += 1
      const isWell = this.#random.next() < quality
      this.#tell(agent.id, caller, isWell ? 0.9 + 0.1 * this.#random.next() : 0.3 * this.#random.next(), isWell, true)
    }
    return chosen / this.#callers.length
  }

  /** As a registry does: the best match, or in few discoveries the best newcomer. */
  #discover(): Agent {
    const first = (trust: TrustOf): Match =>
      this.#matcher.match(query, { now: this.#now, trust, availability: () => idle })[0]!
    const lots = this.#policy.lots?.(this.#random.next)
    const best = first(lots ?? ((node, capability) => this.#policy.score(node, capability, this.#now)))
    const tries = this.#random.next() < this.#policy.share(best.parts.trust.value)
    const match = tries ? first(newcomersFirst(this.#policy, this.#now, this.#random.next())) : best
    return this.#byId.get(match.node)!
  }

  #attack(): void {
    const colluders = this.#agents.filter(({ kind }) => kind === "colluder")
    const targets = this.#agents.filter(({ kind, quality }) => kind === "honest" && quality >= GOOD)
    const slander = (reviewer: string) => this.#tell(this.#random.pick(targets).id, reviewer, 0, false, false)
    for (const reviewer of [...this.#sybils, ...this.#traitors, ...colluders.map(({ id }) => id)]) {
      if (this.#random.next() < this.#terms.camouflage) {
        const agent = this.#random.pick(targets)
        this.#tell(agent.id, reviewer, 0.95, this.#random.next() < agent.quality, false)
      } else if (this.#random.next() < 0.5) slander(reviewer)
      else {
        const agent = this.#random.pick(colluders)
        if (agent.id !== reviewer) this.#tell(agent.id, reviewer, 1, true, false)
      }
    }
  }

  /** Whoever stands below a newcomer comes back as one, once an hour. */
  #launder(): void {
    for (const agent of this.#agents) {
      if (agent.kind !== "whitewasher") continue
      const newcomer = this.#policy.score("nobody", CAPABILITY, this.#now)
      if (this.#policy.score(agent.id, CAPABILITY, this.#now) >= newcomer) continue
      this.#matcher.remove(agent.id)
      this.#byId.delete(agent.id)
      agent.id = this.#newId()
      this.#join(agent)
    }
  }

  #tell(agent: NodeId, reviewer: string, quality: number, success: boolean, isHonest: boolean): void {
    const { receipts } = this.#terms
    const report: Report = { agent, capability: CAPABILITY, reviewer, task: "", success, quality }
    const isAttested = receipts === "all" || (receipts === "honest" && isHonest)
    this.#policy.tell(isAttested ? { ...report, receipt: receiptOf(agent) } : report, this.#now)
  }

  #join(agent: Agent): void {
    if (!this.#agents.includes(agent)) this.#agents.push(agent)
    this.#byId.set(agent.id, agent)
    this.#matcher.upsert(recordOf(agent.id))
  }

  /** In no order that says who they are. */
  #newId(): NodeId {
    this.#names += 1
    return idOf(String.fromCharCode(65 + this.#random.int(26)), this.#names)
  }
}

/** What an agent's work is worth now: those who milk do little of it well for a while. */
const qualityNow = ({ kind, quality, tasks }: Agent): number =>
  kind === "oscillating" && tasks % (EARNING + MILKING) >= EARNING ? 0.1 : quality

/** Its presence is what counts here. */
const receiptOf = (executor: NodeId): Receipt => ({ executor }) as Receipt
