/**
 * Cors: which web pages may use a registry.
 *
 * The registry's own pages, and those of configured origins. Whoever else reads it across origins is stopped by the browser
 * (Fetch, "CORS protocol"); WebSockets know no such check, so it is made here before the upgrade. Nothing rests on cookies, and
 * no answer ever says `*` or allows credentials.
 */
import * as Effect from "effect/Effect"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Loopback from "./Loopback.ts"
import * as Problem from "./Problem.ts"

/** How long a browser may remember what it was allowed, in seconds. */
export const MAX_AGE_S = 600
/** Most origins that are configured: each request is compared with them. */
export const MAX_ORIGINS = 64

/** Which pages, beside the registry's own. */
export interface Options {
  /** `https://dashboard.example`: scheme, host and port, nothing else. */
  readonly origins?: ReadonlyArray<string>
  /** The registry asks nobody who they are: it then answers under loopback names and to loopback's pages alone. */
  readonly open?: boolean
}

/** The configured origins as browsers write them; throws a `RangeError` that names the one that is none. */
export const originsOf = (origins: ReadonlyArray<string>): ReadonlySet<string> => {
  if (origins.length > MAX_ORIGINS) throw new RangeError(`${origins.length} origins, at most ${MAX_ORIGINS} are taken`)
  return new Set(
    origins.map((text) => {
      const url = URL.canParse(text) && !text.includes("*") ? new URL(text) : undefined
      const isHttp = url?.protocol === "http:" || url?.protocol === "https:"
      if (url !== undefined && isHttp && url.href === `${url.origin}/`) return url.origin
      throw new RangeError(
        `Not an origin: ${JSON.stringify(text)}; write https://host or https://host:port, and never *`
      )
    })
  )
}

/** Whether a page's origin is the host that it asks, under whatever scheme: a proxy in front may have ended TLS. */
export const isOwn = (origin: string, host: string | undefined): boolean => {
  if (host === undefined || !URL.canParse(origin)) return false
  const page = new URL(origin)
  return (page.protocol === "http:" || page.protocol === "https:") && page.host === host.toLowerCase()
}

const isUpgrade = (request: HttpServerRequest): boolean =>
  (request.headers["upgrade"] ?? "").toLowerCase() === "websocket"

/** Answers preflights, adds the headers that browsers look for, and refuses sockets of other pages with 403. */
export const middleware = (options: Options = {}) => {
  const origins = originsOf(options.origins ?? [])
  const cors = HttpMiddleware.cors({
    allowedOrigins: (origin) => origins.has(origin),
    allowedMethods: ["GET", "HEAD", "PUT", "POST", "DELETE"],
    allowedHeaders: ["authorization", "content-type", "if-none-match", "last-event-id"],
    exposedHeaders: ["etag", "link", "retry-after"],
    maxAge: MAX_AGE_S
  })
  return <E, R>(
    app: Effect.Effect<HttpServerResponse, E, R>
  ): Effect.Effect<HttpServerResponse, E, R | HttpServerRequest> => {
    const withCors = cors(app)
    return Effect.flatMap(HttpServerRequest, (request) => {
      const { host, origin } = request.headers
      if (options.open === true) {
        const forwarded = request.headers["x-forwarded-for"] ?? request.headers["forwarded"]
        const refused = Loopback.refusesRequest(host, origin, origins, forwarded)
        if (refused !== undefined) return Effect.succeed(Problem.response(403, refused))
      }
      if (origin === undefined) return app
      if (isUpgrade(request) && !origins.has(origin) && !isOwn(origin, host)) {
        // In open mode, loopback's pages may: a dashboard under development stands at another port.
        const isLocal = options.open === true && Loopback.refusesRequest(host, origin) === undefined
        if (!isLocal) {
          return Effect.succeed(Problem.response(403, "Sockets of this page's origin are not allowed here"))
        }
      }
      return withCors
    })
  }
}
