/**
 * `gossip`: real nodes in one process, over TCP and with all that a node does, and some in processes of their own that are killed.
 * The same figures as of simulated ones: everybody gets every message, few copies of it, and knows soon who is dead.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { fromSeed } from "@parley/core/testing/Seeded"
import type { NodeId } from "@parley/core/NodeId"
import { lines } from "../../bench/src/Charts.ts"
import { quantile } from "../../bench/src/Spread.ts"
import { short, table } from "../../bench/src/Table.ts"
import { root, runCommand } from "../../scripts/setup.mjs"
import { type Experiment, type Report, row, type Terms } from "./Experiment.ts"
import { firstLine } from "./FirstLine.ts"
import { type Member, startMember } from "./gossip/Member.ts"

const TOPIC = "lab.news"
/** Nodes that start at once. */
const AT_ONCE = 8
/** Pause between two kills, in ms. */
const KILL_MS = 2_000
/** Messages on their way at once: with more, a slow machine would measure how it queues, and not the tree. */
const UNDER_WAY = 2
/** How long nodes that have started have to find together, and each message to be everywhere before the next goes out, in ms. */
const JOINED_MS = 15_000
/** Pause between two looks, in ms. */
const LOOK_MS = 5
/** Longest that any part may take, in ms. */
const MOST_MS = 60_000

interface Size {
  readonly nodes: number
  readonly publishers: number
  /** Messages of each publisher, who take turns. */
  readonly messages: number
  /** Pause between two messages: all nodes of the process share one thread, which each delivery takes a third of a ms of. */
  readonly everyMs: number
  readonly mortals: number
}

const full: Size = { nodes: 200, publishers: 10, messages: 15, everyMs: 200, mortals: 8 }
const brief: Size = { nodes: 24, publishers: 4, messages: 50, everyMs: 30, mortals: 2 }

const untilIs = async (what: string, is: () => boolean, most = MOST_MS): Promise<void> => {
  const began = performance.now()
  while (!is()) {
    if (performance.now() - began > most) throw new Error(`after ${most} ms it is still not so: ${what}`)
    await pause(LOOK_MS)
  }
}

/** Members that no path of neighbours joins to the first. */
const apart = (members: ReadonlyArray<Member>): number => {
  const left = new Map(members.map((member) => [member.nodeId, member]))
  const reached = members.slice(0, 1)
  for (const one of reached) {
    left.delete(one.nodeId)
    for (const peer of one.gossip.neighbors()) {
      const next = left.get(peer)
      if (next === undefined) continue
      left.delete(peer)
      reached.push(next)
    }
  }
  return left.size
}

/** Somebody who was killed, and who does not know yet. */
interface Killed {
  readonly nodeId: NodeId
  readonly at: number
  readonly pending: Set<Member>
}

/** Notes after how many ms each member came to know of each death. */
const note = (killed: ReadonlyArray<Killed>, deaths: Array<number>): void => {
  for (const { at, nodeId, pending } of killed) {
    for (const member of pending) {
      if (!member.gossip.carrier.isDown(nodeId)) continue
      pending.delete(member)
      deaths.push(performance.now() - at)
    }
  }
}

/** What one node heard. */
class Listener {
  readonly seen = new Map<string, number>()
  heard = 0
  again = 0
  disordered = 0
  readonly latencies: Array<number> = []

  hear(from: string, n: number, at: number): void {
    const last = this.seen.get(from) ?? -1
    if (n === last) this.again++
    else if (n < last) this.disordered++
    else this.seen.set(from, n)
    this.heard++
    this.latencies.push(performance.now() - at)
  }
}

const startAll = async (size: Size, random: ReturnType<typeof fromSeed>): Promise<ReadonlyArray<Member>> => {
  const members: Array<Member> = [await startMember("n0")]
  while (members.length < size.nodes) {
    const names = Array.from(
      { length: Math.min(AT_ONCE, size.nodes - members.length) },
      (_, n) => `n${members.length + n}`
    )
    const newcomers = await Promise.all(names.map(startMember))
    await Promise.all(newcomers.map((one) => one.meet(random.pick(members).addresses[0]!)))
    members.push(...newcomers)
  }
  return members
}

