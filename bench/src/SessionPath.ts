/**
 * The encrypted session alone: one stream of the transport for each request, with the payload as JSON, and nothing of the
 * node on top. What lies between this and the whole path is the node.
 */
import * as Effect from "effect/Effect"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { FIRST_PLUGIN } from "@parley/core/Protocol"
import type { Connection, Stream, StreamHandler } from "@parley/core/Transport"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { lasting } from "./Lasting.ts"
import type { Load } from "./Load.ts"
import { type Path, payloadOf } from "./Path.ts"

const PROTOCOL = FIRST_PLUGIN

const head = new Uint8Array(0)
const bodyOf = (bytes: number): string => JSON.stringify(payloadOf(bytes))

const makeConnections = () => {
  const identity = Identity.generate()
  return Connections.make(TransportTcp.make(identity, { port: 0, host: "127.0.0.1" }), identity.nodeId)
}

class Echo implements StreamHandler {
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

class Lane implements StreamHandler {
  readonly #connection: Connection
  readonly #body: string
  readonly #load: Load
  readonly #done: () => void
  #sentAt = performance.now()

  constructor(connection: Connection, body: string, load: Load, done: () => void) {
    this.#connection = connection
    this.#body = body
    this.#load = load
    this.#done = done
  }
  send(): void {
    const stream = this.#connection.open(PROTOCOL, this)
    if (stream === undefined) throw new Error("the session takes no more streams")
    stream.send(head, this.#body, true)
  }
  onMessage(): void {
    this.#sentAt = this.#load.answered(this.#sentAt)
    if (this.#load.over) this.#done()
    else this.send()
  }
  onWritable(): void {}
  onClosed(): void {
    throw new Error("the session broke")
  }
}

/** The encrypted session alone. */
export const sessionPath: Path = {
  answer: () =>
    Effect.runPromise(
      lasting(
        Effect.gen(function* () {
          const connections = yield* makeConnections()
          yield* connections.handle(PROTOCOL, (_, stream) => new Echo(stream))
          return connections.addresses()[0]!
        })
      )
    ),
  ask: (address, bytes) =>
    Effect.runPromise(
      lasting(
        Effect.gen(function* () {
          const connections = yield* makeConnections()
          const connection = yield* connections.connect({ addresses: [address] })
          const body = bodyOf(bytes)
          return {
            run: (inflight: number, load: Load) =>
              new Promise<void>((resolve) => {
                let open = inflight
                const done = () => {
                  open -= 1
                  if (open === 0) resolve()
                }
                for (let i = 0; i < inflight; i++) new Lane(connection, body, load, done).send()
              })
          }
        })
      )
    )
}
