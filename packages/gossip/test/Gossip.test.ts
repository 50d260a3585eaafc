/** Verifies: gossip over TCP keeps the laws of Discovery and of Broadcast. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as BroadcastSuite from "@parley/core/testing/BroadcastSuite"
import * as DiscoverySuite from "@parley/core/testing/DiscoverySuite"
import { type Ground, ground } from "./ground.ts"

/** Each newcomer is brought to the first one, so that only gossip makes a mesh of them. */
const makeMeeting = () => {
  let first: Ground | undefined
  return (made: Ground) =>
    Effect.gen(function* () {
      first ??= made
      if (first !== made) yield* Effect.forkScoped(made.connections.keep({ addresses: first.addresses }))
    })
}

DiscoverySuite.suite(
  { describe, expect, test },
  {
    name: "gossip",
    supports: DiscoverySuite.everything,
    world: Effect.sync(() => {
      const join = makeMeeting()
      let made: Ground | undefined
      return {
        attach: (identity) =>
          Effect.gen(function* () {
            made = yield* ground(identity)
            yield* join(made)
            return made
          }),
        // The suite asks for the discovery of a host right after its connections.
        discovery: Effect.sync(() => made!.discovery)
      }
    })
  }
)

BroadcastSuite.suite(
  { describe, expect, test },
  {
    name: "gossip",
    world: Effect.sync(() => {
      const join = makeMeeting()
      return {
        attach: (identity) =>
          Effect.gen(function* () {
            const made = yield* ground(identity)
            yield* join(made)
            return made
          })
      }
    })
  }
)
