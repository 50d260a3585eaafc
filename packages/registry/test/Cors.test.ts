import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Cors from "@parley/registry/Cors"
import { raw, serve, type Served, statusOf } from "./http.ts"

const page = "https://dashboard.example"
const app = Effect.succeed(HttpServerResponse.text("served"))
const headersOf = (text: string): string => text.slice(0, text.indexOf("\r\n\r\n")).toLowerCase()
const ask = async (served: Served, method: string, headers: Record<string, string>) => {
  const lines = Object.entries({ Host: "registry.example", ...headers, Connection: headers["Connection"] ?? "close" })
  const { text } = await raw(
    served.port,
    `${method} / HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
    { waitMs: 2_000 }
  )
  return { status: statusOf(text), headers: headersOf(text) }
}
const upgrade = {
  Connection: "Upgrade",
  Upgrade: "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="
}

let keys: Served
let open: Served
beforeAll(async () => {
  keys = await serve(Cors.middleware({ origins: [page] })(app))
  open = await serve(Cors.middleware({ open: true, origins: [page] })(app))
})
afterAll(() => Promise.all([keys.close(), open.close()]))

describe("pages of other origins", () => {
  test("a configured origin may read; no other one is named, none is *, and credentials never are", async () => {
    const allowed = await ask(keys, "GET", { Origin: page })
    expect(allowed.headers).toContain(`access-control-allow-origin: ${page}`)
    expect(allowed.headers).toContain("vary: origin")
    for (const origin of [
      "https://evil.example",
      "null",
      `${page}.evil.example`,
      "http://dashboard.example",
      `${page}:444`
    ]) {
      const refused = await ask(keys, "GET", { Origin: origin })
      expect([origin, refused.headers.includes("access-control-allow-origin")]).toEqual([origin, false])
    }
    expect(allowed.headers).not.toContain("allow-credentials")
    expect((await ask(keys, "GET", {})).headers).not.toContain("access-control")
  })

  test("a preflight of a configured origin is answered with what it may send", async () => {
    const preflight = {
      "Access-Control-Request-Method": "PUT",
      "Access-Control-Request-Headers": "authorization,x-evil"
    }
    const allowed = await ask(keys, "OPTIONS", { Origin: page, ...preflight })
    expect(allowed.status).toBe(204)
    expect(allowed.headers).toContain("access-control-allow-methods: get, head, put, post, delete")
    expect(allowed.headers).toContain("authorization")
    expect(allowed.headers).not.toContain("x-evil")
    const refused = await ask(keys, "OPTIONS", { Origin: "https://evil.example", ...preflight })
    expect(refused.headers).not.toContain("access-control-allow-origin")
  })

  test("a socket is opened from the registry's own pages and configured ones alone", async () => {
    const statuses: Array<readonly [string, number]> = []
    for (const origin of ["http://registry.example", "https://registry.example", page]) {
      statuses.push([origin, (await ask(keys, "GET", { ...upgrade, Origin: origin })).status])
    }
    for (const origin of [
      "https://evil.example",
      "null",
      "https://registry.example.evil.example",
      "https://registry.example:1"
    ]) {
      expect([origin, (await ask(keys, "GET", { ...upgrade, Origin: origin })).status]).toEqual([origin, 403])
    }
    expect(statuses.map(([, status]) => status)).toEqual([200, 200, 200])
  })
})

describe("a registry that asks nobody who they are", () => {
  test("answers loopback's programs and pages", async () => {
    const Host = `127.0.0.1:${open.port}`
    expect((await ask(open, "GET", { Host })).status).toBe(200)
    expect((await ask(open, "GET", { Host, Origin: "http://localhost:5173" })).status).toBe(200)
    expect((await ask(open, "GET", { Host, Origin: page })).status).toBe(200)
    expect((await ask(open, "GET", { Host, ...upgrade, Origin: "http://localhost:5173" })).status).toBe(200)
  })

  test("answers no page of another origin, and no name that was pointed at loopback", async () => {
    const Host = `127.0.0.1:${open.port}`
    for (const headers of [
      { Host: "evil.example" },
      { Host: "evil.example", Origin: "http://evil.example" },
      { Host: `evil.example:${open.port}` },
      { Host, "X-Forwarded-For": "198.51.100.7" },
      { Host, Origin: "http://evil.example" },
      { Host, Origin: "null" },
      { Host, ...upgrade, Origin: "http://evil.example" }
    ]) {
      expect([headers, (await ask(open, "GET", headers)).status]).toEqual([headers, 403])
      expect([headers, (await ask(open, "POST", { ...headers, "Content-Length": "0" })).status]).toEqual([headers, 403])
    }
  })
})

test("what is no origin is refused when it is configured", () => {
  for (const text of [
    "*",
    "dashboard.example",
    "https://a.example/path",
    "ftp://a.example",
    "null",
    "",
    "https://*.example",
    "https://me@a.example",
    "https://a.example?x"
  ]) {
    expect(() => Cors.originsOf([text])).toThrow("Not an origin")
  }
  expect([...Cors.originsOf(["https://A.example:443/", "http://b.example:8080"])]).toEqual([
    "https://a.example",
    "http://b.example:8080"
  ])
})
