/**
 * Presence over all instances that share a Redis.
 *
 * An instance keeps its own leases, as alone, and tells Redis and the others what changes, several changes at once; it keeps a
 * replica of what the others say, so that `view` asks nobody. An instance that is killed is told dead by any other one after
 * `LEASE_MS`: whoever takes its agents away in Redis tells that they went, and nobody else does.
 *
 * While Redis is away an instance goes on alone: it tells of its own agents, and believes in those of others for another
 * `LEASE_MS`; when Redis is back, even empty, all say again what they hold, and nothing is told twice. What one instance tells
 * while it is alone, others may tell as well where an agent moves between them in that time.
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import type { Redis, RedisError } from "effect/persistence/Redis"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import { decodeMessage, Elsewhere, encodeHeld, type Message } from "./internal/Elsewhere.ts"
import { announce, leave, reap } from "./internal/PresenceScripts.ts"
import { Untold } from "./internal/Untold.ts"
import { LEASE_MS, Presence } from "./Presence.ts"
import { makeLeases } from "./PresenceMemory.ts"
import { COMMAND_MS, RedisLink } from "./RedisLink.ts"

/** Most changes that are told to Redis at once: its other callers wait a millisecond. */
export const MAX_BATCH = 500
/** How long heartbeats and loads wait until they are told to the others, in milliseconds. Comings and goings do not wait. */
export const GATHER_MS = 250
/** Shortest pause between two batches, in milliseconds. */
const PAUSE_MS = 5

/** Lengths of time that a test makes shorter. */
export interface Options {
  /** Time without a word after which an instance counts as dead; default `LEASE_MS`. */
  readonly leaseMs?: number
}

