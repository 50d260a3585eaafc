/** Verifies: gossip over TCP keeps the laws of Discovery and of Broadcast, and that what cannot begin leaves nothing behind. */
import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { Host } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import * as BroadcastSuite from "@parley/core/testing/BroadcastSuite"
import * as DiscoverySuite from "@parley/core/testing/DiscoverySuite"
import * as Gossip from "@parley/gossip/Gossip"
import type * as GossipMachine from "@parley/gossip/GossipMachine"
import { type Ground, ground, run } from "./ground.ts"

/** A machine that does nothing but tell what it is wanted to do. */
const recording =
  (hear: (command: GossipMachine.Command) => void): Gossip.MachineOf =>
  () => ({
    machine: {
      step: (state, event) => {
        if (event._tag === "Command") hear(event.command)
        return [state, []]
      }
    },
    state: undefined
  })

const hostOf = (identity: Identity.Identity["Service"], { connections }: Ground): Effect.Effect<Host> =>
  Effect.map(Clock.currentTimeMillis, (issuedAt) => {
    const record = AgentRecord.make(identity, { name: "node", seq: 1, issuedAt, addresses: [], capabilities: [] })
    return { nodeId: identity.nodeId, record: () => record, addresses: () => [], connections, isPrivate: false }
  })

/** Each newcomer is brought to the first one, so that only gossip makes a mesh of them. */
const makeMeeting = () => {
  let first: Ground | undefined
  return (made: Ground) =>
    Effect.gen(function* () {
      first ??= made
      if (first !== made) yield* Effect.forkScoped(made.connections.keep({ addresses: first.addresses }))
    })
}

describe("who is found by others", () => {
  test("is a contact, or dialled where only an address is known: a few at a time; nobody that gossip itself has found", () =>
    run(
      Effect.gen(function* () {
        const identity = Identity.generate()
        const contacts: Array<string> = []
        const dialled: Array<string> = []
        const made = yield* ground(
          identity,
          recording((command) => {
            if (command._tag === "Join") contacts.push(...command.contacts)
          })
        )
        const { carrier } = yield* made.gossip.join({
          ...(yield* hostOf(identity, made)),
          connections: {
            ...made.connections,
            connect: ({ addresses }) =>
              Effect.andThen(
                Effect.sync(() => dialled.push(...(addresses ?? []))),
                Effect.never
              )
          }
        })
        const [one, other, gone] = Array.from({ length: 3 }, () => Identity.generate().nodeId)
        carrier.meet({ source: "test", node: one!, addresses: [] })
        carrier.meet({ source: Gossip.SOURCE, node: other!, addresses: [] })
        carrier.meet({ source: "test", node: gone!, addresses: [], gone: true })
        expect(contacts).toEqual([one!])
        for (let n = 0; n < 20; n++) carrier.meet({ source: "test", addresses: [`tcp://nowhere:${n}`] })
        expect(dialled).toEqual([0, 1, 2, 3].map((n) => `tcp://nowhere:${n}`))
      })
    ))
})

describe("gossip that cannot begin", () => {
  test("says why, and leaves no machine at work", () =>
    run(
      Effect.gen(function* () {
        const identity = Identity.generate()
        const commands: Array<string> = []
        const made = yield* ground(
          identity,
          recording(({ _tag }) => void commands.push(_tag))
        )
        const host = yield* hostOf(identity, made)
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
