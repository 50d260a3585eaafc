/**
 * A registry that speaks AgentMesh's contract, ours or AgentMesh's own, as one of its agents sees it.
 *
 * It uses nothing that AgentMesh's Python SDK does not use, in the same order: register, then prove the shared secret, then keep a
 * heartbeat open. Whoever has a token of another kind, such as one of our registry for a signed challenge, gives that.
 */
import { lookup } from "node:dns/promises"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Identity } from "@parley/core/Identity"
import { AgentMeshError } from "./AgentMeshError.ts"
import * as Challenge from "./Challenge.ts"
import { dial, type Target } from "./internal/WebSocketHandshake.ts"
import type { WebSocketLink } from "./internal/WebSocketLink.ts"
import {
  type AgentManifest,
  AgentStatus,
  MAX_AGENT_DESCRIPTION_LENGTH,
  MAX_ENDPOINT_LENGTH,
  MAX_ID_LENGTH,
  MAX_LIST,
  MAX_NAME_LENGTH,
  type TraceEventType
} from "./Model.ts"

/** Longest wait for an answer, in milliseconds: as AgentMesh's SDK. */
export const REQUEST_MS = 10_000
/** How often a heartbeat is sent, in milliseconds: as AgentMesh's SDK. Three that are missed make an agent offline. */
export const HEARTBEAT_MS = 10_000
/** Most agents that are read of one registry. */
export const MAX_AGENTS = 10_000
/** Largest answer that is read, in bytes: as many agents with a generous manifest each. */
export const MAX_ANSWER_BYTES = 64 * 1_048_576
/** Largest heartbeat frame, in bytes. */
const MAX_HEARTBEAT_BYTES = 65_536
/** Longest part of a registry's own words that is repeated, in characters. */
const MAX_DETAIL = 500

const JsonObject = Schema.Record(Schema.String, Schema.Json)
const text = (max: number) => Schema.String.check(Schema.isMaxLength(max))
const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

/** What is read of an agent's capability: AgentMesh sets hardly a bound, so nothing is asked for that is not needed. */
const ListedCapability = Schema.Struct({
  name: text(MAX_NAME_LENGTH).check(Schema.isMinLength(1)),
  description: Schema.String,
  input_schema: optional(JsonObject),
  output_schema: optional(JsonObject),
  avg_latency_ms: optional(Schema.Finite),
  cost_per_call_usd: optional(Schema.Finite)
})
/** An agent's capability, as the registry shows it. */
export type ListedCapability = typeof ListedCapability.Type

const Listed = Schema.Struct({
  manifest: Schema.Struct({
    agent_id: text(MAX_ID_LENGTH).check(Schema.isMinLength(1)),
    name: Schema.String,
    version: Schema.optionalKey(Schema.String),
    capabilities: Schema.Array(Schema.Unknown),
    max_concurrent_tasks: Schema.optionalKey(Schema.Finite),
    endpoint: text(MAX_ENDPOINT_LENGTH),
    tags: Schema.optionalKey(Schema.Array(Schema.Unknown))
  }),
  trust_score: Schema.optionalKey(Schema.Finite),
  status: AgentStatus
})

/** An agent, as the registry shows it, and as much of it as a bridge needs. */
export interface ListedAgent {
  readonly id: string
  readonly name: string
  readonly version: string
  readonly endpoint: string
  readonly places: number
  readonly tags: ReadonlyArray<string>
  readonly trust: number
  readonly status: AgentStatus
  readonly capabilities: ReadonlyArray<ListedCapability>
}

const readListed = Schema.decodeUnknownResult(Listed)
const readCapability = Schema.decodeUnknownResult(ListedCapability)

