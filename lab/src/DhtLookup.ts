/** `dht`: how long it takes to find a node by key, and nodes by capability, in a DHT of 200 nodes on both runtimes. */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import type { Membership } from "@parley/core/Discovery"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import * as Dht from "@parley/discovery/Dht"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { bars, lines } from "../../bench/src/Charts.ts"
import { spreadOf } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import { root, runCommand, type Runtime } from "../../scripts/setup.mjs"
import { addressOf, capabilityOf, identityOf, members } from "./DhtMembers.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"

/** Nodes that serve each capability. */
const PROVIDERS = 10
/** Nodes from which each node must be found, one after the other, before the DHT counts as settled. */
const SWEEPS = 5
/** Longest wait until every node is found, in seconds. */
const SETTLE_S = 60
/** Goal of the time from the last node's joining until every node is found, in seconds. */
const SETTLED_S = 5
/** Goal of the 95th percentile, in ms. */
const GOAL_MS = 250

type Child = ChildProcessByStdio<Writable, Readable, null>

const own: Runtime = "Deno" in globalThis ? "deno" : "bun"
const other: Runtime = own === "bun" ? "deno" : "bun"

/** Members in a process of their own. */
const spawned = (runtime: Runtime, args: ReadonlyArray<string | number>) =>
  Effect.acquireRelease(
    Effect.promise(async (): Promise<Child> => {
      const [program, ...first] = runCommand(runtime, join(root, "lab/src/DhtMembers.ts"))
      const child: Child = spawn(program, [...first, ...args.map(String)], { stdio: ["pipe", "pipe", "inherit"] })
      const ended = once(child, "exit").then(() => {
        throw new Error(`the members on ${runtime} ended before they had joined`)
      })
      await Promise.race([once(createInterface({ input: child.stdout }), "line"), ended])
      ended.catch(() => undefined)
      return child
    }),
    (child) =>
      Effect.promise(async () => {
        if (child.exitCode !== null || child.signalCode !== null) return
        child.kill("SIGKILL")
        await once(child, "exit")
      })
  )

/** What one search came to. */
interface Search {
  /** Until the first that was looked for was found; undefined where none was. */
  readonly firstMs: number | undefined
  /** Until the search had ended. */
  readonly endMs: number
  /** How many were found, of those there are. */
  readonly found: number
  readonly of: number
}

const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** One search; `expected` has the addresses of those who may be found, by NodeId. */
const search = (
  membership: Membership,
  query: Parameters<Membership["find"]>[0],
  expected: ReadonlyMap<string, string>
): Effect.Effect<Search> =>
  Effect.gen(function* () {
    const began = performance.now()
    const found = new Set<string>()
    let firstMs: number | undefined
    yield* membership.find(query).pipe(
      Stream.runForEach((one) =>
        Effect.sync(() => {
          if (one.node === undefined || expected.get(one.node) !== one.addresses[0]) return
          found.add(one.node)
          firstMs ??= performance.now() - began
        })
      ),
      Effect.ignore
    )
    return { firstMs, endMs: performance.now() - began, found: found.size, of: expected.size }
  })

interface World {
  readonly seed: number
  readonly groups: number
  readonly here: ReadonlyArray<Membership>
  /** Numbers of the members that live. */
  readonly living: ReadonlyArray<number>
}

/** Looks for the node `to`, from the node `from` or, where they are the same, from the next one. */
const keyOf = (world: World, from: number, to: number) => {
  const { nodeId } = identityOf(world.seed, to)
  const asking = world.here[from === to ? (from + 1) % world.here.length : from]!
  return search(asking, { node: nodeId }, new Map([[nodeId, addressOf(to)]]))
}

const byKey = (world: World, random: Seeded) => keyOf(world, random.int(world.here.length), random.pick(world.living))

const byCapability = (world: World, random: Seeded) => {
  const from = random.int(world.here.length)
  const group = random.int(world.groups)
  const serving = world.living.filter((number) => number % world.groups === group && number !== from)
  const expected = new Map(
    serving.map((number) => [identityOf(world.seed, number).nodeId as string, addressOf(number)])
  )
  return search(world.here[from]!, { name: capabilityOf(group) }, expected)
}

