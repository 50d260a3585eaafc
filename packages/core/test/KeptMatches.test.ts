/** Verifies: what is kept of a query, and what is passed over because trust tells few nodes apart, changes no match. */
import { describe, expect, test } from "bun:test"
import { CapabilityIndex } from "../src/internal/CapabilityIndex.ts"
import { MAX_KEPT } from "../src/internal/Kept.ts"
import * as Matching from "../src/internal/Matching.ts"
import type { CapabilityRecord } from "../src/Capability.ts"
import type { MatchContext, TrustOf } from "../src/Matcher.ts"
import * as NodeId from "../src/NodeId.ts"
import type { Query } from "../src/Query.ts"
import * as Trust from "../src/Trust.ts"
import { forRounds, type Seeded, seeded } from "../src/testing/Seeded.ts"
import { context, now, recordOf } from "./matcher-world.ts"

const nodeOf = (i: number): NodeId.NodeId =>
  NodeId.fromPublicKey(Uint8Array.from({ length: 32 }, (_, at) => (at < 4 ? i >> (8 * at) : 7)))
const names = ["csv.head", "csv.tail", "text.mood", "text.sum"]
const vocabulary = ["table", "describe", "mail", "mood", "image", "fast"]

const capabilityOf = (random: Seeded): CapabilityRecord => ({
  name: random.pick(names),
  version: `${1 + random.int(2)}.${random.int(2)}.0`,
  description: `${random.pick(vocabulary)} ${random.pick(vocabulary)}`,
  ...(random.int(2) === 0 ? { tags: [random.pick(vocabulary)] } : {}),
  metadata: { n: random.int(4) },
  cost: { usdPerCall: random.int(3) / 100 }
})

const queryOf = (random: Seeded): Query => {
  const some = <A>(value: A): A | undefined => (random.int(3) === 0 ? value : undefined)
  const query = {
    name: random.int(4) === 0 ? some("csv.*") : random.pick([...names, "no.body"]),
    version: some(random.pick(["^1", "^2"])),
    tags: some([random.pick(vocabulary)]),
    text: some(`${random.pick(vocabulary)} ${random.pick(vocabulary)}`),
    constraints: some({ n: { gte: random.int(4) } }),
    minTrust: some(random.next() / 2),
    preferTags: some([random.pick(vocabulary)]),
    preferPeers: some([nodeOf(random.int(40))]),
    limit: some(1 + random.int(6))
  }
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value !== undefined)) as Query
}

const frozen = <A>(value: A): A => {
  if (typeof value === "object" && value !== null) {
    for (const part of Object.values(value)) frozen(part)
    Object.freeze(value)
  }
  return value
}

describe("what is kept", () => {
  test("gives what a match anew gives, whatever comes, goes, expires or is trusted meanwhile", () => {
    const random = seeded(21)
    let found = 0
    let hits = 0
    forRounds(random, 60, () => {
      const index = new CapabilityIndex(30, undefined)
      const queries = Array.from({ length: 12 }, () => frozen(queryOf(random)))
      const trusts = new Map<NodeId.NodeId, number>()
      const trust: TrustOf = Object.assign((node: NodeId.NodeId) => trusts.get(node) ?? 0.5, {
        tried: () => trusts.keys(),
        rest: 0.5
      })
      const each: TrustOf = (node) => trust(node, "")
      const free = new Map<string, number>()
      let time = now
      for (let step = 0; step < 150; step++) {
        const node = nodeOf(random.int(40))
        switch (random.int(8)) {
          case 0:
            index.remove(node)
            break
          case 1:
            trusts.set(node, random.next())
            break
          case 2:
            free.set(node, random.int(3) / 2)
            break
          case 3:
            time += random.int(40)
            if (random.int(3) === 0) index.prune(time)
            break
          case 4: {
            const capabilities = Array.from({ length: random.int(3) }, () => capabilityOf(random))
            index.upsert(recordOf(node, capabilities, { seq: step, expiresAt: time + random.int(400) }))
            break
          }
          default:
        }
        const world = context({
          now: time,
          availability: (of) => ({ value: free.get(of) ?? 1, why: "as known" })
        })
        const query = random.pick(queries)
        if (index.keeper.get(index, query) !== undefined) hits++
        const kept = Matching.match(index, query, { ...world, trust })
        expect(kept).toEqual([...Matching.match(index, { ...query }, { ...world, trust: each })])
        found += kept.length
      }
    })
    expect(found).toBeGreaterThan(5_000)
    expect(hits).toBeGreaterThan(2_000)
  }, 60_000)

  test("is of frozen queries alone, and of no more offers than it may be", () => {
    const index = new CapabilityIndex(10_000, undefined)
    const one = { name: "a.b", version: "1.0.0" }
    for (let i = 0; i < MAX_KEPT; i++) index.upsert(recordOf(nodeOf(i), [one]))
    const world = context()
    const loose: Query = { name: "a.b", tags: [] }
    const half = Object.freeze({ name: "a.b", tags: [] as Array<string> })
    const fixed: Query = Object.freeze({ name: "a.b", limit: 3 })
    for (const query of [loose, half, fixed]) Matching.match(index, query, world)
    const isKept = () => [loose, half, fixed].map((query) => index.keeper.get(index, query) !== undefined)
    expect(isKept()).toEqual([false, false, true])
    // Whoever offers something else does not touch it.
    index.upsert(recordOf(nodeOf(MAX_KEPT), [{ name: "a.c", version: "1.0.0" }]))
    expect(isKept()).toEqual([false, false, true])
    index.upsert(recordOf(nodeOf(MAX_KEPT + 1), [one]))
    expect(isKept()).toEqual([false, false, false])
    const full = Matching.match(index, fixed, world)
    expect([full.length, ...isKept()]).toEqual([3, false, false, false])
    expect(full).toEqual([...Matching.match(index, { ...fixed }, world)])
  })
})

