/** `idle`: what a connection costs that nobody uses, and whether thousands of them slow the calls of others down. */
import { execFileSync } from "node:child_process"
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { Child } from "./Child.ts"
import type { IdleOrder, IdleReady } from "./IdleEnd.ts"
import type { Run } from "./Load.ts"
import { goal, type Goal, type Part, type Report, type Terms, titles } from "./Part.ts"
import { ratioOf, spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import { takeTurns, valuesOf } from "./Turns.ts"
import { numberOf, runtimesOf } from "./OptionValues.ts"

const CONNECTIONS = 5_000
const KIB = 1_024
/** Processes that have the other ends. */
const CROWDS = 2
const INFLIGHT = 64
/** File handles that a process has besides its connections. */
const SPARE_FILES = 200

const help = `bench idle: the memory of connections that nobody uses, and the calls beside them

  --runtime bun,deno    runtimes (default: both)
  --connections N       idle connections of one process (default: ${CONNECTIONS})
  --pairs N             rounds of calls with and without them (default: 9)

Every connection needs a file handle at each end: "ulimit -n" must be at least the connections and ${SPARE_FILES}.`

/** File handles that a process of this one may have. */
const filesAllowed = (): number => {
  const text = execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" }).trim()
  return text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text)
}

interface Options {
  readonly runtimes: ReadonlyArray<Runtime>
  readonly connections: number
  readonly pairs: number
  readonly seconds: number
}

const optionsOf = (args: ReadonlyArray<string>, brief: boolean): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runtime: { type: "string", default: "bun,deno" },
      connections: { type: "string", default: String(brief ? 100 : CONNECTIONS) },
      pairs: { type: "string", default: brief ? "1" : "9" }
    }
  })
  return {
    runtimes: runtimesOf(values.runtime),
    connections: numberOf("connections", values.connections, 1, true),
    pairs: numberOf("pairs", values.pairs, 1, true),
    seconds: brief ? 0.1 : 0.6
  }
}

type End = Child<IdleOrder>

/** A node that answers, and the one that calls it. */
interface Pair {
  readonly holder: End
  readonly caller: End
  readonly address: string
}

type Round = Run & { readonly micros: number }

interface Measured {
  readonly runtime: Runtime
  readonly connections: number
  /** Seconds until all were there. */
  readonly opened: number
  readonly bytesEach: number
  /** The same with the first batch left out, which pays for code and pools. */
  readonly laterBytesEach: number
  /** CPU of the holder while nothing happens, in µs for each second. */
  readonly idleMicrosPerSecond: number
  readonly rates: { readonly with: ReadonlyArray<number>; readonly without: ReadonlyArray<number> }
  /** CPU of the process that answers, for each call, in µs. */
  readonly micros: { readonly with: Spread; readonly without: Spread }
  readonly ratio: Spread
}

