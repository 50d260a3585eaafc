/** A relay in a process of its own: port and seed (hex) as arguments. Says its addresses in a line of JSON; ends with its input. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

const [port = "0", seed = "", leaseMs] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const connections = yield* Connections.Connections
  console.log(JSON.stringify({ addresses: connections.addresses() }))
  yield* Effect.callback<void>((resume) => {
    process.stdin.on("end", () => resume(Effect.void)).resume()
  })
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(
      Relay.layer(leaseMs === undefined ? {} : { leaseMs: Number(leaseMs) }).pipe(
        Layer.provideMerge(Connections.layer),
        Layer.provide(TransportTcp.layer({ host: "127.0.0.1", port: Number(port) })),
        Layer.provide(Identity.layerSeed(Buffer.from(seed, "hex")))
      )
    )
  )
)
process.exit(0)
