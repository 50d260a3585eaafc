/**
 * The mesh as this page knows it: agents, who worked with whom, and who is at work. Filled from the registry's answers, and kept by
 * its events. Everything that changes often is told at most once a frame.
 */
import { signal } from "@preact/signals"
import type { AgentRecord, AgentStatus, TraceEvent } from "../api/Types.ts"

/** Most pairs that are drawn: the ones that worked together longest ago go first. */
export const MAX_EDGES = 20_000

/** Two agents that worked together. */
export interface Edge {
  readonly from: string
  readonly to: string
  /** Tasks asked for, failures among what ended, and when it was last (milliseconds since the epoch). */
  tasks: number
  failed: number
  last: number
}

/** Agents by id. */
export const agents = new Map<string, AgentRecord>()
/** Pairs by `edgeKey`. */
export const edges = new Map<string, Edge>()
/** Tasks in flight, by agent: what the registry counted, and what events have changed since. */
export const loads = new Map<string, number>()

/** Counts up when agents change: reading it is what keeps a view up to date. */
export const version = signal(0)
/** Counts up when who works with whom changes. */
export const edgeVersion = signal(0)
/** Whether there was a first answer. */
export const loaded = signal(false)
/** Agents whose events have just come, for views that draw it: called with their ids. */
export const pulses = new Set<(from: string, to: string, failed: boolean) => void>()

let changed = { agents: false, edges: false }
let scheduled = false
const tell = (what: "agents" | "edges"): void => {
  changed[what] = true
  if (scheduled) return
  scheduled = true
  // A tab in the background gets no frames; its views are brought up to date when it is looked at again.
  requestAnimationFrame(() => {
    scheduled = false
    const now = changed
    changed = { agents: false, edges: false }
    if (now.agents) version.value++
    if (now.edges) edgeVersion.value++
  })
}

export const edgeKey = (from: string, to: string): string => (from < to ? `${from}\n${to}` : `${to}\n${from}`)

/** Takes all agents anew. */
export const replaceAgents = (all: Iterable<AgentRecord>): void => {
  agents.clear()
  for (const agent of all) agents.set(agent.manifest.agent_id, agent)
  loaded.value = true
  tell("agents")
}

/** Takes an agent, or what is newly known of it. */
export const putAgent = (agent: AgentRecord): void => {
  agents.set(agent.manifest.agent_id, agent)
  tell("agents")
}

export const removeAgent = (id: string): void => {
  if (agents.delete(id)) tell("agents")
  loads.delete(id)
}

/** Changes something of an agent that is known. */
export const patchAgent = (id: string, patch: Partial<AgentRecord>): void => {
  const known = agents.get(id)
  if (known === undefined) return
  agents.set(id, { ...known, ...patch })
  tell("agents")
}

export const setStatus = (id: string, status: AgentStatus): void => {
  patchAgent(id, { status })
  // What an agent was doing belongs to its lease, and goes with it.
  if (status === "offline") loads.delete(id)
}

/** Takes the registry's own count of tasks in flight. */
export const replaceLoads = (counts: { readonly [id: string]: number }): void => {
  loads.clear()
  for (const [id, count] of Object.entries(counts)) if (count > 0) loads.set(id, count)
  tell("agents")
}

export const changeLoad = (id: string, by: number): void => {
  const next = Math.max(0, (loads.get(id) ?? 0) + by)
  if (next === 0) loads.delete(id)
  else loads.set(id, next)
  tell("agents")
}

/** Takes a trace; `live` where it has just happened. */
export const takeTrace = (trace: TraceEvent, live: boolean): void => {
  const { event_type, from_agent, to_agent } = trace
  if (from_agent === "" || to_agent === "" || from_agent === to_agent) return
  const key = edgeKey(from_agent, to_agent)
  const at = Date.parse(trace.timestamp)
  let edge = edges.get(key)
  if (edge === undefined) {
    edge = { from: from_agent, to: to_agent, tasks: 0, failed: 0, last: at }
    if (edges.size >= MAX_EDGES) edges.delete(edges.keys().next().value as string)
  } else edges.delete(key)
  // Last in the map is latest.
  edges.set(key, edge)
  if (event_type === "request_sent") edge.tasks++
  if (event_type === "failed") edge.failed++
  edge.last = Math.max(edge.last, at)
  tell("edges")
  if (live) for (const pulse of pulses) pulse(from_agent, to_agent, event_type === "failed")
}

export const clearEdges = (): void => {
  edges.clear()
  tell("edges")
}

/** How many agents have each status. */
export const countStatuses = (): { [status in AgentStatus]: number } => {
  const counts = { healthy: 0, degraded: 0, offline: 0 }
  for (const { status } of agents.values()) counts[status]++
  return counts
}

/** What to call an agent: its name, else its id. */
export const nameOf = (id: string): string => agents.get(id)?.manifest.name || shortId(id)

/** An id that fits a line: a NodeId's beginning and end. */
export const shortId = (id: string): string => (id.length > 20 ? `${id.slice(0, 10)}…${id.slice(-5)}` : id)
