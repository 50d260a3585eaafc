import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { get, type IncomingMessage } from "node:http"
import * as Effect from "effect/Effect"
import { seeded } from "@parley/core/testing/Seeded"
import type { Fact } from "@parley/registry/Event"
import { type Client, live, type Live, open, trace, until, within } from "./live.ts"

const cursorOf = (frame: string): number => JSON.parse(frame).cursor
const started = (id: string, n: number): Fact => ({ type: "task.started", id, task: `t${n}` })
const facts = (count: number, from = 0): Array<Fact> => Array.from({ length: count }, (_, n) => trace(from + n))
const range = (from: number, to: number): Array<number> => Array.from({ length: to - from + 1 }, (_, n) => from + n)
const take = async (client: Client, count: number): Promise<ReadonlyArray<string>> => {
  await until(`${count} frames are there`, () => client.got.length >= count)
  return client.got.slice(0, count)
}

/** An event stream over SSE, read until `close`. */
const sse = (url: string, headers: { readonly [name: string]: string } = {}) =>
  new Promise<{ readonly text: () => string; readonly response: IncomingMessage; readonly close: () => void }>(
    (resolve, reject) => {
      const request = get(`http://${url}`, { headers }, (response) => {
        let text = ""
        response.setEncoding("utf8")
        response.on("data", (chunk: string) => {
          text += chunk
        })
        response.on("error", () => undefined)
        resolve({ text: () => text, response, close: () => request.destroy() })
      })
      request.on("error", reject)
    }
  )
const idsIn = (text: string): Array<number> => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))

