/**
 * The whole path: `call` of a typed capability by one node, answered by an Effect handler of another, with the default layers
 * and every guardrail on. The asking node knows thousands of capabilities besides, of agents that have signed their records.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
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
import { type Path, payloadOf, usual } from "./Path.ts"

/** Agents known at most; where more capabilities are asked for, each agent offers several. */
const MOST_AGENTS = 10_000

const Shape = Schema.Struct({ text: Schema.String, n: Schema.Finite })

const Echo = Capability.make("bench.echo", {
  version: "1.2.0",
  description: "Answers what it was asked",
  tags: ["bench"],
  input: Shape,
  output: Shape
})

const start = (options: Layers.Options = {}) =>
  ManagedRuntime.make(Layers.layer({ host: "127.0.0.1", mdns: false, ...options }))

/** Records of agents that nobody runs. Every hundredth offers the same name in a version that does not match. */
const strangers = function* (capabilities: number): Generator<AgentRecord.AgentRecord> {
  const now = Date.now()
  const agents = Math.min(capabilities, MOST_AGENTS)
  for (let agent = 0; agent < agents; agent++) {
    const offers = Math.floor((capabilities * (agent + 1)) / agents) - Math.floor((capabilities * agent) / agents)
    yield AgentRecord.make(Identity.generate(), {
      name: `agent-${agent}`,
      seq: now,
      issuedAt: now,
      addresses: ["tcp://127.0.0.1:9"],
      capabilities: Array.from({ length: offers }, (_, offer) => ({
        name: offer === 0 && agent % 100 === 0 ? Echo.name : `work.${agent % 500}.task-${offer}`,
        version: `2.${offer}.0`,
        description: `Does task ${offer} of trade ${agent % 500}`,
        tags: [`trade-${agent % 50}`, `task-${offer}`],
        cost: { usdPerCall: offer / 1_000 }
      }))
    })
  }
}

/** Starts a node that answers, and gives its address. */
const serve = (relay: string | undefined): Promise<string> =>
  start(relay === undefined ? {} : { relays: [relay], punch: false }).runPromise(
    Effect.gen(function* () {
      const node = yield* Node
      yield* lasting(node.serve(Echo, (input) => Effect.sync(() => input)))
      const isWanted = (address: string) => relay === undefined || address.startsWith("relay:")
      // A slot at a relay is reserved in the background.
      for (;;) {
        const address = node.connections.addresses().find(isWanted)
        if (address !== undefined) return address
        yield* Effect.sleep(10)
      }
    })
  )

/** The whole path. */
export const callPath: Path = {
  answer: async (_, { peers, relay } = usual) => {
    const addresses: Array<string> = []
    for (let i = 0; i < peers; i++) addresses.push(await serve(relay))
    return addresses.join(" ")
  },
  ask: (addresses, bytes, { known, peers, traced } = usual) => {
    const runtime = start()
    const input = payloadOf(bytes)
    return runtime.runPromise(
      Effect.gen(function* () {
        const node = yield* Node
        const matcher = yield* Matcher.Matcher
        for (const record of strangers(known)) matcher.upsert(record)
        for (const address of addresses.split(" ")) yield* node.connections.connect({ addresses: [address] })
        const query = { name: Echo.name, version: "^1", limit: peers }
        while ((yield* node.discover(query)).length < peers) yield* Effect.sleep(20)
        const fork = Effect.runForkWith(yield* Effect.context<never>())
        const inSpan = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
          traced ? Effect.withSpan(effect, "bench") : effect
        const lane = (load: Load) =>
          Effect.gen(function* () {
            let sentAt = performance.now()
            while (!load.over) {
              yield* node.call(Echo, input)
              sentAt = load.answered(sentAt)
            }
          })
        return {
          run: (inflight: number, load: Load) =>
            runtime.runPromise(
              Effect.forEach(Array.from({ length: inflight }), () => inSpan(lane(load)), {
                concurrency: "unbounded",
                discard: true
              })
            ),
          once: () =>
            new Promise<void>((resolve, reject) => {
              fork(inSpan(node.call(Echo, input))).addObserver((exit) =>
                Exit.isSuccess(exit) ? resolve() : reject(Cause.squash(exit.cause))
              )
            })
        }
      })
    )
  }
}
