/**
 * SessionMemory in the Redis that instances share. It is as durable as that Redis is, and gone with it: calls then fail with
 * `Unavailable`.
 *
 * A session is a hash of its values and a sorted set of when each ends; both end with the last of them. Three sorted sets over
 * all sessions give their order by name, the one longest not written, and those that have ended. Each call is one script, so
 * that bounds hold whoever writes at the same time.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import type * as Schema from "effect/Schema"
import * as Keys from "./internal/Keys.ts"
import * as Memory from "./internal/Memory.ts"
import { type RedisDown, RedisLink } from "./RedisLink.ts"
import { MAX_KEYS, MAX_SESSIONS, SessionMemory } from "./SessionMemory.ts"
import { StoreError } from "./Store.ts"

/** Sessions that have ended and are cleared away by one call. */
const SWEEP = 32

/** Begins each script: `base` is where everything stands; what has ended is let go. */
const PRELUDE = `
local base = KEYS[1]
local byName, byAge, byEnd = base .. 'names', base .. 'ages', base .. 'ends'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function forget(session)
  redis.call('DEL', base .. 'v:' .. session, base .. 'e:' .. session)
  redis.call('ZREM', byName, session)
  redis.call('ZREM', byAge, session)
  redis.call('ZREM', byEnd, session)
end
for _, session in ipairs(redis.call('ZRANGEBYSCORE', byEnd, '-inf', now, 'LIMIT', 0, ${SWEEP})) do forget(session) end
local function settle(session)
  local values, ends = base .. 'v:' .. session, base .. 'e:' .. session
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do redis.call('HDEL', values, key) end
  redis.call('ZREMRANGEBYSCORE', ends, '-inf', now)
  local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')
  if #last == 0 then return forget(session) end
  redis.call('ZADD', byEnd, last[2], session)
end
`

const script = <A>(lua: string) =>
  Redis.script((base: string, ...args: ReadonlyArray<string | number>) => [base, ...args], {
    numberOfKeys: 1,
    lua: PRELUDE + lua
  }).withReturnType<A>()

const setOne = script<number>(`
local session, key, value, ttl, maxKeys, maxSessions = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local values, ends = base .. 'v:' .. session, base .. 'e:' .. session
settle(session)
if redis.call('HEXISTS', values, key) == 0 and redis.call('HLEN', values) >= maxKeys then return 0 end
redis.call('HSET', values, key, value)
redis.call('ZADD', ends, now + ttl, key)
local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')
redis.call('ZADD', byName, 0, session)
-- Two writes within a millisecond still have an order.
local order = redis.call('INCR', base .. 'order')
redis.call('ZADD', byAge, order, session)
redis.call('ZADD', byEnd, last[2], session)
while redis.call('ZCARD', byName) > maxSessions do forget(redis.call('ZRANGE', byAge, 0, 0)[1]) end
return 1
`)
const getOne = script<string | null>(`
settle(ARGV[1])
return redis.call('HGET', base .. 'v:' .. ARGV[1], ARGV[2])
`)
const getAll = script<ReadonlyArray<string>>(`
settle(ARGV[1])
return redis.call('HGETALL', base .. 'v:' .. ARGV[1])
`)
const removeOne = script<number>(`
redis.call('HDEL', base .. 'v:' .. ARGV[1], ARGV[2])
redis.call('ZREM', base .. 'e:' .. ARGV[1], ARGV[2])
settle(ARGV[1])
return 1
`)
const clearOne = script<number>(`
forget(ARGV[1])
return 1
`)
const list = script<ReadonlyArray<string>>(`
while true do
  local ended = redis.call('ZRANGEBYSCORE', byEnd, '-inf', now, 'LIMIT', 0, 1000)
  if #ended == 0 then break end
  for _, session in ipairs(ended) do forget(session) end
end
return redis.call('ZRANGEBYLEX', byName, ARGV[1], '+', 'LIMIT', 0, ARGV[2])
`)

const parse = (operation: string, json: string): Effect.Effect<Schema.Json, StoreError> =>
  Effect.try({
    try: (): Schema.Json => JSON.parse(json),
    catch: () =>
      new StoreError({ code: "Corrupt", operation, detail: "Redis holds a value that is not JSON; clear the session" })
  })

/** Bounds that a test makes smaller. */
export interface Options {
  readonly maxKeys?: number
  readonly maxSessions?: number
}

/** SessionMemory in Redis. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const link = yield* RedisLink
  const base = `${link.prefix}memory:`
  const maxKeys = options.maxKeys ?? MAX_KEYS
  const maxSessions = options.maxSessions ?? MAX_SESSIONS
  const failed = (operation: string) => (error: RedisDown) =>
    new StoreError({ code: "Unavailable", operation, detail: error.message })
  const run = <A>(
    operation: string,
    body: ReturnType<typeof script<A>>,
    ...args: ReadonlyArray<string | number>
  ): Effect.Effect<A, StoreError> =>
    Effect.mapError(
      link.use((redis) => redis.eval(body)(base, ...args)),
      failed(operation)
    )
  const attempt = <A>(operation: string, make: () => A): Effect.Effect<A, StoreError> =>
    Effect.try({ try: make, catch: (cause) => new StoreError({ code: "Failed", operation, detail: String(cause) }) })
  return SessionMemory.of({
    kind: "redis",
    sessions: ({ after, limit }) =>
      Effect.map(run("sessions", list, after === undefined ? "-" : `(${Keys.key(after)}`, limit), (names) =>
        names.map(Keys.text)
      ),
    all: (session) =>
      Effect.flatMap(run("all", getAll, Keys.key(session)), (pairs) =>
        Effect.gen(function* () {
          const found: Array<[string, Schema.Json]> = []
          for (let i = 0; i + 1 < pairs.length; i += 2) {
            found.push([Keys.text(pairs[i]!), yield* parse("all", pairs[i + 1]!)])
          }
          return Object.fromEntries(found)
        })
      ),
    get: (session, key) =>
      Effect.flatMap(run("get", getOne, Keys.key(session), Keys.key(key)), (json) =>
        json === null ? Effect.undefined : parse("get", json)
      ),
    set: (session, key, value, ttlMs) =>
      Effect.gen(function* () {
        const row = yield* attempt("set", () => Memory.entry(session, key, value, 0, ttlMs))
        const stored = yield* run("set", setOne, row.session, row.name, row.value, row.expires, maxKeys, maxSessions)
        return stored === 1 ? undefined : { _tag: "Full" as const, limit: maxKeys }
      }),
    remove: (session, key) => Effect.asVoid(run("remove", removeOne, Keys.key(session), Keys.key(key))),
    clear: (session) => Effect.asVoid(run("clear", clearOne, Keys.key(session)))
  })
})

/** SessionMemory in Redis. */
export const layer: Layer.Layer<SessionMemory, never, RedisLink> = Layer.effect(SessionMemory, make())