describe("the stream of events", () => {
  let world: Live
  beforeAll(async () => {
    world = await live({ ringEvents: 50, sockets: { times: { closeMs: 200 } } })
    await world.commit(facts(600))
  })
  afterAll(() => world.close())

  test("gives what came after a cursor from the store, then what comes, in order and once", async () => {
    const client = await open(`${world.url}/ws/events?cursor=0`)
    await take(client, 600)
    const from = world.events.last()
    const committed = await world.commit(facts(20, 600))
    // What is told again, by a ledger that follows others, is passed over.
    world.events.publish(committed)
    world.events.publish(committed.slice(-1))
    await world.commit(facts(1, 620))
    const got = await take(client, 621)
    expect(client.got.map(cursorOf)).toEqual(range(1, from + 21))
    const first = JSON.parse(got[0]!)
    expect(Object.keys(first)).toEqual(["cursor", "at", "type", "data"])
    expect([first.type, first.data.trace_id]).toEqual(["trace", "trace-0"])
    client.close()
  })

  test("gives only what comes to whoever names no cursor", async () => {
    const client = await open(`${world.url}/ws/events`)
    await until("it listens", () => world.events.counts().waiting === 1)
    await world.commit([started("a", 1)])
    expect(JSON.parse(await client.next())).toMatchObject({
      cursor: world.events.last(),
      type: "task.started",
      data: { agent_id: "a", task_id: "t1" }
    })
    client.close()
    await until("nobody waits", () => world.events.counts().waiting === 0)
  })

  test("chooses by type and by agent, from the store as from the ring", async () => {
    const from = world.events.last()
    const mixed = Array.from({ length: 120 }, (_, n) => (n % 3 === 0 ? started(n % 2 === 0 ? "a" : "z", n) : trace(n)))
    await world.commit(mixed)
    const wanted = mixed.flatMap((fact, n) => (fact.type === "task.started" && fact.id === "z" ? [from + 1 + n] : []))
    for (const at of [from, world.events.last() - 45]) {
      const client = await open(`${world.url}/ws/events?cursor=${at}&types=task.started,task.ended&agent=z`)
      const expected = wanted.filter((cursor) => cursor > at)
      expect((await take(client, expected.length)).map(cursorOf)).toEqual(expected)
      client.close()
    }
  })

  test("refuses what makes no sense with 422", async () => {
    for (const query of [
      "cursor=-1",
      "cursor=x",
      "cursor=1e3",
      "types=nonsense",
      "types=gap",
      `agent=${"x".repeat(129)}`
    ]) {
      await expect(open(`${world.url}/ws/events?${query}`)).rejects.toThrow("HTTP 422")
      const response = await fetch(`http://${world.url}/events?${query}`)
      expect(response.status).toBe(422)
      await response.body?.cancel()
    }
  })

  test("tells of a gap where retention took what was asked for, and goes on behind it", async () => {
    const last = world.events.last()
    await Effect.runPromise(world.store.trim({ traces: Date.now() + 1_000, events: Date.now() + 1_000 }))
    await world.commit(facts(60))
    const client = await open(`${world.url}/ws/events?cursor=3`)
    const got = (await take(client, 61)).map((frame) => JSON.parse(frame))
    expect(got[0].type).toBe("gap")
    expect(got[0].data).toEqual({ from: 3, to: got[0].cursor })
    expect(got[0].cursor <= last).toBe(true)
    expect(got.slice(1).map((event) => event.cursor)).toEqual(range(got[0].cursor + 1, got[0].cursor + 60))
    client.close()
  })

  test("tells whoever was away during a flood of the largest traces of one gap, and of all that is kept", async () => {
    const flooded = await live({ ringEvents: 10, budget: { events: 1_048_576, traces: 1_048_576 } })
    try {
      await flooded.commit(facts(5))
      const before = await open(`${flooded.url}/ws/events?cursor=2`)
      expect((await take(before, 3)).map(cursorOf)).toEqual(range(3, 5))
      before.close()
      for (let n = 0; n < 10; n++) {
        await flooded.commit(Array.from({ length: 4 }, (_, at) => trace(n * 4 + at, "a", { text: "f".repeat(65_000) })))
      }
      const { first } = await Effect.runPromise(flooded.store.bounds)
      const client = await open(`${flooded.url}/ws/events?cursor=5`)
      const got = (await take(client, 47 - first)).map((frame) => JSON.parse(frame))
      expect([got[0].type, got[0].data]).toEqual(["gap", { from: 5, to: first - 1 }])
      expect(got.slice(1).map(({ cursor }) => cursor)).toEqual(range(first, 45))
      expect(45 - first > 12).toBe(true)
      client.close()
    } finally {
      await flooded.close()
    }
  })

  test("tells whoever brings the cursor of another database that it means nothing here", async () => {
    const client = await open(`${world.url}/ws/events?cursor=999999999`)
    expect(JSON.parse(await client.next())).toMatchObject({
      type: "gap",
      cursor: world.events.last(),
      data: { from: 999_999_999, to: world.events.last() }
    })
    client.close()
  })

  test("keeps a subscriber that leaves and comes back at random times without gap or repeat", async () => {
    const random = seeded(4)
    const from = world.events.last()
    const seen: Array<number> = []
    let committed = from
    let client: Client | undefined
    const drop = (): void => {
      if (client === undefined) return
      // What has arrived counts; what was on its way is asked for again.
      for (const frame of client.got) seen.push(cursorOf(frame))
      client.got.length = 0
      client.ws.removeAllListeners("message")
      client.ws.terminate()
      client = undefined
    }
    try {
      for (let step = 0; step < 120; step++) {
        const choice = random.int(4)
        if (choice === 0) drop()
        else if (choice === 1 && client === undefined) {
          client = await open(`${world.url}/ws/events?cursor=${seen.at(-1) ?? from}`)
        } else {
          const count = 1 + random.int(random.int(10) === 0 ? 120 : 8)
          await world.commit(facts(count, committed))
          committed += count
          if (random.int(2) === 0) await new Promise((resolve) => setImmediate(resolve))
        }
      }
      drop()
      client = await open(`${world.url}/ws/events?cursor=${seen.at(-1) ?? from}`)
      const missing = committed - (seen.at(-1) ?? from)
      await take(client, missing)
      drop()
      expect(seen).toEqual(range(from + 1, committed))
    } catch (cause) {
      throw new Error(`Repeat it with PARLEY_SEED=${random.seed}`, { cause })
    }
  })

  test("speaks server-sent events: id, data, retry, and Last-Event-ID", async () => {
    const last = world.events.last()
    const first = await sse(`${world.url}/events?cursor=${last - 3}`)
    expect(first.response.headers["content-type"]).toBe("text/event-stream")
    await until("three have come", () => idsIn(first.text()).length === 3)
    expect(first.text().startsWith("retry: 2000\n\n")).toBe(true)
    await world.commit(facts(2))
    await until("five have come", () => idsIn(first.text()).length === 5)
    expect(idsIn(first.text())).toEqual(range(last - 2, last + 2))
    const data = [...first.text().matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json!).cursor)
    expect(data).toEqual(range(last - 2, last + 2))
    first.close()
    const again = await sse(`${world.url}/events?cursor=1`, { "last-event-id": String(last) })
    await until("two have come", () => idsIn(again.text()).length === 2)
    expect(idsIn(again.text())).toEqual([last + 1, last + 2])
    again.close()
    await until("all places are free", () => world.sockets.open() === 0)
  })

  test("shows AgentMesh's dashboards bare traces and nothing else, whatever they send", async () => {
    const client = await open(`${world.url}/ws/dashboard`)
    await until("it listens", () => world.events.counts().waiting === 1)
    for (const frame of ["hello", "{", '{"type":"auth"}']) client.send(frame)
    client.ws.send(Uint8Array.of(1, 2))
    await world.commit([started("a", 1), trace(7)])
    expect(Object.keys(JSON.parse(await client.next())).toSorted()).toEqual(
      ["trace_id", "task_id", "event_type", "from_agent", "to_agent", "payload", "timestamp"].toSorted()
    )
    expect(client.got.length).toBe(1)
    client.close()
  })

  test("closes a listener that floods, or sends a frame that is too large", async () => {
    const flood = await open(`${world.url}/ws/events`)
    for (let n = 0; n < 200; n++) flood.send("x")
    expect((await flood.closed).code).toBe(1008)
    const large = await open(`${world.url}/ws/dashboard`)
    large.send("x".repeat(20_000))
    expect((await large.closed).code).toBe(1009)
  })
})

