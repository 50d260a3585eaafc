/**
 * AntiEntropy: two nodes compare what they hold, and each gets what the other has newer. Broadcast brings news quickly; this brings what
 * broadcast missed, after a partition above all.
 *
 * What is held are items: a key, a version, and a payload that carries its author's signature. The machine believes nothing: an item that
 * comes is told, the layer above checks it, and gives it back with `Put`.
 *
 * An exchange costs one message where both hold the same: the initiator sends a hash for each bucket of keys, salted anew each time so
 * that nobody can prepare items that hide others; where buckets differ, the answer lists the keys and versions of the buckets that differ.
 *
 * Source: A. Demers et al., "Epidemic algorithms for replicated database maintenance", PODC 1987.
 */
import type { Action as MachineAction, Event as MachineEvent, Machine } from "@parley/core/Machine"
import { RateLimit } from "@parley/core/RateLimit"
import { Held } from "./internal/Held.ts"
import { Random } from "./internal/Random.ts"

/** One versioned thing. Immutable, so that it can be held by many. */
export interface Item<Payload> {
  /** A letter for the kind, and the name: `a`, `x` and a NodeId (alive, accused: see Swim), `r` and a NodeId (record or tombstone), `m` and an id (topic message). */
  readonly key: string
  /** The higher one replaces the lower: a record's `seq`, an incarnation, 0 for what never changes. At most 2^53 - 1. */
  readonly version: number
  readonly payload: Payload
  /** What the payload takes on the wire, in bytes. */
  readonly bytes: number
}

/** A key and its version. */
export interface Entry {
  readonly key: string
  readonly version: number
}

/** What nodes say to each other. */
export type Message<Payload> =
  /** Opens an exchange: a 32-bit hash over the entries of each bucket. */
  | { readonly _tag: "Digest"; readonly salt: number; readonly buckets: ReadonlyArray<number> }
  /** What the sender holds in these of the buckets, which differ. */
  | {
      readonly _tag: "Entries"
      readonly salt: number
      readonly of: number
      readonly buckets: ReadonlyArray<number>
      readonly entries: ReadonlyArray<Entry>
    }
  /** News, should you miss them. */
  | { readonly _tag: "Offer"; readonly entries: ReadonlyArray<Entry> }
  /** Send me these. */
  | { readonly _tag: "Want"; readonly keys: ReadonlyArray<string> }
  | { readonly _tag: "Items"; readonly items: ReadonlyArray<Item<Payload>> }

/** The one timer: something is due at this time. */
export type Timer = { readonly _tag: "EntropyWake"; readonly at: number }

export type Command<Payload> =
  /** Holds an item until `now + ttlMs`, unless a newer one is held. `spread`: offers it to the neighbours, `from` aside. */
  | {
      readonly _tag: "Put"
      readonly item: Item<Payload>
      readonly ttlMs: number
      readonly spread: boolean
      readonly from?: string
    }
  /** Holds it no more. */
  | { readonly _tag: "Drop"; readonly key: string }
  /** Counts as held for so long, without its payload: genuine, and of no use here. Never for what did not verify, since it would hide what does. */
  | { readonly _tag: "Ignore"; readonly key: string; readonly version: number; readonly ttlMs: number }
  /** Compares with this peer: one that was met. */
  | { readonly _tag: "Exchange"; readonly peer: string }
  /** The peer is a neighbour in the overlay now, or no more: what is new is compared at once, and news are offered to it. */
  | { readonly _tag: "Beside"; readonly peer: string; readonly beside: boolean }

/** What the layer above hears. */
export type Told<Payload> =
  /** An item newer than what is held. Check it, then `Put` it, or `Ignore` it. */
  { readonly _tag: "Came"; readonly item: Item<Payload>; readonly from: string }

