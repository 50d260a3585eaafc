/**
 * Tokens: short-lived JWTs (RFC 7519) that a registry signs with Ed25519 and every instance of it verifies.
 *
 * The signing keys stand in the store, one for each period of `rotateMs`; whoever comes first in a period makes its key. A key
 * verifies until the period after its own has ended, which is longer than any of its tokens lives, and is then erased.
 * Issuer and audience are the registry's own random name, so that no other registry takes its tokens, nor it theirs.
 */
import { createHash, randomBytes } from "node:crypto"
import type { CryptoKey, JWK } from "jose"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Semaphore from "effect/Semaphore"
import { AuthError, type Principal } from "./Principal.ts"
import type { Store, StoreError } from "./Store.ts"

/** Life of a node's token, in milliseconds: its owner can have another at any time. */
export const TOKEN_MS = 15 * 60_000
/** Life of an AgentMesh agent's token, in milliseconds: its SDK asks for one when it starts, and never again. */
export const AGENT_TOKEN_MS = 24 * 3_600_000
/** How long a key signs, in milliseconds. */
export const ROTATE_MS = 30 * 24 * 3_600_000
/** How far the clocks of two instances may differ, in seconds. */
export const CLOCK_TOLERANCE_S = 5
/** Longest token that is looked at, in characters: twice what the longest agent id gives. */
export const MAX_TOKEN_LENGTH = 2_048
/** Most verified tokens remembered (some 5 MB): jose takes 80 µs for one, the memory of it 1 µs. The oldest goes first. */
export const MAX_CACHED = 16_384
/** Pause before the store is asked again for a key that was not there, in milliseconds. */
const ABSENT_MS = 5_000

/** Who a token speaks for. */
export type Bearer = Principal & { readonly kind: "node" | "agent" }

/** Signs and verifies. */
export interface Tokens {
  readonly issue: (
    bearer: Bearer,
    lifeMs: number
  ) => Effect.Effect<{ readonly token: string; readonly expiresAt: number }, AuthError>
  /** Whose token it is; fails with `Expired`, `Invalid` or `Unavailable`. `digest` is its SHA-256, where that is known. */
  readonly verify: (token: string, digest?: Buffer) => Effect.Effect<Bearer, AuthError>
  /** The public keys as a JWK set (RFC 7517). */
  readonly jwks: Effect.Effect<Schema.Json>
}

interface Key {
  readonly kid: string
  readonly private: CryptoKey
  readonly public: CryptoKey
  readonly jwk: { readonly [name: string]: string }
}

const invalid = (detail: string) => new AuthError({ code: "Invalid", detail })
const notBearer = invalid("The token is none of this registry's; sign in again")

const unavailable = (error: StoreError) =>
  new AuthError({ code: "Unavailable", detail: `Tokens cannot be checked now (${error.operation}); try again` })

const isBearer = (sub: unknown, kind: unknown): boolean =>
  typeof sub === "string" && sub !== "" && (kind === "node" || kind === "agent")

/** Why jose refused a token, in words that say what to do; what the token held is not repeated. */
const refusal = (cause: unknown): AuthError => {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  if (code === "ERR_JWT_EXPIRED") {
    return new AuthError({ code: "Expired", detail: "The token has expired; sign in again" })
  }
  if (code === "ERR_JWT_CLAIM_VALIDATION_FAILED") {
    const claim = (cause as { readonly claim?: unknown }).claim
    return claim === "aud" || claim === "iss"
      ? invalid("The token was issued for another registry; sign in at this one")
      : invalid("The token lacks a claim or is not valid yet; sign in again")
  }
  return notBearer
}

