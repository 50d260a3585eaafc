import { describe, expect, test } from "bun:test"
import * as AgentRecord from "../src/AgentRecord.ts"
import * as CanonicalJson from "../src/CanonicalJson.ts"
import * as Identity from "../src/Identity.ts"
import * as SignedBytes from "../src/SignedBytes.ts"
import { forRounds, mutate, type Seeded, seeded } from "../src/testing/Seeded.ts"

const identity = Identity.fromSeed(new Uint8Array(32).fill(1))
const stranger = Identity.fromSeed(new Uint8Array(32).fill(2))
const now = 1_800_000_000_000
const fields: AgentRecord.Fields = {
  name: "ada",
  seq: 7,
  issuedAt: now,
  addresses: ["tcp://192.168.1.20:7878", `relay:${stranger.nodeId}`],
  capabilities: [
    { name: "csv.describe", version: "1.0.0", description: "Summary statistics of a table", tags: ["csv"] },
    { name: "text.sentiment", version: "2.1.0", metadata: { language: ["en", "de"] }, cost: { usdPerCall: 0.001 } }
  ]
}
const record = AgentRecord.make(identity, fields)

const reasonOf = (result: AgentRecord.AgentRecord | AgentRecord.RecordRefused): string =>
  result instanceof AgentRecord.RecordRefused ? result.reason._tag : "accepted"
const verdictOf = (value: unknown, against: Partial<AgentRecord.Against> = {}): string =>
  reasonOf(AgentRecord.verify(value, { now, ...against }))

/** A record with whatever content, truly signed: what a hostile owner of a key can make. */
const signed = (content: object, by: Identity.Identity["Service"] = identity): unknown => {
  const { sig: _, ...body } = { ...record, ...content } as Record<string, unknown>
  return { ...body, sig: SignedBytes.sign(by, "record", CanonicalJson.bytes(body)) }
}

