/**
 * `match`: what it takes to find the best of a hundred thousand capabilities, and to take them in, beside a scan over all of
 * them and, for words, beside minisearch.
 */
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { Child } from "./Child.ts"
import { lines } from "./Charts.ts"
import type { ContestantName, Heap, Indexed, MatchOrder, Times } from "./MatchEnd.ts"
import type { Shape } from "./MatchWorld.ts"
import { goal, type Goal, type Part, type Report, type Terms, titles } from "./Part.ts"
import { ratioOf, spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table } from "./Table.ts"
import { LEAST_ROUNDS, takeTurns, valuesOf } from "./Turns.ts"
import { runtimesOf } from "./OptionValues.ts"

const SIZES = [10_000, 100_000]
const AGENTS = [1, 5, 64]
/** Capabilities to a record, by what they have in common. */
const EACH: { readonly [K in Shape]: ReadonlyArray<number> } = { own: [1, 5, 10], shared: [10] }
/** Times that all is taken in; nobody else is compared with that. */
const INDEXINGS = 3
const KIB = 1_024

const help = `bench match: finding capabilities by name and by words, and taking records in

  --runtime bun,deno    runtimes (default: both)

Each query asks for something else, so that nothing can be kept of the one before, except where the same query is measured.`

type End = Child<MatchOrder>
type What = "exact" | "words"

const contestants: { readonly [K in What]: ReadonlyArray<ContestantName> } = {
  exact: ["matcher", "scan"],
  words: ["matcher", "minisearch", "scan"]
}
/** So many that a round of each takes some tenths of a second. */
const runsOf = (name: ContestantName, what: What, size: number): number =>
  name === "scan"
    ? Math.max(3, Math.round(500_000 / size))
    : what === "exact"
      ? 4_000
      : Math.round(4_000_000 / (size + 20_000))

/** The times of one contestant at one size: of each round the p50 and the p99. */
interface Asked {
  readonly size: number
  readonly name: ContestantName
  readonly p50: ReadonlyArray<number>
  readonly p99: ReadonlyArray<number>
}

interface Indexing {
  readonly each: number
  readonly shape: Shape
  readonly recordsPerSecond: Spread
}

interface Measured {
  readonly runtime: Runtime
  readonly exact: ReadonlyArray<Asked>
  readonly words: ReadonlyArray<Asked>
  /** The same query again, by the agents that serve it and the capabilities known besides. */
  readonly again: ReadonlyArray<{ readonly agents: number; readonly known: number; readonly p50: Spread }>
  readonly indexing: ReadonlyArray<Indexing>
  readonly verifying: ReadonlyArray<{ readonly each: number; readonly recordsPerSecond: Spread }>
  /** Bytes for each capability, with one of its own to a record and with ten shared ones. */
  readonly heap: ReadonlyArray<Heap & { readonly each: number; readonly shape: Shape }>
}

