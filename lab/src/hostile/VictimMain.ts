/** The node that is attacked, in a process of its own: `VictimMain.ts`. It ends with its input. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Layers from "@parley/agent/Layers"
import * as Capability from "@parley/core/Capability"
import { Node } from "@parley/core/Node"
import { obey } from "../../../bench/src/Obey.ts"
import { type Sample, sample } from "../../../bench/src/SoakSample.ts"
import { NEWS } from "./Friend.ts"

/** The first line. */
export interface VictimReady {
  readonly node: string
  readonly address: string
}

/** Answered by a `VictimSample`. */
export interface VictimOrder {
  readonly _tag: "Sample"
}

/** What it holds, and what it has heard of `NEWS` since its start: honest peers' alone, since strangers carry nothing on. */
export interface VictimSample extends Sample {
  readonly heard: number
}

const Echo = Capability.make("text.echo", {
  version: "1.0.0",
  description: "Gives back what it gets",
  input: Schema.Struct({ text: Schema.String }),
  output: Schema.Struct({ text: Schema.String })
})

const runtime = ManagedRuntime.make(
  Layer.effectDiscard(Effect.flatMap(Node, (node) => node.serve(Echo, ({ text }) => Effect.succeed({ text })))).pipe(
    Layer.provideMerge(Layers.layer({ name: "victim", host: "127.0.0.1", mdns: false })),
    // Its standard output is for the answers to orders.
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None"))
  )
)
const node = await runtime.runPromise(Node)
let heard = 0
runtime.runFork(Stream.runForEach(node.subscribe(NEWS), () => Effect.sync(() => void heard++)))

await obey<VictimOrder>({ node: node.nodeId, address: node.connections.addresses()[0]! }, async () => ({
  ...(await sample(node)),
  heard
}))
