/**
 * `reputation`: whether callers still get good agents when most of those who talk to the registry lie, beside AgentMesh's moving
 * average and plain EigenTrust; and what it costs.
 */
import { parseArgs } from "node:util"
import { lines } from "./Charts.ts"
import { numberOf } from "./OptionValues.ts"
import { goal, type Chart, type Goal, type Part, type Report, type Terms as RunTerms } from "./Part.ts"
import { Market, type Outcome, type Terms, usual } from "./reputation/Market.ts"
import type { PolicyName } from "./reputation/Policy.ts"
import { type Cost, costOf } from "./reputation/Cost.ts"
import { spreadOf, type Spread } from "./Spread.ts"
import { short, spread, table } from "./Table.ts"

/** Rounds in which everybody still learns who is who; they are in the charts, and not in the figures. */
const LEARNING = 60
const SEEDS = [11, 23, 37, 41, 59, 67, 73]
/** Of these, as many for each variation. */
const VARIED = 4
/** Rounds that a point of the curves stands for. */
const WINDOW = 8

const help = `Options of reputation:
  --seeds N   markets for each line, each of its own random seed (default: ${SEEDS.length})`

const contestants: ReadonlyArray<readonly [PolicyName, string]> = [
  ["parley", "Parley"],
  ["ema", "AgentMesh's average"],
  ["eigentrust", "EigenTrust (2003)"]
]
const quiet: Partial<Terms> = { sybils: 0, attackFrom: Infinity }

/** What changes, and how it is told. */
const variations: ReadonlyArray<readonly [string, Partial<Terms>]> = [
  ["as above: 10 sybils a caller, 30 % colluding, from the first hour", {}],
  ["nobody attacks", quiet],
  ["30 sybils a caller", { sybils: 30 }],
  ["50 % of agents colluding", { colluding: 0.5 }],
  ["sybils praise good agents in 4 of 5 reports, to be believed", { camouflage: 0.8 }],
  ["attackers have no receipts", { receipts: "honest" }],
  ["10 seeds instead of 3", { seeds: 10 }],
  ["1 seed instead of 3", { seeds: 1 }],
  ["one seed of 4 slanders", { traitors: 1 }],
  ["no seeds; the attack begins after 20 hours", { seeds: 0, attackFrom: 20 }],
  ["no seeds; the attackers were there first", { seeds: 0 }],
  ["nobody has receipts", { receipts: "none" }]
]

interface Line {
  readonly what: string
  readonly terms: Terms
  readonly outcomes: ReadonlyArray<Outcome>
}

const run = (what: string, change: Partial<Terms>, seeds: ReadonlyArray<number>): Line => {
  const terms = { ...usual, ...change }
  return { what, terms, outcomes: seeds.map((seed) => new Market(terms, seed).run()) }
}

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length
/** Percent of tasks that went to good agents, once everybody was there for a while. */
const goodOf = ({ outcomes }: Line): ReadonlyArray<number> =>
  outcomes.map(({ good }) => 100 * mean(good.slice(Math.min(LEARNING, good.length - 1))))
const whitewashedOf = ({ outcomes }: Line): ReadonlyArray<number> =>
  outcomes.map(({ whitewashed }) => 100 * whitewashed)
/** Percent of all tasks that new names brought to those who took them, beyond what they had got under their old ones. */
const gainOf = (taking: Line, keeping: Line): ReadonlyArray<number> =>
  whitewashedOf(taking).map((value, i) => value - whitewashedOf(keeping)[i]!)

interface Compared {
  readonly name: PolicyName
  readonly label: string
  readonly quiet: Line
  readonly attacked: Line
  readonly kept: Line
}

const curve = ({ outcomes }: Line): ReadonlyArray<readonly [number, number]> =>
  Array.from({ length: Math.floor(outcomes[0]!.good.length / WINDOW) }, (_, i) => [
    (i + 0.5) * WINDOW,
    100 * mean(outcomes.map(({ good }) => mean(good.slice(i * WINDOW, (i + 1) * WINDOW))))
  ])

const chartsOf = (compared: ReadonlyArray<Compared>): ReadonlyArray<Chart> =>
  (["attacked", "quiet"] as const).map((which) =>
    lines({
      name: `reputation-${which}`,
      title: which === "attacked" ? "Good agents chosen, under attack" : "Good agents chosen, nobody attacks",
      note:
        which === "attacked"
          ? "share of honest callers' tasks; 10 sybils a caller with receipts, 30 % of agents colluding; higher is better"
          : "share of honest callers' tasks; higher is better",
      x: { name: "hours" },
      y: { name: "%" },
      lines: compared.map((of) => ({ label: of.label, points: curve(of[which]) }))
    })
  )

