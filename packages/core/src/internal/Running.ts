/** Tasks that run or wait, by caller and id: a table whose chains go through the tasks themselves, so that one more costs no object. */
import type { NodeId } from "../NodeId.ts"
import * as TaskId from "./TaskId.ts"

/** Buckets of the smallest table, as a power of two. */
const LEAST_BITS = 6

/** A task in the table. */
export interface Entry<E> {
  readonly caller: NodeId
  readonly id: TaskId.TaskId
  /** The next one of its bucket; only the table touches it. */
  next: E | undefined
}

/** A table of tasks. */
export class Running<E extends Entry<E>> {
  #buckets: Array<E | undefined> = Array.from({ length: 1 << LEAST_BITS })
  #shift = 32 - LEAST_BITS
  #size = 0

  get size(): number {
    return this.#size
  }

  get(caller: NodeId, id: TaskId.TaskId): E | undefined {
    let entry = this.#buckets[TaskId.hash(id) >>> this.#shift]
    while (entry !== undefined && !(entry.id.same(id) && entry.caller === caller)) entry = entry.next
    return entry
  }

  has(entry: E): boolean {
    return this.get(entry.caller, entry.id) === entry
  }

  /** Adds an entry whose caller and id are not there yet. */
  add(entry: E): void {
    if (this.#size >= this.#buckets.length) this.#resize(33 - this.#shift)
    this.#size += 1
    this.#push(entry)
  }

  /** Whether the entry was there. */
  delete(entry: E): boolean {
    const bucket = TaskId.hash(entry.id) >>> this.#shift
    let before: E | undefined
    let at = this.#buckets[bucket]
    while (at !== undefined && at !== entry) {
      before = at
      at = at.next
    }
    if (at === undefined) return false
    if (before === undefined) this.#buckets[bucket] = entry.next
    else before.next = entry.next
    // An old entry that pointed on to young ones would keep them from the collector.
    entry.next = undefined
    this.#size -= 1
    if (this.#shift < 32 - LEAST_BITS && this.#size * 8 < this.#buckets.length) this.#resize(30 - this.#shift)
    return true
  }

  /** All entries, in no order. */
  list(): Array<E> {
    const all: Array<E> = []
    for (let entry of this.#buckets) for (; entry !== undefined; entry = entry.next) all.push(entry)
    return all
  }

  #push(entry: E): void {
    const bucket = TaskId.hash(entry.id) >>> this.#shift
    entry.next = this.#buckets[bucket]
    this.#buckets[bucket] = entry
  }

  #resize(bits: number): void {
    const all = this.list()
    this.#buckets = Array.from({ length: 1 << bits })
    this.#shift = 32 - bits
    for (const entry of all) this.#push(entry)
  }
}
