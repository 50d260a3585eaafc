/** The laws of a Store that several instances share, or one that is opened again: part of `StoreSuite`. */
import { seeded } from "@parley/core/testing/Seeded"
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Event } from "../Event.ts"
import { all, type Harness, type Law, LAW_TIMEOUT_MS, type Place, write } from "./StoreHarness.ts"
import { comparable, randomFacts, registered, StoreModel, traced, trusted } from "./StoreModel.ts"

/** Declares them for one implementation. */
export const sharedLaws = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const effort = (count: number) => Math.max(2, Math.round(count * (harness.effort ?? 1)))
  const law = (name: string, body: (place: Place) => Law): void =>
    test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(harness.place, body))), LAW_TIMEOUT_MS)

  describe(`Store laws, several instances: ${harness.name}`, () => {
    law("what was acknowledged is there when the store is opened again, and cursors go on", (place) =>
      Effect.gen(function* () {
        const model = new StoreModel()
        const random = seeded(45)
        for (let round = 0; round < 4; round++) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const store = yield* place.open
              const snapshot = yield* store.load
              expect(comparable({ departed: [], ...snapshot })).toEqual(model.snapshot())
              const taken: Array<string> = []
              const more = randomFacts(random, 15, model.links)
              model.add(
                yield* store.append(["one", `round ${round}`], (missed, used) => {
                  expect(missed).toEqual([])
                  taken.push(...used)
                  return { facts: more, claims: used.has("one") ? [`round ${round}`] : ["one", `round ${round}`] }
                })
              )
              expect(taken).toEqual(round === 0 ? [] : ["one"])
              expect(yield* store.putSecret("key", `round ${round}`)).toBe("round 0")
            })
          )
        }
        expect(model.events.length).toBe(60)
      })
    )

    law("several instances that begin together on an empty place all begin, and agree", (place) =>
      Effect.gen(function* () {
        const stores = yield* Effect.forEach(Array.from({ length: 4 }), () => place.open, { concurrency: "unbounded" })
        const secrets = yield* Effect.forEach(stores, (store, n) => store.putSecret("key", `instance ${n}`), {
          concurrency: "unbounded"
        })
        expect(new Set(secrets).size).toBe(1)
        yield* Effect.forEach(stores, (store) => write(store, traced()), { concurrency: "unbounded" })
        for (const store of stores) expect((yield* store.load).cursor).toBe(4)
      })
    )

    law(
      "instances that write at the same time: no gap, no claim twice, and each is told what it missed, once, in order",
      (place) =>
        Effect.gen(function* () {
          const rounds = effort(25)
          const instances = yield* Effect.forEach([0, 1, 2, 3], (me) =>
            Effect.gen(function* () {
              const store = yield* place.open
              const known: Array<Event> = []
              const won: Array<string> = []
              const links = () => known.filter(({ fact }) => fact.type === "trust.changed").length
              yield* store.load
              const work = Effect.gen(function* () {
                for (let round = 0; round < rounds; round++) {
                  const claims = [`shared ${round}`, `own ${me} ${round}`]
                  const mine = yield* store.append(claims, (missed, taken) => {
                    known.push(...missed)
                    const free = claims.filter((claim) => !taken.has(claim))
                    won.push(...free)
                    // The chain is decided from what is known: it breaks where anything was missed.
                    return {
                      facts: free.map((_, n) => trusted(links() + n, { agent: `${me}`, task: `${round}` })),
                      claims: free
                    }
                  })
                  known.push(...mine)
                  yield* Effect.yieldNow
                }
              })
              return { store, known, won, work }
            })
          )
          const reader = yield* place.open
          const isDone = { value: false }
          const seen: Array<number> = []
          const reading = yield* Effect.forkScoped(
            Effect.gen(function* () {
              for (;;) {
                const last = isDone.value
                const events = yield* reader.eventsAfter(seen.at(-1) ?? 0, 13)
                seen.push(...events.map(({ cursor }) => cursor))
                if (last && events.length === 0) return
                yield* Effect.yieldNow
              }
            })
          )
          yield* Effect.forEach(instances, ({ work }) => work, { concurrency: "unbounded" })
          isDone.value = true
          yield* Fiber.join(reading)
          const count = rounds * 5
          const cursors = Array.from({ length: count }, (_, n) => n + 1)
          expect(instances.flatMap(({ won }) => won).length).toBe(count)
          expect(new Set(instances.flatMap(({ won }) => won)).size).toBe(count)
          expect(seen).toEqual(cursors)
          const events = yield* all(reader, 0, 1_000)
          for (const { known, store } of instances) {
            yield* store.append([], (missed) => {
              known.push(...missed)
              return { facts: [], claims: [] }
            })
            expect(known).toEqual(events)
          }
          expect((yield* reader.chain(0, 10_000)).map(({ seq }) => seq)).toEqual(cursors)
        })
    )

    law("an instance that has read on with eventsAfter says so, and is handed nothing twice", (place) =>
      Effect.gen(function* () {
        const [store, other] = [yield* place.open, yield* place.open]
        yield* store.load
        yield* write(other, traced(), traced(), traced())
        const known = (yield* store.eventsAfter(0, 2)).map(({ cursor }) => cursor)
        expect(known).toEqual([1, 2])
        const handed: Array<number> = []
        const decide = (missed: ReadonlyArray<Event>) => {
          handed.push(...missed.map(({ cursor }) => cursor))
          return { facts: [traced()], claims: [] }
        }
        expect((yield* store.append([], decide, 2)).map(({ cursor }) => cursor)).toEqual([4])
        yield* write(other, traced())
        yield* store.append([], decide)
        expect(handed).toEqual([3, 5])
      })
    )

    law("an instance that was away longer than retention is told so, and goes on after it has loaded again", (place) =>
      Effect.gen(function* () {
        const [away, store] = [yield* place.open, yield* place.open]
        yield* write(store, traced())
        yield* away.load
        yield* write(store, traced(), registered("a"))
        const later = (yield* Clock.currentTimeMillis) + 60_000
        yield* store.trim({ events: later, traces: later })
        expect(Exit.isFailure(yield* Effect.exit(write(away, traced())))).toBe(true)
        expect((yield* store.bounds).last).toBe(3)
        expect((yield* away.load).agents.length).toBe(1)
        expect((yield* write(away, traced())).map(({ cursor }) => cursor)).toEqual([4])
      })
    )
  })
}
