/**
 * Who opens a socket: by `Authorization`, by `?token=` (browsers cannot set headers), or by a first frame
 * `{"type":"auth","token":"…"}`. Tokens are never logged, and stand in no message.
 */
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import { Auth, type AuthError, type Principal } from "../Principal.ts"
import * as Problem from "../Problem.ts"
import { addressOf } from "../RateLimits.ts"
import { Code, type SocketConnection, SocketGone } from "./SocketConnection.ts"

/** How long a client may take to say who it is after the upgrade, in milliseconds: a slow link's round trips. */
export const AUTH_MS = 5_000
/** Longest token, in characters: far above what this registry gives out. */
export const MAX_TOKEN_LENGTH = 8_192

/** The query of a request's URL. */
export const queryOf = (request: HttpServerRequest): URLSearchParams => {
  const at = request.url.indexOf("?")
  return new URLSearchParams(at < 0 ? "" : request.url.slice(at + 1))
}

const tokenOf = (request: HttpServerRequest): string | undefined => {
  const header = /^Bearer +(\S+) *$/i.exec(request.headers["authorization"] ?? "")
  return header?.[1] ?? queryOf(request).get("token") ?? undefined
}

const STATUS: { readonly [code in AuthError["code"]]: number } = {
  Missing: 401,
  Expired: 401,
  Invalid: 401,
  Forbidden: 403,
  Unknown: 404,
  Limited: 429,
  Unavailable: 503
}

const refusal = (error: AuthError): HttpServerResponse =>
  error.code === "Limited"
    ? Problem.tooMany(error.detail, error.retryAfterMs ?? 1_000)
    : Problem.response(
        STATUS[error.code],
        error.detail,
        STATUS[error.code] === 401 ? { "www-authenticate": "Bearer" } : {}
      )

/** Who asks; `undefined` where no token came and one is needed; or the refusal. */
export const identify = (
  request: HttpServerRequest
): Effect.Effect<{ readonly who?: Principal; readonly refused?: HttpServerResponse }, never, Auth> =>
  Effect.flatMap(Auth, (auth) => {
    const token = tokenOf(request)
    const credentials = { address: addressOf(request), ...(token === undefined ? {} : { token }) }
    return auth.identify(credentials).pipe(
      Effect.map((who) => ({ who })),
      Effect.catch((error) =>
        Effect.succeed(error.code === "Missing" && token === undefined ? {} : { refused: refusal(error) })
      )
    )
  })

/** An error frame. */
export const errorFrame = (detail: string): string => JSON.stringify({ type: "error", detail })

/** Tells why in an error frame, and closes. */
export const refuse = (connection: SocketConnection, code: number, detail: string): Effect.Effect<never, SocketGone> =>
  connection
    .send(errorFrame(detail))
    .pipe(
      Effect.andThen(connection.close(code, detail)),
      Effect.andThen(Effect.fail(new SocketGone({ why: "Closed" })))
    )

const tokenIn = (frame: string | undefined): string | undefined => {
  try {
    const value: unknown = JSON.parse(frame ?? "")
    if (typeof value !== "object" || value === null || !("type" in value) || !("token" in value)) return undefined
    const { token, type } = value
    return type === "auth" && typeof token === "string" && token.length <= MAX_TOKEN_LENGTH ? token : undefined
  } catch {
    return undefined
  }
}

/** Waits for the first frame to say who it is. */
export const introduced = (connection: SocketConnection, address: string): Effect.Effect<Principal, SocketGone, Auth> =>
  Effect.gen(function* () {
    const auth = yield* Auth
    const frame = yield* Effect.timeoutOrElse(connection.receive, {
      duration: AUTH_MS,
      orElse: () => refuse(connection, Code.Policy, `No {"type":"auth","token":…} came within ${AUTH_MS / 1_000} s`)
    })
    const token = tokenIn(frame)
    if (token === undefined) {
      return yield* refuse(
        connection,
        Code.Policy,
        'Say who you are: a token in Authorization, in ?token=, or as first frame {"type":"auth","token":…}'
      )
    }
    return yield* Effect.catch(auth.identify({ token, address }), (error) =>
      refuse(connection, Code.Policy, error.detail)
    )
  })
