/**
 * Tasks that wait for a place: callers take turns, so that one with a thousand tasks does not hold up another with one.
 *
 * One caller may fill the queue. When it is full, a caller with fewer tasks in it takes the place of the last one of whoever
 * has the most. Inputs that wait are bounded by bytes too, and by caller, so that none can take all of that room.
 */
import type { NodeId } from "../NodeId.ts"
import type { Work } from "./Work.ts"

/** Most bytes of inputs that wait for places of one capability, as JSON: a few dozen of the largest. */
export const MAX_WAITING_BYTES = 256 * 1024 * 1024
/** One caller's inputs take at most this part of the bytes that are free, so that the next one finds some. */
const SHARE = 4
/** So many bytes a caller may always have waiting. `limit` bounds the callers, and with that what they have beyond the rest. */
const ALWAYS_BYTES = 65_536

interface Line {
  readonly works: Array<Work>
  bytes: number
}

const bytesOf = (work: Work): number => work.request.body.length

/** A bounded queue with a line for each caller. */
export class FairQueue {
  /** Whose turn it is comes first. */
  readonly #lines = new Map<NodeId, Line>()
  readonly limit: number
  #length = 0
  #bytes = 0

  constructor(limit: number) {
    this.limit = limit
  }

  get length(): number {
    return this.#length
  }

  /** Whether anybody waits but this caller. */
  hasOther(caller: NodeId): boolean {
    return this.#lines.size > (this.#lines.has(caller) ? 1 : 0)
  }

  /** How many tasks are served until one that this caller adds now. */
  before(caller: NodeId): number {
    const own = this.#lines.get(caller)?.works.length ?? 0
    let before = own
    for (const [other, { works }] of this.#lines) if (other !== caller) before += Math.min(works.length, own + 1)
    return before
  }

  /** Whether so many bytes more of this caller may wait. */
  fits(caller: NodeId, bytes: number): boolean {
    const wanted = (this.#lines.get(caller)?.bytes ?? 0) + bytes
    return wanted <= ALWAYS_BYTES || wanted <= (MAX_WAITING_BYTES - this.#bytes) / SHARE
  }

  /** The task that gives way to one of this caller: none while there is room, false where nobody has to. */
  displaced(caller: NodeId): Work | undefined | false {
    if (this.#length < this.limit) return undefined
    let longest: ReadonlyArray<Work> = []
    for (const { works } of this.#lines.values()) if (works.length > longest.length) longest = works
    const own = this.#lines.get(caller)?.works.length ?? 0
    return longest.length > own + 1 ? (longest.at(-1) ?? false) : false
  }

  push(work: Work): void {
    const { caller } = work.task
    let line = this.#lines.get(caller)
    if (line === undefined) {
      line = { works: [], bytes: 0 }
      this.#lines.set(caller, line)
    }
    line.works.push(work)
    this.#count(line, 1, bytesOf(work))
  }

  /** The next task; its caller's turn is then last. */
  shift(): Work | undefined {
    for (const [caller, line] of this.#lines) {
      const work = line.works.shift()
      this.#lines.delete(caller)
      if (line.works.length > 0) this.#lines.set(caller, line)
      if (work === undefined) continue
      this.#count(line, -1, -bytesOf(work))
      return work
    }
    return undefined
  }

  remove(work: Work): void {
    const line = this.#lines.get(work.task.caller)
    const at = line?.works.indexOf(work) ?? -1
    if (line === undefined || at < 0) return
    line.works.splice(at, 1)
    if (line.works.length === 0) this.#lines.delete(work.task.caller)
    this.#count(line, -1, -bytesOf(work))
  }

  #count(line: Line, tasks: number, bytes: number): void {
    line.bytes += bytes
    this.#length += tasks
    this.#bytes += bytes
  }
}
