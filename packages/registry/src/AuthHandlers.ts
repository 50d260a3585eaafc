/**
 * The handlers of signing in.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Admission } from "./Admission.ts"
import { Api } from "./Api.ts"
import * as Commands from "./Commands.ts"
import { credentialsOf } from "./internal/Who.ts"
import { FirstLeases } from "./FirstLeases.ts"
import { Ledger } from "./Ledger.ts"
import { Auth } from "./Principal.ts"
import { ofAuth } from "./Problem.ts"
import { instant } from "./RecordJson.ts"

/** The handlers of signing in. */
export const layer = HttpApiBuilder.group(
  Api,
  "auth",
  Effect.fnUntraced(function* (handlers) {
    const admission = yield* Admission
    const auth = yield* Auth
    const ledger = yield* Ledger
    const firstLeases = yield* FirstLeases
    return handlers.handleAll({
      token: Effect.fnUntraced(function* ({ payload: { agent_id, secret }, request }) {
        const credentials = credentialsOf(request)
        const { token } = yield* Effect.mapError(auth.exchange(agent_id, secret, credentials), ofAuth)
        // What has waited for this proof is registered now.
        const manifest = yield* admission.settle(agent_id, credentials.address)
        if (manifest !== undefined) {
          yield* ledger.commit(Commands.register(manifest))
          yield* firstLeases.open(agent_id)
        }
        return { access_token: token, token_type: "bearer" as const }
      }),
      challenge: Effect.fnUntraced(function* ({ payload: { node } }) {
        const { challenge, expiresAt } = yield* Effect.mapError(auth.challenge(node), ofAuth)
        return { challenge, expires_at: instant(expiresAt) }
      }),
      proof: Effect.fnUntraced(function* ({ payload: { challenge, node, signature } }) {
        const { expiresAt, token } = yield* Effect.mapError(auth.prove(node, challenge, signature), ofAuth)
        return { access_token: token, token_type: "bearer" as const, expires_at: instant(expiresAt) }
      }),
      jwks: () => auth.jwks
    })
  })
)
