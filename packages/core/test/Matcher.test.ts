import { describe, expect, test } from "bun:test"
import type { CapabilityRecord } from "../src/Capability.ts"
import { CapabilityIndex } from "../src/internal/CapabilityIndex.ts"
import { distance } from "../src/internal/ClosestNames.ts"
import { stem, wordsOf } from "../src/internal/Words.ts"
import * as Matcher from "../src/Matcher.ts"
import * as NodeId from "../src/NodeId.ts"
import * as Query from "../src/Query.ts"
import { capability, context, node, nodes, now, recordOf } from "./matcher-world.ts"
import { seeded } from "../src/testing/Seeded.ts"

/** A matcher in which each capability is another node's, in order. */
const of = (...capabilities: ReadonlyArray<CapabilityRecord>): Matcher.Matcher["Service"] => {
  const matcher = Matcher.make()
  capabilities.forEach((one, i) => matcher.upsert(recordOf(node(i), [one])))
  return matcher
}

/** Which of the capabilities match, by their place. */
const places = (query: Query.Query, ...capabilities: ReadonlyArray<CapabilityRecord>): ReadonlyArray<number> =>
  of(...capabilities)
    .match(query, context())
    .map((match) => nodes.indexOf(match.node))
    .sort((a, b) => a - b)

describe("filters", () => {
  test("name: exact, and by prefix", () => {
    const all = ["csv.describe", "csv.describe.fast", "csvx.describe", "text.sentiment"].map((name) => capability(name))
    expect(places({ name: "csv.describe" }, ...all)).toEqual([0])
    expect(places({ name: "csv.*" }, ...all)).toEqual([0, 1])
    expect(places({ name: "csv*" }, ...all)).toEqual([0, 1, 2])
    expect(places({ name: "csv.d*" }, ...all)).toEqual([0, 1])
    expect(places({ name: "*" }, ...all)).toEqual([0, 1, 2, 3])
    expect(places({ name: "csv" }, ...all)).toEqual([])
    expect(places({ name: "nothing.*" }, ...all)).toEqual([])
  })

  test("version: another major never matches, a pre-release only where one is named", () => {
    const all = ["1.2.0", "1.10.3", "2.0.0", "2.0.0-rc.1", "0.9.9"].map((version) => capability("a", { version }))
    expect(places({ name: "a", version: "^1.2" }, ...all)).toEqual([0, 1])
    expect(places({ name: "a", version: "^1.2.1" }, ...all)).toEqual([1])
    expect(places({ version: ">=1 <3" }, ...all)).toEqual([0, 1, 2])
    expect(places({ version: ">=2.0.0-rc.0" }, ...all)).toEqual([2, 3])
    expect(places({ version: "0.9.9 || 2.x" }, ...all)).toEqual([2, 4])
    expect(places({ version: "*" }, ...all)).toEqual([0, 1, 2, 4])
    expect(places({ version: "newest" }, ...all)).toEqual([])
  })

  test("features and tags: all of them, spelt alike", () => {
    const all = [
      capability("a", { features: ["gpu", "batch"], tags: ["x", "y"] }),
      capability("a", { features: ["gpu"], tags: ["x"] }),
      capability("a", { features: ["GPU", "batching"] }),
      capability("a")
    ]
    expect(places({ features: ["gpu"] }, ...all)).toEqual([0, 1])
    expect(places({ features: ["gpu", "batch"] }, ...all)).toEqual([0])
    expect(places({ name: "a", features: ["batch"] }, ...all)).toEqual([0])
    expect(places({ features: ["tpu"] }, ...all)).toEqual([])
    expect(places({ tags: ["x"] }, ...all)).toEqual([0, 1])
    expect(places({ tags: ["y", "x"], features: ["gpu"] }, ...all)).toEqual([0])
    expect(places({ features: [], tags: [] }, ...all)).toEqual([0, 1, 2, 3])
  })

  test("constraints on metadata", () => {
    const all = [
      capability("a", { metadata: { n: 5, s: "b", ok: true, list: ["x", "y"], none: [] } }),
      capability("a", { metadata: { n: 10, s: "c", ok: false, list: ["y", 3] } }),
      capability("a", { metadata: { n: "5" } }),
      capability("a")
    ]
    const by = (constraints: NonNullable<Query.Query["constraints"]>) => places({ constraints }, ...all)
    expect(by({ n: { eq: 5 } })).toEqual([0])
    expect(by({ n: { ne: 5 } })).toEqual([1, 2, 3])
    expect(by({ ok: { eq: false } })).toEqual([1])
    expect(by({ n: { in: [5, 10, 11] } })).toEqual([0, 1])
    expect(by({ n: { in: [] } })).toEqual([])
    expect(by({ n: { gte: 5 } })).toEqual([0, 1])
    expect(by({ n: { gte: 6, lte: 10 } })).toEqual([1])
    expect(by({ s: { lte: "b" } })).toEqual([0])
    expect(by({ n: { gte: "5" } })).toEqual([2])
    expect(by({ list: { eq: "y" } })).toEqual([0, 1])
    expect(by({ list: { ne: "x" } })).toEqual([1, 2, 3])
    expect(by({ list: { in: ["x", 3] } })).toEqual([0, 1])
    expect(by({ list: { lte: 3 } })).toEqual([1])
    expect(by({ none: { exists: true } })).toEqual([0])
    expect(by({ none: { ne: 1 } })).toEqual([0, 1, 2, 3])
    expect(by({ n: { exists: false } })).toEqual([3])
    expect(by({ constructor: { exists: true } })).toEqual([])
    expect(by({ n: { gte: 5 }, s: { eq: "c" } })).toEqual([1])
  })

  test("cost, latency, stream, node and trust", () => {
    const all = [
      capability("a", { cost: { usdPerCall: 0.01 }, latencyMs: 100 }),
      capability("a", { cost: { usdPerCall: 0.02 }, latencyMs: 200, stream: true }),
      capability("a")
    ]
    expect(places({ maxCostUsd: 0.01 }, ...all)).toEqual([0, 2])
    expect(places({ maxCostUsd: 0 }, ...all)).toEqual([2])
    expect(places({ maxLatencyMs: 100 }, ...all)).toEqual([0])
    expect(places({ stream: true }, ...all)).toEqual([1])
    expect(places({ stream: false }, ...all)).toEqual([0, 2])
    expect(places({ node: node(1) }, ...all)).toEqual([1])
    expect(places({ node: node(1), stream: false }, ...all)).toEqual([])
    expect(places({ node: node(9) }, ...all)).toEqual([])
    const trusted = of(...all).match({ minTrust: 0.6 }, context({ trust: (of) => (of === node(1) ? 0.6 : 0.59) }))
    expect(trusted.map((match) => match.node)).toEqual([node(1)])
  })
})