describe("AgentRecord", () => {
  test("is accepted from a value, text or bytes, with members in any order", () => {
    expect(AgentRecord.verify(record, { now })).toBe(record)
    const reversed = JSON.stringify(Object.fromEntries(Object.entries(record).reverse()), null, 1)
    expect(AgentRecord.verify(reversed, { now })).toEqual(record)
    expect(AgentRecord.verify(Buffer.from(reversed), { now, expect: identity.nodeId })).toEqual(record)
    expect(record.expiresAt - record.issuedAt).toBe(AgentRecord.DEFAULT_LIFETIME)
  })

  test("keeps members that this version does not know, when they are signed", () => {
    const later = signed({ colour: "blue" })
    expect(AgentRecord.verify(later, { now })).toEqual(later as AgentRecord.AgentRecord)
    expect(verdictOf({ ...(later as object), colour: "red" })).toBe("BadSignature")
    expect(verdictOf({ ...record, colour: "blue" })).toBe("BadSignature")
  })

  test("refuses any change of its content", () => {
    const [first, second] = record.capabilities
    const changes: ReadonlyArray<object> = [
      { name: "bob" },
      { seq: 8 },
      { issuedAt: now - 1 },
      { expiresAt: record.expiresAt + 1 },
      { addresses: [...record.addresses].reverse() },
      { addresses: [] },
      { capabilities: [second, first] },
      { capabilities: [first] },
      { capabilities: [{ ...first, description: "Something else" }, second] },
      { node: stranger.nodeId },
      { sig: AgentRecord.make(identity, { ...fields, seq: 8 }).sig }
    ]
    for (const change of changes) {
      expect([change, verdictOf({ ...record, ...change })]).toEqual([change, "BadSignature"])
    }
    expect(verdictOf(signed({}, stranger))).toBe("BadSignature")
  })

  test("refuses another node's record where one node's is expected", () => {
    expect(verdictOf(record, { expect: identity.nodeId })).toBe("accepted")
    expect(verdictOf(record, { expect: stranger.nodeId })).toBe("WrongSigner")
    expect(verdictOf(record, { known: AgentRecord.make(stranger, fields) })).toBe("WrongSigner")
  })

  test("holds from its issue, by a peer's clock, to its expiry", () => {
    expect(verdictOf(record, { now: record.expiresAt - 1 })).toBe("accepted")
    expect(verdictOf(record, { now: record.expiresAt })).toBe("Expired")
    expect(verdictOf(record, { now: now - AgentRecord.CLOCK_SKEW })).toBe("accepted")
    expect(verdictOf(record, { now: now - AgentRecord.CLOCK_SKEW - 1 })).toBe("FromFuture")
    expect(verdictOf(signed({ expiresAt: now + AgentRecord.MAX_LIFETIME }))).toBe("accepted")
    expect(verdictOf(signed({ expiresAt: now + AgentRecord.MAX_LIFETIME + 1 }))).toBe("LifetimeTooLong")
    expect(verdictOf(signed({ expiresAt: now }))).toBe("Expired")
    const error = AgentRecord.verify(record, { now: record.expiresAt + 5_000 }) as AgentRecord.RecordRefused
    expect(error.message).toContain("expired 5 s ago")
  })

  test("gives way to a higher seq only; the same again is unchanged", () => {
    const older = AgentRecord.make(identity, { ...fields, seq: 6 })
    const newer = AgentRecord.make(identity, { ...fields, seq: 8, name: "ada two" })
    const other = AgentRecord.make(identity, { ...fields, name: "not ada" })
    expect(AgentRecord.verify(newer, { now, known: record })).toBe(newer)
    expect(verdictOf(older, { known: record })).toBe("NotNewer")
    expect(verdictOf(other, { known: record })).toBe("NotNewer")
    // Nor does one that was taken before, where nothing was known.
    expect(AgentRecord.verify(other, { now })).toBe(other)
    expect(verdictOf(other, { known: record })).toBe("NotNewer")
    expect(AgentRecord.verify(JSON.stringify(record), { now, known: record })).toBe(record)
    // Neither a right signature on other content nor other content with the known signature passes as unchanged.
    expect(verdictOf({ ...other, sig: record.sig }, { known: record })).toBe("NotNewer")
    expect(verdictOf({ ...record, sig: other.sig }, { known: record })).toBe("NotNewer")
    expect(verdictOf(record, { known: record, now: record.expiresAt })).toBe("Expired")
    expect(AgentRecord.newest(older, newer)).toBe(newer)
    expect(AgentRecord.newest(newer, older)).toBe(newer)
    expect(AgentRecord.newest(record, other)).toBe(record)
  })

  test("a tombstone buries what it may meet, and no longer", () => {
    const stone = AgentRecord.tombstone(identity, 8, now)
    expect(AgentRecord.isTombstone(stone)).toBe(true)
    expect(AgentRecord.isTombstone(record)).toBe(false)
    expect(AgentRecord.isTombstone(AgentRecord.make(identity, { ...fields, capabilities: [] }))).toBe(false)
    expect(AgentRecord.verify(stone, { now: now + 1, known: record })).toBe(stone)
    expect(verdictOf(record, { known: stone })).toBe("NotNewer")
    expect(verdictOf(stone, { now: now + AgentRecord.MAX_LIFETIME - 1 })).toBe("accepted")
    expect(verdictOf(stone, { now: now + AgentRecord.MAX_LIFETIME })).toBe("Expired")
    expect(verdictOf({ ...stone, seq: 9 })).toBe("BadSignature")
    expect(verdictOf(AgentRecord.tombstone(identity, 7, now), { known: record })).toBe("NotNewer")
  })

  test("is bounded in bytes", () => {
    const filled = (bytes: number) => signed({ padding: "x".repeat(bytes) })
    const empty = CanonicalJson.bytes(filled(0)).length
    const room = AgentRecord.MAX_RECORD_BYTES - empty
    expect(CanonicalJson.bytes(filled(room)).length).toBe(AgentRecord.MAX_RECORD_BYTES)
    for (const form of [(value: unknown) => value, (value: unknown) => JSON.stringify(value)]) {
      expect(verdictOf(form(filled(room)))).toBe("accepted")
      expect(verdictOf(form(filled(room + 1)))).toBe("Oversized")
      expect(verdictOf(form(filled(0)), { maxBytes: empty })).toBe("accepted")
      expect(verdictOf(form(filled(1)), { maxBytes: empty })).toBe("Oversized")
      // The bound can be lowered, not raised.
      expect(verdictOf(form(filled(room + 1)), { maxBytes: 1e9 })).toBe("Oversized")
    }
    const schema = { description: "x".repeat(AgentRecord.MAX_RECORD_BYTES) }
    expect(() =>
      AgentRecord.make(identity, { ...fields, capabilities: [{ ...fields.capabilities[0]!, input: schema }] })
    ).toThrow("shorten schemas")
  })

  test("is bounded in everything else, and has one shape", () => {
    const [capability] = record.capabilities
    const address = "tcp://a:1"
    const many = (count: number, value: unknown) => Array.from({ length: count }, () => value)
    const right: ReadonlyArray<object> = [
      { capabilities: many(AgentRecord.MAX_CAPABILITIES, capability) },
      { addresses: many(AgentRecord.MAX_ADDRESSES, address) },
      { addresses: ["x:" + "y".repeat(AgentRecord.MAX_ADDRESS_LENGTH - 2), "tcp://[fe80::1%25eth0]:1", "mem:a"] },
      { name: "ä".repeat(AgentRecord.MAX_NAME_LENGTH) },
      { name: "" }
    ]
    for (const content of right) expect([content, verdictOf(signed(content))]).toEqual([content, "accepted"])
    const wrong: ReadonlyArray<object> = [
      { capabilities: many(AgentRecord.MAX_CAPABILITIES + 1, capability) },
      { addresses: many(AgentRecord.MAX_ADDRESSES + 1, address) },
      { addresses: ["x:" + "y".repeat(AgentRecord.MAX_ADDRESS_LENGTH - 1)] },
      { addresses: ["no scheme"] },
      { addresses: ["tcp://a b"] },
      { addresses: ["tcp://\u001b[2J"] },
      { name: "a".repeat(AgentRecord.MAX_NAME_LENGTH + 1) },
      { name: "\u001b[31mred" },
      { name: "two\nlines" },
      { seq: -1 },
      { seq: 1.5 },
      { seq: 2 ** 53 },
      { issuedAt: "now" },
      { v: 2 },
      { node: "z6Mk" },
      { capabilities: [{ ...capability, version: "one" }] },
      // What a terminal or a log would take for a command.
      { capabilities: [{ ...capability, description: "\u001b[2J" }] },
      { capabilities: [{ ...capability, description: "a\r[INFO] b" }] },
      { capabilities: [{ ...capability, tags: ["\u001b]0;x\u0007"] }] },
      { capabilities: [{ ...capability, features: ["a\nb"] }] },
      { capabilities: [{ ...capability, metadata: { "a\u009b": 1 } }] },
      { capabilities: [{ ...capability, metadata: { ["k".repeat(129)]: 1 } }] },
      { capabilities: [{ ...capability, metadata: { a: ["\u0000"] } }] },
      { capabilities: [{ ...capability, name: "Not A Name" }] },
      { capabilities: "none" },
      { addresses: undefined }
    ]
    for (const content of wrong) expect([content, verdictOf(signed(content))]).toEqual([content, "Malformed"])
    for (const value of [null, undefined, 1, "", "null", [], {}, () => 1]) expect(verdictOf(value)).toBe("Malformed")
    let deep: unknown = 1
    for (let i = 0; i < 100; i++) deep = [deep]
    expect(verdictOf({ ...record, deep })).toBe("Malformed")
    expect(verdictOf('{"a":'.repeat(10_000))).toBe("Malformed")
    expect(verdictOf({ ...record, extra: NaN })).toBe("Malformed")
  })

  test("is refused by its own node before anybody else has to", () => {
    const attempts: ReadonlyArray<readonly [Partial<AgentRecord.Fields>, AgentRecord.RecordRefused["reason"]["_tag"]]> =
      [
        [{ expiresAt: now + AgentRecord.MAX_LIFETIME + 1 }, "LifetimeTooLong"],
        [{ expiresAt: now - 1 }, "Expired"],
        [{ name: "a\u0000" }, "Malformed"],
        [{ name: "\ud800" }, "Malformed"],
        [{ seq: NaN }, "Malformed"]
      ]
    for (const [change, tag] of attempts) {
      let thrown: unknown
      try {
        AgentRecord.make(identity, { ...fields, ...change })
      } catch (cause) {
        thrown = cause
      }
      expect(thrown).toBeInstanceOf(AgentRecord.RecordRefused)
      expect((thrown as AgentRecord.RecordRefused).reason._tag).toBe(tag)
    }
  })

  const randomFields = (random: Seeded): AgentRecord.Fields => ({
    name: random.pick(["ada", "böb", "艾达", "👩‍🚀", ""]),
    seq: random.int(2 ** 50),
    issuedAt: now - random.int(1_000_000),
    expiresAt: now + 1 + random.int(80_000_000),
    addresses: Array.from({ length: random.int(5) }, (_, i) => `tcp://10.0.0.${i}:${random.int(65_536)}`),
    capabilities: Array.from({ length: random.int(4) }, (_, i) => ({
      name: `cap${i}.x`,
      version: `${random.int(9)}.${random.int(9)}.0`,
      ...(random.int(2) === 0 ? {} : { description: random.pick(["€", "two\n\tlines", '"\\', "plain"]) }),
      ...(random.int(2) === 0 ? {} : { latencyMs: random.next() * 1e6 }),
      ...(random.int(2) === 0 ? {} : { input: { type: "object", properties: { "\u20ac": { minimum: 1e-7 } } } })
    }))
  })

  test("survives a round trip through text, for any content", () => {
    const random = seeded(9)
    forRounds(random, 300, () => {
      const one = AgentRecord.make(Identity.fromSeed(random.bytes(32)), randomFields(random))
      expect(AgentRecord.verify(JSON.stringify(one), { now, expect: one.node })).toEqual(one)
      expect(AgentRecord.verify(CanonicalJson.bytes(one), { now })).toEqual(one)
    })
  })

  test("any order of arrival ends with the same record", () => {
    const random = seeded(10)
    forRounds(random, 50, () => {
      const records = Array.from({ length: 6 }, (_, i) =>
        i === 3
          ? AgentRecord.tombstone(identity, i, now)
          : AgentRecord.make(identity, { ...fields, seq: i, name: `n${random.int(100)}` })
      )
      let known: AgentRecord.AgentRecord | undefined
      const arrivals = [...records, ...records].map((value) => ({ value, at: random.next() }))
      for (const { value } of arrivals.sort((a, b) => a.at - b.at)) {
        const result = AgentRecord.verify(JSON.stringify(value), { now, known })
        if (!(result instanceof AgentRecord.RecordRefused)) known = result
      }
      expect(known).toEqual(records[5])
    })
  })

  test("survives 100,000 damaged records, and accepts none that says something else", () => {
    const random = seeded(11)
    const original = Buffer.from(JSON.stringify(record))
    const canonical = CanonicalJson.stringify(record)
    const seen = new Set<string>()
    forRounds(random, 100_000, (round) => {
      const result = AgentRecord.verify(mutate(random, original), round % 2 === 0 ? { now } : { now, known: record })
      seen.add(reasonOf(result))
      if (!(result instanceof AgentRecord.RecordRefused)) expect(CanonicalJson.stringify(result)).toBe(canonical)
    })
    for (const tag of ["Malformed", "BadSignature", "NotNewer"]) expect(seen.has(tag)).toBe(true)
  }, 120_000)
})
