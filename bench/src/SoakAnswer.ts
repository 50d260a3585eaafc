/**
 * An agent of a soak, in a process of its own: `SoakAnswer.ts INDEX LOG stays|goes`. Before it begins a task it writes the task's number to
 * its log, so that the log is complete however the process ends.
 */
import { openSync, writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Layers from "@parley/agent/Layers"
import * as Guardrails from "@parley/core/Guardrails"
import { Node } from "@parley/core/Node"
import { obey } from "./Obey.ts"
import { sample } from "./SoakSample.ts"
import { isSlow, KEPT, proofOf, SLOW_MS, Stay, Work } from "./SoakTask.ts"

/** The first line. */
export interface AnswerReady {
  readonly node: string
  readonly address: string
}

export type AnswerOrder =
  /** Answered by a `Sample`. */
  | { readonly _tag: "Sample" }
  /** Answered when running tasks have ended and all connections are closed. */
  | { readonly _tag: "Leave" }

const [index = "", log = "", manner] = process.argv.slice(2)
const by = Number(index)
const file = openSync(log, "a")
const entry = new Uint32Array(1)
const bytes = new Uint8Array(entry.buffer)

const work = ({ n }: { readonly n: number }) =>
  Effect.suspend(() => {
    entry[0] = n
    writeSync(file, bytes)
    const answer = { n, by, proof: proofOf(n, by) }
    return isSlow(n) ? Effect.delay(Effect.succeed(answer), SLOW_MS) : Effect.succeed(answer)
  })

const runtime = ManagedRuntime.make(
  Layer.effectDiscard(Effect.flatMap(Node, (node) => node.serve(manner === "stays" ? Stay : Work, work))).pipe(
    Layer.provideMerge(
      Layers.layer({
        host: "127.0.0.1",
        mdns: false,
        // Every connection has the same streams then, so that what is left open can be counted.
        gossip: false,
        guardrails: { idempotency: { ...Guardrails.defaults.idempotency, ...KEPT } }
      })
    ),
    // Its standard output is for the answers to orders.
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None"))
  )
)
const node = await runtime.runPromise(Node)

await obey<AnswerOrder>({ node: node.nodeId, address: node.connections.addresses()[0]! }, async (order) => {
  switch (order._tag) {
    case "Sample":
      return sample(node)
    case "Leave":
      await runtime.dispose()
      return null
  }
})
