/**
 * Overlay and broadcast in simulation: 1,000 nodes of which 10 % are replaced each minute, and 10,000 whose run is made twice.
 */
import { lines } from "../../bench/src/Charts.ts"
import { quantile } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import * as OverlayMachine from "@parley/gossip/OverlayMachine"
import { type Experiment, row } from "./Experiment.ts"
import { BEFORE_MS, churn, DELAY_MS, type Kind, type Outcome, SETTLE_MS } from "./overlay/Churn.ts"

const kind: Kind<
  OverlayMachine.State,
  OverlayMachine.Message,
  OverlayMachine.Timer,
  OverlayMachine.Command,
  OverlayMachine.Told
> = {
  machine: OverlayMachine.machine,
  make: (self, seed) => OverlayMachine.make({ self, seed }),
  join: (contacts) => ({ _tag: "Join", contacts }),
  publish: (id, payload) => ({ _tag: "Publish", id, payload }),
  carried: (message) => (message._tag === "Gossip" ? message.id : undefined),
  delivered: (told) => (told._tag === "Deliver" ? told.id : undefined),
  down: () => undefined,
  neighbours: (state) => state.overlay.active.keys()
}

const mean = (values: ReadonlyArray<number>): number => values.reduce((sum, value) => sum + value, 0) / values.length
const copiesOf = ({ copies }: Outcome): number => mean(copies.map(([, value]) => value))

/** Deliveries by time, as a line: how many ms, and which part of all. */
const arrival = ({ latencies }: Outcome): ReadonlyArray<readonly [number, number]> =>
  Array.from({ length: 101 }, (_, i) => [quantile(latencies, Math.max(i, 0.1) / 100), i] as const)

/** Means of so many points each, so that a line can be read. */
const smooth = (points: ReadonlyArray<readonly [number, number]>, of: number): Array<readonly [number, number]> =>
  Array.from({ length: Math.ceil(points.length / of) }, (_, i) => {
    const part = points.slice(i * of, (i + 1) * of)
    return [mean(part.map(([x]) => x)), mean(part.map(([, y]) => y))] as const
  })

const told = (name: string, outcome: Outcome): ReadonlyArray<string> => [
  name,
  String(outcome.published - outcome.lost),
  String(outcome.deaths),
  outcome.expected.toLocaleString("en-US"),
  String(outcome.missed),
  String(outcome.repeated),
  short(copiesOf(outcome)),
  short(Math.max(...outcome.copies.map(([, value]) => value))),
  short(quantile(outcome.latencies, 0.5)),
  short(quantile(outcome.latencies, 0.99)),
  short(outcome.neighbours),
  String(outcome.apart),
  outcome.steps.toLocaleString("en-US"),
  short(outcome.wallMs / 1_000)
]

const minute = 60_000

