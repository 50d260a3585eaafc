/** Which agents a list shows. */
import type { AgentStatus } from "../Model.ts"
import type { Agent, Knowledge } from "../World.ts"

/** Most words that are looked for. */
const MAX_WORDS = 16

/** What a list is to show; all that are given must hold. */
export interface Wanted {
  readonly status?: AgentStatus
  readonly capability?: string
  readonly tag?: string
  readonly q?: string
}

const textOf = ({ description, id, name, record }: Agent): string => {
  const parts = [id, name, description]
  for (const capability of record.capabilities) {
    parts.push(capability.name, capability.description ?? "", ...(capability.tags ?? []))
  }
  return parts.join("\n").toLowerCase()
}

/** Whether an agent is wanted. */
export const matches = (world: Knowledge, { capability, q, status, tag }: Wanted, now: number) => {
  const words = (q ?? "").toLowerCase().split(/\s+/).filter(Boolean).slice(0, MAX_WORDS)
  return (agent: Agent): boolean => {
    if (status !== undefined && world.status(agent, now) !== status) return false
    const { capabilities } = agent.record
    if (capability !== undefined && !capabilities.some(({ name }) => name === capability)) return false
    if (tag !== undefined && !agent.tags.includes(tag)) return false
    if (words.length === 0) return true
    const text = textOf(agent)
    return words.every((word) => text.includes(word))
  }
}
