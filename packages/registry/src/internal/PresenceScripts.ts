/**
 * What instances write about presence into Redis, and how.
 *
 * `instances` is a sorted set of instances by when each counts as dead (milliseconds of Redis' clock); each has a hash of its
 * agents: `lastHeartbeat,running` by id, and under the empty name the number of its last message. Each change is one script,
 * so that "is it held elsewhere" and the change are one step: of all instances exactly one is told that an agent came or
 * went.
 */
import * as Redis from "effect/persistence/Redis"

/** How long what an instance wrote outlives its last word, in milliseconds, where nobody is left to clear it away. */
const KEPT_MS = 3_600_000

/** `held(agent, me)`: whether an instance other than `me` holds it. */
const HELD = `
local others = {}
for _, id in ipairs(redis.call('ZRANGE', instances, 0, -1)) do
  if id ~= me then others[#others + 1] = base .. 'at:' .. id end
end
local function held(agent)
  for _, key in ipairs(others) do if redis.call('HEXISTS', key, agent) == 1 then return true end end
  return false
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** What `announce` gives. */
export type Announced = readonly [
  /** `known`: nothing special. `new`: Redis did not know this instance. `reaped`: others took it for dead, and told so. */
  standing: "known" | "new" | "reaped",
  /** For each change, 1 where no other instance holds the agent. */
  alone: ReadonlyArray<number>,
  /** Instances whose time is over. */
  dead: ReadonlyArray<string>
]

/** An instance says that it lives, and what changed: pairs of an agent and its `lastHeartbeat,running`, `""` where it went. */
export const announce = Redis.script(
  (
    base: string,
    channel: string,
    me: string,
    leaseMs: number,
    seq: number,
    message: string,
    ...pairs: ReadonlyArray<string>
  ) => [base, channel, me, leaseMs, seq, message, ...pairs],
  {
    numberOfKeys: 1,
    lua: `
local base, channel, me = KEYS[1], ARGV[1], ARGV[2]
local instances, mine = base .. 'instances', base .. 'at:' .. me
${HELD}
local standing = 'known'
if redis.call('DEL', base .. 'reaped:' .. me) == 1 then standing = 'reaped'
elseif redis.call('ZSCORE', instances, me) == false then standing = 'new' end
redis.call('ZADD', instances, now + ARGV[3], me)
redis.call('HSET', mine, '', ARGV[4])
local alone = {}
for i = 6, #ARGV, 2 do
  local agent, value = ARGV[i], ARGV[i + 1]
  if value == '' then redis.call('HDEL', mine, agent) else redis.call('HSET', mine, agent, value) end
  alone[#alone + 1] = held(agent) and 0 or 1
end
redis.call('PEXPIRE', mine, ${KEPT_MS})
redis.call('PUBLISH', channel, ARGV[5])
return { standing, alone, redis.call('ZRANGEBYSCORE', instances, '-inf', now) }
`
  }
).withReturnType<Announced>()

/** What `reap` gives: agents that nobody holds any more, and whether there is more to do. */
export type Reaped = readonly [gone: ReadonlyArray<string>, more: number]

/** Takes some agents from an instance whose time is over; after the last of them it is forgotten, and all are told. */
export const reap = Redis.script(
  (base: string, channel: string, dead: string, max: number, message: string) => [base, channel, dead, max, message],
  {
    numberOfKeys: 1,
    lua: `
local base, channel, me = KEYS[1], ARGV[1], ARGV[2]
local instances, theirs = base .. 'instances', base .. 'at:' .. me
${HELD}
local score = redis.call('ZSCORE', instances, me)
if score == false or tonumber(score) > now then return { {}, 0 } end
redis.call('SET', base .. 'reaped:' .. me, 1, 'PX', ${KEPT_MS})
redis.call('HDEL', theirs, '')
local gone = {}
for _, agent in ipairs(redis.call('HRANDFIELD', theirs, ARGV[3])) do
  redis.call('HDEL', theirs, agent)
  if not held(agent) then gone[#gone + 1] = agent end
end
if redis.call('HLEN', theirs) > 0 then return { gone, 1 } end
redis.call('ZREM', instances, me)
redis.call('PUBLISH', channel, ARGV[4])
return { gone, 0 }
`
  }
).withReturnType<Reaped>()

/** An instance stops: it counts as dead from now on, so that another one takes its agents and tells. */
export const leave = Redis.script(
  (base: string, channel: string, me: string, message: string) => [base, channel, me, message],
  {
    numberOfKeys: 1,
    lua: `
redis.call('ZADD', KEYS[1] .. 'instances', 'XX', 0, ARGV[2])
redis.call('PUBLISH', ARGV[1], ARGV[3])
return 1
`
  }
)
