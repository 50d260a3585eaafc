/**
 * `ask`: verdicts of five agents by majority vote, over encrypted connections, beside plain calls to the same agents; and what
 * it takes to make one verdict of many answers.
 */
import { parseArgs } from "node:util"
import type { Runtime } from "../../scripts/setup.mjs"
import type { AggregateOrder, AggregateRun } from "./AggregateEnd.ts"
import type { AskOrder, AskReady } from "./AskEnd.ts"
import { bars } from "./Charts.ts"
import { Child } from "./Child.ts"
import type { Run } from "./Load.ts"
import { goal, type Goal, type Part, type Report, type Terms, titles } from "./Part.ts"
import { ratioOf, spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table, whole } from "./Table.ts"
import { LEAST_ROUNDS, type Rounds, takeTurns, valuesOf } from "./Turns.ts"
import { runtimesOf } from "./OptionValues.ts"

const AGENTS = 5
const KNOWN = 10_000
const INFLIGHT = 64
/** Agents of the five that answer something else. */
const LIARS = [0, 1]

const help = `bench ask: verdicts of ${AGENTS} agents a second, and aggregation alone

  --runtime bun,deno    runtimes (default: both)

All agents run in one process, who asks in another. It knows ${whole(KNOWN)} capabilities of other agents besides.`

type What = AskOrder["what"]

interface Round {
  readonly run: Run
  /** Microseconds of CPU time for each verdict or call. */
  readonly asking: number
  readonly answering: number
}

interface Asked {
  readonly liars: number
  readonly what: What
  readonly perSecond: Spread
  readonly p50: Spread
  readonly p99: Spread
  readonly asking: Spread
  readonly answering: Spread
  /** A verdict beside a call of the same round: how many calls it takes the time of. */
  readonly calls: Spread
}

interface Aggregated {
  readonly name: AggregateOrder["name"]
  readonly micros: Spread
}

interface Measured {
  readonly runtime: Runtime
  readonly asked: ReadonlyArray<Asked>
  readonly aggregated: ReadonlyArray<Aggregated>
}

const asked = async (runtime: Runtime, liars: number, { brief, say }: Terms): Promise<ReadonlyArray<Asked>> => {
  say(`ask, ${runtime}: ${AGENTS} agents, ${liars} of which ${liars === 1 ? "lies" : "lie"}`)
  const answering: Child = new Child(runtime, "AskEnd.ts", ["answer", String(AGENTS), String(liars)])
  try {
    const { addresses } = await answering.read<AskReady>()
    const asking: Child<AskOrder> = new Child(runtime, "AskEnd.ts", ["ask", String(KNOWN), ...addresses])
    try {
      await asking.read<AskReady>()
      const round = async (what: What, seconds: number): Promise<Round> => {
        const before = [await asking.used(), await answering.used()] as const
        const run = await asking.tell<Run>({ _tag: "Run", what, inflight: INFLIGHT, seconds })
        const after = [await asking.used(), await answering.used()] as const
        const each = (end: 0 | 1) => (after[end].micros - before[end].micros) / Math.max(1, run.calls)
        return { run, asking: each(0), answering: each(1) }
      }
      const whats: ReadonlyArray<What> = ["ask", "call"]
      const rounds: Rounds<Round> = await takeTurns(
        whats.map((what) => ({
          name: what,
          warmUp: () => round(what, brief ? 0.05 : 1),
          round: () => round(what, brief ? 0.1 : 0.7)
        })),
        brief ? 1 : LEAST_ROUNDS
      )
      const of = (what: What, value: (round: Round) => number): Spread => spreadOf(valuesOf(rounds, what, value))
      const calls = ratioOf(
        valuesOf(rounds, "call", ({ run }) => run.callsPerSecond),
        valuesOf(rounds, "ask", ({ run }) => run.callsPerSecond)
      )
      return whats.map((what) => ({
        liars,
        what,
        perSecond: of(what, ({ run }) => run.callsPerSecond),
        p50: of(what, ({ run }) => run.p50),
        p99: of(what, ({ run }) => run.p99),
        asking: of(what, (each) => each.asking),
        answering: of(what, (each) => each.answering),
        calls: what === "ask" ? calls : spreadOf([1])
      }))
    } finally {
      asking.close()
    }
  } finally {
    answering.close()
  }
}

const aggregated = async (runtime: Runtime, { brief, say }: Terms): Promise<ReadonlyArray<Aggregated>> => {
  say(`ask, ${runtime}: aggregation alone`)
  const end: Child<AggregateOrder> = new Child(runtime, "AggregateEnd.ts")
  try {
    await end.read()
    const names: ReadonlyArray<AggregateOrder["name"]> = ["labels", "objects", "texts"]
    const runsOf = (name: AggregateOrder["name"]): number => (brief ? 3 : name === "texts" ? 40 : 5_000)
    const one = (name: AggregateOrder["name"]) =>
      end.tell<AggregateRun>({ _tag: "Aggregate", name, runs: runsOf(name) })
    const rounds = await takeTurns(
      names.map((name) => ({ name, warmUp: () => one(name), round: () => one(name) })),
      brief ? 1 : LEAST_ROUNDS
    )
    return names.map((name) => ({ name, micros: spreadOf(valuesOf(rounds, name, ({ p50 }) => p50)) }))
  } finally {
    end.close()
  }
}

