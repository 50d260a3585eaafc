/**
 * AddressBook: where nodes may be reached, as others say. Hints, each tried only when somebody must be reached whose own record
 * is not known, and believed once whoever answers has proven the key.
 */
import type { NodeId } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import { Recent } from "./Recent.ts"

/** Nodes whose addresses are kept; past it the one longest not told of goes. */
export const MAX_NODES = 16_384
/** Addresses kept of each, its own and told ones apart. */
export const MAX_ADDRESSES = 8

interface Entry {
  /** What the node itself said, over a connection that proved its key. */
  own: ReadonlyArray<Address>
  /** What others said, the newest first: who has just named a node can best say where it is. */
  told: ReadonlyArray<Address>
}

/** Where nodes may be reached. */
export class AddressBook {
  readonly #nodes = new Recent<NodeId, Entry>(MAX_NODES)

  get size(): number {
    return this.#nodes.size
  }

  get(node: NodeId): ReadonlyArray<Address> {
    const entry = this.#nodes.get(node)
    return entry === undefined ? [] : [...new Set([...entry.own, ...entry.told])]
  }

  /** Notes where a node is, as it says itself or as another one does. */
  add(node: NodeId, addresses: ReadonlyArray<Address>, by: "itself" | "another"): void {
    if (addresses.length === 0) return
    const entry = this.#nodes.get(node) ?? { own: [], told: [] }
    if (by === "itself") entry.own = addresses.slice(0, MAX_ADDRESSES)
    else entry.told = [...new Set([...addresses, ...entry.told])].slice(0, MAX_ADDRESSES)
    this.#nodes.set(node, entry)
  }
}
