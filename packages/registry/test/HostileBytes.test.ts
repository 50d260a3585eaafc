/** What somebody can send to a running registry: too much, too slow, too often, nonsense. Each is told so, and others are served on. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createServer, type Server } from "node:net"
import { WebSocket } from "@effect/platform-node/NodeWS"
import { agent, ask, friend, member, node, OPERATOR, randomOf, SECRET, start, type Started } from "./hostile.ts"
import { raw, statusOf } from "./http.ts"

const seed = 20_261_121
let at: Started
/** Where an agent says it is; nobody may come. */
let trap: Server
let trapped = 0
let trapPort = 0
const tokens = { agent: "", node: "" }

beforeAll(async () => {
  trap = createServer((socket) => {
    trapped++
    socket.destroy()
  })
  await new Promise<void>((resolve) => trap.listen(0, "127.0.0.1", resolve))
  const address = trap.address()
  trapPort = typeof address === "object" && address !== null ? address.port : 0
  // Room for thousands of inputs from one address; little for one identity, so that a flood has an end.
  const plenty = { perSecond: 1_000_000, burst: 1_000_000 }
  at = await start({
    secret: true,
    rates: { address: plenty, signIn: plenty, badTokens: plenty, identity: { perSecond: 20, burst: 600 } },
    // Long enough for a friend on a busy machine.
    times: { headersMs: 2_000, requestMs: 3_000, checkMs: 100 }
  })
  tokens.agent = (await agent(at, "steady")).token
  tokens.node = (await node(at)).token
}, 60_000)
afterAll(async () => {
  await at.stop()
  trap.close()
}, 60_000)

/** Runs `attack`; a friend must be served all the while, and soon. */
const withFriend = async <A>(attack: () => Promise<A>, p95 = 2_500): Promise<A> => {
  const helper = friend(at)
  const outcome = await attack().finally(() => helper.end())
  const how = await helper.end()
  expect(how.refused).toBe(0)
  expect(how.served).toBeGreaterThan(0)
  expect(how.p95).toBeLessThan(p95)
  return outcome
}

const endpoints = [
  [
    "POST",
    "/agents/register",
    {
      agent_id: "a",
      name: "a",
      endpoint: "ws://localhost:1",
      capabilities: [{ name: "a", description: "" }],
      tags: ["x"]
    }
  ],
  ["DELETE", "/agents/a", undefined],
  ["GET", "/agents", undefined],
  ["GET", "/agents/steady", undefined],
  ["GET", "/agents/steady/trust_history", undefined],
  ["GET", "/agents/steady/trust", undefined],
  ["GET", "/agents/steady/statement", undefined],
  ["POST", "/discover", { capability_name: "a", tags: [], top_k: 5, min_trust_score: 0 }],
  ["GET", "/capabilities", undefined],
  ["POST", "/trust/update", undefined],
  ["POST", "/trust/reports", { agent_id: "steady", capability: "a", task_id: "t", success: true, quality: 1 }],
  ["GET", "/traces", undefined],
  [
    "POST",
    "/traces",
    { task_id: "t", event_type: "completed", from_agent: "steady", to_agent: "b", payload: { a: 1 } }
  ],
  ["GET", "/memory", undefined],
  ["GET", "/memory/s", undefined],
  ["DELETE", "/memory/s", undefined],
  ["PUT", "/memory/s/k", { value: 1, ttl_ms: 1_000 }],
  ["DELETE", "/memory/s/k", undefined],
  ["POST", "/auth/token", { agent_id: "steady", secret: "wrong" }],
  ["POST", "/auth/challenge", { node: "z6Mk" }],
  ["POST", "/auth/proof", { node: "z6Mk", challenge: "x", signature: "x" }],
  ["GET", "/.well-known/jwks.json", undefined],
  ["PUT", "/nodes/z6Mk", { v: 1, node: "z6Mk", seq: 1, sig: "x" }],
  ["GET", "/nodes/z6Mk", undefined],
  ["GET", "/nodes", undefined],
  ["POST", "/nodes/search", { name: "a", limit: 5 }],
  ["POST", "/verdicts", { certificate: { v: 1 }, question: "?" }],
  ["GET", "/verdicts", undefined],
  ["GET", "/verdicts/t", undefined],
  ["GET", "/chain", undefined],
  ["GET", "/chain/head", undefined],
  ["GET", "/stats", undefined],
  ["GET", "/health", undefined],
  ["GET", "/metrics", undefined]
] as const