describe("words", () => {
  test("are whole: ai is not in email", () => {
    const all = [
      capability("email-sender", { description: "Maintains mail; waits" }),
      capability("ai.chat"),
      capability("assist", { tags: ["AI tools"] }),
      capability("talk", { description: "Speaks like an AI." })
    ]
    expect(places({ text: "ai" }, ...all)).toEqual([1, 2, 3])
    expect(places({ text: "mail" }, ...all)).toEqual([0])
    expect(places({ text: "send e-mail, please" }, ...all)).toEqual([0])
    expect(places({ text: "zebra" }, ...all)).toEqual([])
    expect(places({ text: "the of and" }, ...all)).toEqual([0, 1, 2, 3])
  })

  test("lose their English endings, and no more", () => {
    for (const [a, b] of [
      ["describe", "describing"],
      ["described", "describes"],
      ["translation", "translator"],
      ["summarization", "summarize"],
      ["summaries", "summary"],
      ["boxes", "box"],
      ["classes", "class"]
    ]) {
      expect(stem(a!)).toBe(stem(b!))
    }
    for (const word of ["ai", "gas", "bus", "csv", "code", "analysis", "status", "class"]) expect(stem(word)).toBe(word)
    expect([...wordsOf("Ｃsv, ÉTÉ été; 3rd_row")]).toEqual(["csv", "été", "3rd", "row"])
  })

  test("order by what they say: the name before the tag before the description, rare words before common ones", () => {
    const matcher = of(
      capability("other", { description: "can describe a table" }),
      capability("more", { tags: ["describe"] }),
      capability("csv.describe"),
      capability("csv.head"),
      capability("csv.tail")
    )
    const names = (text: string) => matcher.match({ text }, context()).map((match) => match.capability.name)
    expect(names("describe")).toEqual(["csv.describe", "more", "other"])
    expect(names("csv describe")[0]).toBe("csv.describe")
    expect(names("head of a csv file")[0]).toBe("csv.head")
  })

  test("stuffing a description with words does not pay", () => {
    const stuffed = Array.from({ length: 120 }, (_, i) => `word${i}`).join(" ")
    const matcher = of(
      capability("a", { description: `${stuffed} table` }),
      capability("b", { description: "Reads a table" })
    )
    expect(matcher.match({ text: "table" }, context()).map((match) => match.capability.name)).toEqual(["b", "a"])
  })
})