/** Reads one agent of a list; `undefined` for what is none. One agent's nonsense does not hide the others. */
export const readAgent = (value: unknown): ListedAgent | undefined => {
  const read = readListed(value)
  if (Result.isFailure(read)) return undefined
  const { manifest, status, trust_score } = read.success
  return {
    id: manifest.agent_id,
    name: manifest.name.slice(0, MAX_NAME_LENGTH),
    version: manifest.version ?? "0.1.0",
    endpoint: manifest.endpoint,
    places: Math.floor(manifest.max_concurrent_tasks ?? 3),
    tags: (manifest.tags ?? []).slice(0, MAX_LIST).filter((tag) => typeof tag === "string"),
    trust: trust_score ?? 0.5,
    status,
    capabilities: manifest.capabilities.slice(0, MAX_LIST).flatMap((capability) => {
      const one = readCapability(capability)
      return Result.isSuccess(one)
        ? [{ ...one.success, description: one.success.description.slice(0, MAX_AGENT_DESCRIPTION_LENGTH) }]
        : []
    })
  }
}

/** Which registry, and as whom. */
export interface Options {
  /** `http://host:port`, or `https://…`; with a path where it stands behind a proxy. */
  readonly at: string
  readonly agentId: string
  /** AgentMesh's shared secret (`AGENT_SECRET`). */
  readonly secret?: string
  /** A bearer token, asked for before each first request and again when it was refused. */
  readonly token?: Effect.Effect<string, AgentMeshError>
}

/** An open heartbeat socket. */
export interface Heartbeat {
  readonly taskStarted: (taskId: string) => void
  readonly taskEnded: (taskId: string, elapsedMs: number | undefined) => void
  /** Ends it: the registry takes the agent for offline then. */
  readonly close: () => void
  /** Sends heartbeats until the connection ends; gives why it did. */
  readonly beat: Effect.Effect<string>
}

/** A registry that speaks AgentMesh's contract. */
export interface AgentMeshRegistry {
  readonly at: string
  /** Registers, and gets the token that a secret stands for. `Conflict` while another one of that id is there. */
  readonly register: (manifest: AgentManifest) => Effect.Effect<void, AgentMeshError>
  readonly deregister: Effect.Effect<void, AgentMeshError>
  /** All agents that can be read. */
  readonly agents: Effect.Effect<ReadonlyArray<ListedAgent>, AgentMeshError>
  /** `POST /trust/update`. */
  readonly report: (agent: string, success: boolean, quality: number) => Effect.Effect<void, AgentMeshError>
  /** `POST /traces`. */
  readonly trace: (event: {
    readonly task_id: string
    readonly event_type: TraceEventType
    readonly from_agent: string
    readonly to_agent: string
    readonly payload: { readonly [key: string]: Schema.Json }
  }) => Effect.Effect<void, AgentMeshError>
  readonly heartbeat: Effect.Effect<Heartbeat, AgentMeshError>
}

interface Answer {
  readonly status: number
  readonly body: unknown
  readonly next: string | undefined
}

const readBounded = async (response: Response): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`its answer has more than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes).toString("utf8")
}

const ask = async (
  url: string,
  method: string,
  body: unknown,
  token: string | undefined,
  signal: AbortSignal
): Promise<Answer> => {
  const response = await fetch(url, {
    method,
    redirect: "error",
    signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)]),
    headers: {
      accept: "application/json",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` })
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  const answered = await readBounded(response)
  const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1]
  let parsed: unknown
  try {
    parsed = answered === "" ? undefined : JSON.parse(answered)
  } catch {
    parsed = { detail: answered.slice(0, MAX_DETAIL) }
  }
  return { status: response.status, body: parsed, next: next === undefined ? undefined : new URL(next, url).href }
}

const reasonOf = (cause: unknown): string => {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : undefined
  return inner ?? (cause instanceof Error ? cause.message : String(cause))
}

const detailOf = (body: unknown): string => {
  const detail = typeof body === "object" && body !== null && "detail" in body ? body.detail : body
  // oxlint-disable-next-line no-control-regex
  return (typeof detail === "string" ? detail : (JSON.stringify(detail) ?? ""))
    .replace(/\p{Cc}/gu, " ")
    .slice(0, MAX_DETAIL)
}

const codeOf = (status: number): AgentMeshError["code"] =>
  status === 401 || status === 403
    ? "Denied"
    : status === 409
      ? "Conflict"
      : status === 429 || status >= 500
        ? "Unreachable"
        : "Refused"

/**
 * A token of one of Parley's registries, for the key of a node; its agent's id is then its NodeId. `undefined` where the registry is
 * none of Parley's: AgentMesh's own knows no keys.
 */
