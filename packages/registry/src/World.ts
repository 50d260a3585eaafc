/**
 * World: everything the registry knows, in memory: who there is, what they can do, how they did, and how far the log is followed.
 *
 * What is here follows from the log alone (`apply`), so that every instance of one database has the same; presence is asked for,
 * and belongs to nobody's log. Only the ledger writes here. Agents that are online stand in core's matcher: those that speak
 * AgentMesh only under a NodeId made from their id, which is never shown.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as Effect from "effect/Effect"
import type { AgentRecord as NodeRecord } from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as Matcher from "@parley/core/Matcher"
import * as NodeId from "@parley/core/NodeId"
import { Circuits } from "./Circuits.ts"
import type { Event, Report } from "./Event.ts"
import { INITIAL } from "./internal/Evidence.ts"
import { LargeAgents } from "./internal/LargeAgents.ts"
import { type Bounds as TrustBounds, MostTrusted } from "./internal/MostTrusted.ts"
import { type Agent, agentOf, largeOf, type Owned, OWNER } from "./internal/RegisteredAgent.ts"
import { insert, placeOf } from "./internal/Sorted.ts"
import { Latencies } from "./Latencies.ts"
import type { AgentStatus, Manifest } from "./Model.ts"
import { Presence } from "./Presence.ts"
import type { Applied } from "./Reputation.ts"
import type { ReputationModel } from "./ReputationModel.ts"
import type { Snapshot } from "./Store.ts"

export { type Agent, bytesOf, ORDINARY_BYTES, type Owned, OWNER } from "./internal/RegisteredAgent.ts"

/** Most agents registered: about 8 KiB each with five capabilities. One more takes the place of one that is away. */
export const MAX_AGENTS = 100_000
/**
 * Most bytes of all agents beyond `ORDINARY_BYTES` of each: three thousand of the largest. One more large one takes the places of
 * large ones that are away.
 */
export const MAX_LARGE_BYTES = 512 * 1_048_576
/** How many are looked at for one that is away. */
const SAMPLE = 64
/** How long an agent that has just registered counts as online without a lease, in milliseconds: its lease is opened meanwhile. */
export const ARRIVAL_MS = 2_000
/** How long a score is taken as unchanged by time alone, in milliseconds; evidence halves in a month. */
const SCORE_MS = 1_000

/** How many tasks an agent did well, and not. They stay when it leaves. */
export interface Counters {
  completed: number
  failed: number
}

/** What a world is made of. */
export interface Parts {
  readonly presence: Presence["Service"]
  /** An empty one; made anew when the world is loaded again. */
  readonly reputation: () => ReputationModel
  readonly bounds?: Bounds
}

/** How much a world holds. */
export interface Bounds {
  /** Default `MAX_AGENTS`. */
  readonly maxAgents?: number
  /** Default `MAX_LARGE_BYTES`. */
  readonly maxLargeBytes?: number
}

