/**
 * Client: a registry as a node or a program sees it, typed by the registry's own contract (`Api`).
 *
 * It logs in by signing a challenge, and renews its token before that ends. Every request has a time-out. What may be done twice
 * is tried again where nobody answered (reads, puts, searches, reports, which count once); anything is where the registry says that
 * nothing was done (429, 503). Everything that can go wrong is a `RegistryError`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type { HttpClientResponse } from "effect/http/HttpClientResponse"
import * as HttpApiClient from "effect/http-api/HttpApiClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import type * as Stream from "effect/Stream"
import { Identity } from "@parley/core/Identity"
import * as Perimeter from "@parley/core/Perimeter"
import type { NodeId } from "@parley/core/NodeId"
import { Api } from "./Api.ts"
import * as Challenge from "./Challenge.ts"
import * as EventSource from "./internal/EventSource.ts"
import * as RegistryError from "./RegistryError.ts"

export type { PublicEvent } from "./internal/EventSource.ts"

/** Longest wait for the head of an answer, in milliseconds: a search over a slow link. */
export const TIMEOUT_MS = 5_000
/** Longest time that one operation may take, with log-in and all attempts, in milliseconds. */
export const OPERATION_MS = 12_000
/** How often something is tried. */
export const ATTEMPTS = 3
/** Pause before something is tried again, in milliseconds; each time twice as long, and between half of it and all of it. */
export const RETRY_MS = 200
/** Longest pause that a registry may ask for within one operation, in milliseconds: beyond it, the operation fails. */
export const MAX_PAUSE_MS = 2_000
/** How long before its end a token is renewed, in milliseconds; at most a tenth of what it lives. */
export const RENEW_MS = 30_000

/** Which registry. */
export interface Options {
  /** `http://host:port`, or with a path where it stands behind a proxy. */
  readonly at: string
  /** Default: `TIMEOUT_MS`. */
  readonly timeoutMs?: number
}

/** The contract's groups and endpoints; each may also fail with a `RegistryError`. */
export type Endpoints = HttpApiClient.ForApi<typeof Api, RegistryError.RegistryError>

/** A registry. */
export class Client extends Context.Service<
  Client,
  {
    /** Its URL, without a slash at the end. */
    readonly at: string
    /** Whose key logs in. */
    readonly nodeId: NodeId
    /** The key that logs in. */
    readonly identity: Identity["Service"]
    /** Does one thing: `use("search", (api) => api.nodes.search({ payload: { name: "csv.*" } }))`. */
    readonly use: <A, E>(
      operation: string,
      run: (api: Endpoints) => Effect.Effect<A, E>
    ) => Effect.Effect<A, RegistryError.RegistryError>
    /**
     * What happens at the registry, in order, over one connection: from `cursor` on, or from now on. Fails when the connection
     * is lost; go on from the last event's cursor. `onOpen` runs once the registry has begun to tell.
     */
    readonly events: (
      options?: EventSource.Options
    ) => Stream.Stream<EventSource.PublicEvent, RegistryError.RegistryError>
  }
>()("@parley/registry/Client") {}

interface Login {
  readonly token: string
  readonly renewAt: number
}

/** Endpoints that ask for nobody's name; who keeps a node's lease is asked. */
const isOpenTo = (method: string, path: string): boolean =>
  (method !== "PUT" && path.startsWith("/nodes")) ||
  /^\/(auth|discover|\.well-known)(\/|$|\?)/.test(path) ||
  (method === "GET" && !/^\/(traces|memory)(\/|$|\?)/.test(path))

/** What may be done twice, for the second time changes nothing. */
const mayRepeat = (method: string, path: string): boolean =>
  method !== "POST" || /^\/(discover|nodes\/search|auth\/challenge|trust\/reports|verdicts)$/.test(path)

const jittered = (ms: number): number => ms * (0.5 + Math.random() / 2)

const retryAfterOf = (response: HttpClientResponse): number | undefined => {
  const seconds = Number(response.headers["retry-after"] ?? "none")
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined
}

const normalized = (at: string): string | undefined => {
  if (Challenge.audienceOf(at) === undefined) return undefined
  const url = new URL(at)
  return url.username !== "" || url.password !== "" ? undefined : `${url.origin}${url.pathname.replace(/\/+$/, "")}`
}

/** A redirect could lead out of the perimeter. */
const within = (http: HttpClient.HttpClient, perimeter: Perimeter.Rules): HttpClient.HttpClient =>
  perimeter === Perimeter.open
    ? http
    : HttpClient.transform(http, (effect) =>
        Effect.provideService(effect, FetchHttpClient.RequestInit, { redirect: "error" })
      )

