/**
 * What no endpoint has answered: unknown paths, methods that a path does not have, answers that are no problems yet, and defects.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as FindMyWay from "effect/http/FindMyWay"
import { HttpServerError } from "effect/http/HttpServerError"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { Api } from "../Api.ts"
import type { Pages } from "../Pages.ts"
import * as Problem from "../Problem.ts"

const METHODS = ["GET", "POST", "PUT", "DELETE"] as const

/** Routes beside the contract's. */
const others = ["/openapi.json", "/docs", "/metrics", "/events", "/ws/events", "/ws/dashboard", "/ws/heartbeat/:id"]

interface Endpoints {
  readonly endpoints: {
    readonly [identifier: string]: { readonly method: string; readonly path: FindMyWay.PathInput }
  }
}

/** Which methods a path has. */
const makeAllowed = () => {
  const router = FindMyWay.make<true>({ maxParamLength: 1_024 })
  for (const { endpoints } of Object.values<Endpoints>(Api.groups)) {
    for (const { method, path } of Object.values(endpoints)) router.on(method, path, true)
  }
  for (const path of others) router.on("GET", path as FindMyWay.PathInput, true)
  return (url: string): ReadonlyArray<string> => METHODS.filter((method) => router.find(method, url) !== undefined)
}

const pathOf = (url: string): string => url.split(/[?#]/, 1)[0]!

/** An answer that says no without being a problem becomes one; what RFC 9110 wants beside a status is added. */
const asProblem = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const { body, headers, status } = response
  if (status < 400) return response
  if (status === 401 && headers["www-authenticate"] === undefined) {
    return HttpServerResponse.setHeader(response, "www-authenticate", "Bearer")
  }
  if (status === 429 && headers["retry-after"] === undefined && body._tag === "Uint8Array") {
    const wait = /"retry_after_ms":(\d+)/.exec(body.text ?? new TextDecoder().decode(body.body))?.[1]
    return HttpServerResponse.setHeader(
      response,
      "retry-after",
      String(Math.max(1, Math.ceil(Number(wait ?? 1_000) / 1_000)))
    )
  }
  if (status === 415) return Problem.response(415, "Send JSON, with content-type: application/json")
  return response
}

/** Answers what the router and the endpoints have not. `pages` are looked at before a path counts as unknown. */
export const middleware = (pages: Pages) => {
  const allowed = makeAllowed()
  const unknown = Effect.flatMap(HttpServerRequest, (request) => {
    const { method, url } = request
    const methods = allowed(url)
    if (methods.length > 0) {
      const allow = methods.includes("GET") ? [...methods, "HEAD"].join(", ") : methods.join(", ")
      return Effect.succeed(
        Problem.response(405, `${pathOf(url).slice(0, 200)} has no ${method.slice(0, 20)}: it has ${allow}`, { allow })
      )
    }
    const missing = Problem.response(404, `There is nothing at ${pathOf(url).slice(0, 200)}; /docs shows what there is`)
    return method === "GET" || method === "HEAD"
      ? Effect.map(pages.answer(request), (page) => page ?? missing)
      : Effect.succeed(missing)
  })
  return <E, R>(
    app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
  ): Effect.Effect<HttpServerResponse.HttpServerResponse, never, R | HttpServerRequest> =>
    Effect.matchCauseEffect(app, {
      onSuccess: (response) => Effect.succeed(asProblem(response)),
      onFailure: (cause) => {
        const error = Cause.squash(cause)
        if (error instanceof HttpServerError) {
          const { reason } = error
          if (reason._tag === "RouteNotFound") return unknown
          if (reason._tag === "RequestParseError") {
            return Effect.succeed(
              reason.reason === "BodyTooLarge"
                ? Problem.response(413, "The body is larger than this registry takes: send less")
                : Problem.response(400, "The request cannot be read")
            )
          }
        }
        // Who asked has gone: there is nobody to answer.
        if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        return Effect.as(
          Effect.logError("A request failed", cause),
          Problem.response(500, "The registry failed at this; it has noted why")
        )
      }
    })
}
