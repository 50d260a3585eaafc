/**
 * A registry for hostile tests, in a process of its own: `hostile-registry.ts OPTIONS` with JSON options. It logs all there is to log,
 * and prints one line of JSON: where it is, and tokens that its own keys signed but that it must not take.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import { importJWK, type JWK, SignJWT } from "jose"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import type { Options as Rates } from "@parley/registry/RateLimits"
import * as Server from "@parley/registry/Server"
import { Store } from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as Tokens from "@parley/registry/Tokens"

interface Given {
  readonly file: string
  readonly mode?: "open" | "keys"
  readonly dashboard?: string
  readonly rates?: Rates
  readonly times?: Server.Options["times"]
  /** A node that a signed-but-refused token speaks for. */
  readonly node?: string
  /** Who is trusted beforehand. */
  readonly seeds?: ReadonlyArray<string>
}

const given = JSON.parse(process.argv[2] ?? "{}") as Given
const secretOf = (name: string) => {
  const value = process.env[name]
  return value === undefined ? undefined : Redacted.make(value)
}
const agentSecret = secretOf("AGENT_SECRET")
const operatorToken = secretOf("PARLEY_OPERATOR_TOKEN")

const services = Layer.mergeAll(StoreSqlite.layer(given.file), PresenceMemory.layer, LimitsMemory.layer)
const registry = Server.layer({
  port: 0,
  mode: given.mode ?? "keys",
  ...(agentSecret === undefined ? {} : { agentSecret }),
  ...(operatorToken === undefined ? {} : { operatorToken }),
  ...(given.dashboard === undefined ? {} : { dashboard: given.dashboard }),
  ...(given.seeds === undefined ? {} : { seeds: given.seeds }),
  ...(given.rates === undefined ? {} : { rates: given.rates }),
  ...(given.times === undefined ? {} : { times: given.times })
}).pipe(Layer.provideMerge(services))

/** Tokens of the registry's own key: one that has ended, one for another registry, one that is not valid yet. */
const refusedTokens = Effect.fnUntraced(function* (url: string, node: string) {
  // The first look at the key set makes the first key.
  yield* Effect.promise(() => fetch(`${url}/.well-known/jwks.json`).then((response) => response.text()))
  const store = yield* Store
  const millis = yield* Clock.currentTimeMillis
  const period = Math.floor(millis / Tokens.ROTATE_MS)
  const name = (yield* store.getSecret("auth/registry")) ?? ""
  const jwk = JSON.parse((yield* store.getSecret(`auth/key/${period}`)) ?? "{}") as JWK & { readonly x: string }
  const key = yield* Effect.promise(() => importJWK(jwk, "EdDSA"))
  const sign = (audience: string, from: number, until: number) =>
    Effect.promise(() =>
      new SignJWT({ kind: "node" })
        .setProtectedHeader({ alg: "EdDSA", kid: `${period}.${jwk.x.slice(0, 8)}`, typ: "JWT" })
        .setIssuer(audience)
        .setAudience(audience)
        .setSubject(node)
        .setJti("x")
        .setIssuedAt(from)
        .setNotBefore(from)
        .setExpirationTime(until)
        .sign(key)
    )
  const now = Math.floor(millis / 1_000)
  return {
    good: yield* sign(name, now, now + 60),
    expired: yield* sign(name, now - 120, now - 60),
    "another audience": yield* sign("parley-registry:another", now, now + 60),
    "not yet valid": yield* sign(name, now + 60, now + 120)
  }
})

const main = Effect.gen(function* () {
  const running = yield* Server.RegistryServer
  const tokens = given.node === undefined ? {} : yield* refusedTokens(running.url, given.node)
  console.log(JSON.stringify({ ...running, tokens }))
  return yield* Effect.never
})

NodeRuntime.runMain(
  main.pipe(Effect.provide(registry), Effect.scoped, Effect.provideService(References.MinimumLogLevel, "All"))
)
