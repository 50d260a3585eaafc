/** `relay`: calls that a third process forwards beside direct ones, a thousand circuits at once, and a quota that is tried. */
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import { Child } from "./Child.ts"
import type { Run } from "./Load.ts"
import { goal, type Goal, type Part, type Report, type Terms } from "./Part.ts"
import type { Flooded, RelayOrder, RelayReady } from "./RelayEnd.ts"
import { ratioOf, spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import { takeTurns, valuesOf } from "./Turns.ts"
import { numberOf, runtimesOf } from "./OptionValues.ts"

const CIRCUITS = 1_000
/** Nodes that are reached through the relay; each dialler dials each of them. */
const TARGETS = 50
const PLENTY = 2 ** 50
/** What one circuit of the tried relay may carry. */
const QUOTA_BYTES = 64 * 1024 * 1024
const QUOTA_INFLIGHT = 8

const help = `bench relay: calls through a relay, a third process, beside direct ones

  --runtime bun,deno    runtimes (default: both)
  --inflight N          requests in flight (default: 64)
  --pairs N             rounds (default: 5)
  --seconds S           length of each measurement (default: 0.8)`

interface Options {
  readonly runtimes: ReadonlyArray<Runtime>
  readonly inflight: number
  readonly pairs: number
  readonly seconds: number
  readonly circuits: number
}

const optionsOf = (args: ReadonlyArray<string>, brief: boolean): Options => {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runtime: { type: "string", default: "bun,deno" },
      inflight: { type: "string", default: "64" },
      pairs: { type: "string", default: brief ? "1" : "5" },
      seconds: { type: "string", default: brief ? "0.1" : "0.8" }
    }
  })
  return {
    runtimes: runtimesOf(values.runtime),
    inflight: numberOf("inflight", values.inflight, 1, true),
    pairs: numberOf("pairs", values.pairs, 1, true),
    seconds: numberOf("seconds", values.seconds, 0.01, false),
    circuits: brief ? 2 * TARGETS : CIRCUITS
  }
}

type End = Child<RelayOrder>