const measure = async (runtime: Runtime, options: Options, terms: Terms): Promise<Measured> => {
  const ends: Array<End> = []
  const start = async (args: ReadonlyArray<string>): Promise<readonly [End, IdleReady]> => {
    const end: End = new Child(runtime, "IdleEnd.ts", args)
    ends.push(end)
    return [end, await end.read<IdleReady>()]
  }
  const pair = async (): Promise<Pair> => {
    const [holder, { address }] = await start(["hold"])
    const [caller] = await start(["call", address])
    return { holder, caller, address }
  }
  try {
    const alone = await pair()
    const crowded = await pair()
    for (const { caller } of [alone, crowded])
      await caller.tell<Run>({ _tag: "Run", inflight: INFLIGHT, seconds: options.seconds * 3 })
    const crowds: Array<End> = []
    for (let i = 0; i < CROWDS; i++) crowds.push((await start(["crowd", crowded.address]))[0])
    const open = async (count: number): Promise<number> => {
      const share = Math.floor(count / CROWDS)
      await Promise.all(
        crowds.map((crowd, i) => crowd.tell({ _tag: "Open", count: i === 0 ? count - share * (CROWDS - 1) : share }))
      )
      return (await crowded.holder.collected()).rss
    }
    const empty = (await crowded.holder.collected()).rss
    const begun = performance.now()
    const first = Math.ceil(options.connections / 10)
    const some = await open(first)
    const all = await open(options.connections - first)
    const opened = (performance.now() - begun) / 1_000
    const held = await crowded.holder.tell<number>({ _tag: "Count" })
    // The caller's own connection is one of them.
    if (held < options.connections) throw new Error(`of ${options.connections} connections ${held} stand`)
    terms.say(`idle, ${runtime}: ${held} connections, ${whole((all - empty) / options.connections)} bytes each`)
    const before = await crowded.holder.used()
    const quiet = options.seconds * 5
    await new Promise((resolve) => setTimeout(resolve, quiet * 1_000))
    const after = await crowded.holder.used()
    const run = ({ caller }: Pair) => caller.tell<Run>({ _tag: "Run", inflight: INFLIGHT, seconds: options.seconds })
    const round = async (pair: Pair): Promise<Round> => {
      const begun = (await pair.holder.used()).micros
      const done = await run(pair)
      return { ...done, micros: ((await pair.holder.used()).micros - begun) / Math.max(1, done.calls) }
    }
    const rounds = await takeTurns(
      [
        { name: "without", warmUp: () => run(alone), round: () => round(alone) },
        { name: "with", warmUp: () => run(crowded), round: () => round(crowded) }
      ],
      options.pairs
    )
    const rates = {
      with: valuesOf(rounds, "with", (run) => run.callsPerSecond),
      without: valuesOf(rounds, "without", (run) => run.callsPerSecond)
    }
    return {
      runtime,
      connections: held,
      opened,
      bytesEach: (all - empty) / options.connections,
      laterBytesEach: (all - some) / Math.max(1, options.connections - first),
      idleMicrosPerSecond: (after.micros - before.micros) / quiet,
      rates,
      micros: {
        with: spreadOf(valuesOf(rounds, "with", (round) => round.micros)),
        without: spreadOf(valuesOf(rounds, "without", (round) => round.micros))
      },
      ratio: ratioOf(rates.with, rates.without)
    }
  } finally {
    for (const end of ends) end.close()
  }
}

/** Rows for each runtime. */
const goalsOf = (measured: ReadonlyArray<Measured>, { connections, pairs, runtimes }: Options): ReadonlyArray<Goal> =>
  runtimes.flatMap((runtime) => {
    const where = `${whole(connections)} idle connections in one process, on ${titles[runtime]}`
    const found = measured.find((each) => each.runtime === runtime)
    const each = found && found.bytesEach / KIB
    const runs = found === undefined ? 0 : pairs
    return [
      goal(`idle-memory-${runtime}`, `Memory of each of ${where}`, { atMost: 32 }, "KiB", each, Math.min(1, runs)),
      goal(
        `idle-calls-${runtime}`,
        `Routed calls/s beside ${where}`,
        { atLeast: 0.9 },
        "× without them",
        found?.ratio.median,
        runs
      )
    ]
  })

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const options = optionsOf(args, terms.brief)
  const allowed = filesAllowed()
  const needed = options.connections + SPARE_FILES
  if (allowed < needed) {
    const reason = `a process may have ${allowed} files open, ${needed} are needed: raise it with "ulimit -n ${needed}"`
    terms.say(`idle: ${reason}`)
    return {
      text: reason,
      goals: goalsOf([], options),
      data: { reason },
      charts: []
    }
  }
  const measured: Array<Measured> = []
  for (const runtime of options.runtimes) measured.push(await measure(runtime, options, terms))
  const rows = measured.map((each) => [
    each.runtime,
    whole(each.connections),
    short(each.bytesEach / KIB),
    short(each.laterBytesEach / KIB),
    short(each.opened),
    short(each.idleMicrosPerSecond / 10_000),
    spread(spreadOf(each.rates.without), whole),
    spread(spreadOf(each.rates.with), whole),
    spread(each.ratio),
    short(each.micros.without.median),
    short(each.micros.with.median)
  ])
  return {
    text: `Idle connections: memory of the process that holds one end of all, after a collection, and ${INFLIGHT} calls in flight beside them
${table(
  [
    "runtime",
    "idle",
    "KiB each",
    "last 90 %",
    "opened in s",
    "CPU % idle",
    "calls/s without",
    "calls/s with",
    "with/without",
    "CPU µs without",
    "with"
  ],
  rows
)}
One end of each is in ${CROWDS} other processes, which share the cores and answer its signs of life.
The kernel's buffers are not in the memory. Limits on accepted connections are raised: all come from one address.`,
    goals: goalsOf(measured, options),
    data: { settings: { inflight: INFLIGHT, pairs: options.pairs, seconds: options.seconds }, measured },
    charts: []
  }
}

/** Idle connections. */
export const idle: Part = { what: "the memory of idle connections, and calls beside them", help, run }
