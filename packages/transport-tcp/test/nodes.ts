/** Nodes on loopback for tests: a transport with an owner that writes down what it hears. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import type { Address, Connection, Owner, StreamHandler, Transport, TransportError } from "@parley/core/Transport"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

export const empty = new Uint8Array(0)

export interface TestNode {
  readonly nodeId: NodeId
  readonly transport: Transport["Service"]
  readonly address: Address
  readonly port: number
  readonly connections: Array<Connection>
  readonly closed: Array<string>
  readonly refused: Array<TransportError>
  readonly dial: (address: Address, expect?: NodeId) => Promise<Connection>
  readonly stop: () => Promise<void>
}

/** Echoes every message, in capitals. */
const echo = (stream: Parameters<Owner["onStream"]>[2]): StreamHandler => ({
  onMessage: (message, last) => void stream.send(empty, Buffer.from(message).toString().toUpperCase(), last),
  onWritable: () => {},
  onClosed: () => {}
})

/** Starts a node; it must be stopped. */
export const start = async (
  options: TransportTcp.Options = {},
  identity = Identity.generate(),
  onStream: (connection: Connection, stream: Parameters<Owner["onStream"]>[2]) => StreamHandler = (_, stream) =>
    echo(stream)
): Promise<TestNode> => {
  const transport = TransportTcp.make(identity, { host: "127.0.0.1", port: 0, ...options })
  const scope = Scope.makeUnsafe()
  const connections: Array<Connection> = []
  const closed: Array<string> = []
  const refused: Array<TransportError> = []
  const owner: Owner = {
    nodeId: identity.nodeId,
    onConnection: (connection) => void connections.push(connection),
    onStream: (connection, _protocol, stream) => onStream(connection, stream),
    onClosed: (_connection, why) => void closed.push(why),
    onRefused: (_address, error) => void refused.push(error),
    onAddresses: () => {},
    connect: (target) => transport.dial(target.addresses[0]!, target.node),
    handle: () => Effect.void
  }
  const addresses = await Effect.runPromise(transport.listen(owner).pipe(Scope.provide(scope)))
  return {
    nodeId: identity.nodeId,
    transport,
    address: addresses[0] ?? "",
    port: Number(addresses[0]?.split(":").at(-1) ?? 0),
    connections,
    closed,
    refused,
    dial: (address, expect) => Effect.runPromise(transport.dial(address, expect)),
    stop: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** One request and its answer. */
export const call = (connection: Connection, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const stream = connection.open(200, {
      onMessage: (message) => resolve(Buffer.from(message).toString()),
      onWritable: () => {},
      onClosed: (code) => reject(new Error(`the stream was reset: ${code}`))
    })
    if (stream === undefined) reject(new Error("no stream"))
    else stream.send(empty, text, true)
  })

/** Waits for something, and says what did not come. */
export const until = async (what: string, condition: () => boolean): Promise<void> => {
  const end = performance.now() + 15_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not so in time: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** The reason of the failure that a promise must end in. */
export const failure = async (promise: Promise<unknown>): Promise<TransportError["reason"]> => {
  try {
    await promise
  } catch (error) {
    return (error as TransportError).reason
  }
  throw new Error("it should have failed")
}
