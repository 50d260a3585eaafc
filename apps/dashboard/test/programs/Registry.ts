// A registry in a process of its own, with the dashboard as it is built: FILE [PORT [OPERATOR_TOKEN]]
// Prints its URL when it serves. It ends when its standard input does, so that it never outlives a test.
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as Server from "@parley/registry/Server"
import * as StoreSqlite from "@parley/registry/StoreSqlite"

const [file = ":memory:", port = "0", operatorToken] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const { url } = yield* Server.RegistryServer
  yield* Effect.sync(() => console.log(url))
  return yield* Effect.never
}).pipe(
  Effect.provide(
    Server.layer({
      port: Number(port),
      dashboard: join(import.meta.dirname, "../../dist"),
      // One machine plays a whole mesh here.
      rates: { exemptLoopback: true, identity: { perSecond: 1e6, burst: 1e6 } },
      ...(operatorToken === undefined ? {} : { mode: "keys" as const, operatorToken: Redacted.make(operatorToken) })
    }).pipe(Layer.provide([StoreSqlite.layer(file), PresenceMemory.layer, LimitsMemory.layer]))
  )
)

process.stdin.on("end", () => process.exit(0)).resume()
Effect.runPromise(program).catch((cause: unknown) => {
  console.error(cause)
  process.exit(1)
})
