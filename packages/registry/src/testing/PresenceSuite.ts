/**
 * The laws of Presence, for every implementation: call `suite` from a test file with the runner's own `describe`, `test` and
 * `expect`. They run on real time, with leases of a few hundred milliseconds.
 */
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Change, Presence } from "../Presence.ts"

/** One implementation under test. */
export interface Harness {
  readonly name: string
  /** Presence of one instance; each call within a scope is another instance that sees the others', where it can. */
  readonly instance: Effect.Effect<Presence["Service"], unknown, Scope.Scope>
  /** Whether instances see each other. */
  readonly shared: boolean
}

/** Short enough for a test, long enough for a busy machine. */
const SHORT_MS = 400

/** So long that it does not end while a machine stands still for a moment. */
const LONGER_MS = 1_600

/** Waits until it holds; dies with what was waited for. */
export const until = (what: string, holds: () => boolean, ms = 15_000): Effect.Effect<void> =>
  Effect.gen(function* () {
    while (!holds()) yield* Effect.sleep(5)
  }).pipe(
    Effect.timeoutOrElse({
      duration: ms,
      orElse: () => Effect.die(new Error(`Waited ${ms} ms in vain until ${what}`))
    })
  )

/** Everything that is told from now on. */
export const heard = (presence: Presence["Service"]): Effect.Effect<Array<Change>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const changes: Array<Change> = []
    yield* Effect.forkScoped(
      Stream.runForEach(presence.changes, (change) => Effect.sync(() => changes.push(change))),
      { startImmediately: true }
    )
    return changes
  })

/** The comings and goings of one agent, `+` and `-`. */
const signs = (changes: ReadonlyArray<Change>, agent: string): string =>
  changes.flatMap((change) => (change.agent === agent ? [change.online ? "+" : "-"] : [])).join("")

