/**
 * Turns: messages wait here, unread, while this node has no time for who sent them. When there is time again, streams take turns, a
 * message each, so that a flood of one waits behind a message of another.
 */
import type { NodeId } from "@parley/core/NodeId"
import type { Stream } from "@parley/core/Transport"

/** Bytes that wait in all, of the streams that are full; past it the stream with the most of them is cut off. */
export const MAX_WAITING_BYTES = 32 * 1024 * 1024
/** How long messages that have waited are read at a time, in ms, before whatever else happens has its turn. */
const TURN_MS = 10

/** A stream from a peer. */
export interface Source {
  readonly peer: NodeId
  readonly stream: Pick<Stream, "pause" | "resume">
  /** Reads a message. */
  readonly hear: (message: Uint8Array, last: boolean) => void
  /** Too much of it waits. */
  readonly cutOff: () => void
}

interface Waiting {
  readonly messages: Array<{ readonly message: Uint8Array; readonly last: boolean }>
  bytes: number
}

/** What a node's time is spent on. `pauseFor`: how long a peer is not to be read, in ms. */
export interface Time {
  readonly pauseFor: (peer: NodeId) => number
  readonly spent: (peer: NodeId, began: number) => void
}

/** The streams whose messages wait. */
export class Turns {
  readonly #time: Time
  /** Whose turn is next comes first. */
  readonly #waiting = new Map<Source, Waiting>()
  /** A peer's streams share one place: the newest has it. */
  readonly #ofPeer = new Map<NodeId, Source>()
  #bytes = 0
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(time: Time) {
    this.#time = time
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /** A message came: it is read now, or waits for its turn. */
  take(source: Source, message: Uint8Array, last: boolean): void {
    const { peer } = source
    let waiting = this.#waiting.get(source)
    const pause = waiting === undefined ? this.#time.pauseFor(peer) : 0
    if (waiting === undefined && pause <= 0) return this.#hear(source, message, last)
    if (waiting === undefined) {
      const older = this.#ofPeer.get(peer)
      if (older !== undefined) this.#cutOff(older)
      waiting = { messages: [], bytes: 0 }
      this.#waiting.set(source, waiting)
      this.#ofPeer.set(peer, source)
      source.stream.pause()
      this.#arm(pause)
    }
    waiting.messages.push({ message: message.slice(), last })
    waiting.bytes += message.length
    this.#bytes += message.length
    if (this.#bytes > MAX_WAITING_BYTES) this.#cutOffLargest()
  }

  /** The stream is over: what waits of it is not read. */
  forget(source: Source): void {
    const waiting = this.#waiting.get(source)
    if (waiting === undefined) return
    this.#bytes -= waiting.bytes
    this.#waiting.delete(source)
    if (this.#ofPeer.get(source.peer) === source) this.#ofPeer.delete(source.peer)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#waiting.clear()
    this.#ofPeer.clear()
    this.#bytes = 0
  }

  #hear(source: Source, message: Uint8Array, last: boolean): void {
    const began = performance.now()
    source.hear(message, last)
    this.#time.spent(source.peer, began)
  }

  #arm(ms: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#turn()
    }, ms)
  }

  #turn(): void {
    const until = performance.now() + TURN_MS
    let next = Number.POSITIVE_INFINITY
    // Those that go to the end come again, until none has time left.
    for (const [source, waiting] of this.#waiting) {
      const pause = this.#time.pauseFor(source.peer)
      if (pause > 0) {
        next = Math.min(next, pause)
        continue
      }
      const { last, message } = waiting.messages.shift()!
      waiting.bytes -= message.length
      this.#bytes -= message.length
      const isEmpty = waiting.messages.length === 0
      if (isEmpty) this.forget(source)
      else {
        this.#waiting.delete(source)
        this.#waiting.set(source, waiting)
      }
      this.#hear(source, message, last)
      if (isEmpty) source.stream.resume()
      if (performance.now() < until) continue
      next = 1
      break
    }
    if (next !== Number.POSITIVE_INFINITY) this.#arm(next)
  }

  #cutOff(source: Source): void {
    this.forget(source)
    source.cutOff()
  }

  #cutOffLargest(): void {
    let largest: Source | undefined
    let most = -1
    for (const [source, { bytes }] of this.#waiting) {
      if (bytes <= most) continue
      most = bytes
      largest = source
    }
    if (largest !== undefined) this.#cutOff(largest)
  }
}
