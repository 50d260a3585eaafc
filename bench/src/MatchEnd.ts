/**
 * Who is measured by `match`, in a process of its own: `MatchEnd.ts CONTESTANT CAPABILITIES SHAPE`. A contestant takes the
 * records in, and is asked.
 */
import { build } from "hdr-histogram-js"
import MiniSearch from "minisearch"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import type { Query } from "@parley/core/Query"
import * as Trust from "@parley/core/Trust"
import { scan } from "./LinearScan.ts"
import { recordsOf, type Shape, World } from "./MatchWorld.ts"
import { obey } from "./Obey.ts"

export type ContestantName = "matcher" | "scan" | "minisearch"

/** What a contestant is told, besides the orders that all understand. */
export type MatchOrder =
  /** Asks so many different queries, one after the other; answered by `Times`. */
  | { readonly _tag: "Ask"; readonly what: "exact" | "words"; readonly runs: number }
  /** Asks the same query again and again, that so many agents serve among all others; answered by `Times`. */
  | { readonly _tag: "Again"; readonly agents: number; readonly runs: number }
  /** Takes all in anew, so many capabilities to a record; answered by `Indexed`. */
  | { readonly _tag: "Index"; readonly each: number }
  /** Verifies signatures of records with so many capabilities; answered by `Indexed`. */
  | { readonly _tag: "Verify"; readonly each: number; readonly runs: number }
  /** Heap of everything, records and index; answered by `Heap`. */
  | { readonly _tag: "Heap"; readonly each: number }

/** Microseconds. */
export interface Times {
  readonly p50: number
  readonly p99: number
  readonly matches: number
}
export interface Indexed {
  readonly recordsPerSecond: number
}
/** Bytes for each capability. */
export interface Heap {
  readonly index: number
  readonly withRecords: number
}

const [contestant, total, shape] = process.argv.slice(2) as [ContestantName, string, Shape]
const count = Number(total)
const world = new World(count)
const all = world.capabilities(count, shape)
const trust = Trust.make(
  world.tried(count, Math.min(500, count / 10)).map(([node, value]) => ({
    node,
    capability: all[0]!.name,
    value,
    samples: 1,
    why: "answered"
  }))
)
const context: Matcher.MatchContext = {
  now: Date.now(),
  trust: trust.get,
  availability: () => ({ value: 1, why: "idle" })
}

/** Takes the records in, and gives a way to ask; the answer is how many matched. */
const take = (records: ReadonlyArray<AgentRecord.AgentRecord>): ((query: Query) => number) => {
  if (contestant === "scan") return (query) => scan(records, query, context).length
  if (contestant === "minisearch") {
    const search = new MiniSearch({ fields: ["text"] })
    search.addAll(
      records
        .flatMap(({ capabilities }) => capabilities)
        .map(({ description, name, tags }, id) => ({ id, text: `${name} ${tags?.join(" ")} ${description}` }))
    )
    return ({ limit, text }) => search.search(text!).slice(0, limit).length
  }
  const matcher = Matcher.make()
  for (const record of records) matcher.upsert(record)
  return (query) => matcher.match(query, context).length
}

/** Steps of 10 ns, up to ten seconds. */
const STEPS_PER_US = 100
const timed = (runs: number, prepare: () => () => number): Times => {
  const histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: 10_000_000 * STEPS_PER_US,
    numberOfSignificantValueDigits: 3
  })
  let matches = 0
  for (let i = 0; i < runs; i++) {
    const run = prepare()
    const began = performance.now()
    matches += run()
    histogram.recordValue(Math.max(1, Math.round((performance.now() - began) * 1_000 * STEPS_PER_US)))
  }
  const at = (percentile: number) => histogram.getValueAtPercentile(percentile) / STEPS_PER_US
  return { p50: at(50), p99: at(99), matches: matches / runs }
}

const collect = (): number => {
  const { Bun, gc } = globalThis as unknown as {
    readonly Bun?: { readonly gc: (force: boolean) => void }
    readonly gc?: () => void
  }
  for (let i = 0; i < 3; i++) {
    Bun?.gc(true)
    gc?.()
  }
  return process.memoryUsage().heapUsed
}

const heap = (each: number): Heap => {
  const capabilities = new World(count).capabilities(count, shape)
  const before = collect()
  // What the measured records are made of is counted, too: a copy that nothing else holds.
  const records = recordsOf(JSON.parse(JSON.stringify(capabilities)) as typeof capabilities, each)
  const withRecords = collect()
  const ask = take(records)
  const after = collect()
  // Both must still be there when the heap is looked at.
  if (ask(world.words()) < 0 || records.length === 0) throw new Error("nothing matched")
  return { index: (after - withRecords) / count, withRecords: (after - before) / count }
}

const again = (agents: number, runs: number): Times => {
  const matcher = Matcher.make()
  for (const record of recordsOf(all, 10)) matcher.upsert(record)
  const own = Trust.make()
  const same = recordsOf(
    Array.from({ length: agents }, () => ({ name: "bench.same", version: "1.2.0" })),
    1
  ).map((record, i) => ({
    ...record,
    node: `z6Mk${"B".repeat(38)}${String(i).padStart(6, "1")}` as typeof record.node
  }))
  for (const record of same) matcher.upsert(record)
  const query: Query = Object.freeze({ name: "bench.same", version: "^1.0.0", stream: false, limit: 5 })
  return timed(runs, () => () => {
    const found = matcher.match(query, { now: Date.now(), trust: own.get, availability: context.availability })
    // Each answer moves trust, so that the order changes from call to call.
    own.learn(found[0]!.node, "bench.same", 0.4, "answered")
    return found.length
  })
}

const signed = (each: number): ReadonlyArray<unknown> => {
  const now = Date.now()
  return Array.from({ length: 50 }, (_, i) => {
    const record = AgentRecord.make(Identity.generate(), {
      name: "agent",
      seq: now,
      issuedAt: now,
      addresses: ["tcp://192.0.2.1:7878"],
      capabilities: all.slice(i * each, (i + 1) * each)
    })
    return JSON.parse(JSON.stringify(record)) as unknown
  })
}

const verify = (each: number, runs: number): Indexed => {
  const records = signed(each)
  const began = performance.now()
  for (let i = 0; i < runs; i++) {
    const verified = AgentRecord.verify(records[i % records.length], { now: Date.now() })
    if (verified instanceof AgentRecord.RecordRefused) throw verified
  }
  return { recordsPerSecond: (runs * 1_000) / (performance.now() - began) }
}

let ask: ((query: Query) => number) | undefined
const run = async (order: MatchOrder): Promise<Times | Indexed | Heap> => {
  switch (order._tag) {
    case "Ask": {
      ask ??= take(recordsOf(all, 1))
      const asked = ask
      return timed(order.runs, () => {
        const query = order.what === "exact" ? world.exact() : world.words()
        return () => asked(query)
      })
    }
    case "Again":
      return again(order.agents, order.runs)
    case "Index": {
      const records = recordsOf(all, order.each)
      collect()
      const began = performance.now()
      take(records)
      return { recordsPerSecond: (records.length * 1_000) / (performance.now() - began) }
    }
    case "Verify":
      return verify(order.each, order.runs)
    case "Heap":
      return heap(order.each)
  }
}
await obey<MatchOrder>({}, run)
