import { afterAll, beforeAll, describe, expect } from "bun:test"
import { randomUUID } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RedisLink from "@parley/registry/RedisLink"
import { SessionMemory } from "@parley/registry/SessionMemory"
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

  const open = (prefix: string) =>
    Effect.map(
      Layer.build(
        SessionMemoryRedis.layer.pipe(Layer.provide(Layer.fresh(RedisLink.layer({ url: server?.url ?? "", prefix }))))
      ),
      (context) => Context.get(context, SessionMemory)
    )

  SessionMemorySuite.suite(
    { describe, test: onRedis, expect },
    {
      name: "Redis",
      isShared: true,
      crowds: true,
      place: Effect.sync(() => {
        const prefix = `{${randomUUID()}}:`
        return {
          open: open(prefix),
          // One connection keeps the order of what it is given.
          crowd: (sessions) =>
            Effect.scoped(
              Effect.flatMap(open(prefix), (memory) =>
                Effect.forEach(
                  Array.from({ length: sessions }, (_, n) => n + 1),
                  (n) => memory.set(`crowd${n}`, "k", n),
                  { concurrency: 64, discard: true }
                )
              )
            )
        }
      })
    }
  )

  onRedis(
    "says Unavailable while Redis is gone, and works again when it is back",
    () =>
      Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const memory = yield* open(`{${randomUUID()}}:`)
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
