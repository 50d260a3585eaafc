/** Verifies: messages reach who subscribed, in order, with who published them; and what a topic may hold is bounded. */
import { describe, expect, test } from "bun:test"
import * as Broadcast from "@parley/core/Broadcast"
import * as BroadcastMemory from "@parley/core/BroadcastMemory"
import * as Capability from "@parley/core/Capability"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode, type Stream as PeerStream, type StreamHandler } from "@parley/core/Transport"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { addressOf, knows, makeMesh, meet, type Member, reasonOf, run, until } from "./mesh.ts"
import { ignore } from "./wire.ts"

const who = Capability.make("who", { version: "1.0.0", input: Schema.Json, output: Schema.String })

/** Publishes until somebody takes it: a subscription is heard a moment after it began. */
const reach = (node: Member, topic: string, count: number) =>
  until(
    `${count} subscribers of ${topic}`,
    Effect.map(Effect.orDie(node.publish(topic, "hello")), (n) => n >= count)
  )

describe("topics", () => {
  test("messages come in order, and say who published them", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* meet(ada, bob)
        const heard = yield* Effect.forkChild(
          Stream.runCollect(
            bob.subscribe("news").pipe(
              Stream.filter(({ data }) => data !== "hello"),
              Stream.take(100)
            )
          )
        )
        yield* reach(ada, "news", 1)
        for (let n = 0; n < 100; n++) yield* ada.publish("news", { n })
        const all = yield* Fiber.join(heard)
        expect(all.map(({ data }) => data)).toEqual(Array.from({ length: 100 }, (_, n) => ({ n })))
        expect(new Set(all.map(({ from, topic }) => `${topic} ${from}`))).toEqual(new Set([`news ${ada.nodeId}`]))
      })
    ))

  test("who has left, and who hears other topics, is sent nothing; a node hears itself", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* meet(ada, bob)
        const first = yield* Effect.forkChild(Stream.runDrain(Stream.take(bob.subscribe("a"), 1)))
        yield* reach(ada, "a", 1)
        yield* Fiber.join(first)
        yield* until(
          "bob has left",
          Effect.map(Effect.orDie(ada.publish("a", 1)), (n) => n === 0)
        )
        const own = yield* Effect.forkChild(Stream.runCollect(Stream.take(ada.subscribe("a"), 1)), {
          startImmediately: true
        })
        expect(yield* ada.publish("b", 1)).toBe(0)
        yield* ada.publish("a", 2)
        expect((yield* Fiber.join(own)).map(({ data, from }) => [data, from])).toEqual([[2, ada.nodeId]])
      })
    ))

  test("a subscription goes on over a new connection", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const first = yield* meet(ada, bob)
        const heard = yield* Effect.forkChild(
          Stream.runCollect(
            bob.subscribe("news").pipe(
              Stream.filter(({ data }) => data !== "hello"),
              Stream.take(1)
            )
          )
        )
        yield* reach(ada, "news", 1)
        first.close("for the test")
        yield* until(
          "the connection has gone",
          Effect.sync(() => bob.connections.get(ada.nodeId) === undefined)
        )
        yield* meet(ada, bob)
        yield* reach(ada, "news", 1)
        yield* ada.publish("news", "again")
        expect((yield* Fiber.join(heard)).length).toBe(1)
      })
    ))

  test("a subscription that moved to a newer connection is ended there, whatever became of the older one", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        // A publisher that dials twice; it counts the subscriptions it has.
        const identity = Identity.generate()
        const transport = TransportMemory.make(identity.nodeId, mesh.hub)
        const publisher = yield* Connections.make(transport, identity.nodeId)
        let open = 0
        yield* publisher.handle(Protocol.TOPICS, () => {
          open += 1
          return { ...ignore, onClosed: () => void (open -= 1) }
        })
        const dial = transport.dial(addressOf(ada.nodeId), ada.nodeId)
        const first = yield* dial
        const older = ada.connections.get(identity.nodeId)
        const listening = yield* Effect.forkChild(Stream.runDrain(ada.subscribe("news")))
        yield* until(
          "it subscribed",
          Effect.sync(() => open === 1)
        )
        yield* dial
        yield* until(
          "it subscribed again",
          Effect.sync(() => open === 2)
        )
        first.close("the older one")
        yield* until(
          "the older has gone",
          Effect.sync(() => older?.state() === "closed" && open === 1)
        )
        yield* Fiber.interrupt(listening)
        yield* until(
          "it left",
          Effect.sync(() => open === 0)
        )
      })
    ))

  test("a subscription on a newer connection waits for the end of the older one, and holds a window meanwhile", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const identity = Identity.generate()
        const transport = TransportMemory.make(identity.nodeId, mesh.hub)
        const publisher = yield* Connections.make(transport, identity.nodeId)
        const streams: Array<PeerStream> = []
        let isWritable = true
        yield* publisher.handle(Protocol.TOPICS, (_, stream) => {
          streams.push(stream)
          return { ...ignore, onWritable: () => void (isWritable = true) }
        })
        const dial = transport.dial(addressOf(ada.nodeId), ada.nodeId)
        const heard: Array<unknown> = []
        yield* dial
        yield* Effect.forkChild(
          Stream.runForEach(ada.subscribe("news"), ({ data }) => Effect.sync(() => void heard.push(data)))
        )
        for (const count of [1, 2]) {
          yield* until(
            `it subscribed ${count} times`,
            Effect.sync(() => streams.length === count)
          )
          if (count === 1) yield* dial
        }
        const [older, newer] = streams as [PeerStream, PeerStream]
        const say = (stream: PeerStream, data: string) => stream.send(Uint8Array.of(2), JSON.stringify(data), false)
        say(newer, "second")
        let sent = 0
        // A window is 512 KiB.
        for (let turn = 0; turn < 50; turn++) {
          while (isWritable && sent < 100) {
            isWritable = say(newer, "x".repeat(65_536))
            sent += 1
          }
          yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        }
        say(older, "first")
        older.send(new Uint8Array(0), undefined, true)
        yield* until(
          "all has come",
          Effect.sync(() => heard.length === sent + 2)
        )
        expect(heard.slice(0, 2)).toEqual(["first", "second"])
        expect(sent).toBeLessThan(20)
      })
    ))

  test("a peer that has as many as it may takes them along to a newer connection", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { topics: { perPeer: 1, pending: 4 } } })
        const identity = Identity.generate()
        const transport = TransportMemory.make(identity.nodeId, mesh.hub)
        yield* Connections.make(transport, identity.nodeId)
        const heard: Array<string> = []
        const subscribe = Effect.map(transport.dial(addressOf(ada.nodeId), ada.nodeId), (connection) => {
          const name = heard.push("nothing yet") - 1
          const handler: StreamHandler = {
            ...ignore,
            onMessage: (message, last) => void (heard[name] = last ? "the end" : Buffer.from(message).toString()),
            onClosed: (code) => void (heard[name] = `closed ${code}`)
          }
          const stream = connection.open(Protocol.TOPICS, handler)
          stream?.send(Uint8Array.of(1, 97), undefined, false)
          return stream
        })
        const first = yield* subscribe
        yield* until(
          "the first hears it",
          Effect.map(Effect.orDie(ada.publish("a", 1)), () => heard[0] !== "nothing yet")
        )
        yield* subscribe
        yield* until(
          "the second hears it",
          Effect.map(Effect.orDie(ada.publish("a", 2)), () => heard[1] !== "nothing yet")
        )
        expect(heard).toEqual(["the end", "\u00022"])
        // What has ended is not begun anew.
        first?.send(Uint8Array.of(1, 98), undefined, false)
        yield* until(
          "the first is refused",
          Effect.sync(() => heard[0] === `closed ${ResetCode.Malformed}`)
        )
      })
    ))

  test("what cannot be a topic or a message is a typed error", () =>
    run(
      Effect.gen(function* () {
        const ada = yield* makeMesh().node("ada", { guardrails: { maxPayloadBytes: 100 } })
        expect(yield* reasonOf(ada.publish("", 1))).toMatchObject({ _tag: "BadQuery" })
        expect(yield* reasonOf(ada.publish("é".repeat(129), 1))).toMatchObject({ _tag: "BadQuery" })
        expect(yield* reasonOf(ada.publish("t", undefined as never))).toMatchObject({ _tag: "BadQuery" })
        expect(yield* reasonOf(ada.publish("t", "x".repeat(98)))).toEqual({ _tag: "TooLarge", bytes: 100, limit: 99 })
        expect(yield* reasonOf(Stream.runDrain(ada.subscribe("")))).toMatchObject({ _tag: "BadQuery" })
      })
    ))

  test("a peer may subscribe to only so many topics, and nonsense ends its stream alone", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { topics: { perPeer: 2, pending: 4 } } })
        const peer = yield* mesh.stranger()
        const connection = yield* meet(peer, ada)
        const closed: Array<ResetCode> = []
        const messages: Array<string> = []
        const handler: StreamHandler = {
          onMessage: (message) => void messages.push(Buffer.from(message).toString()),
          onWritable: () => {},
          onClosed: (code) => void closed.push(code)
        }
        const send = (...bytes: ReadonlyArray<number>) => {
          const stream = connection.open(Protocol.TOPICS, handler)
          stream?.send(Uint8Array.from(bytes), undefined, false)
          return stream
        }
        const subscribe = (topic: string) => send(1, ...Buffer.from(topic))
        const a = subscribe("a")
        subscribe("b")
        subscribe("c")
        yield* until(
          "one is too many",
          Effect.sync(() => closed.length === 1)
        )
        expect(closed).toEqual([ResetCode.Overloaded])
        send(1)
        send(2, 97)
        send(1, ...Array.from({ length: 257 }, () => 97))
        yield* until(
          "nonsense is refused",
          Effect.sync(() => closed.length === 4)
        )
        expect(closed.slice(1)).toEqual([ResetCode.Malformed, ResetCode.Malformed, ResetCode.Malformed])
        expect(yield* ada.publish("a", 1)).toBe(1)
        // A second message on a subscription is nonsense, too, and gives its place back.
        a?.send(Uint8Array.of(1, 97), undefined, false)
        yield* until(
          "the subscription has ended",
          Effect.sync(() => closed.length === 5)
        )
        expect(yield* ada.publish("a", 1)).toBe(0)
        subscribe("d")
        yield* until(
          "d is heard",
          Effect.map(Effect.orDie(ada.publish("d", 1)), (n) => n === 1)
        )
        yield* until(
          "messages came",
          Effect.sync(() => messages.length === 2)
        )
        expect(messages).toEqual(["\u00021", "\u00021"])
      })
    ))

  test("a subscriber that does not read costs the publisher no more than its stream's window", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const peer = yield* mesh.stranger()
        const connection = yield* meet(peer, ada)
        yield* meet(ada, bob)
        const stream = connection.open(Protocol.TOPICS, ignore)
        stream?.pause()
        stream?.send(Uint8Array.of(1, 97), undefined, false)
        const last = yield* Effect.forkChild(
          Stream.runDrain(Stream.takeUntil(bob.subscribe("a"), ({ data }) => data === "last"))
        )
        yield* reach(ada, "a", 2)
        const body = "x".repeat(10_000)
        let handed = 0
        for (let n = 0; n < 500; n++) {
          handed += yield* ada.publish("a", body)
          yield* Effect.yieldNow
        }
        // 512 KiB hold 52 such messages; the reader that keeps up gets all of them.
        expect(handed).toBeLessThan(500 + 80)
        expect(handed).toBeGreaterThanOrEqual(500)
        yield* until("the reader gets the last one", Effect.as(Effect.orDie(ada.publish("a", "last")), true))
        yield* Fiber.join(last)
      })
    ))
})

