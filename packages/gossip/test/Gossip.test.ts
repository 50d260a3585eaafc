/** Verifies: gossip over TCP keeps the laws of Discovery and of Broadcast, and that what cannot begin leaves nothing behind. */
import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import * as BroadcastSuite from "@parley/core/testing/BroadcastSuite"
import * as DiscoverySuite from "@parley/core/testing/DiscoverySuite"
import { type Ground, ground, run } from "./ground.ts"

/** Each newcomer is brought to the first one, so that only gossip makes a mesh of them. */
const makeMeeting = () => {
  let first: Ground | undefined
  return (made: Ground) =>
    Effect.gen(function* () {
      first ??= made
      if (first !== made) yield* Effect.forkScoped(made.connections.keep({ addresses: first.addresses }))
    })
}

describe("gossip that cannot begin", () => {
  test("says why, and leaves no machine at work", () =>
    run(
      Effect.gen(function* () {
        const identity = Identity.generate()
        const commands: Array<string> = []
        const made = yield* ground(identity, () => ({
          machine: {
            step: (state, event) => {
              if (event._tag === "Command") commands.push(event.command._tag)
              return [state, []]
            }
          },
          state: undefined
        }))
        const record = AgentRecord.make(identity, {
          name: "node",
          seq: 1,
          issuedAt: yield* Clock.currentTimeMillis,
          addresses: [],
          capabilities: []
        })
        const host = {
          nodeId: identity.nodeId,
          record: () => record,
          addresses: () => [],
          connections: made.connections,
          isPrivate: false
        }
        const scope = yield* Scope.make()
        yield* Scope.provide(
          made.connections.handle(Protocol.GOSSIP, () => undefined),
          scope
        )
        const refused = yield* Effect.flip(made.gossip.join(host))
        expect(refused.code).toBe("Failed")
        expect(commands).toEqual(["Leave"])
        // Once the way is free, it begins.
        yield* Scope.close(scope, Exit.void)
        yield* made.gossip.join(host)
        expect(commands).toEqual(["Leave", "Join"])
      })
    ))
})

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
