/** Verifies: one connection per peer, also when both dial at once; a kept target comes back; nothing dialled is lost. */
import { describe, expect, test } from "bun:test"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import { type Connection, type Owner, type Transport, TransportError } from "@parley/core/Transport"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { keepsOld, SIMULTANEOUS_MS } from "../src/internal/Simultaneous.ts"
import { addressOf, makeSignal, run, until } from "./mesh.ts"
import { forRounds, type Seeded, seeded } from "../src/testing/Seeded.ts"

type Service = Connections.Connections["Service"]
type Dial = Transport["Service"]["dial"]

const party = (
  hub: TransportMemory.Hub,
  change: (dial: Dial) => Dial = (dial) => dial,
  identity = Identity.generate()
) => {
  const transport = TransportMemory.make(identity.nodeId, hub)
  return Connections.make({ ...transport, dial: change(transport.dial) }, identity.nodeId)
}
const meet = (from: Service, to: Service) => from.connect({ node: to.nodeId, addresses: [addressOf(to.nodeId)] })
const failure = (address: string) =>
  Effect.fail(new TransportError({ reason: { _tag: "DialFailed", address, detail: "a test's" } }))

/** Delays a dial before and after by random turns of the event loop. */
const jittered =
  (random: Seeded) =>
  (dial: Dial): Dial =>
  (address, expect) =>
    Effect.gen(function* () {
      for (let turns = random.int(4); turns > 0; turns--) yield* Effect.yieldNow
      const connection = yield* dial(address, expect)
      for (let turns = random.int(4); turns > 0; turns--) yield* Effect.yieldNow
      return connection
    })

/** Sends a word and hears it back. */
const echo = (connection: Connection): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const stream = connection.open(200, {
      onMessage: (message) => resume(Effect.succeed(Buffer.from(message).toString())),
      onWritable: () => {},
      onClosed: (code) => resume(Effect.succeed(`closed ${code}`))
    })
    if (stream === undefined) return resume(Effect.succeed("not open"))
    stream.send(Buffer.from("word"), undefined, true)
  })
const echoing = (connections: Service) =>
  connections.handle(200, (_, stream) => ({
    onMessage: (message) => void stream.send(Uint8Array.from(message), undefined, true),
    onWritable: () => {},
    onClosed: () => {}
  }))

describe("keepsOld", () => {
  test("both ends keep the same one of two, in whichever order they came", () => {
    const random = seeded(0x51d)
    const ids = Array.from({ length: 20 }, () => Identity.generate().nodeId)
    const end = (self: NodeId, peer: NodeId, dialler: NodeId, relayed: boolean): Connection =>
      ({ peer, direction: dialler === self ? "outbound" : "inbound", relayed, state: () => "open" }) as Connection
    forRounds(random, 20_000, () => {
      const a = random.pick(ids)
      const b = random.pick(ids.filter((id) => id !== a))
      const diallers = [random.pick([a, b]), random.pick([a, b])] as const
      const relayed = [random.int(3) === 0, random.int(3) === 0] as const
      const ends = (self: NodeId, peer: NodeId) =>
        [end(self, peer, diallers[0], relayed[0]), end(self, peer, diallers[1], relayed[1])] as const
      const [a1, a2] = ends(a, b)
      const [b1, b2] = ends(b, a)
      const apart = random.int(2 * SIMULTANEOUS_MS)
      // The same order at both ends: the same answer, however far apart.
      expect(keepsOld(a, a1, a2, apart)).toBe(keepsOld(b, b1, b2, apart))
      // The other order at the other end: the same connection, when they were dialled at once.
      if (diallers[0] !== diallers[1] || relayed[0] !== relayed[1]) {
        const soon = random.int(SIMULTANEOUS_MS)
        expect(keepsOld(a, a1, a2, soon)).toBe(!keepsOld(b, b2, b1, soon))
      }
    })
  })
})

