/** Verifies: what is said on PUNCH streams is read as it was written, or refused, and never crashed on. */
import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"
import * as Wire from "../src/internal/PunchWire.ts"

describe("what is said on PUNCH streams", () => {
  const endpoints = [
    { host: "203.0.113.9", port: 1 },
    { host: "2001:db8::7", port: 65_535 },
    { host: "::1", port: 7878 }
  ]

  test("is read as it was written", () => {
    for (const endpoint of endpoints) {
      expect(Wire.readSight(Wire.seen(endpoint))).toEqual({ _tag: "Seen", endpoint })
      expect(Wire.readSight(Wire.theirs(endpoint))).toEqual({ _tag: "Theirs", endpoint })
    }
    const token = Wire.newToken()
    expect(Wire.readSight(Wire.token(token, endpoints))).toEqual({
      _tag: "Token",
      token: Uint8Array.from(token),
      at: endpoints
    })
    for (const message of [
      { _tag: "Offer", port: 7878 },
      { _tag: "Answer", port: 0 },
      { _tag: "Ping" },
      { _tag: "Pong" },
      { _tag: "Go" }
    ] as const)
      expect(Wire.decode(Wire.encode(message))).toEqual(message)
    const node = Identity.generate().nodeId
    expect(Wire.readObserve(Wire.observe(node))).toBe(node)
    expect(Wire.readObserve(Wire.observe(undefined))).toBe(null)
    expect([...Wire.seen(endpoints[0]!)]).toEqual([3, 4, 203, 0, 113, 9, 0, 1])
    expect([...Wire.encode({ _tag: "Offer", port: 7878 })]).toEqual([5, 30, 198])
  })

  test("never crashes its reader", () => {
    const random = seeded(87)
    const whole = [Wire.token(Wire.newToken(), endpoints), Wire.seen(endpoints[1]!), Wire.observe(undefined)]
    forRounds(random, 2_000, () => {
      const bytes = random.int(2) === 0 ? mutate(random, random.pick(whole)) : random.bytes(random.int(64))
      const sight = Wire.readSight(bytes)
      if (sight?._tag === "Token" && sight.at.length > Wire.MAX_ENDPOINTS)
        throw new Error("more endpoints than allowed")
      if (
        sight !== undefined &&
        sight._tag !== "Token" &&
        !Wire.isEndpoint(sight.endpoint) &&
        !sight.endpoint.host.startsWith("::")
      )
        throw new Error(`that is no endpoint: ${JSON.stringify(sight)}`)
      Wire.decode(bytes)
      Wire.readObserve(bytes)
    })
  })
})
