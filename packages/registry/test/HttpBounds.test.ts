import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { connect } from "node:net"
import * as Effect from "effect/Effect"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Logger from "effect/Logger"
import * as HttpBounds from "@parley/registry/HttpBounds"
import * as RateLimits from "@parley/registry/RateLimits"
import { until } from "../../../test-support/Until.ts"
import { raw, serve, type Served, statusOf } from "./http.ts"

/** Says what it got; how much of the body it read. */
const echo = Effect.gen(function* () {
  const request = yield* HttpServerRequest
  const text = yield* request.text
  return HttpServerResponse.jsonUnsafe({
    url: request.url,
    bytes: text.length,
    token: RateLimits.tokenOf(request) ?? null
  })
})

let served: Served
const logged: Array<string> = []
const times = { headersMs: 600, requestMs: 1_200, keepAliveMs: 5_000, checkMs: 100 }

beforeAll(async () => {
  const collect = Logger.map(Logger.formatJson, (line) => void logged.push(line))
  const app = HttpBounds.middleware(HttpMiddleware.logger(echo))
  served = await serve(Effect.provide(app, Logger.layer([collect])), times)
})
afterAll(() => served.close())

const head = (line: string, headers: string) => `${line} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`

describe("what may be sent", () => {
  test("a request within the bounds is served, and its answer says how it may be used", async () => {
    const response = await fetch(`${served.url}/a?b=1`, { method: "POST", body: "x".repeat(1_000) })
    expect(await response.json()).toEqual({ url: "/a?b=1", bytes: 1_000, token: null })
    for (const [name, value] of Object.entries(HttpBounds.SECURITY_HEADERS))
      expect(response.headers.get(name)).toBe(value)
  })

  test("a body that says it is too large is refused before it is read", async () => {
    const length = HttpBounds.MAX_BODY_BYTES + 1
    const enough = (text: string) => text.includes(String(HttpBounds.MAX_BODY_BYTES))
    const { text } = await raw(served.port, head("POST /", `Content-Length: ${length}\r\n`), { enough })
    expect([statusOf(text), enough(text)]).toEqual([413, true])
    expect(text).toContain("application/problem+json")
  })

  test("a body that does not say so is refused at the bound", async () => {
    const chunk = `${(65_536).toString(16)}\r\n${"x".repeat(65_536)}\r\n`
    const { text } = await raw(served.port, head("POST /", "Transfer-Encoding: chunked\r\n") + chunk.repeat(20), {
      enough: (text) => statusOf(text) !== 0
    })
    expect(statusOf(text)).toBe(413)
  })

  test("what is no request, or too long, is a clear refusal and the end of its connection", async () => {
    const cases: Array<readonly [string, number, string]> = [
      ["headers of 20 KB", 431, head("GET /", `X: ${"a".repeat(20_000)}\r\n`)],
      ["a URL of 20 KB", 431, head(`GET /${"a".repeat(20_000)}`, "")],
      ["a URL of 5 KB", 414, head(`GET /${"a".repeat(5_000)}`, "Connection: close\r\n")],
      ["no HTTP", 400, "\u0000\u0001\u0002 nonsense\r\n\r\n"],
      ["TLS", 400, Buffer.from("16030100a5010000a10303", "hex").toString("latin1") + "\r\n\r\n"],
      ["no host", 400, "GET / HTTP/1.1\r\n\r\n"],
      ["two lengths", 400, head("POST /", "Content-Length: 4\r\nContent-Length: 5\r\n") + "abcde"],
      ["a length and chunks", 400, head("POST /", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"],
      ["a negative length", 400, head("POST /", "Content-Length: -1\r\n")]
    ]
    for (const [name, status, bytes] of cases) {
      const { text, closed } = await raw(served.port, bytes, { waitMs: 15_000 })
      expect([name, statusOf(text), closed]).toEqual([name, status, true])
    }
  })
})

describe("how long it may take", () => {
  test("slow headers, stalled headers, slow bodies and silence end, while others are served", async () => {
    const attack = { isOver: false }
    const waits: Array<number> = []
    const probe = (async () => {
      while (!attack.isOver) {
        const started = performance.now()
        expect((await fetch(served.url)).status).toBe(200)
        waits.push(performance.now() - started)
      }
    })()
    const attackers = await Promise.all(
      Array.from({ length: 25 }).flatMap(() => [
        raw(served.port, "GET / HTTP/1.1\r\nHost: x\r\n", { more: "X-a: b\r\n" }),
        raw(served.port, "GET / HTTP/1.1\r\nHo"),
        raw(served.port, head("POST /", "Content-Length: 10000\r\n"), { more: "x" }),
        raw(served.port, head("POST /", "Content-Length: 10000\r\n") + "abc"),
        raw(served.port, "")
      ])
    )
    attack.isOver = true
    await probe
    for (const { text, closed, ms } of attackers) {
      expect([closed, statusOf(text) === 408 || text === "" || statusOf(text)]).toEqual([true, true])
      expect(ms).toBeLessThan(5_000)
    }
    waits.sort((a, b) => a - b)
    expect(waits.length).toBeGreaterThan(20)
    expect(waits[Math.floor(waits.length * 0.95)]!).toBeLessThan(1_500)
  }, 30_000)
})

test("more connections than there is room for are closed, and room comes back", async () => {
  const small = await serve(HttpBounds.middleware(echo), {}, 5)
  let closed = 0
  const sockets = Array.from({ length: 12 }, () => {
    const socket = connect(small.port, "127.0.0.1")
    socket.on("error", () => undefined)
    socket.once("close", () => closed++)
    // Not all of a request, so that it keeps its place.
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n")
    return socket.resume()
  })
  try {
    await until("those that have no place are closed", () => closed === 7 || closed)
    for (const socket of sockets) socket.destroy()
    await until("room came back", async () => (await fetch(small.url)).status === 200)
    expect(closed).toBe(12)
  } finally {
    for (const socket of sockets) socket.destroy()
    await small.close()
  }
})

describe("tokens in URLs", () => {
  test("stand in Authorization afterwards, and in no log", async () => {
    const one = (await (await fetch(`${served.url}/ws/events?cursor=5&token=very-secret-1`)).json()) as unknown
    expect(one).toEqual({ url: "/ws/events?cursor=5", bytes: 0, token: "very-secret-1" })
    const headers = { authorization: "Bearer very-secret-2" }
    const two = (await (await fetch(`${served.url}/?token=very-secret-3`, { headers })).json()) as unknown
    expect(two).toEqual({ url: "/", bytes: 0, token: "very-secret-2" })
    const three = (await (await fetch(`${served.url}/?token=a%0d%0ab&x=1`)).json()) as unknown
    expect(three).toEqual({ url: "/?x=1", bytes: 0, token: null })
    expect(logged.join("\n")).toContain("/ws/events")
    expect(logged.join("\n")).not.toContain("very-secret")
  })
})