/** Presence over all instances. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const link = yield* RedisLink
  const clock = yield* Clock.Clock
  const leaseMs = options.leaseMs ?? LEASE_MS
  const base = `${link.prefix}presence:`
  const channel = `${base}news`
  const me = randomUUID()
  const untold = new Untold()
  const seen = new Untold()
  const elsewhere = new Elsewhere((agent) => seen.tell({ agent, online: true, why: "seen elsewhere" }))
  /**
   * Agents online here whose coming is settled: `told` by this instance, or `assumed`, since another one held them. What is not here is
   * told when nobody else holds it.
   */
  const settled = new Map<string, "told" | "assumed">()
  /** Agents that went while Redis was away, of which others may or may not have told it. */
  const unsure = new Set<string>()
  /** What Redis was not told yet, with the reason of the last coming or going. */
  const dirty = new Map<string, string>()
  const urgent = Latch.makeUnsafe()
  /** `joining`: others are there, and are not known yet; what changes waits. */
  let phase: "alone" | "joining" | "joined" = "alone"
  const joined = yield* Deferred.make<void>()
  let seq = 0
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)

  /** An agent is, or is not, online here; `alone`: nobody else holds it. */
  const settle = (agent: string, online: boolean, alone: boolean, why: string): void => {
    if (settled.has(agent) === online) return
    if (online) settled.set(agent, alone ? "told" : "assumed")
    else settled.delete(agent)
    if (alone) untold.tell({ agent, online, why })
  }
  /** Without Redis: what this instance knows is all there is. */
  const settleAlone = (agent: string, why: string): void => {
    const { online } = leases.view(agent)
    const alone = !elsewhere.has(agent)
    if (!online && !alone && settled.has(agent)) unsure.add(agent)
    settle(agent, online, alone, why)
  }
  const changed = (agent: string, why: string): void => {
    dirty.set(agent, why)
    if (phase === "alone") settleAlone(agent, why)
    else urgent.openUnsafe()
  }
  const { leases, open } = yield* makeLeases({
    came: changed,
    went: changed,
    touched: (agent) => {
      if (!dirty.has(agent)) dirty.set(agent, "lease opened")
    }
  })
  const withinTime = <A>(effect: Effect.Effect<A, RedisError>) =>
    Effect.timeoutOrElse(effect, {
      duration: COMMAND_MS,
      orElse: () =>
        Effect.flatMap(
          Effect.promise(() => import("effect/persistence/Redis")),
          ({ RedisError }) => Effect.fail(new RedisError({ cause: new Error(`no answer within ${COMMAND_MS} ms`) }))
        )
    })

  /** Tells Redis some of what changed; gives instances whose time is over. */
  const flush = Effect.fnUntraced(function* (redis: Redis["Service"]) {
    const batch: Array<readonly [agent: string, why: string]> = []
    for (const entry of dirty) {
      if (batch.length >= MAX_BATCH) break
      batch.push(entry)
    }
    const pairs: Array<string> = []
    const news: Array<NonNullable<Message["a"]>[number]> = []
    const states = batch.map(([agent]) => leases.view(agent))
    batch.forEach(([agent], at) => {
      dirty.delete(agent)
      const state = states[at]!
      pairs.push(agent, state.online ? encodeHeld(state) : "")
      news.push(state.online ? [agent, state.lastHeartbeat, state.running] : [agent])
    })
    const message: Message = { i: me, s: ++seq, ...(news.length === 0 ? {} : { a: news }) }
    const [standing, alone, dead] = yield* withinTime(
      redis.eval(announce)(base, channel, me, leaseMs, seq, JSON.stringify(message), ...pairs)
    ).pipe(
      Effect.onError(() =>
        Effect.sync(() => {
          for (const [agent, why] of batch) if (!dirty.has(agent)) dirty.set(agent, why)
        })
      )
    )
    batch.forEach(([agent, why], at) => settle(agent, states[at]!.online, alone[at] === 1, why))
    if (standing !== "known") {
      // Others have told that they went; or Redis has lost what it knew. Either way all is said again.
      if (standing === "reaped") settled.clear()
      for (const agent of leases.agents()) if (!dirty.has(agent)) dirty.set(agent, "lease opened")
    }
    return dead.filter((id) => id !== me)
  })

  const bury = Effect.fnUntraced(function* (redis: Redis["Service"], dead: string) {
    const message = JSON.stringify({ i: dead, x: 1 } satisfies Message)
    while (true) {
      const [agents, more] = yield* withinTime(redis.eval(reap)(base, channel, dead, MAX_BATCH, message))
      for (const agent of agents) {
        // It has come here meanwhile: for everybody else it never went.
        if (leases.view(agent).online) settled.set(agent, "told")
        else untold.tell({ agent, online: false, why: "its registry instance has stopped" })
      }
      if (more === 0) return
    }
  })

  const listen = Effect.fnUntraced(function* (redis: Redis["Service"]) {
    phase = "joining"
    const messages = yield* redis.subscribe(channel)
    const load = (instance: string) =>
      Effect.map(withinTime(redis.send<ReadonlyArray<string>>("HGETALL", `${base}at:${instance}`)), (fields) =>
        elsewhere.replace(instance, flat(fields), monotonic())
      )
    const instances = yield* withinTime(redis.send<ReadonlyArray<string>>("ZRANGE", `${base}instances`, "0", "-1"))
    for (const instance of instances) if (instance !== me) yield* load(instance)
    // Agents that Redis still has from before the connection was lost, and that have gone since.
    for (const agent of yield* withinTime(redis.send<ReadonlyArray<string>>("HKEYS", `${base}at:${me}`))) {
      if (agent !== "" && !leases.view(agent).online && !dirty.has(agent)) dirty.set(agent, "connection closed")
    }
    for (const agent of leases.agents()) if (!dirty.has(agent)) dirty.set(agent, "lease opened")
    // What was assumed while instances did not hear each other is found out now.
    for (const [agent, how] of settled) if (how === "assumed") settled.delete(agent)
    for (const agent of unsure) {
      if (leases.view(agent).online) continue
      settled.set(agent, "told")
      dirty.set(agent, "connection closed")
    }
    unsure.clear()
    phase = "joined"
    urgent.openUnsafe()
    yield* Deferred.succeed(joined, undefined)
    while (true) {
      const { message } = yield* Queue.take(messages)
      const news = decodeMessage(message)
      if (news === undefined || news.i === me) continue
      if (news.d !== undefined) leases.drop(news.d, "deregistered")
      if (news.b === 1) urgent.openUnsafe()
      if (news.s === undefined && news.x === undefined) continue
      if (!elsewhere.take(news, monotonic())) yield* load(news.i)
    }
  })

  const speak = Effect.fnUntraced(function* (redis: Redis["Service"]) {
    let saidAt = Number.NEGATIVE_INFINITY
    while (true) {
      const hurried = Option.isSome(yield* Effect.timeoutOption(urgent.await, GATHER_MS))
      urgent.closeUnsafe()
      elsewhere.expire(monotonic(), leaseMs)
      if (phase !== "joined" || (!hurried && dirty.size === 0 && monotonic() - saidAt < leaseMs / 6)) continue
      do {
        saidAt = monotonic()
        for (const dead of yield* flush(redis)) yield* bury(redis, dead)
        yield* Effect.sleep(PAUSE_MS)
      } while (dirty.size > 0)
    }
  })

  // After its session has ended, or the session would say once more that it lives.
  yield* Effect.addFinalizer(() =>
    Effect.ignore(
      link.use((redis) => redis.eval(leave)(base, channel, me, JSON.stringify({ i: me, b: 1 } satisfies Message)))
    )
  )
  yield* link.each(
    (redis) => Effect.raceFirst(listen(redis), speak(redis)),
    () => {
      phase = "alone"
      for (const [agent, why] of dirty) settleAlone(agent, why)
    }
  )
  // Without Redis nobody speaks, and what others said must end all the same.
  yield* Effect.sleep(GATHER_MS).pipe(
    Effect.andThen(Effect.sync(() => elsewhere.expire(monotonic(), leaseMs))),
    Effect.forever,
    Effect.forkScoped
  )
  // Who starts beside others knows them before it takes anybody in.
  if (link.state().isUp) yield* Effect.timeoutOption(Deferred.await(joined), COMMAND_MS)

  return Presence.of({
    open,
    drop: (agent) =>
      Effect.suspend(() => {
        leases.drop(agent, "deregistered")
        const message = JSON.stringify({ i: me, d: agent } satisfies Message)
        return Effect.ignore(link.use((redis) => redis.send("PUBLISH", channel, message)))
      }),
    view: (agent) => elsewhere.view(agent, leases.view(agent)),
    online: () => {
      let both = 0
      const [few, many] = [leases, elsewhere]
      for (const agent of few.agents()) if (many.has(agent)) both++
      return few.online + many.size - both
    },
    changes: untold.stream,
    seen: seen.stream,
    sharing: () => (phase === "joined" ? "joined" : "cut off")
  })
})

/** A hash's fields and values as Redis' two protocols give them. */
const flat = (reply: unknown): ReadonlyArray<string> =>
  Array.isArray(reply) ? reply : Object.entries(reply as { readonly [key: string]: string }).flat()

/** Presence over all instances. */
export const layer: Layer.Layer<Presence, never, RedisLink> = Layer.effect(Presence, make())