export const overlay: Experiment = {
  what: "1,000 simulated nodes under churn: who gets each message, and how often; and 10,000 nodes replayed",
  run: async ({ brief, say, seed }) => {
    const nodes = brief ? 200 : 1_000
    const many = brief ? 1_000 : 10_000
    const common = { seed, nodes, churn: 0.1, rampMs: 20_000, quietMs: 10_000 }
    say(`${nodes} nodes, a message a second`)
    const busy = churn(kind, { ...common, runMs: brief ? minute : 5 * minute, publishEveryMs: 1_000 })
    say(`${nodes} nodes, a message in half a minute`)
    const calm = churn(kind, {
      ...common,
      seed: seed + 1,
      runMs: brief ? 2 * minute : 10 * minute,
      publishEveryMs: minute / 2
    })
    const large = { ...common, seed: seed + 2, nodes: many, runMs: 20_000, publishEveryMs: 2_000 }
    say(`${many} nodes`)
    const first = churn(kind, large)
    say(`${many} nodes again, after ${short(first.wallMs / 1_000)} s`)
    const second = churn(kind, large)
    const isSame = first.digest === second.digest && first.steps === second.steps

    const runs = [
      [`${nodes}, a message a second`, busy],
      [`${nodes}, one in 30 s`, calm],
      [`${many}, one in 2 s`, first],
      [`${many}, replayed`, second]
    ] as const
    const text = `${table(
      [
        "nodes",
        "messages",
        "deaths",
        "deliveries",
        "missed",
        "twice",
        "copies",
        "most",
        "p50 ms",
        "p99 ms",
        "neighbours",
        "apart",
        "steps",
        "s"
      ],
      runs.map(([name, outcome]) => told(name, outcome))
    )}

10 % of the nodes are replaced in a minute; half of them end as processes, half vanish with their machines. A delivery
counts for each node that came ${BEFORE_MS / 1_000} s before the message or earlier and lived ${SETTLE_MS / 1_000} s after it. One way takes ${DELAY_MS.least} to ${DELAY_MS.most} ms.
The replay told the same things at the same times: ${isSame ? "yes" : "NO"}.`
    const deliveries = busy.expected + calm.expected + first.expected
    return {
      text,
      rows: [
        row(
          "overlay.missed",
          `deliveries missed by live nodes at 10 % churn a minute, of ${nodes} and ${many} simulated nodes (runs: deliveries)`,
          { atMost: 0 },
          "deliveries",
          busy.missed + calm.missed + first.missed,
          deliveries,
          seed
        ),
        row(
          "overlay.repeated",
          "messages told twice to the same node (runs: deliveries)",
          { atMost: 0 },
          "messages",
          busy.repeated + calm.repeated + first.repeated,
          deliveries,
          seed
        ),
        row(
          "overlay.copies",
          `payload copies per node and message, ${nodes} nodes, a message a second (runs: messages)`,
          { atMost: 1.3 },
          "copies",
          copiesOf(busy),
          busy.published,
          seed
        ),
        row(
          "overlay.copies.rare",
          `payload copies per node and message, ${nodes} nodes, a message in half a minute (runs: messages)`,
          { atMost: 1.3 },
          "copies",
          copiesOf(calm),
          calm.published,
          seed + 1
        ),
        row(
          "overlay.replay",
          `time of a run of ${many} simulated nodes and of its replay, the longer one; the two are the same`,
          { atMost: 60 },
          "s",
          isSame ? Math.max(first.wallMs, second.wallMs) / 1_000 : undefined,
          2,
          seed + 2
        )
      ],
      data: {
        outcomes: runs.map(([name, outcome]) => ({
          name,
          deaths: outcome.deaths,
          published: outcome.published,
          expected: outcome.expected,
          missed: outcome.missed,
          repeated: outcome.repeated,
          copiesPerNode: copiesOf(outcome),
          neighbours: outcome.neighbours,
          latencyMs: {
            p50: quantile(outcome.latencies, 0.5),
            p99: quantile(outcome.latencies, 0.99),
            most: quantile(outcome.latencies, 1)
          },
          steps: outcome.steps,
          seconds: outcome.wallMs / 1_000,
          digest: outcome.digest
        }))
      },
      charts: [
        lines({
          name: "overlay-copies",
          title: "Payload copies under churn",
          note: `${nodes} simulated nodes, 10 % replaced in a minute; a copy each is the least, 1.3 the goal`,
          x: { name: "simulated seconds" },
          y: { name: "copies per node and message" },
          lines: [
            { label: "a message a second", points: smooth(busy.copies, 10) },
            { label: "a message in half a minute", points: calm.copies.filter(([at]) => at <= busy.copies.at(-1)![0]) },
            { label: "goal", points: [busy.copies[0]![0], busy.copies.at(-1)![0]].map((at) => [at, 1.3] as const) }
          ]
        }),
        lines({
          name: "overlay-arrival",
          title: "How soon a message is everywhere",
          note: `one way takes ${DELAY_MS.least} to ${DELAY_MS.most} ms; 10 % of the nodes replaced in a minute`,
          x: { name: "ms after publishing" },
          y: { name: "% of the nodes reached" },
          lines: [
            { label: `${nodes} nodes`, points: arrival(busy) },
            { label: `${many} nodes`, points: arrival(first) }
          ]
        })
      ]
    }
  }
}
