/**
 * Matcher: which known capabilities answer a query, best first, and why.
 *
 * An index over agent records. Pure and synchronous, so that it can be fast; trust and availability, which change with
 * every call, are read through the context at match time.
 *
 * Filters come first (see `Query`); what passes is scored as the weighted mean of four parts, each 0 to 1: semantic,
 * trust, availability, cost. Equal scores are ordered by NodeId, then capability name, then version (the newer first), so
 * that every machine gives the same order.
 *
 * - semantic, with text: the part of the query's words that a capability has, rare words counting more (log(1 + N/n)), a
 *   word in the name 1, among the tags up to 0.9, in the description up to 0.8, less where there are many. Whole words are
 *   compared, English endings aside. Without text: 1 for the exact name, 0.9 for a prefix, 0.8 for neither. Where the
 *   query likes tags, the share of them that is there counts 0.2 of this part; where it likes peers, being one counts 0.2.
 * - cost: s / (s + price), where s is `maxCostUsd`, or a cent when there is none: free is 1, the most allowed 0.5.
 *
 * A capability that does not state its latency does not pass `maxLatencyMs`; one that states no cost is free. Of
 * constraints, an absent key satisfies only `ne` and `exists: false`. A range that cannot be read matches nothing:
 * `Query.check` says what is wrong.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { AgentRecord } from "./AgentRecord.ts"
import type { CapabilityRecord } from "./Capability.ts"
import * as MatcherIndex from "./internal/MatcherIndex.ts"
import type { NodeId } from "./NodeId.ts"
import type { Query } from "./Query.ts"

/** One part of a score. */
export interface Part {
  /** 0 to 1. */
  readonly value: number
  /** What it counts, as the query's policy says. */
  readonly weight: number
  /** The reason, in words a person reads: `words 0.88`, `3 of 4 busy`. */
  readonly why: string
}

/** A capability that passed every filter. */
export interface Match {
  readonly node: NodeId
  readonly record: AgentRecord
  readonly capability: CapabilityRecord
  /** 0 to 1. */
  readonly score: number
  readonly parts: { readonly semantic: Part; readonly trust: Part; readonly availability: Part; readonly cost: Part }
}

/** Local trust, 0 to 1, in a node's capability; `record` is the capability's, as it was put in. */
export interface TrustOf {
  (node: NodeId, capability: string, record?: CapabilityRecord): number
  /**
   * The nodes that trust may tell apart. Every other node has `rest`, whatever the capability, so that the best of many
   * matches are found without looking at each. Where either is absent, each is looked at.
   */
  readonly tried?: () => Iterable<NodeId>
  readonly rest?: number
  /**
   * For trust that tells everybody apart: the most that anybody has, and the most that anybody has who is not among `tried`. What
   * nobody's trust could lift among the best is then not looked at. Absent: 1.
   */
  readonly atMost?: { readonly anybody: number; readonly others: number }
}

/** What is asked of the rest of the node while matching. */
export interface MatchContext {
  /** Milliseconds since the epoch: records expired by then do not match. */
  readonly now: number
  readonly trust: TrustOf
  /** Free share of the peer, 0 to 1, as far as this node knows; an open circuit counts 0.3 of it. */
  readonly availability: (
    node: NodeId,
    capability: CapabilityRecord
  ) => { readonly value: number; readonly why: string }
  /** Whether a capability may be offered at all, by what is known here and now. Default: each may. */
  readonly admits?: (node: NodeId, capability: CapabilityRecord) => boolean
}

/** An index of agent records that answers queries. */
export class Matcher extends Context.Service<
  Matcher,
  {
    /**
     * Puts a verified record in, in place of the node's earlier one; one with a lower `seq` than that changes nothing. A
     * tombstone takes it out.
     */
    readonly upsert: (record: AgentRecord) => void
    /** Takes a node's record out. */
    readonly remove: (node: NodeId) => void
    /** Takes out the records expired by `now` (milliseconds since the epoch); how many those were. */
    readonly prune: (now: number) => number
    /** The record held for a node. */
    readonly get: (node: NodeId) => AgentRecord | undefined
    /** Every record held. */
    readonly records: () => Iterable<AgentRecord>
    /** How many records and capabilities are held. */
    readonly size: () => { readonly records: number; readonly capabilities: number }
    /** Counts changes; what was matched under one revision may be kept until the next. */
    readonly revision: () => number
    /**
     * What takes time before a match with text: embedding it, where there is a model. Never fails, and need not be run:
     * without it words alone are compared.
     */
    readonly prepare: (query: Query) => Effect.Effect<void>
    /**
     * What passes the query's filters, best first, at most `query.limit`. Of a query that is frozen through and through, what
     * passed may be kept until the index changes, so that the same object is matched again in little time.
     */
    readonly match: (query: Query, context: MatchContext) => ReadonlyArray<Match>
    /** Names that look like one that nobody has, nearest first; for error messages. */
    readonly closest: (name: string, limit: number) => ReadonlyArray<{ readonly id: string; readonly node: NodeId }>
  }
>()("@parley/core/Matcher") {}

/** Most records held: with ten capabilities each about 1 GiB. Past it the one longest not renewed goes. */
export const MAX_RECORDS = 100_000

/** What may be set. */
export interface Options {
  /** Most records held; `MAX_RECORDS` where absent. */
  readonly maxRecords?: number
}

/** A matcher that compares words. */
export const make = (options: Options = {}): Matcher["Service"] =>
  Matcher.of(MatcherIndex.make(options.maxRecords ?? MAX_RECORDS))

/** A matcher that compares words, empty at first. */
export const layer: Layer.Layer<Matcher> = Layer.sync(Matcher, () => make())
