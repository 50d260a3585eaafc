/** Nodes on real TCP connections, each with its gossip, for tests. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Broadcast from "@parley/core/Broadcast"
import * as Connections from "@parley/core/Connections"
import * as Discovery from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
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