/** The laws. */
export const suite = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const law = (
    name: string,
    body: (presence: Presence["Service"], changes: Array<Change>) => Effect.Effect<void, unknown, Scope.Scope>
  ): void =>
    test(
      name,
      () =>
        Effect.runPromise(
          Effect.scoped(
            Effect.gen(function* () {
              const presence = yield* harness.instance
              yield* body(presence, yield* heard(presence))
            })
          )
        ),
      30_000
    )

  describe(`Presence: ${harness.name}`, () => {
    law("nobody is there before a lease is opened", (presence) =>
      Effect.sync(() => {
        expect(presence.view("nobody")).toEqual({ online: false, lastHeartbeat: 0, running: 0 })
        expect(presence.online()).toBe(0)
      })
    )

    law(
      "a lease makes an agent online at once, its end makes it away at once, and each is told once",
      (presence, changes) =>
        Effect.gen(function* () {
          const before = yield* Clock.currentTimeMillis
          const lease = yield* presence.open("a")
          const view = presence.view("a")
          expect(
            view.online && view.lastHeartbeat >= before && view.lastHeartbeat <= (yield* Clock.currentTimeMillis)
          ).toBe(true)
          expect(presence.online()).toBe(1)
          yield* until("its coming is told", () => signs(changes, "a") === "+")
          yield* lease.end
          yield* lease.end
          expect(presence.view("a").online).toBe(false)
          expect(presence.view("a").lastHeartbeat).toBe(view.lastHeartbeat)
          expect(presence.online()).toBe(0)
          yield* until("its going is told", () => signs(changes, "a") === "+-")
          expect(changes.map(({ why }) => why)).toEqual(["lease opened", "connection closed"])
        })
    )

    law("two connections of one agent are one agent, which goes with the last", (presence, changes) =>
      Effect.gen(function* () {
        const first = yield* presence.open("a")
        const second = yield* presence.open("a")
        expect(presence.online()).toBe(1)
        yield* until("it is told", () => signs(changes, "a") === "+")
        yield* first.end
        expect(presence.view("a").online).toBe(true)
        yield* second.end
        yield* until("its going is told", () => signs(changes, "a") === "+-")
      })
    )

    law("a lease that is not renewed ends by itself, and no sooner", (presence, changes) =>
      Effect.gen(function* () {
        const opened = performance.now()
        yield* presence.open("a", SHORT_MS)
        yield* until("it has expired", () => !presence.view("a").online)
        expect(performance.now() - opened >= SHORT_MS - 1).toBe(true)
        yield* until("it is told", () => signs(changes, "a") === "+-")
        expect(changes.at(-1)?.why).toBe("no heartbeat for 0.4 s")
      })
    )

    law("a lease that is renewed goes on, and shows when it was", (presence, changes) =>
      Effect.gen(function* () {
        const lease = yield* presence.open("a", LONGER_MS)
        const first = presence.view("a").lastHeartbeat
        for (let n = 0; n < 10; n++) {
          yield* Effect.sleep(LONGER_MS / 8)
          yield* lease.renew
          expect(presence.view("a").online).toBe(true)
        }
        expect(presence.view("a").lastHeartbeat - first >= LONGER_MS).toBe(true)
        expect(signs(changes, "a")).toBe("+")
      })
    )

    law(
      "a lease that has expired lives again when it is renewed, and one that was ended does not",
      (presence, changes) =>
        Effect.gen(function* () {
          const lease = yield* presence.open("a", SHORT_MS)
          yield* until("its end is told", () => signs(changes, "a") === "+-")
          yield* lease.renew
          expect(presence.view("a").online).toBe(true)
          yield* until("its return is told", () => signs(changes, "a") === "+-+")
          yield* lease.end
          yield* lease.renew
          yield* lease.taskStarted("t")
          expect(presence.view("a").online).toBe(false)
          expect(presence.view("a").running).toBe(0)
        })
    )

    law("load is counted by task, belongs to its lease, and vanishes with it", (presence) =>
      Effect.gen(function* () {
        const first = yield* presence.open("a")
        const second = yield* presence.open("a", LONGER_MS)
        yield* first.taskStarted("t1")
        yield* first.taskStarted("t1")
        yield* second.taskStarted("t2")
        yield* second.taskStarted("t3")
        expect(presence.view("a").running).toBe(3)
        yield* first.taskEnded("t2")
        expect(presence.view("a").running).toBe(3)
        yield* second.taskEnded("t2")
        expect(presence.view("a").running).toBe(2)
        yield* until("the second lease has expired", () => presence.view("a").running === 1)
        yield* first.end
        expect(presence.view("a").running).toBe(0)
        yield* presence.open("a")
        expect(presence.view("a").running).toBe(0)
      })
    )

    law("dropping an agent ends all of its leases for good, and forgets it", (presence, changes) =>
      Effect.gen(function* () {
        const lease = yield* presence.open("a")
        yield* presence.open("a")
        yield* until("it is told", () => signs(changes, "a") === "+")
        yield* presence.drop("a")
        yield* presence.drop("nobody")
        expect(presence.view("a")).toEqual({ online: false, lastHeartbeat: 0, running: 0 })
        yield* lease.renew
        expect(presence.view("a").online).toBe(false)
        yield* until("its going is told", () => signs(changes, "a") === "+-")
        yield* presence.open("a")
        yield* until("its return is told", () => signs(changes, "a") === "+-+")
      })
    )

    if (!harness.shared) return

    /** Two instances, and what both tell. */
    const pair = (
      name: string,
      body: (
        one: Presence["Service"],
        two: Presence["Service"],
        changes: Array<Change>
      ) => Effect.Effect<void, unknown, Scope.Scope>
    ): void =>
      law(name, (one, changes) =>
        Effect.gen(function* () {
          const two = yield* harness.instance
          const all = changes
          yield* Effect.forkScoped(
            Stream.runForEach(two.changes, (change) => Effect.sync(() => all.push(change))),
            { startImmediately: true }
          )
          yield* body(one, two, all)
        })
      )

    pair("instances see each other's agents with their load, and one of them tells", (one, two, changes) =>
      Effect.gen(function* () {
        const lease = yield* one.open("a")
        yield* until("the other sees it", () => two.view("a").online)
        expect([one.online(), two.online()]).toEqual([1, 1])
        expect(two.view("a").lastHeartbeat).toBe(one.view("a").lastHeartbeat)
        yield* lease.taskStarted("t")
        yield* until("the other sees its load", () => two.view("a").running === 1)
        const other = yield* two.open("a")
        yield* other.taskStarted("t2")
        yield* until("load is summed up", () => one.view("a").running === 2 && two.view("a").running === 2)
        expect([one.online(), two.online()]).toEqual([1, 1])
        yield* lease.end
        yield* until("its first load has gone", () => one.view("a").running === 1 && two.view("a").running === 1)
        expect(one.view("a").online).toBe(true)
        yield* other.end
        yield* until("it has gone for both", () => !one.view("a").online && !two.view("a").online)
        yield* until("all is told", () => signs(changes, "a").length >= 2)
        yield* Effect.sleep(100)
        expect(signs(changes, "a")).toBe("+-")
      })
    )

    pair("an agent that moves from one instance to the other at once is told in order", (one, two, changes) =>
      Effect.gen(function* () {
        let lease = yield* one.open("a")
        yield* until("it is told", () => signs(changes, "a") === "+")
        for (let n = 0; n < 20; n++) {
          yield* lease.end
          lease = yield* (n % 2 === 0 ? two : one).open("a")
          yield* Effect.sleep(n % 7)
        }
        yield* until("both see it", () => one.view("a").online && two.view("a").online)
        yield* Effect.sleep(100)
        // However many of its moves were seen, what is told ends with its being there, and counts up right.
        const told = signs(changes, "a")
        expect(told.split("+").length - told.split("-").length).toBe(1)
        yield* lease.end
        yield* until("its going is told", () => {
          const now = signs(changes, "a")
          return now.split("+").length === now.split("-").length
        })
      })
    )

    pair("an agent that is dropped at one instance loses its leases at the other", (one, two) =>
      Effect.gen(function* () {
        const lease = yield* one.open("a")
        yield* until("the other sees it", () => two.view("a").online)
        yield* two.drop("a")
        yield* until("it has gone", () => !one.view("a").online && !two.view("a").online)
        yield* lease.renew
        expect(one.view("a").online).toBe(false)
      })
    )

    pair("an instance that comes later sees who is there", (one, two) =>
      Effect.gen(function* () {
        for (let n = 0; n < 1_200; n++) yield* (n % 2 === 0 ? one : two).open(`n${n}`)
        yield* until("both see all", () => one.online() === 1_200 && two.online() === 1_200)
        const three = yield* harness.instance
        yield* until("the third sees all", () => three.online() === 1_200)
      })
    )
  })
}
