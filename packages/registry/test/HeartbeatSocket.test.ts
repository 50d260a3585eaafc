import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { Buffer } from "node:buffer"
import { connect } from "node:net"
import * as Effect from "effect/Effect"
import { FRAMES } from "@parley/registry/HeartbeatSocket"
import { seeded } from "@parley/core/testing/Seeded"
import { MAX_REFUSED_FRAMES, MAX_SOCKETS_OF_IDENTITY } from "@parley/registry/Sockets"
import { raw, statusOf } from "./http.ts"
import { type Client, live, type Live, open, until, within } from "./live.ts"

const beat = { type: "heartbeat" }
const ack = '{"type":"heartbeat_ack"}'
const traceOf = (fields: object = {}) => ({
  type: "trace",
  payload: { task_id: "t", event_type: "accepted", from_agent: "a", to_agent: "b", payload: {}, ...fields }
})

/** Upgrades by hand, then sends bytes; tells whether the server closed the connection. With `leave` the client does so. */
const socketOf = (port: number, handshake: string, bytes: Uint8Array, leave = false) =>
  within(
    "the connection to end",
    new Promise<{ readonly closed: boolean }>((resolve) => {
      const socket = connect(port, "127.0.0.1")
      socket.on("error", () => undefined)
      socket.once("data", () => {
        socket.write(bytes)
        if (leave) setImmediate(() => socket.destroy())
      })
      socket.on("end", () => socket.end())
      socket.on("close", () => resolve({ closed: true }))
      socket.write(handshake)
    })
  )

