import { describe, expect, test } from "bun:test"
import type { Outcome } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import { suite } from "@parley/core/testing/DiscoverySuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Remote from "../src/internal/Remote.ts"
import * as Static from "../src/Static.ts"
import * as Mesh from "./support/MemoryMesh.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))

suite(
  { describe, test, expect },
  {
    name: "static",
    supports: { advertising: false, records: false, changes: true },
    world: Effect.gen(function* () {
      const hub = TransportMemory.makeHub()
      const peers = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
      return {
        discovery: Mesh.discoveryOf(Static.layer(peers.flatMap((peer) => peer.addresses()))),
        attach: (identity) => Mesh.attach(hub, identity)
      }
    })
  }
)

describe("static", () => {
  test("connects at once, says who answered, and stays connected", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const met = yield* Deferred.make<void>()
        yield* b.connections.observe({
          onConnected: ({ peer }) => void (peer === a.nodeId && Deferred.doneUnsafe(met, Exit.void))
        })
        const membership = yield* (yield* Mesh.discoveryOf(Static.layer([b.addresses()[0]!]))).join(a)
        yield* Effect.timeout(Deferred.await(met), "20 seconds")
        const found = yield* Stream.runCollect(membership.find({}))
        expect(found).toEqual([{ source: "static", node: b.nodeId, addresses: b.addresses() }])
        expect(a.connections.list().length).toBe(1)
        const again = yield* Deferred.make<void>()
        yield* b.connections.observe({
          onDisconnected: () => void Deferred.doneUnsafe(again, Exit.void)
        })
        b.connections.get(a.nodeId)?.close("to see it come back")
        yield* Effect.timeout(Deferred.await(again), "20 seconds")
        const back = yield* Deferred.make<void>()
        yield* b.connections.observe({ onConnected: () => void Deferred.doneUnsafe(back, Exit.void) })
        yield* Effect.timeout(Deferred.await(back), "20 seconds")
      })
    ))

  test("skips who does not answer, and fails when nobody does", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const other = Identity.generate().nodeId
        const search = Effect.fnUntraced(function* (addresses: ReadonlyArray<string>) {
          const membership = yield* (yield* Mesh.discoveryOf(Static.layer(addresses))).join(a)
          const outcomes: Array<Outcome> = []
          const exit = yield* Effect.exit(
            Stream.runCollect(membership.find({}, (outcome) => void outcomes.push(outcome)))
          )
          return { exit, outcome: outcomes[0] }
        })
        const one = yield* search(["mem://nobody", b.addresses()[0]!])
        expect(Exit.isSuccess(one.exit) && one.exit.value.map(({ node }) => node)).toEqual([b.nodeId])
        const none = yield* search(["mem://nobody", `${b.addresses()[0]!}/${other}`])
        expect(Exit.isFailure(none.exit)).toBe(true)
        expect(none.outcome?.error?.message).toBe(
          "static: could not reach mem://nobody: no node of this process has that address; " +
            `${b.addresses()[0]!} answered, but the handshake failed (UnexpectedPeer): ${b.nodeId} answered instead of ${other}`
        )
      })
    ))

  test("tells an address from what is none", () =>
    run(
      Effect.gen(function* () {
        const node = Identity.generate().nodeId
        expect(Remote.parse("tcp://127.0.0.1:7878")).toEqual({ address: "tcp://127.0.0.1:7878", node: undefined })
        expect(Remote.parse(`tcp://[::1]:7878/${node}`)).toEqual({ address: "tcp://[::1]:7878", node })
        expect(Remote.parse(`mem://${node}`)).toEqual({ address: `mem://${node}`, node: undefined })
        expect(Remote.parse(`mem://${node}/${node}`)).toEqual({ address: `mem://${node}`, node })
        for (const wrong of ["", "localhost", "127.0.0.1 7878", "tcp:", "tcp://a b"]) {
          const error = yield* Effect.flip(Mesh.discoveryOf(Static.layer([wrong])))
          expect(error.message).toBe(
            `static: ${JSON.stringify(wrong)} is no address: write tcp://host:port or tcp://host:port/z6Mk…`
          )
        }
      })
    ))
})
