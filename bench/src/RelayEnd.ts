/**
 * Ends of `Relay.ts`, each in a process of its own: `RelayEnd.ts forward LIMITS` is a relay, `RelayEnd.ts answer [RELAY]` a whole
 * node that holds a slot there, `RelayEnd.ts ask ADDRESS` another one that calls it. `RelayEnd.ts targets RELAY COUNT` has many
 * nodes with a slot each, and `RelayEnd.ts crowd DIALLERS` many that make circuits to them.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Layers from "@parley/agent/Layers"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { Node } from "@parley/core/Node"
import type { Connection } from "@parley/core/Transport"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { Echo } from "./EchoCapability.ts"
import { lasting } from "./Lasting.ts"
import { Load } from "./Load.ts"
import { obey } from "./Obey.ts"
import { payloadOf } from "./Path.ts"
import * as Sessions from "./Sessions.ts"

const BYTES = 128
/** What is dialled at once. */
const AT_ONCE = 16
/** Bytes of each message of a flood. */
const FLOOD_BYTES = 64 * 1_024

/** All come from one address, so that what one address may have is raised. */
const limits = { handshakesAtOnce: 8_192, handshakesPerSecond: 8_192 }

/** The first line. */
export interface RelayReady {
  readonly addresses: ReadonlyArray<string>
}

export type RelayOrder =
  /** Answered by a `Run`; for a node that asks. */
  | { readonly _tag: "Run"; readonly inflight: number; readonly seconds: number }
  /** Each dialler dials each of these; answered by how many circuits stand. For a crowd. */
  | { readonly _tag: "Dial"; readonly addresses: ReadonlyArray<string>; readonly most: number }
  /** Asks over every circuit at once; answered by how many answered. For a crowd. */
  | { readonly _tag: "AskAll" }
  /** Sends over one circuit as fast as it goes, until it is cut; answered by a `Flooded`. For a crowd. */
  | { readonly _tag: "Flood" }
  /** Answered by the bytes that came in streams. For targets. */
  | { readonly _tag: "Received" }

/** How a flood ended. */
export interface Flooded {
  readonly why: string
  readonly ms: number
}

const [role, first = "", second = ""] = process.argv.slice(2)
const input = payloadOf(BYTES)

/** The relay's address comes before its slot does. */
const relayed = async (node: Connections.Connections["Service"]): Promise<string> => {
  while (true) {
    const found = node.addresses().find((address) => address.startsWith("relay:"))
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

let node: Node["Service"] | undefined
let received = 0
const nodes: Array<Connections.Connections["Service"]> = []
const circuits: Array<Connection> = []

const starts: { readonly [role: string]: () => Promise<ReadonlyArray<string>> } = {
  forward: async () => {
    const options = JSON.parse(first) as Relay.Options
    const runtime = ManagedRuntime.make(
      Relay.layer(options).pipe(
        Layer.provideMerge(Connections.layer),
        Layer.provide(TransportTcp.layer({ host: "127.0.0.1", port: 0, limits })),
        Layer.provide(Identity.layerEphemeral)
      )
    )
    return (await runtime.runPromise(Connections.Connections)).addresses()
  },
  answer: async () => {
    const runtime = ManagedRuntime.make(
      // The relay is what is measured: nobody leaves it for a direct connection.
      Layers.layer({ host: "127.0.0.1", mdns: false, punch: false, relays: first === "" ? [] : [first] })
    )
    const served = await runtime.runPromise(
      Effect.gen(function* () {
        const node = yield* Node
        yield* lasting(node.serve(Echo, (input) => Effect.sync(() => input)))
        return node.connections
      })
    )
    return [first === "" ? served.addresses()[0]! : await relayed(served)]
  },
  ask: async () => {
    const runtime = ManagedRuntime.make(Layers.layer({ host: "127.0.0.1", mdns: false, punch: false }))
    node = await runtime.runPromise(Node)
    await Effect.runPromise(node.connections.connect({ addresses: [first] }))
    await Effect.runPromise(node.call(Echo, input))
    return []
  },
  targets: async () => {
    for (let i = 0; i < Number(second); i++) {
      nodes.push(await Sessions.sessions({ listen: false, relays: [first] }, (bytes) => (received += bytes)))
    }
    return Promise.all(nodes.map(relayed))
  },
  crowd: async () => {
    for (let i = 0; i < Number(first); i++) nodes.push(await Sessions.sessions({ listen: false }))
    return []
  }
}

/** In groups, so that no node has more handshakes under way than it takes from strangers. */
const inGroups = async <A, B>(all: ReadonlyArray<A>, run: (each: A) => Promise<B>): Promise<Array<B>> => {
  const done: Array<B> = []
  for (let at = 0; at < all.length; at += AT_ONCE)
    done.push(...(await Promise.all(all.slice(at, at + AT_ONCE).map(run))))
  return done
}

const flood = (connection: Connection): Promise<Flooded> =>
  new Promise((resolve) => {
    const began = performance.now()
    const bytes = new Uint8Array(FLOOD_BYTES)
    const head = new Uint8Array(0)
    const stream = connection.open(Sessions.SINK, {
      onMessage: () => {},
      onWritable: () => send(),
      onClosed: (code) => resolve({ why: String(code), ms: performance.now() - began })
    })
    const send = (): void => {
      while (stream?.send(head, bytes, false) === true);
    }
    send()
  })

await obey<RelayOrder>({ addresses: await starts[role!]!() } satisfies RelayReady, async (order) => {
  switch (order._tag) {
    case "Run": {
      const load = new Load(order.seconds)
      const lane = Effect.gen(function* () {
        let sentAt = performance.now()
        while (!load.over) {
          yield* node!.call(Echo, input)
          sentAt = load.answered(sentAt)
        }
      })
      await Effect.runPromise(
        Effect.forEach(Array.from({ length: order.inflight }), () => lane, { concurrency: "unbounded", discard: true })
      )
      return load.run()
    }
    case "Dial": {
      const pairs = nodes.flatMap((from) => order.addresses.map((address) => ({ from, address }))).slice(0, order.most)
      circuits.push(...(await inGroups(pairs, ({ address, from }) => Sessions.connect(from, address))))
      return circuits.filter((circuit) => circuit.relayed && circuit.state() === "open").length
    }
    case "AskAll": {
      const answers = await Promise.allSettled(circuits.map((circuit) => Sessions.ask(circuit, "hello")))
      return answers.filter(({ status }) => status === "fulfilled").length
    }
    case "Flood":
      return flood(circuits[0]!)
    case "Received":
      return received
  }
})
