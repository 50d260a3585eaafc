/**
 * What the registry's endpoints take and give, beside AgentMesh's models in `Model`: queries, answers, and the bodies of what is ours.
 */
import { Certificate } from "@parley/consensus/Certificate"
import { AgentRecord as NodeRecord } from "@parley/core/AgentRecord"
import { NodeId } from "@parley/core/NodeId"
import { Receipt } from "@parley/core/Receipt"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"
import * as Effect from "effect/Effect"
import {
  AgentId,
  AgentRecord,
  AgentStatus,
  DiscoveryQuery,
  Instant,
  MAX_ID_LENGTH,
  MAX_NAME_LENGTH,
  MAX_PAGE,
  MAX_TASK_ID_LENGTH,
  MAX_TEXT_LENGTH,
  Standing,
  TraceEventType
} from "./Model.ts"
import { MAX_KEY_LENGTH, MAX_TTL_MS } from "./SessionMemory.ts"

/** JSON of a given shape that keeps every member, known here or not: what was signed must travel as it was signed. */
const signed = <T extends Schema.Json>(is: (value: unknown) => value is T, expected: string) =>
  Schema.Json.pipe(Schema.refine((value: Schema.Json): value is T => is(value), { expected }))
/** A core agent record as it was signed. */
export const SignedRecord = signed(Schema.is(NodeRecord), "a signed agent record")
/** A receipt as it was signed. */
export const SignedReceipt = signed(Schema.is(Receipt), "a receipt as core signs it")
/** A certificate as it was signed. */
export const SignedCertificate = signed(Schema.is(Certificate), "a certificate as consensus signs it")

const text = (max: number) => Schema.String.check(Schema.isMaxLength(max))
/** Text that canonical JSON can write: each half of a surrogate pair has its other half. */
const signable = (max: number) => text(max).check(Schema.isPattern(/^\P{Cs}*$/u))
const Unit = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Amount = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/** A number of a query string, `nan` and `inf` included, as Python reads it: the endpoint judges its value. */
export const NumberParam = Schema.String.annotate({ expected: "a number" }).pipe(
  // @effect-diagnostics-next-line schemaNumber:off
  Schema.decodeTo(Schema.Number, {
    decode: SchemaGetter.transformEffect((raw: string) => {
      const word = raw.trim().toLowerCase()
      if (/^[+-]?(nan|inf|infinity)$/.test(word)) {
        return Effect.succeed(word.endsWith("nan") ? NaN : word.startsWith("-") ? -Infinity : Infinity)
      }
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(word)
        ? Effect.succeed(Number(word))
        : Effect.fail(new SchemaIssue.InvalidValue({ message: "Expected a number" }))
    }),
    encode: SchemaGetter.transform(String)
  })
)
/** A flag of a query string, as FastAPI reads it. */
export const FlagParam = Schema.String.pipe(
  Schema.decodeTo(Schema.Boolean, {
    decode: SchemaGetter.transformEffect((raw: string) => {
      const word = raw.trim().toLowerCase()
      if (["true", "1", "on", "yes", "t", "y"].includes(word)) return Effect.succeed(true)
      if (["false", "0", "off", "no", "f", "n"].includes(word)) return Effect.succeed(false)
      return Effect.fail(new SchemaIssue.InvalidValue({ message: "Expected true or false" }))
    }),
    encode: SchemaGetter.transform(String)
  })
)
const Whole = Schema.FiniteFromString.check(Schema.isInt())
const Limit = Whole.check(Schema.isBetween({ minimum: 1, maximum: MAX_PAGE }))
/** A position in a list: what the `Link` header of the page before said. */
const Cursor = text(512)
/** A cursor of the log of events. */
const LogCursor = Whole.check(Schema.isGreaterThanOrEqualTo(0))

/** `?limit=`. */
export const Page = { limit: Schema.optionalKey(Limit) }
/** `GET /agents`. Without `limit` everything is given, as in AgentMesh. */
export const AgentsQuery = {
  status: Schema.optionalKey(AgentStatus),
  capability: Schema.optionalKey(text(MAX_NAME_LENGTH)),
  tag: Schema.optionalKey(text(MAX_NAME_LENGTH)),
  /** Plain words, over names, descriptions, capabilities and tags. */
  q: Schema.optionalKey(text(MAX_TEXT_LENGTH)),
  limit: Schema.optionalKey(Limit),
  cursor: Schema.optionalKey(Cursor)
}

