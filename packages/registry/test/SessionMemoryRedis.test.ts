import { afterAll, beforeAll, describe, expect } from "bun:test"
import { randomUUID } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RedisLink from "@parley/registry/RedisLink"
import type { Bounds } from "@parley/registry/SessionMemory"
import * as SessionMemoryRedis from "@parley/registry/SessionMemoryRedis"
import * as SessionMemorySuite from "@parley/registry/testing/SessionMemorySuite"
import * as Redis from "../../../test-support/Redis.ts"
import { skipTest } from "../../../test-support/Skip.ts"

const onRedis = skipTest(Redis.unavailable)

describe("session memory in Redis", () => {
  let server: Redis.Redis | undefined
  beforeAll(async () => {
    if (Redis.unavailable === undefined) server = await Redis.start()
  })
  afterAll(() => server?.stop())

  const open = (prefix: string) => (bounds?: Bounds) =>
    Effect.gen(function* () {
      const link = yield* Layer.build(Layer.fresh(RedisLink.layer({ url: server?.url ?? "", prefix })))
      return yield* Effect.provide(SessionMemoryRedis.make(bounds), link)
    })

  SessionMemorySuite.suite(
    { describe, test: onRedis, expect },
    {
      name: "Redis",
      isShared: true,
      place: Effect.sync(() => ({ open: open(`{${randomUUID()}}:`) }))
    }
  )

  onRedis("keeps what stood there before anything was counted; it counts for nobody", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const prefix = `{${randomUUID()}}:`
          const link = Context.get(
            yield* Layer.build(Layer.fresh(RedisLink.layer({ url: server?.url ?? "", prefix }))),
            RedisLink.RedisLink
          )
          const send = (...words: ReadonlyArray<string>) =>
            link.use((redis) => redis.send<unknown>(words[0]!, ...words.slice(1)))
          const base = `${prefix}memory:`
          const far = String(2 ** 50)
          for (const session of ["s", "t"]) {
            yield* send("HSET", `${base}v:${session}`, "k", "1", "gone", "2")
            yield* send("ZADD", `${base}e:${session}`, far, "k", "1", "gone")
            yield* send("ZADD", `${base}names`, "0", session)
            yield* send("ZADD", `${base}ages`, "1", session)
            yield* send("ZADD", `${base}ends`, far, session)
          }
          const memory = yield* open(prefix)()
          expect(yield* memory.sessions({ limit: 10 })).toEqual(["s", "t"])
          expect(yield* memory.all("s")).toEqual({ k: 1 })
          expect(yield* memory.get("t", "gone")).toBe(undefined)
          const writer = { id: "a", isStranger: true }
          expect(yield* memory.set("s", "k", 2, { writer })).toBe(undefined)
          expect(yield* memory.set("s", "more", 3, { writer })).toBe(undefined)
          expect(yield* memory.all("s")).toEqual({ k: 2, more: 3 })
          yield* memory.remove("s", "k")
          yield* memory.clear("s")
          yield* memory.clear("t")
          expect(yield* memory.sessions({ limit: 10 })).toEqual([])
          // Nothing is left of it, and nobody owes anything.
          expect(yield* send("KEYS", `${base}*`)).toEqual([])
        })
      )
    )
  )

  onRedis(
    "says Unavailable while Redis is gone, and works again when it is back",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const memory = yield* open(`{${randomUUID()}}:`)()
            expect(yield* memory.set("s", "k", 1)).toBe(undefined)
            yield* Effect.promise(() => server!.kill())
            const error = yield* Effect.flip(memory.get("s", "k"))
            expect(error.code).toBe("Unavailable")
            yield* Effect.promise(() => server!.begin())
            // It is another Redis now, and empty.
            while ((yield* Effect.orElseSucceed(memory.get("s", "k"), () => "not yet")) !== undefined) {
              yield* Effect.sleep(10)
            }
            expect(yield* memory.set("s", "k", 2)).toBe(undefined)
            expect(yield* memory.get("s", "k")).toBe(2)
          })
        )
      ),
    30_000
  )
})
