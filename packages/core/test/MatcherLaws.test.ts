import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { AgentRecord } from "../src/AgentRecord.ts"
import type { CapabilityRecord } from "../src/Capability.ts"
import { wordsOf } from "../src/internal/Words.ts"
import * as Matcher from "../src/Matcher.ts"
import * as Query from "../src/Query.ts"
import { context, nodes, now, recordOf } from "./matcher-world.ts"
import { suite } from "../src/testing/MatcherSuite.ts"
import { forRounds, type Seeded, seeded } from "../src/testing/Seeded.ts"

type Fields = { readonly [K in "inName" | "inTags" | "inText"]: ReadonlySet<string> }
const fieldsOf = new WeakMap<CapabilityRecord, Fields>()

// What the matcher promises, said again by a scan over everything.
const reference = (
  records: Iterable<AgentRecord>,
  query: Query.Query,
  world: Matcher.MatchContext
): ReadonlyArray<{ readonly key: string; readonly score: number }> => {
  const all = [...records].flatMap((record) => record.capabilities.map((one) => ({ record, one })))
  const distinct = new Map<string, CapabilityRecord>()
  for (const { one } of all) {
    const { description, features = [], name, stream = false, tags = [], version } = one
    distinct.set(JSON.stringify({ name, version, description, tags, features, stream }), one)
  }
  const fields = (one: CapabilityRecord) => {
    const known = fieldsOf.get(one)
    if (known !== undefined) return known
    const { description = "", name, tags = [] } = one
    const inName = wordsOf(name)
    const inTags = new Set(tags.flatMap((tag) => [...wordsOf(tag)]).filter((word) => !inName.has(word)))
    const inText = new Set([...wordsOf(description)].filter((word) => !inName.has(word) && !inTags.has(word)))
    const found: Fields = { inName, inTags, inText }
    fieldsOf.set(one, found)
    return found
  }
  const less = (most: number, least: number, enough: number, n: number) =>
    Math.round(100 * (least + (most - least) * Math.min(1, enough / Math.max(n, 1)))) / 100
  const rarities = new Map<string, number>()
  const rarityOf = (word: string): number => {
    const known = rarities.get(word)
    if (known !== undefined) return known
    const users = [...distinct.values()].filter((other) => Object.values(fields(other)).some((set) => set.has(word)))
    const rarity = Math.log(1 + distinct.size / Math.max(1, users.length))
    rarities.set(word, rarity)
    return rarity
  }
  const lexical = (one: CapabilityRecord, text: string): number => {
    const { inName, inTags, inText } = fields(one)
    let sum = 0
    let whole = 0
    for (const word of wordsOf(text)) {
      const rarity = rarityOf(word)
      whole += rarity
      if (inName.has(word)) sum += rarity
      else if (inTags.has(word)) sum += rarity * less(0.9, 0.5, 8, inTags.size)
      else if (inText.has(word)) sum += rarity * less(0.8, 0.4, 25, inText.size)
    }
    return sum / whole
  }
  const weights = Query.weightsOf(query)
  const passing = all.flatMap(({ one, record }, place) => {
    const { features = [], metadata = {}, name, tags = [], version } = one
    const trust = world.trust(record.node, name)
    const usd = one.cost?.usdPerCall ?? 0
    const words = query.text === undefined ? undefined : lexical(one, query.text)
    const passes =
      record.expiresAt > world.now &&
      (query.name === undefined ||
        (query.name.endsWith("*") ? name.startsWith(query.name.slice(0, -1)) : name === query.name)) &&
      (query.version === undefined || version.startsWith(`${query.version.slice(1)}.`)) &&
      (query.node === undefined || record.node === query.node) &&
      (query.features ?? []).every((feature) => features.includes(feature)) &&
      (query.tags ?? []).every((tag) => tags.includes(tag)) &&
      Object.entries(query.constraints ?? {}).every(([key, { gte }]) => Number(metadata[key]) >= Number(gte)) &&
      usd <= (query.maxCostUsd ?? Infinity) &&
      (query.maxLatencyMs === undefined || (one.latencyMs ?? Infinity) <= query.maxLatencyMs) &&
      trust >= (query.minTrust ?? 0) &&
      (query.stream === undefined || query.stream === (one.stream ?? false)) &&
      words !== 0
    if (!passes) return []
    let semantic = words ?? (query.name === undefined ? 0.8 : query.name.endsWith("*") ? 0.9 : 1)
    if (query.name === "*" && words === undefined) semantic = 0.8
    if (query.preferTags !== undefined) {
      const liked = query.preferTags.filter((tag) => tags.includes(tag)).length
      semantic = 0.8 * semantic + (0.2 * liked) / query.preferTags.length
    }
    if (query.preferPeers !== undefined) semantic = 0.8 * semantic + (query.preferPeers.includes(record.node) ? 0.2 : 0)
    const scale = query.maxCostUsd === undefined || query.maxCostUsd === 0 ? 0.01 : query.maxCostUsd
    const parts = [semantic, trust, world.availability(record.node, one).value, scale / (scale + usd)]
    const counts = [weights.semantic, weights.trust, weights.availability, weights.cost]
    const sum = parts.reduce((total, part, i) => total + part * counts[i]!, 0)
    const score = sum / counts.reduce((a, b) => a + b, 0)
    return [{ key: `${record.node} ${name} ${version}`, score, place }]
  })
  return passing.sort((a, b) => b.score - a.score).slice(0, query.limit ?? Query.DEFAULT_LIMIT)
}

const vocabulary = ["csv", "table", "describe", "mail", "text", "mood", "image", "sound", "fast", "exact"]
const someWords = (random: Seeded, most: number): string =>
  Array.from({ length: 1 + random.int(most) }, () => random.pick(vocabulary)).join(" ")