/** The processes of a part, which end together. */
class Ends {
  readonly #runtime: Runtime
  readonly #all: Array<End> = []

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  async start(
    ...args: ReadonlyArray<string>
  ): Promise<{ readonly end: End; readonly addresses: ReadonlyArray<string> }> {
    const end: End = new Child(this.#runtime, "RelayEnd.ts", args)
    this.#all.push(end)
    return { end, addresses: (await end.read<RelayReady>()).addresses }
  }

  close(): void {
    for (const end of this.#all) end.close()
  }
}

/** CPU of each process of a call, in µs. */
interface Cost {
  readonly asking: number
  readonly forwarding: number
  readonly answering: number
}

type Round = Run & { readonly cost: Cost }

interface Compared {
  readonly direct: ReadonlyArray<Round>
  readonly relayed: ReadonlyArray<Round>
  readonly ratio: Spread
}

const compare = async (runtime: Runtime, { inflight, pairs, seconds }: Options): Promise<Compared> => {
  const ends = new Ends(runtime)
  try {
    const quotas = { maxCircuitBytes: PLENTY, maxPeerBytesPerHour: PLENTY, maxHostBytesPerHour: PLENTY }
    const relay = await ends.start("forward", JSON.stringify(quotas))
    const pairOf = async (via: string) => {
      const answering = await ends.start("answer", via)
      const asking = await ends.start("ask", answering.addresses[0]!)
      return [asking.end, answering.end, ...(via === "" ? [] : [relay.end])]
    }
    const contestant = (name: string, [asking, answering, forwarding]: ReadonlyArray<End>) => {
      const run = (length: number) => asking!.tell<Run>({ _tag: "Run", inflight, seconds: length })
      const used = async () => ({
        asking: (await asking!.used()).micros,
        forwarding: forwarding === undefined ? 0 : (await forwarding.used()).micros,
        answering: (await answering!.used()).micros
      })
      const round = async (): Promise<Round> => {
        const before = await used()
        const done = await run(seconds)
        const after = await used()
        const each = (end: keyof Cost) => (after[end] - before[end]) / Math.max(1, done.calls)
        return {
          ...done,
          cost: { asking: each("asking"), forwarding: each("forwarding"), answering: each("answering") }
        }
      }
      return { name, warmUp: () => run(3 * seconds), round }
    }
    const rounds = await takeTurns(
      [contestant("direct", await pairOf("")), contestant("relayed", await pairOf(relay.addresses[0]!))],
      pairs
    )
    const rates = (name: string) => valuesOf(rounds, name, (round) => round.callsPerSecond)
    return {
      direct: rounds.get("direct")!,
      relayed: rounds.get("relayed")!,
      ratio: ratioOf(rates("relayed"), rates("direct"))
    }
  } finally {
    ends.close()
  }
}

interface Crowded {
  readonly stood: number
  readonly answered: number
  readonly dialSeconds: number
  readonly askSeconds: number
}

/** A thousand circuits at once, each with an end-to-end handshake, and a question over every one of them. */
const crowd = async (runtime: Runtime, { circuits }: Options): Promise<Crowded> => {
  const ends = new Ends(runtime)
  try {
    // One address may have half of all circuits; everybody here comes from one.
    const relay = await ends.start("forward", JSON.stringify({ maxCircuits: 2 * CIRCUITS }))
    const targets = await ends.start("targets", relay.addresses[0]!, String(TARGETS))
    const diallers = await ends.start("crowd", String(Math.ceil(circuits / TARGETS)))
    const began = performance.now()
    const stood = await diallers.end.tell<number>({ _tag: "Dial", addresses: targets.addresses, most: circuits })
    const dialled = performance.now()
    const answered = await diallers.end.tell<number>({ _tag: "AskAll" })
    const asked = performance.now()
    return { stood, answered, dialSeconds: (dialled - began) / 1_000, askSeconds: (asked - dialled) / 1_000 }
  } finally {
    ends.close()
  }
}

interface Tried {
  /** What came out of the flooded circuit, in bytes. */
  readonly through: number
  readonly quota: number
  readonly flooded: Flooded
  /** Calls of another circuit of the same relay, alone and while the flood ran. */
  readonly alone: Run
  readonly beside: Run
}

/** One circuit floods until it is cut; another one's calls go on. */
const flood = async (runtime: Runtime, { seconds }: Options): Promise<Tried> => {
  const ends = new Ends(runtime)
  try {
    const relay = await ends.start("forward", JSON.stringify({ maxCircuitBytes: QUOTA_BYTES }))
    const answering = await ends.start("answer", relay.addresses[0]!)
    const asking = await ends.start("ask", answering.addresses[0]!)
    const target = await ends.start("targets", relay.addresses[0]!, "1")
    const greedy = await ends.start("crowd", "1")
    await greedy.end.tell({ _tag: "Dial", addresses: target.addresses, most: 1 })
    const run = () => asking.end.tell<Run>({ _tag: "Run", inflight: QUOTA_INFLIGHT, seconds: Math.min(0.5, seconds) })
    await run()
    const alone = await run()
    const [flooded, beside] = await Promise.all([greedy.end.tell<Flooded>({ _tag: "Flood" }), run()])
    const through = await target.end.tell<number>({ _tag: "Received" })
    return { through, quota: QUOTA_BYTES, flooded, alone, beside }
  } finally {
    ends.close()
  }
}

interface Measured {
  readonly runtime: Runtime
  readonly compared: Compared
  readonly crowded: Crowded
  readonly tried: Tried
}

const goalsOf = (measured: ReadonlyArray<Measured>, options: Options): ReadonlyArray<Goal> => {
  const where = `the worse of ${options.runtimes.join(" and ")}`
  const { circuits, inflight, pairs } = options
  return [
    ...measured.map(({ compared, runtime }) =>
      goal(
        `relay-pair-${runtime}`,
        `Relayed calls/s, ${inflight} in flight, on ${runtime === "bun" ? "Bun" : "Deno"}`,
        { atLeast: 0.5 },
        "× direct",
        compared.ratio.median,
        pairs
      )
    ),
    goal(
      "relay-circuits",
      `Circuits at once that each answered, ${where}`,
      { atLeast: circuits },
      "circuits",
      Math.min(...measured.map(({ crowded }) => Math.min(crowded.stood, crowded.answered))),
      1
    ),
    goal(
      "relay-quota",
      `What a flooding circuit got through before it was cut, while another one was served, ${where}`,
      { atMost: 1 },
      "× its quota",
      Math.max(...measured.map(({ tried }) => (tried.beside.calls > 0 ? tried.through / tried.quota : Number.NaN))),
      1
    )
  ]
}

const textOf = (measured: ReadonlyArray<Measured>, { inflight }: Options): string => {
  const rates = (rounds: ReadonlyArray<Round>) => spread(spreadOf(rounds.map((round) => round.callsPerSecond)), whole)
  const middle = (rounds: ReadonlyArray<Round>, of: (round: Round) => number) => short(spreadOf(rounds.map(of)).median)
  const pair = table(
    ["runtime", "path", "calls/s", "p50 µs", "p99 µs", "CPU µs asking", "relay", "answering", "relayed/direct"],
    measured.flatMap(({ compared, runtime }) =>
      (["direct", "relayed"] as const).map((path) => [
        runtime,
        path,
        rates(compared[path]),
        middle(compared[path], (round) => round.p50),
        middle(compared[path], (round) => round.p99),
        middle(compared[path], (round) => round.cost.asking),
        path === "direct" ? "" : middle(compared[path], (round) => round.cost.forwarding),
        middle(compared[path], (round) => round.cost.answering),
        path === "direct" ? "" : spread(compared.ratio)
      ])
    )
  )
  const rest = table(
    [
      "runtime",
      "circuits",
      "answered",
      "dialled/s",
      "asked/s",
      "quota MiB",
      "through MiB",
      "cut after ms",
      "beside: calls/s",
      "alone"
    ],
    measured.map(({ crowded, runtime, tried }) => [
      runtime,
      whole(crowded.stood),
      whole(crowded.answered),
      whole(crowded.stood / crowded.dialSeconds),
      whole(crowded.answered / crowded.askSeconds),
      whole(tried.quota / 2 ** 20),
      short(tried.through / 2 ** 20),
      whole(tried.flooded.ms),
      whole(tried.beside.callsPerSecond),
      whole(tried.alone.callsPerSecond)
    ])
  )
  return `Calls of one node to another, ${inflight} in flight, direct and through a relay, which is a process of its own: two processes share the
cores in one case and three in the other
${pair}

Circuits at once, and one that floods a relay whose quota it passes, while another one's calls go on
${rest}`
}

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const options = optionsOf(args, terms.brief)
  const measured: Array<Measured> = []
  for (const runtime of options.runtimes) {
    const compared = await compare(runtime, options)
    terms.say(`relay, ${runtime}: ${short(compared.ratio.median)} × direct`)
    const crowded = await crowd(runtime, options)
    terms.say(`relay, ${runtime}: ${crowded.answered} circuits answered`)
    measured.push({ runtime, compared, crowded, tried: await flood(runtime, options) })
  }
  const { circuits, inflight, pairs, seconds } = options
  return {
    text: textOf(measured, options),
    goals: goalsOf(measured, options),
    data: { settings: { circuits, inflight, pairs, seconds, quotaBytes: QUOTA_BYTES }, measured },
    charts: []
  }
}

/** Calls through a relay. */
export const relay: Part = { what: "calls through a relay, circuits at once, and quotas", help, run }