/** Entries of one message: some 40 KiB. */
export const MAX_ENTRIES = 1_024
/** Keys of one request. */
export const MAX_WANT = 512
/** Items of one message, … */
export const MAX_ITEMS = 256
/** … and their bytes, unless it is a single larger one. */
export const MAX_ITEMS_BYTES = 256 * 1024
/** Items wanted at a time; past it more are asked for in a later exchange. */
export const MAX_WANTED = 16_384
/** Peers remembered that offer what another has been asked for. */
export const MAX_OTHERS = 3
/** How long a peer may take to send what it offered, in ms, before another is asked. */
export const ASK_MS = 1_500
/** How long offers wait for others that go the same way, in ms. */
export const OFFER_MS = 50
/** Least time between two exchanges with the same peer that one side opens, in ms: each costs a look at all that is held. */
export const EXCHANGE_MS = 1_000
/** How long an exchange's answers are taken, in ms. */
export const ANSWER_MS = 30_000
/** How often what has expired is let go, in ms. */
export const SWEEP_MS = 30_000
/** Bytes a second that one peer is sent on demand, … */
export const SERVED_PER_SECOND = 1024 * 1024
/** … and at once: all records of a mesh of thousands, for a newcomer. */
export const SERVED_BURST = 16 * 1024 * 1024

type Action<Payload> = MachineAction<Message<Payload>, Timer, Told<Payload>>
type Event<Payload> = MachineEvent<Message<Payload>, Timer, Command<Payload>>

interface Wanted {
  readonly version: number
  from: string
  due: number
  /** Who else offers it. */
  readonly others: Array<string>
}

/** What a node's machine is given. */
export interface Terms {
  readonly self: string
  readonly seed: number
}

/** What a node holds, and what it is waiting for. */
export class State<Payload> {
  readonly self: string
  readonly #random: Random
  readonly #held = new Held<Payload>()
  readonly #beside = new Set<string>()
  /** Exchanges that this node opened, by peer. */
  readonly #opened = new Map<string, { readonly salt: number; readonly at: number }>()
  /** When a peer opened its last one. */
  readonly #answered = new Map<string, number>()
  readonly #wanted = new Map<string, Wanted>()
  readonly #offers = new Map<string, Map<string, number>>()
  readonly #served = new RateLimit(SERVED_PER_SECOND, SERVED_BURST)
  #wantedDue = Number.POSITIVE_INFINITY
  #flushAt = Number.POSITIVE_INFINITY
  #sweepAt = Number.POSITIVE_INFINITY
  #armedAt = Number.POSITIVE_INFINITY
  #now = 0
  #actions: Array<Action<Payload>> = []

  constructor({ seed, self }: Terms) {
    this.self = self
    this.#random = new Random(seed)
  }

  /** How many keys are held, those that are ignored among them. */
  get size(): number {
    return this.#held.size
  }

  /** What is held under a key, and has not expired. */
  get(key: string): Item<Payload> | undefined {
    return this.#held.get(key, this.#now)?.item
  }

