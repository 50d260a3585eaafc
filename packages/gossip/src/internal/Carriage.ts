/** Carriage: the messages that a node has carried, so that it carries none twice and has it for who asks. */
import type { Carried } from "../Plumtree.ts"

/** A message with its way: hops from its origin, and when it was published, as far as is known. */
export interface Kept extends Carried {
  readonly round: number
  readonly at: number
}

/** Ids remembered of one origin; beyond it, its own oldest goes. */
export const MAX_IDS_PER_ORIGIN = 4_096
/** Ids remembered of all: some 20 MiB. */
export const MAX_IDS = 131_072
/** Bytes of payload kept of one origin: 16 of the largest messages. */
export const MAX_BYTES_PER_ORIGIN = 1024 * 1024
/** Bytes of payload kept of all. */
export const MAX_BYTES = 16 * 1024 * 1024

interface Entry {
  readonly kept: Kept
  /** Whether the payload is there. */
  isWhole: boolean
}

interface Share {
  /** In the order of coming. */
  readonly ids: Set<string>
  /** Those of them with their payload. */
  readonly whole: Set<string>
  bytes: number
}

/** What is remembered, bounded in all and for each origin. */
export class Carriage {
  readonly #entries = new Map<string, Entry>()
  /** Ids with their payload, oldest first. */
  readonly #whole = new Set<string>()
  readonly #shares = new Map<string, Share>()
  #bytes = 0

  get size(): number {
    return this.#entries.size
  }

  /** Bytes of payload. */
  get bytes(): number {
    return this.#bytes
  }

  has(id: string): boolean {
    return this.#entries.has(id)
  }

  /** The message, as long as its payload is kept. */
  get(id: string): Kept | undefined {
    const entry = this.#entries.get(id)
    return entry?.isWhole === true ? entry.kept : undefined
  }

  /** The latest, at most so many, in the order of coming, and of those what was published after `since`. */
  recent(since: number, most: number): ReadonlyArray<Kept> {
    const found: Array<Kept> = []
    let skip = this.#whole.size - most
    for (const id of this.#whole) {
      if (skip-- > 0) continue
      const { kept } = this.#entries.get(id)!
      if (kept.at >= since) found.push(kept)
    }
    return found
  }

  add(kept: Kept): void {
    if (this.#entries.has(kept.id)) return
    this.#entries.set(kept.id, { kept, isWhole: true })
    this.#whole.add(kept.id)
    this.#bytes += kept.payload.length
    let share = this.#shares.get(kept.origin)
    if (share === undefined) {
      share = { ids: new Set(), whole: new Set(), bytes: 0 }
      this.#shares.set(kept.origin, share)
    }
    share.ids.add(kept.id)
    share.whole.add(kept.id)
    share.bytes += kept.payload.length
    while (share.ids.size > MAX_IDS_PER_ORIGIN) this.#forget(first(share.ids))
    while (this.#entries.size > MAX_IDS) this.#forget(first(this.#entries))
    while (share.bytes > MAX_BYTES_PER_ORIGIN) this.#empty(first(share.whole))
    while (this.#bytes > MAX_BYTES) this.#empty(first(this.#whole))
  }

  /** Drops payloads that were published before one time, and ids that were before another; what came behind a younger one waits for it. */
  expire(payloadsBefore: number, idsBefore: number): void {
    for (const id of this.#whole) {
      if (this.#entries.get(id)!.kept.at >= payloadsBefore) break
      this.#empty(id)
    }
    for (const [id, { kept }] of this.#entries) {
      if (kept.at >= idsBefore) break
      this.#forget(id)
    }
  }

  #empty(id: string): void {
    const entry = this.#entries.get(id)!
    if (!entry.isWhole) return
    const { origin, payload } = entry.kept
    this.#bytes -= payload.length
    const share = this.#shares.get(origin)!
    share.bytes -= payload.length
    share.whole.delete(id)
    this.#whole.delete(id)
    this.#entries.set(id, { kept: { ...entry.kept, payload: NOTHING }, isWhole: false })
  }

  #forget(id: string): void {
    this.#empty(id)
    const { origin } = this.#entries.get(id)!.kept
    this.#entries.delete(id)
    const share = this.#shares.get(origin)!
    share.ids.delete(id)
    if (share.ids.size === 0) this.#shares.delete(origin)
  }
}

const NOTHING = new Uint8Array(0)

const first = (ids: Set<string> | Map<string, unknown>): string => ids.keys().next().value!
