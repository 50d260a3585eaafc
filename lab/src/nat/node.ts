/**
 * A node of the matrix of routers: `node.ts SEED TRACKER`, or `node.ts SEED tracker` for the tracker itself. Its connections
 * come and go as lines of JSON; what it shall do comes as such (`Order`). Streams of protocol 200 are echoed.
 */
import { createInterface } from "node:readline"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { parse } from "@parley/core/NodeId"
import type { StreamHandler } from "@parley/core/Transport"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"

/** What a node can be asked for; `node` is a NodeId. */
export type Order =
  | { readonly connect: string; readonly node: string }
  /** Sends a word there and back on the connection that stands. */
  | { readonly echo: string }
  /** Closes the connection. */
  | { readonly drop: string }

/** What a node says. `at` is in ms of the machine's clock, which all nodes share. */
export type News =
  | { readonly node: string; readonly addresses: ReadonlyArray<string> }
  | { readonly addresses: ReadonlyArray<string> }
  | { readonly at: number; readonly connected: string; readonly address: string; readonly relayed: boolean }
  | { readonly at: number; readonly gone: string }
  | { readonly echoed: string; readonly relayed: boolean }
  | { readonly failed: string; readonly why: string }

const ECHO = 200
const empty = new Uint8Array(0)
const [seed = "", tracker = "tracker"] = process.argv.slice(2)
const isTracker = tracker === "tracker"
const say = (news: News): void => console.log(JSON.stringify(news))
/** Wall clock with fractions of a millisecond. */
const now = (): number => performance.timeOrigin + performance.now()

const program = Effect.gen(function* () {
  const connections = yield* Connections.Connections
  const run = Effect.runForkWith(yield* Effect.context())
  yield* connections.handle(ECHO, (_connection, stream): StreamHandler => ({
    onMessage: (message, last) => void stream.send(empty, message, last),
    onWritable: () => {},
    onClosed: () => {}
  }))
  yield* connections.observe({
    onConnected: ({ address, peer, relayed }) => say({ at: now(), connected: peer, address, relayed }),
    onDisconnected: (peer) => say({ at: now(), gone: peer }),
    onAddresses: (addresses) => say({ addresses })
  })
  const carryOut = (order: Order): void => {
    const wanted = "connect" in order ? order.node : "echo" in order ? order.echo : order.drop
    const node = parse(wanted)
    if (node === undefined) return say({ failed: wanted, why: "that is no NodeId" })
    const connection = connections.get(node)
    if ("connect" in order) {
      run(
        Effect.catch(Effect.asVoid(connections.connect({ node, addresses: [order.connect] })), (error) =>
          Effect.sync(() => say({ failed: wanted, why: error.message }))
        )
      )
    } else if (connection === undefined) say({ failed: wanted, why: "there is no connection" })
    else if ("drop" in order) connection.close("the matrix goes on")
    else {
      const stream = connection.open(ECHO, {
        onMessage: () => say({ echoed: wanted, relayed: connection.relayed }),
        onWritable: () => {},
        onClosed: (code) => say({ failed: wanted, why: `its stream was reset (${code})` })
      })
      stream?.send(empty, "there and back", true)
    }
  }
  say({ node: connections.nodeId, addresses: connections.addresses() })
  yield* Effect.callback<void>((resume) => {
    createInterface({ input: process.stdin })
      .on("line", (line) => carryOut(JSON.parse(line) as Order))
      .on("close", () => resume(Effect.void))
  })
})

const transport = TransportTcp.layer(isTracker ? { port: 7878, host: "::" } : { port: 0, relays: [tracker] })
const connections = Connections.layer.pipe(
  Layer.provide(transport),
  Layer.provide(Identity.layerSeed(Buffer.from(seed.padStart(64, "0"), "hex")))
)
const all = isTracker ? Layer.provideMerge(Relay.layer(), connections) : connections
await Effect.runPromise(Effect.scoped(Effect.provide(program, all)))
process.exit(0)
