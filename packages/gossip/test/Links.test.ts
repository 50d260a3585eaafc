/** Verifies: the two ends of a gossip link agree whether it stands, however they close and open it; and a link that cannot be made is told. */
import { describe, expect, test } from "bun:test"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { TransportError } from "@parley/core/Transport"
import { DIAL_MS, Links, MAX_DIALS } from "../src/internal/Links.ts"
import { ground, run } from "./ground.ts"

/** Messages there and back after which a link would have settled many times over. */
const ROUNDS = 50

interface End {
  readonly nodeId: NodeId
  readonly links: Links
  readonly ups: () => number
  readonly connect: (to: End) => Effect.Effect<void>
}

/** One end: it sends back, one less, what is more than nothing, and tells when it is nothing. */
const end = (done: () => void): Effect.Effect<End, never, Scope.Scope> =>
  Effect.gen(function* () {
    const identity = Identity.generate()
    const { addresses, connections } = yield* ground(identity)
    let ups = 0
    const links = new Links({
      connections,
      addressesOf: () => [],
      hello: () => Uint8Array.of(1),
      onHello: () => 1,
      onMessage: (peer, [left]) => {
        if (left === 0 || left === undefined) done()
        else links.send(peer, Uint8Array.of(left - 1))
        return true
      },
      time: { pauseFor: () => 0, spent: () => {} },
      onUp: () => ups++,
      onDown: () => {},
      fork: Effect.runForkWith(yield* Effect.context<never>())
    })
    yield* Effect.orDie(connections.handle(Protocol.GOSSIP, links.accept))
    yield* Effect.addFinalizer(() => Effect.sync(() => links.stop()))
    const self: End & { readonly addresses: ReadonlyArray<string> } = {
      nodeId: identity.nodeId,
      addresses,
      links,
      ups: () => ups,
      connect: (to) =>
        connections
          .connect({ node: to.nodeId, addresses: (to as typeof self).addresses })
          .pipe(Effect.orDie, Effect.asVoid)
    }
    return self
  })

describe("a link", () => {
  test("that one end closes and opens again at once does not quarrel with itself", () =>
    run(
      Effect.gen(function* () {
        let settle = (): void => {}
        const next = (): Effect.Effect<void> =>
          Effect.callback<void>((resume) => {
            settle = () => resume(Effect.void)
          }).pipe(Effect.timeout("20 seconds"), Effect.orDie)
        const a = yield* end(() => settle())
        const b = yield* end(() => settle())
        yield* a.connect(b)
        const exchange = (from: End, to: End) =>
          Effect.andThen(
            Effect.sync(() => from.links.send(to.nodeId, Uint8Array.of(ROUNDS))),
            next()
          )
        yield* exchange(a, b)
        const before = a.ups() + b.ups()
        a.links.close(b.nodeId)
        yield* exchange(a, b)
        yield* exchange(b, a)
        b.links.close(a.nodeId)
        a.links.close(b.nodeId)
        yield* exchange(b, a)
        yield* exchange(a, b)
        expect(a.links.size + b.links.size).toBe(2)
        // Two at each end for each of the two times, and some for ends that cross.
        expect(a.ups() + b.ups() - before).toBeLessThanOrEqual(12)
      })
    ))

  test("to who cannot be reached is told to be down, whatever its dial ended with, and others are dialled", () =>
    run(
      Effect.gen(function* () {
        const { connections } = yield* ground(Identity.generate())
        const peers = Array.from({ length: 4 * MAX_DIALS }, () => Identity.generate().nodeId)
        const down: Array<NodeId> = []
        const all = yield* Deferred.make<void>()
        const logged: Array<unknown> = []
        const log = Logger.layer([Logger.make(({ message }) => void logged.push(message))])
        const fork = <A, E>(effect: Effect.Effect<A, E>) => Effect.runFork(Effect.provide(effect, log))
        const ends = [
          Effect.die(new Error("planted")),
          Effect.interrupt,
          Effect.fail(new TransportError({ reason: { _tag: "UnknownScheme", address: "planted:", known: [] } }))
        ]
        const links = new Links({
          connections: { ...connections, connect: ({ node }) => ends[peers.indexOf(node!) % ends.length]! },
          addressesOf: () => [],
          hello: () => Uint8Array.of(1),
          onHello: () => 1,
          onMessage: () => true,
          time: { pauseFor: () => 0, spent: () => {} },
          onUp: () => {},
          onDown: (peer) => {
            if (down.push(peer) === peers.length) fork(Deferred.succeed(all, undefined))
          },
          fork
        })
        yield* Effect.addFinalizer(() => Effect.sync(() => links.stop()))
        for (const peer of peers) links.send(peer, Uint8Array.of(0))
        yield* Deferred.await(all).pipe(Effect.timeout(4 * DIAL_MS))
        expect(new Set(down)).toEqual(new Set(peers))
        // A bug is not taken for a peer that is not there.
        expect(logged.length).toBe(Math.ceil(peers.length / ends.length))
        expect(links.size).toBe(0)
      })
    ))
})