const odd: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  -1e308,
  2 ** 53,
  "",
  " ",
  "\u0000",
  "\ud800",
  "a".repeat(300),
  "../..",
  "'; DROP TABLE agents; --",
  "<script>alert(1)</script>",
  "${jndi:ldap://x}",
  "%00",
  "\r\nSet-Cookie: a=b",
  "🦜".repeat(40),
  [],
  {},
  [[]],
  [null],
  { a: null },
  { __proto__: null, constructor: { prototype: { polluted: 1 } } },
  { $ne: null },
  Array(200).fill("x"),
  "1".repeat(400),
  "NaN",
  "Infinity"
]
const queries = [
  "limit",
  "cursor",
  "status",
  "capability",
  "tag",
  "q",
  "agent_id",
  "success",
  "quality",
  "task_id",
  "agent",
  "type",
  "since",
  "until",
  "active",
  "from",
  "token"
]

/** One request that somebody could send, by chance. */
const anyRequest = (random: () => number) => {
  const pick = <A>(from: ReadonlyArray<A>): A => from[Math.floor(random() * from.length)]!
  const [method, known, body] = pick(endpoints)
  const text = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined"))
  const escaped = (value: string): string => encodeURIComponent(value.replace(/[\ud800-\udfff]/g, "\ufffd"))
  let path = random() < 0.2 ? known.replace(/\/[^/]*$/, `/${escaped(text(pick(odd)))}`) : known
  if (random() < 0.03) path = `/${escaped(text(pick(odd)))}/${escaped(text(pick(odd)))}`
  if (random() < 0.5) {
    path += `?${Array.from({ length: 1 + Math.floor(random() * 3) }, () => `${pick(queries)}=${escaped(text(pick(odd)))}`).join("&")}`
  }
  const change = (value: unknown, depth = 0): unknown => {
    if (random() < 0.25) return pick(odd)
    if (Array.isArray(value)) return value.map((each) => change(each, depth + 1))
    if (typeof value !== "object" || value === null) return value
    const entries = Object.entries(value)
      .filter(() => random() > 0.1)
      .map(([key, each]) => [key, change(each, depth + 1)] as const)
    return Object.fromEntries(random() < 0.1 ? [...entries, [text(pick(odd)), pick(odd)]] : entries)
  }
  let payload = body === undefined ? (random() < 0.1 ? text(pick(odd)) : undefined) : JSON.stringify(change(body))
  if (payload !== undefined && random() < 0.15) {
    const at = Math.floor(random() * payload.length)
    payload = pick([
      payload.slice(0, at),
      payload.slice(0, at) + pick(["\u0000", "}", "[", '"', "\\", ",", "\ufeff"]) + payload.slice(at),
      "[".repeat(1_000),
      ""
    ])
  }
  const verb = random() < 0.05 ? pick(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]) : method
  const headers: Record<string, string> = {}
  if (payload !== undefined && random() < 0.95)
    headers["content-type"] =
      random() < 0.95
        ? "application/json"
        : pick(["text/plain", "multipart/form-data", "application/xml", "x", "application/json; charset=utf-16"])
  if (random() < 0.7)
    headers["authorization"] = `Bearer ${pick([OPERATOR, OPERATOR, OPERATOR, tokens.agent, "a.b.c", "x y", "."])}`
  if (random() < 0.05)
    headers[
      pick(["if-none-match", "origin", "range", "accept", "last-event-id", "x-forwarded-for", "content-encoding"])
    ] = text(pick(odd))
      .replace(/[^\x20-\x7e]/g, "?")
      .slice(0, 100)
  return { verb, path, headers, payload: verb === "GET" || verb === "HEAD" ? undefined : payload }
}

describe("malformed requests", () => {
  test("ten thousand of them, each answered, none with a fault of the registry", async () => {
    const random = randomOf(seed)
    const counts: Record<string, number> = {}
    const one = async (round: number) => {
      const { verb, path, headers, payload } = anyRequest(random)
      const response = await fetch(`${at.url}${path}`, {
        method: verb,
        headers,
        redirect: "manual",
        ...(payload === undefined ? {} : { body: payload })
      })
      const text = await response.text()
      counts[response.status] = (counts[response.status] ?? 0) + 1
      const shown = `round ${round} (seed ${seed}): ${verb} ${path} ${JSON.stringify(headers)} ${payload?.slice(0, 300)} → ${response.status} ${text.slice(0, 300)}`
      if (response.status >= 500) throw new Error(shown)
      if (
        response.status >= 400 &&
        verb !== "HEAD" &&
        !response.headers.get("content-type")?.includes("application/problem+json")
      )
        throw new Error(shown)
    }
    await withFriend(async () => {
      let next = 0
      const lane = async () => {
        for (let round = next++; round < 10_000; round = next++) await one(round)
      }
      await Promise.all(Array.from({ length: 8 }, lane))
    })
    // It must have been more than one wall that all ran against.
    expect(counts[429] ?? 0).toBeLessThan(3_000)
    for (const status of [200, 401, 404, 422]) expect([status, (counts[status] ?? 0) > 100]).toEqual([status, true])
    expect(at.output()).not.toContain("A request failed")
  }, 60_000)

  test("and a thousand that are hardly HTTP", async () => {
    const random = randomOf(seed)
    const good = `POST /discover HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{"capability_name":"a"}`
    const statuses: Record<number, number> = {}
    await withFriend(async () => {
      for (let round = 0; round < 40; round++) {
        await Promise.all(
          Array.from({ length: 25 }, async () => {
            const bytes = Buffer.from(good)
            for (let i = 0; i < 1 + random() * 6; i++)
              bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
            const cut = bytes.subarray(0, random() < 0.2 ? Math.floor(random() * bytes.length) : bytes.length)
            const { text } = await raw(at.port, cut, { waitMs: 120 })
            const status = statusOf(text)
            statuses[status] = (statuses[status] ?? 0) + 1
            expect([seed, round, status < 500]).toEqual([seed, round, true])
          })
        )
      }
    })
    expect(statuses[400] ?? 0).toBeGreaterThan(100)
    expect((await ask(at, "GET", "/health")).status).toBe(200)
  }, 60_000)
})

