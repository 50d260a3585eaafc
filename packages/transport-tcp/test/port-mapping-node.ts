/** A node of the tests of port mapping: serves or calls, and says in lines of JSON what came of it. Ends with its input. */
import { once } from "node:events"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import * as Perimeter from "@parley/core/Perimeter"
import type { Owner } from "@parley/core/Transport"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { empty } from "./nodes.ts"

const [mode = "serve", address = ""] = process.argv.slice(2)
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const identity = Identity.generate()
const transport = TransportTcp.make(identity, {
  port: mode === "call" ? 0 : 7878,
  portMapping: mode !== "call",
  ...(mode === "closed" ? { perimeter: Perimeter.closed } : {})
})
const owner: Owner = {
  nodeId: identity.nodeId,
  onConnection: () => {},
  onStream: (_connection, _protocol, stream) => ({
    onMessage: (message, last) => void stream.send(empty, Buffer.from(message).toString().toUpperCase(), last),
    onWritable: () => {},
    onClosed: () => {}
  }),
  onClosed: () => {},
  onRefused: () => {},
  onAddresses: (addresses) => say({ addresses }),
  connect: (target) => transport.dial(target.addresses[0]!, target.node),
  handle: () => Effect.void
}
const logged = Logger.layer([Logger.make(({ message }) => say({ log: [message].flat().join(" ") }))])
const scope = Scope.makeUnsafe()
const listening = transport.listen(owner).pipe(Scope.provide(scope), Effect.provide(logged))
say({ direct: await Effect.runPromise(listening) })

if (mode === "call") {
  const connection = await Effect.runPromise(transport.dial(address, undefined)).catch((error: Error) => error)
  if (connection instanceof Error) say({ failed: connection.message })
  else {
    const stream = connection.open(200, {
      onMessage: (message) => say({ answer: Buffer.from(message).toString(), peer: connection.peer }),
      onWritable: () => {},
      onClosed: (code) => say({ failed: `the stream was reset: ${code}` })
    })
    stream?.send(empty, "hello", true)
  }
} else say({ node: identity.nodeId })

process.stdin.resume()
await once(process.stdin, "end")
await Effect.runPromise(Scope.close(scope, Exit.void))
say({ stopped: true })
process.exit(0)
