/**
 * Simulation: a network of machines in one process, with a clock of its own. One seed gives one run, so what fails once
 * fails again.
 *
 * Links behave as connections do: what one node sends another arrives in order after the link's delay, or the link goes down.
 * A node that is killed resets its links at once, as a process does whose machine lives on; one that is cut off says nothing,
 * and who sends to it hears `LinkDown` only after `silenceMs`. A frozen node takes events and handles them when it thaws.
 *
 * ```ts
 * const world = new Simulation({ seed: 7, machine, delay: (random) => 5 + random.int(40), told: () => {} })
 * world.add("a", stateOfA)
 * world.command("a", { _tag: "Join", contacts: [] })
 * world.runFor(60_000)
 * ```
 */
import type { Action, Event, Machine } from "../Machine.ts"
import { fromSeed, type Seeded } from "./Seeded.ts"

/** What a simulated network is like. */
export interface Terms<State, Message, Timer, Command, Told> {
  readonly seed: number
  readonly machine: Machine<State, Message, Timer, Command, Told>
  /** One way, in ms of simulated time; drawn for each message, and never overtaken by a later one on the same link. */
  readonly delay: (random: Seeded, from: string, to: string) => number
  /** How long a node waits for one that is silent before its link counts as down. Default 10 s. */
  readonly silenceMs?: number
  /** Hears what machines tell the layer above. */
  readonly told: (node: string, told: Told, now: number) => void
  /** Hears every message that is sent, for counting. */
  readonly sent?: (from: string, to: string, message: Message, now: number) => void
}

interface SimulatedNode<State> {
  state: State
  alive: boolean
  frozenUntil: number
  /** Counts lives: what was meant for an earlier one does not reach a later one. */
  life: number
  readonly links: Set<string>
  /** When the last message to a peer arrives, so that none overtakes it. */
  readonly lastArrival: Map<string, number>
}

interface Due {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A heap of what is due, earliest first, in the order of scheduling where times are equal. */
class Agenda {
  readonly #heap: Array<Due> = []
  #order = 0

  get size(): number {
    return this.#heap.length
  }

  add(at: number, run: () => void): void {
    const heap = this.#heap
    const due = { at, order: this.#order++, run }
    let i = heap.push(due) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(due, heap[parent]!)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = due
  }

  peek(): Due | undefined {
    return this.#heap[0]
  }

  take(): Due | undefined {
    const heap = this.#heap
    const [first] = heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}

const before = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** A simulated network. */
export class Simulation<State, Message, Timer, Command, Told> {
  readonly random: Seeded
  readonly #terms: Terms<State, Message, Timer, Command, Told>
  readonly #nodes = new Map<string, SimulatedNode<State>>()
  readonly #agenda = new Agenda()
  #now = 0
  #steps = 0
  #side: ((node: string) => number) | undefined

  constructor(terms: Terms<State, Message, Timer, Command, Told>) {
    this.#terms = terms
    this.random = fromSeed(terms.seed)
  }

  /** Simulated time, in ms. */
  get now(): number {
    return this.#now
  }

  /** Steps that machines have made. */
  get steps(): number {
    return this.#steps
  }

  /** Adds a node, or starts a killed one again with a fresh state. */
  add(name: string, state: State): void {
    const before = this.#nodes.get(name)
    if (before?.alive === true) throw new Error(`${name} is there already`)
    this.#nodes.set(name, {
      state,
      alive: true,
      frozenUntil: 0,
      life: (before?.life ?? 0) + 1,
      links: new Set(),
      lastArrival: new Map()
    })
  }

  isAlive(name: string): boolean {
    return this.#nodes.get(name)?.alive === true
  }