describe("requests that are too large", () => {
  test("are refused before they are read, on every endpoint that takes a body", async () => {
    const large = `{"x":"${"a".repeat(1_100_000)}"}`
    const deep = `{"value":${"[".repeat(5_000)}${"]".repeat(5_000)}}`
    await withFriend(async () => {
      for (const [method, path, body] of endpoints) {
        if (body === undefined) continue
        const headers = { "content-type": "application/json" }
        const tooLarge = await ask(at, method, path, { token: tokens.agent, body: large, headers })
        expect([path, tooLarge.status, tooLarge.type.includes("problem+json")]).toEqual([path, 413, true])
        const tooDeep = await ask(at, method, path, { token: tokens.agent, body: deep, headers })
        expect([path, tooDeep.status >= 400 && tooDeep.status < 500]).toEqual([path, true])
      }
    })
  }, 60_000)

  test("and so are fields, lists and values that are", async () => {
    const manifest = { agent_id: "big", name: "big", endpoint: "ws://localhost:1" }
    for (const [what, body] of Object.entries({
      "an id": { ...manifest, agent_id: "a".repeat(129) },
      "an id with a slash": { ...manifest, agent_id: "a/b" },
      "an empty id": { ...manifest, agent_id: "" },
      "a name": { ...manifest, name: "a".repeat(129) },
      "a description": { ...manifest, description: "a".repeat(1_025) },
      "an endpoint": { ...manifest, endpoint: `ws://${"a".repeat(600)}` },
      tags: { ...manifest, tags: Array(65).fill("a") },
      capabilities: { ...manifest, capabilities: Array.from({ length: 65 }, () => ({ name: "a", description: "" })) }
    })) {
      expect([what, (await ask(at, "POST", "/agents/register", { body })).status]).toEqual([what, 422])
    }
    const text = { capability_description: "a".repeat(1_001) }
    expect((await ask(at, "POST", "/discover", { body: text })).status).toBe(422)
    const value = { value: "a".repeat(70_000) }
    expect((await ask(at, "PUT", "/memory/s/k", { token: tokens.node, body: value })).status).toBe(413)
    expect((await ask(at, "GET", "/agents?limit=100000")).status).toBe(422)
    const long = `/memory/${"a".repeat(800)}`
    for (const [method, path] of [
      ["GET", long],
      ["DELETE", long],
      ["GET", `${long}/k`],
      ["DELETE", `${long}/k`]
    ] as const) {
      expect([method, (await ask(at, method, path, { token: tokens.node })).status]).toEqual([method, 422])
    }
  })
})

describe("clients that are too slow", () => {
  test("lose their connections, and nobody else notices", async () => {
    const head = "POST /discover HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    const ends = await withFriend(() =>
      Promise.all(
        Array.from({ length: 60 }).flatMap(() => [
          raw(at.port, "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n", { more: "X-a: b\r\n" }),
          raw(at.port, "GET /hea"),
          raw(at.port, `${head}Content-Length: 5000\r\n\r\n`, { more: " " }),
          raw(at.port, `${head}Transfer-Encoding: chunked\r\n\r\n`, { more: "1\r\n \r\n" }),
          raw(at.port, "")
        ])
      )
    )
    expect(ends.every(({ closed }) => closed)).toBe(true)
    for (const { text } of ends) expect([0, 400, 408].includes(statusOf(text))).toBe(true)
  }, 60_000)
})

