/**
 * EventStream: what has happened in the registry, to any number of readers, from any cursor on, in order, without a gap and without
 * a repeat.
 *
 * The last events stand in one ring that all readers share; what is older is read from the store, a small page at a time. A
 * reader is a position, not a queue: one that is slow costs nothing while it is slow, and falls back to the store when the
 * ring has moved on. Where retention took what a reader asks for, it is told of a gap, and goes on behind it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import type { Event, EventType, Fact } from "./Event.ts"
import * as PublicEvent from "./PublicEvent.ts"
import { Store, type StoreError } from "./Store.ts"

/** Most events that the ring holds: a minute of a busy registry. */
export const RING_EVENTS = 8_192
/** Most JSON that the ring holds, in characters. */
export const RING_CHARACTERS = 16 * 1_048_576
/** Most events that a reader takes at once. */
export const PAGE_EVENTS = 256
/** Most JSON that a reader takes at once, in characters; one event is taken however long it is. */
export const PAGE_CHARACTERS = 131_072
/** Readers that read from the store at the same time: the rest waits its turn, so that catching up leaves room for work. */
export const STORE_READERS = 4

/** What a reader wants. */
export interface Wanted {
  /** What came after it; absent: what comes from now on. */
  readonly cursor?: number
  /** Only these; absent: all. A gap is always told. */
  readonly types?: ReadonlyArray<EventType>
  /** Only what concerns this agent. */
  readonly agent?: string
}

/** An event, ready to be sent; `fact` is absent for a gap. */
export interface Told {
  readonly cursor: number
  readonly type: PublicEvent.PublicEventType
  /** Its public form. */
  readonly json: string
  readonly fact?: Fact
}

/** Somebody who reads. One `next` at a time. */
export interface Reader {
  /**
   * What comes next; waits for it, at most `patienceMs`, after which it gives nothing. Fails when the store cannot be read: come back
   * with `cursor()`. Not to be interrupted by one who goes on reading: what was taken would be lost.
   */
  readonly next: (patienceMs: number) => Effect.Effect<ReadonlyArray<Told>, StoreError>
  /** Everything up to here was given, or is not wanted. */
  readonly cursor: () => number
}

/** What has happened, to any number of readers. */
export class EventStream extends Context.Service<
  EventStream,
  {
    /**
     * Tells what was committed, by this instance or another, in the order of cursors. What was told before is passed over; after a hole
     * the ring begins anew, and readers get the hole's events from the store.
     */
    readonly publish: (events: ReadonlyArray<Event>) => void
    /** The last cursor that was told. */
    readonly last: () => number
    readonly read: (wanted: Wanted) => Effect.Effect<Reader, StoreError>
    /** How many wait for what comes next, and how many events the ring holds. */
    readonly counts: () => { readonly waiting: number; readonly ring: number }
  }
>()("@parley/registry/EventStream") {}

/** The last events. Cursors in it have no hole: the one at index i is `first + i`. */
class Ring {
  first: number
  #events: Array<Told> = []
  #start = 0
  #characters = 0
  readonly #max: number

  constructor(last: number, max: number) {
    this.first = last + 1
    this.#max = max
  }

  get size(): number {
    return this.#events.length - this.#start
  }

  get last(): number {
    return this.first + this.size - 1
  }

  at(cursor: number): Told {
    return this.#events[this.#start + cursor - this.first]!
  }

  add(event: Event): void {
    if (event.cursor <= this.last) return
    if (event.cursor > this.last + 1) {
      this.#events = []
      this.#start = 0
      this.#characters = 0
      this.first = event.cursor
    }
    const told = toldOf(event)
    this.#events.push(told)
    this.#characters += told.json.length
    while (this.size > this.#max || (this.#characters > RING_CHARACTERS && this.size > 1)) {
      this.#characters -= this.#events[this.#start++]!.json.length
      this.first++
    }
    // Moves what is left to the front when half of the array is behind it, so that each event is moved once.
    if (this.#start * 2 > this.#events.length && this.#start > 64) {
      this.#events = this.#events.slice(this.#start)
      this.#start = 0
    }
  }
}

const toldOf = (event: Event): Told => ({
  cursor: event.cursor,
  type: event.fact.type,
  json: PublicEvent.encode(event),
  fact: event.fact
})

/** Bounds that a test makes smaller. */
export interface Options {
  /** Default `RING_EVENTS`. */
  readonly ringEvents?: number
}

