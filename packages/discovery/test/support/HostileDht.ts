/** UDP nodes that speak the DHT's protocol as a test tells them to, and honest ones with their identities. */
import * as dgram from "node:dgram"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { Connections } from "@parley/core/Connections"
import { Discovery, type Host, type Membership } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Dht from "../../src/Dht.ts"
import * as Bencode from "../../src/internal/Bencode.ts"
import * as Message from "../../src/internal/KrpcMessage.ts"

/** Any UDP node. */
export interface Puppet {
  readonly at: string
  readonly port: number
  /** Datagrams that came. */
  readonly heard: () => number
  /** Sends bytes to a port of this machine. */
  readonly send: (bytes: Uint8Array, port: number) => void
  /** Asks with these bytes, and waits for the next datagram. */
  readonly ask: (bytes: Uint8Array, port: number) => Effect.Effect<Buffer>
}

/** Opens a socket of `127.0.0.1`, or of another address of this machine; `answer` gives what is sent back, if anything. */
export const puppet = (
  answer: (query: Message.Query, packet: Buffer, from: dgram.RemoteInfo) => Bencode.Encodable | Uint8Array | undefined,
  host = "127.0.0.1"
): Effect.Effect<Puppet, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<{ readonly made: Puppet; readonly socket: dgram.Socket }>((resume) => {
      const socket = dgram.createSocket("udp4")
      let heard = 0
      let waiting: ((packet: Buffer) => void) | undefined
      socket.on("message", (packet, from) => {
        heard++
        const tell = waiting
        waiting = undefined
        tell?.(packet)
        const query = Message.read(packet)
        if (query?.y !== "q") return
        const reply = answer(query, packet, from)
        if (reply === undefined) return
        socket.send(reply instanceof Uint8Array ? reply : Bencode.encode(reply), from.port, from.address)
      })
      socket.bind(0, host, () => {
        const { port } = socket.address()
        const send = (bytes: Uint8Array, to: number): void => socket.send(bytes, to, host)
        const made: Puppet = {
          at: `${host}:${port}`,
          port,
          heard: () => heard,
          send,
          ask: (bytes, to) =>
            Effect.callback((done) => {
              waiting = (packet) => done(Effect.succeed(packet))
              send(bytes, to)
            })
        }
        resume(Effect.succeed({ made, socket }))
      })
    }),
    ({ socket }) => Effect.callback<void>((done) => void socket.close(() => done(Effect.void)))
  ).pipe(Effect.map(({ made }) => made))

/** Passes datagrams of one client on to a port of this machine and back, and keeps them. */
export const tap = (
  to: number
): Effect.Effect<{ readonly at: string; readonly packets: ReadonlyArray<Buffer> }, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly socket: dgram.Socket; readonly at: string; readonly packets: Array<Buffer> }>(
        (resume) => {
          const socket = dgram.createSocket("udp4")
          const packets: Array<Buffer> = []
          let client = 0
          socket.on("message", (packet, from) => {
            packets.push(packet)
            if (from.port !== to) client = from.port
            socket.send(packet, from.port === to ? client : to, "127.0.0.1")
          })
          socket.bind(0, "127.0.0.1", () =>
            resume(Effect.succeed({ socket, packets, at: `127.0.0.1:${socket.address().port}` }))
          )
        }
      ),
      ({ socket }) => Effect.callback<void>((done) => void socket.close(() => done(Effect.void)))
    ),
    ({ at, packets }) => ({ at, packets })
  )

/** A host that no connection is asked of: the DHT needs none. */
const nobody: Connections["Service"] = {
  nodeId: Identity.generate().nodeId,
  isPrivate: false,
  addresses: () => [],
  get: () => undefined,
  list: () => [],
  connect: () => Effect.die("the DHT connects to nobody"),
  keep: () => Effect.void,
  handle: () => Effect.void,
  observe: () => Effect.void
}

/** A node in a DHT, with the levers of a test. */
export interface Peer {
  readonly identity: Identity.Identity["Service"]
  readonly membership: Membership
  readonly record: () => AgentRecord.AgentRecord
  readonly publish: (fields?: Partial<AgentRecord.Fields>) => Effect.Effect<void, unknown>
}

/** Joins a DHT, of this machine unless `options` says otherwise. */
export const join = Effect.fnUntraced(function* (
  options: Dht.Options,
  identity: Identity.Identity["Service"] = Identity.generate(),
  isPrivate = false
) {
  let seq = 0
  const make = (fields: Partial<AgentRecord.Fields> = {}): AgentRecord.AgentRecord =>
    AgentRecord.make(identity, {
      name: "peer",
      seq: ++seq,
      issuedAt: Date.now(),
      addresses: [`tcp://127.0.0.1:${1 + (identity.publicKey[0] ?? 0)}`],
      capabilities: [{ name: "test.ability", version: "1.0.0" }],
      ...fields
    })
  let record = make()
  const host: Host = {
    nodeId: identity.nodeId,
    record: () => record,
    addresses: () => record.addresses,
    connections: nobody,
    isPrivate
  }
  const layer = Dht.layer({ host: "127.0.0.1", ...options }).pipe(
    Layer.provide(Layer.succeed(Identity.Identity, identity))
  )
  const discovery = Context.get(yield* Layer.build(layer), Discovery)
  const membership = yield* discovery.join(host)
  const made: Peer = {
    identity,
    membership,
    record: () => record,
    publish: (fields) =>
      Effect.suspend(() => {
        record = make(fields)
        return membership.advertise
      })
  }
  return made
})
