/**
 * What the matcher costs: indexing, heap, and the time of a query, over 100,000 capabilities. Beside it minisearch, the
 * library that the matcher's own word index was measured against.
 *
 * `bun bench/micro/Matcher.ts`; each line is one figure. Times are the middle of many runs.
 */
import MiniSearch from "minisearch"
import type { AgentRecord } from "@parley/core/AgentRecord"
import type { CapabilityRecord } from "@parley/core/Capability"
import * as Matcher from "@parley/core/Matcher"
import type { NodeId } from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"
import { fromSeed } from "@parley/core/testing/Seeded"

const total = 100_000
const perAgent = 10
const vocabulary = 4_000

const { int: below, next: random } = fromSeed(1)
// Few words are frequent and most are rare, as in prose.
const word = (): string => `w${Math.floor(vocabulary ** random()).toString(36)}q`
const words = (n: number): string => Array.from({ length: n }, word).join(" ")
const nodeOf = (i: number): NodeId =>
  `z6Mk${i
    .toString(36)
    .replaceAll(/[0loi]/g, "x")
    .padStart(8, "1")}${"A".repeat(30)}${String(i).padStart(6, "1")}` as NodeId

const shared = (name: number) => {
  const label = (kind: string, i: number, of: number) => `${kind}${(name * 7 + i * 31) % of}`
  return {
    tags: [label("t", 1, 200), label("t", 2, 200), label("t", 3, 200)],
    features: [label("f", 1, 50), label("f", 2, 50)]
  }
}
const own = () => ({
  tags: [`t${below(200)}`, `t${below(200)}`, `t${below(200)}`],
  features: [`f${below(50)}`, `f${below(50)}`]
})

const capability = (
  name: string,
  description: string,
  labels: Pick<CapabilityRecord, "tags" | "features"> = own()
): CapabilityRecord => ({
  name,
  version: `${1 + below(3)}.${below(5)}.0`,
  description,
  ...labels,
  metadata: { region: `r${below(4)}`, quality: below(100) },
  cost: { usdPerCall: below(10) / 1000 },
  latencyMs: below(500)
})

const recordOf = (agent: number, capabilities: ReadonlyArray<CapabilityRecord>): AgentRecord => ({
  v: 1,
  node: nodeOf(agent),
  name: `agent ${agent}`,
  seq: 1,
  issuedAt: 0,
  expiresAt: 1e15,
  addresses: [],
  capabilities,
  sig: "" as AgentRecord["sig"]
})

const now = Date.now()
const trusts = new Map<string, number>()
const context: Matcher.MatchContext = {
  now,
  trust: (node) => trusts.get(node) ?? 0.5,
  availability: () => ({ value: 1, why: "free" })
}

const middle = (times: Array<number>): number => times.sort((a, b) => a - b)[times.length >> 1]!
const micros = (matcher: Matcher.Matcher["Service"], query: () => Query, runs: number): string => {
  const batch = 10
  const times: Array<number> = []
  let found = 0
  for (let run = 0; run < runs; run++) {
    const queries = Array.from({ length: batch }, query)
    const start = performance.now()
    for (const one of queries) found += matcher.match(one, context).length
    times.push(((performance.now() - start) * 1000) / batch)
  }
  return `${middle(times).toFixed(1)} µs (${(found / runs / batch).toFixed(1)} matches)`
}

const heap = (): number => {
  globalThis.Bun?.gc(true)
  return process.memoryUsage().heapUsed
}

const measure = (
  title: string,
  names: number,
  description: (name: number) => string,
  labels: (name: number) => Pick<CapabilityRecord, "tags" | "features"> = own
): void => {
  const records = Array.from({ length: total / perAgent }, (_, agent) =>
    recordOf(
      agent,
      Array.from({ length: perAgent }, () => {
        const name = below(names)
        return capability(`area${name % 40}.task${name}`, description(name), labels(name))
      })
    )
  )
  console.log(`\n${title}: ${total} capabilities of ${records.length} agents, ${names} names`)
  const before = heap()
  const matcher = Matcher.make()
  const start = performance.now()
  for (const record of records) matcher.upsert(record)
  const seconds = (performance.now() - start) / 1000
  console.log(
    `  indexed ${Math.round(total / seconds)} capabilities/s, ${Math.round(records.length / seconds)} records/s`
  )
  console.log(`  index ${Math.round((heap() - before) / total)} B a capability, records not counted`)
  const name = () => {
    const n = below(names)
    return `area${n % 40}.task${n}`
  }
  const exact = () => ({
    name: name(),
    version: "^1.2",
    constraints: { region: { eq: "r1" }, quality: { gte: 50 } },
    limit: 5
  })
  console.log(`  name, range, two constraints, top 5: ${micros(matcher, exact, 1000)}`)
  console.log(`  plain words (3), top 5: ${micros(matcher, () => ({ text: words(3), limit: 5 }), 100)}`)
  console.log(
    `  tag and feature, top 5: ${micros(matcher, () => ({ tags: [`t${below(200)}`], features: [`f${below(50)}`], limit: 5 }), 100)}`
  )
  console.log(`  nothing asked, top 5: ${micros(matcher, () => ({ limit: 5 }), 10)}`)
}

const descriptions = Array.from({ length: 5_000 }, () => words(15))
measure("shared", 1_000, (name) => descriptions[name]!, shared)
measure("each its own", 1_000, () => words(15))
measure("each its own, 100 names", 100, () => words(15))

const one = Matcher.make()
for (let i = 0; i < 10_000; i++)
  one.upsert(recordOf(i, [capability(i === 5_000 ? "csv.describe" : `other.n${i % 20}`, words(5))]))
console.log(`\none of 10,000 agents has the name: ${micros(one, () => ({ name: "csv.describe" }), 2000)}`)

const texts = Array.from({ length: total }, (_, id) => ({ id, text: words(15) }))
const emptyHeap = heap()
const mini = new MiniSearch({ fields: ["text"] })
const start = performance.now()
mini.addAll(texts)
console.log(
  `\nminisearch, ${total} texts of their own: indexed ${Math.round(total / ((performance.now() - start) / 1000))}/s`
)
console.log(`  ${Math.round((heap() - emptyHeap) / total)} B a text`)
const times: Array<number> = []
for (let run = 0; run < 20; run++) {
  const query = words(3)
  const begin = performance.now()
  mini.search(query)
  times.push(performance.now() - begin)
}
console.log(`  plain words (3): ${middle(times).toFixed(1)} ms`)
