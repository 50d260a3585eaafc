/** Nodes, records and capabilities for the matcher's tests. */
import * as Schema from "effect/Schema"
import type { AgentRecord } from "../src/AgentRecord.ts"
import { type CapabilityRecord, CapabilityRecord as CapabilitySchema } from "../src/Capability.ts"
import type * as Matcher from "../src/Matcher.ts"
import * as NodeId from "../src/NodeId.ts"

export const now = 1_800_000_000_000
export const nodes = Array.from({ length: 40 }, (_, i) => NodeId.fromPublicKey(new Uint8Array(32).fill(i + 1)))
export const node = (i: number): NodeId.NodeId => nodes[i]!

export const recordOf = (
  of: NodeId.NodeId,
  capabilities: ReadonlyArray<CapabilityRecord>,
  more: Partial<AgentRecord> = {}
): AgentRecord => ({
  v: 1,
  node: of,
  name: "agent",
  seq: 1,
  issuedAt: now - 1_000,
  expiresAt: now + 3_600_000,
  addresses: [],
  capabilities,
  // The matcher takes verified records: it does not look at signatures.
  sig: "A".repeat(86) as AgentRecord["sig"],
  ...more
})

export const context = (more: Partial<Matcher.MatchContext> = {}): Matcher.MatchContext => ({
  now,
  trust: () => 0.5,
  availability: () => ({ value: 1, why: "free" }),
  ...more
})

export const capability = (name: string, more: Partial<CapabilityRecord> = {}): CapabilityRecord =>
  Schema.decodeSync(CapabilitySchema)({ name, version: "1.2.0", ...more })