const times = (count: number, one: () => Effect.Effect<Search>): Effect.Effect<ReadonlyArray<Search>> =>
  Effect.forEach(Array.from({ length: count }), () => Effect.suspend(one))

/**
 * Waits until every node is found, each from `SWEEPS` others one after the other: nodes that joined early put their items where the
 * network was then, and a search may still pass there by chance. Gives the seconds it took.
 */
const settle = Effect.fnUntraced(function* (world: World, random: Seeded) {
  const began = performance.now()
  let settledS = 0
  for (let good = 0; good < SWEEPS;) {
    if (settledS > SETTLE_S) return yield* Effect.die(new Error(`not every node is found after ${SETTLE_S} s`))
    const searches = yield* Effect.forEach(world.living, (to) => keyOf(world, random.int(world.here.length), to))
    good = lost(searches) === 0 ? good + 1 : 0
    if (good < 2) settledS = (performance.now() - began) / 1_000
    if (good === 0) yield* Effect.sleep("100 millis")
  }
  return settledS
})

const lost = (searches: ReadonlyArray<Search>): number => searches.filter(({ firstMs }) => firstMs === undefined).length
/** A search that found nobody has lasted for ever. */
const firsts = (searches: ReadonlyArray<Search>): ReadonlyArray<number> =>
  searches.map(({ firstMs }) => firstMs ?? Number.POSITIVE_INFINITY)
const share = (searches: ReadonlyArray<Search>): number =>
  searches.reduce((sum, { found }) => sum + found, 0) / searches.reduce((sum, { of }) => sum + of, 0)

const cells = (what: string, searches: ReadonlyArray<Search>): ReadonlyArray<string> => [
  what,
  String(searches.length),
  short(percentile(firsts(searches), 0.5)),
  short(percentile(firsts(searches), 0.95)),
  short(percentile(firsts(searches), 0.99)),
  short(
    percentile(
      searches.map(({ endMs }) => endMs),
      0.95
    )
  ),
  `${(100 * share(searches)).toFixed(1)} %`,
  String(lost(searches))
]

/** Shares of searches that are done by a time. */
const curve = (searches: ReadonlyArray<Search>): ReadonlyArray<readonly [number, number]> => {
  const sorted = firsts(searches)
    .filter(Number.isFinite)
    .sort((a, b) => a - b)
  return Array.from({ length: 50 }, (_, i) => {
    const at = Math.min(sorted.length - 1, Math.floor(((i + 1) / 50) * sorted.length))
    return [sorted[at] ?? 0, (100 * (at + 1)) / searches.length] as const
  })
}

const experiment = Effect.fnUntraced(function* ({ brief, say, seed }: Terms) {
  const [nodes, dying, searches, after] = brief ? [60, 12, 60, 10] : [200, 40, 500, 40]
  const groups = nodes / PROVIDERS
  const random = fromSeed(seed)
  const began = performance.now()
  const hub = yield* Dht.serve({ host: "127.0.0.1" })
  const bootstrap = `127.0.0.1:${hub.address.port}`
  const elsewhere = nodes / 2
  const here = yield* members({ bootstrap, seed, from: 0, count: nodes - elsewhere, groups })
  yield* spawned(other, [bootstrap, seed, nodes - elsewhere, elsewhere - dying, groups])
  const doomed = yield* spawned(own, [bootstrap, seed, nodes - dying, dying, groups])
  say(`${nodes} nodes have joined in ${((performance.now() - began) / 1_000).toFixed(1)} s`)
  const world = (living: number): World => ({ seed, groups, here, living: Array.from({ length: living }, (_, i) => i) })

  const all = world(nodes)
  const settledS = yield* settle(all, random)
  say(`all are found ${settledS.toFixed(1)} s after the last has joined`)
  const keys = yield* times(searches, () => byKey(all, random))
  const capabilities = yield* times(searches, () => byCapability(all, random))
  doomed.kill("SIGKILL")
  yield* Effect.promise(() => once(doomed, "exit"))
  const rest = world(nodes - dying)
  const keysAfter = yield* times(after, () => byKey(rest, random))
  const capabilitiesAfter = yield* times(after, () => byCapability(rest, random))
  return { nodes, dying, settledS, keys, capabilities, keysAfter, capabilitiesAfter }
}, Effect.scoped)