/** Nodes on both runtimes, in processes of their own. */
const startMortals = (
  count: number,
  members: ReadonlyArray<Member>,
  random: ReturnType<typeof fromSeed>,
  mortals: Array<ChildProcess>
) => {
  const start = async (n: number) => {
    const [program, ...args] = runCommand(n % 2 === 0 ? "bun" : "deno", join(root, "lab/src/gossip/node.ts"))
    const child = spawn(program, [...args, random.pick(members).addresses[0]!], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    mortals.push(child)
    return { child, nodeId: (await firstLine(child, "a node in a process of its own")) as NodeId }
  }
  return Promise.all(Array.from({ length: count }, (_, n) => start(n)))
}

const run = async ({ brief: isBrief, say, seed }: Terms): Promise<Report> => {
  const size = isBrief ? brief : full
  const random = fromSeed(seed)
  const mortals: Array<ChildProcess> = []
  let members: ReadonlyArray<Member> = []
  try {
    const began = performance.now()
    members = await startAll(size, random)
    say(`${size.nodes} nodes in ${Math.round(performance.now() - began)} ms`)
    const all = members.length
    await untilIs("every node knows the record of every other", () =>
      members.every(({ gossip }) => gossip.records() >= all)
    )
    const knownMs = performance.now() - began
    say(`all know all after ${Math.round(knownMs)} ms`)
    // What no broadcast reaches comes later by anti-entropy, and would hide here.
    await untilIs("a path of neighbours joins all", () => apart(members) === 0, JOINED_MS).catch((error: unknown) =>
      say(String(error))
    )
    const parted = apart(members)

    const listeners = members.map((member) => {
      const listener = new Listener()
      member.subscribe(TOPIC, ({ data, from }) => {
        const { at, n } = data as { readonly n: number; readonly at: number }
        listener.hear(from, n, at)
      })
      return listener
    })
    const publishers = Array.from({ length: size.publishers }, () => random.pick(members))
    // The tree grows with the first messages: they are heard like all others, and their copies are not counted.
    let sent = 0
    const next = new Map<Member, number>()
    const publish = async (publisher: Member): Promise<void> => {
      const n = next.get(publisher) ?? 0
      next.set(publisher, n + 1)
      sent++
      await publisher.publish(TOPIC, { n, at: performance.now() })
    }
    const allHeard = (): boolean => listeners.every(({ heard }) => heard >= sent)
    for (const publisher of publishers) await publish(publisher)
    await untilIs("the first messages are everywhere", allHeard)
    const before = members.map(({ gossip }) => gossip.counts())
    const beganAt = performance.now()
    const warm = sent
    for (const { latencies } of listeners) latencies.length = 0
    let isPaced = parted === 0
    for (let n = 0; n < size.messages; n++) {
      for (const publisher of publishers) {
        await pause(size.everyMs)
        const arrived = (): boolean => listeners.every(({ heard }) => heard > sent - UNDER_WAY)
        if (isPaced) {
          await untilIs("earlier messages are everywhere", arrived, JOINED_MS).catch((error: unknown) => {
            isPaced = false
            say(String(error))
          })
        }
        await publish(publisher)
      }
    }
    await untilIs("every message is everywhere", allHeard).catch((error: unknown) => say(String(error)))
    const after = members.map(({ gossip }) => gossip.counts())
    const dials = after.reduce((sum, { dials }, i) => sum + dials - before[i]!.dials, 0)
    const dialsASecond = dials / all / ((performance.now() - beganAt) / 1_000)
    const copies = after.map((count, i) => (count.payloads - before[i]!.payloads) / (sent - warm))
    const meanCopies = copies.reduce((sum, one) => sum + one, 0) / (all - 1)
    const heard = listeners.reduce((sum, one) => sum + one.heard - one.again - one.disordered, 0)
    const wrong = listeners.reduce((sum, one) => sum + one.again + one.disordered, 0)
    const latencies = listeners.flatMap((one) => one.latencies).sort((a, b) => a - b)
    const reached = (100 * heard) / (sent * all)
    say(`${sent} messages, ${reached} % heard, ${wrong} twice or out of order, ${meanCopies.toFixed(3)} copies`)

    const connections = members.map(({ node }) => node.connections.list().length).sort((a, b) => a - b)
    const neighbors = members.map(({ gossip }) => gossip.neighbors().length).sort((a, b) => a - b)

    const mortal = await startMortals(size.mortals, members, random, mortals)
    await untilIs("every node knows those in other processes", () =>
      members.every(({ gossip }) => gossip.records() >= all + size.mortals)
    )
    const deaths: Array<number> = []
    const curve: Array<[number, number]> = []
    const killed: Array<Killed> = []
    for (const { child, nodeId } of mortal) {
      child.kill("SIGKILL")
      killed.push({ nodeId, at: performance.now(), pending: new Set(members) })
      const next = performance.now() + KILL_MS
      while (performance.now() < next) {
        note(killed, deaths)
        await pause(20)
      }
    }
    await untilIs("every node knows who was killed", () => {
      note(killed, deaths)
      return killed.every(({ pending }) => pending.size === 0)
    }).catch((error: unknown) => {
      say(String(error))
      for (const { pending } of killed) for (const _ of pending) deaths.push(Number.POSITIVE_INFINITY)
    })
    const falsely = members.reduce(
      (sum, { gossip }) => sum + members.filter(({ nodeId }) => gossip.carrier.isDown(nodeId)).length,
      0
    )
    deaths.sort((a, b) => a - b)
    for (let i = 0; i <= 100; i++) curve.push([quantile(deaths, i / 100) / 1_000, i])
    const shares = Array.from({ length: 101 }, (_, i): [number, number] => [quantile(latencies, i / 100), i])

    const text = table(
      ["", "", ""],
      [
        ["nodes in one process", String(all), "over TCP on the loopback"],
        ["all know all after", `${short(knownMs / 1_000)} s`, "of the first node's start"],
        ["messages", String(sent), `of ${publishers.length} publishers in turn, ${size.everyMs} ms apart`],
        ["heard", `${short(reached)} %`, `${wrong} twice or out of order`],
        ["payload copies per node", short(meanCopies), "once the tree has grown"],
        ["until heard, p50", `${short(quantile(latencies, 0.5))} ms`, ""],
        ["until heard, p99", `${short(quantile(latencies, 0.99))} ms`, ""],
        ["neighbours", `${neighbors[0]} to ${neighbors.at(-1)}`, ""],
        ["connections made for gossip", short(dialsASecond), "a second and node"],
        ["connections", `${connections[0]} to ${connections.at(-1)}`, "median " + String(quantile(connections, 0.5))],
        [
          "killed processes known dead, p50",
          `${short(quantile(deaths, 0.5) / 1_000)} s`,
          `${mortals.length} processes`
        ],
        ["killed processes known dead, p99", `${short(quantile(deaths, 0.99) / 1_000)} s`, ""],
        ["living ones held for dead", String(falsely), ""]
      ]
    )
    return {
      text,
      rows: [
        row(
          "gossip-heard",
          `messages heard by each of ${all} real nodes, once and in order`,
          { atLeast: 100 },
          "%",
          wrong === 0 ? reached : 0,
          sent * all,
          seed
        ),
        row(
          "gossip-apart",
          `nodes of ${all} real ones that no path of neighbours joins to the first, ${JOINED_MS / 1_000} s after all know all at the latest`,
          { atMost: 0 },
          "nodes",
          parted,
          all,
          seed
        ),
        row(
          "gossip-copies",
          `payload copies per node, of ${all} real nodes`,
          { atMost: 1.3 },
          "copies",
          meanCopies,
          sent - warm,
          seed
        ),
        row(
          "gossip-deaths",
          `until a killed process is known dead, p99 of ${all} real nodes`,
          { atMost: isBrief ? 30 : 5 },
          "s",
          quantile(deaths, 0.99) / 1_000,
          deaths.length,
          seed
        )
      ],
      data: { size, knownMs, parted, copies, connections, neighbors, deaths, falsely },
      charts: [
        lines({
          name: "gossip-heard",
          title: `Messages across ${all} real nodes`,
          note: "share of messages heard so long after they were published; left is better",
          x: { name: "ms after publishing" },
          y: { name: "% heard" },
          lines: [{ label: "heard", points: shares }]
        }),
        lines({
          name: "gossip-deaths",
          title: `Killed processes among ${all} real nodes`,
          note: "share of nodes that know so long after the kill; left is better",
          x: { name: "s after the kill" },
          y: { name: "% know" },
          lines: [{ label: "know", points: curve }]
        })
      ]
    }
  } finally {
    for (const child of mortals) child.kill("SIGKILL")
    await Promise.all(members.map((member) => member.close()))
  }
}

export const realGossip: Experiment = {
  what: "200 real nodes in one process: every message everywhere, its copies, and who is known dead when killed",
  run
}
