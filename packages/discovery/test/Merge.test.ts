import { describe, expect, test } from "bun:test"
import * as Discovery from "@parley/core/Discovery"
import * as DiscoveryMemory from "@parley/core/DiscoveryMemory"
import { everything, suite } from "@parley/core/testing/DiscoverySuite"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracker from "../src/Tracker.ts"
import * as Mesh from "./support/MemoryMesh.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))

suite(
  { describe, test, expect },
  {
    name: "memory and tracker merged",
    supports: everything,
    world: Effect.gen(function* () {
      const hub = TransportMemory.makeHub()
      const board = DiscoveryMemory.makeBoard()
      const { at } = yield* Mesh.tracker(hub)
      return {
        discovery: Mesh.discoveryOf(Discovery.layerMerge([DiscoveryMemory.layer(board), Tracker.layer({ at })])),
        attach: (identity) => Mesh.attach(hub, identity)
      }
    })
  }
)

/** A source that says these things, and reports nothing itself. */
const saying = (name: string, found: ReadonlyArray<Discovery.Found>): Discovery.Discovery["Service"] => ({
  name,
  join: () =>
    Effect.succeed({
      advertise: Effect.void,
      find: () => Stream.fromIterable(found),
      changes: Stream.fromIterable(found)
    })
})
const broken = (name: string): Discovery.DiscoveryError =>
  new Discovery.DiscoveryError({ source: name, code: "Unreachable", detail: "out of order" })
const failing = (name: string): Discovery.Discovery["Service"] => ({
  name,
  join: () =>
    Effect.succeed({
      advertise: Effect.fail(broken(name)),
      find: (_query, report) => Discovery.counted(name, report, Stream.fail(broken(name))),
      changes: Stream.empty
    })
})
const absent = (name: string): Discovery.Discovery["Service"] => ({ name, join: () => Effect.fail(broken(name)) })

describe("merge", () => {
  test("passes on the newest record of each node that its own signature vouches for", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const [self, a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const [older, newer, genuine] = [a.publish(1), a.publish(2), b.publish(1)]
        const forged = { ...genuine, seq: 9, name: "mallory" }
        const of = (source: string, record: typeof older): Discovery.Found => ({
          source,
          node: record.node,
          addresses: record.addresses,
          record
        })
        const merged = Discovery.merge([
          saying("one", [of("one", newer), of("one", forged)]),
          saying("two", [of("two", older), of("two", genuine), { ...of("two", genuine), node: a.nodeId }]),
          saying("three", [{ source: "three", node: b.nodeId, addresses: ["tcp://192.0.2.1:1"] }])
        ])
        const membership = yield* merged.join(self)
        const found = yield* Stream.runCollect(membership.find({}))
        expect(found.map(({ record, source }) => `${source} ${record?.seq ?? "hint"}`).toSorted()).toEqual([
          "one 2",
          "three hint",
          "two 1"
        ])
        expect(found.find(({ source }) => source === "two")?.record).toEqual(genuine)
        const heard = yield* Stream.runCollect(membership.changes)
        expect(heard.some(({ record }) => record?.name === "mallory")).toBe(false)
      })
    ))

  test("one failing source does not fail the search, and every source reports", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const [self, a] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const hint: Discovery.Found = { source: "good", node: a.nodeId, addresses: a.addresses() }
        const merged = Discovery.merge([failing("bad"), saying("good", [hint]), absent("away"), saying("empty", [])])
        const membership = yield* merged.join(self)
        const outcomes: Array<Discovery.Outcome> = []
        const found = yield* Stream.runCollect(membership.find({}, (outcome) => void outcomes.push(outcome)))
        expect(found).toEqual([hint])
        expect(
          outcomes
            .map(({ count, error, source }) => `${source} ${count}${error === undefined ? "" : ` ${error.code}`}`)
            .toSorted()
        ).toEqual(["away 0 Unreachable", "bad 0 Unreachable", "empty 0", "good 1"])
        yield* membership.advertise
      })
    ))

  test("fails when all fail, with each cause", () =>
    run(
      Effect.gen(function* () {
        const self = yield* Mesh.host(TransportMemory.makeHub())
        const membership = yield* Discovery.merge([failing("bad"), absent("away")]).join(self)
        const error = yield* Effect.flip(Stream.runCollect(membership.find({})))
        expect(error.message).toBe("bad, away: away: out of order; bad: out of order")
        expect((yield* Effect.flip(membership.advertise)).code).toBe("Unreachable")
        const nobody = yield* Effect.flip(Discovery.merge([absent("away"), absent("gone")]).join(self))
        expect(nobody.message).toBe("away, gone: away: out of order; gone: out of order")
      })
    ))

  test("an abandoned search reports that it was stopped", () =>
    run(
      Effect.gen(function* () {
        const self = yield* Mesh.host(TransportMemory.makeHub())
        const endless: Discovery.Discovery["Service"] = {
          name: "endless",
          join: () =>
            Effect.succeed({
              advertise: Effect.void,
              find: () =>
                Stream.concat(Stream.make({ source: "endless", addresses: ["tcp://192.0.2.1:1"] }), Stream.never),
              changes: Stream.empty
            })
        }
        const outcomes: Array<Discovery.Outcome> = []
        const membership = yield* Discovery.merge([endless]).join(self)
        const found = yield* Stream.runCollect(
          Stream.take(
            membership.find({}, (outcome) => void outcomes.push(outcome)),
            1
          )
        )
        expect(found.length).toBe(1)
        expect(outcomes).toEqual([{ source: "endless", count: 1, stopped: true }])
      })
    ))

  test("layers give one service each, with what they need and how they fail", () =>
    run(
      Effect.gen(function* () {
        const boards = [DiscoveryMemory.makeBoard(), DiscoveryMemory.makeBoard()]
        const merged = Discovery.layerMerge(boards.map((board) => DiscoveryMemory.layer(board)))
        expect((yield* Mesh.discoveryOf(merged)).name).toBe("memory, memory")
        const bad = Discovery.layerMerge([DiscoveryMemory.layer(boards[0]!), Tracker.layer({ at: "nowhere" })])
        const typed: Layer.Layer<Discovery.Discovery, Discovery.DiscoveryError> = bad
        expect(Exit.isFailure(yield* Effect.exit(Layer.build(typed)))).toBe(true)
      })
    ))
})
