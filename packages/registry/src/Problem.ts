/**
 * Problem: how the registry says no. RFC 9457 problem details, with the `detail` that AgentMesh's clients read.
 *
 * `type` is always `about:blank`: the status says what kind of problem it is, `detail` what to do about it. A request that
 * cannot be read is 422, as in AgentMesh, and its `detail` is FastAPI's array: one entry per fault, with where it is.
 */
import * as Effect from "effect/Effect"
import { HttpServerRequest, ParsedSearchParams } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { HttpApiSchemaError, Problem } from "effect/http-api/HttpApiError"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import type { unhandled } from "effect/Types"
import { MAX_DEPTH } from "@parley/core/CanonicalJson"
import type { AuthError } from "./Principal.ts"

/** Most faults of one request that are told; a body can be wrong in as many places as it has bytes. */
export const MAX_FAULTS = 16
/** Longest part of a faulty value that is told back, in characters of JSON. */
export const MAX_FAULT_INPUT = 200

const detail = Schema.String
const blank = <const Status extends number>(status: Status, title: string) => ({
  type: "about:blank" as const,
  status,
  title
})

/** 400: the request makes no sense, whatever the state of the registry. */
export class BadRequest extends Problem<BadRequest>()("BadRequest", blank(400, "Bad Request"), { detail }) {}
/** 401: who asks is not known. */
export class Unauthorized extends Problem<Unauthorized>()("Unauthorized", blank(401, "Unauthorized"), { detail }) {}
/** 403: who asks is known, and may not. */
export class Forbidden extends Problem<Forbidden>()("Forbidden", blank(403, "Forbidden"), { detail }) {}
/** 404: there is no such thing. */
export class NotFound extends Problem<NotFound>()("NotFound", blank(404, "Not Found"), { detail }) {}
/** 409: it is not the time for it. */
export class Conflict extends Problem<Conflict>()("Conflict", blank(409, "Conflict"), { detail }) {}
/** 410: it was there, and retention has taken it. */
export class Gone extends Problem<Gone>()("Gone", blank(410, "Gone"), { detail }) {}
/** 413: larger than the registry takes. */
export class TooLarge extends Problem<TooLarge>()("TooLarge", blank(413, "Content Too Large"), { detail }) {}
/** 429: too often. */
export class TooMany extends Problem<TooMany>()("TooMany", blank(429, "Too Many Requests"), {
  detail,
  /** Milliseconds to wait. */
  retry_after_ms: Schema.Natural
}) {}
/** 503: the database does not answer; nothing was done. */
export class Unavailable extends Problem<Unavailable>()("Unavailable", blank(503, "Service Unavailable"), { detail }) {}

/** 507: there is no room for it (RFC 4918, 11.5; for quotas RFC 4331). Whose bound was reached, in what, and how much that is. */
export class Full extends Problem<Full>()("Full", blank(507, "Insufficient Storage"), {
  detail,
  of: Schema.Literals(["session", "identity", "strangers", "all"]),
  what: Schema.Literals(["keys", "sessions", "bytes"]),
  limit: Schema.Natural
}) {}

/** One thing that is wrong with a request, as FastAPI tells it. */
export const Fault = Schema.Struct({
  /** `missing`, `value_error`. */
  type: Schema.String,
  /** `["body", "top_k"]`, `["query", "quality"]`. */
  loc: Schema.Array(Schema.Union([Schema.String, Schema.Finite])),
  msg: Schema.String,
  /** What stood there, cut to a bound. */
  input: Schema.optionalKey(Schema.Json)
})
/** One thing that is wrong with a request. */
export type Fault = typeof Fault.Type

/** 422: the request cannot be read; or, with a sentence as `detail`, what it says cannot be. */
export class Unprocessable extends Problem<Unprocessable>()("Unprocessable", blank(422, "Unprocessable Content"), {
  detail: Schema.Union([Schema.String, Schema.Array(Fault)])
}) {}

const titles: { readonly [status: number]: string } = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  410: "Gone",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  422: "Unprocessable Content",
  426: "Upgrade Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  503: "Service Unavailable",
  507: "Insufficient Storage"
}

/** A problem's JSON. */
export const body = (status: number, detail: string | ReadonlyArray<Fault>): string =>
  JSON.stringify({ type: "about:blank", title: titles[status] ?? "Error", status, detail })

/** A problem as a response, for where no endpoint is concerned: the router, limits, sockets before the upgrade. */
export const response = (
  status: number,
  detail: string | ReadonlyArray<Fault>,
  headers: { readonly [name: string]: string } = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(body(status, detail), { status, headers, contentType: "application/problem+json" })

/** 429 with `Retry-After` in whole seconds, as RFC 9110 wants it. */
export const tooMany = (detail: string, retryAfterMs: number): HttpServerResponse.HttpServerResponse =>
  response(429, detail, { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1_000))) })

