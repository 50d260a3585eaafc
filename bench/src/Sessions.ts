/** Nodes that are transport and connections alone, as many in one process as are wanted. */
import * as Effect from "effect/Effect"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { FIRST_PLUGIN } from "@parley/core/Protocol"
import type { Connection, Stream, StreamHandler } from "@parley/core/Transport"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { lasting } from "./Lasting.ts"

/** The protocol of the streams that are echoed. */
export const PROTOCOL = FIRST_PLUGIN
/** The protocol of streams whose bytes are only counted. */
export const SINK = FIRST_PLUGIN + 1

const head = new Uint8Array(0)

/** Answers every message with itself. */
export class Echo implements StreamHandler {
  readonly #stream: Stream
  constructor(stream: Stream) {
    this.#stream = stream
  }
  onMessage(message: Uint8Array, last: boolean): void {
    this.#stream.send(head, message, last)
  }
  onWritable(): void {}
  onClosed(): void {}
}

/** A node on loopback, for as long as the process runs, with an identity of its own; it echoes, and tells of what it sinks. */
export const sessions = (
  options: TransportTcp.Options,
  onSunk: (bytes: number) => void = () => {}
): Promise<Connections.Connections["Service"]> => {
  const identity = Identity.generate()
  return Effect.runPromise(
    lasting(
      Effect.gen(function* () {
        const transport = TransportTcp.make(identity, { port: 0, host: "127.0.0.1", ...options })
        const connections = yield* Connections.make(transport, identity.nodeId)
        yield* connections.handle(PROTOCOL, (_, stream) => new Echo(stream))
        yield* connections.handle(SINK, () => ({
          onMessage: (message) => onSunk(message.length),
          onWritable: () => {},
          onClosed: () => {}
        }))
        return connections
      })
    )
  )
}

/** Connects to an address. */
export const connect = (from: Connections.Connections["Service"], address: string): Promise<Connection> =>
  Effect.runPromise(from.connect({ addresses: [address] }))

/** Sends a message on a stream of its own, and waits until it is back. */
export const ask = (connection: Connection, body: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const stream = connection.open(PROTOCOL, {
      onMessage: () => resolve(),
      onWritable: () => {},
      onClosed: (code) => reject(new Error(`the stream was closed: ${code}`))
    })
    if (stream === undefined) reject(new Error("the session takes no more streams"))
    else stream.send(head, body, true)
  })
