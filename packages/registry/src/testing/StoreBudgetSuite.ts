/** The laws of what a Store keeps by its bytes: part of `StoreSuite`. */
import { seeded } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Fact } from "../Event.ts"
import type { Bytes } from "../Store.ts"
import {
  all,
  codeOf,
  facts,
  type Harness,
  type Law,
  LAW_TIMEOUT_MS,
  type Place,
  type Service,
  write
} from "./StoreHarness.ts"
import { comparable, randomFacts, registered, StoreModel, traced, trusted } from "./StoreModel.ts"

const tables = ["events", "traces", "verdicts"] as const

/** A verdict of so many characters. */
const published = (publishedBy: string, task: string, length: number): Fact => ({
  type: "verdict",
  verdict: { task, capability: "sum", publishedBy, question: "v".repeat(length), certificate: {} }
})

/** Declares them for one implementation. */
export const budgetLaws = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const effort = (count: number) => Math.max(2, Math.round(count * (harness.effort ?? 1)))
  const law = (name: string, body: (place: Place) => Law): void =>
    test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(harness.place, body))), LAW_TIMEOUT_MS)
  const tasks = (store: Service) =>
    Effect.map(store.verdicts({ limit: 10_000, oldestFirst: true }), (verdicts) => verdicts.map(({ task }) => task))
  const within = (kept: Bytes, budget: Bytes, what: unknown) =>
    expect([what, tables.filter((table) => kept[table] > budget[table])]).toEqual([what, []])
  /** Everything that has an age goes: where the sums were right, nothing is left of them. */
  const emptied = (store: Service) =>
    Effect.gen(function* () {
      const later = (yield* Clock.currentTimeMillis) + 60_000
      yield* store.trim({ events: later, traces: later })
      return yield* store.kept
    })

  describe(`Store laws, budgets: ${harness.name}`, () => {
    law("whatever is written stays within the budget: the oldest go, and nothing else does", (place) =>
      Effect.gen(function* () {
        const budget = { events: 40_000, traces: 25_000, verdicts: 12_000 }
        const store = yield* place.openWith(budget)
        const random = seeded(46)
        const model = new StoreModel()
        yield* store.load
        expect(yield* store.kept).toEqual({ events: 0, traces: 0, verdicts: 0 })
        yield* store.append(["claimed"], () => ({ facts: [], claims: ["claimed"] }))
        for (let round = 0; round < Math.max(20, effort(40)); round++) {
          model.add(yield* write(store, ...randomFacts(random, random.int(30), model.links)))
          within(yield* store.kept, budget, round)
          const { first, last } = yield* store.bounds
          expect([last, yield* all(store, first - 1)]).toEqual([model.events.length, model.events.slice(first - 1)])
          const traces = yield* store.traces({ limit: 10_000 })
          expect(traces).toEqual(model.traces({ limit: traces.length }))
        }
        const kept = yield* store.kept
        expect(tables.filter((table) => kept[table] < budget[table] * 0.85)).toEqual([])
        const { first } = yield* store.bounds
        expect(yield* codeOf(store.eventsAfter(first - 2, 10))).toBe("Corrupt")
        expect(yield* store.chain(0, 10_000)).toEqual(model.chain())
        expect(yield* store.history("a", { limit: 10_000 })).toEqual(model.history("a", { limit: 10_000 }))
        const verdicts = yield* store.verdicts({ limit: 10_000 })
        const left = new Set(verdicts.map(({ cursor }) => cursor))
        expect(verdicts).toEqual(model.verdicts().filter(({ cursor }) => left.has(cursor)))
        // Another instance counts on from there.
        const next = harness.isShared ? yield* place.openWith(budget) : store
        expect(yield* next.kept).toEqual(kept)
        expect(comparable({ departed: [], ...(yield* next.load) })).toEqual(model.snapshot())
        const taken: Array<string> = []
        yield* next.append(["claimed"], (_, used) => {
          taken.push(...used)
          return { facts: [], claims: [] }
        })
        expect(taken).toEqual(["claimed"])
        expect(yield* emptied(next)).toEqual({ events: 0, traces: 0, verdicts: kept.verdicts })
        expect(yield* next.verdicts({ limit: 10_000 })).toEqual(verdicts)
        if (!harness.isShared) return
        expect(yield* emptied(yield* place.openWith({ verdicts: 0 }))).toEqual({ events: 0, traces: 0, verdicts: 0 })
        expect(yield* next.verdicts({ limit: 10 })).toEqual([])
      })
    )

    law(
      "a flood of the largest traces takes no more than the budget, and nothing but older events and traces",
      (place) =>
        Effect.gen(function* () {
          const budget = { events: 4 * 1_048_576, traces: 3 * 1_048_576, verdicts: 1_048_576 }
          const store = yield* place.openWith(budget)
          yield* write(
            store,
            registered("honest"),
            trusted(0, { agent: "honest" }),
            published("honest", "asked", 1_000),
            traced({ from_agent: "honest", task_id: "first" })
          )
          const before = comparable(yield* store.load)
          const chain = yield* store.chain(0, 10)
          const text = "f".repeat(65_000)
          for (let n = 0; n < 15; n++) {
            const flood = Array.from({ length: 10 }, (_, at) =>
              traced({ from_agent: "flood", task_id: `${n}`, payload: { text, at } })
            )
            const { last } = yield* store.bounds
            yield* write(store, ...flood)
            within(yield* store.kept, budget, n)
            // What was just written is there.
            expect((yield* store.eventsAfter(last, 100)).length).toBe(10)
            expect((yield* store.traces({ task: `${n}`, limit: 100 })).length).toBe(10)
          }
          expect(yield* store.traces({ task: "first", limit: 10 })).toEqual([])
          expect(yield* codeOf(store.eventsAfter(0, 10))).toBe("Corrupt")
          const { first, last } = yield* store.bounds
          expect([last, (yield* store.eventsAfter(first - 1, 10_000)).length]).toEqual([154, last - first + 1])
          expect(comparable(yield* store.load)).toEqual({ ...before, cursor: 154 })
          expect(yield* store.chain(0, 10)).toEqual(chain)
          expect(yield* tasks(store)).toEqual(["asked"])
        })
    )

    law("who publishes without end gives up its own oldest verdicts, and not those of others", (place) =>
      Effect.gen(function* () {
        const store = yield* place.openWith({ verdicts: 100_000 })
        for (const name of ["ada", "bob"]) {
          for (let n = 0; n < 3; n++) yield* write(store, published(name, `${name} ${n}`, 5_000))
        }
        for (let n = 0; n < 40; n++) yield* write(store, published("flood", `flood ${n}`, 8_000))
        const honest = ["ada", "bob"].flatMap((name) => [0, 1, 2].map((n) => `${name} ${n}`))
        const left = yield* tasks(store)
        expect(left.slice(0, 6)).toEqual(honest)
        expect(left.slice(6)).toEqual(
          Array.from({ length: left.length - 6 }, (_, n) => `flood ${n + 46 - left.length}`)
        )
        expect(left.length > 10).toBe(true)
        // One that comes later finds its place as well, and several at once in one commit.
        yield* write(store, published("eve", "eve", 5_000), published("dan", "dan", 5_000))
        expect((yield* tasks(store)).filter((task) => !task.startsWith("flood"))).toEqual([...honest, "eve", "dan"])
        expect((yield* store.kept).verdicts <= 100_000).toBe(true)
      })
    )

    law("a commit that is larger than the budget stands alone, and the next one takes its place", (place) =>
      Effect.gen(function* () {
        const store = yield* place.openWith({ events: 1_000, traces: 1_000, verdicts: 1_000 })
        const large = { text: "x".repeat(5_000) }
        for (let n = 0; n < 3; n++) {
          yield* write(store, traced({ payload: large }), published("ada", `${n}`, 5_000))
          expect(yield* store.bounds).toEqual({ first: 2 * n + 1, last: 2 * n + 2 })
          expect((yield* store.traces({ limit: 10 })).length).toBe(1)
          expect(yield* tasks(store)).toEqual([`${n}`])
        }
      })
    )

    if (!harness.isShared) return
    law("where there is more than the budget, it does not grow, and retention takes away what is too much", (place) =>
      Effect.gen(function* () {
        const wide = yield* place.open
        // More than one transaction of retention takes.
        for (let n = 0; n < 3; n++) {
          const more = Array.from({ length: 1_500 }, (_, at) => traced({ task_id: `${n} ${at}` }))
          yield* wide.append([], facts(...more))
        }
        for (let n = 0; n < 30; n++) yield* write(wide, published(n % 3 === 0 ? "ada" : "bob", `${n}`, 1_000))
        const full = yield* wide.kept
        const budget = { events: 100_000, traces: 50_000, verdicts: 20_000 }
        const narrow = yield* place.openWith(budget)
        yield* narrow.load
        yield* write(narrow, traced({ task_id: "last" }), published("eve", "last", 1_000))
        within(yield* narrow.kept, full, "no more than before")
        yield* narrow.trim({ events: 0, traces: 0 })
        const kept = yield* narrow.kept
        within(kept, budget, "after retention")
        expect(tables.filter((table) => kept[table] < budget[table] * 0.9)).toEqual([])
        const traces = yield* narrow.traces({ limit: 10_000 })
        expect(traces[0]?.task_id).toBe("last")
        expect(traces.length > 50).toBe(true)
        const left = yield* narrow.verdicts({ limit: 100 })
        const of = (name: string) => left.filter(({ publishedBy }) => publishedBy === name).length
        // Bob had twice as much as Ada, and both have as much now.
        expect([of("eve"), of("ada") - of("bob") <= 1, of("bob") - of("ada") <= 1]).toEqual([1, true, true])
        // Retention that has nothing to do changes nothing.
        yield* narrow.trim({ events: 0, traces: 0 })
        expect(yield* narrow.kept).toEqual(kept)
      })
    )
  })
}
