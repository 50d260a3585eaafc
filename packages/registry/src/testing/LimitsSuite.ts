/**
 * The laws of Limits, for every implementation: call `suite` from a test file with the runner's own `describe`, `test` and
 * `expect`. Rates are slow enough that nothing comes back while a law runs, or fast enough that it may.
 */
import type { TestApi } from "@parley/core/testing/TestApi"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Bucket, Limits } from "../Limits.ts"

/** One implementation under test. */
export interface Harness {
  readonly name: string
  /** Limits of one instance; each call is another instance over the same buckets. */
  readonly instance: Effect.Effect<Limits["Service"], unknown, Scope.Scope>
  /** Whether instances count together. */
  readonly shared: boolean
}

/** A token in ten minutes. */
const SLOW: Bucket = { perSecond: 1 / 600, burst: 5 }

/** The laws. */
export const suite = ({ describe, expect, test }: TestApi, harness: Harness): void => {
  const law = (
    name: string,
    body: (limits: Limits["Service"], key: string) => Effect.Effect<void, unknown, Scope.Scope>
  ): void =>
    test(
      name,
      () =>
        Effect.runPromise(
          Effect.scoped(Effect.flatMap(harness.instance, (limits) => body(limits, `${name}:${performance.now()}`)))
        ),
      20_000
    )

  describe(`Limits: ${harness.name}`, () => {
    law("a burst goes through, then nothing", (limits, key) =>
      Effect.gen(function* () {
        for (let n = 0; n < SLOW.burst; n++) expect(yield* limits.take(key, SLOW)).toBe(0)
        const wait = yield* limits.take(key, SLOW)
        expect(wait > 500_000 && wait <= 600_000).toBe(true)
      })
    )

    law("who is refused takes nothing", (limits, key) =>
      Effect.gen(function* () {
        expect(yield* limits.take(key, SLOW, 4)).toBe(0)
        expect((yield* limits.take(key, SLOW, 2)) > 0).toBe(true)
        expect((yield* limits.take(key, SLOW, 2)) > 0).toBe(true)
        expect(yield* limits.take(key, SLOW, 1)).toBe(0)
      })
    )

    law("several tokens count as several, and more than a burst as a burst", (limits, key) =>
      Effect.gen(function* () {
        expect(yield* limits.take(key, SLOW, 3)).toBe(0)
        expect((yield* limits.take(key, SLOW, 3)) > 0).toBe(true)
        expect(yield* limits.take(`${key}:other`, SLOW, 100)).toBe(0)
        expect((yield* limits.take(`${key}:other`, SLOW)) > 0).toBe(true)
      })
    )

    law("tokens come back, no sooner than said and no more than a burst", (limits, key) =>
      Effect.gen(function* () {
        const quick: Bucket = { perSecond: 20, burst: 2 }
        expect(yield* limits.take(key, quick, 2)).toBe(0)
        const wait = yield* limits.take(key, quick)
        expect(wait > 0 && wait <= 50).toBe(true)
        yield* Effect.sleep(wait + 5)
        expect(yield* limits.take(key, quick)).toBe(0)
        yield* Effect.sleep(400)
        expect(yield* limits.take(key, quick, 2)).toBe(0)
        expect((yield* limits.take(key, quick, 2)) > 0).toBe(true)
      })
    )

    law("keys do not share", (limits, key) =>
      Effect.gen(function* () {
        expect(yield* limits.take(key, SLOW, 5)).toBe(0)
        expect(yield* limits.take(`${key}:b`, SLOW, 5)).toBe(0)
      })
    )

    law("those who come at once get no more than a burst", (limits, key) =>
      Effect.gen(function* () {
        const waits = yield* Effect.all(
          Array.from({ length: 100 }, () => limits.take(key, SLOW)),
          { concurrency: "unbounded" }
        )
        expect(waits.filter((wait) => wait === 0).length).toBe(SLOW.burst)
      })
    )

    if (!harness.shared) return

    law("instances count together", (limits, key) =>
      Effect.gen(function* () {
        const other = yield* harness.instance
        const waits = yield* Effect.all(
          Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? limits : other).take(key, SLOW)),
          { concurrency: "unbounded" }
        )
        expect(waits.filter((wait) => wait === 0).length).toBe(SLOW.burst)
      })
    )
  })
}
