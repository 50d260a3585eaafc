/** The node that is attacked, in a process of its own: `VictimMain.ts`. It ends with its input. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Layers from "@parley/agent/Layers"
import * as Capability from "@parley/core/Capability"
import { Node } from "@parley/core/Node"
import * as Gossip from "@parley/gossip/Gossip"
import { obey } from "../../../bench/src/Obey.ts"
import { type Sample, sample } from "../../../bench/src/SoakSample.ts"
import { NEWS } from "./Friend.ts"

/** The first line. */
export interface VictimReady {
  readonly node: string
  readonly address: string
}

export type VictimOrder =
  /** Answered by a `VictimSample`. */
  | { readonly _tag: "Sample" }
  /** Answered by how many of the honest peer's messages of these numbers it has not heard. */
  | { readonly _tag: "Missing"; readonly from: number; readonly to: number }

/** What it holds, and with whom it exchanges messages. */
export interface VictimSample extends Sample {
  readonly neighbors: ReadonlyArray<string>
}

/** Messages that are told apart: those of a quarter of a day. */
const MOST_NEWS = 2 ** 20

const Echo = Capability.make("text.echo", {
  version: "1.0.0",
  description: "Gives back what it gets",
  input: Schema.Struct({ text: Schema.String }),
  output: Schema.Struct({ text: Schema.String })
})

const runtime = ManagedRuntime.make(
  Layer.effectDiscard(Effect.flatMap(Node, (node) => node.serve(Echo, ({ text }) => Effect.succeed({ text })))).pipe(
    // The one that the node itself is built with: a layer is built once.
    Layer.provideMerge(Gossip.layerGossip),
    Layer.provideMerge(Layers.layer({ name: "victim", host: "127.0.0.1", mdns: false })),
    // Its standard output is for the answers to orders.
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None"))
  )
)
const node = await runtime.runPromise(Node)
const gossip = await runtime.runPromise(
  Effect.flatMap(Gossip.Gossip, ({ join }) =>
    Effect.provideService(
      join({
        nodeId: node.nodeId,
        record: node.record,
        addresses: node.connections.addresses,
        connections: node.connections,
        isPrivate: false
      }),
      Scope.Scope,
      Scope.makeUnsafe()
    )
  )
)
/** Of a fixed size, so that what is heard does not look like a leak. */
const heard = new Uint8Array(MOST_NEWS)
const hear = Stream.runForEach(node.subscribe(NEWS), ({ data }) => Effect.sync(() => void (heard[Number(data)] = 1)))
runtime.runFork(hear)

await obey<VictimOrder>({ node: node.nodeId, address: node.connections.addresses()[0]! }, async (order) =>
  order._tag === "Sample"
    ? ({ ...(await sample(node)), neighbors: gossip.neighbors() } satisfies VictimSample)
    : heard.subarray(order.from, order.to).filter((one) => one === 0).length
)
