/** A world for tests, with presence that a test says. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Fact } from "@parley/registry/Event"
import type { Capability, DiscoveryQuery, Manifest } from "@parley/registry/Model"
import type { Presence } from "@parley/registry/Presence"
import * as ReputationModel from "@parley/registry/ReputationModel"
import { type Bounds, Knowledge } from "@parley/registry/World"

/** An hour after the epoch began to matter. */
export const NOW = 1_800_000_000_000

export const capability = (name: string, more: Partial<Capability> = {}): Capability => ({
  name,
  description: "",
  input_schema: {},
  output_schema: {},
  avg_latency_ms: null,
  cost_per_call_usd: null,
  ...more
})

export const manifest = (
  agent_id: string,
  capabilities: ReadonlyArray<Capability | string>,
  more: Partial<Manifest> = {}
): Manifest => ({
  agent_id,
  name: agent_id,
  version: "0.1.0",
  description: "",
  capabilities: capabilities.map((each) => (typeof each === "string" ? capability(each) : each)),
  mcp_servers: [],
  max_concurrent_tasks: 3,
  endpoint: "ws://localhost:9000",
  tags: [],
  ...more
})

export const query = (more: Partial<DiscoveryQuery>): DiscoveryQuery => ({
  capability_name: null,
  capability_description: null,
  min_trust_score: 0,
  max_latency_ms: null,
  max_cost_usd: null,
  tags: [],
  top_k: 5,
  ...more
})

/** A world; `set` says who is there, `apply` what has happened. */
export const world = (bounds: Bounds = {}) => {
  const there = new Map<string, number>()
  const presence: Presence["Service"] = {
    open: () => Effect.die("no leases here"),
    drop: () => Effect.void,
    view: (agent) => ({ online: there.has(agent), lastHeartbeat: NOW, running: there.get(agent) ?? 0 }),
    online: () => there.size,
    changes: Stream.empty
  }
  const knowledge = new Knowledge({
    presence,
    reputation: () => ReputationModel.make(),
    bounds
  })
  const apply = (fact: Fact, at = NOW): void => knowledge.apply({ cursor: knowledge.cursor + 1, at, fact })
  return {
    knowledge,
    apply,
    /** Online with so many tasks running, or away. */
    set: (id: string, running: number | undefined, at = NOW): void => {
      if (running === undefined) there.delete(id)
      else there.set(id, running)
      apply({ type: "status.changed", id, status: running === undefined ? "offline" : "healthy", why: "" }, at)
      if (running !== undefined && running > 0) apply({ type: "task.started", id, task: "t" }, at)
    },
    register: (one: Manifest, at = NOW): void => {
      there.set(one.agent_id, 0)
      apply({ type: "agent.registered", agent: { manifest: one, registeredAt: at } }, at)
    },
    report: (agent: string, name: string, success: boolean, quality = success ? 1 : 0, latencyMs?: number, at = NOW) =>
      apply(
        {
          type: "trust.changed",
          report: {
            agent,
            capability: name,
            reviewer: "rita",
            task: `t${knowledge.cursor}`,
            success,
            quality,
            ...(latencyMs === undefined ? {} : { latencyMs })
          },
          score: 0,
          ema: 0,
          edge: null,
          link: { seq: knowledge.link.seq + 1, hash: "" }
        },
        at
      )
  }
}
