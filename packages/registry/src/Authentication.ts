/**
 * Authentication: the registry's `Auth`, by signed challenges, AgentMesh's shared secret, or the operator's token.
 *
 * | mode | who comes in |
 * | --- | --- |
 * | `keys` | nodes, by a token for a signed challenge |
 * | `secret` | as well AgentMesh's agents, by a token for the shared secret |
 * | `open` | everybody on this machine; who signs a challenge gets a token here too, and is then that node |
 *
 * The operator's token, where there is one, is known in every mode. What instances must agree on (signing keys, the
 * challenge's key, grants) stands in the store; what may happen once only is counted in `Limits`.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Semaphore from "effect/Semaphore"
import * as NodeId from "@parley/core/NodeId"
import { Admission, isNodes, nodesOwn } from "./Admission.ts"
import * as Challenge from "./Challenge.ts"
import { type Bucket, Limits } from "./Limits.ts"
import { Auth, AuthError, type Credentials, mayActFor, type Principal } from "./Principal.ts"
import { Store, type StoreError } from "./Store.ts"
import * as Tokens from "./Tokens.ts"

/** Wrong secrets from one address: ten at once, then one in ten seconds. */
export const ADDRESS_FAILURES: Bucket = { perSecond: 0.1, burst: 10 }
/** Wrong secrets for one agent, from all addresses that have not proven it before: fifty at once, then one in two seconds. */
export const AGENT_FAILURES: Bucket = { perSecond: 0.5, burst: 50 }
/** Tries from one address, right ones too: a fleet that starts, but no thousand guesses side by side. */
export const ATTEMPTS: Bucket = { perSecond: 20, burst: 200 }
/** Most challenges remembered as used up: a minute of a thousand sign-ins a second. More sign-ins wait. */
export const MAX_USED = 65_536
/** Most addresses and agents remembered as blocked. The one blocked longest goes first. */
export const MAX_BLOCKED = 10_000
/** Shortest secret that is not warned about, in characters. */
export const SHORT_SECRET = 16
/** One challenge's single use, over all instances; it refills long after the challenge is over. */
const ONCE: Bucket = { perSecond: 1 / 600, burst: 1 }

/** Who is let in. */
export interface Options {
  /** Nobody is asked who they are. Only where `Loopback.refusesOpen` has nothing against it. */
  readonly open?: boolean
  /**
   * The origins that this registry is reached under (`https://registry.example`), at most `Challenge.MAX_AUDIENCES`; asked for
   * each proof, since a port may not be known before it is bound. Never what a request says.
   */
  readonly audiences: () => ReadonlyArray<string>
  /** AgentMesh's shared secret, `AGENT_SECRET`. Its presence makes the mode `secret`. */
  readonly agentSecret?: Redacted.Redacted
  /** What the operator shows as a token. */
  readonly operatorToken?: Redacted.Redacted
  /** Whether an agent is registered. */
  readonly hasAgent: (agent: string) => boolean
  /** Lives of tokens and keys in milliseconds; default `Tokens.TOKEN_MS`, `AGENT_TOKEN_MS`, `ROTATE_MS`. */
  readonly tokenMs?: number
  readonly agentTokenMs?: number
  readonly rotateMs?: number
}

const error = (code: AuthError["code"], detail: string) => new AuthError({ code, detail })
const invalidSecret = error("Invalid", "Invalid secret")
const missing = error("Missing", "Send Authorization: Bearer with a token of POST /auth/proof or POST /auth/token")
const invalidProof = error(
  "Invalid",
  "The signature is not this node's over a challenge of this registry under the URL it is reached at; ask for a new one"
)
const usedUp = error("Invalid", "This challenge was answered before; ask for a new one")

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

const limited = (waitMs: number) =>
  new AuthError({
    code: "Limited",
    detail: "Too many tries; wait as long as Retry-After says",
    retryAfterMs: Math.max(1, Math.ceil(waitMs))
  })

const unavailable = (cause: StoreError) =>
  error("Unavailable", `Nobody can sign in now (${cause.operation}); try again`)

