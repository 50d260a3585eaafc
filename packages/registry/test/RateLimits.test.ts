import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Identity from "@parley/core/Identity"
import * as Challenge from "@parley/registry/Challenge"
import * as RateLimits from "@parley/registry/RateLimits"
import { AUDIENCE, instance } from "./identity.ts"

const options: RateLimits.Options = {
  address: { perSecond: 10, burst: 20 },
  identity: { perSecond: 5, burst: 8 },
  signIn: { perSecond: 1, burst: 2 },
  badTokens: { perSecond: 1, burst: 3 }
}
const app = RateLimits.middleware(options)(Effect.succeed(HttpServerResponse.text("served")))

const ask = async (
  at: ReturnType<typeof instance>,
  path: string,
  from: { readonly address: string; readonly token?: string; readonly method?: string },
  over = app
): Promise<HttpServerResponse.HttpServerResponse> => {
  const headers: Record<string, string> = from.token === undefined ? {} : { authorization: `Bearer ${from.token}` }
  const web = new Request(`http://x${path}`, { method: from.method ?? "GET", headers })
  const request = HttpServerRequest.fromWeb(web).modify({ remoteAddress: Option.some(from.address) })
  return at.run(Effect.provideService(over, HttpServerRequest.HttpServerRequest, request))
}

/** How many of `count` requests in a row are served. */
const servedOf = async (count: number, one: () => Promise<HttpServerResponse.HttpServerResponse>): Promise<number> => {
  let served = 0
  for (let i = 0; i < count; i++) if ((await one()).status === 200) served++
  return served
}

const signIn = async (at: ReturnType<typeof instance>) => {
  const identity = Identity.generate()
  const { challenge } = await at.run(at.auth.challenge(identity.nodeId))
  const { token } = await at.run(
    at.auth.prove(identity.nodeId, challenge, Challenge.sign(identity, AUDIENCE, challenge))
  )
  return token
}

describe("an address", () => {
  test("is served as long as its units last, then told when to come back, and is then served again", async () => {
    const at = instance()
    const address = "192.0.2.1"
    expect(await servedOf(30, () => ask(at, "/agents", { address }))).toBe(20)
    const refused = await ask(at, "/agents", { address })
    expect(refused.status).toBe(429)
    expect(refused.headers["retry-after"]).toBe("1")
    expect(refused.headers["content-type"]).toContain("application/problem+json")
    expect((await ask(at, "/agents", { address: "192.0.2.2" })).status).toBe(200)
    at.clock.now += 1_000
    expect(await servedOf(30, () => ask(at, "/agents", { address }))).toBe(10)
  })

  test("pays more for what costs more", async () => {
    const at = instance()
    expect(await servedOf(30, () => ask(at, "/discover", { address: "192.0.2.1", method: "POST" }))).toBe(10)
    expect(await servedOf(30, () => ask(at, "/events", { address: "192.0.2.2" }))).toBe(4)
    expect(await servedOf(30, () => ask(at, "/auth/token", { address: "192.0.2.3", method: "POST" }))).toBe(2)
  })

  test("of IPv6 is a whole /64, and IPv4 in IPv6 is IPv4", async () => {
    const at = instance()
    let served = 0
    for (let i = 0; i < 40; i++) {
      if ((await ask(at, "/agents", { address: `2001:db8:1:2::${i.toString(16)}` })).status === 200) served++
    }
    expect(served).toBe(20)
    expect((await ask(at, "/agents", { address: "2001:db8:1:3::1" })).status).toBe(200)
    expect(RateLimits.counted("::ffff:192.0.2.1")).toBe("192.0.2.1")
    expect(RateLimits.counted("fe80::1%eth0")).toBe("fe80:0:0:0::/64")
    expect(RateLimits.counted("nonsense")).toBe("unknown")
  })

  test("that shows tokens which are none is soon told to stop", async () => {
    const at = instance()
    const token = "eyJhbGciOiJub25lIn0.e30."
    expect(await servedOf(30, () => ask(at, "/agents", { address: "192.0.2.1", token }))).toBe(3)
  })

  test("of this machine is not limited where the registry serves nobody else", async () => {
    const at = instance({ options: { open: true } })
    const over = RateLimits.middleware({ ...options, exemptLoopback: true })(
      Effect.succeed(HttpServerResponse.text("served"))
    )
    expect(await servedOf(100, () => ask(at, "/agents", { address: "127.0.0.1" }, over))).toBe(100)
    expect(await servedOf(100, () => ask(at, "/agents", { address: "192.0.2.1" }, over))).toBe(20)
  })
})

describe("an identity", () => {
  test("has units of its own, whatever address it comes from", async () => {
    const at = instance()
    const token = await signIn(at)
    let served = 0
    for (let i = 0; i < 30; i++) {
      if ((await ask(at, "/agents", { address: `192.0.2.${i}`, token })).status === 200) served++
    }
    expect(served).toBe(8)
    expect((await ask(at, "/agents", { address: "192.0.2.1", token: await signIn(at) })).status).toBe(200)
  })
})
