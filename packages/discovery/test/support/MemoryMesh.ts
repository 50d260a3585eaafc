/** Nodes of one process for the tests of this package: connections over a memory hub, and a tracker among them. */
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Connections from "@parley/core/Connections"
import { Discovery, type DiscoveryError, type Host } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TrackerServer from "../../src/TrackerServer.ts"

/** Connections of an identity in a hub. */
export const attach = (hub: TransportMemory.Hub, { nodeId }: Identity.Identity["Service"]) =>
  Effect.map(Connections.make(TransportMemory.make(nodeId, hub), nodeId), (connections) => ({
    connections,
    addresses: connections.addresses()
  }))

/** A tracker in a hub. */
export const tracker = Effect.fnUntraced(function* (
  hub: TransportMemory.Hub,
  options: Partial<TrackerServer.Options> = {},
  identity: Identity.Identity["Service"] = Identity.generate()
) {
  const { addresses, connections } = yield* attach(hub, identity)
  yield* Layer.build(
    TrackerServer.layer(options).pipe(Layer.provide(Layer.succeed(Connections.Connections, connections)))
  )
  return { identity, connections, at: addresses[0]! }
})

/** The discovery that a layer makes. */
export const discoveryOf = (layer: Layer.Layer<Discovery, DiscoveryError>) =>
  Effect.map(Layer.build(layer), (context) => Context.get(context, Discovery))

/** A node that speaks for itself with a record of one capability. */
export const host = Effect.fnUntraced(function* (
  hub: TransportMemory.Hub,
  identity: Identity.Identity["Service"] = Identity.generate()
) {
  const { addresses, connections } = yield* attach(hub, identity)
  const make = (seq: number, fields: Partial<AgentRecord.Fields> = {}) =>
    AgentRecord.make(identity, {
      name: "host",
      seq,
      issuedAt: Date.now(),
      addresses,
      capabilities: [{ name: "test.ability", version: "1.0.0" }],
      ...fields
    })
  let record = make(1)
  const made: Host & {
    readonly publish: (seq: number, fields?: Partial<AgentRecord.Fields>) => AgentRecord.AgentRecord
  } = {
    nodeId: identity.nodeId,
    record: () => record,
    addresses: () => record.addresses,
    connections,
    isPrivate: false,
    publish: (seq, fields) => {
      record = make(seq, fields)
      return record
    }
  }
  return made
})
