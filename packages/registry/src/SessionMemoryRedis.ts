/**
 * SessionMemory in the Redis that instances share. It is as durable as that Redis is, and gone with it: calls then fail with
 * `Unavailable`.
 *
 * A session is a hash of its values, one of what each counts and for whom, one of how many are whose, and a sorted set of when each
 * ends. Over all sessions there are sorted sets by name, by when the first entry ends, and by when the last does; and hashes of
 * their bytes, and of what everybody holds. Each call is one script, so that bounds hold whoever writes at the same time.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import type * as Schema from "effect/Schema"
import * as Keys from "./internal/Keys.ts"
import * as Memory from "./internal/Memory.ts"
import { type RedisDown, RedisLink } from "./RedisLink.ts"
import { BOUNDS, type Bounds, type Full, SessionMemory } from "./SessionMemory.ts"
import { StoreError } from "./Store.ts"

/** Entries that have expired and are cleared away by one call: a millisecond. */
const SWEEP = 200
/** Names that one look at the sessions takes. */
const PAGE = 1_000

/** Begins each script: `base` is where everything stands. */
const PRELUDE = `
local base = KEYS[1]
local byName, byFirst, byLast = base .. 'names', base .. 'firsts', base .. 'ends'
local sizes, held = base .. 'sizes', base .. 'held'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function accounts(holder)
  if holder == '' then return { 'all' } end
  if string.sub(holder, 1, 9) == 'stranger:' then return { holder, 'strangers', 'all' } end
  return { holder, 'all' }
end
local function add(account, what, amount)
  local field = what .. ' ' .. account
  if amount ~= 0 and redis.call('HINCRBY', held, field, amount) == 0 then redis.call('HDEL', held, field) end
end
-- Entries in a session, and their bytes, more or less. Who has none left there takes no part in it.
local function charge(session, holder, keys, bytes)
  local parts = base .. 'p:' .. session
  local joins = 0
  if keys ~= 0 then
    local left = redis.call('HINCRBY', parts, holder, keys)
    if left == 0 then redis.call('HDEL', parts, holder) end
    joins = left == 0 and -1 or left == keys and 1 or 0
  end
  for _, account in ipairs(accounts(holder)) do
    if account ~= 'all' then add(account, 'sessions', joins) end
    add(account, 'bytes', bytes)
  end
  redis.call('HINCRBY', sizes, session, bytes)
end
local function counted(session, key)
  local text = redis.call('HGET', base .. 'o:' .. session, key)
  if not text then return 0, '' end
  local at = string.find(text, ' ', 1, true)
  return tonumber(string.sub(text, 1, at - 1)), string.sub(text, at + 1)
end
-- When the first entry of a session ends, and the last. A session without a key is none.
local function mark(session)
  local ends = base .. 'e:' .. session
  local first = redis.call('ZRANGE', ends, 0, 0, 'WITHSCORES')
  if #first > 0 then
    redis.call('ZADD', byFirst, first[2], session)
    redis.call('ZADD', byLast, redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2], session)
  else
    for _, set in ipairs({ byName, byFirst, byLast, base .. 'ages' }) do redis.call('ZREM', set, session) end
    redis.call('HDEL', sizes, session)
  end
end
local function drop(session, keys)
  local values, ends, owned = base .. 'v:' .. session, base .. 'e:' .. session, base .. 'o:' .. session
  local gone = {}
  for _, key in ipairs(keys) do
    local bytes, holder = counted(session, key)
    if bytes > 0 then
      local sum = gone[holder] or { keys = 0, bytes = 0 }
      gone[holder] = { keys = sum.keys + 1, bytes = sum.bytes + bytes }
      redis.call('HDEL', owned, key)
    end
    redis.call('HDEL', values, key)
    redis.call('ZREM', ends, key)
  end
  for holder, sum in pairs(gone) do charge(session, holder, -sum.keys, -sum.bytes) end
  mark(session)
end
local function settle(session, most)
  local gone = redis.call('ZRANGEBYSCORE', base .. 'e:' .. session, '-inf', now, 'LIMIT', 0, most)
  if #gone > 0 or most > 0 then drop(session, gone) end
  return #gone
end
-- Clears some of what has expired away; gives whether there is more.
local function sweep()
  local left = ${SWEEP}
  while left > 0 do
    local session = redis.call('ZRANGEBYSCORE', byFirst, '-inf', now, 'LIMIT', 0, 1)[1]
      or redis.call('ZRANGEBYSCORE', byLast, '-inf', now, 'LIMIT', 0, 1)[1]
    if not session then return false end
    left = left - math.max(1, settle(session, left))
  end
  return true
end
`

const script = <A>(lua: string) =>
  Redis.script((base: string, ...args: ReadonlyArray<string | number>) => [base, ...args], {
    numberOfKeys: 1,
    lua: PRELUDE + lua
  }).withReturnType<A>()

