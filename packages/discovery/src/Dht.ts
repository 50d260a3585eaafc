/**
 * Discovery through a distributed hash table: BitTorrent's Mainline DHT protocol (BEP 5, 43, 44), among nodes of one's own or, asked
 * for by name, on the public network.
 *
 * A node puts a mutable item under its own key: addresses, relays, what it serves (a few bytes for each), and the hash of its
 * record. It announces itself under a hash of network and capability. Who searches gets NodeIds from the announcements,
 * their items by those keys, and believes an item by its signature, an address by the handshake there, and what the node
 * serves by the record that it then tells. See `docs/decisions/0010-capabilities-in-the-dht.md`.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import * as Feed from "@parley/core/Feed"
import { Identity } from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import { Perimeter } from "@parley/core/Perimeter"
import type { Query } from "@parley/core/Query"
import * as DhtItem from "./internal/DhtItem.ts"
import * as DhtNetwork from "./internal/DhtNetwork.ts"
import * as DhtNode from "./internal/DhtNode.ts"
import * as PacketSeal from "./internal/PacketSeal.ts"

/** Longest search, in milliseconds: one for the announcements, and one for each node's item. */
export const FIND_MS = 4_500
/** Nodes whose items one search asks for: whoever announces costs a search of its own. */
export const MAX_CANDIDATES = 64
/** Items that one search asks for at once. */
const CONCURRENCY = 8
/** Announcements made at once. */
const ANNOUNCING = 4
/** How often announcements and the item are made anew, in milliseconds: they live for 30 minutes, and for 2 hours. */
export const REFRESH_MS = 600_000
/** How often a node looks who holds its item, and puts it back, in milliseconds: at first, and then twice as long each time up to this. */
export const CHECK_MS = { first: 1_000, own: 15_000, public: 300_000 }
/** So much more known of the DHT than when a node last advertised, and it does so again: what it put lies where the DHT was then. */
export const OUTGROWN = 1.25
/** Least time between two advertisements of a node in a growing DHT, in milliseconds. */
export const OUTGROWN_MS = { own: 1_000, public: 10_000 }
/** Pause after an advertisement that failed, in milliseconds. */
export const RETRY_MS = 2_000
/** Longest wait for the goodbye to be stored, in milliseconds. */
export const GOODBYE_MS = 800
/** The routers of the public network. */
export const PUBLIC_BOOTSTRAP: ReadonlyArray<string> = [
  "router.bittorrent.com:6881",
  "router.utorrent.com:6881",
  "dht.transmissionbt.com:6881"
]
/** Bootstrap nodes that may be given. */
export const MAX_BOOTSTRAP = 16

/** Which DHT, and how to take part. */
export interface Options {
  /** Nodes to begin with, `host:port`. */
  readonly bootstrap?: ReadonlyArray<string>
  /** The public Mainline DHT, with its routers as further bootstrap nodes. Default: false. */
  readonly public?: boolean
  /** UDP port. Default: 0, any free one. */
  readonly port?: number
  /** Interface to bind to. Default: all (IPv4). */
  readonly host?: string
  /** Name of the network: those of other names are not found. Default: `parley`. */
  readonly network?: string
  /** The private network's key: datagrams are sealed under it, and hashes hang on it. Not on the public DHT. */
  readonly networkKey?: Uint8Array
  /** How often the node looks whether its item is still found, in milliseconds. Default: as `CHECK_MS` says. */
  readonly checkMs?: number
}

/** A node of the DHT that stores for others. */
export interface Node {
  /** Where its socket is bound; `host` as this machine reaches it. */
  readonly address: DhtNode.HostPort
  /** Nodes in its routing table. */
  readonly known: () => number
  /** Ends once there has been one. */
  readonly met: Effect.Effect<void>
  /** What came and was not taken, by reason. */
  readonly dropped: DhtNode.DhtNode["dropped"]
}

const SOURCE = "DHT"

