/**
 * The tails of all streams of a node: of those that run, and for a while of those that have ended, whose last chunks and whose
 * end may have been lost with a connection.
 *
 * They share so many bytes. Whoever holds more than an equal share drops its oldest messages first, so that nobody takes from
 * others what they may need by asking for much.
 */
import type { NodeId } from "../NodeId.ts"
import { Running } from "./Running.ts"
import { type Room, Tail } from "./Tail.ts"
import type { TaskId } from "./TaskId.ts"

/** Ended streams that are remembered, in all and of one caller; the oldest is forgotten first. */
export const MAX_ENDED = { all: 4_096, perCaller: 512 }

/** Tails of a caller that are looked at for one message to drop; the next push goes on with the others. */
const LOOKED_AT = 64
/** Callers that are asked in a row for one message and have none to drop: what did not go out, as nobody reads it, is not dropped. */
const HOLDERS_ASKED = 8

/** The tails of one caller. */
class Holder implements Room {
  readonly caller: NodeId
  /** Has room made where there is too much. */
  readonly #changed: (holder: Holder, bytes: number) => void
  bytes = 0
  /** In the order of who makes room next. */
  readonly tails = new Set<Tail>()
  /** Those that have ended, the oldest first. */
  readonly ended = new Set<Ended>()

  constructor(caller: NodeId, changed: (holder: Holder, bytes: number) => void) {
    this.caller = caller
    this.#changed = changed
  }
  changed(_tail: Tail, bytes: number): void {
    this.#changed(this, bytes)
  }
}

/** A stream that has ended. */
export class Ended {
  readonly caller: NodeId
  readonly id: TaskId
  readonly tail: Tail
  readonly endedAt: number
  next: Ended | undefined

  constructor(caller: NodeId, id: TaskId, tail: Tail, endedAt: number) {
    this.caller = caller
    this.id = id
    this.tail = tail
    this.endedAt = endedAt
  }
}

/** Limits of what is kept. */
export interface Limits {
  readonly bytes: number
  /** How long an ended stream is remembered, in ms. */
  readonly ms: number
}

/** All tails of a node. */
export class Tails {
  readonly #limits: Limits
  readonly #holders = new Map<NodeId, Holder>()
  readonly #ended = new Running<Ended>()
  /** Ended streams of all callers, the oldest first. */
  readonly #byAge = new Set<Ended>()
  #bytes = 0
  #turns: Iterator<Holder> = this.#holders.values()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(limits: Limits) {
    this.#limits = limits
  }

  /** Bytes kept, and streams that have ended. */
  get size(): { readonly bytes: number; readonly ended: number } {
    return { bytes: this.#bytes, ended: this.#ended.size }
  }

  /** A tail for a stream of this caller. */
  open(caller: NodeId): Tail {
    let holder = this.#holders.get(caller)
    if (holder === undefined) this.#holders.set(caller, (holder = new Holder(caller, this.#changed)))
    const tail = new Tail(holder)
    holder.tails.add(tail)
    return tail
  }

  /** Lets go of a tail. */
  close(tail: Tail): void {
    const holder = tail.room
    if (!(holder instanceof Holder) || !holder.tails.delete(tail)) return
    tail.close()
    if (holder.tails.size === 0) this.#holders.delete(holder.caller)
  }

  /** The ended stream of a task; undefined where it is not remembered. */
  get(caller: NodeId, id: TaskId, now: number): Tail | undefined {
    const ended = this.#ended.get(caller, id)
    return ended === undefined || now - ended.endedAt > this.#limits.ms ? undefined : ended.tail
  }

  /** Remembers a stream that has ended. */
  ended(caller: NodeId, id: TaskId, tail: Tail, now: number): void {
    const holder = this.#holders.get(caller)
    if (holder === undefined || tail.isOver || this.#limits.ms <= 0) return this.close(tail)
    const before = this.#ended.get(caller, id)
    if (before !== undefined) this.#forget(before)
    const ended = new Ended(caller, id, tail, now)
    this.#ended.add(ended)
    this.#byAge.add(ended)
    holder.ended.add(ended)
    // Those forgotten last have their holder still: it has this one.
    if (holder.ended.size > MAX_ENDED.perCaller) this.#forget(first(holder.ended)!)
    if (this.#byAge.size > MAX_ENDED.all) this.#forget(first(this.#byAge)!)
    this.#watch()
  }

  /** Forgets all streams that have ended. */
  forget(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const ended of [...this.#byAge]) this.#forget(ended)
  }

  readonly #changed = (own: Holder, bytes: number): void => {
    own.bytes += bytes
    this.#bytes += bytes
    if (bytes <= 0) return
    // Each turn drops a message, or passes over a holder that has none which went out; after the first it is others' turn.
    for (let turns = 0; this.#bytes > this.#limits.bytes && turns < HOLDERS_ASKED;) {
      turns = this.#makeRoom(this.#payer(own, turns === 0)) ? 0 : turns + 1
    }
  }

  /** Who has more than an equal share: this one, where it is asked, or the next that has. */
  #payer(own: Holder, isAsked: boolean): Holder {
    const share = this.#bytes / this.#holders.size
    if (isAsked && own.bytes >= share) return own
    for (let left = this.#holders.size; left >= 0; left--) {
      const next = this.#turns.next()
      if (next.done === true) this.#turns = this.#holders.values()
      else if (next.value.bytes >= share) return next.value
    }
    return own
  }

  /** Drops one message of a holder, and gives whether it had one. */
  #makeRoom(holder: Holder): boolean {
    for (let left = Math.min(holder.tails.size, LOOKED_AT); left > 0; left--) {
      const tail = first(holder.tails)!
      // The next time it is another one's turn.
      holder.tails.delete(tail)
      holder.tails.add(tail)
      if (tail.shed()) return true
    }
    return false
  }

  #forget(ended: Ended): void {
    this.#ended.delete(ended)
    this.#byAge.delete(ended)
    this.#holders.get(ended.caller)?.ended.delete(ended)
    this.close(ended.tail)
  }

  /** Forgets what is too old, with a timer that keeps no program alive. */
  #watch(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const now = Date.now()
      for (const ended of this.#byAge) {
        if (now - ended.endedAt <= this.#limits.ms) break
        this.#forget(ended)
      }
      if (this.#byAge.size > 0) this.#watch()
    }, this.#limits.ms / 4)
    this.#timer.unref()
  }
}

const first = <A>(set: ReadonlySet<A>): A | undefined => set.values().next().value