/** `DELETE /agents/{id}`. */
export const Deregistered = Schema.Struct({ status: Schema.Literal("deregistered"), agent_id: Schema.String })
/** `GET /agents/{id}/trust_history`: the last `limit` (default 50), oldest first. */
export const TrustHistory = Schema.Struct({
  agent_id: Schema.String,
  history: Schema.Array(Schema.Struct({ score: Unit, timestamp: Instant }))
})
/** `GET /agents/{id}/trust_history`. */
export const TrustHistoryQuery = { ...Page, capability: Schema.optionalKey(text(MAX_NAME_LENGTH)) }

const Part = Schema.Struct({ value: Unit, weight: Schema.Finite, why: Schema.String })
/** Why somebody stands where he stands. */
export const Score = Schema.Struct({
  agent_id: Schema.String,
  capability: Schema.String,
  /** 0 to 1. */
  score: Schema.Finite,
  parts: Schema.Struct({ semantic: Part, trust: Part, availability: Part, cost: Part })
})
/** Why somebody stands where he stands. */
export type Score = typeof Score.Type
/** AgentMesh's DiscoveryResult; `scores` where the query says `explain`. */
export const DiscoveryResult = Schema.Struct({
  agents: Schema.Array(AgentRecord),
  query: DiscoveryQuery,
  matched_at: Instant,
  scores: Schema.optionalKey(Schema.Array(Score))
})

/** `POST /trust/update`: AgentMesh's clients send it as query parameters. */
export const TrustUpdateQuery = {
  agent_id: text(MAX_ID_LENGTH),
  success: FlagParam,
  quality: Schema.optionalKey(NumberParam)
}
/** `POST /trust/update`. */
export const TrustUpdated = Schema.Struct({ agent_id: Schema.String, trust_score: Unit })
/** `POST /trust/reports`: a report about one task. With the executor's receipt it is attested, and counts more. */
export const ReportBody = Schema.Struct({
  agent_id: AgentId,
  capability: signable(MAX_NAME_LENGTH),
  task_id: signable(MAX_TASK_ID_LENGTH).check(Schema.isMinLength(1)),
  success: Schema.Boolean,
  quality: Unit,
  latency_ms: Schema.optionalKey(Amount),
  receipt: Schema.optionalKey(SignedReceipt)
})
/** `POST /trust/reports`. */
export const Reported = Schema.Struct({ agent_id: Schema.String, trust_score: Unit, standing: Standing })

const Latency = Schema.Struct({
  capability: Schema.String,
  /** Milliseconds over the last measured tasks. */
  p50_ms: Amount,
  p95_ms: Amount,
  samples: Schema.Natural
})
const Circuit = Schema.Struct({
  capability: Schema.String,
  state: Schema.Literals(["closed", "open", "half-open"]),
  /** Failures in a row. */
  failures: Schema.Natural,
  /** Milliseconds until a probe may go. */
  retry_after_ms: Amount
})
/** `GET /agents/{id}/trust`. */
export const AgentTrust = Schema.Struct({
  agent_id: Schema.String,
  /** Overall first, then by capability. */
  standings: Schema.Array(Standing),
  /** Those that are not closed, or not without failures. */
  circuits: Schema.Array(Circuit),
  latencies: Schema.Array(Latency)
})
/** `GET /agents/{id}/trust`. */
export type AgentTrust = typeof AgentTrust.Type

/** `GET /traces`. Newest last, as AgentMesh gives them from memory. */
export const TracesQuery = {
  task_id: Schema.optionalKey(text(MAX_ID_LENGTH)),
  /** Sender or receiver. */
  agent: Schema.optionalKey(text(MAX_ID_LENGTH)),
  type: Schema.optionalKey(TraceEventType),
  since: Schema.optionalKey(Instant),
  until: Schema.optionalKey(Instant),
  limit: Schema.optionalKey(Limit),
  cursor: Schema.optionalKey(Cursor)
}
/** Longest id in `POST /traces`, in characters, before it is cut to what is stored. */
export const MAX_SENT_ID_LENGTH = 1_024
/** `POST /traces`: ids are cut as in AgentMesh, the time is the server's. */
export const TraceBody = Schema.Struct({
  task_id: text(MAX_SENT_ID_LENGTH),
  event_type: TraceEventType,
  from_agent: text(MAX_SENT_ID_LENGTH),
  to_agent: text(MAX_SENT_ID_LENGTH),
  payload: Schema.Record(Schema.String, Schema.Json).pipe(
    Schema.withDecodingDefaultKey(Effect.sync((): { readonly [key: string]: Schema.Json } => ({})))
  )
})
/** `POST /traces`. */
export const TraceCreated = Schema.Struct({ trace_id: Schema.String })

