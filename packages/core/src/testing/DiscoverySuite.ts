/**
 * The laws of Discovery, for every implementation: call `suite` from a test file with the runner's own `describe`, `test`
 * and `expect`, and a harness that makes hosts. What a source cannot do is said in `supports`, not skipped in silence.
 *
 * ```ts
 * import { describe, expect, test } from "bun:test"
 * suite({ describe, test, expect }, { name: "memory", supports: everything, world })
 * ```
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentRecord from "../AgentRecord.ts"
import type { CapabilityRecord } from "../Capability.ts"
import type { Connections } from "../Connections.ts"
import type { Discovery, Found, Host, Membership, Outcome } from "../Discovery.ts"
import * as Identity from "../Identity.ts"
import type { Query } from "../Query.ts"
import type { Address } from "../Transport.ts"
import type { TestApi } from "./TestApi.ts"

/** What a source can do. */
export interface Supports {
  /** Finds what others have advertised; false for one that only knows addresses. */
  readonly advertising: boolean
  /** Findings carry records. */
  readonly records: boolean
  /** Tells of comings and goings without being asked. */
  readonly changes: boolean
}

/** A source that can do everything. */
export const everything: Supports = { advertising: true, records: true, changes: true }

/** The ground that one law is tried on: hosts that can find each other, and their discovery. */
export interface World {
  /** The discovery of one more host. */
  readonly discovery: Effect.Effect<Discovery["Service"], unknown, Scope.Scope>
  /** A host's connections and addresses. */
  readonly attach: (identity: Identity.Identity["Service"]) => Effect.Effect<Attached, unknown, Scope.Scope>
}

/** What a world gives to a host. */
export interface Attached {
  readonly connections: Connections["Service"]
  readonly addresses: ReadonlyArray<Address>
}

/** One implementation under test. */
export interface Harness {
  readonly name: string
  readonly supports: Supports
  /** A fresh world for each law; its scope ends with the law. */
  readonly world: Effect.Effect<World, unknown, Scope.Scope>
  /** The time that a search may take as documented, in milliseconds; 5,000 where absent. */
  readonly findMs?: number
}

/** A node of a law: what a node tells its discovery, with the levers to change it. */
export interface Actor {
  readonly identity: Identity.Identity["Service"]
  readonly membership: Membership
  /** Signs a record with the next `seq` (or the given fields) and advertises it. */
  readonly publish: (fields?: Partial<AgentRecord.Fields>) => Effect.Effect<AgentRecord.AgentRecord, unknown>
  /** Advertises a tombstone. */
  readonly bury: Effect.Effect<void, unknown>
  /** Advertises this as its record, whatever it is. */
  readonly claim: (record: AgentRecord.AgentRecord) => Effect.Effect<void, unknown>
  /** Closes the scope of its `join`. */
  readonly leave: Effect.Effect<void>
  /** Every answer to one search. */
  readonly search: (query: Query) => Effect.Effect<ReadonlyArray<Found>, unknown>
}

const ability = (name: string): CapabilityRecord => ({ name, version: "1.0.0" })

const actor = Effect.fnUntraced(function* (world: World) {
  const identity = Identity.generate()
  const attached = yield* world.attach(identity)
  const scope = yield* Scope.fork(yield* Effect.scope)
  let seq = 0
  const clock = yield* Clock.Clock
  const make = (fields: Partial<AgentRecord.Fields> = {}): AgentRecord.AgentRecord =>
    AgentRecord.make(identity, {
      name: "actor",
      seq: ++seq,
      issuedAt: clock.currentTimeMillisUnsafe(),
      addresses: attached.addresses,
      capabilities: [ability("law.test")],
      ...fields
    })
  let record = make()
  const host: Host = {
    nodeId: identity.nodeId,
    record: () => record,
    addresses: () => record.addresses,
    connections: attached.connections,
    isPrivate: false
  }
  const discovery = yield* world.discovery
  const membership = yield* Scope.provide(discovery.join(host), scope)
  const claim = (next: AgentRecord.AgentRecord) =>
    Effect.suspend(() => {
      record = next
      return membership.advertise
    })
  const made: Actor = {
    identity,
    membership,
    claim,
    publish: (fields) =>
      Effect.suspend(() => {
        const next = make(fields)
        return Effect.as(claim(next), next)
      }),
    bury: Effect.suspend(() => claim(AgentRecord.tombstone(identity, ++seq, clock.currentTimeMillisUnsafe()))),
    leave: Scope.close(scope, Exit.void),
    search: (query) => Stream.runCollect(membership.find(query))
  }
  return made
})