const maybe = <A>(random: Seeded, odds: number, value: () => A): A | undefined =>
  random.next() < odds ? value() : undefined
const given = <A extends object>(fields: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

const randomCapability = (random: Seeded): CapabilityRecord =>
  given({
    name: `${random.pick(vocabulary)}.${random.pick(vocabulary)}`,
    version: `${1 + random.int(2)}.${random.int(3)}.0`,
    description: maybe(random, 0.6, () => someWords(random, 12)),
    tags: maybe(random, 0.6, () => [...new Set(someWords(random, 3).split(" "))]),
    features: maybe(random, 0.5, () => [...new Set(someWords(random, 2).split(" "))]),
    metadata: maybe(random, 0.7, () => ({ n: random.int(10) })),
    stream: maybe(random, 0.3, () => random.int(2) === 0),
    cost: maybe(random, 0.5, () => ({ usdPerCall: random.int(5) / 100 })),
    latencyMs: maybe(random, 0.5, () => random.int(300))
  }) as CapabilityRecord

const randomQuery = (random: Seeded): Query.Query => {
  const label = () => [random.pick(vocabulary)]
  return given({
    name: maybe(random, 0.3, () =>
      random.pick([
        `${random.pick(vocabulary)}.*`,
        `${random.pick(vocabulary)}.${random.pick(vocabulary)}`,
        "t*",
        "csv.t*",
        "*"
      ])
    ),
    version: maybe(random, 0.2, () => random.pick(["^1", "^2", "~1.1"])),
    node: maybe(random, 0.1, () => random.pick(nodes)),
    features: maybe(random, 0.15, label),
    tags: maybe(random, 0.2, label),
    constraints: maybe(random, 0.2, () => ({ n: { gte: random.int(10) } })),
    maxCostUsd: maybe(random, 0.2, () => random.int(5) / 100),
    maxLatencyMs: maybe(random, 0.1, () => random.int(300)),
    minTrust: maybe(random, 0.2, () => random.next() / 2),
    stream: maybe(random, 0.1, () => random.int(2) === 0),
    text: maybe(random, 0.5, () => someWords(random, 4)),
    preferTags: maybe(random, 0.2, () => [...label(), ...label()]),
    preferPeers: maybe(random, 0.2, () => [random.pick(nodes), random.pick(nodes)]),
    policy: maybe(random, 0.3, () => random.pick(["cheapest", "fastest", "best"] as const)),
    limit: maybe(random, 0.7, () => 1 + random.int(20))
  }) as Query.Query
}

suite({ describe, expect, test }, { name: "words", make: Effect.sync(() => Matcher.make()) })

describe("against a plain scan", () => {
  const random = seeded(11)
  test("finds the same, scores the same, in a total order that does not depend on how the index came about", () => {
    let nonempty = 0
    forRounds(random, 80, () => {
      const matcher = Matcher.make()
      // Some agents run the same code.
      const shared = Array.from({ length: 10 }, () => randomCapability(random))
      for (let i = 0; i < 60; i++) {
        const of = random.pick(nodes)
        if (random.int(8) === 0) matcher.remove(of)
        else {
          const capabilities = Array.from({ length: random.int(5) }, () =>
            random.int(2) === 0 ? random.pick(shared) : randomCapability(random)
          )
          matcher.upsert(
            recordOf(of, capabilities, { seq: i + 1, expiresAt: now + (random.int(10) === 0 ? 0 : 1_000) })
          )
        }
      }
      const other = Matcher.make()
      for (const record of [...matcher.records()].reverse()) other.upsert(structuredClone(record))
      const trusts = new Map(nodes.map((of) => [of, random.int(5) / 4]))
      const free = new Map(nodes.map((of) => [of, random.int(3) / 2]))
      const world = context({
        trust: (of) => trusts.get(of)!,
        availability: (of) => ({ value: free.get(of)!, why: "as known" })
      })
      for (let i = 0; i < 20; i++) {
        const query = randomQuery(random)
        const found = matcher.match(query, world)
        const expected = reference(matcher.records(), query, world)
        if (found.length > 0) nonempty++
        try {
          expect(found.length).toBe(expected.length)
          found.forEach(({ parts, score }, place) => {
            expect(score).toBeCloseTo(expected[place]!.score, 9)
            const all = Object.values(parts)
            const weight = all.reduce((sum, part) => sum + part.weight, 0)
            expect(all.reduce((sum, part) => sum + part.value * part.weight, 0) / weight).toBeCloseTo(score, 9)
            for (const { value, why } of all) expect(value >= 0 && value <= 1 && why.length > 0).toBe(true)
          })
          // Which of those that tie at the end of the list are in is told by the order's law, not by the scan.
          const keys = found.map(({ capability: { name, version }, node: of }) => `${of} ${name} ${version}`)
          const last = expected.at(-1)?.score ?? 0
          const certain = expected.filter(({ score }) => score > last + 1e-9).map(({ key }) => key)
          expect(certain.filter((key) => !keys.includes(key))).toEqual([])
          const again = other.match(query, world)
          expect(again.map(({ capability: { name, version }, node: of }) => `${of} ${name} ${version}`)).toEqual(keys)
          const more = matcher.match({ ...query, limit: Query.MAX_LIMIT }, world)
          expect(more.slice(0, found.length)).toEqual([...found])
        } catch (cause) {
          throw new Error(`Query ${JSON.stringify(query)}`, { cause })
        }
      }
    })
    expect(nonempty).toBeGreaterThan(300)
  }, 60_000)
})
