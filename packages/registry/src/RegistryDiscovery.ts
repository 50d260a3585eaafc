/**
 * Discovery through a registry: the node registers with its signed record, keeps its lease, and asks for others.
 *
 * The registry is optional, and not trusted: it can hold back what it knows, but a record counts by its own signature. While it
 * is away, it is one source that fails, and no call waits for it. The node looks for it again and again, no two nodes at the
 * same time, and is registered there within `RECONNECT_MS` and a round trip after it is back.
 *
 * A registry shows records to whoever asks. A node of a private network therefore keeps away from it, unless `ofNetwork` says
 * that the registry belongs to that network.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import type { Identity } from "@parley/core/Identity"
import { type NodeId, parse } from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"
import * as Client from "./Client.ts"
import type { RegistryError } from "./RegistryError.ts"

/** Longest wait for an answer to a search or a registration, in milliseconds. */
export const FIND_MS = 5_000
/** Longest wait for the registry to note a goodbye, in milliseconds. */
export const GOODBYE_MS = 500
/** Longest pause before a registry that is away is looked for again, in milliseconds: it is to have its agents back within 5 s. */
export const RECONNECT_MS = 2_500
/** First pause, in milliseconds, of which any part is waited: a registry that restarts is not called by all nodes at once. */
export const FIRST_PAUSE_MS = 1_000
/** Shortest and longest lease that is respected, in milliseconds: a registry cannot make its nodes renew without pause, or never. */
export const MIN_LEASE_MS = 3_000
export const MAX_LEASE_MS = 600_000
/** Records of agents online that are asked for when a node joins: it then knows somebody, and searches for the rest. */
export const MAX_SNAPSHOT = 100
/** Newcomers whose records wait to be fetched; of more than these the oldest are passed over, until somebody searches for them. */
export const MAX_NEWCOMERS = 32
/** Agents heard of that a late listener is told. */
export const MAX_HEARD = 1_000

/** How a node uses its registry. */
export interface Options {
  /** The registry belongs to the node's private network, and may know its records. Default: false. */
  readonly ofNetwork?: boolean
  /** Registers the node. Default: true. One that comes only to ask can do without. */
  readonly register?: boolean
}

const codes: { readonly [code in RegistryError["code"]]: DiscoveryError["code"] } = {
  BadUrl: "Malformed",
  Unreachable: "Unreachable",
  Refused: "Refused",
  NotFound: "Failed",
  Conflict: "Refused",
  Gone: "Failed",
  Unfit: "Refused",
  TooMany: "Refused",
  Unavailable: "Unreachable",
  Malformed: "Malformed"
}

const nameOf = (at: string): string => `registry ${at}`

const ofRegistry = (error: RegistryError): DiscoveryError =>
  new DiscoveryError({
    source: nameOf(error.at),
    code: codes[error.code],
    detail: `${error.operation}: ${error.detail}`
  })

/** What is asked of the registry: all but what is the asker's own affair. */
const askedOf = (query: Query): Query => {
  const { minTrust: _trust, policy: _policy, preferPeers: _peers, ...rest } = query
  return rest
}

/** The pause before the next attempt: after the first failure any part of `FIRST_PAUSE_MS`, then longer ones up to `RECONNECT_MS`. */
export const pauseAfter = (failures: number, random: number): number => {
  if (failures <= 1) return FIRST_PAUSE_MS * random
  const longest = Math.min(RECONNECT_MS, FIRST_PAUSE_MS * 2 ** (failures - 1))
  return (longest / 2) * (1 + random)
}

