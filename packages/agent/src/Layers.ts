/**
 * The default layers joined: identity, TCP, discovery by address, mDNS, tracker, DHT and registry, matcher, strategies, trust, node.
 *
 * Everything is an option with a default that needs nothing: without any, a node gets a fresh key, a free port, and finds
 * others on the local network. Where that network has no multicast, the node starts all the same and says so in the log.
 */
import { isIPv4 } from "node:net"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Consensus from "@parley/consensus/Consensus"
import type { Connections } from "@parley/core/Connections"
import * as Discovery from "@parley/core/Discovery"
import * as Guardrails from "@parley/core/Guardrails"
import * as Identity from "@parley/core/Identity"
import type { KeyStoreError } from "@parley/core/KeyStore"
import * as Matcher from "@parley/core/Matcher"
import * as Network from "@parley/core/Network"
import * as Node from "@parley/core/Node"
import * as Perimeter from "@parley/core/Perimeter"
import * as Strategy from "@parley/core/Strategy"
import type { Address, TransportError } from "@parley/core/Transport"
import * as Trust from "@parley/core/Trust"
import * as Mdns from "@parley/discovery/Mdns"
import * as Static from "@parley/discovery/Static"
import * as Tracker from "@parley/discovery/Tracker"
import * as Gossip from "@parley/gossip/Gossip"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import type { FileError } from "./FileError.ts"
import type { Parts } from "./internal/Registry.ts"
import * as RelaysAloud from "./internal/RelaysAloud.ts"
import type { NetworkError } from "./Invitation.ts"
import type { Opened } from "./NetworkFolder.ts"
import * as NetworkKey from "./NetworkKey.ts"
import * as TrustFile from "./TrustFile.ts"

/** A registry and how far the node uses it. */
export interface Registry {
  /** `http://host:port`. */
  readonly at: string
  /** Registers the node there. Default: true. */
  readonly register?: boolean
  /** Tells it what happened to this node's tasks, and how peers did them. Never inputs or outputs. Default: true. */
  readonly report?: boolean
  /** Asks for receipts where a call does not say (about 100 µs an answer): reports count for more with them. Default: true. */
  readonly receipts?: boolean
  /** Publishes verdicts with their certificates, which hold the question and every answer. Default: false. */
  readonly verdicts?: boolean
  /**
   * How far what the registry signed of an agent moves where this node's trust in it begins: from 0, not at all, to 1, all the
   * way. Default: 0.
   */
  readonly trust?: number
  /** The registry belongs to the private network that the node is part of. Default: false: a private node stays away from it. */
  readonly ofNetwork?: boolean
}

/** A DHT, and how to take part in it. */
export interface Dht {
  /** Nodes of an own DHT to begin with (`parley dht`): `host:port`. */
  readonly bootstrap?: ReadonlyArray<string>
  /** The public Mainline DHT, too. Everybody there can see that the node is there, and where. Default: false. */
  readonly public?: boolean
  /** UDP port. Default: 0, any free one. */
  readonly port?: number
  /** Name of the network: nodes of other names are not found. Default: `parley`; with a network key, the key says it. */
  readonly network?: string
}

