/**
 * Admission: how AgentMesh's agents get in where a shared secret is asked for.
 *
 * Their SDK registers first, without a token, and proves the secret after that; its heartbeat and its traces never carry a token.
 * So a first registration waits here, seen by nobody, until the secret was proven from the same address; and an agent that has
 * proven it may use its own heartbeat and trace calls from that address for a while without a token (a *grant*).
 *
 * What waits displaces nobody: an agent that is registered stays as it is until the newcomer has proven the secret, and two
 * that wait under one id wait side by side, each under its own address. A registration waits at the instance that took it; a
 * balancer in front of several sends one address to one instance.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeId from "@parley/core/NodeId"
import type { Manifest } from "./Model.ts"
import { AuthError } from "./Principal.ts"
import { counted } from "./RateLimits.ts"
import { Store, type StoreError } from "./Store.ts"

/** How long a registration waits for the secret, in milliseconds: the SDK sends it with its next request. */
export const PENDING_MS = 60_000
/** Most registrations that wait: a fleet that starts at once. The oldest makes room. */
export const MAX_PENDING = 1_000
/** Most of them from one address: a machine full of agents; one more is refused until one is settled or a minute over. */
export const MAX_PENDING_OF_ADDRESS = 128
/** Most bytes of JSON that wait: 256 of the largest manifests. The oldest make room. */
export const MAX_PENDING_BYTES = 16 * 1_048_576
/** How long a grant holds after it was given or last used, in milliseconds: as long as the token it came with. */
export const GRANT_MS = 24 * 3_600_000
/** Most addresses that one agent has grants for: it moves, and comes back. The oldest goes. */
export const MAX_GRANTS_OF_AGENT = 4
/** Most agents whose grants are kept at hand; those of others are read from the store. */
export const MAX_GRANTED = 10_000
/** A grant in use is written anew when this much of it has passed, in milliseconds. */
const RENEW_MS = GRANT_MS / 4

/** Whether an agent's id is a key's: whoever knows a secret that all share must not act for it. */
export const isNodes = (agent: string): boolean => NodeId.parse(agent) !== undefined
/** The refusal of such an id. */
export const nodesOwn = new AuthError({
  code: "Forbidden",
  detail: "This id is a node's key, which alone can act for it: sign a challenge (POST /auth/challenge)"
})

type Grants = ReadonlyArray<{ readonly address: string; readonly until: number }>

/** How AgentMesh's agents get in. */
export class Admission extends Context.Service<
  Admission,
  {
    /** A registration without a token waits for its secret. Fails with `Limited`, or `Forbidden` for a node's id. */
    readonly hold: (manifest: Manifest, address: string) => Effect.Effect<void, AuthError>
    /** Whether a registration of this agent waits from this address. */
    readonly isHeld: (agent: string, address: string) => boolean
    /** The secret was proven: takes out what waited, if anything did, to be registered now. */
    readonly settle: (agent: string, address: string) => Effect.Effect<Manifest | undefined>
    /** From now on this address may use the agent's heartbeat and trace calls without a token. */
    readonly grant: (agent: string, address: string) => Effect.Effect<void, StoreError>
    /** Whether it may. */
    readonly isGranted: (agent: string, address: string) => Effect.Effect<boolean, StoreError>
    /** The agent has left: its grants end. */
    readonly revoke: (agent: string) => Effect.Effect<void, StoreError>
    /** How many registrations wait. */
    readonly waiting: () => number
  }
>()("@parley/registry/Admission") {}

interface Waiting {
  readonly manifest: Manifest
  readonly address: string
  readonly until: number
  readonly bytes: number
}

const place = (agent: string): string => `auth/grant/${agent}`

const readGrants = (text: string | undefined, now: number): Grants => {
  if (text === undefined || text === "") return []
  const value: unknown = JSON.parse(text)
  return Array.isArray(value) ? (value as Grants).filter((grant) => grant.until > now) : []
}

