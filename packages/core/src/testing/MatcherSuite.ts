/**
 * The laws of Matcher, for every implementation: call `suite` from a test file with the runner's own `describe`, `test` and
 * `expect`, and a subject that makes empty matchers.
 *
 * ```ts
 * import { describe, expect, test } from "bun:test"
 * suite({ describe, test, expect }, { name: "words", make: Effect.sync(() => Matcher.make()) })
 * ```
 *
 * A matcher may leave out more than the query does, by a rule of its own, and weigh the parts of a score its own way; how
 * near words are is no law either. Everything random comes from a seed, which the failure names.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { AgentRecord } from "../AgentRecord.ts"
import type { CapabilityRecord } from "../Capability.ts"
import type { Match, MatchContext, Matcher } from "../Matcher.ts"
import * as NodeId from "../NodeId.ts"
import { DEFAULT_LIMIT, MAX_LIMIT, policies, type Query } from "../Query.ts"
import { type Seeded, seeded } from "./Seeded.ts"
import { testNode } from "./StrategySuite.ts"
import type { TestApi } from "./TestApi.ts"

/** A matcher under test. */
export interface MatcherUnderTest {
  readonly name: string
  /** A new matcher, empty; its scope ends with the law. */
  readonly make: Effect.Effect<Matcher["Service"], unknown, Scope.Scope>
  /** In every capability's metadata, so that the matcher's own rule lets it pass. */
  readonly metadata?: NonNullable<CapabilityRecord["metadata"]>
}

const NOW = 1_800_000_000_000
const HOUR_MS = 3_600_000
/** Longest run of one law; the random ones take about a second. */
const LAW_MS = 60_000
const nodes = Array.from({ length: 30 }, (_, number) => testNode(number))

/** An unsigned record: a matcher is given verified ones and looks at no signature. */
const recordOf = (
  node: NodeId.NodeId,
  capabilities: ReadonlyArray<CapabilityRecord>,
  more: Partial<AgentRecord> = {}
): AgentRecord => ({
  v: 1,
  node,
  name: "agent",
  seq: 1,
  issuedAt: NOW,
  expiresAt: NOW + HOUR_MS,
  addresses: [],
  capabilities,
  sig: "A".repeat(86),
  ...more
})
const tombstoneOf = (node: NodeId.NodeId, seq: number): AgentRecord => recordOf(node, [], { seq, expiresAt: NOW })

const context = (more: Partial<MatchContext> = {}): MatchContext => ({
  now: NOW,
  trust: () => 0.5,
  availability: () => ({ value: 1, why: "free" }),
  ...more
})

/** What tells one match from another. */
const keyOf = ({ capability: { name, version }, node }: Match): string => `${node} ${name}@${version}`
const keysOf = (matches: ReadonlyArray<Match>): ReadonlyArray<string> => matches.map(keyOf)

const vocabulary = ["csv", "table", "mail", "mood", "image", "sound"]
/** Versions, the newer first. */
const versions = ["2.0.0", "1.10.0", "1.9.0", "1.0.0"]

const randomCapability = (random: Seeded, metadata: NonNullable<CapabilityRecord["metadata"]>): CapabilityRecord => ({
  name: `${random.pick(vocabulary)}.${random.pick(vocabulary)}`,
  version: random.pick(versions),
  ...(random.int(2) === 0 ? {} : { description: `${random.pick(vocabulary)} and ${random.pick(vocabulary)}` }),
  ...(random.int(2) === 0 ? {} : { tags: [random.pick(vocabulary)] }),
  ...(random.int(2) === 0 ? {} : { cost: { usdPerCall: random.int(4) / 100 } }),
  ...(random.int(2) === 0 ? {} : { latencyMs: random.int(4) * 100 }),
  metadata: { ...metadata, n: random.int(10) }
})

const randomQuery = (random: Seeded): Query => ({
  ...(random.int(4) === 0 ? { name: `${random.pick(vocabulary)}.*` } : {}),
  ...(random.int(6) === 0 ? { constraints: { n: { gte: random.int(6) } } } : {}),
  ...(random.int(3) === 0 ? { text: `${random.pick(vocabulary)} ${random.pick(vocabulary)}` } : {}),
  ...(random.int(4) === 0 ? { preferTags: [random.pick(vocabulary)] } : {}),
  ...(random.int(4) === 0 ? { preferPeers: [random.pick(nodes)] } : {}),
  ...(random.int(3) === 0 ? { policy: random.pick(Object.keys(policies) as Array<keyof typeof policies>) } : {})
})

