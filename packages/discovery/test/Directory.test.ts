import { beforeEach, describe, expect, test } from "bun:test"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import { Directory } from "../src/internal/Directory.ts"

const now = 1_750_000_000_000
const options = { maxRecords: 3, maxBytes: 1_000_000, leaseMs: 60_000, graceMs: 10_000 }
const stranger = Identity.generate().nodeId

const recordOf = (identity: Identity.Identity["Service"], seq: number, expiresAt = now + 600_000) =>
  AgentRecord.make(identity, {
    name: "node",
    seq,
    issuedAt: now,
    expiresAt,
    addresses: ["tcp://192.0.2.1:7878"],
    capabilities: [{ name: "csv.describe", version: "1.2.0", description: "statistics of a table" }]
  })

describe("Directory", () => {
  let news: Array<string> = []
  let directory: Directory
  beforeEach(() => {
    news = []
    directory = new Directory(options, {
      onRecord: ({ node, seq }) => news.push(`${node} ${seq}`),
      onGone: (node) => news.push(`${node} gone`)
    })
  })
  const found = (at: number): ReadonlyArray<number> =>
    directory.find({ name: "csv.describe", version: "^1" }, 50, at, stranger).records.map(({ seq }) => seq)

  test("keeps a record until its lease ends, and longer when it is renewed", () => {
    const key = Identity.generate()
    const record = recordOf(key, 7)
    expect(directory.register(key.nodeId, record, now)).toEqual({ _tag: "Registered", leaseMs: 60_000 })
    expect(found(now + 59_999)).toEqual([7])
    expect(found(now + 60_000)).toEqual([])
    directory.register(key.nodeId, record, now + 30_000)
    directory.expire(now + 60_000)
    expect(found(now + 60_000)).toEqual([7])
    directory.expire(now + 90_000)
    expect(directory.size).toBe(0)
    expect(news).toEqual([`${key.nodeId} 7`, `${key.nodeId} gone`])
  })

  test("does not lease beyond the record's own end", () => {
    const key = Identity.generate()
    expect(directory.register(key.nodeId, recordOf(key, 1, now + 5_000), now)).toEqual({
      _tag: "Registered",
      leaseMs: 5_000
    })
    expect(found(now + 5_000)).toEqual([])
  })

  test("gives a node whose connection went a moment to come back", () => {
    const key = Identity.generate()
    directory.register(key.nodeId, recordOf(key, 1), now)
    directory.disconnected(key.nodeId, now)
    expect(found(now + 9_999)).toEqual([1])
    directory.expire(now + 10_000)
    expect(directory.size).toBe(0)
    directory.register(key.nodeId, recordOf(key, 1), now + 11_000)
    directory.disconnected(key.nodeId, now + 11_000)
    directory.connected(key.nodeId)
    directory.expire(now + 70_999)
    expect(found(now + 70_999)).toEqual([1])
    expect(found(now + 71_000)).toEqual([])
  })

  test("is full for newcomers, not for those it holds", () => {
    const keys = Array.from({ length: 4 }, () => Identity.generate())
    for (const key of keys.slice(0, 3)) directory.register(key.nodeId, recordOf(key, 1), now)
    const late = keys[3]!
    expect(directory.register(late.nodeId, recordOf(late, 1), now)).toMatchObject({ _tag: "Refused", code: "Full" })
    expect(directory.register(keys[0]!.nodeId, recordOf(keys[0]!, 2), now)._tag).toBe("Registered")
    directory.withdraw(keys[1]!.nodeId)
    expect(directory.register(late.nodeId, recordOf(late, 1), now)._tag).toBe("Registered")
    expect(directory.size).toBe(3)
  })

  test("a tombstone takes the record out", () => {
    const key = Identity.generate()
    directory.register(key.nodeId, recordOf(key, 1), now)
    expect(directory.register(key.nodeId, AgentRecord.tombstone(key, 2, now), now)).toEqual({
      _tag: "Registered",
      leaseMs: 0
    })
    expect(directory.size).toBe(0)
  })

  test("finds by node, by name and by words, and never the asker itself", () => {
    const [a, b] = [Identity.generate(), Identity.generate()]
    for (const key of [a, b]) directory.register(key.nodeId, recordOf(key, 1), now)
    const nodes = (query: Parameters<Directory["find"]>[0], asker = stranger) =>
      directory.find(query, 50, now, asker).records.map(({ node }) => node)
    expect(nodes({ node: a.nodeId })).toEqual([a.nodeId])
    expect(nodes({ text: "statistics" }).toSorted()).toEqual([a.nodeId, b.nodeId].toSorted())
    expect(nodes({ name: "csv.*", minTrust: 0.99 }).length).toBe(2)
    expect(nodes({}, a.nodeId)).toEqual([b.nodeId])
    expect(nodes({ node: a.nodeId, name: "other" })).toEqual([])
    expect(directory.find({}, 1, now, stranger).more).toBe(true)
  })

  test("is full by bytes, too: large records do not fill the memory that small ones were counted for", () => {
    const large = (key: Identity.Identity["Service"], seq: number) =>
      AgentRecord.make(key, {
        name: "large",
        seq,
        issuedAt: now,
        expiresAt: now + 600_000,
        addresses: [],
        capabilities: [{ name: "csv.describe", version: "1.2.0", input: { description: "x".repeat(60_000) } }]
      })
    const tight = new Directory(
      { ...options, maxRecords: 1_000, maxBytes: 200_000 },
      { onRecord: () => {}, onGone: () => {} }
    )
    const keys = Array.from({ length: 5 }, () => Identity.generate())
    const came = keys.map((key) => tight.register(key.nodeId, large(key, 1), now)._tag)
    expect(came).toEqual(["Registered", "Registered", "Registered", "Refused", "Refused"])
    // Those held may renew and change, and whoever leaves makes room.
    expect(tight.register(keys[0]!.nodeId, large(keys[0]!, 2), now)._tag).toBe("Registered")
    for (let round = 0; round < 20; round++) {
      tight.withdraw(keys[round % 3]!.nodeId)
      expect(tight.register(keys[round % 3]!.nodeId, large(keys[round % 3]!, 3 + round), now)._tag).toBe("Registered")
    }
    tight.withdraw(keys[1]!.nodeId)
    expect(tight.register(keys[4]!.nodeId, large(keys[4]!, 1), now)._tag).toBe("Registered")
  })

  test("an empty query looks at no more records than it answers", () => {
    const keys = Array.from({ length: 40 }, () => Identity.generate())
    const wide = new Directory({ ...options, maxRecords: 100 }, { onRecord: () => {}, onGone: () => {} })
    keys.forEach((key, at) => wide.register(key.nodeId, recordOf(key, at + 1), now))
    const seqs = (limit: number, asker = stranger) => wide.find({}, limit, now, asker).records.map(({ seq }) => seq)
    expect(seqs(3)).toEqual([40, 39, 38])
    expect(seqs(3, keys[39]!.nodeId)).toEqual([39, 38, 37])
    expect(wide.find({}, 40, now, stranger).more).toBe(false)
    expect(wide.find({}, 39, now, stranger).more).toBe(true)
  })
})
