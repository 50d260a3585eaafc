/** What the laws of SessionMemory are declared with: see `SessionMemorySuite`. */
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Bounds, SessionMemory } from "../SessionMemory.ts"
import type { StoreError } from "../Store.ts"

type Service = SessionMemory["Service"]

/** A file, a database or a server: empty at first. */
export interface Place {
  /** One more instance on it, which ends with the scope. */
  readonly open: (bounds?: Bounds) => Effect.Effect<Service, StoreError, Scope.Scope>
}

/** One implementation under test. */
export interface Harness {
  readonly name: string
  /** Several instances at once. */
  readonly isShared: boolean
  /** A fresh place for each law; its scope ends with the law. */
  readonly place: Effect.Effect<Place, unknown, Scope.Scope>
}

/** Declares a law: a body that is given a fresh place and an instance on it. */
export const lawsOf =
  (test: TestApi["test"], harness: Harness) =>
  (
    name: string,
    body: (memory: Service, place: Place) => Effect.Effect<void, unknown, Scope.Scope>,
    bounds?: Bounds
  ): void =>
    test(
      name,
      () =>
        Effect.runPromise(
          Effect.scoped(
            Effect.flatMap(harness.place, (place) =>
              Effect.flatMap(place.open(bounds), (memory) => body(memory, place))
            )
          )
        ),
      LAW_TIMEOUT_MS
    )

/** Some laws take a thousand writes, of ten round trips each, one after the other: a second, on a machine that does nothing else. */
const LAW_TIMEOUT_MS = 60_000
