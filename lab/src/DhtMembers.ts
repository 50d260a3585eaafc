/**
 * Members of a DHT for the lab, many in one process. As a program, `DhtMembers.ts HOST:PORT SEED FROM COUNT GROUPS`, it says in a line
 * of JSON when all have announced themselves, and goes on until its input ends.
 */
import { createHash } from "node:crypto"
import { once } from "node:events"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Connections from "@parley/core/Connections"
import { Discovery } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Dht from "@parley/discovery/Dht"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"

/** Members that announce themselves at once while a network is made. */
const STARTING = 8

/** Which members, of which network. */
export interface Plan {
  readonly bootstrap: string
  readonly seed: number
  readonly from: number
  readonly count: number
  /** Member number n serves `capabilityOf(n % groups)`. */
  readonly groups: number
}

/** The key of a member, by its number. */
export const identityOf = (seed: number, number: number): Identity.Identity["Service"] =>
  Identity.fromSeed(createHash("sha256").update(`lab ${seed} ${number}`).digest())

export const capabilityOf = (group: number): string => `lab.group${group}`

/** Where a member says it is; nobody connects to it here. */
export const addressOf = (number: number): string => `tcp://127.0.0.1:${10_000 + number}`

const member = Effect.fnUntraced(function* ({ bootstrap, groups, seed }: Plan, number: number) {
  const identity = identityOf(seed, number)
  const connections = yield* Connections.make(TransportMemory.make(identity.nodeId), identity.nodeId)
  const record = AgentRecord.make(identity, {
    name: `member ${number}`,
    seq: 1,
    issuedAt: yield* Clock.currentTimeMillis,
    addresses: [addressOf(number)],
    capabilities: [{ name: capabilityOf(number % groups), version: "1.0.0" }]
  })
  const layer = Dht.layer({ host: "127.0.0.1", bootstrap: [bootstrap] })
  const context = yield* Layer.build(Layer.provide(layer, Layer.succeed(Identity.Identity, identity)))
  const membership = yield* Context.get(context, Discovery).join({
    nodeId: identity.nodeId,
    record: () => record,
    addresses: () => record.addresses,
    connections,
    isPrivate: false
  })
  yield* membership.advertise.pipe(Effect.retry(Schedule.recurs(5)))
  return membership
})

/** Joins all members of a plan, and waits until each has announced itself. They leave side by side. */
export const members = Effect.fnUntraced(function* (plan: Plan) {
  const scope = yield* Effect.acquireRelease(Scope.make("parallel"), (made) => Scope.close(made, Exit.void))
  const one = (number: number) => Effect.flatMap(Scope.fork(scope), (own) => Scope.provide(member(plan, number), own))
  const numbers = Array.from({ length: plan.count }, (_, i) => plan.from + i)
  return yield* Effect.forEach(numbers, one, { concurrency: STARTING })
})

if (import.meta.main) {
  const [bootstrap = "", seed, from, count, groups] = process.argv.slice(2)
  const plan = { bootstrap, seed: Number(seed), from: Number(from), count: Number(count), groups: Number(groups) }
  await Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        yield* members(plan)
        process.stdout.write(`${JSON.stringify({ joined: plan.count })}\n`)
        process.stdin.resume()
        yield* Effect.promise(() => once(process.stdin, "end"))
        // The lab has no use for goodbyes.
        process.exit(0)
      })
    )
  )
}
