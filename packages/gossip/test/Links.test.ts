/** Verifies: the two ends of a gossip link agree whether it stands, however they close and open it. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { Links } from "../src/internal/Links.ts"
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
})
