/**
 * RateLimits: how much one address, and one identity, may ask of a registry's HTTP.
 *
 * Each request takes as many units as what it does costs, from the bucket of its address and, where it shows a token, from that
 * of whoever the token speaks for. Where a bucket is empty the answer is 429 with `Retry-After`, before anything is read. With
 * Redis the buckets are those of all instances.
 */
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import ipaddr, { type IPv6 } from "ipaddr.js"
import { remembered } from "./internal/Remembered.ts"
import { type Bucket, Limits } from "./Limits.ts"
import * as Loopback from "./Loopback.ts"
import { Auth, type Principal } from "./Principal.ts"
import * as Problem from "./Problem.ts"

/** Units of one address: a building full of agents behind one router. */
export const ADDRESS: Bucket = { perSecond: 2_000, burst: 10_000 }
/** Units of one identity: an agent that works without pause, and reports and traces each task. */
export const IDENTITY: Bucket = { perSecond: 1_000, burst: 5_000 }
/** Sign-ins of one address: a fleet of five hundred that comes back at once, two requests each. */
export const SIGN_IN: Bucket = { perSecond: 50, burst: 1_000 }
/** Tokens of one address that are none: a node whose token has ended asks for another, and does not try on and on. */
export const BAD_TOKENS: Bucket = { perSecond: 10, burst: 200 }

/** How much. */
export interface Options {
  readonly address?: Bucket
  readonly identity?: Bucket
  readonly signIn?: Bucket
  readonly badTokens?: Bucket
  /** Programs of this machine are not limited by address; for a registry that serves nobody else. */
  readonly exemptLoopback?: boolean
}

/** What a request does. */
export type Class = "read" | "search" | "write" | "verdict" | "signIn" | "socket"

/** Units that a request of a class takes. A verdict may bring 600 receipts, whose signatures take 50 ms. */
export const COSTS: { readonly [K in Class]: number } = {
  read: 1,
  search: 2,
  write: 2,
  verdict: 200,
  signIn: 5,
  socket: 5
}

/** The class of a request, by its method and path. */
export const classOf = (method: string, path: string, isUpgrade: boolean): Class => {
  if (isUpgrade || path === "/events") return "socket"
  if (path === "/auth/challenge" || path === "/auth/proof" || path === "/auth/token") return "signIn"
  if (path === "/verdicts" && method === "POST") return "verdict"
  if (path === "/discover" || path === "/nodes/search" || path === "/capabilities" || path === "/traces") {
    return method === "POST" && path === "/traces" ? "write" : "search"
  }
  return method === "GET" || method === "HEAD" || method === "OPTIONS" ? "read" : "write"
}

/** An address as it is counted: an IPv6 customer has a whole /64, and `::ffff:1.2.3.4` is 1.2.3.4. */
export const counted: (address: string) => string = remembered((address) => {
  const text = address.replace(/%.*$/, "")
  if (!ipaddr.isValid(text)) return "unknown"
  const parsed = ipaddr.parse(text)
  if (parsed.kind() === "ipv4") return parsed.toString()
  const six = parsed as IPv6
  if (six.isIPv4MappedAddress()) return six.toIPv4Address().toString()
  return `${six.parts
    .slice(0, 4)
    .map((part) => part.toString(16))
    .join(":")}::/64`
})

/** The remote address of a request, as a proxy that is trusted says it, else as the socket does. */
export const addressOf = (request: HttpServerRequest): string =>
  Option.getOrElse(request.remoteAddress, () => "").replace(/^::ffff:(?=\d+\.)/i, "")

/** What stood after `Authorization: Bearer `; `undefined` where nothing did. */
export const tokenOf = (request: HttpServerRequest): string | undefined => {
  const match = /^Bearer +(\S+) *$/i.exec(request.headers["authorization"] ?? "")
  return match?.[1]
}

const pathOf = (url: string): string => {
  const end = url.search(/[?#]/)
  return end < 0 ? url : url.slice(0, end)
}

/** Counts requests; refuses those beyond. */
export const middleware =
  (options: Options = {}) =>
  <E, R>(
    app: Effect.Effect<HttpServerResponse, E, R>
  ): Effect.Effect<HttpServerResponse, E, R | HttpServerRequest | Limits | Auth> => {
    const ofAddress = options.address ?? ADDRESS
    const ofIdentity = options.identity ?? IDENTITY
    const ofSignIn = options.signIn ?? SIGN_IN
    const ofBadTokens = options.badTokens ?? BAD_TOKENS
    const refuse = (who: string, waitMs: number) =>
      Effect.succeed(Problem.tooMany(`${who} asks too often; wait as long as Retry-After says`, waitMs))
    return Effect.gen(function* () {
      const request = yield* HttpServerRequest
      const limits = yield* Limits
      const address = addressOf(request)
      const key = counted(address)
      const isExempt = options.exemptLoopback === true && Loopback.isLoopback(address)
      const isUpgrade = request.headers["upgrade"] !== undefined
      const kind = classOf(request.method, pathOf(request.url), isUpgrade)
      if (!isExempt) {
        const wait = yield* limits.take(`http:address:${key}`, ofAddress, COSTS[kind])
        if (wait > 0) return yield* refuse("This address", wait)
        if (kind === "signIn") {
          const more = yield* limits.take(`http:sign-in:${key}`, ofSignIn)
          if (more > 0) return yield* refuse("This address", more)
        }
      }
      const token = tokenOf(request)
      if (token === undefined) return yield* app
      const auth = yield* Auth
      const principal = yield* Effect.match(auth.identify({ token, address }), {
        onFailure: (failure): Principal | "Invalid" | undefined => (failure.code === "Invalid" ? "Invalid" : undefined),
        onSuccess: (found) => found
      })
      if (principal === "Invalid") {
        const wait = isExempt ? 0 : yield* limits.take(`http:bad-token:${key}`, ofBadTokens)
        if (wait > 0) return yield* refuse("With tokens that are none, this address", wait)
      } else if (principal !== undefined && principal.kind !== "local" && principal.kind !== "operator") {
        const wait = yield* limits.take(`http:identity:${principal.id}`, ofIdentity, COSTS[kind])
        if (wait > 0) return yield* refuse(principal.id, wait)
      }
      return yield* app
    })
  }