export const proveKey = (
  at: string,
  identity: Identity["Service"]
): Effect.Effect<string | undefined, AgentMeshError> =>
  Effect.gen(function* () {
    const base = at.replace(/\/+$/, "")
    const failure = (code: AgentMeshError["code"], detail: string) => new AgentMeshError({ code, who: base, detail })
    const audience = Challenge.audienceOf(base)
    if (audience === undefined) return yield* failure("Refused", "this is no URL of a registry: write http://host:port")
    const post = (path: string, body: unknown) =>
      Effect.tryPromise({
        try: (signal) => ask(`${base}${path}`, "POST", body, undefined, signal),
        catch: (cause) => failure("Unreachable", `the registry cannot be reached: ${reasonOf(cause)}`)
      })
    const memberOf = (answer: Answer, name: string): string | undefined => {
      const value = answer.status === 200 && typeof answer.body === "object" && answer.body !== null ? answer.body : {}
      const found = Object.entries(value).find(([key]) => key === name)?.[1]
      return typeof found === "string" ? found : undefined
    }
    const asked = yield* post("/auth/challenge", { node: identity.nodeId })
    if (asked.status === 404 || asked.status === 405) return undefined
    const challenge = memberOf(asked, "challenge")
    if (challenge === undefined) return yield* failure(codeOf(asked.status), `no challenge: ${detailOf(asked.body)}`)
    const signature = Challenge.sign(identity, audience, challenge)
    const proven = yield* post("/auth/proof", { node: identity.nodeId, challenge, signature })
    const token = memberOf(proven, "access_token")
    return token ?? (yield* failure(codeOf(proven.status), `the key was not accepted: ${detailOf(proven.body)}`))
  })