/** The problem that an authentication failure is. */
export const ofAuth = (error: AuthError): Unauthorized | Forbidden | NotFound | TooMany | Unavailable => {
  const { code, detail } = error
  switch (code) {
    case "Forbidden":
      return new Forbidden({ detail })
    case "Unknown":
      return new NotFound({ detail })
    case "Limited":
      return new TooMany({ detail, retry_after_ms: error.retryAfterMs ?? 1_000 })
    case "Unavailable":
      return new Unavailable({ detail })
    case "Missing":
    case "Expired":
    case "Invalid":
      return new Unauthorized({ detail })
  }
}

const format = SchemaIssue.makeFormatterStandardSchemaV1()
const slots = { Params: "path", Headers: "header", Query: "query", Payload: "body" } as const

const at = (input: unknown, path: ReadonlyArray<string | number>): unknown => {
  let value = input
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as { readonly [key: string]: unknown })[key]
  }
  return value
}

const shown = (value: unknown): { readonly input?: Schema.Json } => {
  if (value === undefined) return {}
  const text = JSON.stringify(value)
  // As JSON has it: 1e400 was read as a number that JSON cannot write.
  return {
    input: text.length <= MAX_FAULT_INPUT ? (parsed(text) as Schema.Json) : `${text.slice(0, MAX_FAULT_INPUT)}…`
  }
}

const kindOf = (message: string): string =>
  message.startsWith("Missing") ? "missing" : message.includes("valid JSON") ? "json_invalid" : "value_error"

/** What is wrong with a request, from what its schema says. */
export const faults = (slot: keyof typeof slots, error: Schema.SchemaError, input?: unknown): ReadonlyArray<Fault> =>
  format(error.issue)
    .issues.slice(0, MAX_FAULTS)
    .map(({ message, path }) => {
      const where = (path ?? []).map((segment) => {
        const key = typeof segment === "object" ? segment.key : segment
        return typeof key === "number" ? key : String(key)
      })
      const type = kindOf(message)
      return {
        type,
        loc: [slots[slot], ...where],
        msg: type === "missing" ? "Field required" : message,
        // As FastAPI: what misses a member is shown, since the member is not there.
        ...shown(at(input, type === "missing" ? where.slice(0, -1) : where))
      }
    })

/** Endpoints read their requests under this: what cannot be read becomes an `Unprocessable`, what is too large a `TooLarge`. */
export class Readable extends HttpApiMiddleware.Service<Readable>()("@parley/registry/Problem/Readable", {
  error: [Unprocessable, TooLarge, BadRequest]
}) {}

/** Whether JSON text nests at most as deep as anything taken from a peer: deeper would exhaust the stack of who reads it. */
const isShallow = (text: string): boolean => {
  let depth = 0
  let inString = false
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (inString) {
      if (code === 92) i++
      else if (code === 34) inString = false
    } else if (code === 34) inString = true
    else if (code === 123 || code === 91) {
      if (++depth > MAX_DEPTH) return false
    } else if (code === 125 || code === 93) depth--
  }
  return true
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What stood in the slot that could not be read; a request keeps its body's text. */
const inputOf = (
  kind: HttpApiSchemaError["kind"]
): Effect.Effect<unknown, never, HttpServerRequest | ParsedSearchParams> => {
  if (kind === "Query") return Effect.map(ParsedSearchParams, (params): unknown => params)
  if (kind !== "Payload") return Effect.void
  return Effect.flatMap(HttpServerRequest, (request) =>
    Effect.orElseSucceed(Effect.map(request.text, parsed), () => undefined)
  )
}

const readBody = Effect.flatMap(HttpServerRequest, (request) =>
  Effect.matchEffect(request.text, {
    onSuccess: (text) =>
      isShallow(text)
        ? Effect.void
        : Effect.fail(
            new Unprocessable({
              detail: [
                { type: "value_error", loc: ["body"], msg: `Nested deeper than ${MAX_DEPTH} levels: flatten it` }
              ]
            })
          ),
    onFailure: ({ reason }) =>
      Effect.fail(
        reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge"
          ? new TooLarge({ detail: "The body is larger than this registry takes: send less" })
          : new BadRequest({ detail: "The body ended before it was whole: send it again" })
      )
  })
)

/** Tells what cannot be read. What the registry itself cannot write stays a defect. */
export const layerReadable = Layer.succeed(Readable, (effect, { endpoint }) => {
  const read = Effect.catch(
    effect,
    (
      error
    ): Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      unhandled | Unprocessable,
      HttpServerRequest | ParsedSearchParams
    > => {
      if (!HttpApiSchemaError.is(error)) return Effect.fail(error)
      const { cause, kind } = error
      if (kind === "Body" || kind === "ResponseHeaders") return Effect.die(error)
      return Effect.flatMap(inputOf(kind), (input) =>
        Effect.fail(new Unprocessable({ detail: faults(kind, cause, input) }))
      )
    }
  )
  return endpoint.payload.size === 0 ? read : Effect.andThen(readBody, read)
})
