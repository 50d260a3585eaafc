/** What the laws of Store need: an implementation under test, and short ways to write and read. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Event, Fact } from "../Event.ts"
import type { Bytes, Decided, Store, StoreError } from "../Store.ts"

/** A store. */
export type Service = Store["Service"]
/** What a law does. */
export type Law = Effect.Effect<void, unknown, Scope.Scope>

/** A file, or a database: empty at first. */
export interface Place {
  /** One more instance on it, which ends with the scope. */
  readonly open: Effect.Effect<Service, StoreError, Scope.Scope>
  /** One with a budget of its own. */
  readonly openWith: (budget: Partial<Bytes>) => Effect.Effect<Service, StoreError, Scope.Scope>
}

/** One implementation under test. */
export interface Harness {
  readonly name: string
  /** A place can be opened again, and by several at once; false for a store in memory. */
  readonly isShared: boolean
  /** A fresh place for each law; its scope ends with the law. */
  readonly place: Effect.Effect<Place, unknown, Scope.Scope>
  /** Less of everything random, for a slow one: 1 where absent. */
  readonly effort?: number
}

/** How long a law may take. */
export const LAW_TIMEOUT_MS = 30_000

/** Decides this, whatever there is. */
export const facts =
  (...some: ReadonlyArray<Fact>) =>
  (): Decided => ({ facts: some, claims: [] })
/** Appends facts. */
export const write = (store: Service, ...some: ReadonlyArray<Fact>) => store.append([], facts(...some))

/** Every event there is, page by page. */
export const all = (store: Service, from = 0, page = 7): Effect.Effect<Array<Event>, StoreError> =>
  Effect.gen(function* () {
    const found: Array<Event> = []
    for (;;) {
      const more = yield* store.eventsAfter(found.at(-1)?.cursor ?? from, page)
      found.push(...more)
      if (more.length < page) return found
    }
  })

/** The code of the failure. */
export const codeOf = <A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<string> =>
  Effect.match(effect, { onFailure: ({ code }) => code, onSuccess: () => "it succeeded" })

/** The clock of the machine, moved by as much as one likes. */
export const movedClock = () => {
  const state = { by: 0 }
  const of = (clock: Clock.Clock): Clock.Clock => {
    const moved = Object.create(clock) as { -readonly [K in keyof Clock.Clock]: Clock.Clock[K] }
    moved.currentTimeMillisUnsafe = () => clock.currentTimeMillisUnsafe() + state.by
    moved.currentTimeMillis = Effect.sync(() => clock.currentTimeMillisUnsafe() + state.by)
    return moved
  }
  const within = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.flatMap(Effect.service(Clock.Clock), (clock) => Effect.provideService(effect, Clock.Clock, of(clock)))
  return { state, within }
}
