/**
 * The laws of Broadcast, for every implementation: call `suite` from a test file with the runner's own `describe`, `test`
 * and `expect`, and a harness that makes hosts.
 *
 * ```ts
 * import { describe, expect, test } from "bun:test"
 * suite({ describe, test, expect }, { name: "memory", world })
 * ```
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as AgentRecord from "../AgentRecord.ts"
import { type Broadcast, BroadcastError, type Carrier, type Heard, MAX_BROADCAST_BYTES } from "../Broadcast.ts"
import type { Connections } from "../Connections.ts"
import * as Identity from "../Identity.ts"
import type { TestApi } from "./TestApi.ts"

/** The ground that one law is tried on: hosts that can reach each other, over others at least. */
export interface World {
  /** A host's connections, and its broadcast. */
  readonly attach: (identity: Identity.Identity["Service"]) => Effect.Effect<Attached, unknown, Scope.Scope>
}

/** What a world gives to a host. */
export interface Attached {
  readonly connections: Connections["Service"]
  readonly broadcast: Broadcast["Service"]
}

/** One implementation under test. */
export interface Harness {
  readonly name: string
  /** A fresh world for each law; its scope ends with the law. */
  readonly world: Effect.Effect<World, unknown, Scope.Scope>
  /** How long news may take to be everywhere, in milliseconds; 8,000 where absent. */
  readonly withinMs?: number
}

interface Actor {
  readonly identity: Identity.Identity["Service"]
  readonly carrier: Carrier
  readonly leave: Effect.Effect<void>
}

const actor = Effect.fnUntraced(function* (world: World) {
  const identity = Identity.generate()
  const scope = yield* Scope.fork(yield* Effect.scope)
  const { broadcast, connections } = yield* Scope.provide(world.attach(identity), scope)
  const now = yield* Clock.currentTimeMillis
  const record = AgentRecord.make(identity, {
    name: "actor",
    seq: now,
    issuedAt: now,
    addresses: connections.addresses(),
    capabilities: []
  })
  const carrier = yield* Scope.provide(
    broadcast.join({
      nodeId: identity.nodeId,
      record: () => record,
      addresses: connections.addresses,
      connections,
      isPrivate: false
    }),
    scope
  )
  const made: Actor = { identity, carrier, leave: Scope.close(scope, Exit.void) }
  return made
})

/** Hears a topic into a list. */
const listen = (who: Actor, topic: string) =>
  Effect.gen(function* () {
    const heard: Array<Heard> = []
    yield* who.carrier.subscribe(topic, (one) => void heard.push(one))
    return heard
  })

const LAW_TIMEOUT_MS = 30_000
const LOOK = "10 millis"

/** Declares the laws for one implementation. */
export const suite = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const withinMs = harness.withinMs ?? 15_000
  const law = (name: string, body: (world: World) => Effect.Effect<void, unknown, Scope.Scope>): void =>
    test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(harness.world, body))), LAW_TIMEOUT_MS)
  const until = (what: string, done: () => boolean) =>
    Effect.gen(function* () {
      const began = performance.now()
      while (!done()) {
        if (performance.now() - began > withinMs) return yield* Effect.die(new Error(`still not so: ${what}`))
        yield* Effect.sleep(LOOK)
      }
    })
  /** Publishes until everybody has heard of it: those who came last may not be reached yet. */
  const meet = (actors: ReadonlyArray<Actor>) =>
    Effect.gen(function* () {
      for (const publisher of actors) {
        const all = yield* Effect.forEach(actors, (each) => listen(each, "law.meet"))
        const began = performance.now()
        while (!all.every((heard) => heard.some(({ from }) => from === publisher.identity.nodeId))) {
          if (performance.now() - began > withinMs) return yield* Effect.die(new Error("the actors do not meet"))
          yield* publisher.carrier.publish("law.meet", "0")
          yield* Effect.sleep("50 millis")
        }
      }
    })
  const numbers = (heard: ReadonlyArray<Heard>, from: Actor): ReadonlyArray<string> =>
    heard.flatMap((one) => (one.from === from.identity.nodeId ? [one.text] : []))

  describe(`Broadcast laws: ${harness.name}`, () => {
    law("each message reaches each subscriber once, the publisher included, in the order of publishing", (world) =>
      Effect.gen(function* () {
        const actors = [yield* actor(world), yield* actor(world), yield* actor(world), yield* actor(world)]
        yield* meet(actors)
        const heard = yield* Effect.forEach(actors, (each) => listen(each, "law.order"))
        const expected = Array.from({ length: 50 }, (_, n) => String(n))
        for (const text of expected) for (const each of actors) yield* each.carrier.publish("law.order", text)
        yield* until("everybody has heard everything", () => heard.every((one) => one.length >= 50 * actors.length))
        for (const one of heard) for (const from of actors) expect(numbers(one, from)).toEqual(expected)
        for (const one of heard) expect(new Set(one.map(({ seq }) => seq)).size).toBe(50)
      })
    )

    law("two subscriptions of one node hear each message once each, and one that ended hears nothing", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        yield* meet([a, b])
        const scope = yield* Scope.make()
        const ended = yield* Scope.provide(listen(b, "law.twice"), scope)
        const [first, second] = [yield* listen(b, "law.twice"), yield* listen(b, "law.twice")]
        yield* a.carrier.publish("law.twice", "1")
        yield* until("both have heard", () => first.length > 0 && second.length > 0)
        yield* Scope.close(scope, Exit.void)
        yield* a.carrier.publish("law.twice", "2")
        yield* until("both have heard again", () => first.length > 1 && second.length > 1)
        expect([first, second, ended].map((one) => one.map(({ text }) => text))).toEqual([
          ["1", "2"],
          ["1", "2"],
          ["1"]
        ])
      })
    )

    law("topics are kept apart", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        yield* meet([a, b])
        const [one, other] = [yield* listen(b, "law.one"), yield* listen(b, "law.other")]
        yield* a.carrier.publish("law.other", "x")
        yield* a.carrier.publish("law.one", "y")
        yield* until("both have come", () => one.length > 0 && other.length > 0)
        expect([one, other].map((each) => each.map(({ text, topic }) => `${topic} ${text}`))).toEqual([
          ["law.one y"],
          ["law.other x"]
        ])
      })
    )

    law("a message may have its full size, in bytes, and no more", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        yield* meet([a, b])
        const heard = yield* listen(b, "law.size")
        const largest = "é".repeat(MAX_BROADCAST_BYTES / 2)
        const refused = yield* Effect.flip(a.carrier.publish("law.size", `${largest}x`))
        expect(refused instanceof BroadcastError && refused.code).toBe("TooLarge")
        yield* a.carrier.publish("law.size", largest)
        yield* until("it came", () => heard.length > 0)
        expect(heard[0]?.text === largest).toBe(true)
      })
    )

    law("who has left publishes no more, and the others go on", (world) =>
      Effect.gen(function* () {
        const [a, b, c] = [yield* actor(world), yield* actor(world), yield* actor(world)]
        yield* meet([a, b, c])
        const heard = yield* listen(c, "law.left")
        yield* b.leave
        const refused = yield* Effect.flip(b.carrier.publish("law.left", "late"))
        expect(refused instanceof BroadcastError && refused.code).toBe("Closed")
        yield* a.carrier.publish("law.left", "1")
        yield* until("it came", () => heard.length > 0)
        expect(heard.map(({ text }) => text)).toEqual(["1"])
      })
    )
  })
}