describe("scores", () => {
  test("are the weighted mean of parts that say why", () => {
    const matcher = of(capability("csv.describe", { cost: { usdPerCall: 0.01 }, tags: ["csv", "fast"] }))
    const [match] = matcher.match(
      { name: "csv.describe", preferTags: ["csv", "local"], preferPeers: [node(0)] },
      context({ trust: () => 0.8, availability: () => ({ value: 0.25, why: "3 of 4 busy" }) })
    )
    expect(match?.parts).toEqual({
      semantic: { value: expect.closeTo(0.92, 9), weight: 0.35, why: "exact name, 1 of 2 liked tags, liked peer" },
      trust: { value: 0.8, weight: 0.35, why: "trust 0.80" },
      availability: { value: 0.25, weight: 0.15, why: "3 of 4 busy" },
      cost: { value: 0.5, weight: 0.15, why: "$0.01 a call" }
    } as never)
    expect(match?.score).toBeCloseTo(0.35 * 0.92 + 0.35 * 0.8 + 0.15 * 0.25 + 0.15 * 0.5, 9)
    const why = (query: Query.Query) => matcher.match(query, context())[0]?.parts.semantic.why
    expect(why({ name: "csv.*" })).toBe("name begins with csv.")
    expect(why({ tags: ["csv"] })).toBe("passes every filter")
    expect(why({ text: "describe" })).toBe("words 1.00")
  })

  test("are given to none that may not be offered, however well it would score", () => {
    const matcher = of(capability("a"), capability("a"), capability("b"))
    const admits = (of: NodeId.NodeId, { name }: CapabilityRecord): boolean => of === node(1) || name === "b"
    const found = (query: Query.Query) => matcher.match(query, context({ admits })).map((match) => match.node)
    expect(found({ name: "a", limit: 1 })).toEqual([node(1)])
    expect(found({})).toEqual([node(1), node(2)].toSorted())
  })

  test("follow the policy", () => {
    const matcher = of(capability("a", { cost: { usdPerCall: 0.02 } }), capability("a"))
    const world = context({
      trust: (of) => (of === node(0) ? 0.9 : 0.5),
      availability: (of) => ({ value: of === node(0) ? 0.2 : 0.4, why: "" })
    })
    const first = (policy: NonNullable<Query.Query["policy"]>) => matcher.match({ policy }, world)[0]?.node
    expect(first("best")).toBe(node(0))
    expect(first("cheapest")).toBe(node(1))
    expect(first("fastest")).toBe(node(1))
    expect(first({ semantic: 0, trust: 1, availability: 0, cost: 0 })).toBe(node(0))
    expect(matcher.match({ policy: { semantic: 0, trust: 0, availability: 0, cost: 0 } }, world)[0]?.score).toBe(0)
  })

  test("stay between 0 and 1 whatever the context says", () => {
    const matcher = of(capability("a"))
    for (const value of [Number.NaN, -3, 7, Infinity]) {
      const world = context({ trust: () => value, availability: () => ({ value, why: "" }) })
      const score = matcher.match({}, world)[0]!.score
      expect(score >= 0 && score <= 1).toBe(true)
    }
  })

  test("tie by NodeId, name, newer version", () => {
    const matcher = Matcher.make()
    const capabilities = [
      capability("b"),
      capability("a"),
      capability("a", { version: "1.9.0" }),
      capability("a", { version: "1.10.0" })
    ]
    for (const i of [3, 1, 2]) matcher.upsert(recordOf(node(i), capabilities))
    const sorted = [node(1), node(2), node(3)].sort(NodeId.compare)
    const found = matcher
      .match({}, context())
      .map((match) => `${match.node} ${match.capability.name}@${match.capability.version}`)
    expect(found).toEqual(
      sorted.flatMap((of) => ["a@1.10.0", "a@1.9.0", "a@1.2.0", "b@1.2.0"].map((id) => `${of} ${id}`))
    )
  })
})

