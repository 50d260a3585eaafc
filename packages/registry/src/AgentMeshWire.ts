/**
 * AgentMesh's words between agents: what travels on an agent's task socket, and the manifest that says where that socket is.
 *
 * One text frame is one JSON document. It looks like JSON-RPC and is not: there is no `id`, a request is answered twice (what
 * becomes of the negotiation, then the result), and tasks on one connection run one after another.
 *
 * Source: arshadvani3/AgentMesh, `mesh/models.py` and `sdk/agent.py`.
 */
import { createHash, randomBytes } from "node:crypto"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { MAX_NAME_LENGTH as MAX_CAPABILITY_NAME } from "@parley/core/Capability"
import { MAX_ID_LENGTH, MAX_NAME_LENGTH, MAX_TASK_ID_LENGTH } from "./Model.ts"

/** Largest frame in either direction, in bytes: what Python's websockets takes where nothing else is said. */
export const MAX_FRAME_BYTES = 1_048_576
/** Deepest nesting of a frame's JSON: as a node's own guardrail `maxJsonDepth`. */
export const MAX_JSON_DEPTH = 64
/** Longest `context`, reason or error that is read, in characters; longer ones are cut. */
export const MAX_WORDS = 10_000
/** A task's deadline where none is given, in milliseconds. */
export const DEFAULT_DEADLINE_MS = 30_000
/** How long an executor may take to say whether it takes a task, in milliseconds. */
export const NEGOTIATION_MS = 10_000
/** A counter is taken up when its deadline is within this many times the caller's. */
export const COUNTER_FACTOR = 1.5
/** What an agent is taken to need that does not say how long it takes, in milliseconds. */
export const DEFAULT_LATENCY_MS = 5_000

const withDefault = <S extends Schema.Constraint>(schema: S, make: () => S["Encoded"]) =>
  Schema.withDecodingDefaultKey<S>(Effect.sync(make))(schema)
const text = (max: number) => Schema.String.check(Schema.isMaxLength(max))
const JsonObject = Schema.Record(Schema.String, Schema.Json)
/** Now, as ISO 8601 in UTC. */
export const instant = (): string => new Date().toISOString()
const hex8 = (): string => randomBytes(4).toString("hex")

/** AgentMesh's TaskRequest. */
export const TaskRequest = Schema.Struct({
  task_id: withDefault(text(MAX_TASK_ID_LENGTH).check(Schema.isMinLength(1)), () => `task-${hex8()}`),
  capability: text(MAX_NAME_LENGTH),
  input_data: withDefault(JsonObject, () => ({})),
  requester_id: text(MAX_ID_LENGTH),
  target_id: withDefault(Schema.NullOr(text(MAX_ID_LENGTH)), () => null),
  deadline_ms: withDefault(Schema.Int, () => DEFAULT_DEADLINE_MS),
  priority: withDefault(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })), () => 1),
  context: withDefault(text(MAX_WORDS), () => ""),
  created_at: withDefault(text(64), instant)
})
/** AgentMesh's TaskRequest. */
export type TaskRequest = typeof TaskRequest.Type

/** What an executor says to a request. `pending`, `executing` and `timed_out` never appear on the wire. */
export const NegotiationResponse = Schema.Struct({
  task_id: text(MAX_TASK_ID_LENGTH),
  responder_id: text(MAX_ID_LENGTH),
  status: Schema.Literals(["accepted", "rejected", "countered"]),
  estimated_latency_ms: withDefault(Schema.NullOr(Schema.Int), () => null),
  /** `{ deadline_ms, reason, queue_depth }` where countered. */
  counter_proposal: withDefault(Schema.NullOr(JsonObject), () => null),
  reason: withDefault(Schema.NullOr(Schema.String), () => null)
})
/** What an executor says to a request. */
export type NegotiationResponse = typeof NegotiationResponse.Type

/** AgentMesh's TaskResult. */
export const TaskResult = Schema.Struct({
  task_id: text(MAX_TASK_ID_LENGTH),
  executor_id: text(MAX_ID_LENGTH),
  status: Schema.Literals(["completed", "failed"]),
  output: withDefault(JsonObject, () => ({})),
  error: withDefault(Schema.NullOr(Schema.String), () => null),
  tokens_used: withDefault(Schema.Int, () => 0),
  execution_time_ms: withDefault(Schema.Int, () => 0),
  completed_at: withDefault(text(64), instant)
})
/** AgentMesh's TaskResult. */
export type TaskResult = typeof TaskResult.Type

const readRequest = Schema.decodeUnknownResult(TaskRequest)
const readNegotiation = Schema.decodeUnknownResult(NegotiationResponse)
const readResult = Schema.decodeUnknownResult(TaskResult)

/** What is wrong with a frame. `code` is JSON-RPC's number for it, since the frames look like JSON-RPC. */
export interface Malformed {
  readonly _tag: "Malformed"
  readonly code: -32700 | -32600 | -32601 | -32602
  readonly detail: string
  readonly taskId?: string
}
const malformed = (code: Malformed["code"], detail: string, taskId?: unknown): Malformed => ({
  _tag: "Malformed",
  code,
  detail: detail.slice(0, MAX_WORDS),
  ...(typeof taskId === "string" && taskId.length <= MAX_TASK_ID_LENGTH ? { taskId } : {})
})