/** A client over an `HttpClient`, under an identity. Fails when `at` is no URL of a registry. */
export const make = Effect.fn("Client.make")(function* (options: Options) {
  const identity = yield* Identity
  const perimeter = yield* Perimeter.Perimeter
  const http = within(yield* HttpClient.HttpClient, perimeter)
  const clock = yield* Clock.Clock
  const at = normalized(options.at)
  const audience = at === undefined ? undefined : Challenge.audienceOf(at)
  if (at === undefined || audience === undefined) {
    return yield* new RegistryError.RegistryError({
      code: "BadUrl",
      at: options.at,
      operation: "begin",
      detail: "this is no URL of a registry: write http://host:port or https://host"
    })
  }
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  const pathOf = (url: string): string => (url.startsWith(at) ? url.slice(at.length) : url)
  const loggingIn = yield* Semaphore.make(1)
  let login: Login | undefined

  const once = (request: HttpClientRequest.HttpClientRequest) =>
    http.execute(request).pipe(
      Effect.timeoutOrElse({
        duration: timeoutMs,
        orElse: () =>
          Effect.fail(
            new HttpClientError.HttpClientError({
              reason: new HttpClientError.TransportError({ request, description: `no answer within ${timeoutMs} ms` })
            })
          )
      })
    )

  const logIn = Effect.gen(function* () {
    const began = clock.currentTimeMillisUnsafe()
    const { challenge } = yield* bare.auth.challenge({ payload: { node: identity.nodeId } })
    const signature = Challenge.sign(identity, audience, challenge)
    const token = yield* bare.auth.proof({ payload: { node: identity.nodeId, challenge, signature } })
    const ends = token.expires_at === undefined ? undefined : DateTime.make(token.expires_at)
    const lives = ends === undefined || Option.isNone(ends) ? 0 : DateTime.toEpochMillis(ends.value) - began
    login = { token: token.access_token, renewAt: began + lives - Math.min(RENEW_MS, lives / 10) }
    return login.token
  }).pipe(
    Effect.catch((cause) => Effect.flatMap(RegistryError.from(at, "log in", cause), Effect.fail)),
    Effect.withSpan("Client.logIn")
  )

  /** A token that still lives, and is not `stale`; whoever comes while somebody logs in waits for that. */
  const tokenOf = (stale?: string) =>
    loggingIn.withPermits(1)(
      Effect.suspend(() =>
        login !== undefined && login.token !== stale && login.renewAt > clock.currentTimeMillisUnsafe()
          ? Effect.succeed(login.token)
          : logIn
      )
    )

  const send = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
    const path = pathOf(request.url)
    const isNamed = !isOpenTo(request.method, path)
    let stale: string | undefined
    for (let attempt = 1; ; attempt++) {
      const token = isNamed ? yield* tokenOf(stale) : undefined
      const result = yield* Effect.result(
        once(token === undefined ? request : HttpClientRequest.bearerToken(request, token))
      )
      const isLast = attempt >= ATTEMPTS
      const pause = jittered(RETRY_MS * 2 ** (attempt - 1))
      if (result._tag === "Failure") {
        if (isLast || !mayRepeat(request.method, path)) return yield* result.failure
        yield* Effect.sleep(pause)
        continue
      }
      const response = result.success
      if (response.status === 401 && token !== undefined && stale === undefined) {
        stale = token
        yield* Effect.ignore(response.text)
        continue
      }
      const isBusy = response.status === 429 || response.status === 503
      const wait = isBusy && !isLast ? (retryAfterOf(response) ?? pause) : Number.POSITIVE_INFINITY
      if (wait > MAX_PAUSE_MS) return response
      yield* Effect.ignore(response.text)
      yield* Effect.sleep(wait)
    }
  })

  /** One answer, under a name where the registry asks for one: in open mode it does not. */
  const sendKnown = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
    const known = login !== undefined && login.renewAt > clock.currentTimeMillisUnsafe() ? login.token : undefined
    const first = yield* once(known === undefined ? request : HttpClientRequest.bearerToken(request, known))
    if (first.status !== 401) return first
    yield* Effect.ignore(first.text)
    return yield* once(HttpClientRequest.bearerToken(request, yield* tokenOf(known)))
  })

  const bare = yield* HttpApiClient.makeWith(Api, {
    httpClient: HttpClient.transform(http, (_effect, request) => once(request)),
    baseUrl: at
  })
  const api: Endpoints = yield* HttpApiClient.makeWith(Api, {
    httpClient: HttpClient.transform(http, (_effect, request) => send(request)),
    baseUrl: at
  })

  const use = <A, E>(operation: string, run: (endpoints: Endpoints) => Effect.Effect<A, E>) =>
    run(api).pipe(
      Effect.catch((cause) => Effect.flatMap(RegistryError.from(at, operation, cause), Effect.fail)),
      Effect.timeoutOrElse({
        duration: OPERATION_MS,
        orElse: () =>
          Effect.fail(
            new RegistryError.RegistryError({
              code: "Unreachable",
              at,
              operation,
              detail: `it took more than ${OPERATION_MS} ms; try again, or use another registry`
            })
          )
      })
    )

  return Client.of({
    at,
    nodeId: identity.nodeId,
    identity,
    use,
    events: (given = {}) => EventSource.open({ at, execute: sendKnown }, given)
  })
})

/** A registry as `options` say, under the identity in context, over the runtime's `fetch`. */
export const layer = (options: Options): Layer.Layer<Client, RegistryError.RegistryError, Identity> =>
  Layer.effect(Client, make(options)).pipe(Layer.provide(FetchHttpClient.layer))
