/** `dial`: how long a dial takes, how many round trips the first answer, and how many dials a node takes a second. */
import { parseArgs } from "node:util"
import { areRivalsInstalled, type Runtime } from "../../scripts/setup.mjs"
import { installRivals } from "../rivals/Rivals.ts"
import { bars } from "./Charts.ts"
import { Child } from "./Child.ts"
import { CountingProxy, type Passed } from "./CountingProxy.ts"
import type { DialKind, DialOrder } from "./DialEnd.ts"
import type { Run } from "./Load.ts"
import { goal, type Goal, type Part, type Report, type Terms } from "./Part.ts"
import { ratioOf, spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import { takeTurns, valuesOf } from "./Turns.ts"
import { numberOf, runtimesOf } from "./OptionValues.ts"

/** What keeps bytes for so long each way is far away, as loopback is not. */
const DELAY_MS = 25
/** Dials whose round trips are counted. */
const COUNTED = 5
/** Processes that load a node with dials, and how many each has under way. */
const DIALLERS = 2
const LANES = 16

const help = `bench dial: dials with their handshake, beside a bare TCP connect and js-libp2p in the same run

  --runtime bun,deno    runtimes (default: both)
  --pairs N             rounds (default: 5)
  --seconds S           length of each measurement (default: 0.6)`

interface Options {
  readonly runtimes: ReadonlyArray<Runtime>
  readonly pairs: number
  readonly seconds: number
}

const optionsOf = (args: ReadonlyArray<string>, brief: boolean): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runtime: { type: "string", default: "bun,deno" },
      pairs: { type: "string", default: brief ? "1" : "5" },
      seconds: { type: "string", default: brief ? "0.1" : "0.6" }
    }
  })
  return {
    runtimes: runtimesOf(values.runtime),
    pairs: numberOf("pairs", values.pairs, 1, true),
    seconds: numberOf("seconds", values.seconds, 0.01, false)
  }
}

const labels: { readonly [Kind in DialKind]: string } = {
  parley: "Parley",
  tcp: "bare TCP connect",
  libp2p: "js-libp2p"
}

type End = Child<DialOrder>