/** The stream of events; what was committed before is in the store. */
export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const store = yield* Store
  const clock = yield* Clock.Clock
  const turns = Semaphore.makeUnsafe(STORE_READERS)
  const ring = new Ring((yield* store.bounds).last, options.ringEvents ?? RING_EVENTS)
  const waiting = new Set<() => void>()

  const publish = (events: ReadonlyArray<Event>): void => {
    const before = ring.last
    for (const event of events) ring.add(event)
    if (ring.last === before) return
    const woken = [...waiting]
    waiting.clear()
    for (const wake of woken) wake()
  }

  /** Until something after this cursor was told, or so long. */
  const after = (cursor: number, ms: number): Effect.Effect<boolean> =>
    Effect.callback((resume) => {
      if (ring.last > cursor) return resume(Effect.succeed(true))
      const end = (told: boolean): void => {
        clearTimeout(timer)
        waiting.delete(wake)
        resume(Effect.succeed(told))
      }
      const wake = (): void => end(true)
      const timer = setTimeout(end, ms, false)
      waiting.add(wake)
      return Effect.sync(() => {
        clearTimeout(timer)
        waiting.delete(wake)
      })
    })

  const read = Effect.fnUntraced(function* (wanted: Wanted) {
    let position = wanted.cursor ?? ring.last
    let ahead: Told | undefined
    if (position > ring.last) {
      // Another instance may have told it; or it is of another database, and means nothing here.
      const { last } = yield* store.bounds
      if (position > last) {
        ahead = gap(position, last)
        position = last
      }
    }
    const types = wanted.types === undefined ? undefined : new Set<string>(wanted.types)
    const wants = ({ fact, type }: Told): boolean =>
      (types === undefined || types.has(type)) &&
      (wanted.agent === undefined || fact === undefined || PublicEvent.concerns(fact, wanted.agent))

    function gap(from: number, to: number): Told {
      return { cursor: to, type: "gap", json: PublicEvent.encodeGap(from, to, clock.currentTimeMillisUnsafe()) }
    }

    const take = (found: Array<Told>, told: Told, characters: number): boolean => {
      if (found.length >= PAGE_EVENTS || (found.length > 0 && characters + told.json.length > PAGE_CHARACTERS)) {
        return false
      }
      found.push(told)
      return true
    }

    const fromRing = (): ReadonlyArray<Told> => {
      const found: Array<Told> = []
      let characters = 0
      while (position < ring.last) {
        const told = ring.at(position + 1)
        if (wants(told)) {
          if (!take(found, told, characters)) break
          characters += told.json.length
        }
        position++
      }
      return found
    }

    const behindGap = (error: StoreError): Effect.Effect<ReadonlyArray<Told>, StoreError> =>
      error.code !== "Corrupt"
        ? Effect.fail(error)
        : Effect.flatMap(store.bounds, ({ first, last }) => {
            const to = Math.max(first, 1) - 1
            // An empty log has kept nothing of what was told.
            const behind = last < position ? last : to
            if (behind <= position && last >= position) return Effect.fail(error)
            const told = gap(position, behind)
            position = behind
            return Effect.succeed([told])
          })

    const fromStore: Effect.Effect<ReadonlyArray<Told>, StoreError> = Effect.suspend(() => {
      // Whatever is told by now is in the store, so that a page that is not full reaches at least that far.
      const told = ring.last
      return Effect.flatMap(store.eventsAfter(position, PAGE_EVENTS, wanted.types), (events) =>
        Effect.sync(() => {
          const found: Array<Told> = []
          let characters = 0
          for (const event of events) {
            const each = toldOf(event)
            if (wants(each)) {
              if (!take(found, each, characters)) return found
              characters += each.json.length
            }
            position = event.cursor
          }
          if (events.length < PAGE_EVENTS) position = Math.max(position, told)
          return found
        })
      )
    }).pipe(Effect.catch(behindGap), turns.withPermits(1))

    const next = (patienceMs: number): Effect.Effect<ReadonlyArray<Told>, StoreError> =>
      Effect.gen(function* () {
        if (ahead !== undefined) {
          const told = ahead
          ahead = undefined
          return [told]
        }
        while (true) {
          const found = position >= ring.first - 1 ? fromRing() : yield* fromStore
          if (found.length > 0) return found
          if (!(yield* after(position, patienceMs))) return []
        }
      })
    return { next, cursor: () => position } satisfies Reader
  })

  return EventStream.of({
    publish,
    last: () => ring.last,
    read,
    counts: () => ({ waiting: waiting.size, ring: ring.size })
  })
})

/** The stream of events. */
export const layer: Layer.Layer<EventStream, StoreError, Store> = Layer.effect(EventStream, make())
