/**
 * Inbound: an AgentMesh agent that stands for nodes of the mesh. Python agents find it in their registry, and what they ask of it is
 * called on the mesh.
 */
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Outcome, Run, Word } from "./AgentMeshListener.ts"
import { DEFAULT_LATENCY_MS, NEGOTIATION_MS, type TaskRequest } from "./AgentMeshWire.ts"
import { type CapabilityRecord, parseId } from "@parley/core/Capability"
import type { Node } from "@parley/core/Node"
import { explain, type NodeErrorReason } from "@parley/core/NodeError"
import { TAG } from "./AgentMeshOutbound.ts"
import { type AgentManifest, MAX_LIST } from "./Model.ts"

/** A task is told to be accepted after this time in any case, in milliseconds: its caller gives up after 10 s of silence. */
const ACCEPT_MS = NEGOTIATION_MS - 2_000
/** Longest deadline that is honoured, in milliseconds: as a node's guardrail `maxDeadlineMs`. */
const MAX_DEADLINE_MS = 3_600_000
/** Largest JSON Schema that is shown in a manifest, as JSON, in characters. */
const MAX_SCHEMA_LENGTH = 8_192

/** What is offered to AgentMesh's agents, by name. */
export type Offer = ReadonlyMap<string, CapabilityRecord>

const isOffered = (capability: CapabilityRecord): boolean =>
  // What comes from AgentMesh does not go back there, and its agents know no answers in chunks.
  capability.stream !== true && !(capability.tags ?? []).includes(TAG)

/** The newest version of each name, of what may be offered. */
export const offerOf = (capabilities: Iterable<CapabilityRecord>): Offer => {
  const offer = new Map<string, CapabilityRecord>()
  const newest = [...capabilities].filter(isOffered).sort((a, b) => compareVersions(b.version, a.version))
  for (const capability of newest) {
    if (offer.size < MAX_LIST && !offer.has(capability.name)) offer.set(capability.name, capability)
  }
  return new Map([...offer].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const compareVersions = (a: string, b: string): number => a.localeCompare(b, "en", { numeric: true })

const schemaOf = (schema: Schema.Json | undefined): { readonly [key: string]: Schema.Json } =>
  typeof schema === "object" &&
  schema !== null &&
  !Array.isArray(schema) &&
  JSON.stringify(schema).length <= MAX_SCHEMA_LENGTH
    ? (schema as { readonly [key: string]: Schema.Json })
    : {}

/** An offer as AgentMesh's agents see it. */
export const capabilitiesOf = (offer: Offer): AgentManifest["capabilities"] =>
  [...offer.values()].map((capability) => ({
    name: capability.name,
    description: capability.description ?? capability.name,
    input_schema: schemaOf(capability.input),
    output_schema: schemaOf(capability.output),
    avg_latency_ms: capability.latencyMs ?? null,
    cost_per_call_usd: capability.cost?.usdPerCall ?? null
  }))

/** What an AgentMesh agent is told instead of a node's refusal or failure. */
export const wordFor = (
  reason: NodeErrorReason,
  request: TaskRequest
): Outcome | Exclude<Word, { readonly _tag: "Accepted" }> => {
  const rejected = { _tag: "Rejected" as const, reason: explain(reason) }
  switch (reason._tag) {
    case "NoPeer":
    case "Rejected":
    case "InputInvalid":
    case "TooLarge":
    case "BudgetExceeded":
    case "CircuitOpen":
    case "Unreachable":
    case "BadQuery":
      return rejected
    case "Countered": {
      if (reason.deadlineMs === undefined && reason.retryAfterMs === undefined) return rejected
      const deadlineMs = Math.max(reason.deadlineMs ?? 0, request.deadline_ms + (reason.retryAfterMs ?? 0))
      return { _tag: "Countered", deadlineMs, reason: "queue_full", queueDepth: 1 }
    }
    case "Overloaded":
      return {
        _tag: "Countered",
        deadlineMs: request.deadline_ms + reason.retryAfterMs,
        reason: "queue_full",
        queueDepth: 1
      }
    default:
      return { _tag: "Failed", error: explain(reason) }
  }
}

/** Runs what AgentMesh's agents ask for, on the mesh. */
export const runOn =
  (node: Node["Service"], offer: () => Offer): Run =>
  (request, accept) =>
    Effect.suspend(() => {
      const capability = offer().get(parseId(request.capability).name)
      if (capability === undefined) {
        return Effect.succeed<Word & { _tag: "Rejected" }>({
          _tag: "Rejected",
          reason: `Capability '${request.capability}' not available`
        })
      }
      if (request.deadline_ms < 1) {
        return Effect.succeed<Word & { _tag: "Rejected" }>({
          _tag: "Rejected",
          reason: `A deadline of ${request.deadline_ms} ms is over already`
        })
      }
      const estimateMs = capability.latencyMs ?? DEFAULT_LATENCY_MS
      const timer = setTimeout(() => accept({ _tag: "Accepted", estimateMs }), ACCEPT_MS)
      return node
        .request(`${capability.name}@${capability.version}`, request.input_data, {
          deadline: Math.min(request.deadline_ms, MAX_DEADLINE_MS),
          onEvent: (event) => {
            if (event._tag === "Accepted") {
              accept({ _tag: "Accepted", estimateMs: event.estimateMs > 0 ? event.estimateMs : estimateMs })
            }
          }
        })
        .pipe(
          Effect.map(({ output }): Outcome => ({ _tag: "Completed", output })),
          Effect.catch((error) => Effect.succeed(wordFor(error.reason, request))),
          Effect.ensuring(Effect.sync(() => clearTimeout(timer)))
        )
    })