const make = Effect.fnUntraced(function* (options: Options) {
  const store = yield* Store
  const limits = yield* Limits
  const admission = yield* Admission
  const clock = yield* Clock.Clock
  const lives = { node: options.tokenMs ?? Tokens.TOKEN_MS, agent: options.agentTokenMs ?? Tokens.AGENT_TOKEN_MS }
  const rotateMs = options.rotateMs ?? Tokens.ROTATE_MS
  if (rotateMs < Math.max(lives.node, lives.agent)) {
    return yield* Effect.die(new RangeError(`Keys that rotate each ${rotateMs} ms cannot sign tokens that live longer`))
  }
  const mode = options.open === true ? "open" : options.agentSecret === undefined ? "keys" : "secret"
  const secret = options.agentSecret === undefined ? undefined : Redacted.value(options.agentSecret)
  if (secret !== undefined && secret.length < SHORT_SECRET) {
    yield* Effect.logWarning(`AGENT_SECRET is shorter than ${SHORT_SECRET} characters; whoever guesses it is any agent`)
  }
  const secretDigest = secret === undefined || secret === "" ? undefined : digest(secret)
  const operatorDigest = options.operatorToken === undefined ? undefined : digest(Redacted.value(options.operatorToken))
  const operator = Effect.succeed<Principal>({ kind: "operator", id: "operator" })
  const local = Effect.succeed<Principal>({ kind: "local", id: "" })

  const one = yield* Semaphore.make(1)
  /** Made when it is first needed, once; a failure is not kept. */
  const lazily = <A>(make: Effect.Effect<A, StoreError>): Effect.Effect<A, AuthError> => {
    let made: Effect.Effect<A> | undefined
    const first = Effect.suspend(
      () => made ?? Effect.tap(make, (value) => Effect.sync(() => void (made = Effect.succeed(value))))
    ).pipe(Effect.mapError(unavailable), one.withPermits(1))
    return Effect.suspend(() => made ?? first)
  }
  const tokens = lazily(Tokens.make(store, rotateMs))
  const challengeKey = lazily(
    store
      .putSecret("auth/challenge", randomBytes(32).toString("base64url"))
      .pipe(Effect.map((text) => Buffer.from(text, "base64url")))
  )

  const used = new Map<string, number>()
  const blocked = new Map<string, number>()

  const identify = (credentials: Credentials): Effect.Effect<Principal, AuthError> => {
    const { token } = credentials
    if (token === undefined || token === "") return mode === "open" ? local : Effect.fail(missing)
    const hashed = token.length <= Tokens.MAX_TOKEN_LENGTH ? digest(token) : undefined
    if (hashed !== undefined && operatorDigest !== undefined && timingSafeEqual(hashed, operatorDigest)) return operator
    return Effect.flatMap(tokens, (each) => each.verify(token, hashed))
  }

  const asNode = (node: string) => {
    const id = NodeId.parse(node)
    return id === undefined ? Effect.fail(error("Invalid", "node must be a NodeId, z6Mk…")) : Effect.succeed(id)
  }

  const challenge = Effect.fn("Auth.challenge")(function* (node: string) {
    const id = yield* asNode(node)
    return Challenge.make(yield* challengeKey, id, clock.currentTimeMillisUnsafe())
  })

  const prove = Effect.fn("Auth.prove")(function* (node: string, text: string, signature: string) {
    const id = yield* asNode(node)
    const now = clock.currentTimeMillisUnsafe()
    const checked = Challenge.check(yield* challengeKey, id, text, now)
    if (checked === "Expired") return yield* error("Expired", "The challenge has expired; ask for a new one")
    if (checked === "Invalid") return yield* invalidProof
    if (!Challenge.verify(options.audiences(), id, text, signature)) return yield* invalidProof
    // Only now is it used up: nobody but the node itself can do that.
    for (const [nonce, until] of used) {
      if (until > now) break
      used.delete(nonce)
    }
    if (used.has(checked.nonce)) return yield* usedUp
    if (used.size >= MAX_USED) return yield* limited(Challenge.CHALLENGE_MS)
    used.set(checked.nonce, now + 2 * Challenge.CHALLENGE_MS)
    if ((yield* limits.take(`challenge:${checked.nonce}`, ONCE)) > 0) return yield* usedUp
    return yield* (yield* tokens).issue({ kind: "node", id }, lives.node)
  })

  const isBlocked = (key: string, now: number): number => Math.max(0, (blocked.get(key) ?? 0) - now)
  const fail = Effect.fnUntraced(function* (key: string, bucket: Bucket, now: number) {
    const wait = yield* limits.take(key, bucket)
    if (wait === 0) return
    blocked.delete(key)
    if (blocked.size >= MAX_BLOCKED) {
      for (const oldest of blocked.keys()) {
        blocked.delete(oldest)
        break
      }
    }
    blocked.set(key, now + wait)
  })

  const exchange = Effect.fn("Auth.exchange")(function* (agent: string, offered: string, credentials: Credentials) {
    if (secretDigest === undefined || mode !== "secret") return yield* invalidSecret
    const now = clock.currentTimeMillisUnsafe()
    const { address } = credentials
    const byAddress = `secret:address:${address}`
    const byAgent = `secret:agent:${agent}`
    const busy = yield* limits.take(`secret:tries:${address}`, ATTEMPTS)
    if (busy > 0) return yield* limited(busy)
    const known = yield* admission.isGranted(agent, address).pipe(Effect.mapError(unavailable))
    // An agent that has proven the secret from here is not kept out by others who guess for it.
    const wait = Math.max(isBlocked(byAddress, now), known ? 0 : isBlocked(byAgent, now))
    if (wait > 0) return yield* limited(wait)
    if (!timingSafeEqual(digest(offered), secretDigest)) {
      yield* fail(byAddress, ADDRESS_FAILURES, now)
      if (!known) yield* fail(byAgent, AGENT_FAILURES, now)
      return yield* invalidSecret
    }
    if (isNodes(agent)) return yield* nodesOwn
    if (!options.hasAgent(agent) && !admission.isHeld(agent, address)) {
      return yield* error("Unknown", `Agent ${agent} not registered`)
    }
    const token = yield* (yield* tokens).issue({ kind: "agent", id: agent }, lives.agent)
    yield* admission.grant(agent, address).pipe(Effect.mapError(unavailable))
    return token
  })

  return Auth.of({
    mode,
    identify,
    challenge,
    prove,
    exchange,
    jwks: tokens.pipe(
      Effect.flatMap((each) => each.jwks),
      Effect.orElseSucceed(() => ({ keys: [] }))
    )
  })
})

