/**
 * The laws of Store, for every implementation: call `suite` from a test file with the runner's own `describe`, `test` and `expect`,
 * and a harness that makes places.
 *
 * ```ts
 * suite({ describe, test, expect }, { name: "sqlite", isShared: true, place })
 * ```
 */
import { seeded } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { EventType } from "../Event.ts"
import type { Decided } from "../Store.ts"
import {
  all,
  codeOf,
  type Harness,
  type Law,
  LAW_TIMEOUT_MS,
  movedClock,
  type Place,
  type Service,
  write
} from "./StoreHarness.ts"
import { comparable, randomFacts, randomTraceQuery, registered, StoreModel, traced, trusted } from "./StoreModel.ts"
import { budgetLaws } from "./StoreBudgetSuite.ts"
import { sharedLaws } from "./StoreSharedSuite.ts"

export type { Harness, Place } from "./StoreHarness.ts"

/** Declares the laws for one implementation. */
export const suite = (api: TestApi, harness: Harness): void => {
  const { describe, expect, test } = api
  const effort = (count: number) => Math.max(2, Math.round(count * (harness.effort ?? 1)))
  const law = (name: string, body: (place: Place) => Law): void =>
    test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(harness.place, body))), LAW_TIMEOUT_MS)
  /** With one instance. */
  const lawOfOne = (name: string, body: (store: Service, place: Place) => Law): void =>
    law(name, (place) => Effect.flatMap(place.open, (store) => body(store, place)))

  describe(`Store laws: ${harness.name}`, () => {
    lawOfOne("an empty store is empty", (store) =>
      Effect.gen(function* () {
        const nothing = { cursor: 0, agents: [], departed: [], edges: [], link: { seq: 0, hash: "" } }
        expect(comparable({ departed: [], ...(yield* store.load) })).toEqual(nothing)
        expect(yield* store.bounds).toEqual({ first: 1, last: 0 })
        expect(yield* store.eventsAfter(0, 10)).toEqual([])
        expect(yield* store.chain(0, 10)).toEqual([])
        expect(yield* store.history("a", { limit: 10 })).toEqual([])
      })
    )

    lawOfOne("what is appended has cursors that count up by one, and is read back in pages", (store) =>
      Effect.gen(function* () {
        const first = yield* write(store, registered("a"), traced())
        const second = yield* write(store, { type: "agent.left", id: "a" })
        expect([...first, ...second].map(({ cursor }) => cursor)).toEqual([1, 2, 3])
        expect(yield* write(store)).toEqual([])
        expect(yield* all(store, 0, 2)).toEqual([...first, ...second])
        expect(yield* store.eventsAfter(1, 1)).toEqual(first.slice(1))
        expect(yield* store.bounds).toEqual({ first: 1, last: 3 })
      })
    )

    lawOfOne(
      "random facts: snapshot, events, traces, histories, chain and verdicts are what the facts say",
      (store, place) =>
        Effect.gen(function* () {
          const random = seeded(41)
          const model = new StoreModel()
          yield* store.load
          for (let round = 0; round < effort(30); round++)
            model.add(yield* write(store, ...randomFacts(random, random.int(20), model.links)))
          // Another instance has nothing but what is stored; where there can be none, this one looks again.
          const reader = harness.isShared ? yield* place.open : store
          expect(comparable({ departed: [], ...(yield* reader.load) })).toEqual(model.snapshot())
          expect(yield* all(reader)).toEqual(model.events)
          expect(yield* reader.chain(0, 10_000)).toEqual(model.chain())
          expect(yield* reader.chain(3, 2)).toEqual(model.chain().slice(2, 4))
          expect(yield* reader.verdicts({ limit: 10_000 })).toEqual(model.verdicts())
          const last = model.events.length
          for (let round = 0; round < effort(100); round++) {
            const query = randomTraceQuery(random, last)
            expect([query, yield* reader.traces(query)]).toEqual([query, model.traces(query)])
            const which = {
              limit: 1 + random.int(9),
              ...(random.int(2) === 0 ? { capability: random.pick(["", "sum", "\u0000", "none"]) } : {}),
              ...(random.int(2) === 0 ? { before: random.int(last + 2) } : {})
            }
            const agent = random.pick(["a", "b", "agent\u0000", "agent\\0000", "\ud83e", "nobody"])
            expect([agent, which, yield* reader.history(agent, which)]).toEqual([
              agent,
              which,
              model.history(agent, which)
            ])
            const task = `task${random.int(5)}`
            const before = random.int(last + 2)
            expect(yield* reader.verdicts({ limit: 3, before, task })).toEqual(
              model
                .verdicts()
                .filter((verdict) => verdict.task === task && verdict.cursor < before)
                .slice(0, 3)
            )
          }
        })
    )

    lawOfOne("traces are walked page by page without missing or repeating one", (store) =>
      Effect.gen(function* () {
        yield* write(store, ...Array.from({ length: 25 }, (_, n) => traced({ task_id: `t${n % 2}`, payload: { n } })))
        const seen: Array<number> = []
        for (let before: number | undefined; ;) {
          const page = yield* store.traces({ agent: "a", limit: 4, ...(before === undefined ? {} : { before }) })
          seen.push(...page.map(({ cursor }) => cursor))
          before = page.at(-1)?.cursor
          if (before === undefined) break
        }
        expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => 25 - n))
      })
    )

    lawOfOne(
      "traces are found by their own time: from the first moment that is asked for to before the last",
      (store) =>
        Effect.gen(function* () {
          const second = (n: number) => `2026-11-21T06:00:0${n}Z`
          yield* write(store, ...[1, 0, 2, 3].map((n) => traced({ task_id: `t${n}`, timestamp: second(n) })))
          const found = yield* store.traces({ since: Date.parse(second(1)), until: Date.parse(second(3)), limit: 10 })
          expect(found.map(({ task_id }) => task_id)).toEqual(["t2", "t1"])
        })
    )

    lawOfOne("events of some types are read alone, in order", (store) =>
      Effect.gen(function* () {
        const random = seeded(42)
        const model = new StoreModel()
        model.add(yield* write(store, ...randomFacts(random, 200, 0)))
        const types: ReadonlyArray<EventType> = ["verdict", "trace", "trace", "agent.left"]
        const wanted = model.events.filter(({ fact }) => types.includes(fact.type))
        expect(yield* store.eventsAfter(0, 1_000, types)).toEqual(wanted)
        expect(yield* store.eventsAfter(50, 5, types)).toEqual(wanted.filter(({ cursor }) => cursor > 50).slice(0, 5))
        expect(yield* store.eventsAfter(0, 10, [])).toEqual([])
      })
    )

    lawOfOne("a claim is taken once, and only when its facts are stored", (store) =>
      Effect.gen(function* () {
        const told: Array<ReadonlySet<string>> = []
        const claim = (...claims: ReadonlyArray<string>) =>
          store.append(claims, (_, taken) => {
            told.push(taken)
            return { facts: [traced()], claims: claims.filter((each) => !taken.has(each)) }
          })
        yield* claim("x", "y")
        yield* claim("y", "z", "y\u0000", "\ud800", "\ud801")
        yield* claim("x", "y", "z", "y\u0000", "\ud800", "\ud801", "\ud802", "")
        const all = [[], ["y"], ["x", "y", "z", "y\u0000", "\ud800", "\ud801"]]
        expect(told.map((taken) => [...taken].toSorted())).toEqual(all.map((taken) => taken.toSorted()))
        // Asked for or not: what is taken cannot be taken again, and what was to come with it is not stored.
        const { last } = yield* store.bounds
        expect(yield* codeOf(store.append([], () => ({ facts: [traced()], claims: ["new", "x"] })))).toBe("Failed")
        expect((yield* store.bounds).last).toBe(last)
        yield* claim("new")
        expect(told.at(-1)?.size).toBe(0)
      })
    )

    lawOfOne(
      "when the decision throws, or what it decides cannot be stored, nothing is, and the store goes on",
      (store, place) =>
        Effect.gen(function* () {
          const model = new StoreModel()
          model.add(yield* write(store, registered("a"), trusted(0)))
          const cyclic: { [key: string]: Schema.Json } = {}
          cyclic["self"] = cyclic
          const bad: ReadonlyArray<() => Decided> = [
            () => {
              throw new Error("a decision that fails")
            },
            () => ({ facts: [registered("b"), traced({ payload: cyclic })], claims: ["claim"] }),
            () => ({
              facts: [registered("b"), traced({ payload: { text: "x".repeat(17 * 1_048_576) } })],
              claims: ["claim"]
            }),
            // A second first link: the chain does not branch.
            () => ({ facts: [registered("b"), trusted(0)], claims: ["claim"] }),
            () => ({ facts: [registered("b"), traced({ task_id: "t".repeat(10_000) })], claims: ["claim"] }),
            () => ({ facts: [registered("b")], claims: ["claim", "claim"] })
          ]
          for (const decide of bad) {
            let calls = 0
            const counted = () => {
              calls++
              return decide()
            }
            expect(yield* codeOf(store.append(["claim"], counted))).toBe("Failed")
            expect(calls).toBe(1)
          }
          model.add(
            yield* store.append(["claim"], (missed, taken) => ({
              facts: [traced()],
              claims: [...taken, ...missed.map(() => "missed")]
            }))
          )
          expect(
            (yield* store.append(["missed", "claim"], (_, taken) => ({
              facts: [...taken].map(() => traced()),
              claims: []
            }))).length
          ).toBe(0)
          const reader = harness.isShared ? yield* place.open : store
          expect(comparable({ departed: [], ...(yield* reader.load) })).toEqual(model.snapshot())
          expect(yield* all(reader)).toEqual(model.events)
        })
    )

    lawOfOne(
      "any JSON and any text comes back as it was: U+0000, halves of surrogate pairs, odd keys, a megabyte",
      (store) =>
        Effect.gen(function* () {
          const odd = [
            "\u0000",
            "a\u0000b",
            "\ud800",
            "\udc00",
            "\udc00\ud800",
            "\\u0000",
            "\\0000",
            "\\",
            "\"'`$1?",
            "🦜",
            "\u2028",
            "é",
            "e\u0301",
            "%",
            "_",
            "x".repeat(128)
          ]
          const payload = {
            ...Object.fromEntries(odd.map((text, n) => [text, [text, n, { [text]: null }]])),
            ["__proto__x"]: 1,
            empty: {},
            numbers: [0, -1, 1e-320, 1.7976931348623157e308, 9007199254740991, 0.1],
            long: "é".repeat(1_000)
          }
          const written = yield* write(
            store,
            traced({ task_id: "large", from_agent: "l", to_agent: "l", payload: { large: "é\u0000".repeat(500_000) } }),
            ...odd.map((text) => traced({ task_id: text, from_agent: text, to_agent: `to ${text}`, payload })),
            ...odd.map((text) => registered(text)),
            ...odd.map((text, n) =>
              trusted(n, { agent: text, capability: text, reviewer: text, task: text }, { [text]: text })
            )
          )
          expect(JSON.stringify(yield* all(store)) === JSON.stringify(written)).toBe(true)
          for (const text of odd) {
            for (const query of [{ task: text }, { agent: text }, { agent: `to ${text}` }]) {
              const found = yield* store.traces({ ...query, limit: 10 })
              expect(found.map(({ task_id }) => task_id)).toEqual([text])
            }
            const history = yield* store.history(text, { capability: text, limit: 10 })
            expect(history.map(({ report }) => report.reviewer)).toEqual([text])
            expect(yield* store.putSecret(text, `secret ${text}`)).toBe(`secret ${text}`)
            expect(yield* store.getSecret(text)).toBe(`secret ${text}`)
          }
          const { agents } = yield* store.load
          expect(agents.map(({ manifest }) => manifest.agent_id).toSorted()).toEqual(odd.toSorted())
        })
    )

    lawOfOne("leaving and registering again does not take counts away", (store) =>
      Effect.gen(function* () {
        yield* write(store, registered("a"), trusted(0, { agent: "a" }), trusted(1, { agent: "a", success: false }))
        yield* write(store, { type: "agent.left", id: "a" })
        const gone = yield* store.load
        expect([gone.agents, gone.departed]).toEqual([[], [{ id: "a", completed: 1, failed: 1 }]])
        yield* write(store, trusted(2, { agent: "a" }), registered("a"))
        const { agents } = yield* store.load
        expect(agents.map(({ completed, failed }) => [completed, failed])).toEqual([[2, 1]])
      })
    )

    lawOfOne("any cursor and any limit is answered", (store) =>
      Effect.gen(function* () {
        const events = yield* write(store, ...randomFacts(seeded(43), 30, 0))
        const { last } = yield* store.bounds
        for (const far of [last, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER, 1e300, Number.POSITIVE_INFINITY]) {
          expect(yield* store.eventsAfter(far, 10)).toEqual([])
          expect(yield* store.eventsAfter(far, 10, ["trace"])).toEqual([])
          expect((yield* store.traces({ before: far, limit: 1_000 })).length).toBe(
            events.filter(({ cursor, fact }) => fact.type === "trace" && cursor < far).length
          )
          expect(yield* store.chain(far, 10)).toEqual(far === last ? yield* store.chain(last, 10) : [])
          yield* store.history("a", { before: far, limit: far })
          yield* store.verdicts({ before: far, limit: far })
          expect(yield* store.eventsAfter(0, far)).toEqual(far < events.length ? events.slice(0, far) : events)
        }
        for (const low of [0, -1, -1e300, Number.NEGATIVE_INFINITY, Number.NaN, 0.5]) {
          expect(yield* store.eventsAfter(low, 10)).toEqual(events.slice(0, 10))
          expect(yield* store.eventsAfter(0, low)).toEqual([])
          expect(yield* store.traces({ before: low, limit: 10 })).toEqual([])
        }
      })
    )

    lawOfOne("a secret stands until it is replaced", (store) =>
      Effect.gen(function* () {
        expect(yield* store.getSecret("key")).toBe(undefined)
        expect(yield* store.putSecret("key", "one")).toBe("one")
        expect(yield* store.putSecret("key", "two")).toBe("one")
        expect(yield* store.putSecret("key", "three", true)).toBe("three")
        expect(yield* store.getSecret("key")).toBe("three")
        expect(yield* store.getSecret("other")).toBe(undefined)
      })
    )

    lawOfOne(
      "retention takes old events and traces, says so to who asks for them, and takes nothing else",
      (store, place) =>
        Effect.gen(function* () {
          const { state, within } = movedClock()
          const model = new StoreModel()
          const random = seeded(44)
          yield* store.load
          const start = yield* Clock.currentTimeMillis
          const add = (count: number) =>
            Effect.flatMap(write(store, ...randomFacts(random, count, model.links)), (events) =>
              Effect.sync(() => model.add(events))
            )
          yield* within(add(60))
          state.by = 3_600_000
          yield* within(add(40))
          state.by = 7_200_000
          yield* within(store.trim({ events: start + 1_800_000, traces: start - 1 }))
          expect(yield* store.bounds).toEqual({ first: 61, last: 100 })
          expect(yield* store.eventsAfter(60, 1_000)).toEqual(model.events.slice(60))
          expect(yield* codeOf(store.eventsAfter(59, 10))).toBe("Corrupt")
          expect(yield* codeOf(store.eventsAfter(0, 10, ["verdict"]))).toBe("Corrupt")
          expect(yield* store.traces({ limit: 1_000 })).toEqual(model.traces({ limit: 1_000 }))
          yield* within(store.trim({ events: start - 1, traces: start + 1_800_000 }))
          expect(yield* store.traces({ limit: 1_000 })).toEqual(
            model.traces({ limit: 1_000 }).filter(({ cursor }) => cursor > 60)
          )
          yield* within(store.trim({ events: start + 7_200_000 + 60_000, traces: start + 7_200_000 + 60_000 }))
          expect(yield* store.bounds).toEqual({ first: 101, last: 100 })
          expect(yield* store.traces({ limit: 10 })).toEqual([])
          // Nothing else went, and cursors go on.
          expect(yield* store.chain(0, 1_000)).toEqual(model.chain())
          expect(yield* store.verdicts({ limit: 1_000 })).toEqual(model.verdicts())
          expect(yield* store.history("a", { limit: 1_000 })).toEqual(model.history("a", { limit: 1_000 }))
          const reader = harness.isShared ? yield* place.open : store
          expect(comparable({ departed: [], ...(yield* reader.load) })).toEqual(model.snapshot())
          model.add(yield* write(store, traced()))
          expect(yield* reader.eventsAfter(100, 10)).toEqual(model.events.slice(100))
        })
    )

    lawOfOne("one clock that was wrong does not stop retention", (store) =>
      Effect.gen(function* () {
        const { state, within } = movedClock()
        state.by = 10 * 365 * 86_400_000
        yield* within(write(store, traced()))
        state.by = 0
        yield* write(store, traced(), traced())
        state.by = 60_000
        const now = yield* within(Clock.currentTimeMillis)
        yield* within(store.trim({ events: now - 1_000, traces: now - 1_000 }))
        expect(yield* store.bounds).toEqual({ first: 4, last: 3 })
        expect(yield* store.traces({ limit: 10 })).toEqual([])
      })
    )
  })

  budgetLaws(api, harness)
  if (harness.isShared) sharedLaws(api, harness)
}
