/**
 * Simulation: a network of machines in one process, with a clock of its own. One seed gives one run, so what fails once
 * fails again.
 *
 * Links behave as connections do: what one node sends another arrives in order after the link's delay, or the link goes down
 * at both ends. A node that is killed resets its links at once, as a process does whose machine lives on; one that is cut off
 * says nothing, and its peers hear `LinkDown` only after `silenceMs`; what is sent to it before that is lost. A frozen node
 * takes events and handles them when it thaws.
 *
 * ```ts
 * const world = new Simulation({ seed: 7, machine, delay: (random) => 5 + random.int(40), told: () => {} })
 * world.add("a", stateOfA)
 * world.command("a", { _tag: "Join", contacts: [] })
 * world.runFor(60_000)
 * ```
 */
import type { Action, Event, Machine } from "../Machine.ts"
import { Agenda } from "./Agenda.ts"
import { fromSeed, type Seeded } from "./Seeded.ts"

/** What a simulated network is like. */
export interface Terms<State, Message, Timer, Command, Told> {
  readonly seed: number
  readonly machine: Machine<State, Message, Timer, Command, Told>
  /** One way, in ms of simulated time; drawn for each message, and never overtaken by a later one on the same link. */
  readonly delay: (random: Seeded, from: string, to: string) => number
  /**
   * How often the delay of one way passes until what was sent without a link arrives: TCP's and Noise's handshakes, and the
   * message. Default 5.
   */
  readonly dialWays?: number
  /** How long a node waits for one that is silent before its link counts as down. Default 10 s. */
  readonly silenceMs?: number
  /** Hears what machines tell the layer above. */
  readonly told: (node: string, told: Told, now: number) => void
  /** Hears every message that is sent, for counting. */
  readonly sent?: (from: string, to: string, message: Message, now: number) => void
}

/** A connection between two nodes. Each end has it or not: one may have closed it, while the other does not know yet. */
interface Link<State> {
  /** Who dialed. */
  readonly a: SimulatedNode<State>
  readonly b: SimulatedNode<State>
  atA: boolean
  atB: boolean
  /** When the last message to an end arrives, so that none overtakes it. */
  lastToA: number
  lastToB: number
  /** Whatever is sent on it is lost, and whoever has it will hear that it is down. */
  broken: boolean
}

interface SimulatedNode<State> {
  readonly name: string
  state: State
  alive: boolean
  /** It ended with its machine, which refuses no dial. */
  silent: boolean
  frozenUntil: number
  /** What came while it was frozen, with the event that thaws it under way. */
  readonly waiting: Array<(now: number) => void>
  readonly links: Map<string, Link<State>>
  /** Peers that it tries to reach in vain. */
  readonly dialing: Set<string>
}

/** What is due: what happens to which node, and on which link. */
type Due<State, Message, Timer> =
  | { readonly _tag: "Run"; readonly run: () => void }
  | {
      readonly _tag: "Message"
      readonly link: Link<State>
      readonly from: SimulatedNode<State>
      readonly message: Message
    }
  | { readonly _tag: "Timer"; readonly node: SimulatedNode<State>; readonly timer: Timer }
  | {
      readonly _tag: "LinkUp" | "LinkDown"
      readonly link: Link<State>
      readonly node: SimulatedNode<State>
    }
  | { readonly _tag: "NoLink"; readonly node: SimulatedNode<State>; readonly peer: string }
  | { readonly _tag: "Thaw"; readonly node: SimulatedNode<State> }

const WAYS_TO_DIAL = 5
const SILENCE_MS = 10_000

const otherEnd = <State>(link: Link<State>, node: SimulatedNode<State>): SimulatedNode<State> =>
  link.a === node ? link.b : link.a

/** A simulated network. */
export class Simulation<State, Message, Timer, Command, Told> {
  readonly random: Seeded
  readonly #terms: Terms<State, Message, Timer, Command, Told>
  readonly #nodes = new Map<string, SimulatedNode<State>>()
  readonly #agenda = new Agenda<Due<State, Message, Timer>>()
  readonly #silence: number
  readonly #dialWays: number
  #now = 0
  #steps = 0
  #side: ((node: string) => number) | undefined