  /** Names of living nodes. */
  alive(): ReadonlyArray<string> {
    return [...this.#nodes].flatMap(([name, node]) => (node.alive ? [name] : []))
  }

  state(name: string): State {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new Error(`there is no node ${name}`)
    return node.state
  }

  /** Gives a node's machine a command, now. */
  command(name: string, command: Command): void {
    this.#happen(name, { _tag: "Command", now: this.#now, command })
  }

  /** Does something at a later time. */
  at(ms: number, run: () => void): void {
    this.#agenda.add(ms, run)
  }

  /** Ends a node. `process`: its links are reset at once. `machine`: it just says nothing any more. */
  kill(name: string, what: "process" | "machine" = "process"): void {
    const node = this.#nodes.get(name)
    if (node === undefined || !node.alive) return
    node.alive = false
    const { links } = node
    if (what === "process") for (const peer of [...links]) this.#drop(peer, name, this.#delay(name, peer))
    else for (const peer of [...links]) this.#drop(peer, name, this.#silence())
    links.clear()
  }

  /** A node handles nothing for so long, and then all that came. */
  freeze(name: string, ms: number): void {
    const node = this.#nodes.get(name)
    if (node !== undefined) node.frozenUntil = Math.max(node.frozenUntil, this.#now + ms)
  }

  /** Nothing passes between nodes on different sides. Links across fall silent. */
  partition(side: (node: string) => number): void {
    this.#side = side
    for (const [name, node] of this.#nodes) {
      for (const peer of [...node.links]) if (!this.#connected(name, peer)) this.#drop(name, peer, this.#silence())
    }
  }

  /** Ends the partition. */
  heal(): void {
    this.#side = undefined
  }

  /** Lets so much time pass. */
  runFor(ms: number): void {
    this.runUntil(() => false, ms)
  }

  /** Lets time pass until `done`, which is asked every `everyMs`, or `mostMs` are over; gives whether it came to be. */
  runUntil(done: () => boolean, mostMs: number, everyMs = 100): boolean {
    const end = this.#now + mostMs
    let askAt = this.#now
    for (;;) {
      if (this.#now >= askAt) {
        if (done()) return true
        askAt = this.#now + everyMs
      }
      const next = this.#agenda.peek()
      const until = Math.min(end, askAt)
      if (next === undefined || next.at > until) {
        this.#now = until
        if (until >= end) return done()
        continue
      }
      this.#agenda.take()
      this.#now = Math.max(this.#now, next.at)
      next.run()
    }
  }

  #silence(): number {
    return this.#terms.silenceMs ?? 10_000
  }

  #delay(from: string, to: string): number {
    return this.#terms.delay(this.random, from, to)
  }

  #connected(a: string, b: string): boolean {
    return this.#side === undefined || this.#side(a) === this.#side(b)
  }

  /** `name` loses its link to `peer` after a while. */
  #drop(name: string, peer: string, afterMs: number): void {
    const node = this.#nodes.get(name)
    if (node === undefined || !node.links.delete(peer)) return
    const { life } = node
    this.#agenda.add(this.#now + afterMs, () => {
      if (this.#nodes.get(name)?.life !== life || node.links.has(peer)) return
      this.#happen(name, { _tag: "LinkDown", now: this.#now, peer })
    })
  }

  #happen(name: string, event: Event<Message, Timer, Command>): void {
    const node = this.#nodes.get(name)
    if (node === undefined || !node.alive) return
    if (node.frozenUntil > this.#now) {
      const { life } = node
      this.#agenda.add(node.frozenUntil, () => {
        if (node.life === life) this.#happen(name, { ...event, now: this.#now })
      })
      return
    }
    this.#steps++
    const [state, actions] = this.#terms.machine.step(node.state, event)
    node.state = state
    for (const action of actions) this.#carryOut(name, node, action)
  }

  #carryOut(name: string, node: SimulatedNode<State>, action: Action<Message, Timer, Told>): void {
    switch (action._tag) {
      case "Tell":
        return this.#terms.told(name, action.told, this.#now)
      case "After": {
        const { life } = node
        const { timer } = action
        this.#agenda.add(this.#now + action.ms, () => {
          if (node.life === life) this.#happen(name, { _tag: "Timer", now: this.#now, timer })
        })
        return
      }
      case "Close": {
        node.links.delete(action.peer)
        return this.#drop(action.peer, name, this.#delay(name, action.peer))
      }
      case "Send":
        return this.#send(name, node, action.to, action.message)
    }
  }

  #send(name: string, node: SimulatedNode<State>, to: string, message: Message): void {
    this.#terms.sent?.(name, to, message, this.#now)
    const peer = this.#nodes.get(to)
    if (peer === undefined || !this.#connected(name, to) || !peer.alive) {
      // A process that ended refuses at once; where nothing answers, time passes.
      const refused = peer !== undefined && this.#connected(name, to)
      if (node.links.has(to)) return this.#drop(name, to, this.#silence())
      const { life } = node
      this.#agenda.add(this.#now + (refused ? 2 * this.#delay(name, to) : this.#silence()), () => {
        if (node.life !== life || node.links.has(to)) return
        this.#happen(name, { _tag: "LinkDown", now: this.#now, peer: to })
      })
      return
    }
    const isNew = !node.links.has(to)
    if (isNew) {
      node.links.add(to)
      peer.links.add(name)
      const { life } = node
      const { life: peerLife } = peer
      const there = this.#delay(name, to)
      this.#agenda.add(this.#now + there, () => {
        if (peer.life === peerLife && peer.links.has(name))
          this.#happen(to, { _tag: "LinkUp", now: this.#now, peer: name })
      })
      this.#agenda.add(this.#now + 2 * there, () => {
        if (node.life === life && node.links.has(to)) this.#happen(name, { _tag: "LinkUp", now: this.#now, peer: to })
      })
      node.lastArrival.set(to, this.#now + there)
    }
    const arrival = Math.max(node.lastArrival.get(to) ?? 0, this.#now + this.#delay(name, to))
    node.lastArrival.set(to, arrival)
    const { life } = peer
    this.#agenda.add(arrival, () => {
      if (peer.life !== life || !this.#connected(name, to)) return
      this.#happen(to, { _tag: "Message", now: this.#now, from: name, message })
    })
  }
}