/** The processes of a part, which end together. */
class Ends {
  readonly #runtime: Runtime
  readonly #all: Array<End> = []

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  async start(...args: ReadonlyArray<string>): Promise<{ readonly end: End; readonly address: string }> {
    const end: End = new Child(this.#runtime, "DialEnd.ts", args)
    this.#all.push(end)
    return { end, address: (await end.read<{ readonly address: string }>()).address }
  }

  close(): void {
    for (const end of this.#all) end.close()
  }
}

/** A round of dials, one after the other. */
interface Dialled extends Run {
  readonly dialMicros: number
  readonly acceptMicros: number
}

/** A round of dials from several processes at once. */
interface Loaded {
  readonly acceptedPerSecond: number
  /** CPU of the accepting process for each, in µs. */
  readonly acceptMicros: number
}

interface Measured {
  readonly runtime: Runtime
  readonly dials: { readonly [kind: string]: ReadonlyArray<Dialled> }
  /** The median dial beside js-libp2p's of the same round; undefined where that does not run. */
  readonly ofLibp2p: Spread | undefined
  readonly loaded: ReadonlyArray<Loaded>
  readonly counted: ReadonlyArray<Counted>
}

const turns = async (
  ends: Ends,
  runtime: Runtime,
  kinds: ReadonlyArray<DialKind>,
  { pairs, seconds }: Options,
  terms: Terms
): Promise<{ readonly [kind: string]: ReadonlyArray<Dialled> }> => {
  const contestants = []
  for (const kind of kinds) {
    const answering = await ends.start(kind, "answer")
    const asking = await ends.start(kind, "ask", answering.address)
    const dial = (length: number) => asking.end.tell<Run>({ _tag: "Dial", lanes: 1, seconds: length })
    contestants.push({
      name: kind,
      warmUp: () => dial(2 * seconds),
      round: async (): Promise<Dialled> => {
        const before = [await asking.end.used(), await answering.end.used()] as const
        const run = await dial(seconds)
        const after = [await asking.end.used(), await answering.end.used()] as const
        const each = (end: 0 | 1) => (after[end].micros - before[end].micros) / Math.max(1, run.calls)
        return { ...run, dialMicros: each(0), acceptMicros: each(1) }
      }
    })
  }
  const rounds = await takeTurns(contestants, pairs)
  terms.say(
    `dial, ${runtime}: ${kinds.map((kind) => `${labels[kind]} ${short(spreadOf(valuesOf(rounds, kind, (run) => run.p50)).median)} µs`).join(", ")}`
  )
  return Object.fromEntries(rounds)
}

const load = async (ends: Ends, { pairs, seconds }: Options): Promise<ReadonlyArray<Loaded>> => {
  const { address, end } = await ends.start("parley", "answer")
  const diallers: Array<End> = []
  for (let i = 0; i < DIALLERS; i++) diallers.push((await ends.start("parley", "ask", address)).end)
  const dial = (length: number) =>
    Promise.all(diallers.map((each) => each.tell<Run>({ _tag: "Dial", lanes: LANES, seconds: length })))
  await dial(2 * seconds)
  const loaded: Array<Loaded> = []
  for (let i = 0; i < pairs; i++) {
    const [before, acceptedBefore, began] = [
      await end.used(),
      await end.tell<number>({ _tag: "Accepted" }),
      performance.now()
    ]
    await dial(seconds)
    const took = (performance.now() - began) / 1_000
    const [after, acceptedAfter] = [await end.used(), await end.tell<number>({ _tag: "Accepted" })]
    const accepted = acceptedAfter - acceptedBefore
    loaded.push({
      acceptedPerSecond: accepted / took,
      acceptMicros: (after.micros - before.micros) / Math.max(1, accepted)
    })
  }
  return loaded
}

/** What a proxy far away saw of a dial, a request and its answer. */
interface Counted {
  readonly passed: Passed
  /** Round trips: TCP's own, and one for each time that the answering end spoke. */
  readonly roundTrips: number
  /** Time until the answer, in round trips of the proxy; TCP's own is not in it, for the proxy is near. */
  readonly waited: number
}

const count = async (ends: Ends): Promise<ReadonlyArray<Counted>> => {
  const { address } = await ends.start("parley", "answer")
  const { end } = await ends.start("parley", "ask", address)
  const proxy = new CountingProxy(Number(new URL(address).port), DELAY_MS)
  try {
    const port = await proxy.listen()
    const took = await end.tell<ReadonlyArray<number>>({
      _tag: "First",
      address: `tcp://127.0.0.1:${port}`,
      times: COUNTED
    })
    return proxy.passed.map((passed, i) => ({
      passed,
      roundTrips: 1 + passed.flights.filter(({ atMs, from }) => from === "server" && atMs <= took[i]!).length,
      waited: took[i]! / (2 * DELAY_MS)
    }))
  } finally {
    proxy.close()
  }
}

const measure = async (runtime: Runtime, options: Options, terms: Terms): Promise<Measured> => {
  const ends = new Ends(runtime)
  try {
    const kinds: ReadonlyArray<DialKind> = ["parley", "tcp", ...(areRivalsInstalled() ? (["libp2p"] as const) : [])]
    const dials = await turns(ends, runtime, kinds, options, terms)
    const loaded = await load(ends, options)
    const counted = await count(ends)
    const p50 = (kind: DialKind) => (dials[kind] ?? []).map((run) => run.p50)
    return {
      runtime,
      dials,
      ofLibp2p: dials["libp2p"] === undefined ? undefined : ratioOf(p50("parley"), p50("libp2p")),
      loaded,
      counted
    }
  } finally {
    ends.close()
  }
}

const perCore = (loaded: ReadonlyArray<Loaded>): Spread => spreadOf(loaded.map((each) => 1e6 / each.acceptMicros))
const p50Of = ({ dials }: Measured, kind: DialKind): Spread => spreadOf((dials[kind] ?? []).map((run) => run.p50))

const goalsOf = (measured: ReadonlyArray<Measured>, { pairs, runtimes }: Options): ReadonlyArray<Goal> => {
  const where = `the worse of ${runtimes.join(" and ")}`
  const worst = (of: (each: Measured) => number) => Math.max(...measured.map(of))
  return [
    goal(
      "dial-p50",
      `Median dial with its handshake on loopback, ${where}`,
      { atMost: 5 },
      "ms",
      worst((each) => p50Of(each, "parley").median) / 1_000,
      pairs
    ),
    goal(
      "dial-round-trips",
      `Round trips until the first byte of an answer, TCP's included, counted by a proxy, ${where}`,
      { atMost: 3 },
      "round trips",
      worst(({ counted }) => Math.max(...counted.map(({ roundTrips }) => roundTrips))),
      COUNTED
    ),
    goal(
      "dial-accepts",
      `Handshakes accepted a second for each core, ${where}`,
      { atLeast: 1_000 },
      "a second",
      -worst(({ loaded }) => -perCore(loaded).median),
      pairs
    )
  ]
}

const textOf = (measured: ReadonlyArray<Measured>): string => {
  const dials = table(
    ["runtime", "dial", "p50 µs", "p99 µs", "CPU µs dialling", "accepting", "Parley's p50 beside it"],
    measured.flatMap((each) =>
      Object.entries(each.dials).map(([kind, rounds]) => {
        const middle = (of: (run: Dialled) => number) => short(spreadOf(rounds.map(of)).median)
        const beside = ratioOf(
          each.dials["parley"]!.map((run) => run.p50),
          rounds.map((run) => run.p50)
        )
        return [
          each.runtime,
          labels[kind as DialKind],
          spread(spreadOf(rounds.map((run) => run.p50)), whole),
          middle((run) => run.p99),
          middle((run) => run.dialMicros),
          middle((run) => run.acceptMicros),
          kind === "parley" ? "" : `${spread(beside)} ×`
        ]
      })
    )
  )
  const loads = table(
    ["runtime", "accepted/s", "CPU µs each", "accepted/s of a core", "round trips", "waited, in round trips"],
    measured.map(({ counted, loaded, runtime }) => [
      runtime,
      spread(spreadOf(loaded.map((each) => each.acceptedPerSecond)), whole),
      spread(spreadOf(loaded.map((each) => each.acceptMicros)), whole),
      spread(perCore(loaded), whole),
      [...new Set(counted.map(({ roundTrips }) => roundTrips))].join(", "),
      spread(spreadOf(counted.map(({ waited }) => waited)))
    ])
  )
  return `Dials with their handshake, one after the other, on loopback
${dials}

Dials of ${DIALLERS} processes with ${LANES} under way each; and the first answer through a proxy that keeps bytes for ${DELAY_MS} ms each way:
its time is that of the round trips without TCP's own
${loads}
What one address may have is raised, since all dials come from one; every other limit is as it is.`
}

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const options = optionsOf(args, terms.brief)
  if (!terms.brief) installRivals(terms.say)
  const measured: Array<Measured> = []
  for (const runtime of options.runtimes) measured.push(await measure(runtime, options, terms))
  const { pairs, seconds } = options
  const chart = bars({
    name: "dial",
    title: "A dial with its handshake, on loopback",
    note: "Median of each round, one dial after the other; shorter is better",
    unit: "µs",
    bars: measured.flatMap((each) =>
      (Object.keys(each.dials) as ReadonlyArray<DialKind>).map((kind) => ({
        label: `${labels[kind]}, ${each.runtime}`,
        value: p50Of(each, kind),
        ours: kind === "parley"
      }))
    )
  })
  return {
    text: textOf(measured),
    goals: goalsOf(measured, options),
    data: { settings: { pairs, seconds, diallers: DIALLERS, lanes: LANES, delayMs: DELAY_MS }, measured },
    charts: [chart]
  }
}

/** Dials. */
export const dial: Part = { what: "dials with their handshake, round trips, and how many a node takes", help, run }
