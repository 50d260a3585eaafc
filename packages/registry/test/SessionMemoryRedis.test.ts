import { afterAll, beforeAll, describe, expect } from "bun:test"
import { randomUUID } from "node:crypto"
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
