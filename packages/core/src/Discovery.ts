/**
 * Discovery: how nodes learn of each other.
 *
 * A discovery advertises this node, finds others for a query, and tells of changes it hears. What it finds is a hint: a
 * signed record counts by its own signature, addresses count once whoever answers there has proven the NodeId.
 *
 * What every implementation MUST do (the laws are in `@parley/core/testing/DiscoverySuite`):
 * - find again what was advertised, in its newest version, and not what was withdrawn or has expired;
 * - never let one node's advertisement replace another's;
 * - end `find` when it has nothing more to say, at the latest after its documented time;
 * - withdraw the advertisement when the scope of `join` closes.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { AgentRecord } from "./AgentRecord.ts"
import type { Connections } from "./Connections.ts"
import type { NodeId } from "./NodeId.ts"
import type { Query } from "./Query.ts"
import type { Address } from "./Transport.ts"

/** Something a discovery has learned, and from where. */
export interface Found {
  /** Which discovery says so: `static`, `mdns`, `tracker z6Mk…`. */
  readonly source: string
  /** Whom it is about; absent when only an address is known. */
  readonly node?: NodeId
  /** Where to reach it, best first. */
  readonly addresses: ReadonlyArray<Address>
  /** Its record, with the signature not yet checked; absent when it must be asked for. */
  readonly record?: AgentRecord
  /** The node has said goodbye. */
  readonly gone?: boolean
}

/** What a discovery may know and use of the node it serves. */
export interface Host {
  readonly nodeId: NodeId
  /** The node's own record, as signed last. */
  readonly record: () => AgentRecord
  /** Where the node listens. */
  readonly addresses: () => ReadonlyArray<Address>
  readonly connections: Connections["Service"]
  /** The node is part of a private network: nothing of its record may be shown in the clear. */
  readonly isPrivate: boolean
}

/** A discovery at work for one node. */
export interface Membership {
  /**
   * Makes the node's present record findable, in place of what was advertised before. The record is `host.record()`; a
   * tombstone withdraws. Safe to repeat.
   */
  readonly advertise: Effect.Effect<void, DiscoveryError>
  /** What is known for a query, as it comes in; ends when there is no more. Hits may be too many: who asks filters. */
  readonly find: (query: Query) => Stream.Stream<Found, DiscoveryError>
  /** What is heard without asking: announcements and goodbyes. Goes on while the membership lasts. */
  readonly changes: Stream.Stream<Found>
}

/** One source of a search that gave nothing, and why. */
export class DiscoveryError extends Schema.TaggedError<DiscoveryError>()("DiscoveryError", {
  source: Schema.String,
  /** `Unreachable`: nobody answered. `Refused`: somebody said no. `Malformed`: an answer made no sense. `Failed`: else. */
  code: Schema.Literals(["Unreachable", "Refused", "Malformed", "Failed"]),
  detail: Schema.String
}) {
  override get message(): string {
    return `${this.source}: ${this.detail}`
  }
}

/** How a node learns of others. */
export class Discovery extends Context.Service<
  Discovery,
  {
    /** Short name for messages: `static`, `mdns`, `tracker tcp://…`. */
    readonly name: string
    /** Goes to work for a node; closing the scope withdraws and stops. */
    readonly join: (host: Host) => Effect.Effect<Membership, DiscoveryError, Scope.Scope>
  }
>()("@parley/core/Discovery") {}
