/**
 * Store: what a registry must not forget, in one file (SQLite) or one database (PostgreSQL) that several instances share.
 *
 * A registry decides in memory and writes a log. `append` is the only way to write facts: it holds the log's lock, hands over
 * what other instances have committed since, lets the caller decide against a state that is then complete, and commits what was
 * decided in one transaction. When it returns, the facts are durable, and have cursors. When it fails, nothing of it is stored.
 *
 * What every implementation MUST do (the laws are in `@parley/registry/testing/StoreSuite`):
 * - cursors count up by one, over all instances; `eventsAfter` never shows a cursor before all lower ones;
 * - what `append` has acknowledged is there after `kill -9` and a restart;
 * - a claim is taken once, whoever comes first, over all instances;
 * - what is not state (`Bytes`) stays within its budget with every commit, however much is written: the oldest events and traces
 *   go, and the oldest verdict of the publisher who has most bytes of them. A single commit that is larger stands alone;
 * - migrations run by themselves, once, also when two instances start together.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Event, EventType, Fact, PublishedVerdict, Report, StoredAgent } from "./Event.ts"
import type { TraceEvent, TraceEventType } from "./Model.ts"

/** The database said no, or nothing. */
export class StoreError extends Schema.TaggedError<StoreError>()("StoreError", {
  /** `Unavailable`: it cannot be reached, try again. `Corrupt`: what it holds makes no sense. `Failed`: else. */
  code: Schema.Literals(["Unavailable", "Corrupt", "Failed"]),
  operation: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `The registry's database: ${this.operation}: ${this.detail}`
  }
}

/** What `append` writes. */
export interface Decided {
  readonly facts: ReadonlyArray<Fact>
  /** Keys that are now used up for ever: `review:<reviewer>:<agent>:<task>`. */
  readonly claims: ReadonlyArray<string>
}

/** All that a registry needs to begin. */
export interface Snapshot {
  /** The last event that the rest includes; 0 for an empty log. */
  readonly cursor: number
  readonly agents: ReadonlyArray<StoredAgent & { readonly completed: number; readonly failed: number }>
  /** What those who have left did: it stays with their ids. */
  readonly departed?: ReadonlyArray<{ readonly id: string; readonly completed: number; readonly failed: number }>
  /** The last `edge` of each (agent, capability, reviewer), in no order; made anew by each walk. */
  readonly edges: Iterable<Schema.Json>
  /** The evidence chain's last link; `{ seq: 0, hash: "" }` where there is none. */
  readonly link: { readonly seq: number; readonly hash: string }
}

/** Which traces. All that are given must hold; newest first. */
export interface TraceQuery {
  readonly task?: string
  /** Sender or receiver. */
  readonly agent?: string
  readonly type?: TraceEventType
  /** Milliseconds since the epoch. */
  readonly since?: number
  readonly until?: number
  /** Only those with a lower cursor: the next page. */
  readonly before?: number
  readonly limit: number
}

/** One point of an agent's history: its overall score after a report. */
export interface HistoryPoint {
  readonly cursor: number
  readonly at: number
  readonly score: number
  readonly ema: number
  readonly report: Report
}

/** How long what is not state is kept: milliseconds since the epoch before which it may go. */
export interface Retention {
  readonly traces: number
  readonly events: number
}

/** How many bytes there are, or may be, of what is not state, with its share of indexes. */
export interface Bytes {
  readonly events: number
  readonly traces: number
  readonly verdicts: number
}

/**
 * How many bytes a store keeps where nothing else is said, 5 GiB in all: what a small machine's disk can spare. Two GiB of events are
 * a week with three reports in each second; a GiB of verdicts is a thousand of the largest that HTTP takes.
 */
export const BUDGET: Bytes = { events: 2 * 1_073_741_824, traces: 2 * 1_073_741_824, verdicts: 1_073_741_824 }

/** What a store may be told where it is opened. All instances of one database are told the same. */
export interface Options {
  /** Default `BUDGET`. */
  readonly budget?: Partial<Bytes>
}

/** What a registry must not forget. */
export class Store extends Context.Service<
  Store,
  {
    /** `sqlite`, `postgres`. */
    readonly kind: string
    readonly load: Effect.Effect<Snapshot, StoreError>
    /**
     * Commits facts. `decide` gets what was committed since this instance's last event, in order, and which of `claims` are taken;
     * it is synchronous, runs inside the transaction, and is called once at most: it changes the caller's state. Calls are made one after another by the one caller there is (the
     * ledger), which gathers what came in meanwhile. `seen` is the caller's last event where it has read on with `eventsAfter`.
     */
    readonly append: (
      claims: ReadonlyArray<string>,
      decide: (missed: ReadonlyArray<Event>, taken: ReadonlySet<string>) => Decided,
      seen?: number
    ) => Effect.Effect<ReadonlyArray<Event>, StoreError>
    /** Events after a cursor, in order; empty at the end. Fails with `Corrupt`, never skips, where retention took some of them. */
    readonly eventsAfter: (
      cursor: number,
      limit: number,
      types?: ReadonlyArray<EventType>
    ) => Effect.Effect<ReadonlyArray<Event>, StoreError>
    /** The lowest and highest cursor held. */
    readonly bounds: Effect.Effect<{ readonly first: number; readonly last: number }, StoreError>
    readonly traces: (
      query: TraceQuery
    ) => Effect.Effect<ReadonlyArray<TraceEvent & { readonly cursor: number }>, StoreError>
    /** An agent's last reports, oldest first. */
    readonly history: (
      agent: string,
      options: { readonly limit: number; readonly capability?: string; readonly before?: number }
    ) => Effect.Effect<ReadonlyArray<HistoryPoint>, StoreError>
    readonly verdicts: (options: {
      readonly limit: number
      readonly before?: number
      readonly task?: string
      /** Default: newest first. */
      readonly oldestFirst?: boolean
    }) => Effect.Effect<ReadonlyArray<PublishedVerdict & { readonly cursor: number; readonly at: number }>, StoreError>
    /** The evidence chain from link `seq` on, in order. It is never trimmed. */
    readonly chain: (
      seq: number,
      limit: number
    ) => Effect.Effect<
      ReadonlyArray<{ readonly seq: number; readonly hash: string; readonly at: number; readonly report: Report }>,
      StoreError
    >
    /** Small values that all instances share: signing keys. `undefined` where nothing stands. */
    readonly getSecret: (name: string) => Effect.Effect<string | undefined, StoreError>
    /** Stores it unless one stands; gives what stands now. */
    readonly putSecret: (name: string, value: string, replace?: boolean) => Effect.Effect<string, StoreError>
    /** Takes out what retention no longer keeps: events, traces and verdicts, never agents, reports, claims or the chain. */
    readonly trim: (retention: Retention) => Effect.Effect<void, StoreError>
    /** How many bytes are kept now. */
    readonly kept: Effect.Effect<Bytes, StoreError>
    /** Wakes when another instance may have committed; never fails, may wake for nothing. SQLite: never. */
    readonly news: Effect.Effect<void>
  }
>()("@parley/registry/Store") {}