  constructor(terms: Terms<State, Message, Timer, Command, Told>) {
    this.#terms = terms
    this.#silence = terms.silenceMs ?? SILENCE_MS
    this.#dialWays = terms.dialWays ?? WAYS_TO_DIAL
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
    if (this.isAlive(name)) throw new Error(`${name} is there already`)
    this.#nodes.set(name, {
      name,
      state,
      alive: true,
      silent: false,
      frozenUntil: 0,
      waiting: [],
      links: new Map(),
      dialing: new Set()
    })
  }

  isAlive(name: string): boolean {
    return this.#nodes.get(name)?.alive === true
  }

  /** Names of living nodes. */
  alive(): ReadonlyArray<string> {
    const names: Array<string> = []
    for (const node of this.#nodes.values()) if (node.alive) names.push(node.name)
    return names
  }

  state(name: string): State {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new Error(`there is no node ${name}`)
    return node.state
  }

  /** Peers to whom a node has a link, as far as it knows. */
  links(name: string): ReadonlyArray<string> {
    return [...(this.#nodes.get(name)?.links.keys() ?? [])]
  }

  /** Gives a node's machine a command, now. */
  command(name: string, command: Command): void {
    const node = this.#nodes.get(name)
    if (node !== undefined) this.#happen(node, { _tag: "Command", now: this.#now, command })
  }

  /** Does something at a later time. */
  at(ms: number, run: () => void): void {
    this.#agenda.add(Math.max(ms, this.#now), { _tag: "Run", run })
  }

  /** Ends a node. `process`: its links are reset at once. `machine`: it just says nothing any more. */
  kill(name: string, what: "process" | "machine" = "process"): void {
    const node = this.#nodes.get(name)
    if (node === undefined || !node.alive) return
    node.alive = false
    node.silent = what === "machine"
    for (const link of node.links.values()) {
      const peer = otherEnd(link, node)
      leave(link, node)
      link.broken = true
      this.#down(link, peer, what === "process" ? this.#delay(node, peer) : this.#silence)
    }
    node.links.clear()
  }

  /** A node handles nothing for so long, and then all that came. Its peers do not wait for it longer than for a silent one. */
  freeze(name: string, ms: number): void {
    const node = this.#nodes.get(name)
    if (node === undefined || !node.alive) return
    node.frozenUntil = Math.max(node.frozenUntil, this.#now + ms)
    if (node.frozenUntil - this.#now > this.#silence) for (const link of node.links.values()) this.#break(link)
  }

  /** Nothing passes between nodes on different sides. Links across fall silent. */
  partition(side: (node: string) => number): void {
    this.#side = side
    for (const node of this.#nodes.values())
      for (const link of node.links.values()) if (!this.#connected(link.a, link.b)) this.#break(link)
  }

  /** Ends the partition. */
  heal(): void {
    this.#side = undefined
  }

  /** Lets so much time pass. */
  runFor(ms: number): void {
    this.#runTo(this.#now + ms)
  }

  /** Lets time pass until `done`, which is asked every `everyMs`, or `mostMs` are over; gives whether it came to be. */
  runUntil(done: () => boolean, mostMs: number, everyMs = 100): boolean {
    const end = this.#now + mostMs
    for (;;) {
      if (done()) return true
      if (this.#now >= end) return false
      this.#runTo(Math.min(end, this.#now + everyMs))
    }
  }

  #runTo(end: number): void {
    for (;;) {
      const due = this.#agenda.take(end)
      if (due === undefined) break
      this.#now = this.#agenda.now
      this.#comeDue(due)
    }
    this.#now = end
  }

  #comeDue(due: Due<State, Message, Timer>): void {
    switch (due._tag) {
      case "Message": {
        const { from, link, message } = due
        const node = otherEnd(link, from)
        // Whoever has left the link does not hear what was still on its way.
        if ((node === link.a ? !link.atA : !link.atB) || !this.#connected(from, node)) return
        return this.#happen(node, { _tag: "Message", now: this.#now, from: from.name, message })
      }
      case "Timer":
        return this.#happen(due.node, { _tag: "Timer", now: this.#now, timer: due.timer })
      case "LinkUp":
        return this.#up(due.link, due.node)
      case "LinkDown": {
        const { link, node } = due
        const peer = otherEnd(link, node).name
        if (node.links.get(peer) !== link) return
        leave(link, node)
        node.links.delete(peer)
        return this.#happen(node, { _tag: "LinkDown", now: this.#now, peer })
      }
      case "NoLink": {
        due.node.dialing.delete(due.peer)
        if (due.node.links.has(due.peer)) return
        return this.#happen(due.node, { _tag: "LinkDown", now: this.#now, peer: due.peer })
      }
      case "Thaw":
        return this.#thaw(due.node)
      case "Run":
        return due.run()
    }
  }

  #delay(from: SimulatedNode<State>, to: SimulatedNode<State>): number {
    return this.#terms.delay(this.random, from.name, to.name)
  }

  #connected(a: SimulatedNode<State>, b: SimulatedNode<State>): boolean {
    return this.#side === undefined || this.#side(a.name) === this.#side(b.name)
  }

  #happen(node: SimulatedNode<State>, event: Event<Message, Timer, Command>): void {
    if (!node.alive) return
    if (node.frozenUntil > this.#now || node.waiting.length > 0) {
      if (node.waiting.push((now) => this.#step(node, { ...event, now })) === 1)
        this.#agenda.add(node.frozenUntil, { _tag: "Thaw", node })
      return
    }
    this.#step(node, event)
  }

  #thaw(node: SimulatedNode<State>): void {
    if (node.frozenUntil > this.#now) return this.#agenda.add(node.frozenUntil, { _tag: "Thaw", node })
    for (let i = 0; i < node.waiting.length && node.alive; i++) node.waiting[i]!(this.#now)
    node.waiting.length = 0
  }

  #step(node: SimulatedNode<State>, event: Event<Message, Timer, Command>): void {
    this.#steps++
    const [state, actions] = this.#terms.machine.step(node.state, event)
    node.state = state
    for (const action of actions) this.#carryOut(node, action)
  }

  #carryOut(node: SimulatedNode<State>, action: Action<Message, Timer, Told>): void {
    switch (action._tag) {
      case "Tell":
        return this.#terms.told(node.name, action.told, this.#now)
      case "After":
        return this.#agenda.add(this.#now + action.ms, { _tag: "Timer", node, timer: action.timer })
      case "Close": {
        const link = node.links.get(action.peer)
        if (link === undefined) return
        node.links.delete(action.peer)
        leave(link, node)
        if (link.broken) return
        link.broken = true
        // The peer reads what was sent before, and then the end.
        const peer = otherEnd(link, node)
        const last = link.a === node ? link.lastToB : link.lastToA
        return this.#down(link, peer, Math.max(last - this.#now, this.#delay(node, peer)))
      }
      case "Send":
        return this.#send(node, action.to, action.message)
    }
  }

  #send(node: SimulatedNode<State>, to: string, message: Message): void {
    this.#terms.sent?.(node.name, to, message, this.#now)
    const link = node.links.get(to) ?? this.#dial(node, to)
    if (link === undefined || link.broken) return
    const peer = otherEnd(link, node)
    const soonest = this.#now + this.#delay(node, peer)
    let arrival: number
    if (peer === link.b) arrival = link.lastToB = Math.max(link.lastToB, soonest)
    else arrival = link.lastToA = Math.max(link.lastToA, soonest)
    this.#agenda.add(arrival, { _tag: "Message", link, from: node, message })
  }

  #dial(node: SimulatedNode<State>, to: string): Link<State> | undefined {
    const peer = this.#nodes.get(to)
    if (node.dialing.has(to)) return undefined
    const reachable = peer !== undefined && !peer.silent && this.#connected(node, peer)
    if (!reachable || !peer.alive) {
      // Where a process has ended, its machine refuses at once; where nothing answers, time passes.
      node.dialing.add(to)
      const after = reachable ? 2 * this.#delay(node, peer) : this.#silence
      this.#agenda.add(this.#now + after, { _tag: "NoLink", node, peer: to })
      return undefined
    }
    const theirs = peer.links.get(node.name)
    if (theirs !== undefined && !theirs.broken) {
      // It has dialed already: this is the link that both will have.
      theirs.atB = true
      node.links.set(to, theirs)
      return theirs
    }
    const ways = this.#dialWays * this.#delay(node, peer)
    const lastToB = this.#now + ways
    const lastToA = lastToB - ways / this.#dialWays
    const link: Link<State> = {
      a: node,
      b: peer,
      atA: true,
      atB: false,
      lastToA,
      lastToB,
      broken: false
    }
    node.links.set(to, link)
    if (theirs === undefined) {
      // If the peer wants to send before it hears of the link, then over this one.
      peer.links.set(node.name, link)
      link.atB = true
    }
    this.#agenda.add(lastToB, { _tag: "LinkUp", link, node: peer })
    this.#agenda.add(lastToA, { _tag: "LinkUp", link, node })
    return link
  }

  /** An end of a link hears that it stands, and that the one before is gone, whose end it had not heard of. */
  #up(link: Link<State>, node: SimulatedNode<State>): void {
    if (link.broken) return
    if (!node.alive) return this.#break(link)
    const peer = otherEnd(link, node).name
    if (node === link.b && !link.atB) {
      const before = node.links.get(peer)
      if (before === link) return
      if (before !== undefined) {
        leave(before, node)
        this.#happen(node, { _tag: "LinkDown", now: this.#now, peer })
      }
      link.atB = true
      node.links.set(peer, link)
    }
    if (node.links.get(peer) === link) this.#happen(node, { _tag: "LinkUp", now: this.#now, peer })
  }

  /** Nothing arrives on it any more, and both ends hear of that when they have waited long enough. */
  #break(link: Link<State>): void {
    if (link.broken) return
    link.broken = true
    this.#down(link, link.a, this.#silence)
    this.#down(link, link.b, this.#silence)
  }

  #down(link: Link<State>, node: SimulatedNode<State>, afterMs: number): void {
    this.#agenda.add(this.#now + afterMs, { _tag: "LinkDown", link, node })
  }
}

const leave = <State>(link: Link<State>, node: SimulatedNode<State>): void => {
  if (node === link.a) link.atA = false
  else link.atB = false
}