const fail = (code: DiscoveryError["code"], detail: string): DiscoveryError =>
  new DiscoveryError({ source: SOURCE, code, detail })

/** Reads `host:port`; undefined for anything else. IPv4 or a name: the DHT has no IPv6 here. */
export const parseBootstrap = (text: string): DhtNode.HostPort | undefined => {
  const [, host, digits] = /^([A-Za-z0-9._-]{1,253}):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  return host === undefined || port < 1 || port > 65_535 ? undefined : { host, port }
}

interface Opened {
  readonly node: DhtNode.DhtNode
  readonly network: DhtNetwork.DhtNetwork
}

const open = Effect.fnUntraced(function* (
  options: Options,
  publicKey: Uint8Array | undefined
): Effect.fn.Return<Opened, DiscoveryError, Scope.Scope> {
  const { host = "0.0.0.0", networkKey, port = 0 } = options
  const isPublic = options.public === true
  const names = [...(options.bootstrap ?? []), ...(isPublic ? PUBLIC_BOOTSTRAP : [])]
  if (isPublic && networkKey !== undefined) {
    return yield* fail(
      "Refused",
      "a private network's nodes do not show themselves in the public DHT: leave one of both out"
    )
  }
  if (names.length > MAX_BOOTSTRAP)
    return yield* fail("Malformed", `at most ${MAX_BOOTSTRAP} bootstrap nodes are asked`)
  const bootstrap: Array<DhtNode.HostPort> = []
  for (const name of names) {
    const at = parseBootstrap(name)
    if (at === undefined) return yield* fail("Malformed", `${JSON.stringify(name)} is no DHT node: write host:port`)
    bootstrap.push(at)
  }
  const network =
    networkKey === undefined
      ? DhtNetwork.named(options.network ?? DhtNetwork.DEFAULT_NETWORK)
      : DhtNetwork.keyed(networkKey)
  const rules = yield* Perimeter
  const outside = bootstrap.filter((at) => !rules.allows(at.host))
  if (bootstrap.length > 0 && outside.length === bootstrap.length) {
    const which = outside.map((at) => `${at.host}:${at.port}`).join(", ")
    return yield* fail(
      "Refused",
      `${which} is outside of the perimeter (${rules.name}): give a bootstrap node within, by its IP address`
    )
  }
  const node = yield* DhtNode.open({
    port,
    host,
    bootstrap,
    always: isPublic ? bootstrap.slice(0, options.bootstrap?.length ?? 0) : [],
    network,
    rules,
    seal: networkKey === undefined ? PacketSeal.none : PacketSeal.make(networkKey),
    ...(publicKey === undefined ? {} : { publicKey })
  }).pipe(Effect.mapError((detail) => fail("Failed", detail)))
  return { node, network }
})

/** Opens a DHT node that stores for others until the scope closes: what `parley dht` runs. */
export const serve = (options: Options = {}): Effect.Effect<Node, DiscoveryError, Scope.Scope> =>
  Effect.map(open(options, undefined), ({ node }) => node)

/** Whether everything that serves the queried capability announces itself under one hash. */
const exactName = ({ name }: Query): string | undefined => (name === undefined || name.includes("*") ? undefined : name)

const unreachable = Effect.mapError((detail: string) => fail("Unreachable", detail))
const late = fail("Unreachable", `the DHT did not answer within ${FIND_MS} ms`)