const randomContext = (random: Seeded): MatchContext => {
  const trusts = new Map(nodes.map((node) => [node, random.int(4) / 3]))
  const shares = new Map(nodes.map((node) => [node, random.int(3) / 2]))
  return context({
    trust: (node) => trusts.get(node) ?? 0.5,
    availability: (node) => ({ value: shares.get(node) ?? 1, why: "as drawn" })
  })
}

/** For each filter a query, a capability that passes it, where one can, and some that do not. */
const filters: ReadonlyArray<{
  readonly name: string
  readonly query: Query
  readonly passes?: Partial<CapabilityRecord>
  readonly fails: ReadonlyArray<Partial<CapabilityRecord>>
}> = [
  { name: "a name", query: { name: "a.b" }, passes: {}, fails: [{ name: "a.bc" }, { name: "a" }] },
  { name: "a prefix", query: { name: "a.*" }, passes: {}, fails: [{ name: "b.a" }, { name: "ab.c" }] },
  { name: "a version", query: { version: "^1.2" }, passes: {}, fails: [{ version: "1.1.9" }, { version: "2.0.0" }] },
  { name: "a range that cannot be read", query: { version: "newest" }, fails: [{}] },
  {
    name: "features",
    query: { features: ["x", "y"] },
    passes: { features: ["y", "z", "x"] },
    fails: [{ features: ["x"] }, {}]
  },
  { name: "tags", query: { tags: ["x", "y"] }, passes: { tags: ["x", "y"] }, fails: [{ tags: ["y"] }, {}] },
  {
    name: "a constraint that is equal",
    query: { constraints: { k: { eq: "v" } } },
    passes: { metadata: { k: "v" } },
    fails: [{ metadata: { k: "w" } }, {}]
  },
  {
    name: "a constraint in bounds",
    query: { constraints: { k: { gte: 2, lte: 3 } } },
    passes: { metadata: { k: 2 } },
    fails: [{ metadata: { k: 1 } }, { metadata: { k: 4 } }, {}]
  },
  {
    name: "a key that must not be there",
    query: { constraints: { k: { exists: false } } },
    passes: {},
    fails: [{ metadata: { k: 1 } }]
  },
  {
    name: "a cost",
    query: { maxCostUsd: 0.01 },
    passes: { cost: { usdPerCall: 0.01 } },
    fails: [{ cost: { usdPerCall: 0.011 } }]
  },
  { name: "no cost, which is free", query: { maxCostUsd: 0 }, passes: {}, fails: [{ cost: { usdPerCall: 0.001 } }] },
  { name: "a latency", query: { maxLatencyMs: 50 }, passes: { latencyMs: 50 }, fails: [{ latencyMs: 51 }, {}] },
  { name: "chunks", query: { stream: true }, passes: { stream: true }, fails: [{ stream: false }, {}] },
  { name: "one answer", query: { stream: false }, passes: {}, fails: [{ stream: true }] }
]

