/**
 * Proxies: who asks, where balancers and TLS terminators stand in front.
 *
 * Without this all requests come from the proxy's address: its limits are everybody's, and in `secret` mode an agent's grant
 * is good for whoever comes through it. With it the address is the one that the trusted proxies have written into
 * `X-Forwarded-For`; what a client wrote there itself is not believed, nor is any of it from an untrusted peer.
 */
import type * as Effect from "effect/Effect"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as IpNetwork from "effect/net/IpNetwork"
import * as Result from "effect/Result"

/** Most networks of proxies that are configured: each request's peer is compared with them. */
export const MAX_PROXIES = 64

/** Networks from `10.0.0.0/8` or single addresses; throws a `RangeError` that names what is neither. */
export const networksOf = (texts: ReadonlyArray<string>): ReadonlyArray<IpNetwork.IpNetwork> => {
  if (texts.length > MAX_PROXIES) throw new RangeError(`${texts.length} proxies, at most ${MAX_PROXIES} are taken`)
  return texts.map((text) => {
    const network = IpNetwork.fromString(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`)
    if (Result.isFailure(network))
      throw new RangeError(`Not a network: ${JSON.stringify(text)}; write 10.0.0.0/8 or 10.0.0.1`)
    return network.success
  })
}

/** Puts the client's address into the request, where a trusted proxy says it. */
export const middleware = (
  trusted: ReadonlyArray<string>
): (<E, R>(
  app: Effect.Effect<HttpServerResponse, E, R>
) => Effect.Effect<HttpServerResponse, E, R | HttpServerRequest>) => {
  const trustedProxies = networksOf(trusted)
  return trustedProxies.length === 0 ? (app) => app : HttpMiddleware.xForwardedHeaders({ trustedProxies })
}
