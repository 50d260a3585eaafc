/**
 * Broadcast: carries a message to every node of the mesh that wants it, over nodes that are not its author's neighbours.
 *
 * Without this service, topics reach directly connected peers only. What every implementation MUST do (the laws are in
 * `@parley/core/testing/BroadcastSuite`):
 * - hand each message to each subscriber once, and those of one publisher in the order of publishing;
 * - believe the publisher by its own signature, and pass nothing on that does not verify;
 * - bound what one source, and all together, may make this node hold and send.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Found, Host } from "./Discovery.ts"
import type { NodeId } from "./NodeId.ts"

/** Longest text of one message, in bytes: it crosses the network once for every node. */
export const MAX_BROADCAST_BYTES = 64 * 1024

/** A message as it came. */
export interface Heard {
  readonly topic: string
  /** Who published it; its signature holds. */
  readonly from: NodeId
  /** Counts the publisher's messages on this topic since it started, from 0. */
  readonly seq: number
  /** JSON. */
  readonly text: string
}

/** A message cannot be published. */
export class BroadcastError extends Schema.TaggedError<BroadcastError>()("BroadcastError", {
  /** `TooLarge`: more than `MAX_BROADCAST_BYTES`. `TooMany`: more than this node may publish now. `Closed`: it is leaving. */
  code: Schema.Literals(["TooLarge", "TooMany", "Closed"]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

/** Broadcast at work for one node. */
export interface Carrier {
  /** Sends `text` to all who subscribed, this node included; gives how many neighbours it was handed to. */
  readonly publish: (topic: string, text: string) => Effect.Effect<number, BroadcastError>
  /** Hears a topic until the scope closes. `hear` must not throw or wait. */
  readonly subscribe: (topic: string, hear: (heard: Heard) => void) => Effect.Effect<void, never, Scope.Scope>
  /** A discovery has found somebody: a contact for the carrier, which may connect to it. Must not throw or wait. */
  readonly meet: (found: Found) => void
  /** Whether the carrier's members hold a node for dead: a hint that orders matches, and no proof. */
  readonly isDown: (node: NodeId) => boolean
}

/** How a node's topics travel beyond its neighbours. */
export class Broadcast extends Context.Service<
  Broadcast,
  {
    /** Short name for messages: `gossip`. */
    readonly name: string
    /** Goes to work for a node, until the scope closes. */
    readonly join: (host: Host) => Effect.Effect<Carrier, BroadcastError, Scope.Scope>
  }
>()("@parley/core/Broadcast") {}
