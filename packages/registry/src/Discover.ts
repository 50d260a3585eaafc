/**
 * Discover: who can do something, best first, and why: AgentMesh's query and core's own, by core's matcher and policy.
 *
 * The parts of a score are core's: semantic, trust (reputation in the capability, so far as known), availability and cost. Here
 * availability is the free share of the agent times how fast it is: `1 / 2 + s / (2 × (s + p50))` of its measured p50, where s is
 * `max_latency_ms`, or a second. The order is by tiers, and by score within each:
 *
 * 1. who is free, and whose circuit is closed, or due for its one probe;
 * 2. who is full: as many tasks running as it takes at once;
 * 3. whose circuit is open: last resort, so that somebody is named where there is nobody else.
 *
 * `max_latency_ms` is compared with the measured p95; with what the agent says of itself where nothing was measured; who does
 * neither does not pass. Newcomers get a share of discoveries (see `Exploration`). Nobody who is offline is ever named.
 */
import type { CapabilityRecord } from "@parley/core/Capability"
import type { Match, MatchContext, TrustOf } from "@parley/core/Matcher"
import type { NodeId } from "@parley/core/NodeId"
import { DEFAULT_LIMIT, MAX_LIMIT, type Query } from "@parley/core/Query"
import * as Exploration from "./Exploration.ts"
import type { DiscoveryQuery } from "./Model.ts"
import type { Agent, Knowledge } from "./World.ts"

/** p50 that makes an agent half as fast as an instant one, where the query does not say what it would wait: a second. */
export const LATENCY_SCALE_MS = 1_000
/** Queries kept as they were read, so that the matcher may keep what passed them. The one longest unused goes. */
export const MAX_KEPT_QUERIES = 512
/** Longest query that is kept, in characters of its JSON. */
const MAX_KEPT_LENGTH = 512
/** What an open circuit leaves of availability, as in core. */
const OPEN_SHARE = 0.3

/** An agent that was found, by the capability of it that fits best. */
export interface Found {
  readonly agent: Agent
  readonly match: Match
}

type Tier = "free" | "full" | "open"
const tiers: ReadonlyArray<Tier> = ["free", "full", "open"]

/** AgentMesh's query as core's; `undefined` where it asks for nothing. */
const toQuery = (query: DiscoveryQuery): Query | undefined => {
  const name = query.capability_name ?? ""
  const text = query.capability_description ?? ""
  const requires = query.require_tags === true && query.tags.length > 0
  if (name === "" && text.trim() === "" && !requires) return undefined
  return {
    ...(name === "" ? {} : { name }),
    ...(text === "" ? {} : { text }),
    ...(query.tags.length === 0 ? {} : requires ? { tags: query.tags } : { preferTags: query.tags }),
    ...(query.max_cost_usd === null ? {} : { maxCostUsd: query.max_cost_usd }),
    ...(query.max_latency_ms === null ? {} : { maxLatencyMs: query.max_latency_ms }),
    ...(query.min_trust_score > 0 ? { minTrust: query.min_trust_score } : {}),
    limit: query.top_k
  }
}

const frozen = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.values(value).forEach(frozen)
    Object.freeze(value)
  }
  return value
}

/** Finds agents in a world. `random` gives draws in [0, 1). */
export class Finder {
  readonly #world: Knowledge
  readonly #random: () => number
  readonly #kept = new Map<string, Query>()

  constructor(world: Knowledge, random: () => number = Math.random) {
    this.#world = world
    this.#random = random
  }

  /** Answers AgentMesh's query: at most `top_k` agents, each once. */
  discover(query: DiscoveryQuery, now: number): ReadonlyArray<Found> {
    const asked = toQuery(query)
    if (asked === undefined) return []
    const found = this.search(asked, now)
    // Nobody has the name: then the words say what is meant. And words that nobody has do not hide who has the name.
    if (found.length > 0 || asked.name === undefined || asked.text === undefined) return found
    const { name: _name, ...byText } = asked
    const { text: _text, ...byName } = asked
    const named = this.search(byName, now)
    return named.length > 0 ? named : this.search(byText, now)
  }

  /** Answers core's query: at most `limit` agents, each once; signed records alone with `nodesOnly`. */
  search(query: Query, now: number, nodesOnly = false): ReadonlyArray<Found> {
    const world = this.#world
    const ranked = this.#byTiers(query, now, nodesOnly, undefined)
    const best = ranked[0]
    // Newcomers have not earned a least trust, and there is nobody to try where there is one alone.
    const explores =
      best !== undefined &&
      query.minTrust === undefined &&
      world.size > 1 &&
      this.#random() < Exploration.shareOf(best.match.parts.trust.value)
    const all = explores ? this.#byTiers(query, now, nodesOnly, this.#random()) : ranked
    for (const { agent, match } of all) world.circuits.probe(agent.id, match.capability.name, now)
    return all
  }

