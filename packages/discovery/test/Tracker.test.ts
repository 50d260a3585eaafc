import { describe, expect, test } from "bun:test"
import { DiscoveryError } from "@parley/core/Discovery"
import type * as Discovery from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import { everything, suite } from "@parley/core/testing/DiscoverySuite"
import { type Connection, ResetCode } from "@parley/core/Transport"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Wire from "../src/internal/TrackerWire.ts"
import * as Tracker from "../src/Tracker.ts"
import * as TrackerServer from "../src/TrackerServer.ts"
import * as Mesh from "./support/MemoryMesh.ts"

suite(
  { describe, test, expect },
  {
    name: "tracker",
    supports: everything,
    world: Effect.gen(function* () {
      const hub = TransportMemory.makeHub()
      const { at } = yield* Mesh.tracker(hub)
      return {
        discovery: Mesh.discoveryOf(Tracker.layer({ at })),
        attach: (identity) => Mesh.attach(hub, identity)
      }
    })
  }
)

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))

/** Sends bytes on a stream of their own; the replies, and how the stream ended. */
const exchange = (connection: Connection, bytes: Uint8Array) =>
  Effect.gen(function* () {
    const over = yield* Deferred.make<{ readonly replies: ReadonlyArray<unknown>; readonly code: number | undefined }>()
    const replies: Array<unknown> = []
    const end = (code: number | undefined): void =>
      void Deferred.doneUnsafe(over, Exit.succeed({ replies: [...replies], code }))
    const stream = connection.open(Protocol.TRACKER, {
      onMessage: (message, last) => {
        replies.push(JSON.parse(new TextDecoder().decode(message)))
        if (last) end(undefined)
      },
      onWritable: () => undefined,
      onClosed: (code) => end(code)
    })
    stream?.send(bytes, undefined, true)
    return yield* Effect.timeout(Deferred.await(over), "20 seconds")
  })

