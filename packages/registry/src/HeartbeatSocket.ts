/**
 * HeartbeatSocket: `WS /ws/heartbeat/{agent_id}`, AgentMesh's: an agent that keeps it open is online, and says here what it does.
 *
 * | client sends | registry does |
 * | --- | --- |
 * | `{"type":"heartbeat"}` | renews the lease, answers `{"type":"heartbeat_ack"}`; no circuit is healed by it |
 * | `{"type":"task_start","task_id"}` | counts a running task until it ends or the lease does |
 * | `{"type":"task_end","task_id","elapsed_ms"?}` | counts it no longer; `elapsed_ms`, cut to 0…600,000, is a measured latency |
 * | `{"type":"trace","payload":TraceEvent}` | stores it; `from_agent` must be the socket's agent; its time is the registry's |
 * | an object of another `type`, or without | nothing, as in AgentMesh |
 * | anything else | answers `{"type":"error","detail"}`; the connection stays |
 *
 * An unknown agent gets 403 before the upgrade; one that is deregistered meanwhile, close 4004. Frames beyond `FRAMES` get an error
 * frame and are not acted on; after `MAX_REFUSED_FRAMES` in a row the socket is closed (1008). The lease ends with the
 * socket, or after `LEASE_MS` without a heartbeat; a socket that stays silent for `SILENT_MS` is closed.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Admission } from "./Admission.ts"
import { actForOrGranted } from "./Authentication.ts"
import { FirstLeases } from "./FirstLeases.ts"
import { errorFrame, refuse } from "./internal/SocketAuth.ts"
import { Code, type SocketConnection, SocketGone } from "./internal/SocketConnection.ts"
import * as SocketRoute from "./internal/SocketRoute.ts"
import { credentialsOf } from "./internal/Who.ts"
import type { Bucket } from "./Limits.ts"
import { AgentId, MAX_ID_LENGTH, MAX_TASK_ID_LENGTH, TraceEventType } from "./Model.ts"
import { type Lease, LEASE_MS, Presence } from "./Presence.ts"
import { Auth, mayActFor } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { Registrar } from "./Registrar.ts"
import { MAX_REFUSED_FRAMES, Sockets } from "./Sockets.ts"

/** Largest frame, in bytes: the default of the Python library that AgentMesh's agents use. */
export const MAX_FRAME_BYTES = 1_048_576
/** Largest payload of a trace, in characters of JSON: it is kept, and sent to every subscriber. */
export const MAX_TRACE_CHARACTERS = 65_536
/** Deepest nesting of a frame: as in a message between nodes. */
export const MAX_FRAME_DEPTH = 64
/** Frames of one agent, over all its sockets: an agent that ends seventy tasks a second, each with its traces. */
export const FRAMES: Bucket = { perSecond: 500, burst: 2_000 }
/** Longest measured latency that counts, in milliseconds, as in AgentMesh. */
export const MAX_ELAPSED_MS = 600_000
/** How long a socket may be silent until it is closed, in milliseconds: its lease is long over. */
export const SILENT_MS = 3 * LEASE_MS
/** Tasks without an id that one socket counts. */
const MAX_NAMELESS = 1_000

const text = (max: number) => Schema.String.check(Schema.isMaxLength(max))
const Trace = Schema.Struct({
  trace_id: Schema.optionalKey(text(MAX_ID_LENGTH).check(Schema.isMinLength(1))),
  task_id: text(MAX_TASK_ID_LENGTH),
  event_type: TraceEventType,
  from_agent: AgentId,
  to_agent: text(MAX_ID_LENGTH),
  payload: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})
const decodeTrace = Schema.decodeUnknownOption(Trace)

type JsonObject = { readonly [key: string]: unknown }

const isDeep = (value: unknown, left: number): boolean => {
  if (typeof value !== "object" || value === null) return false
  if (left === 0) return true
  for (const member of Object.values(value)) if (isDeep(member, left - 1)) return true
  return false
}

