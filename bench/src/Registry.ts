/**
 * `registry`: discoveries and durable reports over HTTP, beside the figures that were measured of AgentMesh's registry, and the memory
 * that a hundred thousand agents take.
 */
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { bars } from "./Charts.ts"
import { Child } from "./Child.ts"
import { runtimesOf } from "./OptionValues.ts"
import { goal, type Goal, type Part, type Report, type Terms, titles } from "./Part.ts"
import type { RegistryOrder, Started } from "./RegistryEnd.ts"
import type { Load, LoadOrder } from "./RegistryLoad.ts"
import { EACH, type What } from "./RegistryWorld.ts"
import { spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table } from "./Table.ts"
import { LEAST_ROUNDS } from "./Turns.ts"

const AGENTS = 10_000
const MANY_AGENTS = 100_000
/** One request at a time, as a caller waits for it; and as many as a mesh at work has under way. */
const ALONE = 1
const CROWD = 64
const REPORTERS = 128
const SECONDS = 1
const GIB = 1_024 ** 3

/** AgentMesh's registry with 5,000 agents of one capability, as it was measured: p95 in milliseconds. */
const AGENTMESH = { exact: 7.6, words: 166 } as const

const help = `bench registry: a registry with ${AGENTS.toLocaleString("en-US")} agents of ${EACH} capabilities over HTTP

  --runtime bun,deno    runtimes (default: both)

There are 600 names of capabilities, and a hundred wordings of each: many agents run the same software. Each discovery asks for
something else. Reports are synced to the disk before they are answered, receipts are verified. The client runs on the same machine.`

interface Measured {
  readonly runtime: Runtime
  readonly alone: { readonly exact: ReadonlyArray<Load>; readonly words: ReadonlyArray<Load> }
  readonly crowd: { readonly [W in What]: ReadonlyArray<Load> }
  /** Resident bytes with so many agents, after a collection; and how long the registry took to start with them. */
  readonly memory: { readonly agents: number; readonly rss: number; readonly startMs: number }
}

const measure = async (runtime: Runtime, { brief, say }: Terms): Promise<Measured> => {
  const rounds = brief ? 1 : LEAST_ROUNDS
  const seconds = brief ? 0.3 : SECONDS
  const agents = brief ? 500 : AGENTS
  const registry = new Child<RegistryOrder>(runtime, "RegistryEnd.ts")
  const client = new Child<LoadOrder>("bun", "RegistryLoad.ts")
  try {
    await registry.read()
    await client.read()
    say(`${runtime}: ${agents.toLocaleString("en-US")} agents`)
    const { url } = await registry.tell<Started>({ _tag: "Start", agents })
    const load = (what: What, connections: number): Promise<Load> =>
      client.tell<Load>({ _tag: "Load", url, what, agents, connections, seconds })
    const run = async (what: What, connections: number): Promise<ReadonlyArray<Load>> => {
      say(`${runtime}: ${what} over ${connections} connections`)
      await load(what, connections)
      const all: Array<Load> = []
      for (let round = 0; round < rounds; round++) all.push(await load(what, connections))
      const refused = all.reduce((sum, each) => sum + each.refused, 0)
      if (refused > 0) throw new Error(`${refused} requests (${what}) were not answered with 200`)
      return all
    }
    const alone = { exact: await run("exact", ALONE), words: await run("words", ALONE) }
    const crowd = {
      exact: await run("exact", CROWD),
      words: await run("words", CROWD),
      attested: await run("attested", REPORTERS),
      report: await run("report", REPORTERS),
      update: await run("update", REPORTERS)
    }
    const many = brief ? 1_000 : MANY_AGENTS
    say(`${runtime}: ${many.toLocaleString("en-US")} agents`)
    // In a process of its own, as after a restart.
    registry.close()
    const large = new Child<RegistryOrder>(runtime, "RegistryEnd.ts")
    try {
      await large.read()
      const { startMs } = await large.tell<Started>({ _tag: "Start", agents: many })
      const { rss } = await large.collected()
      return { runtime, alone, crowd, memory: { agents: many, rss, startMs } }
    } finally {
      large.close()
    }
  } finally {
    registry.close()
    client.close()
  }
}

const over = (all: ReadonlyArray<Load>, value: (load: Load) => number): Spread => spreadOf(all.map(value))

