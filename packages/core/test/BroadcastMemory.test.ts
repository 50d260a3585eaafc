import { describe, expect, test } from "bun:test"
import * as BroadcastMemory from "@parley/core/BroadcastMemory"
import * as Connections from "@parley/core/Connections"
import { suite } from "@parley/core/testing/BroadcastSuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"

suite(
  { describe, expect, test },
  {
    name: "memory",
    world: Effect.sync(() => {
      const hub = TransportMemory.makeHub()
      const board = BroadcastMemory.makeBoard()
      return {
        attach: (identity) =>
          Effect.map(Connections.make(TransportMemory.make(identity.nodeId, hub), identity.nodeId), (connections) => ({
            connections,
            broadcast: BroadcastMemory.make(board)
          }))
      }
    })
  }
)