describe("records", () => {
  test("are replaced, removed, expired, buried and counted", () => {
    const matcher = Matcher.make()
    const names = () => matcher.match({}, context()).map((match) => match.capability.name)
    matcher.upsert(recordOf(node(0), [capability("a"), capability("b")]))
    matcher.upsert(recordOf(node(0), [capability("b"), capability("c")], { seq: 2 }))
    expect(names()).toEqual(["b", "c"])
    const revision = matcher.revision()
    matcher.upsert(recordOf(node(0), [capability("a")]))
    expect(names()).toEqual(["b", "c"])
    expect(matcher.revision()).toBe(revision)
    matcher.upsert(recordOf(node(1), [capability("d")], { expiresAt: now }))
    expect(names()).toEqual(["b", "c"])
    expect(matcher.size()).toEqual({ records: 2, capabilities: 3 })
    expect(matcher.match({ node: node(1) }, context())).toEqual([])
    expect(matcher.prune(now)).toBe(1)
    expect([...matcher.records()].map((record) => record.node)).toEqual([node(0)])
    matcher.upsert(recordOf(node(0), [], { seq: 3, expiresAt: now - 1_000 }))
    expect(matcher.size()).toEqual({ records: 0, capabilities: 0 })
    expect(matcher.get(node(0))).toBe(undefined)
    expect(matcher.revision()).toBeGreaterThan(revision)
    matcher.remove(node(0))
    expect(names()).toEqual([])
  })

  test("go in the order of their last renewal when there are too many", () => {
    const matcher = Matcher.make({ maxRecords: 2 })
    matcher.upsert(recordOf(node(0), [capability("a")]))
    matcher.upsert(recordOf(node(1), [capability("a")]))
    matcher.upsert(recordOf(node(0), [capability("a")], { seq: 2 }))
    matcher.upsert(recordOf(node(2), [capability("a")]))
    expect([...matcher.records()].map((record) => record.node)).toEqual([node(0), node(2)])
  })

  test("leave nothing behind after 100,000 of them", () => {
    const random = seeded(5)
    const index = new CapabilityIndex(1_000, undefined)
    for (let i = 0; i < 100_000; i++) {
      const of = random.pick(nodes)
      if (random.int(10) === 0) index.remove(of)
      else {
        const word = `w${random.int(5_000)}`
        const features = random.int(2) === 0 ? [word] : []
        const one: CapabilityRecord = {
          name: `${word}.x`,
          version: "1.0.0",
          description: `common ${word} ${i}`,
          tags: ["t", word],
          features
        }
        index.upsert(recordOf(of, [one], { seq: i }))
      }
      if (i % 1_000 === 0) {
        const live = index.definitions.size
        expect(live <= nodes.length).toBe(true)
        expect(index.numbered.length <= 2 * live + 1_024).toBe(true)
        expect(index.names.size <= live).toBe(true)
        for (const { size, versions } of index.names.values()) expect(versions.size <= size && size <= live).toBe(true)
        for (const home of [index.words, index.tags, index.features]) {
          expect(home.size <= 4 * live + 4).toBe(true)
          for (const posting of home.values()) expect(posting.entries.length <= 2 * live + 1).toBe(true)
        }
      }
    }
    for (const of of nodes) index.remove(of)
    const { definitions, families, features, names, offers, records, tags, words } = index
    const sizes = [definitions, families, features, names, records, tags, words].map((map) => map.size)
    expect([...sizes, offers]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  }, 60_000)
})

test("what many agents say alike is held once, however many definitions a version has", () => {
  const index = new CapabilityIndex(1_000, undefined)
  const said = (i: number, more: Partial<CapabilityRecord> = {}): CapabilityRecord => ({
    name: "a.b",
    version: "1.0.0",
    description: `does ${i % 10}`,
    ...(i < 10 ? {} : { tags: ["t", `${i}`] }),
    ...more
  })
  const all = Array.from({ length: 30 }, (_, i) => said(i))
  const others = [
    said(0, { stream: true }),
    said(0, { features: ["t"] }),
    { name: "a.b", version: "1.0.0" },
    { name: "a.b", version: "1.0.0", description: "" },
    said(10, { tags: ["10", "t"] })
  ]
  for (const of of nodes.slice(0, 5)) index.upsert(recordOf(of, structuredClone([...all, ...others])))
  expect([index.definitions.size, index.offers]).toEqual([35, 175])
  // No tags are as good as none at all.
  index.upsert(recordOf(nodes[5]!, [said(0, { tags: [], features: [], stream: false })]))
  expect([index.definitions.size, index.offers]).toEqual([35, 176])
  for (const of of nodes.slice(0, 5)) index.remove(of)
  expect([index.definitions.size, index.offers, index.words.size]).toEqual([1, 1, 2])
  index.upsert(recordOf(nodes[6]!, structuredClone(all)))
  expect(index.definitions.size).toBe(30)
  for (const of of nodes) index.remove(of)
  expect([index.definitions.size, index.names.size]).toEqual([0, 0])
})

test("closest names those nearest, with the newest version", () => {
  const matcher = Matcher.make()
  matcher.upsert(recordOf(node(0), [capability("csv.describe"), capability("csv.head"), capability("text.sentiment")]))
  matcher.upsert(recordOf(node(1), [capability("csv.describe", { version: "1.10.0" })]))
  matcher.upsert(recordOf(node(2), [capability("csv.described")]))
  const [first, second, ...rest] = matcher.closest("csv.decsribe@^1", 3)
  expect(first).toEqual({ id: "csv.describe@1.10.0", node: node(1) })
  expect(second).toEqual({ id: "csv.described@1.2.0", node: node(2) })
  expect(rest).toEqual([])
  expect(matcher.closest("weather", 3)).toEqual([])
  expect(matcher.closest("csv.hea", 1)).toEqual([{ id: "csv.head@1.2.0", node: node(0) }])
  expect(distance("kitten", "sitting", 5)).toBe(3)
  expect(distance("ab", "ba", 5)).toBe(1)
  expect(distance("abc", "xyzuvw", 2)).toBe(3)
})

test("Query.check says what is wrong with a range or a name", () => {
  expect(Query.check({ name: "csv.*", version: "^1.2 || >=3 <4" })).toBe(undefined)
  expect(Query.check({})).toBe(undefined)
  expect(Query.check({ version: "latest" })).toContain('"latest"')
  expect(Query.check({ name: "a*b" })).toContain("*")
})
