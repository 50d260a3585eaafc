/** Joins a DHT, announces, searches, leaves, and must then end by itself. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Dht from "../../src/Dht.ts"
import { join } from "../support/HostileDht.ts"

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      const { address } = yield* Dht.serve({ host: "127.0.0.1" })
      const ada = yield* join({ bootstrap: [`127.0.0.1:${address.port}`] })
      yield* ada.publish()
      yield* Stream.runDrain(ada.membership.find({ name: "test.ability" }))
    })
  )
)
