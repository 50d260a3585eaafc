import { afterAll, beforeAll, describe, expect } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as RedisLink from "@parley/registry/RedisLink"
import { Store } from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as Wake from "@parley/registry/Wake"
import * as Redis from "../../../test-support/Redis.ts"
import { skipTest } from "../../../test-support/Skip.ts"

const onRedis = skipTest(Redis.unavailable)

describe("waking one another over Redis", () => {
  let server: Redis.Redis | undefined
  const folder = mkdtempSync(join(tmpdir(), "parley-wake-"))
  beforeAll(async () => {
    if (Redis.unavailable === undefined) server = await Redis.start()
  })
  afterAll(async () => {
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const instance = (file: string) =>
    Effect.map(
      Layer.build(
        Wake.overRedis.pipe(
          Layer.provide(Layer.fresh(StoreSqlite.layer(join(folder, file)))),
          Layer.provideMerge(Layer.fresh(RedisLink.layer({ url: server?.url ?? "" })))
        )
      ),
      (context) => ({ store: Context.get(context, Store), link: Context.get(context, RedisLink.RedisLink) })
    )
  const commit = (store: Store["Service"], id: string) =>
    store.append([], () => ({ facts: [{ type: "agent.left", id }], claims: [] }))
  /** Waits for news until there is an event after a cursor. */
  const follow = (store: Store["Service"], cursor: number) =>
    Effect.gen(function* () {
      while (true) {
        const events = yield* store.eventsAfter(cursor, 10)
        if (events.length > 0) return events.map((event) => event.cursor)
        yield* store.news
      }
    }).pipe(Effect.timeout("20 seconds"))

  onRedis(
    "an instance hears at once of what another one commits, again and again",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const one = yield* instance("one.db")
            const two = yield* instance("one.db")
            for (let n = 1; n <= 20; n++) {
              const [from, to] = n % 2 === 0 ? [one, two] : [two, one]
              const waiting = yield* Effect.forkChild(follow(to.store, n - 1), { startImmediately: true })
              yield* commit(from.store, `a${n}`)
              expect(yield* Fiber.join(waiting)).toEqual([n])
            }
          })
        )
      ),
    30_000
  )

  onRedis(
    "a commit does not wait for Redis, and what was committed meanwhile is heard of when it is back",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const one = yield* instance("two.db")
            const two = yield* instance("two.db")
            yield* commit(one.store, "a")
            expect(yield* follow(two.store, 0)).toEqual([1])
            yield* Effect.promise(() => server!.kill())
            while (one.link.state().isUp || two.link.state().isUp) yield* Effect.sleep(5)
            const waiting = yield* Effect.forkChild(follow(two.store, 1), { startImmediately: true })
            yield* commit(one.store, "b")
            yield* Effect.promise(() => server!.begin())
            expect(yield* Fiber.join(waiting)).toEqual([2])
          })
        )
      ),
    30_000
  )
})
