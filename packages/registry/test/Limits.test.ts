import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { Limits } from "@parley/registry/Limits"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import * as LimitsRedis from "@parley/registry/LimitsRedis"
import * as RedisLink from "@parley/registry/RedisLink"
import { suite } from "@parley/registry/testing/LimitsSuite"
import * as Redis from "../../../test-support/Redis.ts"
import { skipTest } from "../../../test-support/Skip.ts"

suite({ describe, test, expect }, { name: "memory", shared: false, instance: LimitsMemory.make() })

const slow = { perSecond: 1 / 600, burst: 2 }

describe("limits in memory", () => {
  const run = (body: (limits: Limits["Service"]) => Effect.Effect<void>, options: LimitsMemory.Options) =>
    Effect.runPromise(
      Effect.flatMap(LimitsMemory.make(options), body).pipe(Effect.provide(TestClock.layer()), Effect.scoped)
    )

  test("filling the table gives nobody his tokens back, and newcomers share what is left", () =>
    run(
      (limits) =>
        Effect.gen(function* () {
          expect(yield* limits.take("victim", slow, 2)).toBe(0)
          for (let n = 0; n < 1_000; n++) yield* limits.take(`attacker ${n}`, slow, 2)
          expect((yield* limits.take("victim", slow)) > 0).toBe(true)
          // The shared buckets are used up as well: memory stays bounded, and so does what the attacker gets.
          expect((yield* limits.take("attacker again", slow)) > 0).toBe(true)
          // Another rate has shared buckets of its own.
          expect(yield* limits.take("somebody", { perSecond: 10, burst: 2 })).toBe(0)
          // When buckets are full again, there is room.
          yield* TestClock.adjust("1 hour")
          for (let n = 0; n < 20; n++) expect(yield* limits.take(`newcomer ${n}`, slow, 2)).toBe(0)
        }),
      { maxBuckets: 100, maxShared: 8 }
    ))
})

test("an address that is none is said to be, without what it holds", () =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        for (const url of ["http://user:hunter2@127.0.0.1", "redis://user:hunter2@127.0.0.1:port", "hunter2"]) {
          const link = yield* RedisLink.make({ url })
          expect(link.state().isUp).toBe(false)
          expect(link.state().detail.includes("redis://…")).toBe(true)
          expect(link.state().detail.includes("hunter2")).toBe(false)
        }
      })
    )
  ))

describe("limits over Redis", () => {
  let server: Redis.Redis | undefined
  beforeAll(async () => {
    if (Redis.unavailable === undefined) server = await Redis.start()
  })
  afterAll(() => server?.stop())

  const instance = Effect.suspend(() =>
    Effect.map(
      Layer.build(LimitsRedis.layer.pipe(Layer.provideMerge(RedisLink.layer({ url: server?.url ?? "" })))),
      (context) => ({ limits: Context.get(context, Limits), link: Context.get(context, RedisLink.RedisLink) })
    )
  )
  suite(
    { describe, test: skipTest(Redis.unavailable), expect },
    { name: "Redis", shared: true, instance: Effect.map(instance, ({ limits }) => limits) }
  )

  skipTest(Redis.unavailable)(
    "a Redis that hangs holds nobody up for longer than a command may take",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const { limits, link } = yield* instance
            expect(yield* limits.take("hang", slow)).toBe(0)
            // Redis answers nobody for a while, and keeps its connections open.
            yield* link.use((redis) => redis.send("CLIENT", "PAUSE", "2500", "ALL"))
            const asked = performance.now()
            expect(yield* limits.take("hang", slow)).toBe(0)
            expect(performance.now() - asked < RedisLink.COMMAND_MS + 1_500).toBe(true)
            while (link.state().isUp) yield* Effect.sleep(1)
            const again = performance.now()
            for (let n = 0; n < 100; n++) yield* limits.take(`hang ${n}`, slow)
            expect(performance.now() - again < 1_500).toBe(true)
            while (!link.state().isUp) yield* Effect.sleep(20)
            expect((yield* limits.take("hang", slow, 2)) > 0).toBe(true)
          })
        )
      ),
    30_000
  )

  skipTest(Redis.unavailable)(
    "goes on alone while Redis is gone, and together when it is back",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const one = yield* instance
            const two = yield* instance
            const state = (isUp: boolean) =>
              Effect.gen(function* () {
                while (one.link.state().isUp !== isUp || two.link.state().isUp !== isUp) yield* Effect.sleep(10)
              }).pipe(Effect.timeout("20 seconds"))
            yield* state(true)
            expect(yield* one.limits.take("k", slow, 2)).toBe(0)
            expect((yield* two.limits.take("k", slow)) > 0).toBe(true)
            yield* Effect.promise(() => server!.kill())
            // Each counts alone now, at once and without an error.
            expect(yield* one.limits.take("k", slow, 2)).toBe(0)
            expect((yield* one.limits.take("k", slow)) > 0).toBe(true)
            expect(yield* two.limits.take("k", slow, 2)).toBe(0)
            yield* state(false)
            expect(one.link.state().detail === "").toBe(false)
            yield* Effect.promise(() => server!.begin())
            yield* state(true)
            expect(yield* one.limits.take("k2", slow, 2)).toBe(0)
            expect((yield* two.limits.take("k2", slow)) > 0).toBe(true)
          })
        )
      ),
    30_000
  )
})