/** How a node is put together. */
export interface Options {
  /** For people; not unique. Default: the end of the NodeId. */
  readonly name?: string
  /**
   * The key: a key file's path (made where there is none; `~` is the home folder), or a 32-byte seed. Default: a new key that
   * lives as long as the process, so that two agents on one machine are two agents.
   */
  readonly identity?: string | Uint8Array
  /** Opens or seals the key file. */
  readonly passphrase?: string | Redacted.Redacted<string>
  /** TCP port to listen on. Default: 0, any free one. */
  readonly port?: number
  /** Interface to listen on. Default: the transport's, all of them. */
  readonly host?: string
  /** Whether to accept connections at all. Default: true. */
  readonly listen?: boolean
  /** Addresses to publish in place of those listened on, as behind a forwarded port. */
  readonly advertise?: ReadonlyArray<Address>
  /**
   * Has this machine's router let the port through, by NAT-PMP or UPnP (`PortMapping`). Default: false: it changes somebody's router. In a
   * closed perimeter it does nothing.
   */
  readonly portMapping?: boolean
  /** Whether relayed connections are replaced by direct ones, through routers too (`Punch`). Default: as `listen`. */
  readonly punch?: boolean
  /** Finds and is found on the local network. Default: true. */
  readonly mdns?: boolean
  /** Trackers to register with and to ask: `tcp://host:port`. */
  readonly trackers?: ReadonlyArray<Address>
  /** Finds and is found through a DHT: its bootstrap nodes `host:port`, or more about it. */
  readonly dht?: ReadonlyArray<string> | Dht
  /** A registry to register with, to ask, and to tell: its URL, or more about it. Optional: a node goes on without it. */
  readonly registry?: string | Registry
  /**
   * Takes part in the mesh's gossip: topics reach every node that does, over many hops, and so do records. Default: true. Costs
   * a few connections, and what the mesh has to say.
   */
  readonly gossip?: boolean
  /** Peers known by address. */
  readonly peers?: ReadonlyArray<Address>
  /** Relays through which this node shall be reachable. Default: the trackers, and the bootstrap nodes of an own DHT. */
  readonly relays?: ReadonlyArray<Address>
  /** The private network's key: 32 bytes, or the path of a key file (`NetworkKey`). */
  readonly networkKey?: string | Uint8Array
  /**
   * The private network that the node is a member of: the path of its folder (`NetworkFolder`), in place of `networkKey`. Without an
   * `identity` the node is the member itself; with one it acts for the member, as long as it runs.
   */
  readonly network?: string
  /** `closed`: nothing is sent to hosts outside the private ranges. Default: `closed` for a node of a `network`, else `open`. */
  readonly perimeter?: "closed" | "open"
  /** The path of a file that keeps trust. Default: trust ends with the process. */
  readonly trust?: string
  /** Limits of connections to change (`TransportTcp.Options`): how many, how many of one address, and more. */
  readonly limits?: TransportTcp.Options["limits"]
  /** Guardrails to change. */
  readonly guardrails?: Partial<Guardrails.Settings>
  /** More strategies; these win where names are equal. */
  readonly strategies?: ReadonlyArray<Strategy.Registered>
  /** Hears what each discovery finds, and which one it was. */
  readonly onFound?: (found: Discovery.Found) => void
}

/** What the joined layers provide. */
export type Services = Node.Node | Connections | Identity.Identity | Trust.Trust | Matcher.Matcher | Strategy.Strategies

/** Why they cannot be built: the key file, another file, or the port. */
export type StartError = KeyStoreError | FileError | NetworkError | TransportError | Discovery.DiscoveryError

const sealedWith = ({ passphrase }: Options): { readonly passphrase?: Redacted.Redacted<string> } =>
  passphrase === undefined
    ? {}
    : { passphrase: typeof passphrase === "string" ? Redacted.make(passphrase) : passphrase }

const identity = (options: Options): Layer.Layer<Identity.Identity, KeyStoreError> => {
  const { identity } = options
  if (identity === undefined) return Identity.layerEphemeral
  if (typeof identity !== "string") return Identity.layerSeed(identity)
  return Identity.layerFile(identity, sealedWith(options))
}

/** The network's folder, opened for a node that is to be of it. Loaded for those who are. */
const opened = (options: Options, folder: string) =>
  Effect.gen(function* () {
    const NetworkFolder = yield* Effect.promise(() => import("./NetworkFolder.ts"))
    const own =
      options.identity === undefined
        ? undefined
        : yield* Effect.scoped(Effect.map(Layer.build(identity(options)), Context.get(Identity.Identity)))
    return yield* NetworkFolder.open(folder, own, sealedWith(options))
  })

/** What stands in for a discovery that could not join: it finds nothing, and says why in every search. */
const idle = (name: string, error: Discovery.DiscoveryError): Discovery.Membership => ({
  advertise: Effect.void,
  find: (_query, report) => Discovery.counted(name, report, Stream.fail(error)),
  changes: Stream.empty
})

