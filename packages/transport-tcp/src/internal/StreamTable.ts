/**
 * The streams of a session by their ids: open addressing in one array, which adding and removing leave as it is.
 *
 * A `Map` is no place for entries that live for one round trip. Each time its deleted entries are cleared out it gets a new
 * table, which the old one points to; once an old table has grown old, a collector of young objects takes all that came after
 * it for reachable: every stream, its handler and its task, until the next full collection.
 */
import { randomInt } from "node:crypto"

const FIRST_SLOTS = 16
const FIRST_SHIFT = 28
/** A table of more slots is let go of when it is empty: a peer that once had thousands of streams leaves no large one behind. */
const KEPT_SLOTS = 256

/** Ids come from peers: a multiplier that they do not know keeps them from choosing ids that fall on one slot. */
const multiplier = randomInt(2 ** 31) * 2 + 1

/** At most half full. It keeps the room of its busiest time until it is empty. */
export class StreamTable<S extends { readonly id: number }> {
  size = 0
  #slots: Array<S | undefined> = Array.from<S | undefined>({ length: FIRST_SLOTS })
  #shift = FIRST_SHIFT

  get(id: number): S | undefined {
    const slots = this.#slots
    const mask = slots.length - 1
    let at = Math.imul(id, multiplier) >>> this.#shift
    let found = slots[at]
    while (found !== undefined && found.id !== id) {
      at = (at + 1) & mask
      found = slots[at]
    }
    return found
  }

  /** Adds a stream whose id is not there yet. */
  add(stream: S): void {
    if (2 * (this.size + 1) > this.#slots.length) this.#grow()
    this.#place(stream)
    this.size += 1
  }

  delete(id: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = Math.imul(id, multiplier) >>> this.#shift
    while (slots[hole]?.id !== id) {
      if (slots[hole] === undefined) return
      hole = (hole + 1) & mask
    }
    // Whatever was put further on because this slot was taken moves back.
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = slots[at]
      if (next === undefined) break
      const home = Math.imul(next.id, multiplier) >>> this.#shift
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      slots[hole] = next
      hole = at
    }
    slots[hole] = undefined
    this.size -= 1
    if (this.size === 0 && slots.length > KEPT_SLOTS) this.clear()
  }

  /** Slots there are. */
  get room(): number {
    return this.#slots.length
  }

  /** All of them, in no order. */
  values(): Array<S> {
    return this.#slots.filter((stream) => stream !== undefined)
  }

  clear(): void {
    this.#slots = Array.from<S | undefined>({ length: FIRST_SLOTS })
    this.#shift = FIRST_SHIFT
    this.size = 0
  }

  #place(stream: S): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let at = Math.imul(stream.id, multiplier) >>> this.#shift
    while (slots[at] !== undefined) at = (at + 1) & mask
    slots[at] = stream
  }

  #grow(): void {
    const all = this.values()
    this.#slots = Array.from<S | undefined>({ length: 2 * this.#slots.length })
    this.#shift -= 1
    for (const stream of all) this.#place(stream)
  }
}