const depthOf = (frame: string): number => {
  let depth = 0
  let deepest = 0
  let quoted = false
  for (let at = 0; at < frame.length; at++) {
    const code = frame.charCodeAt(at)
    if (quoted) {
      if (code === 0x5c) at += 1
      else if (code === 0x22) quoted = false
    } else if (code === 0x22) quoted = true
    else if (code === 0x5b || code === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (code === 0x5d || code === 0x7d) depth -= 1
  }
  return deepest
}

const parse = (frame: string): { readonly [key: string]: unknown } | Malformed => {
  if (depthOf(frame) > MAX_JSON_DEPTH) return malformed(-32700, `JSON is nested at most ${MAX_JSON_DEPTH} deep here`)
  let value: unknown
  try {
    value = JSON.parse(frame)
  } catch (error) {
    return malformed(-32700, `the frame is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as { readonly [key: string]: unknown })
    : malformed(-32600, "the frame is not a JSON object")
}

const idOf = (params: unknown): unknown =>
  typeof params === "object" && params !== null && "task_id" in params ? params.task_id : undefined

/** Reads what comes to an executor. */
export const decodeRequest = (frame: string): TaskRequest | Malformed => {
  const value = parse(frame)
  if ("_tag" in value && value["_tag"] === "Malformed") return value as Malformed
  const { method, params } = value as { readonly [key: string]: unknown }
  if (typeof method !== "string")
    return malformed(-32600, 'the frame names no "method"; the one there is: task.request')
  if (method !== "task.request") return malformed(-32601, `there is no method ${JSON.stringify(method.slice(0, 64))}`)
  const read = readRequest(params)
  return Result.isSuccess(read) ? read.success : malformed(-32602, read.failure.message, idOf(params))
}

/** What comes to a caller: what an executor says, a result, or that it could not read the request. */
export type Reply =
  | { readonly _tag: "Negotiation"; readonly response: NegotiationResponse }
  | { readonly _tag: "Result"; readonly result: TaskResult }
  | { readonly _tag: "Error"; readonly detail: string }
  | Malformed

/** Reads what comes to a caller. */
export const decodeReply = (frame: string): Reply => {
  const value = parse(frame)
  if ("_tag" in value && value["_tag"] === "Malformed") return value as Malformed
  const { error, method, params, result } = value as { readonly [key: string]: unknown }
  if (method === "task.result") {
    const read = readResult(params)
    return Result.isSuccess(read)
      ? { _tag: "Result", result: read.success }
      : malformed(-32602, read.failure.message, idOf(params))
  }
  if (result !== undefined) {
    const read = readNegotiation(result)
    return Result.isSuccess(read)
      ? { _tag: "Negotiation", response: read.success }
      : malformed(-32602, read.failure.message, idOf(result))
  }
  if (typeof error === "object" && error !== null && "message" in error) {
    return { _tag: "Error", detail: String(error.message).slice(0, MAX_WORDS) }
  }
  return malformed(-32600, 'the frame is neither a "result" nor a "task.result"')
}

/** A request as it travels. */
export const encodeRequest = (request: TaskRequest): string =>
  JSON.stringify({ method: "task.request", params: request })
/** An executor's word to a request, as it travels. */
export const encodeNegotiation = (response: NegotiationResponse): string => JSON.stringify({ result: response })
/** A result as it travels. */
export const encodeResult = (result: TaskResult): string => JSON.stringify({ method: "task.result", params: result })
/** What a caller gets for a frame that could not be read. AgentMesh's own agents close the connection without a word. */
export const encodeMalformed = ({ code, detail, taskId }: Malformed): string =>
  JSON.stringify({ error: { code, message: detail, ...(taskId === undefined ? {} : { task_id: taskId }) } })

/** A fresh task id, as AgentMesh's: `task-` and 8 hex digits; ours have 16, since many share one registry. */
export const freshTaskId = (): string => `task-${randomBytes(8).toString("hex")}`

/**
 * AgentMesh's capability names are any text; ours are dotted lower-case words. What does not fit becomes `-`; a name that another
 * one has been made into already gets 6 hex digits of its own SHA-256 behind it.
 */
export const normalise = (name: string, taken: (normal: string) => boolean = () => false): string => {
  const words = name
    .toLowerCase()
    .split(".")
    .map((word) => word.replace(/[^a-z0-9_-]+/g, "-").replace(/^[-_]+|-+$/g, ""))
    .filter((word) => word !== "")
  const normal = words.join(".").slice(0, MAX_CAPABILITY_NAME).replace(/\.$/, "") || "capability"
  if (!taken(normal)) return normal
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 6)
  return `${normal.slice(0, MAX_CAPABILITY_NAME - 7).replace(/\.$/, "")}-${digest}`
}
