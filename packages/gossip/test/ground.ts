/** Nodes on real TCP connections, each with its gossip, for tests. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Broadcast from "@parley/core/Broadcast"
import * as Connections from "@parley/core/Connections"
import * as Discovery from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import type { Address } from "@parley/core/Transport"
import { Transport } from "@parley/core/Transport"
import * as Gossip from "@parley/gossip/Gossip"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

/** A node without the rest of a node: connections, and the gossip that joins for it. */
export interface Ground {
  readonly connections: Connections.Connections["Service"]
  readonly discovery: Discovery.Discovery["Service"]
  readonly broadcast: Broadcast.Broadcast["Service"]
  readonly gossip: Gossip.Gossip["Service"]
  readonly addresses: ReadonlyArray<Address>
}

/** Connections over TCP on the loopback, and gossip. */
export const ground = (
  identity: Identity.Identity["Service"],
  machineOf?: Gossip.MachineOf
): Effect.Effect<Ground, never, Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Layer.build(
      Layer.fresh(
        Layer.mergeAll(
          TransportTcp.layer({ port: 0, host: "127.0.0.1" }),
          Layer.provideMerge(
            Layer.mergeAll(Gossip.layerDiscovery, Gossip.layerBroadcast),
            machineOf === undefined ? Gossip.layerGossip : Gossip.layerOf(machineOf)
          )
        ).pipe(Layer.provide(Layer.succeed(Identity.Identity, identity)))
      )
    )
    const connections = yield* Connections.make(Context.get(context, Transport), identity.nodeId)
    return {
      connections,
      discovery: Context.get(context, Discovery.Discovery),
      broadcast: Context.get(context, Broadcast.Broadcast),
      gossip: Context.get(context, Gossip.Gossip),
      addresses: connections.addresses()
    }
  }).pipe(Effect.orDie)

/** A node that has joined: it advertises a record of its own, and can be asked for more. */
export interface Joined extends Ground, Gossip.Member {
  readonly identity: Identity.Identity["Service"]
  readonly nodeId: NodeId
  readonly record: () => AgentRecord.AgentRecord
  /** Signs a record with these fields, and advertises it. */
  readonly advertise: (fields?: Partial<AgentRecord.Fields>) => Effect.Effect<void>
  /** Signs a goodbye, and advertises it. */
  readonly bury: Effect.Effect<void>
}

/** A node whose gossip is at work until the scope closes. */
export const joined = (machineOf?: Gossip.MachineOf): Effect.Effect<Joined, never, Scope.Scope> =>
  Effect.gen(function* () {
    const identity = Identity.generate()
    const made = yield* ground(identity, machineOf)
    let seq = 0
    const sign = (fields: Partial<AgentRecord.Fields> = {}): AgentRecord.AgentRecord =>
      AgentRecord.make(identity, {
        name: "node",
        seq: ++seq,
        issuedAt: Date.now(),
        addresses: made.connections.addresses(),
        capabilities: [{ name: "law.test", version: "1.0.0" }],
        ...fields
      })
    let record = sign()
    const member = yield* made.gossip.join({
      nodeId: identity.nodeId,
      record: () => record,
      addresses: () => record.addresses,
      connections: made.connections,
      isPrivate: false
    })
    return {
      ...made,
      ...member,
      identity,
      nodeId: identity.nodeId,
      record: () => record,
      advertise: (fields?: Partial<AgentRecord.Fields>) =>
        Effect.suspend(() => {
          record = sign(fields)
          return Effect.orDie(member.membership.advertise)
        }),
      bury: Effect.flatMap(Clock.currentTimeMillis, (now) => {
        record = AgentRecord.tombstone(identity, ++seq, now)
        return Effect.orDie(member.membership.advertise)
      })
    }
  }).pipe(Effect.orDie)

/** Connections without gossip: it sends what a test makes it send. */
export const stranger: Effect.Effect<
  { readonly identity: Identity.Identity["Service"]; readonly connections: Connections.Connections["Service"] },
  never,
  Scope.Scope
> = Effect.gen(function* () {
  const identity = Identity.generate()
  const { connections } = yield* ground(identity)
  // It takes what is said to it, and makes nothing of it.
  yield* connections.handle(Protocol.GOSSIP, () => ({
    onMessage: () => {},
    onWritable: () => {},
    onClosed: () => {}
  }))
  return { identity, connections }
}).pipe(Effect.orDie)

/** Connects one node to another. */
export const meet = (from: Ground, to: Joined): Effect.Effect<void> =>
  Effect.asVoid(Effect.orDie(from.connections.connect({ node: to.nodeId, addresses: to.addresses })))

/** Runs a test's effect with a scope of its own. */
export const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(effect))

/** Waits until something is so. */
export const until = (what: string, condition: () => Effect.Effect<boolean>, withinMs = 15_000): Effect.Effect<void> =>
  Effect.gen(function* () {
    const began = performance.now()
    while (!(yield* condition())) {
      if (performance.now() - began > withinMs) return yield* Effect.die(new Error(`still not so: ${what}`))
      yield* Effect.sleep("5 millis")
    }
  })