const join = Effect.fn("RegistryDiscovery.join")(function* (
  client: Client.Client["Service"],
  options: Options,
  host: Host
) {
  const source = nameOf(client.at)
  const refuse = (detail: string) => new DiscoveryError({ source, code: "Refused", detail })
  if (host.isPrivate && options.ofNetwork !== true) {
    return yield* refuse(
      "this node belongs to a private network, and a registry shows records to whoever asks; if the registry belongs to the network, say so (ofNetwork)"
    )
  }
  const clock = yield* Clock.Clock
  const now = (): number => clock.currentTimeMillisUnsafe()
  const seen = new Map<NodeId, Found>()
  const feed = Feed.make<Found>(() => seen.values())
  yield* Effect.addFinalizer(() => Effect.sync(() => feed.end()))
  const newcomers = yield* Queue.sliding<NodeId>(MAX_NEWCOMERS)
  const nudge = yield* Queue.sliding<void>(1)
  let advertised = false
  /** The registry may hold the record, as far as this node knows: no goodbye has been noted. */
  let isHeld = false
  let renewAt = Number.POSITIVE_INFINITY
  let failures = 0
  let cursor: number | undefined

  const late = new DiscoveryError({ source, code: "Unreachable", detail: `no answer within ${FIND_MS} ms` })
  const inTime = <A>(effect: Effect.Effect<A, RegistryError>): Effect.Effect<A, DiscoveryError> =>
    effect.pipe(
      Effect.mapError(ofRegistry),
      Effect.timeoutOrElse({ duration: FIND_MS, orElse: () => Effect.fail(late) })
    )
  const put = (record: AgentRecord.AgentRecord) =>
    client.use("keep the record", (api) => api.nodes.put({ params: { node: host.nodeId }, payload: record }))
  const wakeAt = (at: number): void => {
    renewAt = at
    Queue.offerUnsafe(nudge, undefined)
  }

  /** Registers the node's present record, or withdraws it. */
  const advertise = Effect.suspend(() => {
    if (options.register === false) return Effect.void
    const record = host.record()
    if (record.node !== host.nodeId) {
      return Effect.fail(refuse(`the record is of ${record.node}, and this node is ${host.nodeId}`))
    }
    advertised = !AgentRecord.isTombstone(record)
    isHeld ||= advertised
    return inTime(put(record)).pipe(
      Effect.matchEffect({
        onFailure: (error) =>
          Effect.suspend(() => {
            // A newer record has overtaken this one.
            if (host.record().seq > record.seq) return Effect.void
            failures += 1
            wakeAt(advertised ? now() + pauseAfter(failures, Math.random()) : Number.POSITIVE_INFINITY)
            return Effect.fail(error)
          }),
        onSuccess: ({ lease_ms }) =>
          Effect.sync(() => {
            failures = 0
            if (!advertised) isHeld = false
            const lease = Math.min(Math.max(lease_ms, MIN_LEASE_MS), MAX_LEASE_MS)
            // Twice within a lease, and not when everybody else does.
            wakeAt(advertised ? now() + lease * (0.3 + 0.2 * Math.random()) : Number.POSITIVE_INFINITY)
          })
      })
    )
  })
  const quietly = Effect.catch((error: DiscoveryError) => Effect.logDebug(error.message))
  const renew = Effect.suspend(() => {
    const wait = renewAt - now()
    if (wait > 0) {
      const nudged = Queue.take(nudge)
      return Number.isFinite(wait) ? Effect.asVoid(Effect.timeoutOption(nudged, wait)) : nudged
    }
    renewAt = Number.POSITIVE_INFINITY
    return advertised ? quietly(advertise) : Effect.void
  })

  const hear = (record: AgentRecord.AgentRecord): void => {
    if (record.node === host.nodeId) return
    const verified = AgentRecord.verify(record, { now: now(), known: seen.get(record.node)?.record })
    if (verified instanceof AgentRecord.RecordRefused || AgentRecord.isTombstone(verified)) return
    const found: Found = { source, node: verified.node, addresses: verified.addresses, record: verified }
    seen.delete(verified.node)
    if (seen.size >= MAX_HEARD) for (const oldest of seen.keys()) if (seen.delete(oldest)) break
    seen.set(verified.node, found)
    feed.publish(found)
  }
  const snapshot = client
    .use("list who is there", (api) => api.nodes.list({ query: { active: true, limit: MAX_SNAPSHOT } }))
    .pipe(
      Effect.map((records) => records.forEach(hear)),
      Effect.mapError(ofRegistry)
    )
  const fetch = Effect.flatMap(Queue.take(newcomers), (node) =>
    client
      .use("get a record", (api) => api.nodes.get({ params: { node } }))
      .pipe(Effect.map(hear), Effect.mapError(ofRegistry), quietly)
  )

  const note = ({ cursor: at, data, type }: Client.PublicEvent): Effect.Effect<void> => {
    cursor = at
    if (type === "gap") return quietly(snapshot)
    const id = typeof data === "object" && data !== null && "agent_id" in data ? data["agent_id"] : undefined
    const node = typeof id === "string" ? parse(id) : undefined
    if (node === undefined || node === host.nodeId) return Effect.void
    if (type === "agent.registered") Queue.offerUnsafe(newcomers, node)
    if (type === "agent.left") {
      seen.delete(node)
      feed.publish({ source, node, addresses: [], gone: true })
    }
    return Effect.void
  }
  let attempts = 0
  const onOpen = Effect.suspend(() => {
    const isFirst = cursor === undefined
    attempts = 0
    // A registry that was away knows nothing of leases any more.
    if (advertised) wakeAt(now())
    return isFirst ? quietly(snapshot) : Effect.void
  })
  const follow = Effect.suspend(() =>
    client
      .events({
        types: ["agent.registered", "agent.left"],
        onOpen: Effect.asVoid(Effect.forkChild(onOpen)),
        ...(cursor === undefined ? {} : { cursor })
      })
      .pipe(Stream.runForEach(note))
  ).pipe(
    Effect.catch((error) => {
      attempts += 1
      const wait = Math.max(pauseAfter(attempts, Math.random()), Math.min(error.retryAfterMs ?? 0, MAX_LEASE_MS))
      return Effect.andThen(Effect.logDebug(error.message), Effect.sleep(wait))
    })
  )

  yield* Effect.addFinalizer(() => {
    if (!isHeld) return Effect.void
    const record = host.record()
    if (!AgentRecord.isTombstone(record) && client.nodeId !== host.nodeId) return Effect.void
    const farewell = AgentRecord.isTombstone(record)
      ? record
      : AgentRecord.tombstone(client.identity, Math.max(record.seq + 1, now()), now())
    return put(farewell).pipe(Effect.timeoutOption(GOODBYE_MS), Effect.ignore)
  })
  yield* Effect.forkScoped(Effect.forever(fetch))
  yield* Effect.forkScoped(Effect.forever(follow))
  yield* Effect.forkScoped(Effect.forever(renew))

  const membership: Membership = {
    advertise,
    find: (query, report) =>
      counted(
        source,
        report,
        Stream.unwrap(
          Effect.map(
            inTime(client.use("search", (api) => api.nodes.search({ payload: askedOf(query) }))),
            ({ records }) => Stream.fromIterable(records)
          )
        ).pipe(
          Stream.filter(({ node }) => node !== host.nodeId),
          Stream.filter((record) => !(AgentRecord.verify(record, { now: now() }) instanceof AgentRecord.RecordRefused)),
          Stream.map((record): Found => ({ source, node: record.node, addresses: record.addresses, record }))
        )
      ),
    changes: feed.stream
  }
  return membership
})

/** Discovery through the registry of a `Client`. */
export const layerNoDeps = (options: Options = {}): Layer.Layer<Discovery, never, Client.Client> =>
  Layer.effect(
    Discovery,
    Effect.map(Client.Client, (client) =>
      Discovery.of({ name: nameOf(client.at), join: (host) => join(client, options, host) })
    )
  )

/** The client of a registry, for this discovery and whatever else uses the registry; its failure is a discovery's. */
export const layerClient = (options: Client.Options): Layer.Layer<Client.Client, DiscoveryError, Identity> =>
  Client.layer(options).pipe(Layer.catch((error) => Layer.effect(Client.Client, Effect.fail(ofRegistry(error)))))

/** Discovery through one registry, under the node's own identity. Fails when `at` is no URL of a registry. */
export const layer = (options: Client.Options & Options): Layer.Layer<Discovery, DiscoveryError, Identity> =>
  Layer.provide(layerNoDeps(options), layerClient(options))