const run = async (terms: Terms): Promise<Report> => {
  const { capabilities, capabilitiesAfter, dying, keys, keysAfter, nodes, settledS } = await Effect.runPromise(
    experiment(terms)
  )
  const { brief, seed } = terms
  const p95 = (searches: ReadonlyArray<Search>): number => percentile(firsts(searches), 0.95)
  // A busy machine's small run shows that it works; the whole run measures.
  const atMost = brief ? 8 * GOAL_MS : GOAL_MS
  const text = [
    table(
      ["looked for", "searches", "p50 ms", "p95 ms", "p99 ms", "end p95 ms", "of all found", "nobody found"],
      [
        cells("a node by its key", keys),
        cells("a capability of ten nodes", capabilities),
        cells(`a node, right after ${dying} were killed`, keysAfter),
        cells(`a capability, right after ${dying} were killed`, capabilitiesAfter)
      ]
    ),
    `${nodes} nodes on loopback, half of them on Bun and half on Deno, each a DHT node with one capability that ten serve.`,
    "Times are until the first that was looked for; a search goes on for all of them. 8 nodes hold each entry (K of BEP 5)."
  ].join("\n")
  return {
    text,
    rows: [
      row("dht-key", `p95 of finding a node by its key among ${nodes}`, { atMost }, "ms", p95(keys), keys.length, seed),
      row(
        "dht-capability",
        `p95 of finding a node by capability among ${nodes}`,
        { atMost },
        "ms",
        p95(capabilities),
        capabilities.length,
        seed
      ),
      row(
        "dht-found",
        "of the nodes that serve a capability, found by a search",
        { atLeast: brief ? 90 : 95 },
        "%",
        100 * share(capabilities),
        capabilities.length,
        seed
      ),
      row(
        "dht-lost",
        `searches without result, also right after ${dying} of ${nodes} nodes were killed`,
        { atMost: 0 },
        "searches",
        lost(keys) + lost(capabilities) + lost(keysAfter) + lost(capabilitiesAfter),
        keys.length + capabilities.length + keysAfter.length + capabilitiesAfter.length,
        seed
      ),
      row(
        "dht-settled",
        `from the joining of the last of ${nodes} nodes until every node is found`,
        { atMost: brief ? SETTLE_S : SETTLED_S },
        "s",
        settledS,
        nodes,
        seed
      )
    ],
    data: { nodes, dying, settledS, keys, capabilities, keysAfter, capabilitiesAfter },
    charts: [
      lines({
        name: "dht-lookup",
        title: `Found in a DHT of ${nodes} nodes`,
        note: "share of searches that had found whom they looked for, by time; further left is better",
        x: { name: "ms", log: true },
        y: { name: "% of searches" },
        lines: [
          { label: "by key", points: curve(keys) },
          { label: "by capability", points: curve(capabilities) },
          { label: `by key, ${dying} killed`, points: curve(keysAfter) },
          { label: `by capability, ${dying} killed`, points: curve(capabilitiesAfter) }
        ]
      }),
      bars({
        name: "dht-capability",
        title: "Until a search by capability has ended",
        note: "ms, least, median and most; a search finds all ten nodes that serve it",
        unit: "ms",
        write: short,
        bars: [
          { label: "all live", value: spreadOf(capabilities.map(({ endMs }) => endMs)), ours: true },
          { label: `${dying} just killed`, value: spreadOf(capabilitiesAfter.map(({ endMs }) => endMs)) }
        ]
      })
    ]
  }
}

/** Finding nodes through a DHT. */
export const dhtLookup: Experiment = {
  what: "how long it takes to find a node by key and by capability in a DHT of 200 nodes",
  run
}