class Ends {
  readonly #runtime: Runtime
  readonly #all: Array<End> = []

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  async start(name: ContestantName, size: number, shape: Shape): Promise<End> {
    const end: End = new Child(this.#runtime, "MatchEnd.ts", [name, String(size), shape])
    this.#all.push(end)
    await end.read()
    return end
  }

  close(): void {
    for (const end of this.#all.splice(0)) end.close()
  }
}

const asked = async (
  ends: Ends,
  what: What,
  size: number,
  rounds: number,
  brief: boolean
): Promise<ReadonlyArray<Asked>> => {
  const names = contestants[what]
  const children = new Map<ContestantName, End>()
  for (const name of names) children.set(name, await ends.start(name, size, "own"))
  const ask = (name: ContestantName, runs: number) =>
    children.get(name)!.tell<Times>({ _tag: "Ask", what, runs: brief ? 2 : runs })
  const taken = await takeTurns(
    names.map((name) => ({
      name,
      warmUp: () => ask(name, runsOf(name, what, size)),
      round: () => ask(name, runsOf(name, what, size))
    })),
    rounds
  )
  ends.close()
  return names.map((name) => ({
    size,
    name,
    p50: valuesOf(taken, name, ({ p50 }) => p50),
    p99: valuesOf(taken, name, ({ p99 }) => p99)
  }))
}

const measure = async (runtime: Runtime, { brief, say }: Terms): Promise<Measured> => {
  const ends = new Ends(runtime)
  const rounds = brief ? 1 : LEAST_ROUNDS
  const indexings = brief ? 1 : INDEXINGS
  // How it grows is shown on one runtime; what is asked for is asked of the largest size.
  const sizes = brief ? [1_000] : runtime === "bun" ? SIZES : SIZES.slice(-1)
  try {
    const exact: Array<Asked> = []
    const words: Array<Asked> = []
    for (const size of sizes) {
      say(`match, ${runtime}: ${size.toLocaleString("en-US")} capabilities`)
      exact.push(...(await asked(ends, "exact", size, rounds, brief)))
      words.push(...(await asked(ends, "words", size, rounds, brief)))
    }
    const again: Array<Measured["again"][number]> = []
    say(`match, ${runtime}: the same query again`)
    for (const known of sizes) {
      const end = await ends.start("matcher", known, "shared")
      const taken = await takeTurns(
        AGENTS.map((agents) => ({
          name: String(agents),
          round: () => end.tell<Times>({ _tag: "Again", agents, runs: brief ? 100 : 20_000 })
        })),
        brief ? 1 : 3
      )
      for (const agents of AGENTS) {
        again.push({ agents, known, p50: spreadOf(valuesOf(taken, String(agents), ({ p50 }) => p50)) })
      }
      ends.close()
    }
    const indexing: Array<Indexing> = []
    const heap: Array<Measured["heap"][number]> = []
    say(`match, ${runtime}: taking records in`)
    const most = sizes.at(-1)!
    let verifying: Measured["verifying"] = []
    for (const shape of ["own", "shared"] as const) {
      for (const each of EACH[shape].filter((of) => of !== 5)) {
        // In a process that has done nothing else, so that nothing is collected meanwhile.
        const fresh = await ends.start("matcher", most, shape)
        heap.push({ each, shape, ...(await fresh.tell<Heap>({ _tag: "Heap", each })) })
        ends.close()
      }
      const end = await ends.start("matcher", most, shape)
      const taken = await takeTurns(
        EACH[shape].map((each) => ({
          name: String(each),
          round: () => end.tell<Indexed>({ _tag: "Index", each })
        })),
        indexings
      )
      for (const each of EACH[shape]) {
        const rates = valuesOf(taken, String(each), (round) => round.recordsPerSecond)
        indexing.push({ each, shape, recordsPerSecond: spreadOf(rates) })
      }
      if (shape === "own") {
        const verified = await takeTurns(
          [1, 10].map((each) => ({
            name: String(each),
            round: () => end.tell<Indexed>({ _tag: "Verify", each, runs: brief ? 50 : 500 })
          })),
          rounds
        )
        verifying = [1, 10].map((each) => ({
          each,
          recordsPerSecond: spreadOf(valuesOf(verified, String(each), (round) => round.recordsPerSecond))
        }))
      }
      ends.close()
    }
    return { runtime, exact, words, again, indexing, verifying, heap }
  } finally {
    ends.close()
  }
}

const at = (all: ReadonlyArray<Asked>, name: ContestantName): Asked =>
  all.filter((each) => each.name === name).reduce((a, b) => (b.size > a.size ? b : a))

/** What is asked for holds where the worse runtime has it; heaps differ so much that each has a row. */
const goalsOf = (measured: ReadonlyArray<Measured>, brief: boolean): ReadonlyArray<Goal> => {
  const rounds = brief ? 1 : LEAST_ROUNDS
  const where = `the worse of ${measured.map(({ runtime }) => runtime).join(" and ")}`
  const worst = (value: (of: Measured) => number): number => Math.max(...measured.map(value))
  const indexed = (of: Measured): number =>
    of.indexing.find(({ each, shape }) => each === 1 && shape === "own")!.recordsPerSecond.median
  return [
    goal(
      "match-exact",
      `Exact name, semver range, two constraints, top 5 of 100,000 capabilities that all differ, a hundred of each name: p50, ${where}`,
      { atMost: 20 },
      "µs",
      worst(({ exact }) => spreadOf(at(exact, "matcher").p50).median),
      rounds
    ),
    goal(
      "match-words",
      `Three plain words, top 5 of 100,000 capabilities that all differ: p50, ${where}`,
      { atMost: 3 },
      "ms",
      worst(({ words }) => spreadOf(at(words, "matcher").p50).median / 1_000),
      rounds
    ),
    goal(
      "match-indexing",
      `Verified records indexed each second, 100,000 of one capability each, all different: ${where}`,
      { atLeast: 50_000 },
      "records/s",
      Math.min(...measured.map(indexed)),
      brief ? 1 : INDEXINGS
    ),
    ...measured.map(({ heap, runtime }) =>
      goal(
        `match-heap-${runtime}`,
        `Heap for each of 100,000 capabilities, the index and the records together, the most of all shapes, on ${titles[runtime]}`,
        { atMost: 2 },
        "KiB",
        Math.max(...heap.map(({ withRecords }) => withRecords)) / KIB,
        1
      )
    )
  ]
}

const textOf = (measured: ReadonlyArray<Measured>): string => {
  const times = (what: What): string =>
    table(
      ["runtime", "capabilities", "contestant", "p50, µs", "p99, µs", "× matcher"],
      measured.flatMap((of) =>
        of[what].map(({ name, p50, p99, size }) => {
          const ours = of[what].find((other) => other.size === size && other.name === "matcher")!
          return [
            of.runtime,
            size.toLocaleString("en-US"),
            name,
            spread(spreadOf(p50)),
            short(spreadOf(p99).median),
            spread(ratioOf(p50, ours.p50))
          ]
        })
      )
    )
  return [
    "Exact name, semver range, two constraints, top 5 (all capabilities differ, a hundred of each name):",
    times("exact"),
    "\nThree plain words, top 5:",
    times("words"),
    "\nThe same query again, top 5, trust moving with each call:",
    table(
      ["runtime", "known besides", "agents that match", "p50, µs"],
      measured.flatMap(({ again, runtime }) =>
        again.map(({ agents, known, p50 }) => [runtime, known.toLocaleString("en-US"), String(agents), spread(p50)])
      )
    ),
    "\nTaking 100,000 capabilities in (their signatures verified before):",
    table(
      ["runtime", "capabilities", "to a record", "records/s", "capabilities/s"],
      measured.flatMap(({ indexing, runtime }) =>
        indexing.map(({ each, recordsPerSecond, shape }) => [
          runtime,
          shape === "own" ? "all different" : "shared",
          String(each),
          spread(recordsPerSecond),
          short(recordsPerSecond.median * each)
        ])
      )
    ),
    "\nVerifying a record's signature and shape:",
    table(
      ["runtime", "capabilities", "records/s"],
      measured.flatMap(({ runtime, verifying }) =>
        verifying.map(({ each, recordsPerSecond }) => [runtime, String(each), spread(recordsPerSecond)])
      )
    ),
    "\nHeap for each capability, in bytes:",
    table(
      ["runtime", "capabilities", "to a record", "index", "with its record"],
      measured.flatMap(({ heap, runtime }) =>
        heap.map(({ each, index, shape, withRecords }) => [
          runtime,
          shape === "own" ? "all different" : "shared",
          String(each),
          short(index),
          short(withRecords)
        ])
      )
    )
  ].join("\n")
}

const chartOf = (what: What, { runtime, [what]: all }: Measured) =>
  lines({
    name: `match-${what}`,
    title: what === "exact" ? "A name, a range of versions, two constraints: top 5" : "Three plain words: top 5",
    note: `p50 on ${runtime}, by the number of capabilities known; lower is better`,
    x: { name: "capabilities", log: true },
    y: { name: "µs", log: true },
    lines: contestants[what].map((name) => ({
      label: name === "matcher" ? "Parley" : name === "scan" ? "a scan over all" : name,
      points: all
        .filter((each) => each.name === name)
        .map(({ p50, size }): readonly [number, number] => [size, spreadOf(p50).median])
    }))
  })

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const { values } = parseArgs({ args: [...args], options: { runtime: { type: "string", default: "bun,deno" } } })
  const runtimes = runtimesOf(values.runtime)
  const measured: Array<Measured> = []
  for (const runtime of runtimes) measured.push(await measure(runtime, terms))
  const [first] = measured
  return {
    text: textOf(measured),
    goals: goalsOf(measured, terms.brief),
    data: { measured },
    charts: first === undefined ? [] : [chartOf("exact", first), chartOf("words", first)]
  }
}

/** The part. */
export const match: Part = { what: "finding the best of 100,000 capabilities, and taking them in", help, run }
