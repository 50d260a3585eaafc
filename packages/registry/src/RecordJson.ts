/**
 * RecordJson: agents as JSON text, put together from parts that are kept: a manifest is written once and not for every answer.
 *
 * Where an agent's latency was measured, `avg_latency_ms` of its capabilities is the mean of what was measured, with one digit,
 * as in AgentMesh; else it is what the agent says.
 */
import type { Manifest } from "./Model.ts"
import type { Agent, Knowledge } from "./World.ts"

/** A manifest as it was stated. */
export const manifestOf = (agent: Agent): Manifest => JSON.parse(agent.text) as Manifest

const withMeasured = (world: Knowledge, agent: Agent): string => {
  const manifest = manifestOf(agent)
  return JSON.stringify({
    ...manifest,
    capabilities: manifest.capabilities.map((capability) => {
      const measured = world.latencies.of(agent.id, capability.name)
      return measured === undefined
        ? capability
        : { ...capability, avg_latency_ms: Math.round(measured.mean * 10) / 10 }
    })
  })
}

const manifestText = (world: Knowledge, agent: Agent): string =>
  world.latencies.has(agent.id) ? (agent.shown ??= withMeasured(world, agent)) : agent.text

/** Milliseconds since the epoch as ISO 8601. */
export const instant = (at: number): string => new Date(at).toISOString()

/** AgentMesh's AgentRecord. */
export const recordJson = (world: Knowledge, agent: Agent, now: number): string => {
  const { completed, failed } = world.counters(agent.id)
  return (
    `{"manifest":${manifestText(world, agent)},"trust_score":${world.reputation.score(agent.id, "", now)}` +
    `,"status":"${world.status(agent, now)}","registered_at":"${instant(agent.registeredAt)}"` +
    `,"last_heartbeat":"${instant(world.lastHeartbeat(agent))}","tasks_completed":${completed},"tasks_failed":${failed}}`
  )
}
