/**
 * AntiEntropy: two nodes compare what they hold, and each gets what the other has newer. Broadcast brings news quickly; this brings what
 * broadcast missed, after a partition above all.
 *
 * What is held are items: a key, a version, and a payload that carries its author's signature. The machine believes nothing: an item that
 * comes is told, the layer above checks it, and gives it back with `Put`.
 *
 * A exchange costs two messages where both hold the same: the initiator sends a hash for each bucket of keys, salted anew each time so
 * that nobody can prepare items that hide others; the answer lists the keys and versions of the buckets that differ.
 *
 * Source: A. Demers et al., "Epidemic algorithms for replicated database maintenance", PODC 1987.
 */

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
