/** Verifies: the one writer: group commit, several instances, and a store that fails. */
import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Commands from "@parley/registry/Commands"
import * as EventStream from "@parley/registry/EventStream"
import * as Ledger from "@parley/registry/Ledger"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as ReputationModel from "@parley/registry/ReputationModel"
import { type Options, Store, StoreError } from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as World from "@parley/registry/World"
import { manifest } from "./knowledge.ts"

/** An instance over a store; `change` stands between it and the store. */
const instance = (
  file: string,
  change: (store: Store["Service"]) => Store["Service"] = (store) => store,
  options: Options = {}
) =>
  Effect.gen(function* () {
    const stored = yield* Layer.build(Layer.fresh(StoreSqlite.layer(file, options)))
    const store = Layer.succeed(Store, change(Context.get(stored, Store)))
    const layer = Ledger.layer.pipe(
      Layer.provideMerge(
        Layer.mergeAll(
          Layer.fresh(EventStream.layer),
          World.layer(() => ReputationModel.make())
        )
      ),
      Layer.provideMerge(Layer.mergeAll(store, Layer.fresh(PresenceMemory.layer)))
    )
    const context = yield* Layer.build(Layer.fresh(layer))
    return {
      ledger: Context.get(context, Ledger.Ledger),
      world: Context.get(context, World.World),
      stream: Context.get(context, EventStream.EventStream)
    }
  })

const inFolder = (run: (file: string) => Effect.Effect<void, unknown, Scope.Scope>) => async () => {
  const folder = mkdtempSync(join(tmpdir(), "parley-ledger-"))
  try {
    await Effect.runPromise(Effect.scoped(run(join(folder, "log.db"))))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const report = (agent: string, more: { readonly task?: string; readonly success?: boolean } = {}) =>
  Commands.report({ agent, capability: "a", reviewer: "rita", success: true, quality: 1, ...more })

test(
  "those who ask at the same time are written together, each decided after the one before",
  inFolder((file) =>
    Effect.gen(function* () {
      const { ledger, stream, world } = yield* instance(file)
      const all = Array.from({ length: 50 }, () =>
        Effect.result(ledger.commit(Commands.register(manifest("ada", ["a"]))))
      )
      const results = yield* Effect.all(all, { concurrency: "unbounded" })
      expect(results.map((each) => each._tag).filter((tag) => tag === "Success")).toEqual(["Success"])
      expect(ledger.counts()).toEqual({ waiting: 0, commits: 1, facts: 1 })
      const again = Effect.result(ledger.commit(report("ada", { task: "t1" })))
      const [first, second] = yield* Effect.all([again, again], { concurrency: "unbounded" })
      expect([first._tag, second._tag === "Failure" && second.failure._tag]).toEqual(["Success", "Conflict"])
      expect([world.cursor, stream.last()]).toEqual([2, 2])
    })
  )
)

test(
  "instances on one file decide against what the others have done, and come to the same",
  inFolder((file) =>
    Effect.gen(function* () {
      const one = yield* instance(file)
      const two = yield* instance(file)
      yield* one.ledger.commit(Commands.register(manifest("ada", ["a"])))
      const refused = yield* Effect.result(two.ledger.commit(Commands.register(manifest("ada", ["a"]))))
      expect(refused._tag === "Failure" && refused.failure._tag).toBe("Conflict")
      expect(two.world.get("ada")?.id).toBe("ada")
      yield* Effect.forEach(
        Array.from({ length: 40 }, (_, i) => i),
        (i) => (i % 2 === 0 ? one : two).ledger.commit(report("ada", { task: `t${i}`, success: i % 3 !== 0 })),
        { concurrency: 8 }
      )
      const second = yield* Effect.result(one.ledger.commit(report("ada", { task: "t1" })))
      expect(second._tag).toBe("Failure")
      yield* two.ledger.commit(Commands.leave("ada"))
      yield* one.ledger.commit(Commands.register(manifest("bob", ["a"])))
      const now = yield* Clock.currentTimeMillis
      const state = ({ world }: typeof one) => [
        world.link,
        world.counters("ada"),
        world.reputation.score("ada", "", now)
      ]
      const later = yield* instance(file)
      yield* two.ledger.commit(Commands.taskStarted("bob", "t"))
      expect(state(two)).toEqual(state(one))
      expect([later.world.link, later.world.reputation.score("ada", "", now)]).toEqual([
        one.world.link,
        one.world.reputation.score("ada", "", now)
      ])
      expect([one.stream.last(), later.world.get("ada"), one.world.get("ada")]).toEqual([43, undefined, undefined])
    })
  )
)

test(
  "what an instance has followed is not taken in once more when it writes",
  inFolder((file) =>
    Effect.gen(function* () {
      const news = yield* Queue.unbounded<void>()
      const one = yield* instance(file)
      const two = yield* instance(file, (store) => ({ ...store, news: Queue.take(news) }))
      yield* one.ledger.commit(Commands.register(manifest("ada", ["a"])))
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 5; n++) yield* one.ledger.commit(report("ada", { task: `one ${round} ${n}` }))
        yield* Queue.offer(news, undefined)
        while (two.world.cursor < one.world.cursor) yield* Effect.sleep("1 millis")
        yield* two.ledger.commit(report("ada", { task: `two ${round}` }))
      }
      yield* one.ledger.commit(report("ada", { task: "last" }))
      const now = yield* Clock.currentTimeMillis
      const later = yield* instance(file)
      const state = ({ world }: typeof one) => [world.counters("ada"), world.reputation.standing("ada", "a", now)]
      expect(two.world.counters("ada")).toEqual({ completed: 18, failed: 0 })
      expect(one.world.counters("ada")).toEqual({ completed: 19, failed: 0 })
      yield* two.ledger.commit(Commands.taskStarted("ada", "t"))
      expect([state(one), state(two)]).toEqual([state(later), state(later)])
    })
  )
)

