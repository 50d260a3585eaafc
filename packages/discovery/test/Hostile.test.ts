import { describe, expect, test } from "bun:test"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as dnsPacket from "dns-packet"
import * as DnsSd from "../src/internal/DnsSd.ts"
import { MAX_INSTANCES, ServiceCache } from "../src/internal/ServiceCache.ts"
import * as Wire from "../src/internal/TrackerWire.ts"
import { hostile } from "./support/Hostile.ts"

const INPUTS = 100_000
const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

/** Feeds hostile inputs to a decoder; what it throws is reported with what is needed to do it again. */
const feed = (examples: ReadonlyArray<Uint8Array>, take: (bytes: Uint8Array) => void): void => {
  const random = fromSeed(seed)
  for (let i = 0; i < INPUTS; i++) {
    const bytes = hostile(random, examples)
    try {
      take(bytes)
    } catch (cause) {
      throw new Error(`input ${i} of PARLEY_SEED=${seed}: ${Buffer.from(bytes).toString("hex")}`, { cause })
    }
  }
}

describe("hostile bytes", () => {
  const key = Identity.generate()
  const record = AgentRecord.make(key, {
    name: "ada",
    seq: 1,
    issuedAt: Date.now(),
    addresses: ["tcp://192.0.2.1:7878"],
    capabilities: [{ name: "a.b", version: "1.0.0" }]
  })

  test("a tracker's words cannot rewrite the log that shows them", () => {
    const words = { t: "refused" as const, code: "Full" as const, detail: "\u001b[2J\n[INFO] all is well" }
    expect(Wire.decodeReply(Wire.encode(words)).t).toBe("malformed")
    expect(Wire.decodeReply(Wire.encode(Wire.refusal("Full", words.detail))).t).toBe("refused")
  })

  test("tracker requests are decoded or refused", () => {
    const examples = [
      Wire.encode({ t: "register", record }),
      Wire.encode({ t: "find", query: { name: "a.*", version: "^1", constraints: { x: { gte: 1 } } }, limit: 5 }),
      Wire.encode({ t: "watch" })
    ]
    let understood = 0
    feed(examples, (bytes) => {
      if (Wire.decodeRequest(bytes).t !== "malformed") understood++
    })
    // Some survive unharmed, most do not: both ways were gone.
    expect(understood).toBeGreaterThan(100)
    expect(understood).toBeLessThan(INPUTS * 0.9)
  }, 60_000)

  test("tracker replies are decoded or refused", () => {
    const examples = [
      Wire.encode({ t: "record", record }),
      Wire.encode({ t: "registered", leaseMs: 60_000 }),
      Wire.encode({ t: "gone", node: key.nodeId }),
      Wire.encode(Wire.refusal("Full", "no room")),
      Wire.encode({ t: "end", more: false })
    ]
    let understood = 0
    feed(examples, (bytes) => {
      if (Wire.decodeReply(bytes).t !== "malformed") understood++
    })
    expect(understood).toBeGreaterThan(100)
    expect(understood).toBeLessThan(INPUTS * 0.9)
  }, 60_000)

  test("DNS packets change nothing but a bounded cache, and what is asked in return can be encoded", () => {
    const endpoint = { port: 7878, ips: ["192.0.2.1", "2001:db8::1"] }
    const packet = (ttl: number): Uint8Array =>
      dnsPacket.encode({ type: "response", ...DnsSd.answersOf(key.nodeId, endpoint, { ttl, flush: true }) })
    const many = dnsPacket.encode({
      type: "response",
      answers: Array.from({ length: 20 }, (_, i) => ({
        type: "PTR" as const,
        name: DnsSd.SERVICE,
        ttl: 120,
        data: `node${i}.${DnsSd.SERVICE}`
      }))
    })
    const cache = new ServiceCache()
    let decoded = 0
    let found = 0
    let asked = 0
    feed([packet(120), packet(0), many], (bytes) => {
      let heard: dnsPacket.DecodedPacket
      try {
        heard = dnsPacket.decode(Buffer.from(bytes))
      } catch {
        return
      }
      decoded++
      const learned = cache.ingest(heard, decoded, decoded % 2 === 0)
      found += learned.found.length
      asked += learned.missing.length
      if (learned.missing.length > 0) {
        const questions = learned.missing.slice(0, 64)
        const again = dnsPacket.decode(dnsPacket.encode({ type: "query", questions }))
        if (again.questions?.length !== questions.length) throw new Error("a question is not encoded as it was meant")
      }
      if (cache.size > MAX_INSTANCES) throw new Error(`${cache.size} instances are held`)
    })
    expect([decoded > 10_000, found > 100, asked > 100, cache.size > 20]).toEqual([true, true, true, true])
  }, 120_000)

  test("answers that are well-formed and senseless change nothing", () => {
    const cache = new ServiceCache()
    const instance = DnsSd.instanceOf(key.nodeId)
    const odd: ReadonlyArray<unknown> = [
      undefined,
      [undefined, null, 7, "PTR", {}],
      [{ type: "PTR", name: DnsSd.SERVICE, ttl: 120, data: { length: 3 } }],
      [{ type: "SRV", name: instance, ttl: 120, data: { port: "7878", target: 5 } }],
      [{ type: "TXT", name: instance, ttl: 120, data: [1, 2, 3] }],
      [{ type: "TXT", name: instance, ttl: "soon", data: ["v=1", `id=${key.nodeId}`] }],
      [{ type: "TXT", name: `other.${DnsSd.SERVICE}`, ttl: 120, data: ["v=1", `id=${key.nodeId}`] }],
      [{ type: "A", name: DnsSd.hostOf(key.nodeId), ttl: 120, data: "192.0.2.1" }]
    ]
    for (const answers of odd) expect(cache.ingest({ answers }, 0, true)).toEqual({ found: [], missing: [] })
    expect(cache.size).toBe(0)
  })
})