/** Declares the laws for one implementation. */
export const suite = ({ describe, expect, test }: TestApi, subject: MatcherUnderTest): void => {
  const metadata = subject.metadata ?? {}
  const ability = (more: Partial<CapabilityRecord> = {}): CapabilityRecord => ({
    name: "a.b",
    version: "1.2.0",
    ...more,
    metadata: { ...metadata, ...more.metadata }
  })
  const law = (name: string, body: (matcher: Matcher["Service"]) => Effect.Effect<void, unknown, Scope.Scope>): void =>
    test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(subject.make, body))), LAW_MS)
  const plain = (name: string, body: (matcher: Matcher["Service"]) => void): void =>
    law(name, (matcher) => Effect.sync(() => body(matcher)))
  const [a, b, c] = [nodes[0]!, nodes[1]!, nodes[2]!]

  /** Records of some nodes, each with up to five capabilities. */
  const population = (random: Seeded): ReadonlyArray<AgentRecord> =>
    nodes
      .filter(() => random.int(5) > 0)
      .map((node) => {
        const offered = Array.from({ length: random.int(6) }, () => randomCapability(random, metadata))
        const distinct = new Map(offered.map((one) => [`${one.name}@${one.version}`, one]))
        return recordOf(node, [...distinct.values()])
      })

  describe(`Matcher laws: ${subject.name}`, () => {
    for (const { fails, name, passes, query } of filters) {
      plain(`a filter holds whatever else speaks for a capability: ${name}`, (matcher) => {
        if (passes !== undefined) matcher.upsert(recordOf(b, [ability(passes)]))
        fails.forEach((failing, i) => matcher.upsert(recordOf(nodes[10 + i]!, [ability(failing)])))
        const partial = context({ trust: (node) => (node === b ? 0 : 1) })
        const found = matcher.match({ ...query, preferPeers: nodes.slice(10, 15) }, partial)
        expect(found.map(({ node }) => node)).toEqual(passes === undefined ? [] : [b])
      })
    }

    plain("a node that is named is the only one, and too little trust is as hard a filter", (matcher) => {
      for (const node of [a, b, c]) matcher.upsert(recordOf(node, [ability()]))
      expect(matcher.match({ node: b }, context()).map(({ node }) => node)).toEqual([b])
      const world = context({ trust: (node) => (node === c ? 0.6 : 0.59) })
      expect(matcher.match({ minTrust: 0.6 }, world).map(({ node }) => node)).toEqual([c])
    })

    plain("trust and availability are read at each match", (matcher) => {
      for (const node of [a, b]) matcher.upsert(recordOf(node, [ability()]))
      for (const better of [a, b, a]) {
        const trusting = context({ trust: (node) => (node === better ? 0.9 : 0.1) })
        expect(matcher.match({}, trusting)[0]?.node).toBe(better)
        const free = context({ availability: (node) => ({ value: node === better ? 1 : 0, why: "as told" }) })
        expect(matcher.match({}, free)[0]?.node).toBe(better)
      }
    })

    plain("what has expired does not match, and prune takes it out", (matcher) => {
      const before = matcher.revision()
      matcher.upsert(recordOf(a, [ability()], { expiresAt: NOW + 1_000 }))
      matcher.upsert(recordOf(b, [ability(), ability({ name: "a.c" })]))
      const at = (now: number) => [...new Set(matcher.match({}, context({ now })).map(({ node }) => node))].sort()
      expect(at(NOW + 999)).toEqual([a, b].sort())
      expect(at(NOW + 1_000)).toEqual([b])
      expect([matcher.prune(NOW + 999), matcher.get(a) === undefined]).toEqual([0, false])
      expect([matcher.prune(NOW + 1_000), matcher.get(a) === undefined]).toEqual([1, true])
      expect(matcher.size()).toEqual({ records: 1, capabilities: 2 })
      expect([...matcher.records()].map(({ node }) => node)).toEqual([b])
      expect(matcher.revision() !== before).toBe(true)
    })

    plain("a newer record replaces, and one with a lower seq changes nothing", (matcher) => {
      const old = recordOf(a, [ability({ name: "a.old" })], { seq: 4 })
      const held = recordOf(a, [ability({ name: "a.new" })], { seq: 5 })
      matcher.upsert(old)
      const first = matcher.revision()
      matcher.upsert(held)
      const revision = matcher.revision()
      expect(revision !== first).toBe(true)
      for (const late of [old, tombstoneOf(a, 4)]) {
        matcher.upsert(late)
        expect(matcher.get(a)).toEqual(held)
        expect(matcher.match({}, context()).map(({ capability }) => capability.name)).toEqual(["a.new"])
        expect(matcher.revision()).toBe(revision)
      }
      expect(matcher.size()).toEqual({ records: 1, capabilities: 1 })
    })

    plain("a tombstone and remove take a node out", (matcher) => {
      for (const node of [a, b, c]) matcher.upsert(recordOf(node, [ability()]))
      const revision = matcher.revision()
      matcher.upsert(tombstoneOf(a, 2))
      const buried = matcher.revision()
      matcher.remove(b)
      expect([revision !== buried, buried !== matcher.revision()]).toEqual([true, true])
      expect(matcher.match({}, context()).map(({ node }) => node)).toEqual([c])
      expect([matcher.get(a), matcher.get(b)]).toEqual([undefined, undefined])
      expect(matcher.size()).toEqual({ records: 1, capabilities: 1 })
    })

    plain("matching changes nothing", (matcher) => {
      for (const node of [a, b]) matcher.upsert(recordOf(node, [ability()]))
      const query = Object.freeze<Query>({ name: "a.*", tags: Object.freeze<Array<string>>([]) as [] })
      const revision = matcher.revision()
      const first = matcher.match(query, context())
      expect(matcher.match(query, context())).toEqual(first)
      expect([first.length, matcher.revision()]).toEqual([2, revision])
    })

    law(
      "best first, in a total order, and each score is the weighted mean of parts that give their reason",
      (matcher) =>
        Effect.gen(function* () {
          const random = seeded(1)
          for (const record of population(random)) matcher.upsert(record)
          for (let round = 0; round < 300; round++) {
            const [query, world] = [{ ...randomQuery(random), limit: MAX_LIMIT }, randomContext(random)]
            yield* matcher.prepare(query)
            const matches = matcher.match(query, world)
            const disordered = matches.slice(1).filter((after, i) => {
              const before = matches[i]!
              const order =
                after.score - before.score ||
                NodeId.compare(before.node, after.node) ||
                (before.capability.name < after.capability.name ? -1 : 0) ||
                (before.capability.name > after.capability.name ? 1 : 0) ||
                versions.indexOf(before.capability.version) - versions.indexOf(after.capability.version)
              return order >= 0
            })
            const unexplained = matches.filter(({ parts, score }) => {
              const all = Object.values(parts)
              const weight = all.reduce((sum, part) => sum + part.weight, 0)
              const mean = all.reduce((sum, part) => sum + part.value * part.weight, 0) / weight
              return Math.abs(mean - score) > 1e-9 || all.some(({ value, why }) => value < 0 || value > 1 || why === "")
            })
            const at = { seed: random.seed, round, query }
            expect({ ...at, disordered: keysOf(disordered), unexplained: keysOf(unexplained) }).toEqual({
              ...at,
              disordered: [],
              unexplained: []
            })
          }
        })
    )

    law("the same records give the same order on every machine, however they came", (matcher) =>
      Effect.gen(function* () {
        const other = yield* subject.make
        const random = seeded(2)
        const records = population(random)
        for (const record of records) matcher.upsert(record)
        for (const record of records) {
          other.upsert({ ...record, seq: 0, capabilities: [randomCapability(random, metadata)] })
        }
        other.upsert(recordOf(testNode(1_000), [randomCapability(random, metadata)]))
        for (const record of records.toReversed()) other.upsert(structuredClone(record))
        other.remove(testNode(1_000))
        for (let round = 0; round < 300; round++) {
          const [query, world] = [{ ...randomQuery(random), limit: 1 + random.int(40) }, randomContext(random)]
          yield* matcher.prepare(query)
          yield* other.prepare(query)
          const at = { seed: random.seed, round, query }
          const [here, there] = [matcher.match(query, world), other.match(query, world)]
          expect({ ...at, found: keysOf(there) }).toEqual({ ...at, found: keysOf(here) })
        }
      })
    )

    plain("a limit cuts the list at its end, and without one it is the default", (matcher) => {
      const random = seeded(3)
      const offered = (node: number) => [ability({ cost: { usdPerCall: (node % 7) / 100 } }), ability({ name: "a.c" })]
      for (let i = 0; i < DEFAULT_LIMIT; i++) matcher.upsert(recordOf(testNode(i), offered(i)))
      const world = randomContext(random)
      const all = keysOf(matcher.match({ limit: MAX_LIMIT }, world))
      expect(all.length).toBe(2 * DEFAULT_LIMIT)
      expect(keysOf(matcher.match({}, world))).toEqual(all.slice(0, DEFAULT_LIMIT))
      for (const limit of [1, 2, 10, DEFAULT_LIMIT + 1]) {
        expect(keysOf(matcher.match({ limit }, world))).toEqual(all.slice(0, limit))
      }
    })

    plain("names that look like the one asked for are those of somebody who is there", (matcher) => {
      matcher.upsert(recordOf(a, [ability({ name: "text.translate" })]))
      matcher.upsert(recordOf(b, [ability({ name: "csv.describe" })]))
      const near = matcher.closest("text.transalte", 1)
      expect(near.map(({ id, node }) => [id.split("@")[0], node])).toEqual([["text.translate", a]])
    })
  })
}
