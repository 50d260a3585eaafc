/** An instance in a process of its own, to be killed: opens leases, says so, and lives on. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Presence } from "@parley/registry/Presence"
import * as PresenceRedis from "@parley/registry/PresenceRedis"
import * as RedisLink from "@parley/registry/RedisLink"

const [url = "", prefix = "", leaseMs = "", ...agents] = process.argv.slice(2)

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      const context = yield* Layer.build(
        Layer.effect(Presence, PresenceRedis.make({ leaseMs: Number(leaseMs) })).pipe(
          Layer.provide(RedisLink.layer({ url, prefix }))
        )
      )
      const presence = Context.get(context, Presence)
      for (const agent of agents) yield* (yield* presence.open(agent)).taskStarted("t")
      yield* Effect.sleep(50)
      process.stdout.write("ready\n")
      return yield* Effect.never
    })
  )
)
