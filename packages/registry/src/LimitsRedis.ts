/**
 * Limits over all instances that share a Redis: the same token buckets, counted there by its clock.
 *
 * A bucket is one key that is gone when it is full again. While Redis is away each instance counts alone, from full buckets of its own;
 * what it let through meanwhile is not added up afterwards.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import { Limits } from "./Limits.ts"
import * as LimitsMemory from "./LimitsMemory.ts"
import { RedisLink } from "./RedisLink.ts"

/** GCRA as in `internal/Buckets.ts`, in microseconds of the server's time. */
const take = Redis.script((key: string, each: number, burst: number, tokens: number) => [key, each, burst, tokens], {
  numberOfKeys: 1,
  lua: `
local each, burst, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local before = tonumber(redis.call('GET', KEYS[1]) or 0)
local fullAt = math.max(now, before) + math.min(tokens, burst) * each
local wait = fullAt - burst * each - now
if wait > 1 then return math.max(1, math.ceil(wait / 1000)) end
redis.call('SET', KEYS[1], string.format('%.0f', fullAt), 'PX', math.max(1, math.ceil((fullAt - now) / 1000)))
return 0
`
}).withReturnType<number>()

/** Limits over all instances; alone while Redis is away. */
export const make = Effect.fnUntraced(function* (options: LimitsMemory.Options = {}) {
  const link = yield* RedisLink
  const alone = yield* LimitsMemory.make(options)
  return Limits.of({
    take: (key, bucket, tokens = 1) =>
      link
        .use((redis) =>
          redis.eval(take)(`${link.prefix}limit:${key}`, 1_000_000 / bucket.perSecond, bucket.burst, tokens)
        )
        .pipe(Effect.catch(() => alone.take(key, bucket, tokens)))
  })
})

/** Limits over all instances. */
export const layer: Layer.Layer<Limits, never, RedisLink> = Layer.effect(Limits, make())