/** The registry's `Auth`. */
export const layer = (options: Options): Layer.Layer<Auth, never, Store | Limits | Admission> =>
  Layer.effect(Auth, make(options))

/** Who acts for `agent`: fails with `Forbidden` where somebody else's token is shown. */
export const actFor = Effect.fnUntraced(function* (agent: string, credentials: Credentials) {
  const auth = yield* Auth
  const principal = yield* auth.identify(credentials)
  if (mayActFor(principal, agent)) return principal
  return yield* error("Forbidden", `The token is ${principal.id}'s, who cannot act for ${agent}`)
})

/**
 * As `actFor`; in `secret` mode an agent's own address does without a token, once it has proven the secret. For the heartbeat
 * socket and traces alone, which AgentMesh's SDK calls without one. A web page that somebody at that address has open does not: it
 * may have come there by a name of its own that it let point to the registry (DNS rebinding).
 */
export const actForOrGranted = Effect.fnUntraced(function* (agent: string, credentials: Credentials) {
  const auth = yield* Auth
  if (auth.mode !== "secret" || (credentials.token ?? "") !== "") return yield* actFor(agent, credentials)
  if (credentials.isPage === true) return yield* missing
  const admission = yield* Admission
  const granted = yield* admission.isGranted(agent, credentials.address).pipe(Effect.mapError(unavailable))
  return granted ? ({ kind: "agent", id: agent } satisfies Principal) : yield* missing
})
