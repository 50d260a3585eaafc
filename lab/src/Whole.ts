/** Overlay, broadcast, failure detection and anti-entropy in one simulation: what each promises, while the others are at work. */
import { lines } from "../../bench/src/Charts.ts"
import { quantile } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import * as GossipMachine from "@parley/gossip/GossipMachine"
import { type Experiment, row } from "./Experiment.ts"
import { churn, DELAY_MS, type Kind } from "./overlay/Churn.ts"

const nobody = new Uint8Array(0)

const kind: Kind<
  GossipMachine.State,
  GossipMachine.Message,
  GossipMachine.Timer,
  GossipMachine.Command,
  GossipMachine.Told
> = {
  machine: GossipMachine.machine,
  // Nobody lies here: signatures would cost the time of the run and change nothing in it.
  make: (self, seed, life) =>
    GossipMachine.make({ self, seed, incarnation: life, sign: () => nobody, verify: () => true }),
  join: (contacts) => ({ _tag: "Join", contacts }),
  publish: (id, payload) => ({ _tag: "Publish", id, payload }),
  carried: (message) => (message._tag === "Gossip" ? message.id : undefined),
  delivered: (told) => (told._tag === "Deliver" ? told.id : undefined),
  down: (told) => (told._tag === "MemberDown" ? told.peer : undefined),
  neighbours: (state) => state.mesh.overlay.active.keys()
}

/** Members learn of a death with those before them: this is the time until so many of them know. */
const parts = Array.from({ length: 100 }, (_, i) => (i + 1) / 100)

export const whole: Experiment = {
  what: "overlay, broadcast and failure detection of 1,000 simulated nodes together, under churn",
  run: async ({ brief, seed }) => {
    const nodes = brief ? 150 : 1_000
    const outcome = churn(kind, {
      seed,
      nodes,
      churn: 0.1,
      rampMs: brief ? 5_000 : 20_000,
      quietMs: 10_000,
      runMs: brief ? 30_000 : 60_000,
      publishEveryMs: 1_000
    })
    const copies = outcome.copies.reduce((sum, [, value]) => sum + value, 0) / outcome.copies.length
    const text = `${table(
      ["what", "figure"],
      [
        ["nodes", String(nodes)],
        ["deaths", String(outcome.deaths)],
        ["messages", String(outcome.published)],
        ["deliveries, and missed ones", `${outcome.expected.toLocaleString("en-US")}, ${outcome.missed}`],
        ["payload copies per node", short(copies)],
        [
          "ms to a node, half and 99 %",
          `${short(quantile(outcome.latencies, 0.5))}, ${short(quantile(outcome.latencies, 0.99))}`
        ],
        [
          "ms until a death is known, half, 99 % and all",
          `${[0.5, 0.99, 1].map((part) => short(quantile(outcome.detections, part))).join(", ")}`
        ],
        ["living nodes held for dead", String(outcome.accused)],
        ["nodes apart at the end", String(outcome.apart)],
        ["steps of machines", outcome.steps.toLocaleString("en-US")],
        ["seconds", short(outcome.wallMs / 1_000)]
      ]
    )}

10 % of the nodes are replaced in a minute; half of them end as processes, half vanish with their machines. One way takes
${DELAY_MS.least} to ${DELAY_MS.most} ms.`
    return {
      text,
      rows: [
        row(
          "whole.missed",
          `deliveries missed at 10 % churn a minute by ${nodes} nodes that also detect failures (runs: deliveries)`,
          { atMost: 0 },
          "deliveries",
          outcome.missed,
          outcome.expected,
          seed
        ),
        row(
          "whole.copies",
          "payload copies per node and message there (runs: messages)",
          { atMost: 1.3 },
          "copies",
          copies,
          outcome.published,
          seed
        ),
        row(
          "whole.detection",
          "time until a dead node is known dead there, p99 over all who lived (runs: nodes that came to know)",
          { atMost: 5_000 },
          "ms",
          quantile(outcome.detections, 0.99),
          outcome.detections.length,
          seed
        ),
        row(
          "whole.accused",
          "living nodes held for dead there (runs: nodes)",
          { atMost: 0 },
          "times",
          outcome.accused,
          nodes + outcome.deaths,
          seed
        )
      ],
      data: {
        deaths: outcome.deaths,
        expected: outcome.expected,
        copiesPerNode: copies,
        steps: outcome.steps,
        secondsOfRun: outcome.wallMs / 1_000,
        digest: outcome.digest
      },
      charts: [
        lines({
          name: "whole-detection",
          title: "How soon a death is known",
          note: `${nodes} simulated nodes under churn, half of the deaths silent; the goal is 5 s for 99 %`,
          x: { name: "ms after the death" },
          y: { name: "% of the nodes that know" },
          lines: [
            {
              label: "nodes that know",
              points: parts.map((part) => [quantile(outcome.detections, part), part * 100] as const)
            }
          ]
        })
      ]
    }
  }
}
