import { describe, expect, test } from "bun:test"
import { suite } from "@parley/core/testing/DiscoverySuite"
import * as Identity from "@parley/core/Identity"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Dht from "../src/Dht.ts"
import * as Mesh from "./support/MemoryMesh.ts"

suite(
  { describe, test, expect },
  {
    name: "DHT",
    supports: { advertising: true, records: false, changes: false },
    world: Effect.gen(function* () {
      const hub = TransportMemory.makeHub()
      const { address } = yield* Dht.serve({ host: "127.0.0.1" })
      let identity = Identity.generate()
      return {
        // The suite attaches an actor, and then asks for its discovery.
        attach: (next) =>
          Effect.suspend(() => {
            identity = next
            return Mesh.attach(hub, next)
          }),
        discovery: Effect.suspend(() =>
          Mesh.discoveryOf(
            Dht.layer({ host: "127.0.0.1", bootstrap: [`127.0.0.1:${address.port}`] }).pipe(
              Layer.provide(Layer.succeed(Identity.Identity, identity))
            )
          )
        )
      }
    })
  }
)
