/** Nodes that hold slots, and relays that grant them, in a simulated network; and the laws that must hold there. */
import type { Action, Event, Machine } from "@parley/core/Machine"
import { fromSeed } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"
import type { NodeId } from "@parley/core/NodeId"
import * as Reservations from "@parley/transport-tcp/Reservations"

export type NodeMachine = typeof Reservations.machine

/** How a simulated relay behaves. */
export interface RelayTerms {
  readonly leaseMs: number
  readonly bytes?: number
  /** What it answers instead. */
  readonly answer?: (now: number, message: Reservations.Message) => ReadonlyArray<Reservations.Message>
}

type State =
  | { readonly role: "node"; inner: Reservations.State }
  | { readonly role: "relay"; readonly name: string; readonly terms: RelayTerms; readonly slots: Map<string, number> }
type Deed = Action<Reservations.Message, Reservations.Timer, Reservations.Told>

const relayStep = (
  state: State & { readonly role: "relay" },
  event: Event<Reservations.Message, Reservations.Timer, Reservations.Command>
): ReadonlyArray<Deed> => {
  if (event._tag === "LinkDown") state.slots.delete(event.peer)
  if (event._tag !== "Message") return []
  const { from: to, message, now } = event
  const { answer, bytes = 1_000_000, leaseMs } = state.terms
  if (answer !== undefined) return answer(now, message).map((said): Deed => ({ _tag: "Send", to, message: said }))
  if (message._tag !== "Ask") return []
  state.slots.set(to, now + leaseMs)
  const tracker = state.name as NodeId
  return [{ _tag: "Send", to, message: { _tag: "Granted", tracker, leaseMs, quota: { circuits: 10, bytes } } }]
}

const both = (
  nodes: NodeMachine
): Machine<State, Reservations.Message, Reservations.Timer, Reservations.Command, Reservations.Told> => ({
  step: (state, event) => {
    if (state.role === "relay") return [state, relayStep(state, event)]
    const [inner, actions] = nodes.step(state.inner, event)
    state.inner = inner
    return [state, actions]
  }
})

/** How long a node may go on publishing a slot that is none, in ms. */
const STALE_MS = { process: 1_000, silent: 21_000 }
const LOOK_MS = 100
/** Requests of a node to a relay within a minute: at a pause of 0.6 to 1.2 s, with those at the beginning. */
export const MOST_ASKED = 90

export interface WorldTerms {
  readonly seed: number
  readonly nodes: number
  readonly relays: ReadonlyArray<RelayTerms>
  readonly slots?: number
  readonly machine?: NodeMachine
}

/** A simulated network; `run` lets time pass and throws where a law is broken. */
export class World {
  readonly random
  readonly relays: ReadonlyArray<string>
  readonly nodes: ReadonlyArray<string>
  readonly #terms: WorldTerms
  readonly #simulation: Simulation<
    State,
    Reservations.Message,
    Reservations.Timer,
    Reservations.Command,
    Reservations.Told
  >
  readonly #published = new Map<string, ReadonlyArray<Reservations.Slot>>()
  /** Requests of a node to a relay within this minute. */
  readonly #asked = new Map<string, Array<number>>()
  readonly #staleSince = new Map<string, number>()
  /** Until when it may be that nobody was told of what a relay lost: it fell silent, and came back without its slots. */
  readonly #silentUntil = new Map<string, number>()
  #lives = 0

  constructor(terms: WorldTerms) {
    this.#terms = terms
    this.random = fromSeed(terms.seed)
    this.relays = terms.relays.map((_, i) => `relay${i}`)
    this.nodes = Array.from({ length: terms.nodes }, (_, i) => `node${i}`)
    this.#simulation = new Simulation({
      seed: terms.seed,
      machine: both(terms.machine ?? Reservations.machine),
      // Each relay is twice as far as the one before, up to a point.
      delay: (random, from, to) => {
        const relay = from.startsWith("relay") ? from : to
        return 25 * 2 ** Math.min(4, Number(relay.slice(5))) + random.int(3)
      },
      told: (node, told) => void (told._tag === "Slots" && this.#published.set(node, told.slots)),
      sent: (from, to, message, now) => {
        if (!from.startsWith("node") || !message._tag.startsWith("Ask")) return
        const key = `${from} ${to}`
        const times = (this.#asked.get(key) ?? []).filter((at) => now - at < 60_000)
        times.push(now)
        this.#asked.set(key, times)
      }
    })
    for (const relay of this.relays) this.startRelay(relay)
    for (const node of this.nodes) this.startNode(node)
  }

  get now(): number {
    return this.#simulation.now
  }

