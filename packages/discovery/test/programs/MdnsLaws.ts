/** The laws of Discovery over mDNS, for a namespace of its own: one line of JSON for each law. */
import { deepStrictEqual, strictEqual } from "node:assert"
import * as Connections from "@parley/core/Connections"
import { Discovery } from "@parley/core/Discovery"
import { suite, type World } from "@parley/core/testing/DiscoverySuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Mdns from "../../src/Mdns.ts"

const expect = (actual: unknown) => ({
  toBe: (expected: unknown) => strictEqual(actual, expected),
  toEqual: (expected: unknown) => deepStrictEqual(actual, expected)
})
const laws: Array<{ readonly name: string; readonly body: () => void | Promise<void> }> = []
let port = 5353

suite(
  { describe: (_name, body) => body(), test: (name, body) => void laws.push({ name, body }), expect },
  {
    name: "mDNS",
    supports: { advertising: true, records: false, changes: true },
    findMs: Mdns.FIND_MS,
    world: Effect.sync(() => {
      // Each law has a port of its own, so that no goodbye of the last one is heard.
      const options = { port: port++ }
      const hub = TransportMemory.makeHub()
      let host = 1
      const discovery = Effect.map(Layer.build(Mdns.layerWith(options)), (context) => Context.get(context, Discovery))
      const world: World = {
        discovery,
        attach: ({ nodeId }) =>
          Effect.map(Connections.make(TransportMemory.make(nodeId, hub), nodeId), (connections) => ({
            connections,
            addresses: [`tcp://10.77.0.${host++}:7878`]
          }))
      }
      return world
    })
  }
)

for (const { body, name } of laws) {
  let failed: string | undefined
  try {
    await body()
  } catch (cause) {
    failed = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
  }
  process.stdout.write(`${JSON.stringify({ law: name, failed })}\n`)
}
process.stdout.write(`${JSON.stringify({ done: laws.length })}\n`)
process.exit(0)
