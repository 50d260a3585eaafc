/**
 * The processes of a soak: agents that join, leave with a word, or are killed, and short-lived callers that are always killed.
 * Two agents stay from beginning to end, so that what an agent holds can be followed.
 */
import { join } from "node:path"
import type { Runtime } from "../../scripts/setup.mjs"
import { Child } from "./Child.ts"
import type { AnswerOrder, AnswerReady } from "./SoakAnswer.ts"
import type { AskOrder } from "./SoakAsk.ts"
import type { End } from "./SoakLedger.ts"

export const RESIDENTS = 2
/** Agents that may go, at once. */
const MORTALS = { least: 2, most: 6, first: 4 }
/** Calls of a short-lived caller at most, and those that it keeps in flight. */
export const VISIT_CALLS = 65_536
const VISIT_INFLIGHT = 4
/** The numbers of the tasks of short-lived callers begin here. */
export const VISITS_FROM = 2 ** 31
/** A short-lived caller comes with every so many turns, and lasts until the next one. */
const VISIT_EVERY = 3
/** How long an agent may take to leave, in ms: its tasks have the guardrail's 5 s to end. */
const LEAVE_MS = 10_000

export interface Agent {
  readonly index: number
  readonly node: string
  readonly address: string
  readonly log: string
  readonly child: Child<AnswerOrder>
  end: End
  /** When it went, in ms since the epoch. */
  goneAt: number
}

/** How often what happened. */
export interface Events {
  joined: number
  left: number
  killed: number
  visits: number
}

/** 32 random bits from a seed (mulberry32), as a number in [0, 1). */
const randomFrom = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const within = async <A>(ms: number, what: string, promise: Promise<A>): Promise<A> => {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${ms / 1_000} s`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** All processes but the asking one. */
export class World {
  readonly agents: Array<Agent> = []
  readonly visitLogs: Array<string> = []
  readonly events: Events = { joined: 0, left: 0, killed: 0, visits: 0 }
  readonly #runtime: Runtime
  readonly #directory: string
  readonly #asking: Child<AskOrder>
  readonly #random: () => number
  #visitor: Child<AskOrder> | undefined
  #turns = 0

  constructor(runtime: Runtime, directory: string, asking: Child<AskOrder>, seed: number) {
    this.#runtime = runtime
    this.#directory = directory
    this.#asking = asking
    this.#random = randomFrom(seed)
  }

  get living(): ReadonlyArray<Agent> {
    return this.agents.filter(({ end }) => end === "lives")
  }

  get residents(): ReadonlyArray<Agent> {
    return this.agents.slice(0, RESIDENTS)
  }

  async start(): Promise<void> {
    for (let i = 0; i < RESIDENTS + MORTALS.first; i++) await this.#join()
  }

  /** One thing happens. */
  async turn(): Promise<void> {
    const mortals = this.living.slice(RESIDENTS)
    const mayJoin = mortals.length < MORTALS.most
    const mayGo = mortals.length > MORTALS.least
    const drawn = this.#random()
    if (mayJoin && (!mayGo || drawn < 0.5)) await this.#join()
    else {
      // Often it is the one that has most to do.
      const favourite = await this.#asking.tell<number>({ _tag: "Favourite" })
      const busy = this.#random() < 0.5 ? mortals.find(({ index }) => index === favourite) : undefined
      const agent = busy ?? mortals[Math.floor(this.#random() * mortals.length)]!
      if (drawn < 0.75) await this.#leave(agent)
      else this.#kill(agent)
    }
    if (this.#turns++ % VISIT_EVERY === 0) await this.#visit()
  }

  /** Everybody leaves. */
  async end(): Promise<void> {
    for (const agent of this.living) await this.#leave(agent)
  }

  /** Nobody is left behind, whatever went wrong. */
  abandon(): void {
    this.endVisit()
    for (const agent of this.living) this.#kill(agent)
  }

  async #join(): Promise<void> {
    const index = this.agents.length
    const log = join(this.#directory, `agent-${index}`)
    const stays = index < RESIDENTS
    const args = [String(index), log, stays ? "stays" : "goes"]
    const child = new Child<AnswerOrder>(this.#runtime, "SoakAnswer.ts", args)
    const { address, node } = await child.read<AnswerReady>()
    this.agents.push({ index, node, address, log, child, end: "lives", goneAt: 0 })
    this.events.joined += 1
    if (!(await this.#asking.tell<boolean>({ _tag: "Join", address, stays })))
      throw new Error(`agent ${index} at ${address} cannot be connected to`)
  }

  async #leave(agent: Agent): Promise<void> {
    this.events.left += 1
    agent.end = "left"
    agent.goneAt = Date.now()
    await within(LEAVE_MS, `leaving of agent ${agent.index}`, agent.child.tell({ _tag: "Leave" }))
    agent.child.close()
  }

  #kill(agent: Agent): void {
    this.events.killed += 1
    agent.end = "killed"
    agent.goneAt = Date.now()
    process.kill(agent.child.pid, "SIGKILL")
  }

  async #visit(): Promise<void> {
    this.endVisit()
    const number = this.events.visits++
    const log = join(this.#directory, `visit-${number}`)
    this.visitLogs.push(log)
    const args = [String(VISITS_FROM + number * VISIT_CALLS), String(VISIT_CALLS), log]
    const visitor = new Child<AskOrder>(this.#runtime, "SoakAsk.ts", args)
    this.#visitor = visitor
    await visitor.read()
    for (const { address, index } of this.living)
      await visitor.tell({ _tag: "Join", address, stays: index < RESIDENTS })
    await visitor.tell({ _tag: "Start", inflight: VISIT_INFLIGHT })
  }

  endVisit(): void {
    if (this.#visitor !== undefined) process.kill(this.#visitor.pid, "SIGKILL")
    this.#visitor = undefined
  }
}