/** The frame's object; or what is wrong with it. */
const parse = (frame: string | undefined): JsonObject | string => {
  if (frame === undefined) return "Send text frames with JSON, not binary ones"
  let value: unknown
  try {
    value = JSON.parse(frame)
  } catch {
    return "This frame is not JSON"
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "A frame is a JSON object with a type"
  if (isDeep(value, MAX_FRAME_DEPTH)) return `This frame is nested deeper than ${MAX_FRAME_DEPTH}`
  return value as JsonObject
}

/** One agent's socket. */
class Agent {
  readonly id: string
  readonly #lease: Lease
  readonly #registrar: Registrar["Service"]
  readonly #nameless: Array<string> = []
  #count = 0

  constructor(id: string, lease: Lease, registrar: Registrar["Service"]) {
    this.id = id
    this.#lease = lease
    this.#registrar = registrar
  }

  /** The answer to a frame, if there is one; fails with a sentence about what is wrong. */
  handle(frame: JsonObject): Effect.Effect<string | undefined, string | Problem.Unavailable> {
    switch (frame["type"]) {
      case "heartbeat":
        return Effect.as(this.#lease.renew, '{"type":"heartbeat_ack"}')
      case "task_start":
        return this.#started(frame["task_id"])
      case "task_end":
        return this.#ended(frame["task_id"], frame["elapsed_ms"])
      case "trace":
        return this.#trace(frame["payload"])
      default:
        return Effect.undefined
    }
  }

  /** AgentMesh does not look at the ids; where there is none, the task that began last without one is meant. */
  #started(id: unknown): Effect.Effect<undefined, string | Problem.Unavailable> {
    if (typeof id === "string" && id.length > MAX_TASK_ID_LENGTH) return tooLongTask
    let task: string
    if (typeof id === "string" && id !== "") task = id
    else {
      if (this.#nameless.length >= MAX_NAMELESS) return Effect.fail("Too many tasks without task_id are running")
      this.#nameless.push((task = `#${++this.#count}`))
    }
    return Effect.andThen(this.#lease.taskStarted(task), this.#registrar.taskStarted(this.id, task)).pipe(
      Effect.as(undefined)
    )
  }

  #ended(id: unknown, elapsed: unknown): Effect.Effect<undefined, string | Problem.Unavailable> {
    if (typeof id === "string" && id.length > MAX_TASK_ID_LENGTH) return tooLongTask
    if (elapsed !== undefined && elapsed !== null && (typeof elapsed !== "number" || !Number.isFinite(elapsed))) {
      return Effect.fail("task_end: elapsed_ms must be a number of milliseconds")
    }
    const task = typeof id === "string" && id !== "" ? id : this.#nameless.pop()
    if (task === undefined) return Effect.undefined
    const ms = typeof elapsed === "number" ? Math.min(MAX_ELAPSED_MS, Math.max(0, elapsed)) : undefined
    return Effect.andThen(this.#lease.taskEnded(task), this.#registrar.taskEnded(this.id, task, ms)).pipe(
      Effect.as(undefined)
    )
  }

  #trace(payload: unknown): Effect.Effect<undefined, string | Problem.Unavailable> {
    const trace = Option.getOrUndefined(decodeTrace(payload))
    if (trace === undefined) {
      return Effect.fail("trace: payload must be a TraceEvent with task_id, event_type, from_agent and to_agent")
    }
    if (trace.from_agent !== this.id) return Effect.fail(`trace: from_agent must be ${this.id}, whose socket this is`)
    const details = trace.payload ?? {}
    if (JSON.stringify(details).length > MAX_TRACE_CHARACTERS) {
      return Effect.fail(`trace: its payload is larger than ${MAX_TRACE_CHARACTERS} characters of JSON`)
    }
    return Effect.as(this.#registrar.trace({ ...trace, payload: details }), undefined)
  }
}

const tooLongTask = Effect.fail(`task_id is longer than ${MAX_TASK_ID_LENGTH} characters`)

const serve = Effect.fnUntraced(function* (
  id: string,
  connection: SocketConnection,
  sockets: Sockets["Service"],
  presence: Presence["Service"],
  registrar: Registrar["Service"],
  firstLeases: Option.Option<FirstLeases["Service"]>
): Effect.fn.Return<never, SocketGone, Scope.Scope> {
  const lease = yield* Effect.acquireRelease(presence.open(id), (lease) => lease.end)
  if (Option.isSome(firstLeases)) yield* firstLeases.value.end(id)
  const agent = new Agent(id, lease, registrar)
  const silent = Effect.andThen(
    connection.close(Code.Policy, `no frame for ${SILENT_MS / 1_000} s`),
    Effect.fail(new SocketGone({ why: "Closed" }))
  )
  const unregistered = Effect.andThen(
    connection.close(Code.NotRegistered, "Agent not registered"),
    Effect.fail(new SocketGone({ why: "Closed" }))
  )
  let refused = 0
  while (true) {
    const frame = yield* Effect.timeoutOrElse(connection.receive, { duration: SILENT_MS, orElse: () => silent })
    if (!registrar.knows(id)) return yield* unregistered
    const wait = yield* sockets.frame("heartbeat", id, FRAMES)
    const parsed = wait > 0 ? `Too many frames: wait ${wait} ms` : parse(frame)
    const answer =
      typeof parsed === "string"
        ? { error: parsed }
        : yield* Effect.match(agent.handle(parsed), {
            onSuccess: (frame) => ({ frame }),
            onFailure: (error) => ({
              error: typeof error === "string" ? error : error.detail
            })
          })
    if ("frame" in answer) {
      refused = 0
      if (answer.frame !== undefined) yield* connection.send(answer.frame)
    } else if (++refused > MAX_REFUSED_FRAMES) {
      return yield* refuse(connection, Code.Policy, "Too many bad frames in a row")
    } else yield* connection.send(errorFrame(answer.error))
  }
})

const idOf = (raw: string | undefined): string => {
  try {
    return decodeURIComponent(raw ?? "")
  } catch {
    return ""
  }
}

/** The route. */
export const layer: Layer.Layer<
  never,
  never,
  HttpRouter.HttpRouter | Presence | Registrar | Sockets | Auth | Admission
> = Layer.effectDiscard(
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const presence = yield* Presence
    const registrar = yield* Registrar
    const sockets = yield* Sockets
    const firstLeases = yield* Effect.serviceOption(FirstLeases)
    const auth = yield* Auth
    const admission = yield* Admission
    yield* router.add("GET", "/ws/heartbeat/*", (request) => {
      const path = request.url.split("?", 1)[0]!
      const id = idOf(path.slice(path.indexOf("/ws/heartbeat/") + "/ws/heartbeat/".length))
      if (!registrar.knows(id)) return Effect.succeed(Problem.response(403, "Agent not registered"))
      return SocketRoute.enter({
        request,
        sockets,
        maxFrame: MAX_FRAME_BYTES,
        // Each socket holds a lease, and an agent has only so many of them.
        counted: `heartbeat:${id}`,
        without: actForOrGranted(id, credentialsOf(request)).pipe(
          Effect.orElseSucceed(() => undefined),
          Effect.provideService(Auth, auth),
          Effect.provideService(Admission, admission)
        ),
        forbids: (who) => (mayActFor(who, id) ? undefined : `You are not ${id}, and may not be it`),
        serve: (connection) => serve(id, connection, sockets, presence, registrar, firstLeases)
      }).pipe(Effect.provideService(Auth, auth))
    })
  })
)
