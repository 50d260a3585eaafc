/** How many bytes the records of other nodes take, as JSON: a record may have 64 KiB, so that their number alone bounds little. */
import type { AgentRecord } from "../AgentRecord.ts"
import type { NodeId } from "../NodeId.ts"

/** What is held, by node. */
export class HeldRecords {
  readonly #most: number
  readonly #sizes = new Map<NodeId, number>()
  #bytes = 0

  constructor(most: number) {
    this.#most = most
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Counts a record in place of the node's earlier one; false, and not counted, where it would be too much. */
  take(record: AgentRecord): boolean {
    const { node } = record
    const before = this.#sizes.get(node) ?? 0
    const size = JSON.stringify(record).length
    if (size > before && this.#bytes + size - before > this.#most) return false
    this.#sizes.set(node, size)
    this.#bytes += size - before
    return true
  }

  /** Forgets those that are held no more. */
  keep(isHeld: (node: NodeId) => boolean): void {
    for (const [node, size] of this.#sizes) {
      if (isHeld(node)) continue
      this.#sizes.delete(node)
      this.#bytes -= size
    }
  }

  delete(node: NodeId): void {
    this.#bytes -= this.#sizes.get(node) ?? 0
    this.#sizes.delete(node)
  }
}