/** Gives what is full: `""` where nothing is, `again` where more has to be cleared away to know. */
const setOne = script<string>(`
local session, key, value, ttl, size, holder = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local more = sweep()
settle(session, -1)
local values, owned, ends = base .. 'v:' .. session, base .. 'o:' .. session, base .. 'e:' .. session
local fresh = not redis.call('ZSCORE', byName, session)
local stands = redis.call('HEXISTS', values, key) == 1
local before, beforeHolder = counted(session, key)
if not stands and redis.call('HLEN', values) >= tonumber(ARGV[7]) then return 'session keys' end
local bytes = (tonumber(redis.call('HGET', sizes, session)) or 0) - before + size
if bytes > tonumber(ARGV[8]) and size > before then return 'session bytes' end
local joins = redis.call('HEXISTS', base .. 'p:' .. session, holder) == 0
local pays = {}
for _, account in ipairs(accounts(beforeHolder)) do pays[account] = before end
local leaves = before > 0 and beforeHolder ~= holder and redis.call('HGET', base .. 'p:' .. session, beforeHolder) == '1'
local bounds = { [holder] = { 'identity', 9 }, strangers = { 'strangers', 11 }, all = { 'all', 13 } }
for _, account in ipairs(accounts(holder)) do
  local of, bound = unpack(bounds[account])
  local function over(what, grows, has, limit)
    if grows > 0 and has + grows > tonumber(limit) then return more and 'again' or of .. ' ' .. what end
  end
  local has = function(what) return tonumber(redis.call('HGET', held, what .. ' ' .. account)) or 0 end
  local no
  if account == 'all' then
    no = over('sessions', fresh and 1 or 0, redis.call('ZCARD', byName), ARGV[bound])
  else
    local left = leaves and pays[account] and 1 or 0
    no = over('sessions', (joins and 1 or 0) - left, has('sessions'), ARGV[bound])
  end
  no = no or over('bytes', size - (pays[account] or 0), has('bytes'), ARGV[bound + 1])
  if no then return no end
end
if before > 0 then charge(session, beforeHolder, -1, -before) end
charge(session, holder, 1, size)
redis.call('HSET', values, key, value)
redis.call('HSET', owned, key, size .. ' ' .. holder)
redis.call('ZADD', ends, now + ttl, key)
redis.call('ZADD', byName, 0, session)
mark(session)
return ''
`)
const getOne = script<string | null>(`
local ends = redis.call('ZSCORE', base .. 'e:' .. ARGV[1], ARGV[2])
if not ends or tonumber(ends) <= now then return false end
return redis.call('HGET', base .. 'v:' .. ARGV[1], ARGV[2])
`)
const getAll = script<ReadonlyArray<string>>(`
local keys = redis.call('ZRANGEBYSCORE', base .. 'e:' .. ARGV[1], '(' .. now, '+inf')
local found = #keys > 0 and redis.call('HMGET', base .. 'v:' .. ARGV[1], unpack(keys)) or {}
for _, key in ipairs(keys) do found[#found + 1] = key end
return found
`)
const removeOne = script<number>(`
drop(ARGV[1], { ARGV[2] })
return 1
`)
const clearOne = script<number>(`
drop(ARGV[1], redis.call('HKEYS', base .. 'v:' .. ARGV[1]))
return 1
`)
const list = script<ReadonlyArray<string>>(`
sweep()
local found, from, limit = {}, ARGV[1], tonumber(ARGV[2])
while #found < limit do
  local page = redis.call('ZRANGEBYLEX', byName, from, '+', 'LIMIT', 0, ${PAGE})
  for _, session in ipairs(page) do
    local last = redis.call('ZSCORE', byLast, session)
    if #found < limit and last and tonumber(last) > now then found[#found + 1] = session end
  end
  if #page < ${PAGE} then break end
  from = '(' .. page[#page]
end
return found
`)

const parse = (operation: string, json: string): Effect.Effect<Schema.Json, StoreError> =>
  Effect.try({
    try: (): Schema.Json => JSON.parse(json),
    catch: () =>
      new StoreError({ code: "Corrupt", operation, detail: "Redis holds a value that is not JSON; clear the session" })
  })

/** SessionMemory in Redis. */
export const make = Effect.fnUntraced(function* (bounds: Bounds = BOUNDS) {
  const link = yield* RedisLink
  const base = `${link.prefix}memory:`
  const limits = [
    bounds.session.keys,
    bounds.session.bytes,
    ...[bounds.identity, bounds.strangers, bounds.all].flatMap(({ bytes, sessions }) => [sessions, bytes])
  ]
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
      Effect.flatMap(run("all", getAll, Keys.key(session)), (found) =>
        Effect.gen(function* () {
          // Values, then their keys.
          const half = found.length / 2
          const entries: Array<[string, Schema.Json]> = []
          for (let i = 0; i < half; i++) entries.push([Keys.text(found[half + i]!), yield* parse("all", found[i]!)])
          return Object.fromEntries(entries)
        })
      ),
    get: (session, key) =>
      Effect.flatMap(run("get", getOne, Keys.key(session), Keys.key(key)), (json) =>
        json === null ? Effect.undefined : parse("get", json)
      ),
    set: (session, key, value, { ttlMs, writer } = {}) =>
      Effect.gen(function* () {
        const { bytes, expires, name, ...row } = yield* attempt("set", () =>
          Memory.entry(session, key, value, 0, ttlMs)
        )
        const holder = yield* attempt("set", () => Memory.holderOf(writer))
        for (;;) {
          const said = yield* run("set", setOne, row.session, name, row.value, expires, bytes, holder, ...limits)
          if (said === "") return undefined
          if (said === "again") continue
          const [of, what] = said.split(" ") as [Full["of"], Full["what"]]
          return Memory.full(bounds, of, what)
        }
      }),
    remove: (session, key) => Effect.asVoid(run("remove", removeOne, Keys.key(session), Keys.key(key))),
    clear: (session) => Effect.asVoid(run("clear", clearOne, Keys.key(session)))
  })
})

/** SessionMemory in Redis. */
export const layer: Layer.Layer<SessionMemory, never, RedisLink> = Layer.effect(SessionMemory, make())
