/**
 * HttpBounds: what a stranger may send over HTTP, and how long he may take.
 *
 * `serverOptions` bound what node:http reads before a request is one (headers, time, connections; honoured by Bun and Deno);
 * `answerRefused` makes problems of what it refuses; `middleware` bounds the rest before a body is read.
 */
import type { Server, ServerOptions } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as Headers from "effect/http/Headers"
import { MaxBodySize } from "effect/http/HttpIncomingMessage"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as UrlParams from "effect/http/UrlParams"
import * as Problem from "./Problem.ts"

/** Largest body, in bytes: an agent record of 64 KiB or a certificate of a thousand receipts fits several times. */
export const MAX_BODY_BYTES = 1_048_576
/** Longest request line and headers together, in bytes: a token of 2 KiB, and whatever proxies add. */
export const MAX_HEADER_BYTES = 16_384
/** Longest URL, in characters: a search with all its filters. */
export const MAX_URL_LENGTH = 4_096
/** Longest time for the headers, in milliseconds: a few KiB over the slowest link. */
export const HEADERS_MS = 10_000
/** Longest time for a request with its body, in milliseconds: 1 MiB at 35 KB/s. */
export const REQUEST_MS = 30_000
/** How long an idle connection is kept for its next request, in milliseconds: longer than a balancer's pause. */
export const KEEP_ALIVE_MS = 65_000
/** How often connections are looked at for their time, in milliseconds. */
export const CHECK_MS = 1_000
/** Most requests over one connection: then it is opened anew, which evens out instances behind a balancer. */
export const MAX_REQUESTS_OF_CONNECTION = 100_000
/** Most connections of one instance, sockets with them: what 1 GiB carries. */
export const MAX_CONNECTIONS = 12_000

/** Time-outs that tests make shorter. */
export interface Times {
  readonly headersMs?: number
  readonly requestMs?: number
  readonly keepAliveMs?: number
  readonly checkMs?: number
}

/** For `http.createServer`. */
export const serverOptions = (times: Times = {}): ServerOptions => ({
  maxHeaderSize: MAX_HEADER_BYTES,
  headersTimeout: times.headersMs ?? HEADERS_MS,
  requestTimeout: times.requestMs ?? REQUEST_MS,
  keepAliveTimeout: times.keepAliveMs ?? KEEP_ALIVE_MS,
  connectionsCheckingInterval: times.checkMs ?? CHECK_MS,
  insecureHTTPParser: false,
  requireHostHeader: true
})

const refusals: { readonly [code: string]: readonly [status: number, reason: string, detail: string] } = {
  HPE_HEADER_OVERFLOW: [
    431,
    "Request Header Fields Too Large",
    `The request line and headers are longer than ${MAX_HEADER_BYTES} bytes`
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout", "The request took too long to arrive"]
}

/** What goes out on a connection whose bytes are no request. */
const refusal = (code: string | undefined): string => {
  const [status, reason, detail] = refusals[code ?? ""] ?? [400, "Bad Request", "The bytes are no HTTP/1.1 request"]
  const body = Problem.body(status, detail)
  return [
    `HTTP/1.1 ${status} ${reason}`,
    "Content-Type: application/problem+json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
    "",
    body
  ].join("\r\n")
}

/** Answers with a problem what node:http refuses, and bounds its connections. Gives the server back. */
export const answerRefused = <S extends Server>(server: S, maxConnections: number = MAX_CONNECTIONS): S => {
  // Counted here: Bun knows no `server.maxConnections`. It tells of a connection with its first bytes; time ends silent ones.
  let open = 0
  server.on("connection", (socket: Socket) => {
    open += 1
    socket.once("close", () => {
      open -= 1
    })
    if (open > maxConnections) socket.destroy()
  })
  server.maxRequestsPerSocket = MAX_REQUESTS_OF_CONNECTION
  server.on("clientError", (error: Error & { readonly code?: string }, socket: Duplex) => {
    if (error.code === "ECONNRESET" || !socket.writable) socket.destroy()
    else socket.end(refusal(error.code), () => socket.destroy())
  })
  return server
}

/** Said with every answer: types are not guessed, nobody frames the dashboard, and its scripts are its own. */
export const SECURITY_HEADERS = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin"
} as const

/**
 * The dashboard's pages: scripts from here alone, styles that a chart library sets, pictures that it draws, and this registry's
 * sockets.
 */
export const PAGE_POLICY =
  "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
  "font-src 'self' data:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"

/** A request whose `?token=` stands in `Authorization`, where nothing logs it; a browser cannot set headers on a socket. */
export const withoutQueryToken = (request: HttpServerRequest): HttpServerRequest => {
  const start = request.url.indexOf("?")
  if (start < 0 || !request.url.includes("token=", start)) return request
  const params = new URLSearchParams(request.url.slice(start + 1))
  const token = params.get("token")
  if (token === null) return request
  params.delete("token")
  const rest = params.toString()
  const headers =
    request.headers["authorization"] !== undefined || !/^\S+$/.test(token)
      ? request.headers
      : Headers.set(request.headers, "authorization", `Bearer ${token}`)
  return request.modify({ url: request.url.slice(0, start) + (rest === "" ? "" : `?${rest}`), headers })
}

const redactedParams = ["token", "secret", "access_token", "signature"]

/** Bounds URL and body, hides tokens from logs, and adds what browsers should know. The outermost middleware. */
export const middleware = <E, R>(
  app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest> => {
  const bounded = app.pipe(
    Effect.provideService(MaxBodySize, ByteSize.fromInputUnsafe(MAX_BODY_BYTES)),
    Effect.provideService(UrlParams.CurrentRedactedNames, redactedParams),
    Effect.updateService(HttpServerRequest, withoutQueryToken)
  )
  const judged = Effect.flatMap(HttpServerRequest, (request) => {
    if (request.url.length > MAX_URL_LENGTH) {
      return Effect.succeed(Problem.response(414, `The URL is longer than ${MAX_URL_LENGTH} characters`))
    }
    const length = request.headers["content-length"]
    if (length !== undefined && Number(length) > MAX_BODY_BYTES) {
      return Effect.succeed(
        Problem.response(413, `The body has ${length} bytes, at most ${MAX_BODY_BYTES} are read`, {
          connection: "close"
        })
      )
    }
    return bounded
  })
  return Effect.map(judged, HttpServerResponse.setHeaders(SECURITY_HEADERS))
}
