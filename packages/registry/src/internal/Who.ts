/** Who asks: what transport and headers say, and what they prove. */
import * as Effect from "effect/Effect"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { Caller, Identified } from "../Api.ts"
import { Auth, type Credentials, type Principal } from "../Principal.ts"
import { ofAuth } from "../Problem.ts"
import { addressOf, tokenOf } from "../RateLimits.ts"

/** What transport and headers say. */
export const credentialsOf = (request: HttpServerRequest): Credentials => {
  const token = tokenOf(request)
  return {
    address: addressOf(request),
    ...(token === undefined ? {} : { token }),
    ...(request.headers["origin"] === undefined ? {} : { isPage: true })
  }
}

/** The endpoints' middleware: tells them who asks, or refuses. */
export const layer: Layer.Layer<Identified, never, Auth> = Layer.effect(
  Identified,
  Effect.map(Auth, (auth) =>
    Identified.of({
      bearer: (effect, { credential }) =>
        Effect.flatMap(HttpServerRequest, (request) => {
          const token = Redacted.value(credential)
          const credentials = { address: addressOf(request), ...(token === "" ? {} : { token }) }
          return Effect.matchEffect(auth.identify(credentials), {
            onFailure: (error) => Effect.fail(ofAuth(error)),
            onSuccess: (principal) => Effect.provideService(effect, Caller, principal)
          })
        })
    })
  )
)

/** Who a report, a verdict or a trace is from; nobody in particular has no name. */
export const nameOf = (principal: Principal): string => (principal.kind === "local" ? "" : principal.id)
