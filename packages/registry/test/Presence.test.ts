import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { randomUUID } from "node:crypto"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Change, type Lease, Presence } from "@parley/registry/Presence"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as PresenceRedis from "@parley/registry/PresenceRedis"
import * as RedisLink from "@parley/registry/RedisLink"
import { heard, suite, until } from "@parley/registry/testing/PresenceSuite"
import { seeded } from "@parley/core/testing/Seeded"
import * as Redis from "../../../test-support/Redis.ts"
import { command } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Throwaway from "../../../test-support/Throwaway.ts"

suite({ describe, test, expect }, { name: "memory", shared: false, instance: PresenceMemory.make })

describe("presence in memory", () => {
  const run = (body: (presence: Presence["Service"]) => Effect.Effect<void, unknown, Scope.Scope>) =>
    Effect.runPromise(Effect.scoped(Effect.flatMap(PresenceMemory.make, body)))

  test("one more lease than an agent may have ends the oldest", () =>
    run((presence) =>
      Effect.gen(function* () {
        const leases: Array<Lease> = []
        for (let n = 0; n <= PresenceMemory.MAX_LEASES_OF_AGENT; n++) {
          const lease = yield* presence.open("a")
          yield* lease.taskStarted("t")
          leases.push(lease)
        }
        expect(presence.view("a").running).toBe(PresenceMemory.MAX_LEASES_OF_AGENT)
        yield* leases[0]!.renew
        expect(presence.view("a").running).toBe(PresenceMemory.MAX_LEASES_OF_AGENT)
      })
    ))

  test("a lease counts only so many tasks, and only so many agents that are away are remembered", () =>
    run((presence) =>
      Effect.gen(function* () {
        const lease = yield* presence.open("a")
        for (let n = 0; n < PresenceMemory.MAX_TASKS_OF_LEASE + 10; n++) yield* lease.taskStarted(`t${n}`)
        expect(presence.view("a").running).toBe(PresenceMemory.MAX_TASKS_OF_LEASE)
        for (let n = 0; n <= PresenceMemory.MAX_REMEMBERED; n++) yield* (yield* presence.open(`n${n}`)).end
        expect(presence.view("n0").lastHeartbeat).toBe(0)
        expect(presence.view("n1").lastHeartbeat > 0).toBe(true)
      })
    ))

  test(
    "whoever does not listen for long hears the last word about each agent",
    () =>
      run((presence) =>
        Effect.gen(function* () {
          const got: Array<Change> = []
          let held = true
          yield* Effect.forkScoped(
            Stream.runForEach(presence.changes, (change) =>
              Effect.andThen(
                Effect.sync(() => got.push(change)),
                Effect.suspend(() => Effect.ignore(until("it goes on", () => !held, 15_000)))
              )
            ),
            { startImmediately: true }
          )
          for (let n = 0; n < PresenceMemory.MAX_UNTOLD; n++) {
            const lease = yield* presence.open(`n${n % 100}`)
            if (n % 100 !== 7) yield* lease.end
          }
          yield* presence.open("end")
          held = false
          yield* until("it has caught up", () => got.at(-1)?.agent === "end")
          const last = new Map(got.map((change) => [change.agent, change.online]))
          for (let n = 0; n < 100; n++) expect(last.get(`n${n}`)).toBe(n === 7)
          expect(got.length < PresenceMemory.MAX_UNTOLD + 200).toBe(true)
        })
      ),
    30_000
  )

  test(
    "a hundred thousand leases are kept at little cost",
    () =>
      run((presence) =>
        Effect.gen(function* () {
          const leases: Array<Lease> = []
          for (let n = 0; n < 100_000; n++) leases.push(yield* presence.open(`n${n}`))
          const started = performance.now()
          for (const lease of leases) yield* lease.renew
          expect(performance.now() - started < 10_000).toBe(true)
          expect(presence.online()).toBe(100_000)
        })
      ),
    30_000
  )
})