describe("clients that are too many, or ask too often", () => {
  test("one identity is told to wait; another one, and everybody without one, is served", async () => {
    const greedy = (await node(at)).token
    const modest = (await node(at)).token
    await withFriend(async () => {
      const answers: Array<Awaited<ReturnType<typeof ask>>> = []
      const lane = async () => {
        for (let i = 0; i < 40; i++) answers.push(await ask(at, "GET", "/memory", { token: greedy }))
      }
      await Promise.all(Array.from({ length: 40 }, lane))
      const refused = answers.filter(({ status }) => status === 429)
      expect(answers.every(({ status }) => status === 200 || status === 429)).toBe(true)
      expect(refused.length).toBeGreaterThan(300)
      expect(refused[0]!.type).toContain("application/problem+json")
      expect((await ask(at, "GET", "/memory", { token: modest })).status).toBe(200)
    }, 1_500)
  }, 60_000)

  test("many connections that say nothing keep nobody out", async () => {
    await withFriend(async () => {
      await Promise.all(Array.from({ length: 1_000 }, () => raw(at.port, "", { waitMs: 1_000 })))
    }, 1_000)
  }, 60_000)
})

describe("sockets", () => {
  const open = (path: string, token?: string): Promise<WebSocket> =>
    new Promise((resolve, reject) => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
      const socket = new WebSocket(`ws://127.0.0.1:${at.port}${path}`, { headers })
      socket.on("open", () => resolve(socket))
      socket.on("error", reject)
    })

  test("one bad frame gets an error frame, and the socket stays", async () => {
    const random = randomOf(seed)
    const socket = await open("/ws/heartbeat/steady", tokens.agent)
    let told: Array<string> = []
    let wake = (): void => undefined
    socket.on("message", (data) => {
      told.push((JSON.parse(String(data)) as { readonly type: string }).type)
      if (told.at(-1) === "heartbeat_ack") wake()
    })
    /** What came for a frame, up to the answer of the heartbeat after it. */
    const reply = async (frame: string): Promise<ReadonlyArray<string>> => {
      told = []
      const acknowledged = new Promise<void>((resolve) => (wake = resolve))
      socket.send(frame)
      socket.send('{"type":"heartbeat"}')
      await acknowledged
      return told
    }
    const frames = [
      "not json",
      "[]",
      "{",
      "null",
      '"heartbeat"',
      "5",
      '{"type":"trace","payload":5}',
      '{"type":"task_end","task_id":"t","elapsed_ms":"x"}',
      '{"type":"trace","payload":{"event_type":"nonsense"}}',
      `{"type":${"[".repeat(500)}`
    ]
    await withFriend(async () => {
      for (let i = 0; i < 40; i++) {
        const frame = frames[Math.floor(random() * frames.length)]!
        expect([frame, await reply(frame)]).toEqual([frame, ["error", "heartbeat_ack"]])
      }
    })
    socket.close()
  }, 60_000)

  test("a frame that is too large, and a flood, end that socket alone", async () => {
    const other = await open("/ws/heartbeat/steady", tokens.agent)
    for (const attack of ["large", "flood"] as const) {
      const socket = await open("/ws/events", tokens.node)
      const code = new Promise<number>((resolve) => socket.on("close", resolve))
      socket.on("error", () => undefined)
      await withFriend(async () => {
        if (attack === "large") socket.send("x".repeat(2_000_000))
        else
          for (let i = 0; i < 50_000 && socket.readyState === WebSocket.OPEN; i++) {
            socket.send("x")
            // The friend is of the same process, and is not to wait for this very loop.
            if (i % 200 === 199) await new Promise((resolve) => setImmediate(resolve))
          }
        expect([attack, [1008, 1009, 1006].includes(await code)]).toEqual([attack, true])
      }, 1_500)
    }
    const acknowledged = new Promise<string>((resolve) => other.on("message", (data) => resolve(String(data))))
    other.send('{"type":"heartbeat"}')
    expect(await acknowledged).toContain("heartbeat_ack")
    other.close()
  }, 60_000)
})

test("an endpoint that an agent names is never visited by the registry", async () => {
  for (const [index, endpoint] of [
    `ws://127.0.0.1:${trapPort}`,
    `http://127.0.0.1:${trapPort}/`,
    "http://169.254.169.254/latest/meta-data/"
  ].entries()) {
    const id = `trap-${index}`
    const manifest = { agent_id: id, name: id, endpoint, capabilities: [{ name: "trap", description: "x" }] }
    expect((await ask(at, "POST", "/agents/register", { body: manifest })).status).toBe(200)
    const token = await ask(at, "POST", "/auth/token", {
      body: { agent_id: id, secret: SECRET }
    })
    expect([200, 429].includes(token.status)).toBe(true)
    if (token.status === 200) {
      await ask(at, "POST", `/trust/update?agent_id=${id}&success=true`, {
        token: String(member(token, "access_token"))
      })
    }
    await ask(at, "POST", "/discover", { body: { capability_name: "trap" } })
    await ask(at, "GET", `/agents/${id}`)
  }
  expect(trapped).toBe(0)
})
