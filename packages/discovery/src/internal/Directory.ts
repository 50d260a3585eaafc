import * as AgentRecord from "@parley/core/AgentRecord"
import * as Matcher from "@parley/core/Matcher"
import type { NodeId } from "@parley/core/NodeId"
import { MAX_LIMIT, type Query } from "@parley/core/Query"
import { INITIAL } from "@parley/core/Trust"

/** What a directory tells of itself. Neither may throw. */
export interface Listener {
  readonly onRecord: (record: AgentRecord.AgentRecord) => void
  readonly onGone: (node: NodeId) => void
}

export interface Options {
  readonly maxRecords: number
  readonly maxBytes: number
  readonly leaseMs: number
  readonly graceMs: number
}

/** What came of a registration. */
export type Registered =
  | { readonly _tag: "Registered"; readonly leaseMs: number }
  | { readonly _tag: "Refused"; readonly code: "Record" | "Full"; readonly detail: string }

interface Lease {
  readonly until: number
  /** Of the record, about. */
  readonly bytes: number
  /** The node's connection has gone, and this is how long it has to come back. */
  readonly graceUntil?: number
}

const endOf = (lease: Lease | undefined): number =>
  lease === undefined ? 0 : Math.min(lease.until, lease.graceUntil ?? lease.until)

/** The records of a tracker, each with the time until which it is believed. Every record is the session holder's own. */
export class Directory {
  readonly #options: Options
  readonly #matcher: Matcher.Matcher["Service"]
  readonly #listener: Listener
  /** In the order of registration, the latest last. */
  readonly #leases = new Map<NodeId, Lease>()
  #bytes = 0

  constructor(options: Options, listener: Listener) {
    this.#options = options
    this.#listener = listener
    this.#matcher = Matcher.make({ maxRecords: options.maxRecords })
  }

  get size(): number {
    return this.#leases.size
  }

  /** Takes in what `peer` says of itself. */
  register(peer: NodeId, value: unknown, now: number): Registered {
    const known = this.#matcher.get(peer)
    const record = AgentRecord.verify(value, { now, known, expect: peer })
    if (record instanceof AgentRecord.RecordRefused) {
      return { _tag: "Refused", code: "Record", detail: record.message }
    }
    if (AgentRecord.isTombstone(record)) {
      this.withdraw(peer)
      return { _tag: "Registered", leaseMs: 0 }
    }
    const before = this.#leases.get(peer)?.bytes ?? 0
    const bytes = record === known ? before : JSON.stringify(record).length
    if (known === undefined && this.#leases.size >= this.#options.maxRecords) {
      const detail = `the tracker holds ${this.#options.maxRecords} records and takes no more: try another one`
      return { _tag: "Refused", code: "Full", detail }
    }
    if (bytes > before && this.#bytes + bytes - before > this.#options.maxBytes) {
      const detail = `the tracker holds ${this.#options.maxBytes} bytes of records and takes no more: try another one`
      return { _tag: "Refused", code: "Full", detail }
    }
    const until = Math.min(now + this.#options.leaseMs, record.expiresAt)
    this.#leases.delete(peer)
    this.#leases.set(peer, { until, bytes })
    this.#bytes += bytes - before
    if (record !== known) {
      this.#matcher.upsert(record)
      this.#listener.onRecord(record)
    }
    return { _tag: "Registered", leaseMs: until - now }
  }

  withdraw(peer: NodeId): void {
    this.#bytes -= this.#leases.get(peer)?.bytes ?? 0
    if (!this.#leases.delete(peer)) return
    this.#matcher.remove(peer)
    this.#listener.onGone(peer)
  }

  /** The node's connection is gone: it has a moment to come back. */
  disconnected(peer: NodeId, now: number): void {
    const lease = this.#leases.get(peer)
    if (lease !== undefined) this.#leases.set(peer, { ...lease, graceUntil: now + this.#options.graceMs })
  }

  /** The node is back, or another connection took the place of its old one. */
  connected(peer: NodeId): void {
    const lease = this.#leases.get(peer)
    if (lease?.graceUntil !== undefined) this.#leases.set(peer, { until: lease.until, bytes: lease.bytes })
  }

  expire(now: number): void {
    for (const [peer, lease] of this.#leases) if (endOf(lease) <= now) this.withdraw(peer)
  }

  /** The records that match, at most `limit`, without those of who asks. */
  find(
    query: Query,
    limit: number,
    now: number,
    asker: NodeId
  ): { readonly records: ReadonlyArray<AgentRecord.AgentRecord>; readonly more: boolean } {
    const records: Array<AgentRecord.AgentRecord> = []
    for (const record of this.#candidates(query, limit, now, asker)) {
      if (record.node === asker || endOf(this.#leases.get(record.node)) <= now) continue
      if (records.length === limit) return { records, more: true }
      records.push(record)
    }
    return { records, more: false }
  }

  /** The latest registrations, at most `limit`. */
  latest(limit: number, now: number, asker: NodeId): ReadonlyArray<AgentRecord.AgentRecord> {
    const nodes = [...this.#leases.keys()]
    const found: Array<AgentRecord.AgentRecord> = []
    for (let at = nodes.length - 1; at >= 0 && found.length < limit; at--) {
      const node = nodes[at]!
      const record = node === asker || endOf(this.#leases.get(node)) <= now ? undefined : this.#matcher.get(node)
      if (record !== undefined) found.push(record)
    }
    return found
  }

  #candidates(query: Query, limit: number, now: number, asker: NodeId): Iterable<AgentRecord.AgentRecord> {
    // Trust and liking are the asker's own, and decide nothing here.
    const { limit: _limit, minTrust: _minTrust, node, policy: _policy, preferPeers: _peers, ...rest } = query
    if (Object.keys(rest).length === 0) {
      if (node === undefined) return this.latest(limit + 1, now, asker)
      const record = this.#matcher.get(node)
      return record === undefined ? [] : [record]
    }
    const wanted: Query = node === undefined ? { ...rest, limit: MAX_LIMIT } : { ...rest, node, limit: MAX_LIMIT }
    const matches = this.#matcher.match(wanted, {
      now,
      trust: () => INITIAL,
      availability: () => ({ value: 1, why: "not known" })
    })
    return new Set(matches.map(({ record }) => record))
  }
}