describe("tracker", () => {
  test("answers on the wire as the protocol page says", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub)
        const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const record = a.publish(1)
        const fromA = yield* a.connections.connect({ addresses: [at] })
        const fromB = yield* b.connections.connect({ addresses: [at] })
        const registered = yield* exchange(fromA, Wire.encode({ t: "register", record }))
        expect(registered).toEqual({ replies: [{ t: "registered", leaseMs: 60_000 }], code: undefined })
        const found = yield* exchange(fromB, Wire.encode({ t: "find", query: { name: "test.*" } }))
        expect(found.replies).toEqual([
          { t: "record", record },
          { t: "end", more: false }
        ])
        const none = yield* exchange(fromB, Wire.encode({ t: "find", query: { name: "other" } }))
        expect(none.replies).toEqual([{ t: "end", more: false }])
        const gone = yield* exchange(fromA, Wire.encode({ t: "withdraw" }))
        expect(gone.replies).toEqual([{ t: "withdrawn" }])
        const after = yield* exchange(fromB, Wire.encode({ t: "find", query: {} }))
        expect(after.replies).toEqual([{ t: "end", more: false }])
      })
    ))

  test("registers nobody's record but the session holder's", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub)
        const [a, evil] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const connection = yield* evil.connections.connect({ addresses: [at] })
        const refused = yield* exchange(connection, Wire.encode({ t: "register", record: a.record() }))
        expect(refused.replies).toEqual([
          {
            t: "refused",
            code: "Record",
            detail: `The agent record is of ${a.nodeId}, expected was one of ${evil.nodeId}`
          }
        ])
      })
    ))

  test("a newer record with another address replaces the node's old one, an older one does not", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub)
        const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const connection = yield* a.connections.connect({ addresses: [at] })
        const [older, newer] = [a.publish(4), a.publish(5, { addresses: ["tcp://192.0.2.7:7878"] })]
        for (const record of [older, newer]) yield* exchange(connection, Wire.encode({ t: "register", record }))
        const stale = yield* exchange(connection, Wire.encode({ t: "register", record: older }))
        expect(stale.replies).toMatchObject([{ t: "refused", code: "Record" }])
        const fromB = yield* b.connections.connect({ addresses: [at] })
        const found = yield* exchange(fromB, Wire.encode({ t: "find", query: { node: a.nodeId } }))
        expect(found.replies).toEqual([
          { t: "record", record: newer },
          { t: "end", more: false }
        ])
      })
    ))

  test("resets a stream that makes no sense, and the connection goes on", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub)
        const a = yield* Mesh.host(hub)
        const connection = yield* a.connections.connect({ addresses: [at] })
        const nonsense = [
          new Uint8Array(),
          new TextEncoder().encode('{"t":"dance"}'),
          new TextEncoder().encode(`{"t":"find","query":{"name":"${"x".repeat(200)}"}}`),
          new TextEncoder().encode('{"t":"find","query":{},"limit":51}'),
          new Uint8Array(Wire.MAX_MESSAGE_BYTES + 1).fill(0x20)
        ]
        for (const bytes of nonsense) {
          expect(yield* exchange(connection, bytes)).toEqual({ replies: [], code: ResetCode.Malformed })
        }
        expect(connection.state()).toBe("open")
        const answered = yield* exchange(connection, Wire.encode({ t: "find", query: {} }))
        expect(answered.replies).toEqual([{ t: "end", more: false }])
      })
    ))

  test("resets streams of a peer that asks too often, and serves the others", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub, { requestsPerSecond: 2 })
        const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const connection = yield* a.connections.connect({ addresses: [at] })
        const request = Wire.encode({ t: "find", query: {} })
        const codes: Array<number | undefined> = []
        const began = performance.now()
        for (let i = 0; i < 40; i++) codes.push((yield* exchange(connection, request)).code)
        const seconds = (performance.now() - began) / 1_000
        expect(codes.slice(0, 4)).toEqual([undefined, undefined, undefined, undefined])
        expect(new Set(codes)).toEqual(new Set([undefined, ResetCode.Overloaded]))
        expect(codes.filter((code) => code === undefined).length).toBeLessThanOrEqual(4 + 2 * seconds)
        const other = yield* b.connections.connect({ addresses: [at] })
        expect((yield* exchange(other, request)).code).toBe(undefined)
      })
    ))

  test(
    "gives many large records to one who takes them, at most fifty",
    () =>
      run(
        Effect.gen(function* () {
          const hub = TransportMemory.makeHub()
          const { at } = yield* Mesh.tracker(hub)
          const description = "long words ".repeat(80)
          const capabilities = Array.from({ length: 20 }, (_, i) => ({
            name: `bulk.n${i}`,
            version: "1.0.0",
            description
          }))
          for (let i = 0; i < 52; i++) {
            const a = yield* Mesh.host(hub)
            const connection = yield* a.connections.connect({ addresses: [at] })
            yield* exchange(connection, Wire.encode({ t: "register", record: a.publish(1, { capabilities }) }))
          }
          const b = yield* Mesh.host(hub)
          const connection = yield* b.connections.connect({ addresses: [at] })
          for (const query of [{}, { name: "bulk.n7" }]) {
            const { replies } = yield* exchange(connection, Wire.encode({ t: "find", query }))
            expect(replies.length).toBe(Wire.MAX_RESULTS + 1)
            expect(replies.at(-1)).toEqual({ t: "end", more: true })
          }
        })
      ),
    30_000
  )

  test(
    "a node registers again when its tracker comes back",
    () =>
      run(
        Effect.gen(function* () {
          const hub = TransportMemory.makeHub()
          const key = Identity.generate()
          const outer = yield* Effect.scope
          const first = yield* Scope.fork(outer)
          const { at } = yield* Scope.provide(Mesh.tracker(hub, {}, key), first)
          const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
          const membership = yield* (yield* Mesh.discoveryOf(Tracker.layer({ at }))).join(a)
          yield* membership.advertise
          yield* Scope.close(first, Exit.void)
          yield* Mesh.tracker(hub, {}, key)
          const searcher = yield* (yield* Mesh.discoveryOf(Tracker.layer({ at }))).join(b)
          const found = yield* Stream.runCollect(searcher.find({ node: a.nodeId })).pipe(
            Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (found) => found.length > 0 }),
            Effect.timeout("20 seconds")
          )
          expect(found[0]?.record).toEqual(a.record())
        })
      ),
    30_000
  )

  test(
    "a lease is renewed while the node lives",
    () =>
      run(
        Effect.gen(function* () {
          const hub = TransportMemory.makeHub()
          const { at } = yield* Mesh.tracker(hub, { leaseMs: 1_200 })
          const [a, b] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
          const membership = yield* (yield* Mesh.discoveryOf(Tracker.layer({ at }))).join(a)
          const searcher = yield* (yield* Mesh.discoveryOf(Tracker.layer({ at }))).join(b)
          const goodbyes: Array<unknown> = []
          yield* Effect.forkScoped(
            Stream.runForEach(searcher.changes, (found) =>
              Effect.sync(() => found.gone === true && goodbyes.push(found))
            )
          )
          yield* membership.advertise
          yield* Effect.sleep("3 seconds")
          expect(goodbyes).toEqual([])
          expect((yield* Stream.runCollect(searcher.find({ node: a.nodeId }))).length).toBe(1)
        })
      ),
    30_000
  )

  test(
    "says what is wrong: nobody there, no tracker, no address, too busy",
    () =>
      run(
        Effect.gen(function* () {
          const hub = TransportMemory.makeHub()
          const [a, plain] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
          const { at: busy } = yield* Mesh.tracker(hub, { requestsPerSecond: 0.01 })
          const failure = Effect.fnUntraced(function* (at: string) {
            const membership = yield* (yield* Mesh.discoveryOf(Tracker.layer({ at }))).join(a)
            const outcomes: Array<Discovery.Outcome> = []
            const exit = yield* Effect.exit(
              Stream.runCollect(membership.find({}, (outcome) => void outcomes.push(outcome)))
            )
            const error = Exit.findErrorOption(exit)
            expect(outcomes.length).toBe(1)
            expect(error._tag === "Some" && outcomes[0]?.error === error.value).toBe(true)
            return error._tag === "Some" ? `${error.value.code} ${error.value.detail}` : ""
          })
          expect(yield* failure("mem://nobody")).toBe(
            "Unreachable could not reach mem://nobody: no node of this process has that address"
          )
          expect(yield* failure(plain.addresses()[0]!)).toBe("Refused the node there is no tracker")
          expect(yield* failure(busy)).toBe("Refused the tracker has too much to do; ask less often or use another one")
          const layer = yield* Effect.flip(Mesh.discoveryOf(Tracker.layer({ at: "not an address" })))
          expect(layer).toBeInstanceOf(DiscoveryError)
          expect(layer.code).toBe("Malformed")
        })
      ),
    30_000
  )

  test("one peer watches a few times, and takes nobody's place among the watchers", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub, { maxWatchers: 6 })
        const [greedy, other] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const watch = (connection: Connection) => {
          const codes: Array<ResetCode> = []
          const stream = connection.open(Protocol.TRACKER, {
            onMessage: () => {},
            onWritable: () => {},
            onClosed: (code) => void codes.push(code)
          })
          stream?.send(Wire.encode({ t: "watch" }), undefined, true)
          return { codes, stream }
        }
        const fromGreedy = yield* greedy.connections.connect({ addresses: [at] })
        const watches = Array.from({ length: 20 }, () => watch(fromGreedy))
        const theirs = watch(yield* other.connections.connect({ addresses: [at] }))
        // Answers come in order, so that what was asked before has been decided.
        yield* exchange(yield* other.connections.connect({ addresses: [at] }), Wire.encode({ t: "find", query: {} }))
        expect(watches.map(({ codes }) => codes.length)).toEqual(watches.map((_, n) => (n < 4 ? 0 : 1)))
        expect(theirs.codes).toEqual([])
        watches[0]!.stream?.reset(ResetCode.Cancelled)
        expect(watch(fromGreedy).codes).toEqual([])
      })
    ))

  test("a node that changes without pause is not told of each time", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const { at } = yield* Mesh.tracker(hub)
        const [restless, watcher] = [yield* Mesh.host(hub), yield* Mesh.host(hub)]
        const heard: Array<string> = []
        const from = yield* restless.connections.connect({ addresses: [at] })
        const to = yield* watcher.connections.connect({ addresses: [at] })
        const stream = to.open(Protocol.TRACKER, {
          onMessage: (message) => void heard.push(new TextDecoder().decode(message)),
          onWritable: () => {},
          onClosed: () => {}
        })
        stream?.send(Wire.encode({ t: "watch" }), undefined, true)
        yield* exchange(to, Wire.encode({ t: "find", query: {} }))
        for (let seq = 1; seq <= 30; seq++) {
          const { replies } = yield* exchange(from, Wire.encode({ t: "register", record: restless.publish(seq) }))
          expect(replies).toMatchObject([{ t: "registered" }])
        }
        yield* exchange(to, Wire.encode({ t: "find", query: {} }))
        expect(heard.length).toBeGreaterThanOrEqual(10)
        expect(heard.length).toBeLessThanOrEqual(12)
      })
    ))

  test("has the limits that the documentation names", () => {
    expect(TrackerServer.defaults).toEqual({
      maxRecords: 100_000,
      maxBytes: 512 * 1024 * 1024,
      leaseMs: 60_000,
      graceMs: 10_000,
      requestsPerSecond: 20,
      maxWatchers: 10_000,
      watchesPerPeer: 4,
      changesPerNode: 1,
      changesPerSecond: 50
    })
  })
})
