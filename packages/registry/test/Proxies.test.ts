import { describe, expect, test } from "bun:test"
import { networkInterfaces } from "node:os"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Option from "effect/Option"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { audiencesAt } from "@parley/registry/Audiences"
import * as Challenge from "@parley/registry/Challenge"
import * as Proxies from "@parley/registry/Proxies"
import { addressOf } from "@parley/registry/RateLimits"

const app = Effect.map(HttpServerRequest.HttpServerRequest, (request) => HttpServerResponse.text(addressOf(request)))
/** The address that is seen when a peer sends this `X-Forwarded-For`. */
const seen = async (trusted: ReadonlyArray<string>, peer: string, forwarded?: string): Promise<string> => {
  const headers: Record<string, string> = forwarded === undefined ? {} : { "x-forwarded-for": forwarded }
  const request = HttpServerRequest.fromWeb(new Request("http://x/", { headers })).modify({
    remoteAddress: Option.some(peer)
  })
  const response = await Effect.runPromise(
    Effect.provideService(Proxies.middleware(trusted)(app), HttpServerRequest.HttpServerRequest, request)
  )
  return HttpServerResponse.toWeb(response).text()
}

describe("who asks, behind proxies", () => {
  test("is who the trusted ones say, and nobody else's word counts", async () => {
    const trusted = ["10.0.0.0/8", "192.0.2.1", "fd00::/8"]
    expect(await seen(trusted, "10.0.0.1", "198.51.100.7")).toBe("198.51.100.7")
    expect(await seen(trusted, "192.0.2.1", "198.51.100.7")).toBe("198.51.100.7")
    expect(await seen(trusted, "::ffff:10.0.0.1", "198.51.100.7")).toBe("198.51.100.7")
    expect(await seen(trusted, "10.0.0.1", "203.0.113.9, 198.51.100.7, 10.2.2.2")).toBe("198.51.100.7")
    // Written by the client itself, through nobody that is trusted.
    expect(await seen(trusted, "198.51.100.7", "10.0.0.1")).toBe("198.51.100.7")
    expect(await seen([], "127.0.0.1", "198.51.100.7")).toBe("127.0.0.1")
    expect(await seen(trusted, "192.0.2.2", "198.51.100.7")).toBe("192.0.2.2")
    expect(await seen(trusted, "10.0.0.1", "nonsense")).toBe("10.0.0.1")
    expect(await seen(trusted, "10.0.0.1")).toBe("10.0.0.1")
  })

  test("is not configured with what is no network", () => {
    for (const text of ["", "proxy.example", "10.0.0.0/33", "10.0.0", "*"]) {
      expect(() => Proxies.networksOf([text])).toThrow("Not a network")
    }
  })
})

describe("the names of a registry", () => {
  test("are its public URLs and where it listens", () => {
    expect(audiencesAt("127.0.0.1", 8000, [])).toEqual([
      "http://127.0.0.1:8000",
      "http://localhost:8000",
      "http://[::1]:8000"
    ])
    expect(audiencesAt("192.0.2.1", 8000, ["https://Registry.example/"])).toEqual([
      "https://registry.example",
      "http://192.0.2.1:8000"
    ])
    expect(() => audiencesAt("127.0.0.1", 8000, ["registry.example"])).toThrow("Not an http URL")
  })

  test("are this machine's addresses where it listens on all, public URLs first, and bounded", () => {
    const urls = Array.from({ length: 15 }, (_, index) => `https://${index}.example`)
    const names = audiencesAt("0.0.0.0", 8000, urls)
    expect(names.slice(0, 15)).toEqual(urls)
    expect(names.length).toBe(Challenge.MAX_AUDIENCES)
    const own = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
    const outside = own.find(({ internal, family }) => !internal && family === "IPv4")
    if (outside !== undefined) expect(audiencesAt("0.0.0.0", 8000, [])).toContain(`http://${outside.address}:8000`)
    expect(audiencesAt("::", 8000, []).some((name) => name.includes("fe80"))).toBe(false)
  })
})
