/**
 * Why a registry did not do what it was asked: what was tried, what came back, what to do.
 */
import * as Effect from "effect/Effect"
import { HttpClientError } from "effect/http/HttpClientError"
import * as Schema from "effect/Schema"

/** Longest part of a registry's own words that is repeated, in characters: it may be anybody. */
export const MAX_DETAIL_LENGTH = 500

/** What kind of no it is. */
export const Code = Schema.Literals([
  /** `at` is no URL of a registry. */
  "BadUrl",
  /** Nobody answered, or not in time. */
  "Unreachable",
  /** 401 or 403: the registry does not let this node in, or not do this. */
  "Refused",
  "NotFound",
  /** 409: it is there already, or was done before. */
  "Conflict",
  /** 410: retention has taken it. */
  "Gone",
  /** 400, 413 or 422: the registry cannot take what was sent. */
  "Unfit",
  /** 429: too often. */
  "TooMany",
  /** 5xx: the registry cannot do it now; nothing was done. */
  "Unavailable",
  /** What came back is no answer of a registry. */
  "Malformed"
])
/** What kind of no it is. */
export type Code = typeof Code.Type

/** A registry did not do what it was asked. */
export class RegistryError extends Schema.TaggedError<RegistryError>()("RegistryError", {
  code: Code,
  /** The registry's URL. */
  at: Schema.String,
  /** What was tried: `search`, `keep the record`. */
  operation: Schema.String,
  detail: Schema.String,
  status: Schema.optionalKey(Schema.Int),
  /** Milliseconds to wait, where the registry says so. */
  retryAfterMs: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return `registry ${this.at}: ${this.operation}: ${this.detail}`
  }
}

/** What kind of no a status is. */
export const codeOf = (status: number): Code => {
  if (status === 401 || status === 403) return "Refused"
  if (status === 404) return "NotFound"
  if (status === 409) return "Conflict"
  if (status === 410) return "Gone"
  if (status === 429) return "TooMany"
  if (status >= 500) return "Unavailable"
  return status >= 400 ? "Unfit" : "Malformed"
}

const cut = (text: string): string => (text.length > MAX_DETAIL_LENGTH ? `${text.slice(0, MAX_DETAIL_LENGTH)}…` : text)

const describe = (detail: unknown): string => {
  if (typeof detail === "string") return detail
  if (!Array.isArray(detail)) return "it gave no reason"
  return detail
    .map((fault: unknown) => {
      const { loc, msg } = (fault ?? {}) as { readonly loc?: unknown; readonly msg?: unknown }
      return `${Array.isArray(loc) ? loc.join(".") : ""} ${String(msg)}`.trim()
    })
    .join("; ")
}

/** The error that a problem's JSON (RFC 9457) is. */
export const ofProblem = (at: string, operation: string, status: number, problem: unknown): RegistryError => {
  const { detail, retry_after_ms: wait } = (problem ?? {}) as {
    readonly detail?: unknown
    readonly retry_after_ms?: unknown
  }
  const code = codeOf(status)
  const advice =
    code === "Malformed" || (code === "NotFound" && detail === undefined)
      ? "; is there a registry at this address?"
      : code === "Unavailable"
        ? "; nothing was done, try again"
        : ""
  return new RegistryError({
    code,
    at,
    operation,
    status,
    detail: cut(`it answered ${status}: ${describe(detail)}${advice}`),
    ...(typeof wait === "number" && wait >= 0 ? { retryAfterMs: wait } : {})
  })
}

const causeOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return cause === undefined ? "" : String(cause)
  const code =
    "code" in cause && typeof cause.code === "string" && !cause.message.includes(cause.code) ? ` (${cause.code})` : ""
  const inner = cause.cause instanceof Error ? `: ${cause.cause.message}` : ""
  return `${cause.message}${code}${inner}`
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What came was a success, and could not be read to its end. */
const brokenOff = (at: string, operation: string, reason: HttpClientError["reason"]): RegistryError => {
  const cause = "cause" in reason ? reason.cause : undefined
  return cause instanceof SyntaxError
    ? new RegistryError({ code: "Malformed", at, operation, detail: cut(`its answer is no JSON: ${cause.message}`) })
    : new RegistryError({
        code: "Unreachable",
        at,
        operation,
        detail: "the connection was lost while it answered; try again"
      })
}

/** Whatever an endpoint failed with, as a `RegistryError`. */
export const from = (at: string, operation: string, cause: unknown): Effect.Effect<RegistryError> => {
  if (cause instanceof RegistryError) {
    const detail = cause.operation === operation ? cause.detail : `${cause.operation}: ${cause.detail}`
    return Effect.succeed(new RegistryError({ ...cause, operation, detail }))
  }
  if (cause instanceof HttpClientError) {
    const { reason } = cause
    if ("response" in reason) {
      const { response } = reason
      if (response.status < 400) return Effect.succeed(brokenOff(at, operation, reason))
      return response.text.pipe(
        Effect.match({
          onFailure: () => ofProblem(at, operation, response.status, undefined),
          onSuccess: (text) => ofProblem(at, operation, response.status, parsed(text))
        })
      )
    }
    const why = [
      reason._tag === "TransportError" ? reason.description : undefined,
      causeOf("cause" in reason ? reason.cause : undefined)
    ]
      .filter((part) => part !== undefined && part !== "")
      .join(": ")
    const detail = cut(`it cannot be reached (${why || "no answer"}); check the address, and that it runs`)
    return Effect.succeed(new RegistryError({ code: "Unreachable", at, operation, detail }))
  }
  if (typeof cause === "object" && cause !== null && "status" in cause && typeof cause.status === "number") {
    return Effect.succeed(ofProblem(at, operation, cause.status, cause))
  }
  const detail = cut(`it answered something else than was asked for: ${causeOf(cause).replaceAll(/\s*\n\s*/g, " ")}`)
  return Effect.succeed(new RegistryError({ code: "Malformed", at, operation, detail }))
}
