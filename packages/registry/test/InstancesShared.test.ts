/**
 * Two real processes over one real PostgreSQL and one real Redis: what one knows the other knows, what counts once counts once over
 * both, and when one of the four is killed the others go on.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import * as Postgres from "../../../test-support/Postgres.ts"
import * as Redis from "../../../test-support/Redis.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { ask, eventually, type Instance, proofFor, startInstance } from "./instances.ts"
import { open, until } from "./live.ts"

const absent = Postgres.unavailable ?? Redis.unavailable
const law = skipTest(absent)
/** A killed instance's leases last 30 s; to wait for their end is for long runs (`PARLEY_LONG=1`). */
const isLong = process.env["PARLEY_LONG"] === "1" && absent === undefined
const REPORTS = 500

describe("two instances over one PostgreSQL and one Redis", () => {
  const children: Array<Instance["child"]> = []
  let postgres: Postgres.Postgres
  let redis: Redis.Redis
  let database = ""
  let one: Instance
  let two: Instance

  const start = async (): Promise<Instance> => {
    const instance = await startInstance({ DATABASE_URL: database, REDIS_URL: redis.url })
    children.push(instance.child)
    return instance
  }
  const both = () => [one.at, two.at]
  const register = (at: string, id: string) =>
    ask(at, "/agents/register", "POST", {
      ...{ agent_id: id, name: id, endpoint: "ws://localhost:1" },
      capabilities: [{ name: `can-${id}`, description: "a test" }]
    })
  const health = async (at: string) => (await ask(at, "/health")).body.parts
  const agent = async (at: string, id: string) => (await ask(at, `/agents/${id}`)).body
  const report = (at: string, agent_id: string, task_id: string, token?: string) =>
    ask(at, "/trust/reports", "POST", { agent_id, capability: "x", task_id, success: true, quality: 0.9 }, token)
  const tokenOf = async (identity: Identity.Identity["Service"], made: string, proven: string) => {
    const { challenge } = (await ask(made, "/auth/challenge", "POST", { node: identity.nodeId })).body
    return ask(proven, "/auth/proof", "POST", proofFor(identity, proven, challenge))
  }
  /** Both have taken in all that is committed. */
  const level = () =>
    eventually("both stand at the same event", async () => {
      const [first, second] = await Promise.all(both().map(health))
      const last = Number(await postgres.sql(database, "SELECT cursor FROM parley_log"))
      return first.cursor === last && second.cursor === last
    })
  const sameAtBoth = async (path: string) => {
    const [first, second] = await Promise.all(both().map((at) => ask(at, path)))
    expect(first!.status).toBe(200)
    expect(second!.body).toEqual(first!.body)
    return first!.body
  }

  beforeAll(async () => {
    if (absent !== undefined) return
    ;[postgres, redis] = await Promise.all([Postgres.start(), Redis.start()])
    database = await postgres.database()
    ;[one, two] = await Promise.all([start(), start()])
  }, 60_000)
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL")
    if (absent === undefined) await Promise.all([postgres.stop(), redis.stop()])
  }, 30_000)

  law("start together on an empty database, and are one registry", async () => {
    const [first, second] = await Promise.all(both().map(health))
    expect([first.store, first.redis, second.store, second.redis]).toEqual(["postgres", "joined", "postgres", "joined"])
    expect(first.registry).toBe(second.registry)
    const sql = "SELECT count(*), count(DISTINCT name), max(id) FROM parley_migrations"
    const [all, distinct, last] = (await postgres.sql(database, sql)).trim().split("|")
    expect([all, distinct]).toEqual([last, last])
  })

  law(
    "who registers at one is found through the other at once, and is online at both",
    async () => {
      let slowest = 0
      for (let n = 0; n < 10; n++) {
        const [here, there] = n % 2 === 0 ? both() : both().toReversed()
        expect((await register(here!, `a${n}`)).status).toBe(200)
        const found = async () => {
          const { body } = await ask(there!, "/discover", "POST", { capability_name: `can-a${n}` })
          return body.agents[0]?.manifest.agent_id === `a${n}`
        }
        slowest = Math.max(slowest, await eventually("it is found", found))
      }
      expect(slowest).toBeLessThan(5_000)
      const beating = await open(`${one.at}/ws/heartbeat/a0`)
      beating.send({ type: "heartbeat" })
      expect(await beating.next()).toBe('{"type":"heartbeat_ack"}')
      expect((await agent(two.at, "a0")).status).toBe("healthy")
      expect((await register(two.at, "a0")).status).toBe(409)
      beating.close()
      await eventually("its going is seen", async () => (await agent(two.at, "a0")).status === "offline")
      expect((await register(two.at, "a0")).status).toBe(200)
    },
    30_000
  )

  law("a challenge of one is answered at the other, once over both; the token counts at both", async () => {
    const identity = Identity.generate()
    const { challenge } = (await ask(one.at, "/auth/challenge", "POST", { node: identity.nodeId })).body
    const prove = (at: string) => ask(at, "/auth/proof", "POST", proofFor(identity, at, challenge))
    const proofs = await Promise.all([prove(one.at), prove(two.at), prove(two.at), prove(one.at)])
    expect(proofs.map(({ status }) => status).toSorted()).toEqual([200, 401, 401, 401])
    const crossed = await tokenOf(identity, two.at, one.at)
    expect(crossed.status).toBe(200)
    const token = crossed.body.access_token
    for (const at of both()) {
      expect((await ask(at, "/traces", "GET", undefined, token)).status).toBe(200)
      expect((await ask(at, "/traces", "GET", undefined, `${token.slice(0, -8)}AAAAAAAA`)).status).toBe(401)
    }
    await sameAtBoth("/.well-known/jwks.json")
  })

  law("the same review that is sent to both at once counts once", async () => {
    expect((await register(one.at, "reviewed")).status).toBe(200)
    const token = (await tokenOf(Identity.generate(), one.at, two.at)).body.access_token
    for (let n = 0; n < 20; n++) {
      const answers = await Promise.all(both().map((at) => report(at, "reviewed", `once-${n}`, token)))
      expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409])
    }
    await level()
    for (const at of both()) expect((await agent(at, "reviewed")).tasks_completed).toBe(20)
  })

  law(
    "500 reports at once, half to each, are all counted at both, in one chain",
    async () => {
      const { seq: before } = await sameAtBoth("/chain/head")
      expect((await register(two.at, "busy")).status).toBe(200)
      const sent = Array.from({ length: REPORTS }, (_, n) => report(both()[n % 2]!, "busy", `busy-${n}`))
      const answers = await Promise.all(sent)
      expect(answers.filter(({ status }) => status !== 200)).toEqual([])
      await level()
      for (const at of both()) expect((await agent(at, "busy")).tasks_completed).toBe(REPORTS)
      const [first, second] = await Promise.all(both().map((at) => agent(at, "busy")))
      expect(Math.abs(first.trust_score - second.trust_score)).toBeLessThan(1e-6)
      expect((await sameAtBoth("/chain/head")).seq).toBe(before + REPORTS)
      const links = await sameAtBoth(`/chain?from=${before + 1}&limit=1000`)
      expect(links.map(({ seq }: { readonly seq: number }) => seq)).toEqual(answers.map((_, n) => before + n + 1))
      // An instance that begins now, with what is stored alone, comes to the same.
      const three = await start()
      const third = await agent(three.at, "busy")
      expect([third.tasks_completed, Math.abs(third.trust_score - first.trust_score) < 1e-6]).toEqual([REPORTS, true])
      three.child.kill("SIGTERM")
    },
    30_000
  )

  law("both tell the same events in the same order, without a gap", async () => {
    await level()
    const { cursor: last } = await health(one.at)
    const followed = await Promise.all(
      both().map(async (at) => {
        const client = await open(`${at}/ws/events?cursor=0`)
        await until(`${last} events are told`, () => JSON.parse(client.got.at(-1) ?? "{}").cursor >= last, 10_000)
        client.close()
        return client.got.slice(0, last)
      })
    )
    expect(followed[0]!.map((frame) => JSON.parse(frame).cursor)).toEqual(Array.from({ length: last }, (_, n) => n + 1))
    expect(followed[1]).toEqual(followed[0]!)
  })

  law("what one remembers of a session the other remembers", async () => {
    const put = (at: string, key: string, body: object) => ask(at, `/memory/shared/${key}`, "PUT", body)
    expect((await put(one.at, "a", { value: { n: 1 } })).status).toBe(200)
    expect((await ask(two.at, "/memory/shared/a")).body.value).toEqual({ n: 1 })
    expect((await put(two.at, "brief", { value: 2, ttl_ms: 300 })).status).toBe(200)
    expect((await sameAtBoth("/memory/shared")).keys.toSorted()).toEqual(["a", "brief"])
    await eventually("it has ended", async () => (await ask(one.at, "/memory/shared/brief")).status === 404)
    expect((await sameAtBoth("/memory")).sessions).toEqual(["shared"])
    expect((await ask(two.at, "/memory/shared", "DELETE")).status).toBe(200)
    expect((await sameAtBoth("/memory/shared")).keys).toEqual([])
  })

  law("what is too much is counted over both", async () => {
    // 200 tokens of one address may be none, and ten more a second.
    const began = performance.now()
    const tries = Array.from({ length: 300 }, (_, n) => ask(both()[n % 2]!, "/stats", "GET", undefined, `none-${n}`))
    const answers = await Promise.all(tries)
    const refused = answers.filter(({ status }) => status === 429).length
    const seconds = (performance.now() - began) / 1_000
    expect([refused <= 100, refused >= 90 - 10 * Math.ceil(seconds)]).toEqual([true, true])
  })

  law(
    "one is killed under load: nothing acknowledged is lost, clients and listeners go on at the other",
    async () => {
      await level()
      const { cursor: from } = await health(two.at)
      for (const id of ["left", "stays"]) expect((await register(one.at, id)).status).toBe(200)
      const beating = await open(`${one.at}/ws/heartbeat/left`)
      beating.send({ type: "heartbeat" })
      await beating.next()
      const acknowledged: Array<string> = []
      let target = one.at
      const load = async (me: number): Promise<void> => {
        for (let n = 0; n < 60; n++) {
          const task = `kill-${me}-${n}`
          const answer = await report(target, "stays", task).catch(() => undefined)
          if (answer?.status === 200) acknowledged.push(task)
          else target = two.at
          if (me === 0 && n === 20) one.child.kill("SIGKILL")
        }
      }
      let listener = await open(`${one.at}/ws/events?cursor=${from}`)
      const told: Array<{ readonly cursor: number; readonly data: { readonly task_id?: string } }> = []
      const loads = Array.from({ length: 8 }, (_, me) => load(me))
      await listener.closed
      told.push(...listener.got.map((frame) => JSON.parse(frame)))
      listener = await open(`${two.at}/ws/events?cursor=${told.at(-1)?.cursor ?? from}`)
      await Promise.all(loads)
      const { cursor: last } = await health(two.at)
      await until("all is told", () => JSON.parse(listener.got.at(-1) ?? "{}").cursor >= last)
      told.push(...listener.got.map((frame) => JSON.parse(frame)))
      listener.close()
      expect(told.map(({ cursor }) => cursor)).toEqual(told.map((_, n) => from + n + 1))
      const tasks = new Set(told.map(({ data }) => data.task_id))
      expect(acknowledged.filter((task) => !tasks.has(task))).toEqual([])
      expect(acknowledged.length).toBeGreaterThan(400)
      const { tasks_completed } = await agent(two.at, "stays")
      expect([tasks_completed >= acknowledged.length, tasks_completed <= acknowledged.length + 8]).toEqual([true, true])
    },
    30_000
  )

  if (isLong) {
    test("agents of the one that was killed are offline when their leases have ended", async () => {
      expect((await agent(two.at, "left")).status).toBe("healthy")
      const offline = async () => (await agent(two.at, "left")).status === "offline"
      expect(await eventually("its lease has ended", offline, 45_000)).toBeLessThan(40_000)
    }, 60_000)
  }

  law(
    "PostgreSQL goes away: writes are 503, reads go on; it comes back, and so does everything",
    async () => {
      one = await start()
      await level()
      const before = (await agent(two.at, "stays")).tasks_completed
      await postgres.end("SIGQUIT")
      for (const at of both()) {
        const answer = await report(at, "stays", "away")
        expect([answer.status, answer.type.includes("application/problem+json")]).toEqual([503, true])
        expect(answer.body.detail).toContain("nothing was done")
        expect((await ask(at, "/health")).status).toBe(503)
        expect((await agent(at, "stays")).tasks_completed).toBe(before)
        expect((await ask(at, `/chain?from=1`)).status).toBe(503)
      }
      await postgres.begin()
      for (const at of both()) await eventually("it is ready", async () => (await ask(at, "/health")).status === 200)
      for (const at of both()) expect((await report(at, "stays", `back at ${at}`)).status).toBe(200)
      await level()
      for (const at of both()) expect((await agent(at, "stays")).tasks_completed).toBe(before + 2)
    },
    40_000
  )

  law(
    "PostgreSQL is killed under load: what was acknowledged is counted once at both, and what was not is in no doubt",
    async () => {
      expect((await register(one.at, "torn")).status).toBe(200)
      const { seq: before } = await sameAtBoth("/chain/head")
      let acknowledged = 0
      const state = { isOver: false }
      const statuses = new Set<number>()
      const load = async (me: number): Promise<void> => {
        for (let n = 0; !state.isOver; n++) {
          const { status } = await report(both()[me % 2]!, "torn", `torn-${me}-${n}`)
          statuses.add(status)
          if (status === 200) acknowledged++
        }
      }
      const loads = Array.from({ length: 8 }, (_, me) => load(me))
      for (let round = 0; round < 2; round++) {
        const enough = acknowledged + 100
        await until("enough is acknowledged", () => acknowledged >= enough, 10_000)
        await postgres.end("SIGQUIT")
        await postgres.begin()
      }
      for (const at of both()) await eventually("it is ready", async () => (await ask(at, "/health")).status === 200)
      state.isOver = true
      await Promise.all(loads)
      expect([...statuses].filter((status) => status !== 200 && status !== 503)).toEqual([])
      await level()
      for (const at of both()) expect((await agent(at, "torn")).tasks_completed).toBe(acknowledged)
      expect((await sameAtBoth("/chain/head")).seq).toBe(before + acknowledged)
      const [first, second] = await Promise.all(both().map((at) => agent(at, "torn")))
      expect(Math.abs(first.trust_score - second.trust_score)).toBeLessThan(1e-6)
    },
    40_000
  )

  law(
    "Redis goes away: each goes on alone and still hears of the other's commits; it comes back, and they share again",
    async () => {
      await redis.kill()
      for (const at of both()) await eventually("it is cut off", async () => (await health(at)).redis === "cut off")
      expect((await register(one.at, "alone")).status).toBe(200)
      const known = async () => (await ask(two.at, "/agents/alone")).status === 200
      expect(await eventually("it is known", known)).toBeLessThan(8_000)
      expect((await ask(one.at, "/memory/shared/x", "PUT", { value: 1 })).status).toBe(503)
      await redis.begin()
      for (const at of both()) await eventually("it is joined", async () => (await health(at)).redis === "joined")
      const beating = await open(`${one.at}/ws/heartbeat/alone`)
      beating.send({ type: "heartbeat" })
      await eventually("it is online", async () => (await agent(two.at, "alone")).status === "healthy")
      expect((await ask(one.at, "/memory/shared/x", "PUT", { value: 1 })).status).toBe(200)
      expect((await ask(two.at, "/memory/shared/x")).body.value).toBe(1)
      beating.close()
    },
    40_000
  )

  if (isLong) {
    test("Redis is away for longer than a lease: who was not found meanwhile is found again", async () => {
      expect((await register(one.at, "away")).status).toBe(200)
      const beating = await open(`${one.at}/ws/heartbeat/away`)
      const found = async (at: string) => {
        beating.send({ type: "heartbeat" })
        await new Promise((resolve) => setTimeout(resolve, 100))
        return (await ask(at, "/discover", "POST", { capability_name: "can-away" })).body.agents.length === 1
      }
      await eventually("it is found", () => found(two.at))
      await redis.kill()
      await eventually("it is not found", async () => !(await found(two.at)), 60_000)
      expect(await found(one.at)).toBe(true)
      await redis.begin()
      await eventually("it is found again", () => found(two.at))
      beating.close()
    }, 90_000)
  }
})
