/**
 * `relays`: nodes that only relays make reachable, while trackers (processes on both runtimes) are killed and started again under
 * running calls.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { setTimeout as pause } from "node:timers/promises"
import { Agent } from "@parley/agent"
import { fromSeed } from "@parley/core/testing/Seeded"
import { bars, lines } from "../../bench/src/Charts.ts"
import { spreadOf } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import { root, runCommand, type Runtime } from "../../scripts/setup.mjs"
import { untilValue } from "../../test-support/Until.ts"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"
import { firstLine } from "./FirstLine.ts"

const CAPABILITY = "text.upper@1.0.0"
/** How long the handler takes, so that calls are in flight whenever a relay dies; in ms. */
const WORK_MS = 100
/** Calls under way at once. */
const LANES = 24

interface Tracker {
  readonly runtime: Runtime
  readonly file: string
  readonly address: string
  readonly child: ChildProcessByStdio<null, Readable, null>
}

/** Trackers as processes, and nodes that live by them. */
class World {
  readonly #home = mkdtempSync(join(tmpdir(), "parley-lab-"))
  readonly trackers: Array<Tracker> = []
  readonly nodes: Array<Agent.Agent> = []

  async startTracker(runtime: Runtime, file = join(this.#home, `tracker-${this.trackers.length}.json`), port = 0) {
    const [program, ...first] = runCommand(runtime, join(root, "apps/cli/src/main.ts"))
    const args = ["tracker", "--json", "--host", "127.0.0.1", "--port", String(port), "--identity", file]
    const child = spawn(program, [...first, ...args], {
      env: { ...process.env, PARLEY_HOME: this.#home },
      stdio: ["ignore", "pipe", "inherit"]
    })
    const { addresses } = JSON.parse(await firstLine(child, `parley ${args.join(" ")}`)) as {
      readonly addresses: ReadonlyArray<string>
    }
    const tracker: Tracker = { runtime, file, address: addresses[0]!, child }
    this.trackers.push(tracker)
    return tracker
  }

  async kill(tracker: Tracker): Promise<void> {
    this.trackers.splice(this.trackers.indexOf(tracker), 1)
    tracker.child.kill("SIGKILL")
    await once(tracker.child, "exit")
  }

  /** The same tracker on the same port, on the other runtime. */
  restart({ address, file, runtime }: Tracker): Promise<Tracker> {
    return this.startTracker(runtime === "bun" ? "deno" : "bun", file, Number(address.split(":").at(-1)))
  }

  async startNode(trackers: ReadonlyArray<Tracker>, serves: boolean): Promise<Agent.Agent> {
    const agent = await Agent.start({
      mdns: false,
      listen: false,
      log: "None",
      trackers: trackers.map(({ address }) => address)
    })
    this.nodes.push(agent)
    if (serves) {
      await agent.serve(CAPABILITY, async ({ text }) => {
        await pause(WORK_MS)
        return { text: String(text).toUpperCase() }
      })
    }
    return agent
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.close()))
    for (const { child } of this.trackers) child.kill("SIGKILL")
    rmSync(this.#home, { recursive: true })
  }
}

/** The trackers through which a node says that it can be reached. */
const reachedAt = (node: Agent.Agent): ReadonlyArray<string> =>
  node.addresses.flatMap((address) => {
    const match = /^relay:\/\/([^/]+)\//.exec(address)
    return match === null ? [] : [`tcp://${match[1]!}`]
  })

const ask = async (asker: Agent.Agent, node: Agent.Agent, text: string, deadline: number): Promise<boolean> => {
  const answer = (await asker.call(CAPABILITY, { text }, { to: node.nodeId, deadline })) as { readonly text: string }
  return answer.text === text.toUpperCase()
}

/** How long until a node answers again, in ms. */
const untilAnswered = async (asker: Agent.Agent, node: Agent.Agent): Promise<number> => {
  const began = performance.now()
  await untilValue(
    `an answer of ${node.nodeId}`,
    () => ask(asker, node, "back", 10_000),
    (answered) => answered,
    { withinMs: 120_000, diagnose: () => node.addresses }
  )
  return performance.now() - began
}

interface Heal {
  readonly downMs: number
  readonly runtime: Runtime
  /** Until the last node answered, since the tracker listened again, in ms. */
  readonly ms: number
}

/** One tracker, and all nodes behind it: it is killed, stays away for a while, and comes back. */
const restarts = async (
  count: number,
  downs: ReadonlyArray<number>,
  say: Terms["say"]
): Promise<ReadonlyArray<Heal>> => {
  const world = new World()
  try {
    let tracker = await world.startTracker("bun")
    const asker = await world.startNode([tracker], false)
    const nodes = await Promise.all(Array.from({ length: count }, () => world.startNode([tracker], true)))
    await Promise.all(nodes.map((node) => untilAnswered(asker, node)))
    const heals: Array<Heal> = []
    for (const downMs of downs) {
      await world.kill(tracker)
      await pause(downMs)
      tracker = await world.restart(tracker)
      const ms = Math.max(...(await Promise.all(nodes.map((node) => untilAnswered(asker, node)))))
      heals.push({ downMs, runtime: tracker.runtime, ms })
      say(`${count} nodes answer again ${Math.round(ms)} ms after a tracker that was away for ${downMs / 1_000} s`)
    }
    return heals
  } finally {
    await world.stop()
  }
}

interface Kills {
  readonly calls: number
  /** What came of calls that were not answered. */
  readonly lost: ReadonlyArray<string>
  /** Until every node was published at standing trackers alone, as many as before, in ms. */
  readonly movedMs: ReadonlyArray<number>
  /** Longest that a call took, in ms. */
  readonly longestMs: number
  readonly killsAt: ReadonlyArray<number>
  /** Answers in each tenth of a second. */
  readonly answers: ReadonlyArray<number>
}

/** Several trackers, of which one after the other is killed under running calls, and started again. */
const kills = async (count: number, rounds: number, seed: number, say: Terms["say"]): Promise<Kills> => {
  const world = new World()
  const random = fromSeed(seed)
  try {
    const started: Array<Tracker> = []
    for (const runtime of ["bun", "deno", "bun", "deno"] as const) started.push(await world.startTracker(runtime))
    const asker = await world.startNode(started, false)
    const nodes = await Promise.all(Array.from({ length: count }, () => world.startNode(started, true)))
    await Promise.all(nodes.map((node) => untilAnswered(asker, node)))
    const began = performance.now()
    const answers: Array<number> = []
    const lost: Array<string> = []
    const movedMs: Array<number> = []
    const killsAt: Array<number> = []
    let [calls, longestMs] = [0, 0]
    const over = new AbortController()
    const lane = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const n = calls++
        const at = performance.now()
        try {
          const isRight = await ask(asker, nodes[n % nodes.length]!, `call ${n}`, 30_000)
          if (!isRight) lost.push("a wrong answer")
        } catch (error) {
          lost.push(String(error))
        }
        const now = performance.now()
        longestMs = Math.max(longestMs, now - at)
        const tenth = Math.floor((now - began) / 100)
        while (answers.length <= tenth) answers.push(0)
        answers[tenth]!++
      }
    }
    const lanes = Array.from({ length: LANES }, lane)
    for (let round = 0; round < rounds; round++) {
      await pause(1_000)
      // One through which calls go: somebody is published there first.
      const first = reachedAt(random.pick(nodes))[0]
      const victim = world.trackers.find(({ address }) => address === first) ?? random.pick(world.trackers)
      const killedAt = performance.now()
      killsAt.push((killedAt - began) / 1_000)
      await world.kill(victim)
      const standing = new Set(world.trackers.map(({ address }) => address))
      await untilValue(
        "every node moved",
        () => nodes.map(reachedAt),
        (all) => all.every((at) => at.length === standing.size && at.every((address) => standing.has(address))),
        { withinMs: 60_000 }
      )
      movedMs.push(performance.now() - killedAt)
      say(`${count} nodes moved ${Math.round(movedMs.at(-1)!)} ms after tracker ${round + 1} of ${rounds} was killed`)
      await pause(1_000)
      await world.restart(victim)
    }
    await pause(500)
    over.abort()
    await Promise.all(lanes)
    return { calls, lost, movedMs, longestMs, killsAt, answers }
  } finally {
    await world.stop()
  }
}