/** `GET /stats`. */
export const Stats = Schema.Struct({
  total_agents: Schema.Natural,
  agents_by_status: Schema.Record(Schema.String, Schema.Natural),
  /** Four digits; 0 where there is nobody. */
  avg_trust: Unit,
  total_tasks_completed: Schema.Natural,
  active_sessions: Schema.Natural,
  active_task_counts: Schema.Record(Schema.String, Schema.Natural)
})
/** `GET /health`. */
export const Health = Schema.Struct({
  status: Schema.Literals(["ok", "degraded"]),
  live: Schema.Boolean,
  ready: Schema.Boolean,
  /** Which storage serves, and how the instance is. */
  parts: Schema.Record(Schema.String, Schema.Json)
})

/** A session or a key: `[!-~]` and letters, without `/`. */
export const Key = text(MAX_KEY_LENGTH).check(Schema.isMinLength(1))
/** `GET /memory`. */
export const SessionsQuery = { ...Page, cursor: Schema.optionalKey(Cursor) }
/** `GET /memory`. */
export const Sessions = Schema.Struct({ sessions: Schema.Array(Schema.String), count: Schema.Natural })
/** `GET /memory/{sid}`. */
export const Session = Schema.Struct({
  session_id: Schema.String,
  keys: Schema.Array(Schema.String),
  data: Schema.Record(Schema.String, Schema.Json)
})
/** `DELETE /memory/{sid}`. */
export const Cleared = Schema.Struct({ session_id: Schema.String, cleared: Schema.Literal(true) })
/** `PUT /memory/{sid}/{key}`. */
export const ValueBody = Schema.Struct({
  value: Schema.Json,
  ttl_ms: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MAX_TTL_MS })))
})
/** `GET /memory/{sid}/{key}`. */
export const Value = Schema.Struct({ session_id: Schema.String, key: Schema.String, value: Schema.Json })
/** `PUT` and `DELETE /memory/{sid}/{key}`. */
export const KeyDone = Schema.Struct({ session_id: Schema.String, key: Schema.String })

/** `POST /auth/token`. */
export const SecretBody = Schema.Struct({ agent_id: text(MAX_ID_LENGTH), secret: text(1_024) })
/** `POST /auth/challenge`. */
export const ChallengeBody = Schema.Struct({ node: NodeId })
/** `POST /auth/challenge`. */
export const Challenge = Schema.Struct({ challenge: Schema.String, expires_at: Instant })
/** `POST /auth/proof`. */
export const ProofBody = Schema.Struct({ node: NodeId, challenge: text(1_024), signature: text(256) })
/** `POST /auth/token` and `/auth/proof` (which says when it ends). */
export const Token = Schema.Struct({
  access_token: Schema.String,
  token_type: Schema.Literal("bearer"),
  expires_at: Schema.optionalKey(Instant)
})

/** `PUT /nodes/{node}`. */
export const NodeKept = Schema.Struct({
  /** Put the record again within this time, in milliseconds. */
  lease_ms: Schema.Natural,
  seq: Schema.Natural,
  trust_score: Unit
})
/** `GET /nodes`. */
export const NodesQuery = { active: Schema.optionalKey(FlagParam), ...Page, cursor: Schema.optionalKey(Cursor) }
/** `POST /nodes/search`. */
export const NodeMatches = Schema.Struct({ records: Schema.Array(SignedRecord), scores: Schema.Array(Score) })

/** `GET /capabilities`. */
export const CapabilitiesQuery = { ...Page, q: Schema.optionalKey(text(MAX_TEXT_LENGTH)) }
/** A capability's name, and who has it. */
export const CapabilitySummary = Schema.Struct({
  name: Schema.String,
  description: Schema.String,
  /** How many agents have it, and how many of those are online. */
  agents: Schema.Natural,
  online: Schema.Natural
})

/** `POST /verdicts`. */
export const VerdictBody = Schema.Struct({ certificate: SignedCertificate, question: Schema.Json })
/** `POST /verdicts`. */
export const VerdictKept = Schema.Struct({ task: Schema.String, cursor: Schema.Natural })
/** A published verdict. */
export const Verdict = Schema.Struct({
  cursor: Schema.Natural,
  at: Instant,
  task: Schema.String,
  capability: Schema.String,
  published_by: Schema.String,
  question: Schema.Json,
  certificate: Schema.Json
})
/** `GET /verdicts`: newest first. */
export const VerdictsQuery = { ...Page, cursor: Schema.optionalKey(LogCursor) }

/** `GET /chain`. */
export const ChainQuery = { ...Page, from: Schema.optionalKey(LogCursor) }
/** One link of the evidence chain. */
export const Link = Schema.Struct({
  seq: Schema.Natural,
  hash: Schema.String,
  at: Schema.Natural,
  report: Schema.Json
})
/** `GET /chain/head`. */
export const Head = Schema.Struct({ seq: Schema.Natural, hash: Schema.String })