/** The tokens of the registry whose keys stand in `store`. */
export const make = Effect.fn("Tokens.make")(function* (store: Store["Service"], rotateMs: number = ROTATE_MS) {
  const clock = yield* Clock.Clock
  const jose = yield* Effect.promise(() => import("jose"))
  const name = yield* store.putSecret("auth/registry", `parley-registry:${randomBytes(16).toString("hex")}`)
  const keys = new Map<number, Key>()
  const absent = new Map<number, number>()
  const verified = new Map<string, { readonly bearer: Effect.Effect<Bearer>; readonly until: number }>()
  const one = yield* Semaphore.make(1)

  const periodOf = (now: number): number => Math.floor(now / rotateMs)
  const place = (period: number): string => `auth/key/${period}`

  const read = (period: number, text: string) =>
    Effect.tryPromise({
      try: async () => {
        const jwk = JSON.parse(text) as JWK & { readonly x: string }
        const { crv, kty, x } = jwk
        const shown = {
          alg: "EdDSA",
          crv: String(crv),
          kid: `${period}.${x.slice(0, 8)}`,
          kty: String(kty),
          use: "sig",
          x
        }
        const key: Key = {
          kid: shown.kid,
          jwk: shown,
          private: (await jose.importJWK(jwk, "EdDSA")) as CryptoKey,
          public: (await jose.importJWK({ crv: shown.crv, kty: shown.kty, x }, "EdDSA")) as CryptoKey
        }
        keys.set(period, key)
        for (const old of keys.keys()) if (old < period - 2) keys.delete(old)
        return key
      },
      catch: () => new AuthError({ code: "Unavailable", detail: `The signing key ${place(period)} cannot be read` })
    })

  /** The key of a period if there is one. */
  const find = Effect.fnUntraced(function* (period: number) {
    const known = keys.get(period)
    if (known !== undefined) return known
    const now = clock.currentTimeMillisUnsafe()
    if ((absent.get(period) ?? Number.NEGATIVE_INFINITY) > now - ABSENT_MS) return undefined
    const text = yield* store.getSecret(place(period)).pipe(Effect.mapError(unavailable))
    if (text !== undefined && text !== "") return yield* read(period, text)
    absent.set(period, now)
    if (absent.size > 8) absent.clear()
    return undefined
  })

  /** The key that signs now. */
  const signing = Effect.gen(function* () {
    const period = periodOf(clock.currentTimeMillisUnsafe())
    const known = keys.get(period)
    if (known !== undefined) return known
    const pair = yield* Effect.promise(() => jose.generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true }))
    const made = yield* Effect.promise(() => jose.exportJWK(pair.privateKey))
    const stands = yield* store.putSecret(place(period), JSON.stringify(made)).pipe(Effect.mapError(unavailable))
    absent.delete(period)
    const key = yield* read(period, stands)
    const old = yield* store.getSecret(place(period - 2)).pipe(Effect.mapError(unavailable))
    if (old !== undefined && old !== "") {
      yield* store.putSecret(place(period - 2), "", true).pipe(Effect.mapError(unavailable))
    }
    return key
  }).pipe(one.withPermits(1))

  /** The public key that a token names, which is looked up by its period alone: nothing else of the `kid` reaches the store. */
  const keyOf = Effect.fnUntraced(function* (token: string) {
    const kid = yield* Effect.try({ try: () => jose.decodeProtectedHeader(token).kid, catch: () => notBearer })
    const match = typeof kid === "string" ? /^(\d{1,10})\.[A-Za-z0-9_-]{8}$/.exec(kid) : null
    const period = Number(match?.[1])
    const current = periodOf(clock.currentTimeMillisUnsafe())
    if (match === null || Math.abs(period - current) > 1) return yield* notBearer
    const key = yield* find(period)
    return key === undefined || key.kid !== kid ? yield* notBearer : key.public
  })

  const issue: Tokens["issue"] = Effect.fn("Tokens.issue")(function* (bearer, lifeMs) {
    const key = yield* signing
    const seconds = Math.floor(clock.currentTimeMillisUnsafe() / 1_000)
    const until = seconds + Math.floor(lifeMs / 1_000)
    const token = yield* Effect.promise(() =>
      new jose.SignJWT({ kind: bearer.kind })
        .setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ: "JWT" })
        .setIssuer(name)
        .setAudience(name)
        .setSubject(bearer.id)
        .setIssuedAt(seconds)
        .setNotBefore(seconds)
        .setExpirationTime(until)
        .setJti(randomBytes(16).toString("base64url"))
        .sign(key.private)
    )
    return { token, expiresAt: until * 1_000 }
  })

  const judge = Effect.fnUntraced(function* (token: string, digest: string) {
    const key = yield* keyOf(token)
    const { payload } = yield* Effect.tryPromise({
      try: () =>
        jose.jwtVerify(token, key, {
          algorithms: ["EdDSA"],
          issuer: name,
          audience: name,
          typ: "JWT",
          clockTolerance: CLOCK_TOLERANCE_S,
          currentDate: DateTime.toDate(DateTime.makeUnsafe(clock.currentTimeMillisUnsafe())),
          requiredClaims: ["sub", "exp", "nbf", "iat", "jti", "kind"]
        }),
      catch: refusal
    })
    if (!isBearer(payload.sub, payload["kind"])) return yield* notBearer
    const bearer: Bearer = { kind: payload["kind"] as Bearer["kind"], id: payload.sub! }
    if (verified.size >= MAX_CACHED) {
      for (const oldest of verified.keys()) {
        verified.delete(oldest)
        break
      }
    }
    verified.set(digest, { bearer: Effect.succeed(bearer), until: payload.exp! * 1_000 })
    return bearer
  })

  const verify: Tokens["verify"] = (token, hashed) =>
    Effect.suspend(() => {
      if (token.length > MAX_TOKEN_LENGTH) return Effect.fail(notBearer)
      const digest = (hashed ?? createHash("sha256").update(token).digest()).toString("base64url")
      const known = verified.get(digest)
      if (known !== undefined) {
        if (clock.currentTimeMillisUnsafe() < known.until) return known.bearer
        verified.delete(digest)
      }
      return judge(token, digest)
    })

  const jwks = Effect.gen(function* () {
    const period = periodOf(clock.currentTimeMillisUnsafe())
    yield* Effect.ignore(signing)
    yield* Effect.ignore(find(period - 1))
    const shown = [period, period - 1].flatMap((each) => {
      const key = keys.get(each)
      return key === undefined ? [] : [key.jwk]
    })
    return { keys: shown } satisfies Schema.Json
  })

  return { issue, verify, jwks } satisfies Tokens
})
