/** Ids of payloads that were believed lately, with their origins: what comes again is not looked at again. */
import type { NodeId } from "@parley/core/NodeId"

/** Ids kept: those of some minutes at 50 messages a second. What was forgotten is verified once more. */
export const MAX_BELIEVED = 16_384

/** Ids that were believed lately. */
export class Believed {
  readonly #origins = new Map<string, NodeId>()

  get(id: string): NodeId | undefined {
    return this.#origins.get(id)
  }

  add(id: string, origin: NodeId): void {
    this.#origins.set(id, origin)
    if (this.#origins.size <= MAX_BELIEVED) return
    const oldest = this.#origins.keys().next()
    if (oldest.done !== true) this.#origins.delete(oldest.value)
  }
}