/** The registry at a URL; fails with `Refused` where that is none. Nothing is asked yet. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<AgentMeshRegistry, AgentMeshError> {
  const { agentId, secret } = options
  const at = options.at.replace(/\/+$/, "")
  const failure = (code: AgentMeshError["code"], detail: string) => new AgentMeshError({ code, who: at, detail })
  if (!URL.canParse(at) || !/^https?:$/.test(new URL(at).protocol)) {
    return yield* failure("Refused", "this is no URL of a registry: write http://host:port")
  }
  const base = new URL(at)
  let token: string | undefined

  const once = (url: string, method: string, body: unknown, bearer: string | undefined) =>
    Effect.tryPromise({
      try: (signal) => ask(url, method, body, bearer, signal),
      catch: (cause) => failure("Unreachable", `the registry cannot be reached: ${reasonOf(cause)}`)
    })

  const granted = (answer: Answer, what: string) =>
    answer.status >= 200 && answer.status < 300
      ? Effect.succeed(answer)
      : Effect.fail(
          failure(
            codeOf(answer.status),
            `${what}: ${answer.status}${answer.body === undefined ? "" : ` ${detailOf(answer.body)}`}`
          )
        )

  const exchange = Effect.fnUntraced(function* (shared: string) {
    const body = { agent_id: agentId, secret: shared }
    const answer = yield* granted(yield* once(`${at}/auth/token`, "POST", body, undefined), "to prove the secret")
    const made = answer.body
    if (
      typeof made !== "object" ||
      made === null ||
      !("access_token" in made) ||
      typeof made.access_token !== "string"
    ) {
      return yield* failure("Refused", "the registry gave no token for the secret")
    }
    token = made.access_token
  })

  const authorise = Effect.suspend(() => {
    if (options.token !== undefined) {
      return Effect.map(options.token, (fresh) => {
        token = fresh
      })
    }
    return secret === undefined ? Effect.void : exchange(secret)
  })

  /** A request with the token there is; once more with a new one where that was refused. */
  const request = Effect.fnUntraced(function* (what: string, method: string, path: string, body?: unknown) {
    const url = path.startsWith("http") ? path : `${at}${path}`
    if (token === undefined && options.token !== undefined) yield* authorise
    const answer = yield* once(url, method, body, token)
    if (answer.status !== 401 || (secret === undefined && options.token === undefined))
      return yield* granted(answer, what)
    yield* authorise
    return yield* granted(yield* once(url, method, body, token), what)
  })

  const register: AgentMeshRegistry["register"] = Effect.fnUntraced(function* (manifest) {
    if (secret === undefined) {
      yield* request(`to register ${agentId}`, "POST", "/agents/register", manifest)
      return
    }
    // As the SDK: register, then prove the secret. AgentMesh's own registry wants the token for the first, which nobody has yet.
    const answer = yield* once(`${at}/agents/register`, "POST", manifest, token)
    yield* granted(answer, `to register ${agentId}`)
    yield* exchange(secret)
  })

  const agents = Effect.gen(function* () {
    const all: Array<ListedAgent> = []
    let path: string | undefined = "/agents"
    while (path !== undefined && all.length < MAX_AGENTS) {
      const page: Answer = yield* request("to list agents", "GET", path)
      if (!Array.isArray(page.body)) return yield* failure("Refused", "its list of agents is none")
      for (const entry of page.body) {
        const agent = readAgent(entry)
        if (agent !== undefined) all.push(agent)
      }
      // Another page is of the same registry, or it is none.
      path = page.next !== undefined && new URL(page.next).origin === base.origin ? page.next : undefined
    }
    return all.slice(0, MAX_AGENTS)
  })

  const heartbeat = Effect.gen(function* () {
    if (token === undefined) yield* authorise
    const secure = base.protocol === "https:"
    const host = base.hostname.replace(/^\[|\]$/g, "")
    const link = yield* Effect.tryPromise({
      try: async (signal) => {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_MS)])
        const found = await lookup(host, { all: true })
        const target: Target = {
          host,
          port: base.port === "" ? (secure ? 443 : 80) : Number(base.port),
          secure,
          path: `${base.pathname.replace(/\/$/, "")}/ws/heartbeat/${encodeURIComponent(agentId)}`,
          addresses: found.map(({ address }) => address),
          ...(token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } })
        }
        return dial(target, MAX_HEARTBEAT_BYTES, limit)
      },
      catch: (cause) => {
        const status = typeof cause === "object" && cause !== null && "status" in cause ? cause.status : undefined
        const detail = `no heartbeat: ${cause instanceof Error ? cause.message : String(cause)}`
        return failure(status === 401 || status === 403 ? "Denied" : "Unreachable", detail)
      }
    })
    return pulse(link)
  })

  return {
    at,
    register,
    deregister: Effect.asVoid(request(`to deregister ${agentId}`, "DELETE", `/agents/${encodeURIComponent(agentId)}`)),
    agents,
    report: (agent, success, quality) => {
      const query = new URLSearchParams({ agent_id: agent, success: String(success), quality: String(quality) })
      return Effect.asVoid(request(`to report on ${agent}`, "POST", `/trust/update?${query.toString()}`))
    },
    trace: (event) => Effect.asVoid(request("to keep a trace", "POST", "/traces", event)),
    heartbeat
  }
})

/** Heartbeats over a connection. */
const pulse = (link: WebSocketLink): Heartbeat => {
  const send = (message: unknown): void => void link.send(JSON.stringify(message))
  return {
    taskStarted: (taskId) => send({ type: "task_start", task_id: taskId }),
    taskEnded: (taskId, elapsedMs) =>
      send({ type: "task_end", task_id: taskId, ...(elapsedMs === undefined ? {} : { elapsed_ms: elapsedMs }) }),
    close: () => link.close(),
    beat: Effect.callback<string>((resume) => {
      let acknowledged = true
      const beat = (): void => {
        // One that is not acknowledged before the next is due will not be.
        if (!acknowledged) return link.destroy()
        acknowledged = false
        send({ type: "heartbeat" })
      }
      const timer = setInterval(beat, HEARTBEAT_MS)
      link.listen({
        onMessage: (message) => {
          if (message.includes("heartbeat_ack")) acknowledged = true
        },
        onClosed: (code, reason) => {
          clearInterval(timer)
          resume(Effect.succeed(`the heartbeat's connection ended (${code}${reason === "" ? "" : `, ${reason}`})`))
        }
      })
      beat()
      return Effect.sync(() => {
        clearInterval(timer)
        link.close()
      })
    })
  }
}