const measure = async (runtime: Runtime, terms: Terms): Promise<Measured> => {
  const all: Array<Asked> = []
  for (const liars of LIARS) all.push(...(await asked(runtime, liars, terms)))
  return { runtime, asked: all, aggregated: await aggregated(runtime, terms) }
}

/** What is asked for holds where the worse runtime, and the worse kind of answers, has it. */
const goalsOf = (measured: ReadonlyArray<Measured>, rounds: number): ReadonlyArray<Goal> => {
  const where = `the worse of ${measured.map(({ runtime }) => runtime).join(" and ")}`
  const verdicts = measured.flatMap((of) =>
    of.asked.filter(({ what }) => what === "ask").map(({ perSecond }) => perSecond.median)
  )
  const micros = (some: ReadonlyArray<Measured>, ...names: ReadonlyArray<Aggregated["name"]>): number =>
    Math.max(
      ...some.flatMap((of) =>
        of.aggregated.filter(({ name }) => names.includes(name)).map((each) => each.micros.median)
      )
    )
  return [
    goal(
      "ask-majority",
      `Verdicts by majority vote of ${AGENTS} agents a second, ${INFLIGHT} in flight, honest ones and with a liar: ${where}`,
      { atLeast: 10_000 },
      "verdicts/s",
      Math.min(...verdicts),
      rounds
    ),
    ...measured.map((of) =>
      goal(
        `aggregate-majority-${of.runtime}`,
        `Majority vote of 500 answers, the slower of labels and objects: p50, on ${titles[of.runtime]}`,
        { atMost: 60 },
        "µs",
        micros([of], "labels", "objects"),
        rounds
      )
    ),
    goal(
      "aggregate-cluster",
      `Cluster vote of 200 texts by their words: p50, ${where}`,
      { atMost: 20 },
      "ms",
      micros(measured, "texts") / 1_000,
      rounds
    )
  ]
}

const told: { readonly [K in Aggregated["name"]]: string } = {
  labels: "majority of 500 labels",
  objects: "majority of 500 objects",
  texts: "cluster vote of 200 texts"
}

const textOf = (measured: ReadonlyArray<Measured>): string =>
  [
    `${AGENTS} agents, ${INFLIGHT} in flight, among ${whole(KNOWN)} capabilities of others:`,
    table(
      [
        "runtime",
        "what",
        "liars",
        "a second",
        "p50, µs",
        "p99, µs",
        "CPU asking, µs",
        "CPU answering, µs",
        "calls' time"
      ],
      measured.flatMap(({ asked: all, runtime }) =>
        all.map(({ answering, asking, calls, liars, p50, p99, perSecond, what }) => [
          runtime,
          what === "ask" ? "verdicts" : "calls",
          String(liars),
          spread(perSecond, whole),
          whole(p50.median),
          whole(p99.median),
          short(asking.median),
          short(answering.median),
          what === "ask" ? spread(calls) : ""
        ])
      )
    ),
    "\nAggregation alone:",
    table(
      ["runtime", "what", "p50, µs"],
      measured.flatMap(({ aggregated: all, runtime }) =>
        all.map(({ micros, name }) => [runtime, told[name], spread(micros)])
      )
    )
  ].join("\n")

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const { values } = parseArgs({ args: [...args], options: { runtime: { type: "string", default: "bun,deno" } } })
  const runtimes = runtimesOf(values.runtime)
  const measured: Array<Measured> = []
  for (const runtime of runtimes) measured.push(await measure(runtime, terms))
  return {
    text: textOf(measured),
    goals: goalsOf(measured, terms.brief ? 1 : LEAST_ROUNDS),
    data: { measured },
    charts: [
      bars({
        name: "ask",
        title: "Verdicts by majority vote of five agents",
        note: `a second, ${INFLIGHT} in flight, two processes, encrypted; higher is better`,
        unit: "verdicts/s",
        mark: { label: "asked for", at: 10_000 },
        write: whole,
        bars: measured.flatMap(({ asked: all, runtime }) =>
          all
            .filter(({ what }) => what === "ask")
            .map(({ liars, perSecond }) => ({
              label: `${runtime}, ${liars === 0 ? "all agree" : `${liars} lies`}`,
              value: perSecond,
              ours: true
            }))
        )
      })
    ]
  }
}

/** The part. */
export const ask: Part = { what: "verdicts of five agents a second, and aggregation alone", help, run }
