/**
 * RedisLink: this instance's connection to the Redis that joins several instances. It may come and go; nobody waits for it.
 *
 * While it is up, `use` runs commands; when it is down, `use` fails at once and its callers go on alone. A Redis that is gone or
 * hangs is noticed by a failed command or by the next ping, and looked for again with growing pauses. The client's own reconnecting is off: what
 * belongs to one connection (subscriptions, announcements) is a *session*, and begins anew with each.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type { Redis, RedisError } from "effect/persistence/Redis"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"

/** How long a command may take, in milliseconds: Redis answers within one; a stall of its disk takes longer. */
export const COMMAND_MS = 1_000
/** Pause between pings, in milliseconds. */
export const PING_MS = 1_000
/** How long connecting may take, in milliseconds, and how long the start of an instance waits for it. */
export const CONNECT_MS = 2_000
/** Pauses between attempts to connect, in milliseconds: doubling from the first to the second. */
export const RETRY_MS = { first: 100, most: 5_000 } as const
/** What keys and channels begin with; the braces keep them on one node of a cluster. */
export const PREFIX = "{parley}:"

/** There is no Redis now. */
export class RedisDown extends Schema.TaggedError<RedisDown>()("RedisDown", { detail: Schema.String }) {
  override get message(): string {
    return `Redis does not answer: ${this.detail}`
  }
}

/** What a health page says about it. */
export interface State {
  readonly isUp: boolean
  /** Since when, in milliseconds since the epoch. */
  readonly since: number
  /** Why it is down; empty when it is up. */
  readonly detail: string
}

/** Runs for the length of one connection; the link is made anew when it ends or fails. */
export type Session = (redis: Redis["Service"]) => Effect.Effect<unknown, RedisError, Scope.Scope>

/** This instance's connection to Redis. */
export class RedisLink extends Context.Service<
  RedisLink,
  {
    /** Runs commands; fails at once while Redis is down, and after `COMMAND_MS` when it hangs. */
    readonly use: <A>(run: (redis: Redis["Service"]) => Effect.Effect<A, RedisError>) => Effect.Effect<A, RedisDown>
    /** Runs with each connection, while the scope lasts; at once where there is one. `down` is told when a connection was lost. */
    readonly each: (session: Session, down: () => void) => Effect.Effect<void, never, Scope.Scope>
    readonly state: () => State
    /** `PREFIX`, or that of another registry on the same Redis. */
    readonly prefix: string
  }
>()("@parley/registry/RedisLink") {}

/** Where Redis is. */
export interface Options {
  /** `redis://user:password@host:port/db`, `rediss://…`. Never logged. */
  readonly url: string
  /** Default `PREFIX`. */
  readonly prefix?: string
}

/** Never with the address, which holds a password. */
const UNUSABLE = "its client cannot be made; is the address redis://… or rediss://…?"
const UNTRIED = "not connected yet"

interface Guest {
  readonly session: Session
  readonly down: () => void
  running?: Fiber.Fiber<void>
}

const reason = (cause: unknown): string => {
  if (!(cause instanceof Error)) return String(cause).slice(0, 200)
  const inner = cause.cause instanceof Error && cause.message === "" ? cause.cause.message : cause.message
  const code = "code" in cause ? ` (${String(cause.code)})` : ""
  return `${inner === "" ? cause.name : inner}${inner.includes(code.slice(2, -1)) ? "" : code}`.slice(0, 200)
}

