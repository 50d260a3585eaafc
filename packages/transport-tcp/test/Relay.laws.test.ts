/** Verifies: the laws of Transport over relay circuits, through a tracker on TCP. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { Transport } from "@parley/core/Transport"
import { suite } from "@parley/core/testing/TransportSuite"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

const pair = Effect.gen(function* () {
  const tracker = Identity.generate()
  const transport = TransportTcp.make(tracker, { host: "127.0.0.1", port: 0 })
  const context = yield* Layer.build(
    Relay.layer().pipe(
      Layer.provideMerge(Connections.layer),
      Layer.provide(Layer.succeed(Transport, transport)),
      Layer.provide(Layer.succeed(Identity.Identity, tracker))
    )
  )
  const relays = yield* Effect.provide(
    Connections.Connections.useSync((connections) => connections.addresses()),
    context
  )
  const party = () => {
    const identity = Identity.generate()
    return { nodeId: identity.nodeId, transport: TransportTcp.make(identity, { listen: false, relays }) }
  }
  return [party(), party()] as const
})

suite(
  { describe, test, expect },
  { name: "relay circuits", pair, choose: (addresses) => addresses.find((address) => address.startsWith("relay:")) }
)