/** Everything the registry knows. */
export class Knowledge {
  readonly #agents = new Map<string, Agent>()
  readonly #byNode = new Map<NodeId.NodeId, Agent>()
  readonly #counters = new Map<string, Counters>()
  readonly #presence: Presence["Service"]
  readonly #makeReputation: () => ReputationModel
  readonly matcher = Matcher.make({ maxRecords: MAX_AGENTS })
  readonly circuits = new Circuits()
  readonly latencies = new Latencies()
  readonly #mostTrusted = new MostTrusted({
    tried: () => this.#counters.keys(),
    best: (id, now) => this.#bestOf(id, now),
    initial: INITIAL,
    settled: () => this.reputation.settled()
  })
  /** Ids, sorted by their characters' codes. */
  ids: Array<string> = []
  reputation: ReputationModel
  /** The last event that is taken in. */
  cursor = 0
  /** The evidence chain's last link. */
  link: { readonly seq: number; readonly hash: string } = { seq: 0, hash: "" }
  completed = 0
  failed = 0
  /** Who may be at work: has told of a task, and has not been seen without one since. */
  readonly #busy = new Set<string>()
  /** Counts changes to agents; what was made under one revision holds until the next. */
  revision = 0

  readonly maxAgents: number
  readonly maxLargeBytes: number
  readonly #large = new LargeAgents<Agent>()
  /** How agents are by the last event that said so. */
  readonly #told = new Map<string, AgentStatus>()

  constructor({ bounds = {}, presence, reputation }: Parts) {
    this.maxAgents = bounds.maxAgents ?? MAX_AGENTS
    this.maxLargeBytes = bounds.maxLargeBytes ?? MAX_LARGE_BYTES
    this.#presence = presence
    this.#makeReputation = reputation
    this.reputation = reputation()
  }

  get size(): number {
    return this.#agents.size
  }

  /** How many bytes agents have beyond `ORDINARY_BYTES` of each. */
  get largeBytes(): number {
    return this.#large.bytes
  }

  get(id: string): Agent | undefined {
    return this.#agents.get(id)
  }

  byNode(node: NodeId.NodeId): Agent | undefined {
    return this.#byNode.get(node)
  }

  /** Whose a capability is that the matcher has found. */
  ownerOf(capability: CapabilityRecord): Owned | undefined {
    return (capability as { readonly [OWNER]?: Owned })[OWNER]
  }

  /** An agent's score in a capability. */
  scoreOf(owned: Owned, capability: string, now: number): number {
    const { agent } = owned
    const settled = this.reputation.settled()
    if (owned.reports !== agent.reports || owned.settled !== settled || now - owned.scoredAt >= SCORE_MS) {
      owned.score = this.reputation.score(agent.id, capability, now)
      owned.scoredAt = now
      owned.reports = agent.reports
      owned.settled = settled
    }
    return owned.score
  }

  /** How far anybody is trusted at most; `undefined` while that is not known. */
  mostTrusted(now: number): TrustBounds | undefined {
    return this.#mostTrusted.bounds(now)
  }

  #bestOf(id: string, now: number): { readonly node: NodeId.NodeId; readonly score: number } | undefined {
    const agent = this.#agents.get(id)
    if (agent === undefined) return undefined
    let score = 0
    for (const { name } of agent.record.capabilities) {
      score = Math.max(score, this.reputation.score(id, name, now))
    }
    return { node: agent.node, score }
  }

  all(): Iterable<Agent> {
    return this.#agents.values()
  }

  counters(id: string): Readonly<Counters> {
    return this.#counters.get(id) ?? { completed: 0, failed: 0 }
  }

  /** Whether anybody has reported on an agent yet. */
  isTried(id: string): boolean {
    return this.#counters.has(id)
  }

  isOnline(agent: Agent, now: number): boolean {
    return now - agent.arrivedAt < ARRIVAL_MS || this.#presence.view(agent.id).online
  }

  running(agent: Agent): number {
    return this.#presence.view(agent.id).running
  }

  /** How many agents may be at work. */
  busy(): number {
    return this.#busy.size
  }

  /** Running tasks of those who have any. */
  activeTasks(): { readonly [id: string]: number } {
    const counts: { [id: string]: number } = {}
    for (const id of this.#busy) {
      const { running } = this.#presence.view(id)
      if (running > 0) counts[id] = running
    }
    return counts
  }

  /** Milliseconds since the epoch. */
  lastHeartbeat(agent: Agent): number {
    return this.#presence.view(agent.id).lastHeartbeat || agent.registeredAt
  }

  status(agent: Agent, now: number): AgentStatus {
    if (!this.isOnline(agent, now)) return "offline"
    return this.circuits.isDegraded(agent.id) ? "degraded" : "healthy"
  }

  /** Agents that are away, though the log does not say so: they did not come back after a restart. */
  missing(now: number): ReadonlyArray<string> {
    const missing: Array<string> = []
    for (const [id, status] of this.#told) {
      const agent = this.#agents.get(id)
      if (status !== "offline" && agent !== undefined && !this.isOnline(agent, now)) missing.push(id)
    }
    return missing
  }

  /**
   * Who makes room for an agent: nobody where there is room. `undefined` where there is none: everybody who was looked at is online.
   * Those of whom nobody has reported go first, of these the one longest away, or the largest where bytes are short.
   */
  roomFor(manifest: Manifest, record: NodeRecord | undefined, now: number): ReadonlyArray<Agent> | undefined {
    const known = this.#agents.get(manifest.agent_id)
    const leaving: Array<Agent> = []
    if (known === undefined && this.size >= this.maxAgents) {
      const some = Array.from({ length: SAMPLE }, () =>
        this.#agents.get(this.ids[Math.floor(Math.random() * this.ids.length)]!)
      )
      const [first] = this.#dispensable(some, now, (agent) => this.lastHeartbeat(agent))
      if (first === undefined) return undefined
      leaving.push(first)
    }
    const large = largeOf(JSON.stringify(manifest), record)
    let more = large - (known?.large ?? 0)
    if (more <= 0) return leaving
    more -= leaving[0]?.large ?? 0
    if (this.#large.bytes + more <= this.maxLargeBytes) return leaving
    for (const agent of this.#dispensable(this.#large.some(SAMPLE), now, (agent) => -agent.large)) {
      if (agent === known || agent === leaving[0]) continue
      leaving.push(agent)
      more -= agent.large
      if (this.#large.bytes + more <= this.maxLargeBytes) return leaving
    }
    return undefined
  }

  /** Those of some who are away, in the order in which they may go. */
  #dispensable(
    some: ReadonlyArray<Agent | undefined>,
    now: number,
    rank: (agent: Agent) => number
  ): ReadonlyArray<Agent> {
    const away = some.flatMap((agent) =>
      agent === undefined || this.isOnline(agent, now)
        ? []
        : [{ agent, isTried: this.isTried(agent.id), rank: rank(agent) }]
    )
    away.sort((a, b) => Number(a.isTried) - Number(b.isTried) || a.rank - b.rank)
    return away.map(({ agent }) => agent)
  }

  /** Begins with what is stored. */
  load(snapshot: Snapshot, now: number): void {
    for (const agent of this.#agents.values()) this.#unlist(agent)
    this.#agents.clear()
    this.#large.clear()
    this.#byNode.clear()
    this.#counters.clear()
    this.#busy.clear()
    this.#told.clear()
    this.circuits.clear()
    this.latencies.clear()
    this.completed = this.failed = 0
    this.reputation = this.#makeReputation()
    this.#mostTrusted.clear()
    this.reputation.restore(snapshot.edges)
    for (const stored of snapshot.agents) {
      this.#put(agentOf(stored, 0), now)
      this.#count(stored.manifest.agent_id, stored.completed, stored.failed)
    }
    for (const { completed, failed, id } of snapshot.departed ?? []) this.#count(id, completed, failed)
    this.ids = [...this.#agents.keys()].sort()
    this.reputation.settle(now)
    this.cursor = snapshot.cursor
    this.link = snapshot.link
    this.revision++
  }

  /** Circuits and latencies as the last events before a restart left them. */
  recall(events: ReadonlyArray<Event>): void {
    for (const { at, fact } of events) {
      if (fact.type === "trust.changed") this.#measure(fact.report, at)
      else if (fact.type === "task.ended" && fact.elapsedMs !== undefined) {
        this.latencies.add(fact.id, "", fact.elapsedMs)
      } else if (fact.type === "status.changed") this.#told.set(fact.id, fact.status)
    }
  }

  /** Takes in what was committed by this instance or another; `decided` where the report is counted already. */
  apply({ at, cursor, fact }: Event, decided = false): void {
    this.cursor = cursor
    switch (fact.type) {
      case "agent.registered": {
        const id = fact.agent.manifest.agent_id
        if (!this.#agents.has(id)) insert(this.ids, id)
        this.#put(agentOf(fact.agent, at), at)
        this.revision++
        return
      }
      case "agent.left": {
        const agent = this.#agents.get(fact.id)
        if (agent === undefined) return
        this.#unlist(agent)
        this.#told.delete(agent.id)
        this.#busy.delete(agent.id)
        this.#agents.delete(agent.id)
        this.#large.delete(agent)
        this.#byNode.delete(agent.node)
        const place = placeOf(this.ids, agent.id)
        if (this.ids[place] === agent.id) this.ids.splice(place, 1)
        this.revision++
        return
      }
      case "status.changed": {
        const agent = this.#agents.get(fact.id)
        if (agent === undefined) return
        this.#told.set(agent.id, fact.status)
        if (fact.status === "offline") {
          agent.arrivedAt = 0
          this.#busy.delete(fact.id)
        }
        this.relist(agent, at)
        this.revision++
        return
      }
      case "trust.changed": {
        if (!decided) this.report(fact.report, at)
        this.link = fact.link
        return
      }
      case "task.started":
        this.#busy.add(fact.id)
        return
      case "task.ended": {
        if (this.#presence.view(fact.id).running === 0) this.#busy.delete(fact.id)
        if (fact.elapsedMs === undefined) return
        this.latencies.add(fact.id, "", fact.elapsedMs)
        const agent = this.#agents.get(fact.id)
        if (agent !== undefined) agent.shown = undefined
        return
      }
      case "trace":
      case "verdict":
    }
  }

  /** Counts a report in everything but the chain. */
  report(report: Report, at: number): Applied & { readonly became: "degraded" | "healthy" | undefined } {
    const applied = this.reputation.apply(report, at)
    const agent = this.#agents.get(report.agent)
    if (agent !== undefined) agent.reports++
    this.#mostTrusted.changed(report.agent)
    this.#count(report.agent, report.success ? 1 : 0, report.success ? 0 : 1)
    return { ...applied, became: this.#measure(report, at) }
  }

  /** An agent stands in the matcher while it is online. */
  relist(agent: Agent, now: number): void {
    if (this.isOnline(agent, now)) this.#list(agent)
    else this.#unlist(agent)
  }

  /**
   * Whether a report tells how an agent is at present. Keys cost nothing: once there are receipts, a node that nobody believes
   * wants one. Who is no node knows AgentMesh's secret, or asks on this machine.
   */
  #isHeard({ receipt, reviewer }: Report): boolean {
    const { reputation } = this
    if (receipt !== undefined || !reputation.hasReceipts() || reputation.weightOf(reviewer) > 0) return true
    return NodeId.parse(reviewer) === undefined
  }

  #measure(report: Report, at: number): "degraded" | "healthy" | undefined {
    if (!this.#isHeard(report)) return undefined
    if (report.latencyMs !== undefined) {
      this.latencies.add(report.agent, report.capability, report.latencyMs)
      const agent = this.#agents.get(report.agent)
      if (agent !== undefined) agent.shown = undefined
    }
    return this.circuits.note(report.agent, report.capability, report.success, at)
  }

  #count(id: string, completed: number, failed: number): void {
    if (completed + failed === 0) return
    const counters = this.#counters.get(id)
    if (counters === undefined) this.#counters.set(id, { completed, failed })
    else {
      counters.completed += completed
      counters.failed += failed
    }
    this.completed += completed
    this.failed += failed
  }

  #put(agent: Agent, now: number): void {
    const before = this.#agents.get(agent.id)
    if (before !== undefined) {
      this.#unlist(before)
      this.#large.delete(before)
      this.#byNode.delete(before.node)
    }
    for (const capability of agent.record.capabilities) {
      const owned: Owned = { agent, score: 0, scoredAt: 0, reports: -1, settled: -1 }
      // Symbols are not part of a record's JSON.
      Object.defineProperty(capability, OWNER, { value: owned, configurable: true, writable: true })
    }
    this.#agents.set(agent.id, agent)
    this.#large.add(agent)
    this.#byNode.set(agent.node, agent)
    if (this.isTried(agent.id)) this.#mostTrusted.changed(agent.id)
    this.relist(agent, now)
  }

  #list(agent: Agent): void {
    if (agent.isListed) return
    this.matcher.upsert(agent.record)
    agent.isListed = true
  }

  #unlist(agent: Agent): void {
    if (!agent.isListed) return
    this.matcher.remove(agent.node)
    agent.isListed = false
  }
}

/** Everything the registry knows, as a service; empty until a ledger has loaded it. */
export class World extends Context.Service<World, Knowledge>()("@parley/registry/World") {}

/** A world that concludes from reports as it is told. */
export const layer = (reputation: () => ReputationModel, bounds: Bounds = {}): Layer.Layer<World, never, Presence> =>
  Layer.effect(
    World,
    Effect.map(Presence, (presence) => new Knowledge({ presence, reputation, bounds }))
  )