/** What is asked for holds where the worse runtime has it; memory differs so much that each has a row. */
const goalsOf = (measured: ReadonlyArray<Measured>, brief: boolean): ReadonlyArray<Goal> => {
  const rounds = brief ? 1 : LEAST_ROUNDS
  const where = `the worse of ${measured.map(({ runtime }) => runtime).join(" and ")}`
  const known = `${AGENTS.toLocaleString("en-US")} agents of ${EACH} capabilities`
  const slowest = (what: "exact" | "words"): number =>
    Math.max(...measured.map(({ alone }) => over(alone[what], ({ p95 }) => p95).median))
  const fewest = (what: What): number =>
    Math.min(...measured.map(({ crowd }) => over(crowd[what], ({ perSecond }) => perSecond).median))
  return [
    goal(
      "registry-discover-exact-p95",
      `Discovery of an exact name over HTTP, one at a time, ${known}: p95, ${where}`,
      { atMost: 2 },
      "ms",
      slowest("exact"),
      rounds
    ),
    goal(
      "registry-discover-words-p95",
      `Discovery by plain words over HTTP, one at a time, ${known}: p95, ${where}`,
      { atMost: 10 },
      "ms",
      slowest("words"),
      rounds
    ),
    goal(
      "registry-discoveries",
      `Discoveries of exact names each second over ${CROWD} connections, ${known}: ${where}`,
      { atLeast: 3_000 },
      "discoveries/s",
      fewest("exact"),
      rounds
    ),
    goal(
      "registry-reports",
      `Trust reports (AgentMesh's) each second over ${REPORTERS} connections, each synced to the disk before its answer: ${where}`,
      { atLeast: 5_000 },
      "reports/s",
      fewest("update"),
      rounds
    ),
    ...measured.map(({ memory, runtime }) =>
      goal(
        `registry-memory-${runtime}`,
        `Memory of a registry with ${memory.agents.toLocaleString("en-US")} agents of ${EACH} capabilities, on ${titles[runtime]}`,
        { atMost: 1 },
        "GiB",
        memory.rss / GIB,
        1
      )
    )
  ]
}

const textOf = (measured: ReadonlyArray<Measured>): string => {
  const row = (runtime: string, what: string, connections: number, all: ReadonlyArray<Load>) => [
    runtime,
    what,
    String(connections),
    spread(over(all, ({ perSecond }) => perSecond)),
    spread(over(all, ({ p50 }) => p50)),
    spread(over(all, ({ p95 }) => p95)),
    short(over(all, ({ p99 }) => p99).median)
  ]
  return [
    `${AGENTS.toLocaleString("en-US")} agents of ${EACH} capabilities, requests over HTTP, reports durable.
There are 600 names of capabilities, and a hundred wordings of each.`,
    table(
      ["runtime", "request", "connections", "per second", "p50, ms", "p95, ms", "p99, ms"],
      measured.flatMap(({ alone, crowd, runtime }) => [
        row(runtime, "discover, exact name", ALONE, alone.exact),
        row(runtime, "discover, plain words", ALONE, alone.words),
        row(runtime, "discover, exact name", CROWD, crowd.exact),
        row(runtime, "discover, plain words", CROWD, crowd.words),
        row(runtime, "report, with a receipt", REPORTERS, crowd.attested),
        row(runtime, "report, without one", REPORTERS, crowd.report),
        row(runtime, "report, AgentMesh's", REPORTERS, crowd.update)
      ])
    ),
    `\nAgentMesh's registry, measured with 5,000 agents of one capability: p95 ${AGENTMESH.exact} ms for a name, ${AGENTMESH.words} ms for words.`,
    "\nMemory after a collection, and the time to start with so many agents in the file:",
    table(
      ["runtime", "agents", "MiB", "start, ms"],
      measured.map(({ memory, runtime }) => [
        runtime,
        memory.agents.toLocaleString("en-US"),
        short(memory.rss / 1_024 ** 2),
        short(memory.startMs)
      ])
    )
  ].join("\n")
}

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const { values } = parseArgs({ args: [...args], options: { runtime: { type: "string", default: "bun,deno" } } })
  const measured: Array<Measured> = []
  for (const runtime of runtimesOf(values.runtime)) measured.push(await measure(runtime, terms))
  return {
    text: textOf(measured),
    goals: goalsOf(measured, terms.brief),
    data: { measured, agentMesh: AGENTMESH },
    charts: [chartOf(measured)]
  }
}

const chartOf = (measured: ReadonlyArray<Measured>) => {
  const names = { exact: "a name", words: "plain words" } as const
  return bars({
    name: "registry",
    title: "Discovery: p95 of an answer over HTTP",
    note: `Parley with ${AGENTS.toLocaleString("en-US")} agents of ${EACH} capabilities, AgentMesh with 5,000 of one; lower is better`,
    unit: "ms",
    bars: (["exact", "words"] as const).flatMap((what) => [
      ...measured.map(({ alone, runtime }) => ({
        label: `${names[what]}, Parley on ${titles[runtime]}`,
        value: over(alone[what], ({ p95 }) => p95),
        ours: true
      })),
      { label: `${names[what]}, AgentMesh`, value: spreadOf([AGENTMESH[what]]) }
    ])
  })
}

/** The part `registry`. */
export const registry: Part = { what: "a registry: discoveries, durable reports, memory", help, run }