const join = Effect.fn("Dht.join")(function* (options: Options, identity: Identity["Service"], host: Host) {
  if (host.isPrivate && options.networkKey === undefined) {
    return yield* fail(
      "Refused",
      "the node's network is private: give the DHT its key, else it would tell strangers of the node"
    )
  }
  if (identity.nodeId !== host.nodeId)
    return yield* fail("Failed", "the DHT was given another identity than the node's")
  const clock = yield* Clock.Clock
  const key = identity.publicKey
  const { network, node } = yield* open(options, key)
  const turns = yield* Semaphore.make(1)
  const feed = Feed.make<Found>()
  yield* Effect.addFinalizer(() => Effect.sync(() => feed.end()))

  let advertised: AgentRecord.AgentRecord | undefined
  let seq = 0
  let isSeqKnown = false
  let dueAt = Number.POSITIVE_INFINITY
  /** When the node last advertised, and how many nodes it knew then. */
  let last = { at: 0, known: 0 }
  const announcedAt = new Map<string, number>()

  /** A version above every one that the DHT has of this key: also of an earlier run, whose clock may have been ahead. */
  const nextSeq = Effect.gen(function* () {
    if (!isSeqKnown) {
      const stored = yield* unreachable(node.get(key))
      seq = Math.max(seq, stored?.seq ?? 0)
      isSeqKnown = true
    }
    seq = Math.max(clock.currentTimeMillisUnsafe(), seq + 1)
    return seq
  })
  const put = (record: AgentRecord.AgentRecord) =>
    Effect.flatMap(nextSeq, (next) =>
      unreachable(
        node.put(key, (message) => identity.sign(message), { seq: next, value: DhtItem.encode(record, network) })
      )
    )
  const announce = (name: string | undefined) =>
    Effect.suspend(() => {
      const now = clock.currentTimeMillisUnsafe()
      const id = name ?? ""
      if (now - (announcedAt.get(id) ?? Number.NEGATIVE_INFINITY) < REFRESH_MS) return Effect.void
      return Effect.tap(unreachable(node.announce(network.infoHash(name))), () =>
        Effect.sync(() => announcedAt.set(id, now))
      )
    })
  const publish = turns.withPermit(
    Effect.gen(function* () {
      const record = host.record()
      if (record.node !== host.nodeId)
        return yield* fail("Failed", `that is the record of another node, ${record.node}`)
      if (AgentRecord.isTombstone(record)) {
        const wasAdvertised = advertised !== undefined
        advertised = undefined
        dueAt = Number.POSITIVE_INFINITY
        announcedAt.clear()
        if (wasAdvertised) yield* put(record)
        return
      }
      // Nobody could reach it, and nothing is to be had of it: so it is with a node that only asks.
      if (record.addresses.length === 0 && record.capabilities.length === 0) return
      advertised = record
      last = { at: clock.currentTimeMillisUnsafe(), known: node.known() }
      dueAt = clock.currentTimeMillisUnsafe() + RETRY_MS
      const names = [...new Set(record.capabilities.map(({ name }) => name))]
      yield* Effect.all(
        [put(record), Effect.forEach([undefined, ...names], announce, { concurrency: ANNOUNCING, discard: true })],
        { concurrency: "unbounded", discard: true }
      )
      dueAt = clock.currentTimeMillisUnsafe() + REFRESH_MS
    })
  )
  const logged = Effect.catch((error: DiscoveryError) => Effect.logDebug(error.message))

  /** Puts back what the DHT has lost: nodes go and come, and new ones are closer than those that hold it. */
  const check = Effect.gen(function* () {
    if (advertised === undefined) return
    const copies = yield* unreachable(node.copies(key))
    if (advertised === undefined || (copies.seq >= seq && 2 * copies.held > copies.asked)) return
    announcedAt.clear()
    yield* publish
  })
  // Soon after the beginning, when the DHT and the own view of it still grow, and then less and less often.
  const checkEvery = options.checkMs ?? (options.public === true ? CHECK_MS.public : CHECK_MS.own)
  let pause = options.checkMs ?? CHECK_MS.first
  const spacing = options.public === true ? OUTGROWN_MS.public : OUTGROWN_MS.own
  const checkOn = Effect.suspend(() => {
    // Spread, so that nodes that began together do not look together.
    const wait = Effect.sleep(pause * (0.75 + Math.random() / 2))
    if (advertised !== undefined) pause = Math.min(2 * pause, checkEvery)
    return Effect.andThen(wait, logged(check))
  })
  yield* Effect.forkScoped(Effect.forever(checkOn))
  yield* Effect.suspend(() => {
    const now = clock.currentTimeMillisUnsafe()
    if (advertised !== undefined && now - last.at >= spacing && node.known() >= OUTGROWN * last.known) {
      announcedAt.clear()
      return logged(publish)
    }
    if (now < dueAt) return Effect.void
    for (const [name, at] of announcedAt) if (now - at >= REFRESH_MS) announcedAt.delete(name)
    return logged(publish)
  }).pipe(Effect.repeat(Schedule.spaced("250 millis")), Effect.forkScoped)
  yield* Effect.addFinalizer(() => {
    if (advertised === undefined) return Effect.void
    const gone = AgentRecord.tombstone(identity, advertised.seq + 1, clock.currentTimeMillisUnsafe())
    advertised = undefined
    return put(gone).pipe(Effect.timeoutOption(GOODBYE_MS), Effect.ignore)
  })

  /** A node's item, where it is there, lives, and says that the node serves the capability. */
  const resolve = (publicKey: Uint8Array, capability: string | undefined) =>
    Effect.gen(function* () {
      const nodeId = NodeId.fromPublicKey(publicKey)
      if (nodeId === host.nodeId) return undefined
      const stored = yield* unreachable(node.get(publicKey))
      const item = stored && DhtItem.decode(stored.value)
      if (!DhtItem.isLive(item, clock.currentTimeMillisUnsafe())) return undefined
      if (capability !== undefined && !item.marks.has(DhtItem.markOf(network, capability))) return undefined
      const found: Found = { source: SOURCE, node: nodeId, addresses: item.addresses }
      return found
    })
  const announced = (capability: string | undefined): Stream.Stream<Uint8Array, DiscoveryError> =>
    Stream.callback<Uint8Array, DiscoveryError>(
      (queue) =>
        unreachable(
          node.lookup(network.infoHash(capability), (publicKey) => void Queue.offerUnsafe(queue, publicKey))
        ).pipe(
          Effect.matchEffect({
            onFailure: (error) => Queue.fail(queue, error),
            onSuccess: () => Queue.end(queue)
          })
        ),
      { bufferSize: MAX_CANDIDATES, strategy: "dropping" }
    ).pipe(Stream.take(MAX_CANDIDATES))
  const search = (query: Query): Stream.Stream<Found, DiscoveryError> => {
    const capability = exactName(query)
    const keys = query.node === undefined ? announced(capability) : Stream.succeed(NodeId.toPublicKey(query.node))
    return keys.pipe(
      Stream.mapEffect((publicKey) => resolve(publicKey, capability), { concurrency: CONCURRENCY, unordered: true }),
      Stream.filter((found) => found !== undefined)
    )
  }

  const membership: Membership = {
    advertise: publish.pipe(Effect.timeoutOrElse({ duration: FIND_MS, orElse: () => Effect.fail(late) })),
    find: (query, report) =>
      counted(
        SOURCE,
        report,
        Stream.suspend(() => {
          let answers = 0
          return search(query).pipe(
            Stream.tap(() => Effect.sync(() => answers++)),
            // What has come by then is an answer.
            Stream.interruptWhen(
              Effect.andThen(
                Effect.sleep(FIND_MS),
                Effect.suspend(() => (answers > 0 ? Effect.void : Effect.fail(late)))
              )
            )
          )
        })
      ),
    changes: feed.stream
  }
  return membership
})

/** Discovery through a DHT. Joining fails where a bootstrap node is no `host:port`, or the UDP port is taken. */
export const layer = (options: Options): Layer.Layer<Discovery, never, Identity> =>
  Layer.effect(
    Discovery,
    Effect.map(Identity, (identity) => Discovery.of({ name: SOURCE, join: (host) => join(options, identity, host) }))
  )
