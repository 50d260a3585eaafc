/**
 * Relay: forwards bytes between two nodes that cannot reach each other, and cannot read them.
 *
 * A node that wants to be reached reserves a slot, and publishes `relay://HOST:PORT/TRACKER/NODE`. Who dials that address asks the
 * tracker for a circuit; the same handshake and session as on TCP then run end to end through it. The tracker holds no key, so
 * whatever it alters, repeats, reorders or cuts makes the session fail at both ends.
 *
 * ```ts
 * Relay.layer().pipe(Layer.provide(Connections.layer))
 * ```
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Connections } from "@parley/core/Connections"
import { Perimeter } from "@parley/core/Perimeter"
import * as Protocol from "@parley/core/Protocol"
import type { TransportError } from "@parley/core/Transport"
import { RelayServer } from "./internal/RelayServer.ts"

/** Nodes that hold a slot at once; each costs one stream. */
export const MAX_RESERVATIONS = 4_096
/** How long a slot is held for a node that does not ask for it again, in ms: it asks at half of that. */
export const LEASE_MS = 30_000
/** Requests for slots, renewals too, of one peer within a minute: an honest one makes four, and a few when something breaks. */
export const RESERVATIONS_PER_MINUTE = 60
/** Circuits at once to one node: a quarter of all, so that one that the world calls leaves room for others. */
export const MAX_CIRCUITS_PER_SLOT = 256
/** Bytes through all circuits to one node within an hour. */
export const MAX_SLOT_BYTES_PER_HOUR = 4 * 1024 * 1024 * 1024
/** Circuits at once. Each may hold two stream windows, 512 KiB. */
export const MAX_CIRCUITS = 1_024
/** Circuits that one peer may have made at once. */
export const MAX_CIRCUITS_PER_PEER = 64
/** Bytes that go through one circuit, both ways together: enough for work to go on, too little for a free tunnel. */
export const MAX_CIRCUIT_BYTES = 256 * 1024 * 1024
/** How long one circuit lasts. */
export const MAX_CIRCUIT_MS = 60 * 60 * 1_000
/** Bytes through all circuits that one peer made within an hour. */
export const MAX_PEER_BYTES_PER_HOUR = 1024 * 1024 * 1024

/** Bytes through all circuits that peers of one network address made within an hour: new keys cost nothing, addresses do. */
export const MAX_HOST_BYTES_PER_HOUR = 8 * MAX_PEER_BYTES_PER_HOUR
/** Circuits that one peer may ask for in a minute: each makes a node answer a handshake. */
export const CIRCUITS_PER_MINUTE = 240
/** Times within a minute that a relay tells one peer, or all peers of one network address, what it sees of it. */
export const LOOKS_PER_MINUTE = 30

/** What a relay does for others. */
export interface Options {
  /** Default `MAX_RESERVATIONS`. */
  readonly maxReservations?: number
  /** Default `LEASE_MS`. */
  readonly leaseMs?: number
  /** Default `RESERVATIONS_PER_MINUTE`. */
  readonly reservationsPerMinute?: number
  /** Default `MAX_CIRCUITS_PER_SLOT`. */
  readonly maxCircuitsPerSlot?: number
  /** Default `MAX_SLOT_BYTES_PER_HOUR`. */
  readonly maxSlotBytesPerHour?: number
  /** Default `MAX_CIRCUITS`. */
  readonly maxCircuits?: number
  /** Default `MAX_CIRCUITS_PER_PEER`. */
  readonly maxCircuitsPerPeer?: number
  /** Default `MAX_CIRCUIT_BYTES`. */
  readonly maxCircuitBytes?: number
  /** Default `MAX_CIRCUIT_MS`. */
  readonly maxCircuitMs?: number
  /** Default `MAX_PEER_BYTES_PER_HOUR`. */
  readonly maxPeerBytesPerHour?: number
  /** Default `MAX_HOST_BYTES_PER_HOUR`. */
  readonly maxHostBytesPerHour?: number
  /** Default `CIRCUITS_PER_MINUTE`. */
  readonly circuitsPerMinute?: number
  /** Default `LOOKS_PER_MINUTE`. */
  readonly looksPerMinute?: number
}

/** What a relay does unless told otherwise. */
export const defaults: Required<Options> = {
  maxReservations: MAX_RESERVATIONS,
  leaseMs: LEASE_MS,
  reservationsPerMinute: RESERVATIONS_PER_MINUTE,
  maxCircuitsPerSlot: MAX_CIRCUITS_PER_SLOT,
  maxSlotBytesPerHour: MAX_SLOT_BYTES_PER_HOUR,
  maxCircuits: MAX_CIRCUITS,
  maxCircuitsPerPeer: MAX_CIRCUITS_PER_PEER,
  maxCircuitBytes: MAX_CIRCUIT_BYTES,
  maxCircuitMs: MAX_CIRCUIT_MS,
  maxPeerBytesPerHour: MAX_PEER_BYTES_PER_HOUR,
  maxHostBytesPerHour: MAX_HOST_BYTES_PER_HOUR,
  circuitsPerMinute: CIRCUITS_PER_MINUTE,
  looksPerMinute: LOOKS_PER_MINUTE
}

/** Relays on every connection of this node, as long as the layer lives. */
export const layer = (options: Options = {}): Layer.Layer<never, TransportError, Connections> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const connections = yield* Connections
      const perimeter = yield* Perimeter
      const server = yield* Effect.acquireRelease(
        Effect.sync(() => new RelayServer({ ...defaults, ...options }, perimeter.allows)),
        (relay) => Effect.sync(() => relay.close())
      )
      yield* connections.handle(Protocol.RELAY, (connection, stream) => server.accept(connection, stream))
    })
  )
