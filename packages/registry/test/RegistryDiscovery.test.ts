import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import { Discovery, type Host, type Outcome } from "@parley/core/Discovery"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import { type Attached, everything, suite } from "@parley/core/testing/DiscoverySuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as LimitsMemory from "../src/LimitsMemory.ts"
import * as PresenceMemory from "../src/PresenceMemory.ts"
import * as RegistryDiscovery from "../src/RegistryDiscovery.ts"
import * as Server from "../src/Server.ts"
import * as StoreSqlite from "../src/StoreSqlite.ts"

/** A registry of this process that asks for keys. */
const registry = Effect.map(
  Layer.build(
    Layer.fresh(
      Server.layer({ port: 0, mode: "keys" }).pipe(
        Layer.provide([StoreSqlite.layer(":memory:"), PresenceMemory.layer, LimitsMemory.layer])
      )
    )
  ),
  (context) => Context.get(context, Server.RegistryServer)
)

const attach = (hub: TransportMemory.Hub, { nodeId }: Identity.Identity["Service"]) =>
  Effect.map(Connections.make(TransportMemory.make(nodeId, hub), nodeId), (connections) => ({
    connections,
    addresses: connections.addresses()
  }))

suite(
  { describe, test, expect },
  {
    name: "registry",
    supports: everything,
    findMs: RegistryDiscovery.FIND_MS,
    world: Effect.gen(function* () {
      const hub = TransportMemory.makeHub()
      const { url } = yield* registry
      // Each host is attached before its discovery is made.
      let last = Identity.generate()
      return {
        discovery: Effect.suspend(() =>
          Effect.map(
            Layer.build(
              RegistryDiscovery.layer({ at: url }).pipe(Layer.provide(Layer.succeed(Identity.Identity, last)))
            ),
            (context) => Context.get(context, Discovery)
          )
        ),
        attach: (identity) => {
          last = identity
          return attach(hub, identity)
        }
      }
    })
  }
)

/** A host with one capability. */
const hostOf = (identity: Identity.Identity["Service"], attached: Attached, isPrivate = false): Host => {
  const record = AgentRecord.make(identity, {
    name: "host",
    seq: 1,
    issuedAt: Date.now(),
    addresses: attached.addresses,
    capabilities: [{ name: "test.ability", version: "1.0.0" }]
  })
  return {
    nodeId: identity.nodeId,
    record: () => record,
    addresses: () => attached.addresses,
    connections: attached.connections,
    isPrivate
  }
}

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))

const join = Effect.fnUntraced(function* (url: string, isPrivate: boolean, options: RegistryDiscovery.Options = {}) {
  const identity = Identity.generate()
  const attached = yield* attach(TransportMemory.makeHub(), identity)
  const context = yield* Layer.build(
    RegistryDiscovery.layer({ at: url, ...options }).pipe(Layer.provide(Layer.succeed(Identity.Identity, identity)))
  )
  return yield* Context.get(context, Discovery).join(hostOf(identity, attached, isPrivate))
})

describe("registry", () => {
  test("is not shown the records of a private network, unless it is the network's own", () =>
    run(
      Effect.gen(function* () {
        const { url } = yield* registry
        const refused = yield* Effect.flip(join(url, true))
        expect(refused).toMatchObject({ code: "Refused" })
        expect(refused.message).toContain("private network")
        const other = yield* join(url, false, { register: false })
        const membership = yield* join(url, true, { ofNetwork: true })
        expect(yield* Stream.runCollect(other.find({}))).toEqual([])
        yield* membership.advertise
        expect((yield* Stream.runCollect(other.find({}))).length).toBe(1)
      })
    ))

  test("one that comes only to ask is nobody to be found", () =>
    run(
      Effect.gen(function* () {
        const { url } = yield* registry
        const [a, b] = [yield* join(url, false, { register: false }), yield* join(url, false)]
        yield* a.advertise
        expect(yield* Stream.runCollect(b.find({}))).toEqual([])
      })
    ))

  test("one that is not there is one failed source, and says what to do", () =>
    run(
      Effect.gen(function* () {
        const url = "http://127.0.0.1:1"
        const membership = yield* join(url, false)
        const outcomes: Array<Outcome> = []
        const began = performance.now()
        const error = yield* Effect.flip(
          Stream.runCollect(membership.find({}, (outcome) => void outcomes.push(outcome)))
        )
        expect(performance.now() - began).toBeLessThan(RegistryDiscovery.FIND_MS)
        expect(error).toMatchObject({ source: `registry ${url}`, code: "Unreachable" })
        expect(error.message).toContain("check the address")
        expect(outcomes).toEqual([{ source: `registry ${url}`, count: 0, error }])
        const wrong = yield* Effect.flip(join("ftp://registry", false))
        expect(wrong).toMatchObject({ code: "Malformed" })
      })
    ))

  test("is looked for again soon, and not by all at once", () => {
    for (let failures = 1; failures < 20; failures++) {
      const [least, most] = [RegistryDiscovery.pauseAfter(failures, 0), RegistryDiscovery.pauseAfter(failures, 0.999)]
      expect(most).toBeLessThan(RegistryDiscovery.RECONNECT_MS + 1)
      expect(most - least).toBeGreaterThan(Math.min(most, RegistryDiscovery.FIRST_PAUSE_MS) * 0.45)
    }
  })
})
