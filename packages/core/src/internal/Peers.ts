/**
 * What the caller's side knows of each peer besides trust: tasks in flight, circuits, and how long it asked to be left
 * alone. It is what makes a match's availability.
 */
import type { Breaker } from "../Breaker.ts"
import type { CapabilityRecord } from "../Capability.ts"
import type { Settings } from "../Guardrails.ts"
import type { NodeId } from "../NodeId.ts"

/** What an open circuit leaves of a peer's availability. */
export const OPEN_CIRCUIT_FACTOR = 0.3
/** What a peer that is full has left of it, until the time that it named. */
export const BUSY_FACTOR = 0.2
/** What a peer has left of it that the rest of the mesh holds for dead. They may be wrong, so that it is asked last, but asked. */
export const DOWN_FACTOR = 0.05
/** Peers whose busy word is remembered. */
const MAX_BUSY = 10_000

/** Load and health of peers, as this node has seen them. */
export class Peers {
  readonly #inFlight = new Map<NodeId, number>()
  readonly #busyUntil = new Map<NodeId, number>()
  readonly #breaker: Breaker
  readonly #settings: Settings
  /** Whether a node is held for dead. */
  isDown: ((node: NodeId) => boolean) | undefined

  constructor(breaker: Breaker, settings: Settings) {
    this.#breaker = breaker
    this.#settings = settings
  }

  /** Tasks that this node has in flight at a peer. */
  load(node: NodeId): number {
    return this.#inFlight.get(node) ?? 0
  }
  began(node: NodeId): void {
    this.#inFlight.set(node, this.load(node) + 1)
  }
  ended(node: NodeId): void {
    const left = this.load(node) - 1
    if (left > 0) this.#inFlight.set(node, left)
    else this.#inFlight.delete(node)
  }
  /** The peer said that it is full. */
  busy(node: NodeId, until: number): void {
    this.#busyUntil.set(node, until)
    if (this.#busyUntil.size > MAX_BUSY) this.#busyUntil.clear()
  }

  readonly availability = (node: NodeId, capability: CapabilityRecord): Availability => {
    const load = this.#inFlight.size === 0 ? 0 : this.load(node)
    const places = capability.concurrency ?? this.#settings.concurrency
    const until = this.#busyUntil.size === 0 ? undefined : this.#busyUntil.get(node)
    const full = until !== undefined && until > Date.now()
    const down = this.isDown?.(node) ?? false
    return new Availability(load, places, full, this.#breaker.isOpen(node, capability.name), down)
  }
}

/** How far a peer is free for a task: asked of each match of each call, so that it says why only to who wants to know. */
class Availability {
  /** 0 to 1. */
  readonly value: number
  readonly #load: number
  readonly #places: number
  readonly #full: boolean
  readonly #open: boolean
  readonly #down: boolean

  constructor(load: number, places: number, full: boolean, open: boolean, down: boolean) {
    const free = load === 0 ? 1 : Math.max(0, 1 - load / places)
    this.value = free * (full ? BUSY_FACTOR : 1) * (open ? OPEN_CIRCUIT_FACTOR : 1) * (down ? DOWN_FACTOR : 1)
    this.#down = down
    this.#load = load
    this.#places = places
    this.#full = full
    this.#open = open
  }

  get why(): string {
    const why = this.#full ? "says it is full" : this.#load === 0 ? "idle" : `${this.#load} of ${this.#places} busy`
    const circuit = this.#open ? `${why}, circuit open` : why
    return this.#down ? `${circuit}, held for dead` : circuit
  }
}