  step(event: Event<Payload>): ReadonlyArray<Action<Payload>> {
    const actions: Array<Action<Payload>> = []
    this.#actions = actions
    this.#now = event.now
    if (event.now > this.#armedAt) this.#armedAt = Number.POSITIVE_INFINITY
    switch (event._tag) {
      case "Timer":
        if (event.timer.at === this.#armedAt) this.#armedAt = Number.POSITIVE_INFINITY
        break
      case "Message":
        this.#message(event.from, event.message)
        break
      case "LinkDown":
        this.#opened.delete(event.peer)
        break
      case "Command":
        this.#command(event.command)
        break
      default:
    }
    this.#work()
    return actions
  }

  #command(command: Command<Payload>): void {
    switch (command._tag) {
      case "Put": {
        const { from, item, spread, ttlMs } = command
        if (!this.#held.put(item, this.#now + ttlMs, this.#now)) return
        this.#wanted.delete(item.key)
        this.#sweepAt = Math.min(this.#sweepAt, this.#now + SWEEP_MS)
        if (spread) for (const peer of this.#beside) if (peer !== from) this.#offer(peer, item)
        return
      }
      case "Ignore":
        this.#held.ignore(command, this.#now + command.ttlMs, this.#now)
        this.#wanted.delete(command.key)
        this.#sweepAt = Math.min(this.#sweepAt, this.#now + SWEEP_MS)
        return
      case "Drop":
        return this.#held.delete(command.key)
      case "Exchange":
        return this.#exchange(command.peer)
      case "Beside":
        if (!command.beside) {
          this.#beside.delete(command.peer)
          this.#offers.delete(command.peer)
          return
        }
        if (this.#beside.has(command.peer)) return
        this.#beside.add(command.peer)
        // One of the two opens it.
        if (this.self < command.peer) this.#exchange(command.peer)
    }
  }

  #message(from: string, message: Message<Payload>): void {
    switch (message._tag) {
      case "Digest":
        return this.#answer(from, message.salt, message.buckets)
      case "Entries": {
        const opened = this.#opened.get(from)
        if (opened?.salt !== message.salt || this.#now > opened.at + ANSWER_MS) return
        this.#want(from, message.entries.slice(0, MAX_ENTRIES))
        return this.#give(from, this.#held.missing(message, this.#now))
      }
      case "Offer":
        return this.#want(from, message.entries.slice(0, MAX_ENTRIES))
      case "Want": {
        const items: Array<Item<Payload>> = []
        for (const key of message.keys.slice(0, MAX_WANT)) {
          const item = this.#held.get(key, this.#now)?.item
          if (item !== undefined) items.push(item)
        }
        return this.#give(from, items)
      }
      case "Items":
        for (const item of message.items.slice(0, MAX_ITEMS)) this.#came(from, item)
    }
  }

  #exchange(peer: string): void {
    const last = this.#opened.get(peer)
    if (peer === this.self || (last !== undefined && this.#now < last.at + EXCHANGE_MS)) return
    const salt = this.#random.int(0x1_0000_0000)
    this.#opened.set(peer, { salt, at: this.#now })
    this.#sweepAt = Math.min(this.#sweepAt, this.#now + SWEEP_MS)
    this.#send(peer, { _tag: "Digest", salt, buckets: this.#held.digest(salt, this.#held.buckets, this.#now) })
  }

  #answer(peer: string, salt: number, theirs: ReadonlyArray<number>): void {
    const of = theirs.length
    if (!this.#held.isCount(of) || this.#now < (this.#answered.get(peer) ?? Number.NEGATIVE_INFINITY) + EXCHANGE_MS)
      return
    this.#answered.set(peer, this.#now)
    this.#sweepAt = Math.min(this.#sweepAt, this.#now + SWEEP_MS)
    const own = this.#held.digest(salt, of, this.#now)
    const differing = new Map<number, Array<Entry>>()
    for (let i = 0; i < of; i++) if (own[i] !== theirs[i]) differing.set(i, [])
    if (differing.size === 0) return
    this.#held.list(differing, of, this.#now)
    let buckets: Array<number> = []
    let entries: Array<Entry> = []
    const flush = (): void => {
      if (buckets.length > 0) this.#send(peer, { _tag: "Entries", salt, of, buckets, entries })
      buckets = []
      entries = []
    }
    for (const [bucket, held] of differing) {
      if (held.length > MAX_ENTRIES) {
        // Too many for one message, so that what is not listed says nothing: they are offers.
        for (let i = 0; i < held.length; i += MAX_ENTRIES)
          this.#send(peer, { _tag: "Offer", entries: held.slice(i, i + MAX_ENTRIES) })
        continue
      }
      if (entries.length + held.length > MAX_ENTRIES) flush()
      buckets.push(bucket)
      entries.push(...held)
    }
    flush()
  }

  /** Asks for what is newer than what is held, of one peer at a time. */
  #want(peer: string, entries: ReadonlyArray<Entry>): void {
    const keys: Array<string> = []
    for (const { key, version } of entries) {
      if (this.#held.version(key, this.#now) >= version) continue
      const wanted = this.#wanted.get(key)
      if (wanted !== undefined) {
        if (wanted.from !== peer && wanted.others.length < MAX_OTHERS && !wanted.others.includes(peer))
          wanted.others.push(peer)
        continue
      }
      if (this.#wanted.size >= MAX_WANTED) break
      this.#wanted.set(key, { version, from: peer, due: this.#now + ASK_MS, others: [] })
      this.#wantedDue = Math.min(this.#wantedDue, this.#now + ASK_MS)
      keys.push(key)
    }
    this.#ask(peer, keys)
  }

  #ask(peer: string, keys: ReadonlyArray<string>): void {
    for (let i = 0; i < keys.length; i += MAX_WANT)
      this.#send(peer, { _tag: "Want", keys: keys.slice(i, i + MAX_WANT) })
  }

  #give(peer: string, items: ReadonlyArray<Item<Payload>>): void {
    let batch: Array<Item<Payload>> = []
    let bytes = 0
    const flush = (): void => {
      if (batch.length > 0) this.#send(peer, { _tag: "Items", items: batch })
      batch = []
      bytes = 0
    }
    for (const item of items) {
      if (!this.#served.spend(peer, item.bytes, this.#now)) break
      if (batch.length >= MAX_ITEMS || bytes + item.bytes > MAX_ITEMS_BYTES) flush()
      batch.push(item)
      bytes += item.bytes
    }
    flush()
  }

  #came(from: string, item: Item<Payload>): void {
    const wanted = this.#wanted.get(item.key)
    if (wanted?.from === from) {
      this.#wanted.delete(item.key)
      // What it sent is less than it promised, or does not verify: the others may do better.
      if (wanted.others.length > 0) this.#pass(item.key, wanted)
    }
    if (this.#held.version(item.key, this.#now) < item.version)
      this.#actions.push({ _tag: "Tell", told: { _tag: "Came", item, from } })
  }

  /** Asks the next one who offers it, later on: `Put` of the item ends that. */
  #pass(key: string, wanted: Wanted): void {
    this.#wanted.set(key, wanted)
    wanted.from = ""
  }

  #offer(peer: string, { key, version }: Entry): void {
    const waiting = this.#offers.get(peer)
    if (waiting === undefined) this.#offers.set(peer, new Map([[key, version]]))
    else waiting.set(key, version)
    this.#flushAt = Math.min(this.#flushAt, this.#now + OFFER_MS)
  }

  #work(): void {
    const now = this.#now
    if (now >= this.#flushAt) {
      this.#flushAt = Number.POSITIVE_INFINITY
      for (const [peer, waiting] of this.#offers) {
        const entries = Array.from(waiting, ([key, version]) => ({ key, version }))
        for (let i = 0; i < entries.length; i += MAX_ENTRIES)
          this.#send(peer, { _tag: "Offer", entries: entries.slice(i, i + MAX_ENTRIES) })
      }
      this.#offers.clear()
    }
    if (now >= this.#wantedDue) this.#askOthers()
    if (now >= this.#sweepAt) this.#sweep()
    const next = Math.min(this.#flushAt, this.#wantedDue, this.#sweepAt)
    // A timer rounds up to whole ms: one that comes within the next serves.
    if (next > this.#armedAt - 1 || next === Number.POSITIVE_INFINITY) return
    const ms = Math.max(1, Math.ceil(next - now))
    this.#armedAt = now + ms
    this.#actions.push({ _tag: "After", ms, timer: { _tag: "EntropyWake", at: this.#armedAt } })
  }

  /** What has not come in time is asked of the next who offered it. */
  #askOthers(): void {
    let next = Number.POSITIVE_INFINITY
    const asked = new Map<string, Array<string>>()
    for (const [key, wanted] of this.#wanted) {
      if (this.#now >= wanted.due) {
        const other = wanted.others.shift()
        if (other === undefined) {
          this.#wanted.delete(key)
          continue
        }
        wanted.from = other
        wanted.due = this.#now + ASK_MS
        const keys = asked.get(other)
        if (keys === undefined) asked.set(other, [key])
        else keys.push(key)
      }
      next = Math.min(next, wanted.due)
    }
    this.#wantedDue = next
    for (const [peer, keys] of asked) this.#ask(peer, keys)
  }

  #sweep(): void {
    this.#held.sweep(this.#now)
    for (const [peer, { at }] of this.#opened) if (this.#now > at + ANSWER_MS) this.#opened.delete(peer)
    for (const [peer, at] of this.#answered) if (this.#now > at + EXCHANGE_MS) this.#answered.delete(peer)
    const isIdle = this.#held.size === 0 && this.#opened.size === 0 && this.#answered.size === 0
    this.#sweepAt = isIdle ? Number.POSITIVE_INFINITY : this.#now + SWEEP_MS
  }

  #send(to: string, message: Message<Payload>): void {
    this.#actions.push({ _tag: "Send", to, message })
  }
}

/** A node that holds nothing yet. */
export const make = <Payload>(terms: Terms): State<Payload> => new State(terms)

/** The machine for payloads of this type. */
export const machine = <Payload>(): Machine<
  State<Payload>,
  Message<Payload>,
  Timer,
  Command<Payload>,
  Told<Payload>
> => ({ step: (state, event) => [state, state.step(event)] })