  #byTiers(query: Query, now: number, nodesOnly: boolean, draw: number | undefined): ReadonlyArray<Found> {
    const world = this.#world
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, MAX_LIMIT)
    const found = new Map<string, Found>()
    for (const tier of tiers) {
      if (tier === "open" && world.circuits.open === 0) continue
      if (tier === "full" && world.busy() === 0) continue
      this.#searchTier(query, now, tier, nodesOnly, draw, limit, found)
      if (found.size >= limit) break
    }
    return [...found.values()]
  }

  #searchTier(
    query: Query,
    now: number,
    tier: Tier,
    nodesOnly: boolean,
    draw: number | undefined,
    limit: number,
    found: Map<string, Found>
  ): void {
    const world = this.#world
    const context = this.#context(query, now, tier, nodesOnly, draw, found)
    // Of an agent several capabilities may match; it is named once, so that more is asked for where that has happened.
    for (let asked = limit - found.size; ; asked = Math.min(asked * 4, MAX_LIMIT)) {
      const matches = world.matcher.match(this.#keep(query, asked), context)
      for (const match of matches) {
        const agent = world.byNode(match.node)
        if (agent === undefined || found.has(agent.id)) continue
        if (!world.isOnline(agent, now)) {
          world.relist(agent, now)
          continue
        }
        found.set(agent.id, { agent, match })
        if (found.size >= limit) return
      }
      if (matches.length < asked || asked >= MAX_LIMIT) return
    }
  }

  #context(
    query: Query,
    now: number,
    tier: Tier,
    nodesOnly: boolean,
    draw: number | undefined,
    found: ReadonlyMap<string, Found>
  ): MatchContext {
    const world = this.#world
    const { circuits, latencies, reputation } = world
    const idOf = (node: NodeId, capability: CapabilityRecord | undefined): string =>
      (capability === undefined ? undefined : world.ownerOf(capability))?.agent.id ?? node
    const { maxLatencyMs } = query
    const scale = maxLatencyMs !== undefined && maxLatencyMs > 0 ? maxLatencyMs : LATENCY_SCALE_MS
    const nobodyIsBusy = world.busy() === 0
    const isFull = (agent: Agent): boolean => !nobodyIsBusy && world.running(agent) >= agent.maxConcurrent
    const admits = (_node: NodeId, capability: CapabilityRecord): boolean => {
      const agent = world.ownerOf(capability)?.agent
      if (agent === undefined || (nodesOnly && !agent.isNode) || found.has(agent.id)) return false
      const isOpen = circuits.state(agent.id, capability.name, now) === "open"
      const its: Tier = isOpen ? "open" : isFull(agent) ? "full" : "free"
      if (its !== tier) return false
      if (maxLatencyMs === undefined) return true
      const latency = latencies.of(agent.id, capability.name)?.p95 ?? capability.latencyMs
      return latency !== undefined && latency <= maxLatencyMs
    }
    return {
      now,
      trust: draw === undefined ? this.#trust(now) : Exploration.newcomersFirst(reputation, now, draw, idOf),
      admits,
      availability: (_node, capability) => {
        const agent = world.ownerOf(capability)?.agent
        if (agent === undefined) return { value: 0, why: "gone" }
        const running = nobodyIsBusy ? 0 : world.running(agent)
        const free = Math.max(0, 1 - running / agent.maxConcurrent) * (tier === "open" ? OPEN_SHARE : 1)
        const measured = latencies.of(agent.id, capability.name)
        const busy = running === 0 ? "free" : `${running} of ${agent.maxConcurrent} busy`
        const state = tier === "open" ? `${busy}, circuit open` : busy
        if (measured === undefined) return { value: free, why: state }
        const { p50 } = measured
        return { value: free * (0.5 + (0.5 * scale) / (scale + p50)), why: `${state}, p50 ${Math.round(p50)} ms` }
      }
    }
  }

  /** An agent's score in a capability, and how far anybody is trusted at most. */
  #trust(now: number): TrustOf {
    const world = this.#world
    const trust = (_node: NodeId, name: string, capability?: CapabilityRecord): number => {
      const owned = capability === undefined ? undefined : world.ownerOf(capability)
      return owned === undefined ? 0 : world.scoreOf(owned, name, now)
    }
    const bounds = world.mostTrusted(now)
    return bounds === undefined ? trust : Object.assign(trust, { tried: () => bounds.nodes, atMost: bounds })
  }

  /**
   * What is asked twice is the same frozen object from then on, without what is judged here: only then does it pay that the
   * matcher keeps what passed it.
   */
  #keep({ maxLatencyMs: _judgedHere, ...query }: Query, limit: number): Query {
    const asked: Query = { ...query, limit }
    const key = JSON.stringify(asked)
    if (key.length > MAX_KEPT_LENGTH) return asked
    const known = this.#kept.get(key)
    if (known !== undefined) this.#kept.delete(key)
    this.#kept.set(key, known === undefined ? asked : frozen(known))
    if (this.#kept.size > MAX_KEPT_QUERIES) {
      for (const oldest of this.#kept.keys()) {
        this.#kept.delete(oldest)
        break
      }
    }
    return known ?? asked
  }
}
