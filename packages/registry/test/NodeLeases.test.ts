/** Verifies: leases of nodes are remembered up to a bound, and each lives on when it is renewed. */
import { expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NodeLeases from "@parley/registry/NodeLeases"
import { Presence } from "@parley/registry/Presence"
import * as PresenceMemory from "@parley/registry/PresenceMemory"

test("keys cost nothing: of a thousand nodes that came once the last are remembered, and all are online until their leases end", () =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const built = yield* Layer.build(NodeLeases.layerOf(10).pipe(Layer.provideMerge(PresenceMemory.layer)))
        const leases = Context.get(built, NodeLeases.NodeLeases)
        const presence = Context.get(built, Presence)
        for (let n = 0; n < 1_000; n++) {
          yield* leases.renew("regular")
          yield* leases.renew(`stranger-${n}`)
        }
        expect([leases.size(), presence.online()]).toEqual([10, 1_001])
        // The one that comes again and again has kept its lease; one that was forgotten gets another.
        leases.forget("regular")
        expect(leases.size()).toBe(9)
        yield* leases.renew("stranger-0")
        yield* presence.drop("stranger-0")
        yield* leases.renew("stranger-0")
        expect([leases.size(), presence.view("stranger-0").online]).toEqual([10, true])
      })
    )
  ))
