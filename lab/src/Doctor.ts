/** `doctor`: one fault at a time in real networks, and whether `parley doctor` says what it is. */
import type { Runtime } from "../../scripts/setup.mjs"
import { alone, linked, unavailable } from "../../test-support/Namespace.ts"
import * as Nat from "../../test-support/Nat.ts"
import { table } from "../../bench/src/Table.ts"
import { type Fault, faults, type Places } from "./doctor/Faults.ts"
import { type Examined, Site } from "./doctor/Site.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"

/** Those of the small run: one of each kind that takes no time. */
const BRIEF = new Set(["nothing", "port", "tracker-dead", "key-file", "symmetric-nat"])

interface Trial {
  readonly fault: Fault
  readonly runtime: Runtime
  /** What is wrong about the doctor's answer; undefined where it is right. */
  readonly wrong: string | undefined
  readonly said: string
  readonly ms: number
}

/** What is wrong about what the doctor said. */
const judge = ({ fails, says }: Fault, { findings, well }: Examined): string | undefined => {
  const codes = findings.map(({ code }) => code)
  const missing = says.filter((code) => !codes.includes(code))
  if (missing.length > 0) return `it does not say ${missing.join(", ")}`
  if (well === fails) return fails ? "it calls that well" : "it calls that a failure"
  const more = findings.filter(({ code, verdict }) => verdict === "fail" && !says.includes(code))
  if (more.length > 0) return `it also says ${more.map(({ code }) => code).join(", ")}`
  const silent = findings.filter(({ advice, verdict }) => verdict !== "ok" && advice === undefined)
  return silent.length > 0 ? `it does not say what to do about ${silent.map(({ code }) => code).join(", ")}` : undefined
}

const run = async ({ brief, say, seed }: Terms): Promise<Report> => {
  const chosen = brief ? faults.filter(({ name }) => BRIEF.has(name)) : faults
  const [here, there] = await linked()
  const lonely = alone()
  const net = await Nat.build({
    publicHosts: 2,
    sites: [{ nat: "symmetric" }, { nat: "port-restricted" }]
  })
  const places: Places = {
    here,
    there,
    lonely,
    public: net.publicHosts,
    behindSymmetric: net.sites[0]!.hosts[0]!,
    behindCone: net.sites[1]!.hosts[0]!
  }
  const trials: Array<Trial> = []
  try {
    for (const [index, fault] of chosen.entries()) {
      const runtime: Runtime = (index + seed) % 2 === 0 ? "bun" : "deno"
      const site = new Site(runtime)
      const began = performance.now()
      let [wrong, said]: [string | undefined, string] = [undefined, ""]
      try {
        const examined = await fault.examine(site, places)
        wrong = judge(fault, examined)
        said = examined.findings
          .filter(({ code, verdict }) => verdict !== "ok" || (!fault.fails && fault.says.includes(code)))
          .map(({ code }) => code)
          .join(", ")
      } catch (error) {
        wrong = String(error)
      } finally {
        await site.close()
      }
      const ms = performance.now() - began
      trials.push({ fault, runtime, wrong, said, ms })
      say(`${fault.name}: ${wrong ?? "right"} (${Math.round(ms)} ms)`)
    }
  } finally {
    net.close()
    for (const namespace of [here, there, lonely]) namespace.remove()
  }
  const right = trials.filter(({ wrong }) => wrong === undefined).length
  const text = table(
    ["planted", "on", "the doctor says", "right"],
    trials.map(({ fault, runtime, said, wrong }) => [fault.what, runtime, said, wrong ?? "yes"])
  )
  return {
    text,
    rows: [
      row(
        "doctor",
        `planted faults, two networks without one among them, of which the doctor says what they are, and nothing else`,
        { atLeast: chosen.length },
        `of ${chosen.length}`,
        right,
        trials.length,
        seed
      )
    ],
    data: {
      trials: trials.map(({ fault, ms, runtime, said, wrong }) => ({
        fault: fault.name,
        what: fault.what,
        runtime,
        said,
        wrong: wrong ?? null,
        ms: Math.round(ms)
      }))
    },
    charts: []
  }
}

/** Faults, and what the doctor says of them. */
export const doctor: Experiment = {
  what: "parley doctor says what is wrong in real networks with planted faults",
  unavailable: unavailable ?? Nat.unavailable(),
  run
}
