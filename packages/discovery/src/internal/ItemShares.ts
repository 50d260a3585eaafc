/** How many items each host has stored at this DHT node: none may fill it for all others. */
import { createHash } from "node:crypto"
import type { Arguments } from "./KrpcMessage.ts"

/** How long a stored item is kept without being renewed, in milliseconds: 2 h, as BEP 44 says. */
export const ITEM_MS = 7_200_000
/** Distinct items that one host may have stored here, within their time. */
export const MAX_ITEMS_OF_HOST = 256
/** Items counted of all hosts: ten times as many as are stored, about 15 MB. Past it, the host that stored longest ago begins anew. */
export const MAX_COUNTED = 100_000

/** Tells items of a host apart, in few bytes. */
const nameOf = ({ k, salt, v }: Arguments): string =>
  createHash("sha1")
    .update(k ?? v ?? "")
    .update(salt ?? "")
    .digest("latin1")

/** Shares of hosts, in memory, bounded. */
export class ItemShares {
  /** In the order of last storing. */
  readonly #byHost = new Map<string, Map<string, number>>()
  #counted = 0

  /** Items counted. */
  get size(): number {
    return this.#counted
  }

  /** Whether a host may store one more, or has this one already. */
  allows(item: Arguments, host: string, now: number): boolean {
    const items = this.#byHost.get(host)
    if (items === undefined || items.size < MAX_ITEMS_OF_HOST || items.has(nameOf(item))) return true
    for (const [name, until] of items) if (until <= now && items.delete(name)) this.#counted--
    return items.size < MAX_ITEMS_OF_HOST
  }

  /** Counts an item against its host. */
  add(item: Arguments, host: string, now: number): void {
    const items = this.#byHost.get(host) ?? new Map<string, number>()
    const before = items.size
    items.set(nameOf(item), now + ITEM_MS)
    this.#counted += items.size - before
    this.#byHost.delete(host)
    this.#byHost.set(host, items)
    if (this.#counted <= MAX_COUNTED) return
    for (const [oldest, { size }] of this.#byHost) {
      this.#byHost.delete(oldest)
      this.#counted -= size
      return
    }
  }
}
