import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import * as SafeFetch from "@parley/registry/SafeFetch"
import { untilValue } from "../../../test-support/Until.ts"

/** What the server was asked, and what it says to each path. */
const seen: Array<{ readonly path: string; readonly host: string; readonly authorization: string | undefined }> = []
const closed: Array<string> = []
const answers: { [path: string]: (request: IncomingMessage, response: ServerResponse) => void } = {
  "/ok": (_request, response) => response.end("well"),
  "/large": (_request, response) => {
    response.write("x".repeat(60_000))
    response.end("x".repeat(60_000))
  },
  "/large-said": (_request, response) => {
    response.setHeader("content-length", "2000000")
    response.write("x")
  },
  "/silent": () => undefined,
  "/trickle": (_request, response) => {
    const timer = setInterval(() => response.write("x"), 20)
    response.on("close", () => clearInterval(timer))
  },
  "/cut": (_request, response) => {
    response.setHeader("content-length", "1000")
    response.write("x")
    setImmediate(() => response.destroy())
  },
  "/headers": (_request, response) => {
    response.setHeader("x-long", "a".repeat(100_000))
    response.end()
  }
}

let server: Server
let port = 0
beforeAll(async () => {
  server = createServer((request, response) => {
    const path = request.url ?? ""
    seen.push({ path, host: request.headers.host ?? "", authorization: request.headers.authorization })
    response.on("close", () => void closed.push(path))
    const [, to] = /^\/to\?(.*)$/.exec(path) ?? []
    if (to !== undefined) response.writeHead(302, { location: decodeURIComponent(to) }).end()
    else if (path.startsWith("/round")) response.writeHead(302, { location: `${path}x` }).end()
    else (answers[path] ?? answers["/ok"]!)(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  port = typeof address === "object" && address !== null ? address.port : 0
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const home = (path: string) => `http://127.0.0.1:${port}${path}`
const allowed = (): SafeFetch.Options => ({ allow: [`127.0.0.1:${port}`] })
const codeOf = (request: SafeFetch.Request, options: SafeFetch.Options = allowed()): Promise<string> =>
  Effect.runPromise(
    Effect.match(SafeFetch.fetch(request, options), {
      onFailure: (error) => error.code,
      onSuccess: ({ status }) => String(status)
    })
  )

describe("an answer", () => {
  test("comes with its status, headers and body", async () => {
    const response = await Effect.runPromise(
      SafeFetch.fetch(
        { url: home("/ok?q=1"), method: "POST", body: "{}", headers: { authorization: "Bearer x" } },
        allowed()
      )
    )
    expect([response.status, Buffer.from(response.body).toString()]).toEqual([200, "well"])
    expect(seen.at(-1)).toEqual({ path: "/ok?q=1", host: `127.0.0.1:${port}`, authorization: "Bearer x" })
  })

  test("too large, too late, cut off or never is an error that says which", async () => {
    expect(await codeOf({ url: home("/large"), maxBytes: 100_000 })).toBe("TooLarge")
    expect(await codeOf({ url: home("/large-said") })).toBe("TooLarge")
    expect(await codeOf({ url: home("/silent"), timeoutMs: 100 })).toBe("TimedOut")
    expect(await codeOf({ url: home("/trickle"), timeoutMs: 150 })).toBe("TimedOut")
    expect(await codeOf({ url: home("/cut") })).toBe("Unreachable")
    expect(await codeOf({ url: home("/headers") })).toBe("Unreachable")
    expect(await codeOf({ url: "http://127.0.0.1:1/" }, { allow: ["127.0.0.1:1"] })).toBe("Unreachable")
    const resolve: SafeFetch.Resolve = () => Effect.fail("ENOTFOUND")
    expect(await codeOf({ url: "http://nowhere.example/" }, { resolve })).toBe("Unresolved")
  })

  test("that nobody waits for any more is let go of", async () => {
    const before = closed.filter((path) => path === "/silent").length
    await codeOf({ url: home("/silent"), timeoutMs: 50 })
    await untilValue(
      "the server sees it close",
      () => closed.filter((path) => path === "/silent").length,
      (count) => count === before + 1
    )
  })
})

describe("a server that leads elsewhere", () => {
  test("is followed within bounds, and each step is judged", async () => {
    const to = (url: string) => home(`/to?${encodeURIComponent(url)}`)
    expect(await codeOf({ url: to("/ok") })).toBe("200")
    expect(await codeOf({ url: home("/round") })).toBe("Redirected")
    expect(await codeOf({ url: to("http://169.254.169.254/latest/meta-data/") })).toBe("Refused")
    expect(await codeOf({ url: to("http://2852039166/") })).toBe("Refused")
    expect(await codeOf({ url: to(`http://localhost:${port}/ok`) })).toBe("Refused")
    expect(await codeOf({ url: to("file:///etc/passwd") })).toBe("Refused")
    expect(await codeOf({ url: to("http://[") })).toBe("Redirected")
    expect(await codeOf({ url: to("/ok"), method: "POST", body: "{}" })).toBe("Redirected")
  })

  test("gets no headers that were another's", async () => {
    const url = home(`/to?${encodeURIComponent(`http://localhost:${port}/elsewhere`)}`)
    const options = { allow: [`127.0.0.1:${port}`, `localhost:${port}`], resolve: () => Effect.succeed(["127.0.0.1"]) }
    expect(await codeOf({ url, headers: { authorization: "Bearer x" } }, options)).toBe("200")
    const last = seen.at(-1)
    expect([last?.path, last?.authorization]).toEqual(["/elsewhere", undefined])
    const own = home(`/to?${encodeURIComponent("/own")}`)
    expect(await codeOf({ url: own, headers: { authorization: "Bearer x" } })).toBe("200")
    expect(seen.at(-1)?.authorization).toBe("Bearer x")
  })
})

describe("a name", () => {
  test("that has a private address is not reached, and neither is one that has it beside a public one", async () => {
    const before = seen.length
    for (const addresses of [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], []]) {
      const resolve: SafeFetch.Resolve = () => Effect.succeed(addresses)
      expect(await codeOf({ url: `http://rebound.example:${port}/` }, { resolve })).toBe("Refused")
    }
    expect(seen.length).toBe(before)
  })

  test("is asked once: what its DNS says afterwards leads nowhere", async () => {
    // The first answer is what is judged and connected to; a connection that asked again would go to ::1, and fail.
    let asked = 0
    const resolve: SafeFetch.Resolve = () => Effect.sync(() => [asked++ === 0 ? "127.0.0.1" : "::1"])
    expect(
      await codeOf({ url: `http://rebound.example:${port}/pinned` }, { allow: [`rebound.example:${port}`], resolve })
    ).toBe("200")
    expect(asked).toBe(1)
    expect(seen.at(-1)).toEqual({ path: "/pinned", host: `rebound.example:${port}`, authorization: undefined })
  })
})
