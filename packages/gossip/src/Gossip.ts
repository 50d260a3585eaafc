/**
 * Gossip: nodes that carry each other's records and topics over many hops.
 *
 * Each node stays connected to a few neighbours (HyParView), along which messages travel on a tree that mends itself (Plumtree).
 * It gives two services: a `Discovery` that knows the record of every node of the mesh, and a `Broadcast` for topics. Both
 * are one member at work. Contacts come from the node's other discoveries and from its connections.
 *
 * Nothing is believed because a peer said it: a record and a topic's message count by their own signature, and are passed on
 * only then.
 */
import { randomInt } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { Broadcast, BroadcastError, type Carrier } from "@parley/core/Broadcast"
import { counted, Discovery, DiscoveryError, type Found, type Host, type Membership } from "@parley/core/Discovery"
import { Identity } from "@parley/core/Identity"
import type { Machine } from "@parley/core/Machine"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import type { Query } from "@parley/core/Query"
import * as Statement from "./Statement.ts"
import { type Counts, Engine, SOURCE } from "./internal/Engine.ts"
import * as GossipMachine from "./GossipMachine.ts"

export type { Counts } from "./internal/Engine.ts"
export { SOURCE } from "./internal/Engine.ts"

/** Records that one search gives: more than anybody asks at once. All others have been told as changes already. */
export const MAX_FOUND = 256

/** A node's part in the gossip. */
export interface Member {
  /** Nodes that this one exchanges messages with directly. */
  readonly neighbors: () => ReadonlyArray<NodeId>
  /** How many nodes' records are known, goodbyes included. */
  readonly records: () => number
  /** What came and went, since the start. */
  readonly counts: () => Counts
  readonly membership: Membership
  readonly carrier: Carrier
}

/** Gossip at work, for the `Discovery` and the `Broadcast` of one node. */
export class Gossip extends Context.Service<
  Gossip,
  {
    /** Goes to work for a node, or shares in what is at work for it; until the last scope closes. */
    readonly join: (host: Host) => Effect.Effect<Member, DiscoveryError, Scope.Scope>
  }
>()("@parley/gossip/Gossip") {}

const isAsked = ({ name, node }: Query, found: Found): boolean => {
  if (node !== undefined && node !== found.node) return false
  if (name === undefined) return true
  const prefix = name.endsWith("*") ? name.slice(0, -1) : undefined
  return (found.record?.capabilities ?? []).some((each) =>
    prefix === undefined ? each.name === name : each.name.startsWith(prefix)
  )
}

const memberOf = (engine: Engine, host: Host, connect: (found: Found) => void): Member => ({
  neighbors: () => [...engine.neighbors],
  records: () => engine.records.size,
  counts: () => engine.counts(),
  membership: {
    advertise: Effect.suspend(() => {
      const refused = engine.advertise(host.record())
      return refused === undefined
        ? Effect.void
        : Effect.fail(new DiscoveryError({ source: SOURCE, code: "Refused", detail: refused.message }))
    }),
    find: (query, report) =>
      counted(
        SOURCE,
        report,
        Stream.suspend(() => Stream.fromIterable(engine.find((found) => isAsked(query, found), MAX_FOUND)))
      ),
    changes: engine.feed.stream
  },
  carrier: {
    publish: (topic, text) =>
      Effect.suspend(() => {
        const handed = engine.publish(topic, text)
        return handed instanceof BroadcastError ? Effect.fail(handed) : Effect.succeed(handed)
      }),
    subscribe: (topic, hear) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => engine.subscribe(topic, hear)),
          (stop) => Effect.sync(stop)
        )
      ),
    meet: connect,
    isDown: (node) => engine.isDown(node)
  }
})

/** Addresses without a NodeId that are dialled at once: whoever answers there says who it is. */
const MAX_STRANGERS = 4

type AnyMachine = Machine<
  unknown,
  GossipMachine.Message,
  GossipMachine.Timer,
  GossipMachine.Command,
  GossipMachine.Told
>

/** The machine that a node's gossip runs, and the state in which it begins. */
export type MachineOf = (terms: GossipMachine.Terms) => { readonly machine: AnyMachine; readonly state: unknown }

/** The usual machine. */
export const machineOf: MachineOf = (terms) => ({
  machine: GossipMachine.machine as AnyMachine,
  state: GossipMachine.make(terms)
})