const run = async ({ brief, say, seed }: Terms): Promise<Report> => {
  const [nodes, downs, rounds] = brief ? [6, [500], 2] : [40, [0, 500, 2_000, 10_000, 0, 500, 2_000], 6]
  const heals = await restarts(nodes, downs, say)
  const { answers, calls, killsAt, longestMs, lost, movedMs } = await kills(nodes, rounds, seed, say)
  const slowest = Math.max(...heals.map(({ ms }) => ms))
  const text = [
    `${nodes} nodes that only one tracker makes reachable; it is killed (SIGKILL), and started again on the other runtime`,
    table(
      ["away", "back on", "all nodes answer after"],
      heals.map(({ downMs, ms, runtime }) => [`${downMs / 1_000} s`, runtime, `${Math.round(ms)} ms`])
    ),
    "",
    `${nodes} nodes with slots at 3 of 4 trackers; ${rounds} times one is killed under ${LANES} calls at a time and started again`,
    table(
      ["", ""],
      [
        ["calls", String(calls)],
        ["not answered", String(lost.length)],
        ["longest call", `${Math.round(longestMs)} ms`],
        ["moved, middle", `${Math.round(spreadOf(movedMs).median)} ms`],
        ["moved, slowest", `${Math.round(spreadOf(movedMs).max)} ms`]
      ]
    ),
    ...[...new Set(lost)].slice(0, 5)
  ].join("\n")
  return {
    text,
    rows: [
      row(
        "relay-restart",
        `until all of ${nodes} nodes behind a tracker answer again, since it was started again`,
        { atMost: brief ? 15_000 : 3_000 },
        "ms",
        slowest,
        heals.length,
        seed
      ),
      row(
        "relay-moved",
        `until ${nodes} nodes are published at standing trackers alone, as many as can be, since one was killed`,
        { atMost: brief ? 15_000 : 3_000 },
        "ms",
        spreadOf(movedMs).max,
        movedMs.length,
        seed
      ),
      row(
        "relay-calls-lost",
        `calls lost while ${rounds} trackers are killed under them`,
        { atMost: 0 },
        "calls",
        lost.length,
        calls,
        seed
      )
    ],
    data: { nodes, heals, calls, lost: lost.slice(0, 20), movedMs, longestMs, killsAt },
    charts: [
      bars({
        name: "relay-restart",
        title: "A tracker is killed and comes back",
        note: `ms until all of ${nodes} nodes behind it answer again, by how long it was away; shorter is better`,
        unit: "ms",
        mark: { label: "3 s", at: 3_000 },
        write: short,
        bars: [...new Set(downs)].map((downMs) => ({
          label: `away for ${downMs / 1_000} s`,
          value: spreadOf(heals.filter((heal) => heal.downMs === downMs).map(({ ms }) => ms)),
          ours: true
        }))
      }),
      lines({
        name: "relay-kills",
        title: "Calls while trackers are killed",
        note: `answers per 0.1 s of ${LANES} calls at a time; one of four trackers is killed at ${killsAt.map((at) => at.toFixed(0)).join(", ")} s`,
        x: { name: "seconds" },
        y: { name: "answers per 0.1 s" },
        lines: [{ label: "answers", points: answers.map((count, tenth) => [tenth / 10, count] as const) }]
      })
    ]
  }
}

/** Nodes behind relays that die and come back. */
export const relays: Experiment = {
  what: "nodes behind relays stay reachable while trackers are killed and started again, and no call is lost",
  run
}