/** A discovery that does without the network where it must, and says so aloud; and whose finds are told. */
const heard = <R>(
  layer: Layer.Layer<Discovery.Discovery, Discovery.DiscoveryError, R>,
  onFound: Options["onFound"]
): Layer.Layer<Discovery.Discovery, Discovery.DiscoveryError, R> =>
  Layer.effect(
    Discovery.Discovery,
    Effect.map(Discovery.Discovery, (discovery) =>
      Discovery.Discovery.of({
        name: discovery.name,
        join: (host) =>
          discovery.join(host).pipe(
            Effect.map((membership) => aloud(membership, host)),
            Effect.map((membership) => (onFound === undefined ? membership : told(membership, onFound))),
            Effect.catch((error) => Effect.as(Effect.logWarning(error.message), idle(discovery.name, error)))
          )
      })
    )
  ).pipe(Layer.provide(layer))

/** Warns once when a source does not take what the node serves, until it has: the source itself tries again. */
const aloud = (membership: Discovery.Membership, { record }: Discovery.Host): Discovery.Membership => {
  let isWarned = false
  return {
    ...membership,
    advertise: membership.advertise.pipe(
      Effect.tap(() => Effect.sync(() => void (isWarned = false))),
      Effect.tapError((error) => {
        if (isWarned || record().capabilities.length === 0) return Effect.void
        isWarned = true
        return Effect.logWarning(`${error.message} (it is tried again; until then nobody finds this node there)`)
      })
    )
  }
}

const told = (membership: Discovery.Membership, onFound: NonNullable<Options["onFound"]>): Discovery.Membership => {
  const tell = (found: Discovery.Found) => Effect.sync(() => onFound(found))
  return {
    advertise: membership.advertise,
    find: (query, report) => Stream.tap(membership.find(query, report), tell),
    changes: Stream.tap(membership.changes, tell)
  }
}

/** What stands for discovery where every one is switched off. */
const nowhere = Layer.succeed(
  Discovery.Discovery,
  Discovery.Discovery.of({
    name: "discovery",
    join: () =>
      Effect.succeed(
        idle(
          "discovery",
          new Discovery.DiscoveryError({
            source: "discovery",
            code: "Failed",
            detail: "mDNS is off, and neither a peer nor a tracker nor a DHT nor a registry is given"
          })
        )
      )
  })
)

const dhtOf = ({ dht }: Options): Dht | undefined =>
  dht === undefined ? undefined : "length" in dht ? (dht.length === 0 ? undefined : { bootstrap: dht }) : dht

/** Loaded for those who want one. */
const dhtLayer = (dht: Dht, networkKey: Uint8Array | undefined, { host }: Options) =>
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("@parley/discovery/Dht")),
      (Dht) =>
        Dht.layer({
          ...dht,
          ...(host !== undefined && isIPv4(host) ? { host } : {}),
          ...(networkKey === undefined ? {} : { networkKey })
        })
    )
  )

const discovery = (
  options: Options,
  registry: Parts | undefined,
  networkKey: Uint8Array | undefined
): Layer.Layer<Discovery.Discovery, Discovery.DiscoveryError, Identity.Identity | Gossip.Gossip> => {
  const { gossip = true, mdns = true, onFound, peers = [], trackers = [] } = options
  const dht = dhtOf(options)
  const layers: ReadonlyArray<Layer.Layer<Discovery.Discovery, Discovery.DiscoveryError, Identity.Identity>> = [
    ...(peers.length > 0 ? [Static.layer(peers)] : []),
    ...(mdns ? [networkKey === undefined ? Mdns.layer : Mdns.layerWith({ networkKey })] : []),
    ...trackers.map((at) => Tracker.layer({ at })),
    ...(dht === undefined ? [] : [dhtLayer(dht, networkKey, options)]),
    ...(registry === undefined ? [] : [registry.discovery])
  ]
  return Discovery.layerMerge([
    // Gossip tells of others once somebody is met, and so finds nobody alone.
    ...(layers.length === 0 ? [nowhere] : layers.map((layer) => heard(layer, onFound))),
    ...(gossip ? [heard(Gossip.layerDiscovery, onFound)] : [])
  ])
}

