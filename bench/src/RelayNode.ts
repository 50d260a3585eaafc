/** A node that forwards for others, with quotas that a bench does not use up: what is measured is forwarding. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

const PLENTY = 2 ** 50

/** Starts it, and gives its address. */
export const relayNode = (): Promise<string> =>
  ManagedRuntime.make(
    Relay.layer({ maxCircuitBytes: PLENTY, maxPeerBytesPerHour: PLENTY, maxHostBytesPerHour: PLENTY }).pipe(
      Layer.provideMerge(Connections.layer),
      Layer.provide(TransportTcp.layer({ host: "127.0.0.1", port: 0 })),
      Layer.provide(Identity.layerEphemeral)
    )
  ).runPromise(Effect.map(Connections.Connections, (connections) => connections.addresses()[0]!))
