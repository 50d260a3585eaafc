/** RegisteredAgent: an agent as a registry has it in memory, made of what is stored. */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import type { AgentRecord as NodeRecord } from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as NodeId from "@parley/core/NodeId"
import type { StoredAgent } from "../Event.ts"
import type { Manifest } from "../Model.ts"

/** What an agent of ordinary size takes, with room: one of five capabilities has 5 KB. Nobody's size keeps such a one out. */
export const ORDINARY_BYTES = 8_192
/** When a record never expires, for the matcher. */
const NEVER = Number.MAX_SAFE_INTEGER

/** Where a capability's record, as the matcher holds it, keeps whose it is: a look-up by name for each of many candidates is slow. */
export const OWNER: unique symbol = Symbol("owner")

/** Whose a capability is, and what its score was. */
export interface Owned {
  readonly agent: Agent
  score: number
  /** For as long as nothing was reported, weights are the same, and no second has passed. */
  scoredAt: number
  reports: number
  settled: number
}

/** An agent that is registered. */
export interface Agent {
  readonly id: string
  /** Under which it stands in the matcher. */
  readonly node: NodeId.NodeId
  /** Whether `record` is the node's own, signed. */
  readonly isNode: boolean
  readonly record: NodeRecord
  /** The manifest as JSON, as the agent states it. */
  readonly text: string
  readonly name: string
  readonly description: string
  readonly tags: ReadonlyArray<string>
  readonly maxConcurrent: number
  readonly registeredAt: number
  /** How many bytes it has beyond `ORDINARY_BYTES`. */
  readonly large: number
  /** Reports that have come in since it registered. */
  reports: number
  /** When it came, for as long as it has not left since; 0 after a restart. */
  arrivedAt: number
  /** Whether it stands in the matcher. */
  isListed: boolean
  /** The manifest with measured latencies, while nothing new was measured. */
  shown: string | undefined
}

const nodeOf = (id: string): NodeId.NodeId =>
  NodeId.fromPublicKey(createHash("sha256").update("parley/registry-agent/1\n").update(id).digest())

const capabilityOf = (each: Manifest["capabilities"][number], tags: ReadonlyArray<string>): CapabilityRecord => ({
  name: each.name,
  version: "1.0.0",
  description: each.description,
  ...(tags.length === 0 ? {} : { tags }),
  ...(each.cost_per_call_usd === null ? {} : { cost: { usdPerCall: each.cost_per_call_usd } }),
  ...(each.avg_latency_ms === null ? {} : { latencyMs: each.avg_latency_ms })
})

/** The record that stands for an agent without one. */
const recordOf = (manifest: Manifest, registeredAt: number): NodeRecord => ({
  v: 1,
  node: nodeOf(manifest.agent_id),
  name: manifest.name,
  seq: 0,
  issuedAt: registeredAt,
  expiresAt: NEVER,
  addresses: [manifest.endpoint],
  capabilities: manifest.capabilities.map((each) => capabilityOf(each, manifest.tags)),
  sig: ""
})

/** What an agent takes as JSON: its manifest, the same with measured latencies, and the record that the matcher has. */
export const bytesOf = (manifest: string, record: NodeRecord | undefined): number => {
  const bytes = Buffer.byteLength(manifest)
  return 2 * bytes + (record === undefined ? bytes : Buffer.byteLength(JSON.stringify(record)))
}

/** How many of them are beyond `ORDINARY_BYTES`. */
export const largeOf = (manifest: string, record: NodeRecord | undefined): number =>
  Math.max(0, bytesOf(manifest, record) - ORDINARY_BYTES)

/** An agent as it is stored; `arrivedAt`: when it came, 0 after a restart. */
export const agentOf = ({ manifest, record, registeredAt }: StoredAgent, arrivedAt: number): Agent => {
  const its = record ?? recordOf(manifest, registeredAt)
  const text = JSON.stringify(manifest)
  return {
    id: manifest.agent_id,
    node: its.node,
    isNode: record !== undefined,
    record: its,
    text,
    name: manifest.name,
    description: manifest.description,
    tags: manifest.tags,
    maxConcurrent: manifest.max_concurrent_tasks,
    registeredAt,
    large: largeOf(text, record),
    reports: 0,
    arrivedAt,
    isListed: false,
    shown: undefined
  }
}
