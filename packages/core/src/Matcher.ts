/**
 * Matcher: which known capabilities answer a query, best first, and why.
 *
 * An index over agent records. Pure and synchronous, so that it can be fast; trust and availability, which change with
 * every call, are read through the context at match time.
 *
 * Filters come first (see `Query`); what passes is scored as the weighted mean of four parts, each 0 to 1: semantic,
 * trust, availability, cost. Equal scores are ordered by NodeId, then capability name, then version, so that every machine
 * gives the same order.
 */
import * as Context from "effect/Context"
import type { AgentRecord } from "./AgentRecord.ts"
import type { CapabilityRecord } from "./Capability.ts"
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

/** What is asked of the rest of the node while matching. */
export interface MatchContext {
  /** Milliseconds since the epoch: records expired by then do not match. */
  readonly now: number
  /** Local trust, 0 to 1. */
  readonly trust: (node: NodeId, capability: string) => number
  /** Free share of the peer, 0 to 1, as far as this node knows; an open circuit counts 0.3 of it. */
  readonly availability: (
    node: NodeId,
    capability: CapabilityRecord
  ) => { readonly value: number; readonly why: string }
}

/** An index of agent records that answers queries. */
export class Matcher extends Context.Service<
  Matcher,
  {
    /** Puts a verified record in, in place of the node's earlier one. A tombstone takes it out. */
    readonly upsert: (record: AgentRecord) => void
    /** Takes a node's record out. */
    readonly remove: (node: NodeId) => void
    /** The record held for a node. */
    readonly get: (node: NodeId) => AgentRecord | undefined
    /** Every record held. */
    readonly records: () => Iterable<AgentRecord>
    /** How many records and capabilities are held. */
    readonly size: () => { readonly records: number; readonly capabilities: number }
    /** Counts changes; what was matched under one revision may be kept until the next. */
    readonly revision: () => number
    /** What passes the query's filters, best first, at most `query.limit`. */
    readonly match: (query: Query, context: MatchContext) => ReadonlyArray<Match>
    /** Names that look like one that nobody has, nearest first; for error messages. */
    readonly closest: (name: string, limit: number) => ReadonlyArray<{ readonly id: string; readonly node: NodeId }>
  }
>()("@parley/core/Matcher") {}
