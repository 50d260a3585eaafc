/**
 * The ends of `ask`, in processes of their own: `AskEnd.ts answer COUNT LIARS` runs so many agents, of which some answer
 * something else than the others, and `AskEnd.ts ask KNOWN ADDRESS...` asks them, knowing so many capabilities of agents that
 * nobody runs besides. Both have the default layers and guardrails.
 */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Layers from "@parley/agent/Layers"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import { Matcher } from "@parley/core/Matcher"
import { Node } from "@parley/core/Node"
import { Echo } from "./EchoCapability.ts"
import { lasting } from "./Lasting.ts"
import { Load } from "./Load.ts"
import { obey } from "./Obey.ts"
import { payloadOf } from "./Path.ts"

/** The first line of an end. */
export interface AskReady {
  readonly addresses: ReadonlyArray<string>
}

/** What the asking end is told, besides the orders that all understand; answered by a `Run`. */
export interface AskOrder {
  readonly _tag: "Run"
  /** `ask`: a verdict of five; `call`: one answer of any of them. */
  readonly what: "ask" | "call"
  readonly inflight: number
  readonly seconds: number
}

const [role, ...rest] = process.argv.slice(2)
const start = () => ManagedRuntime.make(Layers.layer({ host: "127.0.0.1", mdns: false }))

if (role === "answer") {
  const [count, liars] = rest.map(Number)
  const addresses: Array<string> = []
  for (let i = 0; i < count!; i++) {
    const lies = i < liars!
    addresses.push(
      await start().runPromise(
        Effect.gen(function* () {
          const node = yield* Node
          yield* lasting(node.serve(Echo, (input) => Effect.succeed(lies ? { ...input, n: input.n + 1 } : input)))
          return node.connections.addresses()[0]!
        })
      )
    )
  }
  await obey({ addresses } satisfies AskReady, () => Promise.resolve(null))
}

/** Capabilities of each agent that nobody runs. */
const OFFERS = 5

/** Their records; one of a hundred offers is for the same name in a version that does not match. */
const strangers = (count: number): ReadonlyArray<AgentRecord.AgentRecord> => {
  const now = Date.now()
  return Array.from({ length: count / OFFERS }, (_, i) =>
    AgentRecord.make(Identity.generate(), {
      name: `agent-${i}`,
      seq: now,
      issuedAt: now,
      addresses: ["tcp://127.0.0.1:9"],
      capabilities: Array.from({ length: OFFERS }, (_, offer) => ({
        name: offer === 0 && i % 20 === 0 ? Echo.name : `work.${i % 500}.task-${offer}`,
        version: `2.${offer}.0`,
        description: `Does task ${offer} of trade ${i % 500}`
      }))
    })
  )
}

const [known, ...addresses] = rest
const runtime = start()
const input = payloadOf(128)
const node = await runtime.runPromise(
  Effect.gen(function* () {
    const self = yield* Node
    const matcher = yield* Matcher
    for (const record of strangers(Number(known))) matcher.upsert(record)
    for (const address of addresses) yield* self.connections.connect({ addresses: [address] })
    const query = { name: Echo.name, version: "^1", limit: addresses.length }
    while ((yield* self.discover(query)).length < addresses.length) yield* Effect.sleep(20)
    const { answers } = yield* self.ask(Echo, input, { select: "all", aggregate: "ensemble" })
    if (answers.length !== addresses.length) return yield* Effect.die(new Error(`${answers.length} agents answered`))
    return self
  })
)
const once = {
  ask: Effect.flatMap(
    Effect.suspend(() => node.ask(Echo, input)),
    (verdict) => (verdict.status === "reached" ? Effect.void : Effect.die(new Error(verdict.status)))
  ),
  call: Effect.suspend(() => node.call(Echo, input))
} as const
const lane = (what: AskOrder["what"], load: Load) =>
  Effect.gen(function* () {
    let sentAt = performance.now()
    while (!load.over) {
      yield* once[what]
      sentAt = load.answered(sentAt)
    }
  })

await obey<AskOrder>({ addresses: [] } satisfies AskReady, async ({ inflight, seconds, what }) => {
  const load = new Load(seconds)
  await runtime.runPromise(
    Effect.forEach(Array.from({ length: inflight }), () => lane(what, load), {
      concurrency: "unbounded",
      discard: true
    })
  )
  return load.run()
})
