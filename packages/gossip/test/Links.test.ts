/** Verifies: the two ends of a gossip link agree whether it stands, however they close and open it; and a link that cannot be made is told. */
import { describe, expect, test } from "bun:test"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { type Connection, ResetCode, TransportError } from "@parley/core/Transport"
import { DIAL_MS, Links, MAX_DIALS, MAX_QUEUED_BYTES, MAX_WAITING_DIALS } from "../src/internal/Links.ts"
import { ground, run, until } from "./ground.ts"

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

  /** An end on no network: what it dials is what `dial` gives. */
  const alone = (dial: (peer: NodeId) => Effect.Effect<Connection, never>) =>
    Effect.gen(function* () {
      const { connections } = yield* ground(Identity.generate())
      const down: Array<NodeId> = []
      const links = new Links({
        connections: { ...connections, connect: ({ node }) => dial(node!) },
        addressesOf: () => [],
        hello: () => Uint8Array.of(1),
        onHello: () => 1,
        onMessage: () => true,
        time: { pauseFor: () => 0, spent: () => {} },
        onUp: () => {},
        onDown: (peer) => void down.push(peer),
        fork: Effect.runForkWith(yield* Effect.context<never>())
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => links.stop()))
      return { links, down }
    })

  /** A connection to a peer that takes nothing, or all; and what was said and done on it. */
  const connection = (peer: NodeId, takes: boolean) => {
    const seen = { opened: 0, ended: 0, reset: undefined as number | undefined }
    const made: Connection = {
      peer,
      address: "tcp://nowhere:1",
      direction: "outbound",
      relayed: false,
      state: () => "open",
      streams: () => 1,
      open: () => {
        seen.opened++
        return {
          send: (_message, _ttl, last) => {
            if (last === true) seen.ended++
            return takes
          },
          reset: (code) => void (seen.reset = code),
          pause: () => {},
          resume: () => {}
        }
      },
      drain: () => Effect.void,
      close: () => Effect.void
    }
    return { seen, made }
  }

  test("ends where its peer takes nothing and too much waits for it", () =>
    run(
      Effect.gen(function* () {
        const peer = Identity.generate().nodeId
        const { made, seen } = connection(peer, false)
        const { down, links } = yield* alone(() => Effect.succeed(made))
        const message = new Uint8Array(64 * 1024)
        links.send(peer, message)
        yield* until("it is up", () => Effect.sync(() => links.isUp(peer)))
        for (let n = 0; n < MAX_QUEUED_BYTES / message.length - 1; n++) links.send(peer, message)
        expect([links.isUp(peer), down.length]).toEqual([true, 0])
        links.send(peer, message)
        expect([links.isUp(peer), down, seen.reset]).toEqual([false, [peer], ResetCode.TooSlow])
      })
    ))

  test("moves to the connection that its peer made last", () =>
    run(
      Effect.gen(function* () {
        const peer = Identity.generate().nodeId
        const [older, newer] = [connection(peer, true), connection(peer, true)]
        const { down, links } = yield* alone(() => Effect.succeed(older.made))
        links.send(peer, Uint8Array.of(1))
        yield* until("it is up", () => Effect.sync(() => links.isUp(peer)))
        links.onConnected(newer.made)
        expect([older.seen.ended, newer.seen.opened, links.isUp(peer), down.length]).toEqual([1, 1, true, 0])
      })
    ))

  test("to one peer too many, or to one that is left alone, is told to be down without a dial", () =>
    run(
      Effect.gen(function* () {
        const dialled: Array<NodeId> = []
        const { down, links } = yield* alone((peer) =>
          Effect.andThen(
            Effect.sync(() => dialled.push(peer)),
            Effect.never
          )
        )
        const shunned = Identity.generate().nodeId
        links.shun(shunned)
        links.send(shunned, Uint8Array.of(1))
        const many = MAX_DIALS + MAX_WAITING_DIALS + 3
        for (let n = 0; n < many; n++) links.send(`z${n}` as NodeId, Uint8Array.of(1))
        yield* until("they are told", () => Effect.sync(() => down.length >= 4))
        expect(down).toEqual([shunned, ...[3, 2, 1].map((n) => `z${many - n}` as NodeId)])
        expect([dialled.length, dialled.includes(shunned)]).toEqual([MAX_DIALS, false])
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