const goalsOf = (ours: Compared, costs: Cost, seeds: number): ReadonlyArray<Goal> => {
  const good = spreadOf(goodOf(ours.attacked)).median
  return [
    goal(
      "reputation-good-chosen",
      "Tasks of honest callers that went to good agents, with ten sybils a caller and 30 % of agents colluding",
      { atLeast: 95 },
      "%",
      good,
      seeds
    ),
    goal(
      "reputation-attack-loss",
      "Points that the attack cost them",
      { atMost: 5 },
      "points",
      spreadOf(goodOf(ours.quiet)).median - good,
      seeds
    ),
    goal(
      "reputation-whitewash",
      "Tasks that three bad agents won by coming back under new names, of all, under attack",
      { atMost: 1 },
      "%",
      spreadOf(gainOf(ours.attacked, ours.kept)).median,
      seeds
    ),
    goal("reputation-apply", "Taking in a report, with 100,000 agents", { atMost: 20 }, "µs", costs.applyMicros, 1),
    goal(
      "reputation-settle",
      "Weighing reviewers anew, over 100,000 edges",
      { atMost: 1_000 },
      "ms",
      costs.settleMillis,
      1
    ),
    goal("reputation-slice", "Longest that it held up others meanwhile", { atMost: 20 }, "ms", costs.sliceMillis, 1)
  ]
}

const percent = (value: Spread): string => spread(value, (each) => each.toFixed(1))

const textOf = (
  compared: ReadonlyArray<Compared>,
  varied: ReadonlyArray<Line>,
  costs: Cost,
  seeds: ReadonlyArray<number>
) =>
  [
    `${usual.agents} agents, ${usual.callers} honest callers (${usual.seeds} of them seeds), ${usual.rounds} hours; markets of the random seeds ${seeds.join(", ")}.`,
    `Percent of tasks that went to good agents from hour ${LEARNING} on: median (least to most) of the markets.`,
    "",
    table(
      ["contestant", "nobody attacks", "under attack", "points lost", "gained by new names, %"],
      compared.map((of) => [
        of.label,
        percent(spreadOf(goodOf(of.quiet))),
        percent(spreadOf(goodOf(of.attacked))),
        short(spreadOf(goodOf(of.quiet)).median - spreadOf(goodOf(of.attacked)).median),
        percent(spreadOf(gainOf(of.attacked, of.kept)))
      ])
    ),
    `\nParley, where something is different (${Math.min(VARIED, seeds.length)} markets):`,
    table(
      ["", "good agents chosen, %"],
      varied.map((line) => [line.what, percent(spreadOf(goodOf(line)))])
    ),
    "\nWhat it costs, with 100,000 edges between 100,000 agents and 20,000 reviewers:",
    table(
      ["", ""],
      [
        ["a report, µs", short(costs.applyMicros)],
        ["a score among 10,000 agents, ns", short(costs.scoreNanos)],
        ["weighing reviewers anew, ms", short(costs.settleMillis)],
        ["longest slice of it, ms", short(costs.sliceMillis)],
        ["memory of an edge with its share of agents and reviewers, bytes", short(costs.bytesOfEdge)]
      ]
    )
      .split("\n")
      .slice(1)
      .join("\n")
  ].join("\n")

const measure = async (args: ReadonlyArray<string>, { brief, say }: RunTerms): Promise<Report> => {
  const { values } = parseArgs({ args: [...args], options: { seeds: { type: "string" } } })
  const wanted = values.seeds === undefined ? SEEDS.length : numberOf("seeds", values.seeds, 1, true)
  const seeds = brief
    ? SEEDS.slice(0, 1)
    : Array.from({ length: wanted }, (_, i) => SEEDS[i] ?? SEEDS.at(-1)! + 10 * (i + 1))
  const short: Partial<Terms> = brief ? { rounds: 24, agents: 20, callers: 8 } : {}
  const compared = contestants.map(([name, label]): Compared => {
    say(`reputation: ${label}`)
    const of = (what: string, change: Partial<Terms>) => run(what, { ...short, policy: name, ...change }, seeds)
    return {
      name,
      label,
      quiet: of("quiet", quiet),
      attacked: of("attacked", {}),
      kept: of("kept", { whitewash: false })
    }
  })
  say("reputation: variations")
  const varied = variations.map(([what, change]) => run(what, { ...short, ...change }, seeds.slice(0, VARIED)))
  say("reputation: what it costs")
  const costs = costOf(brief ? 1_000 : 100_000)
  return {
    text: textOf(compared, varied, costs, seeds),
    goals: goalsOf(compared[0]!, costs, seeds.length),
    data: {
      seeds,
      compared: compared.map((of) => ({
        name: of.name,
        quiet: goodOf(of.quiet),
        attacked: goodOf(of.attacked),
        whitewash: gainOf(of.attacked, of.kept)
      })),
      variations: varied.map((line) => ({ what: line.what, good: goodOf(line), whitewashed: whitewashedOf(line) })),
      costs
    },
    charts: chartsOf(compared)
  }
}

/** The part. */
export const reputation: Part = {
  what: "whether callers still get good agents when most reporters lie, and what that costs",
  help,
  run: measure
}