/** Looks for Redis until the scope ends. Waits for the first attempt, however it ends. */
export const make = Effect.fnUntraced(function* (options: Options) {
  const clock = yield* Clock.Clock
  const guests = new Set<Guest>()
  const tried = yield* Deferred.make<void>()
  let current: { readonly redis: Redis["Service"]; readonly lose: (why: string) => void } | undefined
  let admit: ((guest: Guest) => void) | undefined
  let state: State = { isUp: false, since: clock.currentTimeMillisUnsafe(), detail: UNTRIED }
  let pause: number = RETRY_MS.first

  const turn = (isUp: boolean, detail: string): Effect.Effect<void> =>
    Effect.suspend(() => {
      const isFirst = state.detail === UNTRIED
      const changed = state.isUp !== isUp
      state = { isUp, since: changed || isFirst ? clock.currentTimeMillisUnsafe() : state.since, detail }
      if (isUp) return isFirst ? Effect.void : Effect.logInfo("Redis is back: instances count and see together again")
      return changed || isFirst
        ? Effect.logWarning(`Redis is gone, and this instance goes on alone: ${detail}`)
        : Effect.void
    })

  /** One connection, until it is lost; gives why. */
  const connection = Effect.gen(function* () {
    const NodeRedis = yield* Effect.promise(() => import("@effect/platform-node/NodeRedis"))
    const { Redis } = yield* Effect.promise(() => import("effect/persistence/Redis"))
    const layer = NodeRedis.layer({
      url: options.url,
      disableOfflineQueue: true,
      socket: { connectTimeout: CONNECT_MS, reconnectStrategy: false }
    })
    const context = yield* Layer.build(layer).pipe(
      // Its own warnings would come with every attempt.
      Effect.provideService(References.MinimumLogLevel, "None"),
      Effect.timeoutOrElse({ duration: 2 * CONNECT_MS, orElse: () => Effect.fail("it took too long to connect") })
    )
    const { client } = Context.get(context, NodeRedis.NodeRedis)
    const redis = Context.get(context, Redis)
    const lost = yield* Deferred.make<never, string>()
    const lose = (why: string): void => {
      current = undefined
      Deferred.doneUnsafe(lost, Effect.fail(why))
    }
    // Closing waits for commands in flight, and a Redis that hangs would never answer them.
    yield* Effect.addFinalizer(() => Effect.sync(() => (client.isOpen ? client.destroy() : undefined)))
    client.on("error", (error: unknown) => lose(reason(error)))
    client.on("end", () => lose("the connection was closed"))
    const ping = redis
      .send("PING")
      .pipe(
        Effect.timeoutOrElse({ duration: COMMAND_MS, orElse: () => Effect.fail(`no answer within ${COMMAND_MS} ms`) })
      )
    yield* ping
    yield* Effect.forkScoped(
      Effect.sleep(PING_MS).pipe(
        Effect.andThen(ping),
        Effect.forever,
        Effect.catch((error) => Effect.sync(() => lose(reason(error))))
      )
    )
    const scope = yield* Effect.scope
    const services = yield* Effect.context<never>()
    admit = (guest) => {
      const session = Effect.scoped(guest.session(redis)).pipe(
        Effect.match({
          onSuccess: () => lose("a session has ended"),
          onFailure: (error) => lose(reason(error.cause))
        })
      )
      guest.running = Fiber.runIn(Effect.runForkWith(services)(session), scope)
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        current = undefined
        admit = undefined
        for (const guest of guests) guest.down()
      })
    )
    current = { redis, lose }
    pause = RETRY_MS.first
    yield* turn(true, "")
    for (const guest of guests) admit(guest)
    yield* Deferred.succeed(tried, undefined)
    return yield* Deferred.await(lost)
  }).pipe(Effect.scoped)

  yield* connection.pipe(
    Effect.catchCause((cause) => {
      const failure = cause.reasons.find((each) => each._tag === "Fail")?.error
      const why = typeof failure === "string" ? failure : failure === undefined ? UNUSABLE : reason(failure.cause)
      return turn(false, why)
    }),
    Effect.andThen(Deferred.succeed(tried, undefined)),
    Effect.andThen(
      Effect.suspend(() => {
        const wait = pause
        pause = Math.min(RETRY_MS.most, pause * 2)
        return Effect.sleep(wait)
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Effect.timeoutOption(Deferred.await(tried), CONNECT_MS)

  return RedisLink.of({
    use: (run) =>
      Effect.suspend(() => {
        const link = current
        if (link === undefined) return Effect.fail(new RedisDown({ detail: state.detail }))
        return run(link.redis).pipe(
          Effect.mapError((error) => new RedisDown({ detail: reason(error.cause) })),
          Effect.timeoutOrElse({
            duration: COMMAND_MS,
            orElse: () => {
              const detail = `no answer within ${COMMAND_MS} ms`
              link.lose(detail)
              return Effect.fail(new RedisDown({ detail }))
            }
          })
        )
      }),
    each: (session, down) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => {
            const guest: Guest = { session, down }
            guests.add(guest)
            admit?.(guest)
            return guest
          }),
          (guest) => {
            guests.delete(guest)
            return guest.running === undefined ? Effect.void : Fiber.interrupt(guest.running)
          }
        )
      ),
    state: () => state,
    prefix: options.prefix ?? PREFIX
  })
})

/** This instance's connection to Redis. */
export const layer = (options: Options): Layer.Layer<RedisLink> => Layer.effect(RedisLink, make(options))