describe("presence over Redis", () => {
  let server: Redis.Redis | undefined
  beforeAll(async () => {
    if (Redis.unavailable === undefined) server = await Redis.start()
  })
  afterAll(() => server?.stop())

  /** Instances of one law see each other, and nobody of another law. */
  let prefix = ""
  const built = (leaseMs = 2_000) =>
    Effect.map(
      Layer.build(
        Layer.effect(Presence, PresenceRedis.make({ leaseMs })).pipe(
          Layer.provideMerge(RedisLink.layer({ url: server?.url ?? "", prefix }))
        )
      ),
      (context) => ({ presence: Context.get(context, Presence), link: Context.get(context, RedisLink.RedisLink) })
    )
  const redisTest = (name: string, body: () => unknown, timeout?: number): void =>
    skipTest(Redis.unavailable)(
      name,
      () => {
        prefix = `{${randomUUID()}}:`
        return body()
      },
      timeout
    )
  suite(
    { describe, test: redisTest, expect },
    {
      name: "Redis",
      shared: true,
      instance: Effect.map(
        Effect.suspend(() => built()),
        ({ presence }) => presence
      )
    }
  )

  const run = (body: Effect.Effect<void, unknown, Scope.Scope>) => Effect.runPromise(Effect.scoped(body))
  const start = (leaseMs: number, agents: ReadonlyArray<string>) =>
    Effect.acquireRelease(
      Effect.promise(() =>
        Throwaway.start(
          [
            ...command(new URL("presence-instance.ts", import.meta.url).pathname),
            server!.url,
            prefix,
            String(leaseMs),
            ...agents
          ],
          /ready/
        )
      ),
      (running) => Effect.promise(() => running.end("SIGKILL"))
    )
  /** The id of the instance at which an agent has its lease. */
  const holderOf = (link: RedisLink.RedisLink["Service"], agent: string) =>
    link.use((redis) =>
      Effect.gen(function* () {
        for (const id of yield* redis.send<ReadonlyArray<string>>("ZRANGE", `${prefix}presence:instances`, "0", "-1")) {
          if ((yield* redis.send<number>("HEXISTS", `${prefix}presence:at:${id}`, agent)) === 1) return id
        }
        return yield* Effect.die(new Error(`Nobody holds ${agent}`))
      })
    )
  const signs = (changes: ReadonlyArray<Change>, agent: string) =>
    changes.flatMap((change) => (change.agent === agent ? [change.online ? "+" : "-"] : [])).join("")

  redisTest(
    "an instance that is killed loses its agents for all after the lease, told once",
    () =>
      run(
        Effect.gen(function* () {
          const { presence: one } = yield* built(2_000)
          const { presence: two } = yield* built(2_000)
          const changes = yield* heard(one)
          yield* Effect.forkScoped(
            Stream.runForEach(two.changes, (change) => Effect.sync(() => changes.push(change))),
            { startImmediately: true }
          )
          const doomed = yield* start(2_000, ["x", "y", "z"])
          yield* until(
            "all see its agents",
            () => one.online() === 3 && two.online() === 3 && two.view("x").running === 1
          )
          const kept = yield* one.open("y")
          yield* until("both know", () => two.view("y").running === 1)
          const killed = performance.now()
          yield* Effect.promise(() => doomed.end("SIGKILL"))
          yield* until("they have gone for all", () => one.online() === 1 && two.online() === 1)
          expect(performance.now() - killed > 1_000).toBe(true)
          yield* until("it is told", () => signs(changes, "x") === "-" && signs(changes, "z") === "-")
          expect(one.view("y").online && two.view("y").online).toBe(true)
          yield* Effect.sleep(300)
          expect([signs(changes, "x"), signs(changes, "y"), signs(changes, "z")]).toEqual(["-", "", "-"])
          expect(changes.find((change) => change.agent === "x")?.why).toBe("its registry instance has stopped")
          yield* kept.end
          yield* until("the last one is told", () => signs(changes, "y") === "-")
        })
      ),
    30_000
  )

  redisTest(
    "an instance that stood still for long is taken for dead, and comes back by itself",
    () =>
      run(
        Effect.gen(function* () {
          const { presence } = yield* built(1_500)
          const changes = yield* heard(presence)
          const frozen = yield* start(1_500, ["x"])
          yield* until("it is seen", () => presence.view("x").online)
          process.kill(frozen.pid, "SIGSTOP")
          yield* until("it has gone", () => !presence.view("x").online && signs(changes, "x") === "-")
          process.kill(frozen.pid, "SIGCONT")
          yield* until("it is back", () => presence.view("x").online)
        })
      ),
    30_000
  )

  redisTest(
    "an instance that was taken for dead by mistake says again what it holds, and it is told",
    () =>
      run(
        Effect.gen(function* () {
          const one = yield* built(2_000)
          const two = yield* built(2_000)
          const changes = yield* heard(one.presence)
          yield* Effect.forkScoped(
            Stream.runForEach(two.presence.changes, (change) => Effect.sync(() => changes.push(change))),
            { startImmediately: true }
          )
          yield* one.presence.open("a")
          yield* until("the other sees it", () => two.presence.view("a").online)
          // As after a long pause of the one that holds it.
          const id = yield* holderOf(one.link, "a")
          // It may say just then that it lives: then it was no mistake, and is made again.
          let tries = 0
          while (!signs(changes, "a").startsWith("+-") && tries < 20) {
            yield* one.link.use((redis) => redis.send("ZADD", `${prefix}presence:instances`, "0", id))
            yield* two.presence.open(`b${tries++}`)
            yield* Effect.ignore(
              Effect.timeout(
                until("it went", () => signs(changes, "a").startsWith("+-")),
                400
              )
            )
          }
          yield* until("it is told that it went, and is there", () => signs(changes, "a") === "+-+")
          yield* until("all see it", () => two.presence.view("a").online && one.presence.online() === 1 + tries)
        })
      ),
    30_000
  )

  redisTest(
    "an instance that has missed a message reads anew what the other holds",
    () =>
      run(
        Effect.gen(function* () {
          const one = yield* built()
          const two = yield* built()
          const lease = yield* one.presence.open("a")
          yield* until("the other sees it", () => two.presence.view("a").online)
          const id = yield* holderOf(one.link, "a")
          const later = JSON.stringify({ i: id, s: 999_999, a: [["ghost", 1, 0]] })
          yield* one.link.use((redis) => redis.send("PUBLISH", `${prefix}presence:news`, later))
          yield* lease.taskStarted("t")
          yield* until("the other sees its load", () => two.presence.view("a").running === 1)
          expect(two.presence.view("ghost").online).toBe(false)
          yield* lease.end
          yield* until("the other sees it go", () => !two.presence.view("a").online)
        })
      ),
    30_000
  )

  redisTest(
    "an instance that stops in good order hands over at once",
    () =>
      run(
        Effect.gen(function* () {
          const { presence } = yield* built(30_000)
          const changes = yield* heard(presence)
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { presence: other } = yield* built(30_000)
              yield* other.open("x")
              yield* until("it is seen", () => presence.view("x").online)
            })
          )
          yield* until("it has gone", () => !presence.view("x").online && signs(changes, "x") === "-")
        })
      ),
    30_000
  )

  redisTest(
    "who is seen again elsewhere after Redis was away for long is news to the instance that sees it, and to nobody else",
    () =>
      run(
        Effect.gen(function* () {
          const one = yield* built(1_500)
          const two = yield* built(1_500)
          const changes = yield* heard(one.presence)
          const seen: Array<string> = []
          yield* Effect.forkScoped(
            Stream.runForEach(two.presence.seen!, ({ agent }) => Effect.sync(() => seen.push(agent))),
            { startImmediately: true }
          )
          const lease = yield* one.presence.open("a", 60_000)
          yield* until("it is seen", () => seen.length === 1 && two.presence.view("a").online)
          yield* Effect.promise(() => server!.kill())
          yield* until("it is not believed any longer", () => !two.presence.view("a").online)
          expect(one.presence.view("a").online).toBe(true)
          yield* Effect.promise(() => server!.begin())
          yield* until("it is seen again", () => two.presence.view("a").online, 10_000)
          yield* until("that is told", () => seen.length === 2)
          expect([seen, signs(changes, "a")]).toEqual([["a", "a"], "+"])
          yield* lease.end
        })
      ),
    30_000
  )

  redisTest(
    "Redis goes and comes back empty: nobody is away for that, and nothing is told twice",
    () =>
      run(
        Effect.gen(function* () {
          const one = yield* built(3_000)
          const two = yield* built(3_000)
          const changes = yield* heard(one.presence)
          yield* Effect.forkScoped(
            Stream.runForEach(two.presence.changes, (change) => Effect.sync(() => changes.push(change))),
            { startImmediately: true }
          )
          const a = yield* one.presence.open("a")
          const b = yield* two.presence.open("b")
          yield* until("both see both", () => one.presence.online() === 2 && two.presence.online() === 2)
          yield* until("it is told", () => changes.length === 2)
          yield* Effect.promise(() => server!.kill())
          yield* until("it is noticed", () => !one.link.state().isUp && !two.link.state().isUp)
          // Alone: its own agents come and go as ever, those of the other are believed in for a while.
          const c = yield* one.presence.open("c")
          yield* until("it is told alone", () => signs(changes, "c") === "+")
          yield* b.end
          yield* until("the going of b is told alone", () => signs(changes, "b") === "+-")
          expect(one.presence.view("b").online).toBe(true)
          yield* Effect.promise(() => server!.begin())
          yield* until("all is known again", () =>
            [one, two].every(({ presence }) => presence.online() === 2 && presence.view("c").online)
          )
          yield* Effect.sleep(200)
          expect(["a", "b", "c"].map((agent) => signs(changes, agent))).toEqual(["+", "+-", "+"])
          yield* a.end
          yield* c.end
          yield* until("all have gone", () => one.presence.online() === 0 && two.presence.online() === 0)
          yield* until("it is told", () => signs(changes, "a") === "+-" && signs(changes, "c") === "+-")
        })
      ),
    30_000
  )

  redisTest(
    "what two instances tell adds up to what is there, whatever agents do",
    () => {
      const random = seeded(7)
      return run(
        Effect.gen(function* () {
          const instances = [yield* built(), yield* built()]
          const online = new Map<string, number>()
          for (const { presence } of instances) {
            yield* Effect.forkScoped(
              Stream.runForEach(presence.changes, ({ agent, online: came }) =>
                Effect.sync(() => online.set(agent, (online.get(agent) ?? 0) + (came ? 1 : -1)))
              ),
              { startImmediately: true }
            )
          }
          const agents = Array.from({ length: 12 }, (_, n) => `n${n}`)
          const held: Array<Lease> = []
          for (let step = 0; step < 800; step++) {
            if (random.int(2) === 0 || held.length === 0) {
              held.push(yield* instances[random.int(2)]!.presence.open(random.pick(agents)))
            } else yield* held.splice(random.int(held.length), 1)[0]!.end
            if (random.int(8) === 0) yield* Effect.sleep(random.int(12))
          }
          const there = new Set(held.map((lease) => lease.agent))
          yield* until(`all is settled (repeat it with PARLEY_SEED=${random.seed})`, () =>
            agents.every(
              (agent) =>
                (online.get(agent) ?? 0) === (there.has(agent) ? 1 : 0) &&
                instances.every(({ presence }) => presence.view(agent).online === there.has(agent))
            )
          )
        })
      )
    },
    30_000
  )
})
