/**
 * What is kept of finished tasks, so that one that comes again is answered without being run again: by caller and task, within
 * a count and a number of bytes, the oldest out first.
 */
import type { NodeId } from "../NodeId.ts"

/** What must be known of anything that is kept. */
interface Sized {
  /** What it counts. */
  readonly bytes: number
}

class Kept<A extends Sized> {
  readonly caller: NodeId
  readonly task: string
  readonly value: A
  next: Kept<A> | undefined

  constructor(caller: NodeId, task: string, value: A) {
    this.caller = caller
    this.task = task
    this.value = value
  }
}

/** Finished tasks, in the order in which they finished. A list, since a `Map` looks for its oldest entry among all it has deleted. */
export class Repeats<A extends Sized> {
  readonly #byCaller = new Map<NodeId, Map<string, Kept<A>>>()
  readonly #entries: number
  readonly #maxBytes: number
  #oldest: Kept<A> | undefined
  #newest: Kept<A> | undefined
  #listed = 0
  /** Listed ones that a later one has taken the place of. */
  #replaced = 0
  #bytes = 0

  constructor(limits: { readonly entries: number; readonly bytes: number }) {
    this.#entries = limits.entries
    this.#maxBytes = limits.bytes
  }

  get(caller: NodeId, task: string): A | undefined {
    return this.#byCaller.get(caller)?.get(task)?.value
  }

  /** Keeps a task in place of what was kept of it. */
  set(caller: NodeId, task: string, value: A): void {
    const kept = new Kept(caller, task, value)
    let tasks = this.#byCaller.get(caller)
    if (tasks === undefined) {
      tasks = new Map()
      this.#byCaller.set(caller, tasks)
    }
    const before = tasks.size
    tasks.set(task, kept)
    if (tasks.size === before) this.#replaced += 1
    if (this.#newest === undefined) this.#oldest = kept
    else this.#newest.next = kept
    this.#newest = kept
    this.#listed += 1
    this.#bytes += value.bytes
    while (this.#oldest !== undefined && (this.#listed > this.#entries || this.#bytes > this.#maxBytes)) {
      this.#drop(this.#oldest)
    }
  }

  /** Drops the oldest. */
  #drop(kept: Kept<A>): void {
    this.#oldest = kept.next
    if (kept.next === undefined) this.#newest = undefined
    this.#listed -= 1
    this.#bytes -= kept.value.bytes
    const tasks = this.#byCaller.get(kept.caller)
    if (tasks === undefined) return
    // Almost never has a task been replaced, and then there is nothing to compare.
    if (this.#replaced > 0 && tasks.get(kept.task) !== kept) {
      this.#replaced -= 1
      return
    }
    tasks.delete(kept.task)
    if (tasks.size === 0) this.#byCaller.delete(kept.caller)
  }
}
