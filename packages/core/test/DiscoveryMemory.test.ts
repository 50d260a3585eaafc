import { describe, expect, test } from "bun:test"
import * as Connections from "@parley/core/Connections"
import * as DiscoveryMemory from "@parley/core/DiscoveryMemory"
import { everything, suite } from "@parley/core/testing/DiscoverySuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"

suite(
  { describe, test, expect },
  {
    name: "memory",
    supports: everything,
    world: Effect.sync(() => {
      const board = DiscoveryMemory.makeBoard()
      const hub = TransportMemory.makeHub()
      return {
        discovery: Effect.succeed(DiscoveryMemory.make(board)),
        attach: ({ nodeId }) =>
          Effect.map(Connections.make(TransportMemory.make(nodeId, hub), nodeId), (connections) => ({
            connections,
            addresses: connections.addresses()
          }))
      }
    })
  }
)