  startRelay(name: string): void {
    if (this.#silentUntil.has(name)) this.#silentUntil.set(name, this.now + STALE_MS.silent)
    if (this.#simulation.isAlive(name)) return
    const terms = this.#terms.relays[Number(name.slice(5))]!
    this.#simulation.add(name, { role: "relay", name, terms, slots: new Map() })
  }

  startNode(name: string): void {
    if (this.#simulation.isAlive(name)) return
    this.#published.set(name, [])
    const inner = Reservations.make(this.relays, fromSeed(this.#terms.seed + this.#lives++).next, this.#terms.slots)
    this.#simulation.add(name, { role: "node", inner })
    this.#simulation.command(name, "Start")
  }

  kill(name: string, what: "process" | "machine"): void {
    if (what === "machine") this.#silentUntil.set(name, Number.POSITIVE_INFINITY)
    this.#simulation.kill(name, what)
    if (name.startsWith("node")) this.#published.set(name, [])
  }

  freeze(relay: string, ms: number): void {
    this.#silentUntil.set(relay, this.now + ms + STALE_MS.silent)
    this.#simulation.freeze(relay, ms)
  }

  partition(): void {
    const cut = new Set(this.relays.filter(() => this.random.int(2) === 0))
    for (const relay of cut) this.#silentUntil.set(relay, Number.POSITIVE_INFINITY)
    this.#simulation.partition((name) => (cut.has(name) ? 1 : 0))
  }

  heal(): void {
    for (const relay of this.#silentUntil.keys()) this.#silentUntil.set(relay, this.now + STALE_MS.silent)
    this.#simulation.heal()
  }

  isAlive(name: string): boolean {
    return this.#simulation.isAlive(name)
  }

  published(node: string): ReadonlyArray<string> {
    return (this.#published.get(node) ?? []).map(({ via }) => via)
  }

  health(node: string): ReadonlyArray<Reservations.Health> {
    const state = this.#simulation.state(node)
    return state.role === "node" ? Reservations.health(state.inner) : []
  }

  /** Whether a dialler gets through to the node at this relay. */
  honours(relay: string, node: string): boolean {
    if (!this.#simulation.isAlive(relay)) return false
    const state = this.#simulation.state(relay)
    return state.role === "relay" && (state.slots.get(node) ?? 0) > this.#simulation.now
  }

  /** Slots that relays hold for a node. */
  heldFor(node: string): number {
    return this.relays.filter((relay) => this.honours(relay, node)).length
  }

  /** Requests of a node to a relay within the last minute. */
  asked(node: string, relay: string): number {
    return (this.#asked.get(`${node} ${relay}`) ?? []).filter((at) => this.now - at < 60_000).length
  }

  run(ms: number): void {
    for (let left = ms; left > 0; left -= LOOK_MS) {
      this.#simulation.runFor(Math.min(left, LOOK_MS))
      this.#check()
    }
  }

  #check(): void {
    const slots = this.#terms.slots ?? Reservations.DEFAULT_SLOTS
    for (const node of this.nodes) {
      const published = this.published(node)
      if (published.length > slots) throw new Error(`${node} publishes ${published.join(", ")}, more than ${slots}`)
      for (const relay of this.relays) {
        const key = `${node} ${relay}`
        if (this.asked(node, relay) > MOST_ASKED) {
          throw new Error(`${node} asked ${relay} more than ${MOST_ASKED} times within a minute`)
        }
        // A node that is reachable nowhere goes on saying where it will be first.
        const isNowhere = !published.some((each) => this.honours(each, node))
        if (!published.includes(relay) || this.honours(relay, node) || isNowhere) {
          this.#staleSince.delete(key)
          continue
        }
        const since = this.#staleSince.get(key) ?? this.now
        this.#staleSince.set(key, since)
        const most = this.now < (this.#silentUntil.get(relay) ?? 0) ? STALE_MS.silent : STALE_MS.process
        if (this.now - since > most) {
          throw new Error(
            `at ${this.now} ms ${node} has published a slot at ${relay} for ${this.now - since} ms that is none`
          )
        }
      }
    }
  }

  /** Every node is reachable at as many relays as it may be, and relays hold no more for it. */
  whole(): void {
    const slots = Math.min(this.#terms.slots ?? Reservations.DEFAULT_SLOTS, this.relays.length)
    for (const node of this.nodes) {
      const good = this.published(node).filter((relay) => this.honours(relay, node))
      if (good.length !== slots) {
        throw new Error(
          `at ${this.now} ms ${node} is reachable at ${good.length} relays (${good.join(", ")}), not at ${slots}`
        )
      }
    }
  }
}

/** Faults at random for so many rounds; then all come back, and within `healMs` everything is as it should be. */
export const storm = (world: World, rounds: number, faults: "process" | "all", healMs: number): void => {
  const { random } = world
  world.run(5_000)
  for (let round = 0; round < rounds; round++) {
    const relay = random.pick(world.relays)
    const node = random.pick(world.nodes)
    switch (random.int(faults === "all" ? 8 : 4)) {
      case 0:
      case 1:
        world.kill(relay, "process")
        break
      case 2:
        world.startRelay(relay)
        break
      case 3:
        world.kill(node, "process")
        world.startNode(node)
        break
      case 4:
        world.kill(relay, "machine")
        break
      case 5:
        world.freeze(relay, random.int(20_000))
        break
      case 6:
        world.partition()
        break
      default:
        world.heal()
    }
    world.run(random.int(4_000))
  }
  world.heal()
  for (const relay of world.relays) world.startRelay(relay)
  world.run(healMs)
  world.whole()
}
