/**
 * Requests to the registry that served this page.
 */
import { token, wanted } from "./Session.ts"
import type {
  AgentRecord,
  AgentTrust,
  CapabilitySummary,
  DiscoveryResult,
  Head,
  Health,
  Json,
  Session,
  Sessions,
  Stats,
  TraceEvent,
  TrustHistory,
  Verdict
} from "./Types.ts"

/** Longest wait for an answer, in milliseconds. */
const TIMEOUT_MS = 15_000

/** The registry said no, or nothing. `status` 0: no answer came. */
export class ApiError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

interface Options {
  readonly method?: string
  readonly query?: { readonly [name: string]: string | number | boolean | undefined }
  readonly body?: unknown
}

const detailOf = (body: unknown, status: number): string => {
  if (typeof body === "object" && body !== null) {
    const { detail, title } = body as { readonly detail?: unknown; readonly title?: unknown }
    if (typeof detail === "string") return detail
    if (Array.isArray(detail)) {
      const said = detail.map(
        (one: { loc?: ReadonlyArray<unknown>; msg?: unknown }) =>
          `${(one.loc ?? []).slice(1).join(".")}: ${String(one.msg)}`
      )
      return said.join("; ")
    }
    if (typeof title === "string") return title
  }
  return `The registry answered ${status}`
}

const send = async (path: string, { body, method = "GET", query = {} }: Options): Promise<Response> => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value))
  const text = search.toString()
  const sent = token.peek()
  let response: Response
  try {
    response = await fetch(text === "" ? path : `${path}?${text}`, {
      method,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(sent === undefined ? {} : { authorization: `Bearer ${sent}` })
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
  } catch (cause) {
    throw new ApiError(
      0,
      cause instanceof DOMException && cause.name === "TimeoutError"
        ? `No answer from the registry within ${TIMEOUT_MS / 1000} s`
        : "The registry cannot be reached"
    )
  }
  if (response.ok) return response
  const problem = detailOf(await response.json().catch(() => undefined), response.status)
  if (response.status === 401) wanted.value = problem
  throw new ApiError(response.status, problem)
}

const json = async <A>(path: string, options: Options = {}): Promise<A> =>
  (await (await send(path, options)).json()) as A

/** A page of a list, and how to ask for the next one. */
export interface Page<A> {
  readonly items: ReadonlyArray<A>
  /** The value of `cursor` that leads on; absent at the end. */
  readonly next: string | undefined
}

const page = async <A>(path: string, query: NonNullable<Options["query"]>): Promise<Page<A>> => {
  const response = await send(path, { query })
  const items = (await response.json()) as ReadonlyArray<A>
  const link = /<([^>]*)>\s*;[^,]*rel="?next"?/.exec(response.headers.get("link") ?? "")?.[1]
  const next = link === undefined ? undefined : (new URL(link, location.href).searchParams.get("cursor") ?? undefined)
  return { items, next }
}

const segment = encodeURIComponent

export const agents = (query: { readonly limit: number; readonly cursor?: string | undefined; readonly q?: string }) =>
  page<AgentRecord>("/agents", query)
export const agent = (id: string) => json<AgentRecord>(`/agents/${segment(id)}`)
export const trust = (id: string) => json<AgentTrust>(`/agents/${segment(id)}/trust`)
export const trustHistory = (id: string, limit: number) =>
  json<TrustHistory>(`/agents/${segment(id)}/trust_history`, { query: { limit } })
export const statement = (id: string) => json<Json>(`/agents/${segment(id)}/statement`)
export const traces = (query: {
  readonly limit: number
  readonly task_id?: string | undefined
  readonly agent?: string | undefined
  readonly type?: string | undefined
  readonly cursor?: string | undefined
}) => page<TraceEvent>("/traces", query)
export const stats = () => json<Stats>("/stats")
export const health = () => json<Health>("/health")
export const head = () => json<Head>("/chain/head")
export const capabilities = (q: string, limit: number) =>
  json<ReadonlyArray<CapabilitySummary>>("/capabilities", { query: { q: q === "" ? undefined : q, limit } })
export const discover = (body: unknown) => json<DiscoveryResult>("/discover", { method: "POST", body })
export const verdicts = (query: { readonly limit: number; readonly cursor?: string | undefined }) =>
  page<Verdict>("/verdicts", query)
export const verdict = (task: string) => json<Verdict>(`/verdicts/${segment(task)}`)
export const sessions = (query: { readonly limit: number; readonly cursor?: string | undefined }) =>
  json<Sessions>("/memory", { query })
export const session = (id: string) => json<Session>(`/memory/${segment(id)}`)
export const clearSession = (id: string) => json<unknown>(`/memory/${segment(id)}`, { method: "DELETE" })
export const setValue = (id: string, key: string, value: Json, ttlMs: number | undefined) =>
  json<unknown>(`/memory/${segment(id)}/${segment(key)}`, {
    method: "PUT",
    body: { value, ...(ttlMs === undefined ? {} : { ttl_ms: ttlMs }) }
  })
export const removeValue = (id: string, key: string) =>
  json<unknown>(`/memory/${segment(id)}/${segment(key)}`, { method: "DELETE" })
/** AgentMesh's shared secret for a token. */
export const exchange = (agent_id: string, secret: string) =>
  json<{ readonly access_token: string }>("/auth/token", { method: "POST", body: { agent_id, secret } })
/** Whether a token is taken; throws what the registry says of it. */
export const tryToken = async (text: string): Promise<void> => {
  const response = await fetch("/traces?limit=1", { headers: { authorization: `Bearer ${text}` } })
  if (!response.ok)
    throw new ApiError(response.status, detailOf(await response.json().catch(() => undefined), response.status))
}