const make = Effect.gen(function* () {
  const store = yield* Store
  const clock = yield* Clock.Clock
  // In the order they came, which is the order they expire in.
  const waiting = new Map<string, Waiting>()
  const ofAddress = new Map<string, number>()
  const grants = new Map<string, Grants>()
  let bytes = 0

  const keyOf = (agent: string, address: string): string => `${address} ${agent}`
  const drop = (key: string): Waiting | undefined => {
    const entry = waiting.get(key)
    if (entry === undefined) return undefined
    waiting.delete(key)
    bytes -= entry.bytes
    const network = counted(entry.address)
    const left = (ofAddress.get(network) ?? 1) - 1
    if (left === 0) ofAddress.delete(network)
    else ofAddress.set(network, left)
    return entry
  }
  const sweep = (now: number): void => {
    for (const [key, entry] of waiting) {
      if (entry.until > now) break
      drop(key)
    }
  }
  const limited = (now: number, detail: string) => {
    const first = waiting.values().next()
    const wait = first.done === true ? PENDING_MS : Math.max(1, first.value.until - now)
    return new AuthError({ code: "Limited", detail, retryAfterMs: wait })
  }

  const isTooMuch = (more: number): boolean => waiting.size > 0 && bytes + more > MAX_PENDING_BYTES
  const dropOldest = (): void => {
    for (const oldest of waiting.keys()) {
      drop(oldest)
      return
    }
  }

  const hold = Effect.fnUntraced(function* (manifest: Manifest, address: string) {
    if (isNodes(manifest.agent_id)) return yield* nodesOwn
    const now = clock.currentTimeMillisUnsafe()
    sweep(now)
    const key = keyOf(manifest.agent_id, address)
    drop(key)
    const size = Buffer.byteLength(JSON.stringify(manifest))
    const network = counted(address)
    if ((ofAddress.get(network) ?? 0) >= MAX_PENDING_OF_ADDRESS) {
      return yield* limited(
        now,
        `${MAX_PENDING_OF_ADDRESS} registrations of this address wait for their secret; send POST /auth/token for each first`
      )
    }
    // Nobody is refused for what strangers have sent: an SDK proves the secret within milliseconds, long before it is the oldest.
    if (waiting.size >= MAX_PENDING) dropOldest()
    while (isTooMuch(size)) dropOldest()
    waiting.set(key, { manifest, address, until: now + PENDING_MS, bytes: size })
    ofAddress.set(network, (ofAddress.get(network) ?? 0) + 1)
    bytes += size
  })

  const keep = (agent: string, value: Grants): void => {
    grants.delete(agent)
    if (grants.size >= MAX_GRANTED) {
      for (const oldest of grants.keys()) {
        grants.delete(oldest)
        break
      }
    }
    grants.set(agent, value)
  }

  const grant = Effect.fnUntraced(function* (agent: string, address: string) {
    const now = clock.currentTimeMillisUnsafe()
    const others = readGrants(yield* store.getSecret(place(agent)), now).filter((each) => each.address !== address)
    const all = [...others.slice(-(MAX_GRANTS_OF_AGENT - 1)), { address, until: now + GRANT_MS }]
    yield* store.putSecret(place(agent), JSON.stringify(all), true)
    keep(agent, all)
  })

  const isGranted = Effect.fnUntraced(function* (agent: string, address: string) {
    const now = clock.currentTimeMillisUnsafe()
    const find = (all: Grants | undefined) => all?.find((each) => each.address === address && each.until > now)
    let found = find(grants.get(agent))
    if (found === undefined) {
      const all = readGrants(yield* store.getSecret(place(agent)), now)
      found = find(all)
      if (found === undefined) return false
      keep(agent, all)
    }
    if (found.until < now + GRANT_MS - RENEW_MS) yield* grant(agent, address)
    return true
  })

  return Admission.of({
    hold,
    isHeld: (agent, address) => (waiting.get(keyOf(agent, address))?.until ?? 0) > clock.currentTimeMillisUnsafe(),
    settle: (agent, address) =>
      Effect.sync(() => {
        sweep(clock.currentTimeMillisUnsafe())
        return drop(keyOf(agent, address))?.manifest
      }),
    grant,
    isGranted,
    revoke: Effect.fnUntraced(function* (agent: string) {
      grants.delete(agent)
      const stands = yield* store.getSecret(place(agent))
      if (stands !== undefined && stands !== "") yield* store.putSecret(place(agent), "", true)
    }),
    waiting: () => {
      sweep(clock.currentTimeMillisUnsafe())
      return waiting.size
    }
  })
})

/** Admission with grants in the store, so that they outlive a restart and hold at every instance. */
export const layer: Layer.Layer<Admission, never, Store> = Layer.effect(Admission, make)