describe("topics that are broadcast", () => {
  const broadcasting = Effect.fnUntraced(function* () {
    const mesh = makeMesh()
    const broadcast = BroadcastMemory.make(BroadcastMemory.makeBoard())
    const ada = yield* mesh.node("ada", { broadcast })
    return { mesh, broadcast, ada, bob: yield* mesh.node("bob", { broadcast }) }
  })
  const listen = (node: Member, topic: string, count: number) =>
    Effect.forkChild(Stream.runCollect(Stream.take(node.subscribe(topic), count)), { startImmediately: true })

  test("reach nodes that are no neighbours, once each", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, broadcast, mesh } = yield* broadcasting()
        const eve = yield* mesh.node("eve", { broadcast })
        // A stream beside the broadcast would bring the same again.
        yield* meet(ada, bob)
        const heard = yield* Effect.forEach([ada, bob, bob, eve], (node) => listen(node, "news", 10))
        for (let n = 0; n < 10; n++) yield* ada.publish("news", { n })
        for (const fiber of heard) {
          const all = yield* Fiber.join(fiber)
          expect(all.map(({ data }) => data)).toEqual(Array.from({ length: 10 }, (_, n) => ({ n })))
          expect(new Set(all.map(({ from }) => from))).toEqual(new Set([ada.nodeId]))
        }
      })
    ))

  test("still pass between neighbours of which only one broadcasts, both ways", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { broadcast: BroadcastMemory.make(BroadcastMemory.makeBoard()) })
        const bob = yield* mesh.node("bob")
        yield* meet(ada, bob)
        const [atAda, atBob] = [yield* listen(ada, "to-ada", 1), yield* listen(bob, "to-bob", 1)]
        yield* reach(bob, "to-ada", 1)
        yield* reach(ada, "to-bob", 1)
        expect((yield* Fiber.join(atAda)).map(({ from }) => from)).toEqual([bob.nodeId])
        expect((yield* Fiber.join(atBob)).map(({ from }) => from)).toEqual([ada.nodeId])
      })
    ))

  test("leave no stream open between two that broadcast", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* broadcasting()
        const connection = yield* meet(ada, bob)
        // Each tells the other its record, on a stream that stays.
        const announcing = 2
        yield* until(
          "both have told their records",
          Effect.sync(() => connection.streams() === announcing)
        )
        let most = 0
        for (const topic of ["a", "b"]) yield* listen(bob, topic, 1)
        yield* until(
          "the streams of the topics came and went",
          Effect.sync(() => {
            most = Math.max(most, connection.streams(), bob.connections.get(ada.nodeId)?.streams() ?? 0)
            return most > announcing && connection.streams() === announcing
          })
        )
      })
    ))

  test("say in a typed error what cannot be broadcast", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const broadcast = BroadcastMemory.make(BroadcastMemory.makeBoard())
        const ada = yield* mesh.node("ada", { broadcast })
        const limit = Broadcast.MAX_BROADCAST_BYTES
        expect(yield* reasonOf(ada.publish("t", "x".repeat(limit)))).toEqual({
          _tag: "TooLarge",
          bytes: limit + 2,
          limit
        })
        const full = Broadcast.Broadcast.of({
          name: "full",
          join: (host) =>
            Effect.map(broadcast.join(host), (carrier) => ({
              ...carrier,
              publish: () => Effect.fail(new Broadcast.BroadcastError({ code: "TooMany", detail: "too many" }))
            }))
        })
        const eve = yield* mesh.node("eve", { broadcast: full })
        expect(yield* reasonOf(eve.publish("t", 1))).toMatchObject({ _tag: "Overloaded", detail: "too many" })
      })
    ))

  test("are held back where the broadcast cannot join, and neighbours are reached all the same", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const broken = Broadcast.Broadcast.of({
          name: "broken",
          join: () => Effect.fail(new Broadcast.BroadcastError({ code: "Closed", detail: "for the test" }))
        })
        const ada = yield* mesh.node("ada", { broadcast: broken })
        const bob = yield* mesh.node("bob")
        yield* meet(ada, bob)
        const heard = yield* listen(bob, "news", 1)
        yield* reach(ada, "news", 1)
        expect((yield* Fiber.join(heard)).length).toBe(1)
      })
    ))

  test("a node that the others hold for dead is asked last, and still asked", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const broadcast = BroadcastMemory.make(BroadcastMemory.makeBoard())
        let dead: string | undefined
        const knowing = Broadcast.Broadcast.of({
          name: "knowing",
          join: (host) =>
            Effect.map(broadcast.join(host), (carrier) => ({ ...carrier, isDown: (node) => node === dead }))
        })
        const caller = yield* mesh.node("caller", { broadcast: knowing })
        const servers = [yield* mesh.node("one"), yield* mesh.node("two")]
        for (const server of servers) {
          yield* server.serve(who, () => Effect.succeed(server.nodeId))
          yield* meet(caller, server)
          yield* knows(caller, server.nodeId, who.id)
        }
        for (const server of servers) {
          dead = server.nodeId
          const [first, second] = yield* caller.discover({ name: "who" }, { within: 0 })
          expect(first?.node).toBe(servers.find(({ nodeId }) => nodeId !== dead)?.nodeId)
          expect(second?.parts.availability.why).toContain("held for dead")
          expect(second?.parts.availability.value).toBeLessThan(0.1)
          expect(yield* caller.call(who, null, { to: server.nodeId })).toBe(server.nodeId)
        }
      })
    ))
})