describe("slow readers, and many", () => {
  test("a client that never reads is closed, costs no memory, and nobody waits for it", async () => {
    const world = await live({ ringEvents: 100, sockets: { times: { stallMs: 2_000, closeMs: 200 } } })
    try {
      const stuck = await open(`${world.url}/ws/events?cursor=0`)
      stuck.ws.pause()
      const other = await open(`${world.url}/ws/events?cursor=0`)
      const big = { text: "x".repeat(30_000) }
      for (let n = 0; n < 40; n++) await world.commit(Array.from({ length: 10 }, (_, i) => trace(n * 10 + i, "a", big)))
      await take(other, 400)
      await until("the stuck one has lost its place", () => world.sockets.open() === 1)
      const got = stuck.got.length
      stuck.ws.resume()
      await stuck.closed
      // Where it stopped, it goes on.
      const last = stuck.got.length === 0 ? 0 : cursorOf(stuck.got.at(-1)!)
      expect(got <= stuck.got.length && last < 400).toBe(true)
      const again = await open(`${world.url}/ws/events?cursor=${last}`)
      expect((await take(again, 400 - last)).map(cursorOf)).toEqual(range(last + 1, 400))
    } finally {
      await world.close()
    }
  }, 30_000)

  test("a slow reader that has fallen behind the ring is served from the store, and misses nothing", async () => {
    const world = await live({ ringEvents: 20 })
    try {
      const slow = await open(`${world.url}/ws/events?cursor=0`)
      slow.ws.pause()
      const big = { text: "x".repeat(20_000) }
      for (let n = 0; n < 60; n++) await world.commit(Array.from({ length: 10 }, (_, i) => trace(n * 10 + i, "a", big)))
      slow.ws.resume()
      expect((await take(slow, 600)).map(cursorOf)).toEqual(range(1, 600))
    } finally {
      await world.close()
    }
  }, 30_000)

  test("a thousand subscribers hear everything in bounded memory", async () => {
    const world = await live()
    try {
      const counts = new Float64Array(1_000)
      const clients: Array<Client> = []
      for (let n = 0; n < 1_000; n += 50) {
        clients.push(...(await Promise.all(range(n, n + 49).map(() => open(`${world.url}/ws/events`)))))
      }
      clients.forEach((client, n) => {
        client.ws.removeAllListeners("message")
        client.ws.on("message", () => {
          counts[n]!++
        })
      })
      await until("all listen", () => world.events.counts().waiting === 1_000)
      const before = process.memoryUsage().rss
      for (let n = 0; n < 10; n++) await world.commit(facts(10))
      await until("all have heard", () => counts.every((count) => count === 100), 15_000)
      expect(process.memoryUsage().rss - before < 200 * 1_048_576).toBe(true)
      for (const client of clients) client.ws.terminate()
      await until("all places are free", () => world.sockets.open() === 0, 10_000)
    } finally {
      await world.close()
    }
  }, 40_000)

  test("there are only so many places, for all and for each address", async () => {
    const world = await live({ sockets: { max: 3, maxOfAddress: 2 } })
    try {
      const first = await open(`${world.url}/ws/events`)
      const stream = await sse(`${world.url}/events`)
      await expect(open(`${world.url}/ws/events`)).rejects.toThrow("HTTP 429")
      expect((await sse(`${world.url}/events`)).response.statusCode).toBe(429)
      stream.close()
      await until("a place is free", () => world.sockets.open() === 1)
      const third = await within("a place", open(`${world.url}/ws/dashboard`))
      third.close()
      first.close()
      await until("all places are free", () => world.sockets.open() === 0)
    } finally {
      await world.close()
    }
  })

  test("an event stream that is not read is cut, and one without news is kept alive", async () => {
    const world = await live({ sockets: { times: { stallMs: 2_000, pingMs: 50 } } })
    try {
      const quiet = await sse(`${world.url}/events?types=verdict`)
      const stuck = await sse(`${world.url}/events?cursor=0`)
      stuck.response.pause()
      const big = { text: "x".repeat(30_000) }
      for (let n = 0; n < 40; n++) await world.commit(Array.from({ length: 10 }, (_, i) => trace(n * 10 + i, "a", big)))
      await until("the stuck one has lost its place", () => world.sockets.open() === 1)
      await until("it was told how far it is", () => idsIn(quiet.text()).includes(400))
      await until("it was pinged", () => quiet.text().includes("\n: ping\n\n"))
      quiet.close()
      stuck.close()
      await until("all places are free", () => world.sockets.open() === 0)
    } finally {
      await world.close()
    }
  }, 30_000)

  test("a registry that stops says goodbye with 1001", async () => {
    const world = await live()
    const client = await open(`${world.url}/ws/events`)
    const beating = await open(`${world.url}/ws/heartbeat/a`)
    const stream = await sse(`${world.url}/events`)
    const ended = new Promise<void>((resolve) => stream.response.once("end", resolve))
    // Before anything is cut.
    await Effect.runPromise(world.sockets.stop)
    await until("all have gone", () => world.sockets.open() === 0)
    await within("the stream's end", ended)
    await world.close()
    expect((await client.closed).code).toBe(1001)
    expect((await beating.closed).code).toBe(1001)
  })

  test("a registry that is cut off still says goodbye with 1001", async () => {
    const world = await live()
    const client = await open(`${world.url}/ws/events`)
    await world.close()
    expect((await client.closed).code).toBe(1001)
  })

  test("a client that answers no pings is gone after two", async () => {
    const pingMs = 200
    const world = await live({ sockets: { times: { pingMs } } })
    try {
      const quiet = await open(`${world.url}/ws/heartbeat/a`)
      await until("it is there", () => world.presence.view("a").online)
      quiet.ws.pause()
      await until("it is gone", () => !world.presence.view("a").online && world.sockets.open() === 0)
      const alive = await open(`${world.url}/ws/heartbeat/a`)
      alive.send({ type: "heartbeat" })
      await alive.next()
      await new Promise((resolve) => setTimeout(resolve, 4 * pingMs))
      expect(world.presence.view("a").online).toBe(true)
    } finally {
      await world.close()
    }
  })
})
