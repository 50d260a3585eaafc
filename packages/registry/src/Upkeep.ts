/**
 * Upkeep: what the registry does without being asked: it writes down who came and went, settles reviewers' weights, and lets go
 * of what retention no longer keeps.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Commands from "./Commands.ts"
import { Ledger } from "./Ledger.ts"
import { LEASE_MS, Presence } from "./Presence.ts"
import { Store } from "./Store.ts"
import { World } from "./World.ts"

/** How long traces are kept, in milliseconds: a week. */
export const TRACES_MS = 7 * 86_400_000
/** How long events are kept for subscribers that come back, in milliseconds: a week. */
export const EVENTS_MS = 7 * 86_400_000
/** How often what is past is let go, in milliseconds: an hour. */
export const TRIM_MS = 3_600_000
/** How often reviewers' weights are looked at, in milliseconds. */
export const SETTLE_MS = 1_000

/** How long is kept what is not state. */
export interface Options {
  /** Default `TRACES_MS`. */
  readonly tracesMs?: number
  /** Default `EVENTS_MS`. */
  readonly eventsMs?: number
  /** Default `TRIM_MS`. */
  readonly trimMs?: number
}

/** Goes on as long as the layer's scope. */
export const layer = (options: Options = {}): Layer.Layer<never, never, Ledger | Presence | Store | World> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const ledger = yield* Ledger
      const presence = yield* Presence
      const store = yield* Store
      const world = yield* World
      const now = (): number => clock.currentTimeMillisUnsafe()
      yield* presence.changes.pipe(
        Stream.runForEach(({ agent, online, why }) =>
          Effect.suspend(() => {
            const known = world.get(agent)
            if (known === undefined) return Effect.void
            // Who has gone is offered no longer, even if that cannot be written down.
            if (!online) known.arrivedAt = 0
            world.relist(known, now())
            // Told one after another, but not waited for: many that come or go at once are written together.
            return Effect.forkChild(Effect.ignore(ledger.commit(Commands.presence(agent, online, why))), {
              startImmediately: true
            })
          })
        ),
        Effect.forkScoped
      )
      // What others say and what they commit come by different ways: an agent may be written down as online before it is seen to be,
      // or be seen again after Redis was away, of which nothing is written at all.
      yield* (presence.seen ?? Stream.empty).pipe(
        Stream.runForEach(({ agent }) =>
          Effect.sync(() => {
            const known = world.get(agent)
            if (known !== undefined) world.relist(known, now())
          })
        ),
        Effect.forkScoped
      )
      // Who was there before a restart has this long to come back.
      yield* Effect.sleep(LEASE_MS).pipe(
        Effect.andThen(
          Effect.suspend(() =>
            Effect.forEach(
              world.missing(now()),
              (id) => Effect.ignore(ledger.commit(Commands.presence(id, false, "not back after a restart"))),
              { concurrency: 64, discard: true }
            )
          )
        ),
        Effect.forkScoped
      )
      yield* Effect.sleep(SETTLE_MS).pipe(
        Effect.andThen(Effect.sync(() => world.reputation.settle(now()))),
        Effect.forever,
        Effect.forkScoped
      )
      yield* Effect.suspend(() =>
        store.trim({
          traces: now() - (options.tracesMs ?? TRACES_MS),
          events: now() - (options.eventsMs ?? EVENTS_MS)
        })
      ).pipe(
        Effect.catch((error) => Effect.logWarning(error.message)),
        Effect.andThen(Effect.sleep(options.trimMs ?? TRIM_MS)),
        Effect.forever,
        Effect.forkScoped
      )
    })
  )