test("trust says whom it tells apart", () => {
  const trust = Trust.make([{ node: nodeOf(1), capability: "a.b", value: 0.7, samples: 1, why: "answered" }])
  trust.learn(nodeOf(2), "a.b", 1, "answered")
  trust.learn(nodeOf(2), "a.c", 1, "answered")
  expect([...(trust.get.tried?.() ?? [])].sort()).toEqual([nodeOf(1), nodeOf(2)].sort())
  expect(trust.get.rest).toBe(trust.get(nodeOf(3), "a.b"))
})

test("whom trust tells apart is found among many alike", () => {
  const random = seeded(22)
  const index = new CapabilityIndex(10_000, undefined)
  for (let i = 0; i < 3_000; i++) index.upsert(recordOf(nodeOf(i), [{ ...capabilityOf(random), features: [`${i}`] }]))
  forRounds(random, 40, () => {
    const trusts = new Map(Array.from({ length: random.int(50) }, () => [nodeOf(random.int(3_000)), random.next()]))
    let asked = 0
    const of = (node: NodeId.NodeId): number => {
      asked++
      return trusts.get(node) ?? 0.5
    }
    const query: Query = {
      text: `${random.pick(vocabulary)} ${random.pick(vocabulary)}`,
      limit: 5,
      ...(random.int(2) === 0 ? { minTrust: 0.4 } : {})
    }
    const match = (trust: TrustOf) => Matching.match(index, query, { ...context(), trust } satisfies MatchContext)
    const few = match(Object.assign((node: NodeId.NodeId) => of(node), { tried: () => trusts.keys(), rest: 0.5 }))
    const askedOfFew = asked
    expect(few).toEqual([...match(of)])
    expect(askedOfFew * 2).toBeLessThan(asked - askedOfFew)
  })
})

test("whoever is trusted most is found where everybody is told apart", () => {
  const random = seeded(23)
  const index = new CapabilityIndex(10_000, undefined)
  const trusts = new Map<NodeId.NodeId, number>()
  for (let i = 0; i < 3_000; i++) {
    index.upsert(recordOf(nodeOf(i), [{ ...capabilityOf(random), features: [`${i}`] }]))
    trusts.set(nodeOf(i), random.next() ** 4)
  }
  const asked = { few: 0, more: 0, all: 0 }
  forRounds(random, 40, () => {
    const others = random.pick([0.2, 0.5, 0.9])
    const tried = [...trusts].filter(([, value]) => value > others).map(([node]) => node)
    const query: Query = { text: `${random.pick(vocabulary)} ${random.pick(vocabulary)}`, limit: 5 }
    const match = (trust: TrustOf) => Matching.match(index, query, { ...context(), trust } satisfies MatchContext)
    const of =
      (who: keyof typeof asked) =>
      (node: NodeId.NodeId): number => {
        asked[who] += 1
        return trusts.get(node)!
      }
    const bounded = (who: keyof typeof asked, most: number) =>
      match(Object.assign(of(who), { tried: () => tried, atMost: { anybody: 1, others: most } }))
    const all = [...match(of("all"))]
    expect([bounded("few", others), bounded("more", 1)]).toEqual([all, all])
  })
  expect(asked.few * 1.5).toBeLessThan(asked.more)
  expect(asked.more).toBeLessThan(asked.all)
})
