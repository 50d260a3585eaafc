/**
 * Who is next: tasks that wait for a place, and how many places each caller has, so that one with a thousand tasks does not hold
 * up another with one, however long they take.
 *
 * The next place goes to whoever has the fewest; those who have as many take turns. A caller may have sixteen places for each
 * that is free (the dynamic threshold of shared-memory switches: Choudhury and Hahne, 1998), so that of many places some are left
 * for whoever comes next. A task that runs is never interrupted for another caller's.
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

/**
 * Places that one caller may have for each that is free: one alone has all of up to sixteen, and sixteen of seventeen of more.
 * A larger part would be idle where one caller has work for all; of a few places, none can be spared.
 */
export const PLACES_PER_FREE = 16

interface Line {
  readonly works: Array<Work>
  bytes: number
  /** Places that its caller has. */
  places: number
}

const bytesOf = (work: Work): number => work.request.body.length

/** A bounded queue with a line for each caller. */
export class FairQueue {
  /** Of those who have a task that waits, or a place. */
  readonly #lines = new Map<NodeId, Line>()
  /** Those with tasks that wait, by the places that they have; whose turn it is comes first. */
  readonly #turns: Array<Set<Line>> = []
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
    return this.#length > (this.#lines.get(caller)?.works.length ?? 0)
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

  /** Whether a caller may have one more place where so many are free. */
  lets(caller: NodeId, free: number): boolean {
    return (this.#lines.get(caller)?.places ?? 0) < free * PLACES_PER_FREE
  }

  /** A caller has one place more. */
  took(caller: NodeId): void {
    this.#has(this.#line(caller), 1)
  }

  /** A caller has one place less. */
  gaveBack(caller: NodeId): void {
    const line = this.#line(caller)
    this.#has(line, -1)
    this.#tidy(caller, line)
  }

  push(work: Work): void {
    const line = this.#line(work.task.caller)
    line.works.push(work)
    if (line.works.length === 1) this.#turnsOf(line).add(line)
    this.#count(line, 1, bytesOf(work))
  }

  /** The next task where so many places are free; its caller's turn is then last. */
  shift(free: number): Work | undefined {
    const most = Math.min(free * PLACES_PER_FREE, this.#turns.length)
    for (let places = 0; places < most; places++) {
      for (const line of this.#turns[places] ?? []) {
        const work = line.works[0]!
        this.remove(work)
        // Last, where more of its caller's wait.
        if (this.#turns[places]!.delete(line)) this.#turns[places]!.add(line)
        return work
      }
    }
    return undefined
  }

  remove(work: Work): void {
    const { caller } = work.task
    const line = this.#lines.get(caller)
    const at = line?.works.indexOf(work) ?? -1
    if (line === undefined || at < 0) return
    line.works.splice(at, 1)
    this.#count(line, -1, -bytesOf(work))
    if (line.works.length === 0) this.#turnsOf(line).delete(line)
    this.#tidy(caller, line)
  }

  #line(caller: NodeId): Line {
    let line = this.#lines.get(caller)
    if (line === undefined) {
      line = { works: [], bytes: 0, places: 0 }
      this.#lines.set(caller, line)
    }
    return line
  }

  #turnsOf({ places }: Line): Set<Line> {
    return (this.#turns[places] ??= new Set())
  }

  #has(line: Line, more: 1 | -1): void {
    const waits = line.works.length > 0
    if (waits) this.#turnsOf(line).delete(line)
    line.places += more
    if (waits) this.#turnsOf(line).add(line)
  }

  #tidy(caller: NodeId, line: Line): void {
    if (line.works.length === 0 && line.places === 0) this.#lines.delete(caller)
  }

  #count(line: Line, tasks: number, bytes: number): void {
    line.bytes += bytes
    this.#length += tasks
    this.#bytes += bytes
  }
}
