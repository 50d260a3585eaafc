import { describe, expect, test } from "bun:test"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as Identity from "@parley/core/Identity"
import type { MatchContext } from "@parley/core/Matcher"
import { suite } from "@parley/core/testing/MatcherSuite"
import * as Effect from "effect/Effect"
import * as SiteMatcher from "../src/plugins/SiteMatcher.ts"

const now = 1_800_000_000_000
const context: MatchContext = { now, trust: () => 0.5, availability: () => ({ value: 1, why: "idle" }) }
const agent = (site: string | undefined, more: Partial<CapabilityRecord> = {}) =>
  AgentRecord.make(Identity.generate(), {
    name: site ?? "nowhere",
    seq: 1,
    issuedAt: now,
    addresses: [],
    capabilities: [
      { name: "work.do", version: "1.0.0", ...(site === undefined ? {} : { metadata: { site } }), ...more }
    ]
  })
const matcherOf = (...records: ReadonlyArray<AgentRecord.AgentRecord>) => {
  const matcher = SiteMatcher.make({ here: "fra1", allowed: ["fra1", "ams1"] })
  for (const record of records) matcher.upsert(record)
  return matcher
}

describe("SiteMatcher", () => {
  test("never matches a site that is not allowed, nor one that is not said, whatever the caller asks", () => {
    const matcher = matcherOf(agent("fra1"), agent("sfo3"), agent("ams1"), agent(undefined))
    const sites = (query: Parameters<typeof matcher.match>[0]) =>
      matcher.match(query, context).map(({ record }) => record.name)
    expect(sites({})).toEqual(["fra1", "ams1"])
    expect(sites({ constraints: { site: { in: ["sfo3", "ams1"] } } })).toEqual(["ams1"])
    expect(sites({ constraints: { site: { eq: "sfo3" } } })).toEqual([])
  })

  test("prefers the own site among equals, and says why; a much better one elsewhere still wins", () => {
    const [far, near] = [agent("ams1"), agent("fra1", { cost: { usdPerCall: 0.0001 } })]
    const [first, second] = matcherOf(far, near).match({}, context)
    expect([first?.record.name, second?.record.name]).toEqual(["fra1", "ams1"])
    expect(second?.parts.availability.why).toBe("idle, at ams1")
    const parts = Object.values(second!.parts)
    const mean = parts.reduce((sum, { value, weight }) => sum + value * weight, 0)
    expect(Math.abs(second!.score - mean / parts.reduce((sum, { weight }) => sum + weight, 0)) < 1e-12).toBe(true)
    const trusting = { ...context, trust: (node: string) => (node === far.node ? 1 : 0.1) }
    expect(matcherOf(far, near).match({}, trusting)[0]?.record.name).toBe("ams1")
  })

  test("the limit counts after the order, and equal ones stand in the same order whoever came first", () => {
    const records = Array.from({ length: 60 }, (_, i) => agent(i % 2 === 0 ? "ams1" : "fra1"))
    const best = matcherOf(...records).match({ limit: 30 }, context)
    expect(best.every(({ record }) => record.name === "fra1")).toBe(true)
    const again = matcherOf(...records.toReversed()).match({ limit: 30 }, context)
    expect(again.map(({ node }) => node)).toEqual(best.map(({ node }) => node))
  })
})

suite(
  { describe, expect, test },
  {
    name: "sites",
    make: Effect.sync(() => SiteMatcher.make({ here: "fra1", allowed: ["fra1", "ams1"] })),
    metadata: { site: "ams1" }
  }
)