test(
  "an instance that others have outrun, so that events are gone before it follows them, reads all anew",
  inFolder((file) =>
    Effect.gen(function* () {
      const small: Options = { budget: { events: 5_000 } }
      const news = yield* Queue.unbounded<void>()
      const one = yield* instance(file, undefined, small)
      const two = yield* instance(file, (store) => ({ ...store, news: Queue.take(news) }), small)
      yield* one.ledger.commit(Commands.register(manifest("ada", ["a"])))
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 20; n++) yield* one.ledger.commit(report("ada", { task: `${round} ${n}` }))
        yield* Queue.offer(news, undefined)
        while (two.world.cursor < one.world.cursor) yield* Effect.sleep("1 millis")
        expect(two.world.counters("ada")).toEqual({ completed: 20 * (round + 1) + round, failed: 0 })
        yield* two.ledger.commit(report("ada", { task: `two ${round}` }))
        yield* one.ledger.commit(Commands.taskStarted("ada", "t"))
      }
      const now = yield* Clock.currentTimeMillis
      const state = ({ world }: typeof one) => [
        world.counters("ada"),
        world.link,
        world.reputation.score("ada", "a", now)
      ]
      yield* two.ledger.commit(Commands.taskStarted("ada", "t"))
      yield* one.ledger.commit(Commands.taskStarted("ada", "t"))
      expect(state(two)).toEqual(state(one))
    })
  )
)

test(
  "events that go while they are recalled do not keep an instance from beginning",
  inFolder((file) =>
    Effect.gen(function* () {
      const { ledger } = yield* instance(file)
      yield* ledger.commit(Commands.register(manifest("ada", ["a"])))
      for (let i = 0; i < 3; i++) yield* ledger.commit(report("ada", { task: `t${i}`, success: false }))
      let gone = 3
      const { world } = yield* instance(file, (store) => ({
        ...store,
        eventsAfter: (cursor, limit, types) =>
          gone-- > 0
            ? Effect.fail(new StoreError({ code: "Corrupt", operation: "read events", detail: "no longer kept" }))
            : store.eventsAfter(cursor, limit, types)
      }))
      expect([gone, world.circuits.isDegraded("ada")]).toEqual([-1, true])
    })
  )
)