describe("Connections", () => {
  test("two that dial each other at once keep one connection, and it works both ways", () => {
    const random = seeded(0xd1a1)
    return run(
      Effect.gen(function* () {
        for (let round = 0; round < 150; round++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const hub = TransportMemory.makeHub()
              const a = yield* party(hub, jittered(random))
              const b = yield* party(hub, jittered(random))
              yield* echoing(a)
              yield* echoing(b)
              yield* Effect.all([meet(a, b), meet(b, a)], { concurrency: "unbounded" })
              const settled = Effect.sync(() => {
                const [near, far] = [a.get(b.nodeId), b.get(a.nodeId)]
                return near !== undefined && far !== undefined && near.direction !== far.direction
              })
              yield* until(`one connection stands (PARLEY_SEED=${random.seed}, round ${round})`, settled)
              expect([a.list().length, b.list().length]).toEqual([1, 1])
              expect(yield* echo(yield* meet(a, b))).toBe("word")
              expect(yield* echo(yield* meet(b, a))).toBe("word")
            })
          )
        }
      })
    )
  }, 30_000)

  test("a peer that connects anew takes the place of its old connection, and observers hear both", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const a = yield* party(hub)
        yield* echoing(a)
        const events: Array<string> = []
        yield* a.observe({
          onConnected: () => void events.push("connected"),
          onDisconnected: (_, why) => void events.push(why)
        })
        // It restarts without a word: the same key dials again.
        const { nodeId } = Identity.generate()
        const restarted = TransportMemory.make(nodeId, hub)
        yield* Connections.make(restarted, nodeId)
        const first = yield* restarted.dial(addressOf(a.nodeId), a.nodeId)
        const held = a.get(nodeId)
        const second = yield* restarted.dial(addressOf(a.nodeId), a.nodeId)
        expect(events).toEqual(["connected", "another connection took its place", "connected"])
        expect(a.get(nodeId)).not.toBe(held)
        expect(yield* echo(second)).toBe("word")
        expect(yield* echo(first)).toBe("word")
        expect(events.length).toBe(3)
        // Whoever dialled both closes the one it does not want; the other one then stands.
        second.close("not wanted")
        yield* until(
          "the first stands again",
          Effect.sync(() => a.get(nodeId) === held)
        )
        expect(events.slice(3)).toEqual(["not wanted", "connected"])
        expect(a.list()).toEqual([held as Connection])
        first.close("not wanted either")
        yield* until(
          "none is left",
          Effect.sync(() => a.get(nodeId) === undefined)
        )
      })
    ))

  test("who asks at the same time shares one attempt, and one that gives up does not end it", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        let dials = 0
        const gate = makeSignal()
        const a = yield* party(hub, (dial) => (address, expected) => {
          dials += 1
          return Effect.andThen(gate.wait, dial(address, expected))
        })
        const b = yield* party(hub)
        const waiting: Array<Fiber.Fiber<Connection, TransportError>> = []
        for (let i = 0; i < 5; i++) waiting.push(yield* Effect.forkChild(meet(a, b), { startImmediately: true }))
        yield* Fiber.interrupt(waiting[0]!)
        gate.tell()
        const connections = yield* Effect.forEach(waiting.slice(1), Fiber.join)
        expect([dials, new Set(connections).size]).toEqual([1, 1])
      })
    ))

  test("addresses are tried a little apart, and only the first connection stays", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const b = yield* party(hub)
        const interrupted = makeSignal()
        const a = yield* party(
          hub,
          (dial) => (address, expected) =>
            address === "mem://silent"
              ? Effect.onInterrupt(Effect.never, () => Effect.sync(interrupted.tell))
              : address === "mem://refusing"
                ? failure(address)
                : dial(address, expected)
        )
        const addresses = ["mem://refusing", "mem://silent", addressOf(b.nodeId)]
        const connection = yield* a.connect({ node: b.nodeId, addresses })
        expect(connection.address).toBe(addressOf(b.nodeId))
        yield* interrupted.wait
        const failing = yield* Effect.flip(a.connect({ addresses: ["mem://refusing", "relay://x/y/z"] }))
        expect(failing.message).toContain("mem://refusing")
        expect((yield* Effect.flip(a.connect({ addresses: [] }))).reason._tag).toBe("NoAddress")
      })
    ))

  test("when two addresses answer at once, the second connection is closed and not forgotten", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const made: Array<Connection> = []
        const answers: Array<() => void> = []
        const b = yield* party(hub)
        const a = yield* party(
          hub,
          (dial) => (_, expected) =>
            Effect.flatMap(dial(addressOf(b.nodeId), expected), (connection) =>
              Effect.callback<Connection>((resume) => {
                made.push(connection)
                answers.push(() => resume(Effect.succeed(connection)))
                if (answers.length === 2) queueMicrotask(() => answers.forEach((answer) => answer()))
                return Effect.sync(() => connection.close("abandoned"))
              })
            )
        )
        const connection = yield* a.connect({ node: b.nodeId, addresses: ["mem://one", "mem://two"] })
        expect(made.length).toBe(2)
        yield* until(
          "only one is open",
          Effect.sync(() => made.filter((each) => each.state() === "open").length === 1)
        )
        expect(a.get(b.nodeId)).toBe(connection)
        yield* echoing(b)
        expect(yield* echo(connection)).toBe("word")
      })
    ))

  test("a relayed address is dialled beside a direct one that says nothing, and not where that answers", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const [b, c] = [yield* party(hub), yield* party(hub)]
        const relayed: Array<string> = []
        const a = yield* party(hub, (dial) => (address, expected) => {
          if (address === "mem://silent") return Effect.never
          if (!address.startsWith("relay:")) return dial(address, expected)
          relayed.push(address)
          return dial(addressOf(b.nodeId), expected)
        })
        yield* a.connect({ node: c.nodeId, addresses: [`relay:${c.nodeId}`, addressOf(c.nodeId)] })
        expect(relayed).toEqual([])
        const connection = yield* a.connect({ node: b.nodeId, addresses: ["mem://silent", `relay:${b.nodeId}`] })
        expect([connection.peer, relayed]).toEqual([b.nodeId, [`relay:${b.nodeId}`]])
      })
    ))

  test("a relayed connection takes new streams for a moment when a direct one came, and its old ones have long to finish", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const b = yield* party(hub)
        yield* echoing(b)
        const identity = Identity.generate()
        const transport = TransportMemory.make(identity.nodeId, hub)
        const graces: Array<number> = []
        let owner: Owner | undefined
        const a = yield* Connections.make(
          {
            ...transport,
            listen: (given) => transport.listen((owner = given)),
            dial: (_, expected) =>
              Effect.map(transport.dial(addressOf(b.nodeId), expected), (connection) =>
                Object.defineProperties(connection, {
                  relayed: { value: true },
                  drain: { value: (ms: number) => Effect.sync(() => void graces.push(ms)) }
                })
              )
          },
          identity.nodeId
        )
        const relayed = yield* a.connect({ node: b.nodeId, addresses: [`relay:${b.nodeId}`] })
        const direct = yield* transport.dial(addressOf(b.nodeId), b.nodeId)
        owner?.onConnection(direct)
        expect(a.get(b.nodeId) === direct).toBe(true)
        expect([graces, yield* echo(relayed), yield* echo(direct)]).toEqual([[], "word", "word"])
        yield* until(
          "it is to finish",
          Effect.sync(() => graces.length > 0)
        )
        expect(graces).toEqual([Connections.UPGRADE_GRACE_MS])
      })
    ))

  test("a kept target comes back after it went", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const identity = Identity.generate()
        const a = yield* party(hub)
        for (const each of ["first life", "second life"]) {
          const scope = yield* Scope.make()
          yield* Scope.provide(party(hub, undefined, identity), scope)
          if (each === "first life") yield* a.keep({ addresses: [addressOf(identity.nodeId)] })
          yield* until(
            `connected in its ${each}`,
            Effect.sync(() => a.get(identity.nodeId) !== undefined)
          )
          yield* Scope.close(scope, Exit.void)
          yield* until(
            "it has gone",
            Effect.sync(() => a.get(identity.nodeId) === undefined)
          )
        }
      })
    ))

  test("pauses between attempts grow, also for a peer that takes connections only to drop them", () =>
    run(
      Effect.gen(function* () {
        for (const kind of ["refuses", "drops"] as const) {
          const hub = TransportMemory.makeHub()
          const b = yield* party(hub)
          const at: Array<number> = []
          const fourth = makeSignal()
          const a = yield* party(hub, (dial) => (address, expected) => {
            at.push(performance.now())
            if (at.length === 4) fourth.tell()
            if (kind === "refuses") return failure(address)
            return Effect.tap(dial(address, expected), (connection) =>
              Effect.sync(() => queueMicrotask(() => connection.close("dropped")))
            )
          })
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* a.keep({ node: b.nodeId, addresses: [addressOf(b.nodeId)] })
              yield* fourth.wait
            })
          )
          const gaps = at.slice(1).map((time, index) => time - (at[index] ?? 0))
          expect(gaps.map((gap, index) => gap >= 0.5 * Connections.BACKOFF_MS.first * 2 ** index - 2)).toEqual([
            true,
            true,
            true
          ])
        }
      })
    ))

  test("a protocol has one handler at a time, and is free again when its scope closes", () =>
    run(
      Effect.gen(function* () {
        const a = yield* party(TransportMemory.makeHub())
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* echoing(a)
            const error = yield* Effect.flip(Effect.scoped(echoing(a)))
            expect(error.reason).toEqual({ _tag: "ProtocolTaken", protocol: 200 })
          })
        )
        yield* echoing(a)
      })
    ))

  test("a node does not connect to itself, and not at all once it has closed", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const scope = yield* Scope.make()
        const a = yield* Scope.provide(party(hub), scope)
        expect((yield* Effect.flip(meet(a, a))).reason._tag).toBe("DialFailed")
        expect((yield* Effect.flip(a.connect({ addresses: [addressOf(a.nodeId)] }))).reason._tag).toBe("DialFailed")
        yield* Scope.close(scope, Exit.void)
        const b = yield* party(hub)
        expect((yield* Effect.flip(meet(a, b))).reason._tag).toBe("NotListening")
      })
    ))

  test("an attempt knocks at a bounded number of addresses, each once, however many a record names", () =>
    run(
      Effect.gen(function* () {
        const hub = TransportMemory.makeHub()
        const dialled: Array<string> = []
        const a = yield* party(hub, () => (address) => {
          dialled.push(address)
          return failure(address)
        })
        const { nodeId } = Identity.generate()
        const addresses = Array.from({ length: 32 }, (_, n) => `${n % 2 === 0 ? "mem" : "relay"}://victim-${n}`)
        const exit = yield* Effect.exit(a.connect({ node: nodeId, addresses: [...addresses, ...addresses] }))
        expect(Exit.isFailure(exit)).toBe(true)
        const relayed = dialled.filter((address) => address.startsWith("relay:"))
        expect(relayed.length).toBe(Connections.MAX_DIALLED.relayed)
        expect(dialled.length - relayed.length).toBe(Connections.MAX_DIALLED.direct)
        expect(new Set(dialled).size).toBe(dialled.length)
        dialled.length = 0
        yield* Effect.exit(a.connect({ node: nodeId, addresses: Array.from({ length: 9 }, () => "mem://victim") }))
        expect(dialled).toEqual(["mem://victim"])
      })
    ))
})