describe("the heartbeat socket", () => {
  let world: Live
  let client: Client
  beforeAll(async () => {
    world = await live({ agents: ["a", "f", "g", "ä b"], sockets: { times: { closeMs: 200 } } })
    client = await open(`${world.url}/ws/heartbeat/a`)
  })
  afterAll(() => world.close())

  /** Everything sent before is handled when the next heartbeat is answered. */
  const settled = async (): Promise<void> => {
    client.send(beat)
    expect(await client.next()).toBe(ack)
  }
  const facts = async (type: "task.started" | "task.ended" | "trace") =>
    (await Effect.runPromise(world.store.eventsAfter(0, 1_000, [type]))).map((event) => event.fact)

  test("makes the agent online, and answers heartbeats", async () => {
    await settled()
    const view = world.presence.view("a")
    expect(view.online).toBe(true)
    expect(Math.abs(view.lastHeartbeat - Date.now()) < 5_000).toBe(true)
  })

  test("refuses an unknown agent with 403 before the upgrade", async () => {
    await expect(open(`${world.url}/ws/heartbeat/nobody`)).rejects.toThrow("HTTP 403")
    await expect(open(`${world.url}/ws/heartbeat/`)).rejects.toThrow("HTTP 403")
    await expect(open(`${world.url}/ws/heartbeat/%ff`)).rejects.toThrow("HTTP 404")
  })

  test("knows ids that need escaping", async () => {
    const other = await open(`${world.url}/ws/heartbeat/${encodeURIComponent("ä b")}`)
    other.send(beat)
    expect(await other.next()).toBe(ack)
    other.close()
  })

  test("says 426 to a plain request", async () => {
    const response = await fetch(`http://${world.url}/ws/heartbeat/a`)
    expect(response.status).toBe(426)
    await response.body?.cancel()
  })

  test("counts tasks that run, with ids and without, and keeps what they took", async () => {
    client.send({ type: "task_start", task_id: "t1" })
    client.send({ type: "task_start", task_id: "t1" })
    client.send({ type: "task_start" })
    client.send({ type: "task_start", task_id: null })
    await settled()
    expect(world.presence.view("a").running).toBe(3)
    client.send({ type: "task_end", task_id: "t1", elapsed_ms: 12.5 })
    client.send({ type: "task_end" })
    client.send({ type: "task_end", task_id: "never", elapsed_ms: 1e12 })
    await settled()
    expect(world.presence.view("a").running).toBe(1)
    client.send({ type: "task_end", elapsed_ms: -5 })
    client.send({ type: "task_end" })
    await settled()
    expect(world.presence.view("a").running).toBe(0)
    const ended = await facts("task.ended")
    expect(ended.map((fact) => (fact.type === "task.ended" ? (fact.elapsedMs ?? null) : undefined))).toEqual([
      12.5,
      null,
      600_000,
      0
    ])
  })

  test("stores the agent's own traces, and nobody else's", async () => {
    client.send(traceOf({ trace_id: "mine", payload: { n: 1 } }))
    client.send(traceOf({ from_agent: "b", to_agent: "a" }))
    expect(JSON.parse(await client.next())).toEqual({
      type: "error",
      detail: "trace: from_agent must be a, whose socket this is"
    })
    const stored = await facts("trace")
    expect(stored.length).toBe(1)
    expect(stored[0]?.type === "trace" && stored[0].trace.trace_id).toBe("mine")
  })

  test("answers one bad frame with an error frame, and goes on", async () => {
    const bad: ReadonlyArray<string | Buffer> = [
      "no json",
      "",
      "[1]",
      "null",
      '"text"',
      "[".repeat(500_000),
      `{"type":"trace","payload":${"[".repeat(100)}${"]".repeat(100)}}`,
      JSON.stringify(traceOf({ event_type: "exploded" })),
      JSON.stringify({ type: "trace" }),
      JSON.stringify(traceOf({ task_id: "x".repeat(65) })),
      JSON.stringify(traceOf({ payload: { big: "x".repeat(70_000) } })),
      JSON.stringify({ type: "task_end", task_id: "t", elapsed_ms: "soon" }),
      JSON.stringify({ type: "task_start", task_id: "x".repeat(65) }),
      Buffer.from([0, 255, 1])
    ]
    for (const frame of bad) {
      client.ws.send(frame)
      expect(JSON.parse(await client.next()).type).toBe("error")
      await settled()
    }
    expect(world.presence.view("a").online).toBe(true)
  })

  test("ignores types that it does not know, as AgentMesh does", async () => {
    client.send({ type: "dance" })
    client.send({})
    client.send({ type: 7 })
    await settled()
  })

  test("two sockets of one agent are one agent; it is away when the last has closed, with its load", async () => {
    const second = await open(`${world.url}/ws/heartbeat/a`)
    second.send({ type: "task_start", task_id: "t9" })
    second.send(beat)
    await second.next()
    expect(world.presence.online()).toBe(1)
    expect(world.presence.view("a").running).toBe(1)
    second.ws.terminate()
    await until("its load has gone", () => world.presence.view("a").running === 0)
    expect(world.presence.view("a").online).toBe(true)
    client.close()
    await until("it is away", () => !world.presence.view("a").online)
    client = await open(`${world.url}/ws/heartbeat/a`)
    await until("it is back", () => world.presence.view("a").online)
  })

  test("closes with 4004 when the agent was deregistered", async () => {
    world.agents.add("gone")
    const other = await open(`${world.url}/ws/heartbeat/gone`)
    other.send(beat)
    expect(await other.next()).toBe(ack)
    world.agents.delete("gone")
    await Effect.runPromise(world.presence.drop("gone"))
    expect(world.presence.view("gone").online).toBe(false)
    other.send(beat)
    expect((await other.closed).code).toBe(4004)
  })

  test("closes one that sends a frame of more than a mebibyte with 1009", async () => {
    const other = await open(`${world.url}/ws/heartbeat/g`)
    other.send("x".repeat(1_048_577))
    expect((await other.closed).code).toBe(1009)
    await until("its lease has ended", () => !world.presence.view("g").online)
    await settled()
  })

  test("an agent has only so many sockets, so that each has its lease", async () => {
    const clients: Array<Client> = []
    for (let n = 0; n < MAX_SOCKETS_OF_IDENTITY; n++) clients.push(await open(`${world.url}/ws/heartbeat/g`))
    await expect(open(`${world.url}/ws/heartbeat/g`)).rejects.toThrow("HTTP 429")
    clients[0]!.send(beat)
    expect(await clients[0]!.next()).toBe(ack)
    for (const each of clients) each.ws.terminate()
    await until("its leases have ended", () => !world.presence.view("g").online)
  })

  test("bytes that are no frames, and handshakes that are none, end that connection alone", async () => {
    const random = seeded(11)
    const handshake = (headers: string): string =>
      `GET /ws/heartbeat/g HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${headers}\r\n`
    const good = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    for (const headers of ["", "Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n", good.replace("13", "12")]) {
      const answer = await raw(world.port, handshake(headers))
      expect([headers, answer.closed, statusOf(answer.text)]).toEqual([headers, true, 400])
    }
    const frames: ReadonlyArray<ReadonlyArray<number>> = [
      [0x81, 0x01, 0x41],
      [0xc1, 0x80, 0, 0, 0, 0],
      [0x83, 0x80, 0, 0, 0, 0],
      [0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0],
      [0x80, 0x80, 0, 0, 0, 0],
      [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
      [0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28],
      [0x88, 0x82, 0, 0, 0, 0, 0x00, 0x01]
    ]
    for (const frame of frames) {
      const { closed } = await socketOf(world.port, handshake(good), Uint8Array.from(frame))
      expect([frame, closed]).toEqual([frame, true])
    }
    for (let n = 0; n < 100; n++) await socketOf(world.port, handshake(good), random.bytes(1 + random.int(64)), true)
    await until("their leases have ended", () => !world.presence.view("g").online)
    await settled()
  }, 30_000)

  test("tells a flood to wait, and closes it when it goes on, while others are served", async () => {
    const flood = await open(`${world.url}/ws/heartbeat/f`)
    for (let n = 0; n < FRAMES.burst + 10 * MAX_REFUSED_FRAMES; n++) flood.ws.send('{"type":"heartbeat"}')
    const { code } = await flood.closed
    expect(code).toBe(1008)
    expect(flood.got.filter((frame) => frame === ack).length >= FRAMES.burst).toBe(true)
    expect(flood.got.filter((frame) => frame.includes("Too many frames")).length > MAX_REFUSED_FRAMES / 2).toBe(true)
    await settled()
  }, 30_000)
})

describe("the heartbeat socket where a secret is asked for", () => {
  let world: Live
  beforeAll(async () => {
    world = await live({
      agents: ["a", "b"],
      secret: "a secret of some length",
      operatorToken: "operator-token-of-24-chars"
    })
  })
  afterAll(() => world.close())

  test("lets in by header, by query and by first frame", async () => {
    for (const how of ["header", "query", "frame"]) {
      const client = await open(
        `${world.url}/ws/heartbeat/a${how === "query" ? "?token=operator-token-of-24-chars" : ""}`,
        how === "header" ? { authorization: "Bearer operator-token-of-24-chars" } : {}
      )
      if (how === "frame") client.send({ type: "auth", token: "operator-token-of-24-chars" })
      client.send(beat)
      expect(await client.next()).toBe(ack)
      client.close()
      await client.closed
    }
  })

  test("refuses a wrong token before the upgrade, and a first frame that says nothing", async () => {
    await expect(open(`${world.url}/ws/heartbeat/a?token=wrong`)).rejects.toThrow("HTTP 401")
    for (const frame of [beat, "nonsense", { type: "auth", token: "wrong" }, { type: "auth" }]) {
      const client = await open(`${world.url}/ws/heartbeat/a`)
      client.send(frame)
      expect(JSON.parse(await client.next()).type).toBe("error")
      expect((await client.closed).code).toBe(1008)
    }
    expect(world.presence.view("a").online).toBe(false)
  })

  test("refuses another agent's token, before the upgrade and after", async () => {
    const { token } = await Effect.runPromise(
      world.auth.exchange("b", "a secret of some length", { address: "127.0.0.1" })
    )
    await expect(open(`${world.url}/ws/heartbeat/a?token=${token}`)).rejects.toThrow("HTTP 403")
    const client = await open(`${world.url}/ws/heartbeat/a`)
    client.send({ type: "auth", token })
    expect(JSON.parse(await client.next()).detail).toBe("You are not a, and may not be it")
    expect((await client.closed).code).toBe(1008)
    expect(world.presence.view("a").online).toBe(false)
  })

  test("lets an agent in without a token from where it has proven the secret, and nobody else", async () => {
    await Effect.runPromise(world.admission.grant("b", "127.0.0.1"))
    const client = await open(`${world.url}/ws/heartbeat/b`)
    client.send(beat)
    expect(await client.next()).toBe(ack)
    const other = await open(`${world.url}/ws/heartbeat/a`)
    other.send(beat)
    expect((await within("a refusal", other.closed)).code).toBe(1008)
    client.close()
  })
})