test(
  "where the store fails nothing of it was done, who waits hears so, and the next goes on",
  inFolder((file) =>
    Effect.gen(function* () {
      let failures = 0
      const { ledger, stream, world } = yield* instance(file, (store) => ({
        ...store,
        append: (claims, decide, seen) =>
          failures-- > 0
            ? Effect.suspend(() => {
                // It has decided, and then the disk is full.
                decide([], new Set())
                return Effect.fail(new StoreError({ code: "Unavailable", operation: "append", detail: "disk full" }))
              })
            : store.append(claims, decide, seen)
      }))
      yield* ledger.commit(Commands.register(manifest("ada", ["a"])))
      failures = 1
      const [reported, registered] = yield* Effect.all(
        [
          Effect.result(ledger.commit(report("ada", { task: "t1" }))),
          Effect.result(ledger.commit(Commands.register(manifest("bob", ["a"]))))
        ],
        { concurrency: "unbounded" }
      )
      expect(reported._tag === "Failure" && reported.failure._tag).toBe("Unavailable")
      expect(registered._tag === "Failure" && registered.failure._tag).toBe("Unavailable")
      expect(ledger.isReady()).toBe(false)
      const kept = yield* ledger.commit(report("ada", { task: "t1" }))
      expect([kept.agent, ledger.isReady()]).toEqual(["ada", true])
      expect([world.get("bob"), world.counters("ada"), world.cursor, world.link.seq, stream.last()]).toEqual([
        undefined,
        { completed: 1, failed: 0 },
        2,
        1,
        2
      ])
    })
  )
)

test(
  "circuits and latencies are as the last events left them, also after a restart",
  inFolder((file) =>
    Effect.gen(function* () {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { ledger } = yield* instance(file)
          yield* ledger.commit(Commands.register(manifest("ada", ["a"])))
          for (let i = 0; i < 3; i++) yield* ledger.commit(report("ada", { task: `t${i}`, success: false }))
          yield* ledger.commit(Commands.taskEnded("ada", "t", 70))
        })
      )
      const { world } = yield* instance(file)
      expect([world.circuits.isDegraded("ada"), world.latencies.of("ada", "a")?.p50]).toEqual([true, 70])
    })
  )
)

test(
  "a command that throws hurts none of those that are written with it",
  inFolder((file) =>
    Effect.gen(function* () {
      const { ledger, world } = yield* instance(file)
      yield* ledger.commit(Commands.register(manifest("ada", ["a"])))
      // Half a surrogate pair has no canonical JSON.
      const odd = Commands.report({ agent: "ada", capability: "\ud800", reviewer: "rita", success: true, quality: 1 })
      const [before, thrown, after] = yield* Effect.all(
        [
          Effect.exit(ledger.commit(report("ada"))),
          Effect.exit(ledger.commit(odd)),
          Effect.exit(ledger.commit(report("ada")))
        ],
        { concurrency: "unbounded" }
      )
      expect([before._tag, thrown._tag, after._tag]).toEqual(["Success", "Failure", "Success"])
      const now = yield* Clock.currentTimeMillis
      const later = yield* instance(file)
      expect(later.world.counters("ada")).toEqual({ completed: 2, failed: 0 })
      expect([world.counters("ada"), world.link, world.reputation.standings("ada", now)]).toEqual([
        later.world.counters("ada"),
        later.world.link,
        later.world.reputation.standings("ada", now)
      ])
    })
  )
)

test(
  "whose review is whose does not depend on how ids are written",
  inFolder((file) =>
    Effect.gen(function* () {
      const { ledger } = yield* instance(file)
      yield* ledger.commit(Commands.register(manifest("b:c", ["a"])))
      yield* ledger.commit(Commands.register(manifest("c", ["a"])))
      const say = (reviewer: string, agent: string) =>
        Effect.exit(
          ledger.commit(Commands.report({ agent, reviewer, capability: "a", task: "d", success: true, quality: 1 }))
        )
      const exits = [yield* say("a", "b:c"), yield* say("a:b", "c"), yield* say("a:b", "c")]
      expect(exits.map(({ _tag }) => _tag)).toEqual(["Success", "Success", "Failure"])
    })
  )
)
