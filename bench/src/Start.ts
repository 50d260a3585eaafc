/** `start`: how long `parley --help` takes, and how soon an agent has taken its first call. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { root, runCommand, type Runtime } from "../../scripts/setup.mjs"
import { bars } from "./Charts.ts"
import { Child } from "./Child.ts"
import { goal, type Goal, type Part, type Report, type Terms } from "./Part.ts"
import { spreadOf, type Spread } from "./Spread.ts"
import type { Serving, StartOrder } from "./StartEnd.ts"
import { short, spread, table } from "./Table.ts"
import { type Contestant, takeTurns, valuesOf } from "./Turns.ts"
import { numberOf } from "./OptionValues.ts"

const runtimes: ReadonlyArray<Runtime> = ["bun", "deno"]
const main = join(root, "apps/cli/src/main.ts")
const launcher = join(root, "apps/cli/bin/parley.mjs")

const help = `bench start: the time until a process has done its work, all from its start

  --rounds N            how often each is started (default: 11)`

const roundsOf = (args: ReadonlyArray<string>, brief: boolean): number => {
  const { values } = parseArgs({
    args: [...args],
    options: { rounds: { type: "string", default: brief ? "2" : "11" } }
  })
  return numberOf("rounds", values.rounds, 1, true)
}

/** Wall time of a process, from its start to its end, in ms. */
const timed = (command: string, args: ReadonlyArray<string>): Promise<number> =>
  new Promise((resolve, reject) => {
    const began = performance.now()
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] })
    let printed = 0
    child.stdout.on("data", (chunk: Uint8Array) => (printed += chunk.length))
    child.on("error", reject)
    child.on("close", (code) => {
      const took = performance.now() - began
      if (code === 0) resolve(took)
      else reject(new Error(`${command} ${args.join(" ")} ended with ${code} and ${printed} bytes of output`))
    })
  })

/** One start. Times in ms; those of a process that only runs are in `whole`. */
interface Round {
  readonly whole: number
  /** Of an agent: from the begin of its construction until it could be found, and until it had taken a call. */
  readonly serving?: number
  readonly called?: number
  /** The same from the start of its process, as its own clock has it. */
  readonly processServing?: number
  readonly processCalled?: number
}

const program = (name: string, file: string, runtime: Runtime): Contestant<Round> => {
  const [command, ...args] = runCommand(runtime, fileURLToPath(new URL(file, import.meta.url)))
  return { name, round: async () => ({ whole: await timed(command, args) }) }
}

const agent = (runtime: Runtime, asking: Child<StartOrder>): Contestant<Round> => ({
  name: `agent, ${runtime}`,
  round: async () => {
    const began = performance.now()
    const child: Child<never> = new Child(runtime, "StartEnd.ts", ["serve"])
    try {
      const { address, loadedAt, servingAt } = await child.read<Serving>()
      const [calledAt] = await Promise.all([child.read<number>(), asking.tell({ _tag: "Call", address })])
      return {
        whole: performance.now() - began,
        serving: servingAt - loadedAt,
        called: calledAt - loadedAt,
        processServing: servingAt,
        processCalled: calledAt
      }
    } finally {
      child.close()
    }
  }
})

const run = async (args: ReadonlyArray<string>, terms: Terms): Promise<Report> => {
  const count = roundsOf(args, terms.brief)
  const asking: Array<Child<StartOrder>> = []
  try {
    const contestants: Array<Contestant<Round>> = []
    for (const runtime of runtimes) {
      const asker = new Child<StartOrder>(runtime, "StartEnd.ts", ["ask"])
      asking.push(asker)
      await asker.read()
      const [command, ...first] = runCommand(runtime, main)
      contestants.push(
        program(`nothing, ${runtime}`, "StartNothing.ts", runtime),
        {
          name: `parley --help, ${runtime}`,
          round: async () => ({ whole: await timed(command, [...first, "--help"]) })
        },
        program(`effect's modules, ${runtime}`, "StartModules.ts", runtime),
        agent(runtime, asker)
      )
    }
    // As npm installs the command: Node starts it, and it starts Bun.
    contestants.push({
      name: "parley --help, as installed",
      round: async () => ({ whole: await timed("node", [launcher, "--help"]) })
    })
    // Files come from the disk the first time.
    for (const { round } of contestants) await round(0)
    const rounds = await takeTurns(contestants, count)
    terms.say(`start: ${count} rounds`)
    const spreadOfAll = (name: string, of: (round: Round) => number | undefined): Spread =>
      spreadOf(valuesOf(rounds, name, (round) => of(round) ?? Number.NaN))
    const whole = (name: string) => spreadOfAll(name, (round) => round.whole)
    const worst = (values: ReadonlyArray<number>) => Math.max(...values)
    const helps = [...runtimes.map((runtime) => `parley --help, ${runtime}`), "parley --help, as installed"]
    const called = (runtime: Runtime) => spreadOfAll(`agent, ${runtime}`, (round) => round.called)
    const goals: ReadonlyArray<Goal> = [
      goal(
        "start-help",
        "parley --help from the start of its process to its end, the slowest of Bun, Deno and as npm installs it",
        { atMost: 150 },
        "ms",
        worst(helps.map((name) => whole(name).median)),
        count
      ),
      goal(
        "start-serving",
        "An agent's construction until it has taken its first call, the worse of Bun and Deno",
        { atMost: 100 },
        "ms",
        worst(runtimes.map((runtime) => called(runtime).median)),
        count
      )
    ]
    const processes = table(
      ["process", "ms from start to end"],
      [...rounds.keys()].filter((name) => !name.startsWith("agent")).map((name) => [name, spread(whole(name))])
    )
    const agents = table(
      ["runtime", "serving after ms", "first call after ms", "from process start: serving", "first call"],
      runtimes.map((runtime) => {
        const of = (value: (round: Round) => number | undefined) => spread(spreadOfAll(`agent, ${runtime}`, value))
        return [
          runtime,
          of((round) => round.serving),
          of((round) => round.called),
          of((round) => round.processServing),
          of((round) => round.processCalled)
        ]
      })
    )
    const text = `Processes, each started ${count} times, in turn
${processes}

An agent with a fresh key on loopback, without mDNS. Loading effect's modules alone takes ${runtimes
      .map((runtime) => `${short(whole(`effect's modules, ${runtime}`).median)} ms on ${runtime}`)
      .join(", ")}
${agents}`
    const chart = bars({
      name: "start",
      title: "Starts",
      note: "Wall time; of an agent until it has taken its first call, from the start of its process; shorter is better",
      unit: "ms",
      bars: [...rounds.keys()].map((name) => ({
        label: name,
        value: name.startsWith("agent") ? spreadOfAll(name, (round) => round.processCalled) : whole(name),
        ours: name.startsWith("agent") || name.startsWith("parley")
      }))
    })
    return { text, goals, data: { settings: { rounds: count }, rounds: Object.fromEntries(rounds) }, charts: [chart] }
  } finally {
    for (const child of asking) child.close()
  }
}

/** Starts. */
export const start: Part = { what: "parley --help, and how soon an agent serves", help, run }
