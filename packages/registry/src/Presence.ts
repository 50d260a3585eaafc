/**
 * Presence: who is there now. A lease says that an agent is online; load belongs to the lease and vanishes with it.
 *
 * Nothing here is durable: after a restart everybody is away until a lease is opened again. Two connections of one agent are
 * one agent; it is away when the last of its leases has ended. With Redis, instances see each other's leases.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/** Longest time without a heartbeat, in milliseconds, until a lease ends: three of AgentMesh's heartbeats of 10 s. */
export const LEASE_MS = 30_000

/** What is known of an agent's presence. */
export interface View {
  readonly online: boolean
  /** Milliseconds since the epoch; 0 where it was never seen by this registry's life. */
  readonly lastHeartbeat: number
  /** Tasks that its leases report as running. */
  readonly running: number
}

/** One connection's hold on an agent's presence. */
export interface Lease {
  readonly agent: string
  /** Alive for another `LEASE_MS`. */
  readonly renew: Effect.Effect<void>
  readonly taskStarted: (task: string) => Effect.Effect<void>
  readonly taskEnded: (task: string) => Effect.Effect<void>
  /** Ends it; the agent is away at once if it was the last one. Safe to repeat. */
  readonly end: Effect.Effect<void>
}

/** An agent came, or went. */
export interface Change {
  readonly agent: string
  readonly online: boolean
  /** `lease opened`, `connection closed`, `no heartbeat for 30 s`. */
  readonly why: string
}

/** Who is there now. */
export class Presence extends Context.Service<
  Presence,
  {
    /** Opens a lease, until it is ended or `leaseMs` (default `LEASE_MS`) pass without `renew`. */
    readonly open: (agent: string, leaseMs?: number) => Effect.Effect<Lease>
    /** Ends all leases of an agent: it was deregistered. */
    readonly drop: (agent: string) => Effect.Effect<void>
    /** Synchronous, so that discovery can rank by it. */
    readonly view: (agent: string) => View
    /** How many are online here and elsewhere. */
    readonly online: () => number
    /** Comings and goings from now on; each is told by exactly one instance. */
    readonly changes: Stream.Stream<Change>
    /**
     * Agents that turn out to be online elsewhere, from now on: each instance hears this for itself, and nobody tells it in `changes`.
     * Absent where there are no others.
     */
    readonly seen?: Stream.Stream<Change>
    /** Whether other instances are seen now; absent where there are none to see. */
    readonly sharing?: () => "joined" | "cut off"
  }
>()("@parley/registry/Presence") {}
