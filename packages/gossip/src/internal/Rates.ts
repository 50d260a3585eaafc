/** Rates: what every source may cost a node, and what the node may publish itself. */
import type { NodeId } from "@parley/core/NodeId"
import { RateLimit } from "@parley/core/RateLimit"

/**
 * Milliseconds a second that messages may take of this node: those of one peer, of all who are no neighbours, and of all neighbours.
 * What comes beyond it is not read before the time is paid off. The three neighbours that strangers can become leave a fourth its share.
 */
export const WORK_MS_PER_SECOND = { ofOne: 100, ofStrangers: 100, ofNeighbors: 400 }
/** How much of that may be saved up: a node that heard nothing for long is still held up by no more than this at once. */
export const WORK_MS_AT_ONCE = { ofOne: 100, ofStrangers: 100, ofNeighbors: 200 }
/** Messages and bytes that one node may publish: a second on average, and at once. */
export const PUBLISH = { perSecond: 200, atOnce: 2_000, bytesPerSecond: 2 * 1024 * 1024, bytesAtOnce: 16 * 1024 * 1024 }
/** How many times as much is taken of a publisher as it may publish: it waits longer than the network does. */
const GRACE = 2
/** Records that one node may change, a second on average, and at once. */
export const RECORDS_PER_SECOND = 2
export const RECORDS_AT_ONCE = 30
/** Stands for all peers together among the keys of a rate limit. */
const ALL = ""

/** The accounts of one node; times in ms. */
export class Rates {
  readonly #work = {
    ofOne: new RateLimit(WORK_MS_PER_SECOND.ofOne, WORK_MS_AT_ONCE.ofOne),
    ofStrangers: new RateLimit(WORK_MS_PER_SECOND.ofStrangers, WORK_MS_AT_ONCE.ofStrangers),
    ofNeighbors: new RateLimit(WORK_MS_PER_SECOND.ofNeighbors, WORK_MS_AT_ONCE.ofNeighbors)
  }
  readonly #published = {
    messages: new RateLimit(PUBLISH.perSecond, PUBLISH.atOnce),
    bytes: new RateLimit(PUBLISH.bytesPerSecond, PUBLISH.bytesAtOnce)
  }
  readonly #taken = {
    messages: new RateLimit(GRACE * PUBLISH.perSecond, GRACE * PUBLISH.atOnce),
    bytes: new RateLimit(GRACE * PUBLISH.bytesPerSecond, GRACE * PUBLISH.bytesAtOnce),
    records: new RateLimit(RECORDS_PER_SECOND, RECORDS_AT_ONCE)
  }

  /** How long a peer is not to be read. */
  pauseFor(peer: NodeId, isNeighbor: boolean, now: number): number {
    return Math.max(this.#work.ofOne.wait(peer, now), this.#shared(isNeighbor).wait(ALL, now))
  }

  /** A message of a peer took from `began` until now. */
  spent(peer: NodeId, isNeighbor: boolean, began: number, now: number): void {
    this.#work.ofOne.charge(peer, now - began, now)
    this.#shared(isNeighbor).charge(ALL, now - began, now)
  }

  #shared(isNeighbor: boolean): RateLimit {
    return isNeighbor ? this.#work.ofNeighbors : this.#work.ofStrangers
  }

  /** Whether this node may publish so many bytes; they count, if so. */
  publish(size: number, now: number): boolean {
    const { bytes, messages } = this.#published
    if (!messages.has(ALL, now) || !bytes.spend(ALL, size, now)) return false
    messages.charge(ALL, 1, now)
    return true
  }

  /** Whether something of this origin may be looked at. */
  admits(origin: NodeId, kind: "Record" | "Topic", now: number): boolean {
    const { bytes, messages, records } = this.#taken
    return kind === "Record" ? records.has(origin, now) : messages.has(origin, now) && bytes.has(origin, now)
  }

  /** Something of this origin was taken, and counts. */
  took(origin: NodeId, kind: "Record" | "Topic", size: number, now: number): void {
    const { bytes, messages, records } = this.#taken
    if (kind === "Record") return records.charge(origin, 1, now)
    messages.charge(origin, 1, now)
    bytes.charge(origin, size, now)
  }
}
