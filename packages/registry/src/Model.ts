/**
 * The registry's words as they travel: AgentMesh's models with their JSON fields, defaults and constraints, and ours beside
 * them.
 *
 * HTTP bodies use snake_case throughout, as AgentMesh does; what is signed (agent records, receipts, certificates,
 * statements) travels as it was signed. Members that nobody knows are dropped. Where AgentMesh sets no bound, ours does:
 * each is a named constant here.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

/** Longest id of an agent, task or trace, in characters: a NodeId has 48, AgentMesh cuts agents' ids in traces at 128. */
export const MAX_ID_LENGTH = 128
/** Longest task id, in characters, as in AgentMesh. */
export const MAX_TASK_ID_LENGTH = 64
/** Longest agent name, in characters, as in AgentMesh. */
export const MAX_NAME_LENGTH = 128
/** Longest agent description, in characters, as in AgentMesh. */
export const MAX_AGENT_DESCRIPTION_LENGTH = 1_024
/** Largest manifest, in bytes of JSON: as an agent record. */
export const MAX_MANIFEST_BYTES = 65_536
/** Longest text that is compared by meaning, in characters: the paragraph that the matcher reads. */
export const MAX_TEXT_LENGTH = 1_000
/** Longest endpoint, in characters: as an address of an agent record. */
export const MAX_ENDPOINT_LENGTH = 512
/** Most capabilities, tags or MCP servers of one agent: as in an agent record. */
export const MAX_LIST = 64
/** Most agents that one discovery returns, as in AgentMesh. */
export const MAX_TOP_K = 20
/** Most items of one page. */
export const MAX_PAGE = 1_000

const withDefault = <S extends Schema.Constraint>(schema: S, make: () => S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.sync(make))(schema)
const text = (max: number) => Schema.String.check(Schema.isMaxLength(max))
const Amount = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const Unit = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const JsonObject = Schema.Record(Schema.String, Schema.Json)

/** An agent's id: not empty, printable, and without the `/` that would end a path's segment. */
export const AgentId = text(MAX_ID_LENGTH).check(Schema.isPattern(/^[^\p{Cc}\p{Zl}\p{Zp}\p{Cs}/\\]+$/u))
/** When something was, ISO 8601 in UTC: `2026-11-21T06:00:00.000Z`. */
export const Instant = Schema.String.check(Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/))

/** AgentMesh's CapabilitySchema. */
export const Capability = Schema.Struct({
  name: text(MAX_NAME_LENGTH).check(Schema.isMinLength(1)),
  description: text(MAX_TEXT_LENGTH),
  input_schema: withDefault(JsonObject, () => ({})),
  output_schema: withDefault(JsonObject, () => ({})),
  avg_latency_ms: withDefault(Schema.NullOr(Amount), () => null),
  cost_per_call_usd: withDefault(Schema.NullOr(Amount), () => null)
})
/** AgentMesh's CapabilitySchema. */
export type Capability = typeof Capability.Type

/** AgentMesh's AgentManifest: what an agent registers with. `agent_id` is made up where it is absent. */
export const AgentManifest = Schema.Struct({
  agent_id: Schema.optionalKey(AgentId),
  name: text(MAX_NAME_LENGTH),
  version: withDefault(text(64), () => "0.1.0"),
  description: withDefault(text(MAX_AGENT_DESCRIPTION_LENGTH), () => ""),
  capabilities: withDefault(Schema.Array(Capability).check(Schema.isMaxLength(MAX_LIST)), () => []),
  mcp_servers: withDefault(Schema.Array(text(MAX_NAME_LENGTH)).check(Schema.isMaxLength(MAX_LIST)), () => []),
  max_concurrent_tasks: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 })), () => 3),
  endpoint: text(MAX_ENDPOINT_LENGTH),
  tags: withDefault(Schema.Array(text(MAX_NAME_LENGTH)).check(Schema.isMaxLength(MAX_LIST)), () => [])
})
/** AgentMesh's AgentManifest, read. */
export type AgentManifest = typeof AgentManifest.Type
/** A manifest whose id is settled. */
export type Manifest = AgentManifest & { readonly agent_id: string }

/** `healthy`: its lease runs. `degraded`: it runs, and a circuit of it is open. `offline`: no lease. */
export const AgentStatus = Schema.Literals(["healthy", "degraded", "offline"])
/** How an agent is. */
export type AgentStatus = typeof AgentStatus.Type

/** AgentMesh's AgentRecord: an agent as the registry shows it. */
export const AgentRecord = Schema.Struct({
  manifest: Schema.Struct({ ...AgentManifest.fields, agent_id: AgentId }),
  trust_score: Unit,
  status: AgentStatus,
  registered_at: Instant,
  last_heartbeat: Instant,
  tasks_completed: Schema.Natural,
  tasks_failed: Schema.Natural
})
/** An agent as the registry shows it. */
export type AgentRecord = typeof AgentRecord.Type

/** AgentMesh's TraceEventType. */
export const TraceEventType = Schema.Literals([
  "request_sent",
  "accepted",
  "rejected",
  "countered",
  "executing",
  "completed",
  "failed"
])
/** What happened to a task. */
export type TraceEventType = typeof TraceEventType.Type

/** AgentMesh's TraceEvent. */
export const TraceEvent = Schema.Struct({
  trace_id: text(MAX_ID_LENGTH),
  task_id: text(MAX_TASK_ID_LENGTH),
  event_type: TraceEventType,
  from_agent: text(MAX_ID_LENGTH),
  to_agent: text(MAX_ID_LENGTH),
  payload: withDefault(JsonObject, () => ({})),
  timestamp: Instant
})
/** One event of a task. */
export type TraceEvent = typeof TraceEvent.Type

/** AgentMesh's DiscoveryQuery; `explain` is ours: the parts of each score. */
export const DiscoveryQuery = Schema.Struct({
  capability_name: withDefault(Schema.NullOr(text(MAX_NAME_LENGTH)), () => null),
  capability_description: withDefault(Schema.NullOr(text(MAX_TEXT_LENGTH)), () => null),
  min_trust_score: withDefault(Schema.Finite, () => 0),
  max_latency_ms: withDefault(Schema.NullOr(Schema.Finite), () => null),
  max_cost_usd: withDefault(Schema.NullOr(Amount), () => null),
  tags: withDefault(Schema.Array(text(MAX_NAME_LENGTH)).check(Schema.isMaxLength(MAX_LIST)), () => []),
  top_k: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MAX_TOP_K })), () => 5),
  /** Every tag must be there. Default: tags break ties. */
  require_tags: Schema.optionalKey(Schema.Boolean),
  explain: Schema.optionalKey(Schema.Boolean)
})
/** What somebody looks for. */
export type DiscoveryQuery = typeof DiscoveryQuery.Type

/** What is known of an agent's reputation in one capability, or overall (`capability` null). */
export const Standing = Schema.Struct({
  capability: Schema.NullOr(Schema.String),
  /** 0 to 1: what discovery ranks by. */
  score: Unit,
  /** The bounds of the central 90 % of the Beta distribution behind it. */
  low: Unit,
  high: Unit,
  /** Reports that count, and how many of them rest on a receipt. */
  reports: Schema.Natural,
  attested: Schema.Natural,
  /** Effective number of reports after weights, caps and decay. */
  weight: Amount,
  /** AgentMesh's moving average over the same reports. */
  ema: Unit
})
/** What is known of an agent's reputation. */
export type Standing = typeof Standing.Type
