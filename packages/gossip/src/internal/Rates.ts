/** Rates: what every source may cost a node, and what the node may publish itself. */
import type { NodeId } from "@parley/core/NodeId"
import { Buckets } from "./Buckets.ts"

/**
 * Milliseconds a second that messages of one peer, and of all, may take of this node; some may be saved up. A peer that is
 * beyond it is read no further until the time is paid off.
 */
export const WORK_MS_PER_SECOND = { ofOne: 150, ofAll: 400 }
const SAVED_SECONDS = 3
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
    ofOne: new Buckets(WORK_MS_PER_SECOND.ofOne, SAVED_SECONDS * WORK_MS_PER_SECOND.ofOne),
    ofAll: new Buckets(WORK_MS_PER_SECOND.ofAll, SAVED_SECONDS * WORK_MS_PER_SECOND.ofAll)
  }
  readonly #published = {
    messages: new Buckets(PUBLISH.perSecond, PUBLISH.atOnce),
    bytes: new Buckets(PUBLISH.bytesPerSecond, PUBLISH.bytesAtOnce)
  }
  readonly #taken = {
    messages: new Buckets(GRACE * PUBLISH.perSecond, GRACE * PUBLISH.atOnce),
    bytes: new Buckets(GRACE * PUBLISH.bytesPerSecond, GRACE * PUBLISH.bytesAtOnce),
    records: new Buckets(RECORDS_PER_SECOND, RECORDS_AT_ONCE)
  }

  /** A message of a peer took from `began` until now; how long the peer has to pause. */
  work(peer: NodeId, began: number, now: number): number {
    const { ofAll, ofOne } = this.#work
    ofOne.charge(peer, now - began, now)
    ofAll.charge(ALL, now - began, now)
    return Math.max(ofOne.wait(peer, now), ofAll.wait(ALL, now))
  }

  /** Whether this node may publish so many bytes; they count, if so. */
  publish(size: number, now: number): boolean {
    const { bytes, messages } = this.#published
    if (!messages.has(ALL, now) || !bytes.take(ALL, size, now)) return false
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
