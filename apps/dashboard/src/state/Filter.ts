/** Which agents are shown, and in which order. */
import type { AgentRecord, AgentStatus } from "../api/Types.ts"
import { agents, loads } from "./Mesh.ts"

export type Order = "name" | "status" | "trust" | "load" | "done" | "seen"

const rank: { readonly [status in AgentStatus]: number } = { degraded: 0, healthy: 1, offline: 2 }

const orders: { readonly [order in Order]: (a: AgentRecord, b: AgentRecord) => number } = {
  name: (a, b) => a.manifest.name.localeCompare(b.manifest.name),
  status: (a, b) => rank[a.status] - rank[b.status],
  trust: (a, b) => b.trust_score - a.trust_score,
  load: (a, b) => (loads.get(b.manifest.agent_id) ?? 0) - (loads.get(a.manifest.agent_id) ?? 0),
  done: (a, b) => b.tasks_completed - a.tasks_completed,
  seen: (a, b) => (a.last_heartbeat < b.last_heartbeat ? 1 : -1)
}

const matches = (agent: AgentRecord, words: ReadonlyArray<string>): boolean => {
  if (words.length === 0) return true
  const { agent_id, capabilities, name, tags } = agent.manifest
  const text = `${name} ${agent_id} ${tags.join(" ")} ${capabilities.map((one) => one.name).join(" ")}`.toLowerCase()
  return words.every((word) => text.includes(word))
}

/** The agents that a filter lets through; equal ones by name and id. */
export const filtered = (options: {
  readonly text: string
  readonly status?: AgentStatus | undefined
  readonly order: Order
  readonly reverse?: boolean
}): Array<AgentRecord> => {
  const words = options.text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "")
  const found: Array<AgentRecord> = []
  for (const agent of agents.values()) {
    if (options.status !== undefined && agent.status !== options.status) continue
    if (matches(agent, words)) found.push(agent)
  }
  const compare = orders[options.order]
  const direction = options.reverse === true ? -1 : 1
  return found.sort(
    (a, b) =>
      direction * compare(a, b) ||
      a.manifest.name.localeCompare(b.manifest.name) ||
      (a.manifest.agent_id < b.manifest.agent_id ? -1 : 1)
  )
}
