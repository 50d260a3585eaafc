/** A simulated mesh whose nodes die and are replaced while messages are published, and what became of each message. */
import { createHash } from "node:crypto"
import type { Machine } from "@parley/core/Machine"
import { Simulation } from "@parley/core/testing/Simulation"

/** A machine that joins, publishes and delivers. */
export interface Kind<State, Message, Timer, Command, Told> {
  readonly machine: Machine<State, Message, Timer, Command, Told>
  /** A fresh node; `life`: higher than in any life before it. */
  readonly make: (self: string, seed: number, life: number) => State
  readonly join: (contacts: ReadonlyArray<string>) => Command
  readonly publish: (id: string, payload: Uint8Array) => Command
  /** The id of a message whose payload this is. */
  readonly carried: (message: Message) => string | undefined
  /** The id of a message that a node is told of. */
  readonly delivered: (told: Told) => string | undefined
  /** The member that a node holds for dead. */
  readonly down: (told: Told) => string | undefined
  readonly neighbours: (state: State) => Iterable<string>
}

/** What is to happen. Times are simulated ones. */
export interface Terms {
  readonly seed: number
  readonly nodes: number
  /** Part of the nodes that is replaced in a minute: half of them die as processes, half as machines. */
  readonly churn: number
  /** The nodes come one after the other in this time. */
  readonly rampMs: number
  /** Quiet before the first death. */
  readonly quietMs: number
  /** How long nodes die and messages are published. */
  readonly runMs: number
  readonly publishEveryMs: number
}

/** A node counts for a message when it came so long before, … */
export const BEFORE_MS = 5_000
/** … and lives on for so long after. So long is waited at the end, too. */
export const SETTLE_MS = 30_000
/** A message is out of its publisher's hands when that has lived for so long after. */
const HANDED_ON_MS = 1_000
/** One way between two nodes. */
export const DELAY_MS = { least: 5, most: 45 }
const PAYLOAD = new Uint8Array(256)

/** What came of it. */
export interface Outcome {
  readonly published: number
  /** Messages whose publisher died with them. */
  readonly lost: number
  /** Deliveries that had to be, and those that were not. */
  readonly expected: number
  readonly missed: number
  /** Deliveries beyond the first. */
  readonly repeated: number
  /** For each message: when it was published, in seconds, and payloads sent for each node. */
  readonly copies: ReadonlyArray<readonly [number, number]>
  /** How long each delivery took, in ms, least first. */
  readonly latencies: Float64Array
  /** How long it took each node to hold a dead one for dead, in ms, least first; of nodes that lived all the while. */
  readonly detections: Float64Array
  /** Living nodes that were held for dead. */
  readonly accused: number
  readonly deaths: number
  readonly neighbours: number
  /** Nodes that no path of neighbours joins to the most. */
  readonly apart: number
  readonly steps: number
  readonly wallMs: number
  /** SHA-256 over all that nodes were told, when. */
  readonly digest: string
}

interface Published {
  readonly at: number
  readonly by: string
  readonly nodes: number
  copies: number
  readonly told: Map<string, number>
}

export const churn = <State, Message, Timer, Command, Told>(
  kind: Kind<State, Message, Timer, Command, Told>,
  { churn: share, nodes, publishEveryMs, quietMs, rampMs, runMs, seed }: Terms
): Outcome => {
  const began = performance.now()
  const born = new Map<string, number>()
  const died = new Map<string, number>()
  const living: Array<string> = []
  const messages = new Map<string, Published>()
  const detections: Array<number> = []
  const heldFor = new Map<string, Array<readonly [string, number]>>()
  const digest = createHash("sha256")
  let accused = 0
  let repeated = 0
  const world = new Simulation<State, Message, Timer, Command, Told>({
    seed,
    machine: kind.machine,
    delay: (random) => DELAY_MS.least + random.int(DELAY_MS.most - DELAY_MS.least + 1),
    told: (node, told, now) => {
      const id = kind.delivered(told)
      if (id !== undefined) {
        digest.update(`${now} ${node} ${id}\n`)
        const message = messages.get(id)!
        if (message.told.has(node)) repeated++
        else message.told.set(node, now)
        return
      }
      const down = kind.down(told)
      if (down === undefined) return
      digest.update(`${now} ${node} - ${down}\n`)
      if (!died.has(down)) accused++
      const held = heldFor.get(down)
      if (held === undefined) heldFor.set(down, [[node, now]])
      else held.push([node, now])
    },
    sent: (_from, _to, message) => {
      const id = kind.carried(message)
      if (id !== undefined) messages.get(id)!.copies++
    }
  })
  let count = 0
  const join = (): void => {
    const name = `n${count++}`
    const contacts = Array.from({ length: Math.min(3, living.length) }, () => world.random.pick(living))
    world.add(name, kind.make(name, world.random.int(2 ** 32), 1 + Math.floor(world.now)))
    living.push(name)
    born.set(name, world.now)
    world.command(name, kind.join(contacts))
  }
  const die = (how: "process" | "machine"): void => {
    const at = world.random.int(living.length)
    const name = living[at]!
    living[at] = living.at(-1)!
    living.pop()
    died.set(name, world.now)
    world.kill(name, how)
  }
  const publish = (): void => {
    const known = living.filter((name) => born.get(name)! <= world.now - BEFORE_MS)
    const by = world.random.pick(known)
    const id = `m${messages.size}`
    messages.set(id, { at: world.now, by, nodes: living.length, copies: 0, told: new Map() })
    world.command(by, kind.publish(id, PAYLOAD))
  }
  for (let i = 0; i < nodes; i++) world.at((i * rampMs) / nodes, join)
  const from = rampMs + quietMs
  if (share > 0) {
    const every = 60_000 / (nodes * share)
    for (let at = from, i = 0; at < from + runMs; at += every, i++)
      world.at(at, () => {
        die(i % 2 === 0 ? "process" : "machine")
        join()
      })
  }
  for (let at = from; at < from + runMs; at += publishEveryMs) world.at(at, publish)
  world.runFor(from + runMs + SETTLE_MS)

  let expected = 0
  let missed = 0
  let lost = 0
  const latencies: Array<number> = []
  for (const { at, by, told } of messages.values()) {
    if ((died.get(by) ?? Infinity) < at + HANDED_ON_MS) {
      lost++
      continue
    }
    for (const [name, since] of born) {
      if (name === by || since > at - BEFORE_MS || (died.get(name) ?? Infinity) < at + SETTLE_MS) continue
      expected++
      const heard = told.get(name)
      if (heard === undefined) missed++
      else latencies.push(heard - at)
    }
  }
  for (const [name, observers] of heldFor) {
    const at = died.get(name)
    if (at === undefined) continue
    for (const [observer, when] of observers)
      if (!died.has(observer) && born.get(observer)! < at - BEFORE_MS) detections.push(when - at)
  }
  const reached = new Set(living.slice(0, 1))
  let links = 0
  for (const name of reached)
    for (const peer of kind.neighbours(world.state(name))) {
      links++
      if (world.isAlive(peer)) reached.add(peer)
    }
  return {
    published: messages.size,
    lost,
    expected,
    missed,
    repeated,
    copies: [...messages.values()].map((one) => [one.at / 1_000, one.copies / one.nodes]),
    latencies: Float64Array.from(latencies).sort(),
    detections: Float64Array.from(detections).sort(),
    accused,
    deaths: died.size,
    neighbours: links / reached.size,
    apart: living.length - reached.size,
    steps: world.steps,
    wallMs: performance.now() - began,
    digest: digest.digest("hex")
  }
}
