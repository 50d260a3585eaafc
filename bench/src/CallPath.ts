/**
 * The whole path: `call` of a typed capability by one node, answered by an Effect handler of another, with the default layers
 * and every guardrail on. The asking node knows thousands of capabilities besides, of agents that have signed their records.
 */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import * as Layers from "@parley/agent/Layers"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Capability from "@parley/core/Capability"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import { Node } from "@parley/core/Node"
import { lasting } from "./Lasting.ts"
import type { Load } from "./Load.ts"
import { type Path, payloadOf } from "./Path.ts"

/** Agents that the asking node knows besides the one that answers, and what each of them offers. */
const KNOWN_AGENTS = 1_000
const OFFERS_EACH = 10
/** Capabilities that the asking node knows besides the one that it calls. */
export const KNOWN_CAPABILITIES = KNOWN_AGENTS * OFFERS_EACH

const Shape = Schema.Struct({ text: Schema.String, n: Schema.Finite })

const Echo = Capability.make("bench.echo", {
  version: "1.2.0",
  description: "Answers what it was asked",
  tags: ["bench"],
  input: Shape,
  output: Shape
})

const start = () => ManagedRuntime.make(Layers.layer({ host: "127.0.0.1", mdns: false }))

/** Records of agents that nobody runs. Every hundredth offers the same name in a version that does not match. */
const strangers = function* (): Generator<AgentRecord.AgentRecord> {
  const now = Date.now()
  for (let agent = 0; agent < KNOWN_AGENTS; agent++) {
    yield AgentRecord.make(Identity.generate(), {
      name: `agent-${agent}`,
      seq: now,
      issuedAt: now,
      addresses: ["tcp://127.0.0.1:9"],
      capabilities: Array.from({ length: OFFERS_EACH }, (_, offer) => ({
        name: offer === 0 && agent % 100 === 0 ? Echo.name : `work.${agent % 500}.task-${offer}`,
        version: `2.${offer}.0`,
        description: `Does task ${offer} of trade ${agent % 500}`,
        tags: [`trade-${agent % 50}`, `task-${offer}`],
        cost: { usdPerCall: offer / 1_000 }
      }))
    })
  }
}

/** The whole path. */
export const callPath: Path = {
  answer: () =>
    start().runPromise(
      Effect.gen(function* () {
        const node = yield* Node
        yield* lasting(node.serve(Echo, (input) => Effect.sync(() => input)))
        return node.connections.addresses()[0]!
      })
    ),
  ask: (address, bytes) => {
    const runtime = start()
    const input = payloadOf(bytes)
    const lane = (node: Node["Service"], load: Load) =>
      Effect.gen(function* () {
        let sentAt = performance.now()
        while (!load.over) {
          yield* node.call(Echo, input)
          sentAt = load.answered(sentAt)
        }
      })
    return runtime.runPromise(
      Effect.gen(function* () {
        const node = yield* Node
        const matcher = yield* Matcher.Matcher
        for (const record of strangers()) matcher.upsert(record)
        yield* node.connections.connect({ addresses: [address] })
        yield* node.call(Echo, input)
        return {
          run: (inflight: number, load: Load) =>
            runtime.runPromise(
              Effect.forEach(Array.from({ length: inflight }), () => lane(node, load), {
                concurrency: "unbounded",
                discard: true
              })
            )
        }
      })
    )
  }
}
