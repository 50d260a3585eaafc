/**
 * NodeManifest: a node's signed record as AgentMesh's clients see it: its NodeId is the agent's id, its first address the endpoint.
 */
import type { AgentRecord as NodeRecord } from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import type * as Schema from "effect/Schema"
import { type Capability, MAX_LIST, type Manifest } from "./Model.ts"

/** Tasks at once where no capability says how many: AgentMesh's default. */
const DEFAULT_CONCURRENT = 3
const MAX_CONCURRENT = 10_000

const schemaOf = (schema: Schema.Json | undefined): Capability["input_schema"] =>
  typeof schema === "object" && schema !== null && !Array.isArray(schema) ? (schema as Capability["input_schema"]) : {}

const capabilityOf = (each: CapabilityRecord): Capability => ({
  name: each.name,
  description: each.description ?? "",
  input_schema: schemaOf(each.input as Schema.Json | undefined),
  output_schema: schemaOf(each.output as Schema.Json | undefined),
  avg_latency_ms: each.latencyMs ?? null,
  cost_per_call_usd: each.cost?.usdPerCall ?? null
})

/** The manifest of a node. */
export const of = (record: NodeRecord): Manifest => {
  const { addresses, capabilities, name, node } = record
  const atOnce = capabilities.reduce((sum, each) => sum + (each.concurrency ?? 0), 0)
  return {
    agent_id: node,
    name: name === "" ? node : name,
    version: capabilities[0]?.version ?? "0.1.0",
    description: "",
    capabilities: capabilities.map(capabilityOf),
    mcp_servers: [],
    max_concurrent_tasks: atOnce === 0 ? DEFAULT_CONCURRENT : Math.min(atOnce, MAX_CONCURRENT),
    endpoint: addresses[0] ?? "",
    tags: [...new Set(capabilities.flatMap((each) => each.tags ?? []))].slice(0, MAX_LIST)
  }
}
