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
/** Peers whose busy word is remembered. */
const MAX_BUSY = 10_000

/** Load and health of peers, as this node has seen them. */
export class Peers {
  readonly #inFlight = new Map<NodeId, number>()
  readonly #busyUntil = new Map<NodeId, number>()
  readonly #breaker: Breaker
  readonly #settings: Settings

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

  readonly availability = (
    node: NodeId,
    capability: CapabilityRecord
  ): { readonly value: number; readonly why: string } => {
    const load = this.#inFlight.size === 0 ? 0 : this.load(node)
    const places = capability.concurrency ?? this.#settings.concurrency
    let value = load === 0 ? 1 : Math.max(0, 1 - load / places)
    let why = load === 0 ? "idle" : `${load} of ${places} busy`
    if (this.#busyUntil.size > 0) {
      const until = this.#busyUntil.get(node)
      if (until !== undefined && until > Date.now()) {
        value *= BUSY_FACTOR
        why = "says it is full"
      }
    }
    if (this.#breaker.isOpen(node, capability.name)) {
      value *= OPEN_CIRCUIT_FACTOR
      why = `${why}, circuit open`
    }
    return { value, why }
  }
}