/** Starts the gossip of one node. */
const start = Effect.fnUntraced(function* (
  given: MachineOf,
  identity: Identity["Service"],
  host: Host
): Effect.fn.Return<Member, DiscoveryError, Scope.Scope> {
  const { connections } = host
  if (host.nodeId !== identity.nodeId) {
    const detail = `gossip signs as ${identity.nodeId}, and the node is ${host.nodeId}: give both the same identity`
    return yield* new DiscoveryError({ source: SOURCE, code: "Failed", detail })
  }
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const engine = yield* Effect.acquireRelease(
    Effect.sync(
      () =>
        new Engine({
          identity,
          connections,
          addresses: host.addresses,
          fork,
          start: (verify) =>
            given({
              self: identity.nodeId,
              // Higher than in any earlier life of the node, unless its clock was set back.
              incarnation: Date.now(),
              // Choices that nobody can foresee.
              seed: randomInt(0xffff_ffff),
              sign: (statement) => Statement.sign(identity, statement),
              verify
            })
        })
    ),
    (made) => Effect.sync(() => made.stop(host.record()))
  )
  yield* connections
    .handle(Protocol.GOSSIP, engine.links.accept)
    .pipe(Effect.mapError((error) => new DiscoveryError({ source: SOURCE, code: "Failed", detail: error.message })))
  engine.command({ _tag: "Join", contacts: [] })
  yield* connections.observe({
    onConnected: (connection) => {
      engine.links.onConnected(connection)
      engine.contact(connection.peer)
    }
  })
  let strangers = 0
  /** Whoever is found is a contact; where only an address is known, it is dialled, and its peer is one then. */
  const meet = (found: Found): void => {
    if (found.source === SOURCE || found.gone === true) return
    const node = found.node ?? found.record?.node
    if (node !== undefined) return engine.contact(node, found.addresses)
    if (strangers >= MAX_STRANGERS || engine.neighbors.size > 0) return
    strangers++
    fork(
      connections
        .connect({ addresses: found.addresses })
        .pipe(Effect.ignore, Effect.ensuring(Effect.sync(() => void strangers--)))
    )
  }
  return memberOf(engine, host, meet)
})

/** One member for each node, shared by all who join for it. */
const make = (given: MachineOf, identity: Identity["Service"]): Gossip["Service"] => {
  const running = new Map<NodeId, { readonly member: Member; readonly scope: Scope.Closeable; users: number }>()
  const lock = Semaphore.makeUnsafe(1)
  const leave = (nodeId: NodeId) =>
    Effect.suspend(() => {
      const shared = running.get(nodeId)
      if (shared === undefined || --shared.users > 0) return Effect.void
      running.delete(nodeId)
      return Scope.close(shared.scope, Exit.void)
    })
  return Gossip.of({
    join: (host) =>
      Effect.acquireRelease(
        Effect.gen(function* () {
          const known = running.get(host.nodeId)
          if (known !== undefined) {
            known.users++
            return known.member
          }
          const scope = yield* Scope.make()
          const member = yield* Scope.provide(start(given, identity, host), scope).pipe(
            Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
          )
          running.set(host.nodeId, { member, scope, users: 1 })
          return member
        }).pipe(lock.withPermits(1)),
        () => lock.withPermits(1)(leave(host.nodeId))
      )
  })
}

/** Gossip by another machine than the usual: for experiments, and for tests of the driver. */
export const layerOf = (given: MachineOf): Layer.Layer<Gossip, never, Identity> =>
  Layer.effect(
    Gossip,
    Effect.map(Identity, (identity) => make(given, identity))
  )

/** The records of the mesh, by gossip. */
export const layerDiscovery: Layer.Layer<Discovery, never, Gossip> = Layer.effect(
  Discovery,
  Effect.map(Gossip, (gossip) =>
    Discovery.of({ name: SOURCE, join: (host) => Effect.map(gossip.join(host), ({ membership }) => membership) })
  )
)

/** Topics over the mesh, by gossip. */
export const layerBroadcast: Layer.Layer<Broadcast, never, Gossip> = Layer.effect(
  Broadcast,
  Effect.map(Gossip, (gossip) =>
    Broadcast.of({
      name: SOURCE,
      join: (host) =>
        gossip.join(host).pipe(
          Effect.map(({ carrier }) => carrier),
          Effect.mapError((error) => new BroadcastError({ code: "Closed", detail: error.message }))
        )
    })
  )
)
/** Gossip for the `Discovery` and the `Broadcast` that stand on it. */
export const layerGossip: Layer.Layer<Gossip, never, Identity> = layerOf(machineOf)

/** A `Discovery` and a `Broadcast` by gossip. */
export const layer: Layer.Layer<Discovery | Broadcast | Gossip, never, Identity> = Layer.provideMerge(
  Layer.mergeAll(layerDiscovery, layerBroadcast),
  layerGossip
)