const transport = (options: Options, networkKey: Uint8Array | undefined) =>
  Layer.unwrap(
    Effect.map(Effect.context(), (context) =>
      TransportTcp.layer({
        port: options.port ?? 0,
        ...(options.host === undefined ? {} : { host: options.host }),
        ...(options.listen === undefined ? {} : { listen: options.listen }),
        ...(options.advertise === undefined ? {} : { advertise: options.advertise }),
        ...(options.portMapping === undefined ? {} : { portMapping: options.portMapping }),
        ...(options.punch === undefined ? {} : { punch: options.punch }),
        relays: options.relays ?? [
          ...(options.trackers ?? []),
          // Who runs `parley dht` relays at the same port; a bootstrap node that does not is asked in vain.
          ...(dhtOf(options)?.bootstrap ?? []).map((at) => `tcp://${at}`)
        ],
        // A tracker or a DHT that does not answer is told of as such.
        ...(options.relays === undefined ? {} : { onRelays: RelaysAloud.make(Effect.runForkWith(context)) }),
        ...(options.limits === undefined ? {} : { limits: options.limits }),
        ...(networkKey === undefined ? {} : { networkKey })
      })
    )
  )

/** A registry outside of the perimeter would be asked over HTTP, and redirect wherever it likes. */
const beyond = (url: string): Discovery.DiscoveryError | undefined => {
  const host = URL.canParse(url) ? new URL(url).hostname.replace(/^\[(.*)\]$/, "$1") : ""
  if (Perimeter.closed.allows(host)) return undefined
  const detail = `this node keeps to ${Perimeter.closed.name}, and ${host} is none: give the registry by its private IP address`
  return new Discovery.DiscoveryError({ source: `registry ${url}`, code: "Refused", detail })
}

const joined = (
  options: Options,
  registry: Parts | undefined,
  member: Opened | undefined
): Layer.Layer<Services, StartError> => {
  const { networkKey } = options
  const ground = Layer.mergeAll(
    member === undefined ? identity(options) : Layer.succeed(Identity.Identity, member.identity),
    options.trust === undefined ? Trust.layer : TrustFile.layer(options.trust),
    Matcher.layer,
    Strategy.layer(Consensus.registered, ...(options.strategies ?? [])),
    Guardrails.layer(options.guardrails ?? {})
  )
  const key: Effect.Effect<Uint8Array | undefined, FileError> =
    member !== undefined
      ? Effect.succeed(member.key)
      : typeof networkKey === "string"
        ? NetworkKey.load(networkKey)
        : Effect.succeed(networkKey)
  const network = Layer.unwrap(
    Effect.map(key, (bytes) =>
      Layer.mergeAll(
        transport(options, bytes),
        discovery(options, registry, bytes),
        options.gossip === false ? Layer.empty : Gossip.layerBroadcast
      )
    )
  ).pipe(Layer.provide(Gossip.layerGossip))
  const node = Node.layer(options.name === undefined ? {} : { name: options.name }).pipe(Layer.provide(network))
  const telling = registry?.node === undefined ? node : Layer.provideMerge(registry.node, node)
  const kept =
    member?.members === undefined
      ? telling
      : Layer.mergeAll(Network.layerKeep, Layer.effectDiscard(Effect.forkScoped(member.watch))).pipe(
          Layer.provideMerge(telling),
          Layer.provide(Layer.succeed(Network.Network, member.members))
        )
  return kept.pipe(
    Layer.provideMerge(registry?.trust === undefined ? ground : Layer.provideMerge(registry.trust, ground)),
    Layer.provide(isClosed(options) ? Perimeter.layerClosed : Layer.empty)
  )
}

const isClosed = ({ network, perimeter }: Options): boolean =>
  (perimeter ?? (network === undefined ? "open" : "closed")) === "closed"

/** A node of the given options, and the services it stands on. */
export const layer = (options: Options = {}): Layer.Layer<Services, StartError> => {
  const { network, registry } = options
  if (registry === undefined && network === undefined) return joined(options, undefined, undefined)
  const given = typeof registry === "string" ? { at: registry } : registry
  return Layer.unwrap(
    Effect.gen(function* () {
      const outside = given !== undefined && isClosed(options) ? beyond(given.at) : undefined
      if (outside !== undefined) return yield* outside
      const member = network === undefined ? undefined : yield* opened(options, network)
      if (given === undefined) return joined(options, undefined, member)
      // What a node without a registry does not need is not loaded for it.
      const { parts } = yield* Effect.promise(() => import("./internal/Registry.ts"))
      return joined(options, parts(given), member)
    })
  )
}
