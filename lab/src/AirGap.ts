/**
 * Air-gapped networks: what leaves the private ranges, what an intruder on the same wire learns, and whom it can stop.
 *
 * Two runs of one scenario (`airgap/Scenario.ts`): in a private network, and as a control with the same nodes in none, which shows that
 * the counters count and that the search finds.
 */
import { execFileSync } from "node:child_process"
import * as Namespace from "../../test-support/Namespace.ts"
import * as PacketCounters from "../../test-support/PacketCounters.ts"
import * as Scenario from "./airgap/Scenario.ts"
import { type Experiment, row } from "./Experiment.ts"

const withoutPython = (): string | undefined => {
  try {
    execFileSync("python3", ["-c", "import socket; socket.AF_PACKET"], { stdio: "pipe" })
    return undefined
  } catch {
    return "python3 with raw sockets is not installed"
  }
}

/** The experiment. */
export const airGap: Experiment = {
  what: "private networks: packets outside of the private ranges, what an intruder on the wire learns, whom it stops",
  unavailable: Namespace.unavailable ?? PacketCounters.unavailable ?? withoutPython(),
  run: async ({ brief, say, seed }) => {
    // Members run on both runtimes, whichever runs this.
    const shared = { runtimes: ["bun", "deno"], say } as const
    const found = await Scenario.play({ ...shared, closed: true, attackSeconds: brief ? 4 : 30 })
    const control = await Scenario.play({ ...shared, closed: false, attackSeconds: 0 })
    const { asked, attack, newcomerServed, served, totals, truth } = found
    const rows = [
      row(
        "airgap-packets-outside",
        "packets of a private network's machines to anywhere but the private ranges, over the whole scenario",
        { atMost: 0 },
        "packets",
        found.outside,
        found.inside + found.outside,
        seed
      ),
      row(
        "airgap-packets-outside-control",
        "the same packets where the mode is off, which shows that they are counted",
        { atLeast: 1 },
        "packets",
        control.outside,
        control.inside + control.outside,
        seed
      ),
      row(
        "airgap-secrets-seen",
        "bytes of names, keys, NodeIds, records and capabilities in all frames that an intruder on the hub saw",
        { atMost: 0 },
        "bytes",
        found.dropped === 0 ? found.bytesSeen : undefined,
        found.frames,
        seed
      ),
      row(
        "airgap-secrets-seen-control",
        "the same bytes where the mode is off, which shows that they would be found",
        { atLeast: 1 },
        "bytes",
        control.bytesSeen,
        control.frames,
        seed
      ),
      row(
        "airgap-served-under-attack",
        "questions among members that all answered while the intruder flooded, spoofed, replayed and knocked",
        { atLeast: 100 },
        "percent",
        asked === 0 ? undefined : (100 * served) / asked,
        asked,
        seed
      ),
      row(
        "airgap-newcomer-under-attack",
        "members that started during the attack and found all others, of one",
        { atLeast: 1 },
        "",
        newcomerServed ? 1 : 0,
        1,
        seed
      ),
      row(
        "airgap-totals-right",
        "members on Bun and Deno that counted right with every way to be found switched on",
        { atLeast: totals.length },
        "",
        totals.filter((total) => total === truth).length,
        totals.length,
        seed
      )
    ]
    const text = [
      "run          packets inside  packets outside  frames seen  bytes seen  secrets in them",
      `private      ${String(found.inside).padEnd(16)}${String(found.outside).padEnd(17)}${String(found.frames).padEnd(13)}${String(found.bytes).padEnd(12)}${found.seen.join(", ") || `none of ${found.searched}`}`,
      `mode off     ${String(control.inside).padEnd(16)}${String(control.outside).padEnd(17)}${String(control.frames).padEnd(13)}${String(control.bytes).padEnd(12)}${control.seen.join(", ") || "none"}`,
      "",
      `the intruder sent ${Object.entries(attack)
        .map(([kind, count]) => `${kind} ${count}`)
        .join(", ")};`,
      `members answered ${served} of ${asked} questions meanwhile, and a newcomer ${newcomerServed ? "found all" : "did not find all"}`,
      ...found.problems.slice(0, 5)
    ].join("\n")
    return { text, rows, data: { private: found, control }, charts: [] }
  }
}
