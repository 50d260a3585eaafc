import { afterAll, beforeAll, describe, expect } from "bun:test"
import type { ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Redis from "../../../test-support/Redis.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { ask, type Instance, startInstance } from "./instances.ts"
import { type Client, open, until, within } from "./live.ts"

const onRedis = skipTest(Redis.unavailable)

describe("two instances over one file and one Redis", () => {
  const folder = mkdtempSync(join(tmpdir(), "parley-instances-"))
  const children: Array<ChildProcess> = []
  let server: Redis.Redis | undefined
  let one: Instance
  let two: Instance

  const start = async (): Promise<Instance> => {
    const instance = await startInstance({ PARLEY_FILE: join(folder, "registry.db"), REDIS_URL: server?.url ?? "" })
    children.push(instance.child)
    return instance
  }
  const post = (at: string, path: string, body: object) => ask(at, path, "POST", body)
  const get = async (at: string, path: string) => (await ask(at, path)).body
  const register = (at: string, id: string) =>
    post(at, "/agents/register", { agent_id: id, name: id, endpoint: "ws://localhost:1", capabilities: [] })
  const trace = (at: string, n: number) =>
    post(at, "/traces", { task_id: `t${n}`, event_type: "completed", from_agent: "x", to_agent: "y" })
  const typesOf = (client: Client) => client.got.map((frame) => JSON.parse(frame).type)

  beforeAll(async () => {
    if (Redis.unavailable !== undefined) return
    server = await Redis.start()
    one = await start()
    two = await start()
  })
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL")
    await server?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  onRedis(
    "what an agent does at one is seen at the other",
    async () => {
      expect((await get(one.at, "/health")).parts.redis).toBe("joined")
      const events = await open(`${two.at}/ws/events?cursor=0`)
      expect((await register(one.at, "x")).status).toBe(200)
      const beating = await open(`${one.at}/ws/heartbeat/x`)
      beating.send({ type: "task_start", task_id: "t" })
      await until("the other instance tells of it", () => typesOf(events).includes("task.started"))
      expect(typesOf(events)[0]).toBe("agent.registered")
      expect((await get(two.at, "/agents/x")).status).toBe("healthy")
      expect((await register(two.at, "x")).status).toBe(409)
      beating.close()
      await until("its going is told", () =>
        events.got.some((frame) => {
          const { data, type } = JSON.parse(frame)
          return type === "status.changed" && data.status === "offline"
        })
      )
      expect((await get(two.at, "/agents/x")).status).toBe("offline")
      events.close()
    },
    30_000
  )

  onRedis(
    "one is killed under load: what was acknowledged reaches a subscriber that goes to the other, once and in order",
    async () => {
      const { cursor: from } = (await get(two.at, "/health")).parts
      const acknowledged: Array<string> = []
      let client = await open(`${one.at}/ws/events?cursor=${from}&types=trace`)
      const seen: Array<{ readonly cursor: number; readonly data: { readonly trace_id: string } }> = []
      const load = async (first: number, count: number): Promise<void> => {
        for (let n = first; n < first + count; n++) {
          const at = n % 2 === 0 ? one.at : two.at
          const answer = await trace(at, n).catch(() => undefined)
          if (answer?.status === 201) acknowledged.push(answer.body.trace_id)
          if (n === 100) one.child.kill("SIGKILL")
        }
      }
      const loads = [load(0, 200), load(1_000, 200)]
      await within("the connection to break", client.closed, 20_000)
      seen.push(...client.got.map((frame) => JSON.parse(frame)))
      client = await open(`${two.at}/ws/events?cursor=${seen.at(-1)?.cursor ?? from}&types=trace`)
      await Promise.all(loads)
      const all = () => [...seen, ...client.got.map((frame) => JSON.parse(frame))]
      await until("all that was acknowledged has come", () => {
        const ids = new Set(all().map((event) => event.data.trace_id))
        return acknowledged.every((id) => ids.has(id))
      })
      const cursors = all().map((event) => event.cursor)
      expect(cursors).toEqual([...new Set(cursors)].toSorted((a, b) => a - b))
      expect(acknowledged.length > 250).toBe(true)
      client.close()
    },
    30_000
  )

  onRedis(
    "without Redis the one that is left goes on, says so, and shares again when it is back",
    async () => {
      await server!.kill()
      const health = async (redis: string): Promise<void> => {
        for (let n = 0; n < 500; n++) {
          if ((await get(two.at, "/health")).parts.redis === redis) return
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
        throw new Error(`Waited in vain until health says ${redis}`)
      }
      await health("cut off")
      expect((await register(two.at, "z")).status).toBe(200)
      const beating = await open(`${two.at}/ws/heartbeat/z`)
      beating.send({ type: "heartbeat" })
      expect(await beating.next()).toBe('{"type":"heartbeat_ack"}')
      await server!.begin()
      await health("joined")
      one = await start()
      for (let n = 0; (await get(one.at, "/agents/z")).status !== "healthy"; n++) {
        if (n > 200) throw new Error("the new instance does not see z")
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      beating.close()
    },
    30_000
  )
})
