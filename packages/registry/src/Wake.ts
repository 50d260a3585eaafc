/**
 * Wake: one instance tells the others at once that it has committed, so that they follow within a round trip.
 *
 * It is a hint and no more: what was committed stands in the store, and whoever misses a hint hears of it from `Store.news` or
 * with its own next commit.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import { randomUUID } from "node:crypto"
import { RedisLink } from "./RedisLink.ts"
import { Store } from "./Store.ts"

/** Shortest pause between two hints of one instance, in milliseconds: many commits are one piece of news. */
export const HINT_MS = 5

/** The store, whose commits are told to the other instances over Redis, and whose `news` hears of theirs. */
export const overRedis: Layer.Layer<Store, never, Store | RedisLink> = Layer.effect(
  Store,
  Effect.gen(function* () {
    const store = yield* Store
    const link = yield* RedisLink
    const channel = `${link.prefix}wake`
    const me = randomUUID()
    const committed = Latch.makeUnsafe()
    const heard = Latch.makeUnsafe()
    let cursor = 0
    yield* committed.await.pipe(
      Effect.andThen(
        Effect.suspend(() => {
          committed.closeUnsafe()
          return Effect.ignore(link.use((redis) => redis.send("PUBLISH", channel, `${me} ${cursor}`)))
        })
      ),
      Effect.andThen(Effect.sleep(HINT_MS)),
      Effect.forever,
      Effect.forkScoped
    )
    yield* link.each(
      (redis) =>
        Effect.gen(function* () {
          const messages = yield* redis.subscribe(channel)
          // Whatever was committed while nobody listened.
          heard.openUnsafe()
          while (true) {
            const { message } = yield* Queue.take(messages)
            if (!message.startsWith(me)) heard.openUnsafe()
          }
        }),
      () => undefined
    )
    return Store.of({
      ...store,
      append: (claims, decide, seen) =>
        Effect.tap(store.append(claims, decide, seen), (events) =>
          Effect.sync(() => {
            const last = events.at(-1)
            if (last === undefined) return
            cursor = last.cursor
            committed.openUnsafe()
          })
        ),
      news: Effect.raceFirst(
        store.news,
        Effect.andThen(
          heard.await,
          Effect.sync(() => heard.closeUnsafe())
        )
      )
    })
  })
)
