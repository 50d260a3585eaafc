/**
 * Records: the newest record of every node that gossip has told of, goodbyes included.
 *
 * A goodbye is kept for as long as an older record of its node could still be alive, so that a record which comes late, or is
 * replayed, does not bring the node back. What is held is bounded by count and bytes: where it is full, who is known stays
 * and newcomers wait until something has expired, so that nobody can crowd out the rest with keys made for it.
 */
import * as AgentRecord from "@parley/core/AgentRecord"
import type { NodeId } from "@parley/core/NodeId"

/** Records held, goodbyes included: twice a mesh of 10,000 nodes. */
export const MAX_RECORDS = 20_000
/** Their size in all, as they are carried: twice 10,000 records of ordinary size, with room for a thousand of the largest. */
export const MAX_BYTES = 96 * 1024 * 1024

interface Entry {
  readonly record: AgentRecord.AgentRecord
  readonly size: number
}

/** What became of a record. */
export type Outcome = "new" | "known" | "full"

/** When a record stops to count; a goodbye does once no older record can be alive. */
export const countsUntil = (record: AgentRecord.AgentRecord): number =>
  AgentRecord.isTombstone(record) ? record.issuedAt + AgentRecord.MAX_LIFETIME : record.expiresAt

/** The newest records of all nodes. */
export class Records {
  readonly #entries = new Map<NodeId, Entry>()
  #bytes = 0

  get size(): number {
    return this.#entries.size
  }
  get bytes(): number {
    return this.#bytes
  }

  get(node: NodeId): AgentRecord.AgentRecord | undefined {
    return this.#entries.get(node)?.record
  }

  /** Records of nodes that have not said goodbye, and whose time is not over. */
  *live(now: number): Iterable<AgentRecord.AgentRecord> {
    for (const { record } of this.#entries.values()) if (record.expiresAt > now) yield record
  }

  /** Takes a verified record in. `size`: the bytes in which it was carried. */
  put(record: AgentRecord.AgentRecord, size: number, now: number): Outcome {
    const { node } = record
    const known = this.#entries.get(node)
    if (known !== undefined && record.seq <= known.record.seq) return "known"
    const fits = (): boolean =>
      (known !== undefined || this.#entries.size < MAX_RECORDS) && this.#bytes + size - (known?.size ?? 0) <= MAX_BYTES
    if (!fits()) {
      this.prune(now)
      if (!fits()) return "full"
    }
    this.#bytes += size - (known?.size ?? 0)
    this.#entries.delete(node)
    this.#entries.set(node, { record, size })
    return "new"
  }

  /** Lets go of records that nobody would believe any more. */
  prune(now: number): void {
    for (const [node, { record, size }] of this.#entries) {
      if (countsUntil(record) > now) continue
      this.#entries.delete(node)
      this.#bytes -= size
    }
  }
}
