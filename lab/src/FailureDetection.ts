/**
 * How soon the dead are known dead, how rarely the living are held for dead, and how a mesh grows together after a partition:
 * the machine that nodes run, in simulated meshes with 5 to 45 ms of delay.
 */
import * as Charts from "../../bench/src/Charts.ts"
import { quantile } from "../../bench/src/Spread.ts"
import { table } from "../../bench/src/Table.ts"
import { type Experiment, row } from "./Experiment.ts"
import * as Trials from "./detection/Trials.ts"

/** What is asked for. */
const DEAD_MS = 5_000
const FALSE_PER_DAY = 1
const HEALED_MS = 10_000

const full = {
  members: 1_000,
  dead: 40,
  apartMs: 1_500,
  slowMs: 540_000,
  partitions: [1_000, 200, 200, 200],
  sweep: { count: 200, times: 40, lengths: [2_000, 3_000, 3_500, 3_750, 4_000, 4_250, 4_500, 5_000, 6_000] }
}

const brief: typeof full = {
  members: 150,
  dead: 12,
  apartMs: 1_500,
  slowMs: 300_000,
  partitions: [100],
  sweep: { count: 50, times: 10, lengths: [3_000, 5_500] }
}

const slow: Trials.Slowness = { share: 0.05, everyMs: 60_000, leastMs: 500, mostMs: 3_500 }

const ms = (value: number): string =>
  Number.isFinite(value) ? `${Math.round(value).toLocaleString("en-US")} ms` : "never"

export const failureDetection: Experiment = {
  what: "simulated meshes of 1,000: the dead known dead, slow nodes not, and a partition healed",
  run: ({ brief: isBrief, say, seed }) => {
    const size = isBrief ? brief : full
    say(`${size.dead} of ${size.members} nodes die, one after the other`)
    const delays = [...Trials.deaths(seed, { ...size, count: size.members })].sort((a, b) => a - b)
    const p99 = quantile(delays, 0.99)
    say(`5 % of ${size.members} nodes are slow for ${size.slowMs / 1_000} s`)
    const slowly = Trials.slowness(seed + 1, { count: size.members, forMs: size.slowMs, slow })
    const perDay = slowly.falseDeaths / slowly.nodeDays
    const { count, lengths, times } = size.sweep
    const sweep = lengths.map((length) => {
      say(`nodes freeze for ${length} ms`)
      return [length / 1_000, 100 * Trials.freezes(seed + 2, { count, ms: length, times })] as const
    })
    const healings = size.partitions.map((nodes, i) => {
      say(`${nodes} nodes are cut in two for 30 s`)
      return { nodes, ...Trials.partition(seed + 3 + i, nodes) }
    })
    const healedMs = Math.max(...healings.map((healing) => healing.healedMs))
    const most = Math.max(...size.partitions)
    const first = healings[0]!

    const rows = [
      row(
        "detection-dead-p99",
        `a node dies silently: until a living member of ${size.members.toLocaleString("en-US")} holds it for dead, p99, simulated; runs are pairs of dead and living`,
        { atMost: DEAD_MS },
        "ms",
        p99,
        delays.length,
        seed
      ),
      row(
        "detection-false-per-day",
        `5 % of ${size.members.toLocaleString("en-US")} nodes freeze for 0.5 to 3.5 s once a minute: living nodes held for dead by anybody, per node and day, simulated; runs are freezes, in ${slowly.nodeDays.toFixed(1)} node-days`,
        { atMost: FALSE_PER_DAY },
        "",
        perDay,
        slowly.freezes,
        seed + 1
      ),
      row(
        "partition-healed",
        `${most.toLocaleString("en-US")} nodes cut in two for 30 s: after it ends, until all hold all for alive and have all that was published, the longest, simulated`,
        { atMost: HEALED_MS },
        "ms",
        healedMs,
        healings.length,
        seed + 3
      )
    ]
    const text = [
      table(
        ["failure detection", ""],
        [
          ["dead known dead, median", ms(quantile(delays, 0.5))],
          ["dead known dead, p99", ms(p99)],
          ["dead known dead, last", ms(delays.at(-1) ?? Number.NaN)],
          ["slow nodes: node-days simulated", slowly.nodeDays.toFixed(2)],
          ["slow nodes: freezes", String(slowly.freezes)],
          ["slow nodes: suspicions begun, of all members", slowly.suspicions.toLocaleString("en-US")],
          ["slow nodes: false deaths", String(slowly.falseDeaths)],
          ["of nodes that were not slow", String(slowly.falseDeathsOfSound)]
        ]
      ),
      table(
        ["freeze", "held for dead"],
        sweep.map(([seconds, percent]) => [`${seconds} s`, `${Math.round(percent)} %`])
      ),
      table(
        ["nodes cut in two", "held for dead after 30 s, by each", "all known again after"],
        healings.map(({ heldForDead, healedMs: healed, nodes }) => [
          nodes.toLocaleString("en-US"),
          heldForDead.toFixed(1),
          ms(healed)
        ])
      )
    ].join("\n\n")
    const steps = 60
    const charts = [
      Charts.lines({
        name: "failure-detection-dead",
        title: "How soon a dead node is known dead",
        note: `${size.members.toLocaleString("en-US")} simulated nodes, ${size.dead} silent deaths; the goal is 5 s for 99 %`,
        x: { name: "s since the death" },
        y: { name: "% of living members who know" },
        lines: [
          {
            label: "known dead",
            points: Array.from({ length: steps + 1 }, (_, i) => {
              const at = (i * 6_000) / steps
              return [at / 1_000, (100 * delays.filter((delay) => delay <= at).length) / delays.length] as const
            })
          }
        ]
      }),
      Charts.lines({
        name: "failure-detection-freeze",
        title: "How long a node may freeze before somebody holds it for dead",
        note: `${count} simulated nodes, ${times} freezes of each length; who would know the dead in 5 s cannot wait longer`,
        x: { name: "s frozen" },
        y: { name: "% of freezes" },
        lines: [{ label: "held for dead by anybody", points: sweep }]
      }),
      Charts.lines({
        name: "failure-detection-partition",
        title: "A mesh cut in two for 30 seconds",
        note: `${first.nodes.toLocaleString("en-US")} simulated nodes; the partition ends at 30 s`,
        x: { name: "s since the partition began" },
        y: { name: "% of pairs that hold each other for alive" },
        lines: [{ label: "alive", points: first.course.map(([at, share]) => [at, 100 * share] as const) }]
      })
    ]
    const data = {
      size,
      slow,
      delays: { p50: quantile(delays, 0.5), p99, last: delays.at(-1) },
      slowly,
      sweep,
      healings
    }
    return Promise.resolve({ text, rows, data, charts })
  }
}
