/**
 * Budget: the memory that all sessions of a node may hold for their peers, together.
 *
 * A session may hold a quarter of what is free. One alone gets all it may ever want; a thousand greedy ones get half a megabyte
 * each, and whoever comes then still finds room (the dynamic threshold of shared-memory switches: Choudhury and Hahne, 1998).
 */
import type { SessionLimits } from "../Limits.ts"

/** What every session may hold whatever the others do: half a window. */
export const GUARANTEED_BYTES = 256 * 1024
const SHARE = 4

/** What the sessions of a node hold. */
export class Budget {
  readonly total: number
  /** Bytes held by all sessions. */
  used = 0

  constructor(total: number) {
    this.total = total
  }
}

/** What one session holds. */
export class Holding {
  readonly #budget: Budget
  readonly #limits: Pick<SessionLimits, "maxQueuedBytes" | "maxReassemblyBytes">
  #queued = 0
  #reassembly = 0

  constructor(budget: Budget, limits: Pick<SessionLimits, "maxQueuedBytes" | "maxReassemblyBytes">) {
    this.#budget = budget
    this.#limits = limits
  }

  /** Bytes that streams have queued. */
  get waiting(): number {
    return this.#queued
  }

  /** Counts what streams have queued, or given back; false when that is more than allowed. */
  queued(bytes: number): boolean {
    this.#queued += bytes
    this.#budget.used += bytes
    return this.#queued <= this.#limits.maxQueuedBytes && this.#isWithinShare()
  }

  /** Counts buffers of messages that are not whole; false, and not counted, when that would be more than allowed. */
  reassembling(bytes: number): boolean {
    if (this.#reassembly + bytes > this.#limits.maxReassemblyBytes) return false
    this.#reassembly += bytes
    this.#budget.used += bytes
    if (bytes <= 0 || this.#isWithinShare()) return true
    this.#reassembly -= bytes
    this.#budget.used -= bytes
    return false
  }

  #isWithinShare(): boolean {
    const held = this.#queued + this.#reassembly
    return held <= GUARANTEED_BYTES || held <= (this.#budget.total - this.#budget.used) / SHARE
  }
}
