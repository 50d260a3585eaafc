/**
 * Tasks that wait for a place: callers take turns, so that one with a thousand tasks does not hold up another with one.
 *
 * One caller may fill the queue. When it is full, a caller with fewer tasks in it takes the place of the last one of whoever
 * has the most.
 */
import type { NodeId } from "../NodeId.ts"
import type { Work } from "./Work.ts"

/** A bounded queue with a line for each caller. */
export class FairQueue {
  /** Whose turn it is comes first. */
  readonly #lines = new Map<NodeId, Array<Work>>()
  readonly limit: number
  #length = 0

  constructor(limit: number) {
    this.limit = limit
  }

  get length(): number {
    return this.#length
  }

  /** How many tasks are served until one that this caller adds now. */
  before(caller: NodeId): number {
    const own = this.#lines.get(caller)?.length ?? 0
    let before = own
    for (const [other, line] of this.#lines) if (other !== caller) before += Math.min(line.length, own + 1)
    return before
  }

  /** The task that gives way to one of this caller: none while there is room, false where nobody has to. */
  displaced(caller: NodeId): Work | undefined | false {
    if (this.#length < this.limit) return undefined
    let longest: Array<Work> = []
    for (const line of this.#lines.values()) if (line.length > longest.length) longest = line
    const own = this.#lines.get(caller)?.length ?? 0
    return longest.length > own + 1 ? (longest.at(-1) ?? false) : false
  }

  push(work: Work): void {
    const { caller } = work.task
    const line = this.#lines.get(caller)
    if (line === undefined) this.#lines.set(caller, [work])
    else line.push(work)
    this.#length += 1
  }

  /** The next task; its caller's turn is then last. */
  shift(): Work | undefined {
    for (const [caller, line] of this.#lines) {
      const work = line.shift()
      this.#lines.delete(caller)
      if (line.length > 0) this.#lines.set(caller, line)
      if (work === undefined) continue
      this.#length -= 1
      return work
    }
    return undefined
  }

  remove(work: Work): void {
    const line = this.#lines.get(work.task.caller)
    const at = line?.indexOf(work) ?? -1
    if (line === undefined || at < 0) return
    line.splice(at, 1)
    if (line.length === 0) this.#lines.delete(work.task.caller)
    this.#length -= 1
  }
}
