/** Verifies: the laws of Transport over connections within one process. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Identity from "@parley/core/Identity"
import * as TransportMemory from "@parley/core/TransportMemory"
import { suite } from "@parley/core/testing/TransportSuite"

suite(
  { describe, test, expect },
  {
    name: "memory",
    pair: Effect.sync(() => {
      const hub = TransportMemory.makeHub()
      const party = () => {
        const { nodeId } = Identity.generate()
        return { nodeId, transport: TransportMemory.make(nodeId, hub) }
      }
      return [party(), party()] as const
    })
  }
)