/** Searches again until the answers satisfy, since news may be on its way; gives the last answers in any case. */
const until = (
  who: Actor,
  query: Query,
  satisfied: (found: ReadonlyArray<Found>) => boolean
): Effect.Effect<ReadonlyArray<Found>, unknown> =>
  who
    .search(query)
    .pipe(
      Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: satisfied }),
      Effect.timeoutOrElse({ duration: "15 seconds", orElse: () => who.search(query) })
    )

const about = (found: ReadonlyArray<Found>, whom: Actor): ReadonlyArray<Found> =>
  found.filter(({ gone, node }) => gone !== true && node === whom.identity.nodeId)
const seqs = (found: ReadonlyArray<Found>): ReadonlyArray<number> => found.flatMap(({ record }) => record?.seq ?? [])

const LAW_TIMEOUT_MS = 30_000

/** Declares the laws for one implementation. */
export const suite = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const { supports } = harness
  const law = (name: string, body: (world: World) => Effect.Effect<void, unknown, Scope.Scope>): void =>
    test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(harness.world, body))), LAW_TIMEOUT_MS)

  describe(`Discovery laws: ${harness.name}`, () => {
    law("a search for somebody unknown ends, in the documented time, and finds nobody", (world) =>
      Effect.gen(function* () {
        const a = yield* actor(world)
        const started = performance.now()
        const found = yield* Effect.exit(a.search({ node: Identity.generate().nodeId }))
        expect(performance.now() - started < (harness.findMs ?? 5_000) + 500).toBe(true)
        if (Exit.isSuccess(found)) expect(found.value).toEqual([])
      })
    )

    law("every source reports once how its part of a search went", (world) =>
      Effect.gen(function* () {
        const a = yield* actor(world)
        const outcomes: Array<Outcome> = []
        const found = yield* Stream.runCollect(a.membership.find({}, (outcome) => void outcomes.push(outcome)))
        expect(outcomes.length > 0).toBe(true)
        expect(new Set(outcomes.map(({ source }) => source)).size).toBe(outcomes.length)
        // A merge may pass on fewer than its sources have said.
        expect(outcomes.reduce((sum, { count }) => sum + count, 0) >= found.length).toBe(true)
      })
    )

    if (!supports.advertising) return

    law("finds by NodeId and by name what another advertised, and where it is", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        const record = yield* a.publish()
        for (const query of [{ node: a.identity.nodeId }, { name: "law.test" }, {}]) {
          const found = about(yield* until(b, query, (answers) => about(answers, a).length > 0), a)
          expect(found.length > 0).toBe(true)
          expect(found[0]?.addresses).toEqual(record.addresses)
          if (supports.records) expect(found[0]?.record).toEqual(record)
        }
      })
    )

    law("advertising again is safe, and two nodes stand beside each other", (world) =>
      Effect.gen(function* () {
        const [a, b, c] = [yield* actor(world), yield* actor(world), yield* actor(world)]
        const [first, second] = [yield* a.publish(), yield* b.publish()]
        yield* a.claim(first)
        const both = (answers: ReadonlyArray<Found>): boolean =>
          about(answers, a).length > 0 && about(answers, b).length > 0
        const found = yield* until(c, {}, both)
        expect(both(found)).toBe(true)
        expect(about(found, a)[0]?.addresses).toEqual(first.addresses)
        expect(about(found, b)[0]?.addresses).toEqual(second.addresses)
      })
    )

    law("a node that leaves is found no more", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        yield* a.publish()
        yield* until(b, {}, (answers) => about(answers, a).length > 0)
        yield* a.leave
        expect(about(yield* until(b, {}, (answers) => about(answers, a).length === 0), a)).toEqual([])
      })
    )

    law("a tombstone withdraws", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        yield* a.publish()
        yield* until(b, {}, (answers) => about(answers, a).length > 0)
        yield* a.bury
        expect(about(yield* until(b, {}, (answers) => about(answers, a).length === 0), a)).toEqual([])
      })
    )

    if (supports.records) {
      law("gives the newest version", (world) =>
        Effect.gen(function* () {
          const [a, b] = [yield* actor(world), yield* actor(world)]
          yield* a.publish()
          const newer = yield* a.publish({ capabilities: [ability("law.newer")] })
          const found = yield* until(b, {}, (answers) => seqs(about(answers, a)).includes(newer.seq))
          expect(Math.max(...seqs(about(found, a)))).toBe(newer.seq)
          expect(about(found, a).at(-1)?.record).toEqual(newer)
        })
      )

      law("does not give what has expired", (world) =>
        Effect.gen(function* () {
          const [a, b] = [yield* actor(world), yield* actor(world)]
          const lasting = yield* b.publish()
          yield* a.publish({ expiresAt: (yield* Clock.currentTimeMillis) + 400 })
          yield* Effect.sleep("450 millis")
          const found = yield* until(a, {}, (answers) => about(answers, b).length > 0)
          expect(seqs(about(found, b))).toEqual([lasting.seq])
          expect(about(yield* b.search({}), a)).toEqual([])
        })
      )

      law("nobody replaces or withdraws another node's advertisement", (world) =>
        Effect.gen(function* () {
          const [a, evil, b] = [yield* actor(world), yield* actor(world), yield* actor(world)]
          const genuine = yield* a.publish()
          const forged = { ...genuine, seq: genuine.seq + 1, addresses: ["mem://evil"] }
          expect(Exit.isFailure(yield* Effect.exit(evil.claim(forged)))).toBe(true)
          expect(Exit.isFailure(yield* Effect.exit(evil.claim(genuine)))).toBe(true)
          yield* evil.leave
          const found = about(yield* until(b, {}, (answers) => about(answers, a).length > 0), a)
          expect(found.map(({ record }) => record)).toEqual([genuine])
        })
      )
    }

    if (!supports.changes) return

    law("who listens hears a newcomer and its goodbye", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        const came = yield* Deferred.make<Found>()
        const left = yield* Deferred.make<Found>()
        const listener = Stream.runForEach(b.membership.changes, (found) =>
          found.node === a.identity.nodeId ? Deferred.succeed(found.gone === true ? left : came, found) : Effect.void
        )
        yield* Effect.forkChild(listener)
        const record = yield* a.publish()
        const first = yield* Effect.timeoutOption(Deferred.await(came), "8 seconds")
        expect(first._tag === "Some" && first.value.addresses).toEqual(record.addresses)
        yield* a.leave
        const second = yield* Effect.timeoutOption(Deferred.await(left), "8 seconds")
        expect(second._tag).toBe("Some")
      })
    )

    law("who listens late hears what was there before", (world) =>
      Effect.gen(function* () {
        const [a, b] = [yield* actor(world), yield* actor(world)]
        yield* a.publish()
        yield* until(b, {}, (answers) => about(answers, a).length > 0)
        const heard = yield* b.membership.changes.pipe(
          Stream.filter(({ node }) => node === a.identity.nodeId),
          Stream.runHead,
          Effect.timeoutOption("8 seconds")
        )
        expect(heard._tag === "Some" && heard.value._tag === "Some").toBe(true)
      })
    )

    law("what is heard ends with the membership", (world) =>
      Effect.gen(function* () {
        const a = yield* actor(world)
        const listening = yield* Latch.make()
        const fiber = yield* Effect.forkChild(Stream.runDrain(Stream.onStart(a.membership.changes, listening.open)))
        yield* listening.await
        yield* a.leave
        const exit = yield* Effect.timeoutOption(Fiber.await(fiber), "5 seconds")
        expect(exit._tag).toBe("Some")
      })
    )
  })
}
