/**
 * Ordering: hands the messages of each publisher on each topic to its subscribers once, and in the order of publishing,
 * however they come.
 *
 * A message that is early waits for those before it, at most `GAP_MS`; then what has not come is passed over, since it may
 * never come. Of a publisher that began after its listener all is waited for; of one that was there before, the first that is heard
 * waits `SETTLE_MS` for those that it may have overtaken. An older epoch than one heard, and a number that has been passed, say
 * nothing any more.
 */
import type { Heard } from "@parley/core/Broadcast"
import type { Envelope } from "../Envelope.ts"

/** How long a gap holds up what came after it, in ms: a message lost on the way is asked for again within seconds. */
export const GAP_MS = 5_000
/**
 * How long the first message heard of a publisher waits for those it may have overtaken, in ms: one that the tree missed
 * (Plumtree's `missingMs`, a quarter more at most) and the first who was asked did not send (`graftMs`).
 */
export const SETTLE_MS = 1_000
/** Publishers and topics whose place is remembered; past it the one longest silent is forgotten. */
export const MAX_SEQUENCES = 16_384
/** Messages of one publisher on one topic that wait for an earlier one; past it the gap is passed over at once. */
export const MAX_WAITING = 512
/** Bytes of text that wait in all; past it the gap of whoever sends is passed over at once. */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024

interface Sequence {
  epoch: number
  /** The number that is handed on next; undefined until one is heard of a publisher that was there before. */
  next: number | undefined
  /** When the oldest gap is passed over. */
  dueAt: number
  readonly waiting: Map<number, Envelope>
}

/** Puts messages in order for the subscribers of some topics. */
export class Ordering {
  readonly #sequences = new Map<string, Sequence>()
  /** Those of which something waits. */
  readonly #holding = new Set<Sequence>()
  readonly #hear: (heard: Heard) => void
  #bytes = 0

  constructor(hear: (heard: Heard) => void) {
    this.#hear = hear
  }

  get size(): number {
    return this.#sequences.size
  }
  /** Bytes of text that wait. */
  get waitingBytes(): number {
    return this.#bytes
  }

  /** Takes a message of a topic to which somebody listens `since` then, in ms since 1970. */
  take(envelope: Envelope, now: number, since: number): void {
    const { epoch, seq } = envelope
    const sequence = this.#of(envelope, since)
    if (epoch < sequence.epoch) return
    if (epoch > sequence.epoch) {
      this.#passOver(sequence, Number.POSITIVE_INFINITY)
      sequence.epoch = epoch
      sequence.next = 0
    }
    const { next } = sequence
    if (next === undefined ? seq === 0 : seq === next) {
      sequence.next = seq + 1
      this.#tell(envelope)
      return this.#follow(sequence, now)
    }
    if ((next !== undefined && seq < next) || sequence.waiting.has(seq)) return
    if (sequence.waiting.size === 0) sequence.dueAt = now + (next === undefined ? SETTLE_MS : GAP_MS)
    this.#holding.add(sequence)
    sequence.waiting.set(seq, envelope)
    this.#bytes += envelope.text.length
    while (sequence.waiting.size > MAX_WAITING || (this.#bytes > MAX_WAITING_BYTES && sequence.waiting.size > 0))
      this.#passOver(sequence, 1, now)
  }

  /** Passes over the gaps that nothing came to fill in time. Called every so often. */
  tick(now: number): void {
    for (const sequence of this.#holding) if (now >= sequence.dueAt) this.#passOver(sequence, 1, now)
  }

  /** Forgets a topic that nobody listens to any more. */
  forget(topic: string): void {
    for (const [key, sequence] of this.#sequences) {
      if (topicOf(key) === topic) this.#drop(key, sequence)
    }
  }

  #drop(key: string, sequence: Sequence): void {
    for (const { text } of sequence.waiting.values()) this.#bytes -= text.length
    sequence.waiting.clear()
    this.#holding.delete(sequence)
    this.#sequences.delete(key)
  }

  #of({ epoch, publisher, topic }: Envelope, since: number): Sequence {
    const key = publisher + topic
    const known = this.#sequences.get(key)
    this.#sequences.delete(key)
    const sequence: Sequence = known ?? {
      epoch,
      next: epoch >= since ? 0 : undefined,
      dueAt: 0,
      waiting: new Map<number, Envelope>()
    }
    this.#sequences.set(key, sequence)
    if (this.#sequences.size > MAX_SEQUENCES) {
      const oldest = this.#sequences.entries().next()
      if (oldest.done !== true) this.#drop(...oldest.value)
    }
    return sequence
  }

  /** Hands on what waits, past so many gaps. */
  #passOver(sequence: Sequence, gaps: number, now = 0): void {
    for (let n = 0; n < gaps && sequence.waiting.size > 0; n++) {
      let least = Number.POSITIVE_INFINITY
      for (const seq of sequence.waiting.keys()) if (seq < least) least = seq
      sequence.next = least
      this.#follow(sequence, now)
    }
  }

  /** Hands on what follows without a gap. */
  #follow(sequence: Sequence, now: number): void {
    const { waiting } = sequence
    while (sequence.next !== undefined && waiting.size > 0) {
      const envelope = waiting.get(sequence.next)
      if (envelope === undefined) break
      waiting.delete(sequence.next)
      this.#bytes -= envelope.text.length
      sequence.next += 1
      this.#tell(envelope)
    }
    sequence.dueAt = now + GAP_MS
    if (waiting.size === 0) this.#holding.delete(sequence)
  }

  #tell({ publisher, seq, text, topic }: Envelope): void {
    this.#hear({ topic, from: publisher, seq, text })
  }
}

/** NodeIds all have one length, so that the rest is the topic. */
const NODE_ID_LENGTH = 48
const topicOf = (key: string): string => key.slice(NODE_ID_LENGTH)
