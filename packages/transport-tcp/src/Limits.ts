/** Limits: everything that a peer or a stranger could use up, how much of it there is, and why that much. */
import { MAX_MESSAGE_BYTES, MAX_STREAMS, WINDOW_BYTES } from "@parley/core/Transport"

/** Bytes that may be on their way to one connection's receivers unreleased: 32 full stream windows, where 4,096 would be 2 GiB. */
export const CONNECTION_WINDOW_BYTES = 32 * WINDOW_BYTES
/** Bytes that a connection spends on messages of which parts are missing: two of the largest. */
export const MAX_REASSEMBLY_BYTES = 2 * MAX_MESSAGE_BYTES
/** Bytes that all streams of a connection may have queued for a peer: four of the largest messages. */
export const MAX_QUEUED_PER_CONNECTION_BYTES = 4 * MAX_MESSAGE_BYTES
/** Sealed bytes in front of the network after which streams queue instead: several round trips at 1 Gbit/s. */
export const LINK_HIGH_WATER_BYTES = 1024 * 1024
/** Sealed bytes in front of the network, control frames included, at which a peer counts as not reading. */
export const MAX_UNSENT_BYTES = 4 * LINK_HIGH_WATER_BYTES
/** A peer that takes nothing of what waits for it in this time is dropped. */
export const STALL_TIMEOUT_MS = 30_000
/**
 * A turn that goes on for longer sends what it has before it ends, so that the peer works on it while this side is still
 * busy. Sealing and writing cost about 10 µs.
 */
export const TURN_MS = 0.1
/** Silence after which a peer is asked whether it is there. */
export const KEEPALIVE_MS = 15_000
/** Silence after which a peer counts as gone: two keepalives. */
export const DEAD_AFTER_MS = 30_000
/** How long a peer may take to give a sign of life after this machine's network changed: several times the longest round trip. */
export const PROBE_MS = 3_000
/** A handshake that takes longer is given up; one round trip to the other side of the world takes 0.3 s. */
export const HANDSHAKE_TIMEOUT_MS = 5_000
/** Handshakes of strangers under way at once. Each costs 0.1 to 0.4 ms of processor time and 20 KB. */
export const MAX_PENDING_HANDSHAKES = 256
/** Handshakes under way from one network address. */
export const MAX_PENDING_PER_ADDRESS = 128
/** Sockets that one network address may bring at once, and a second: a handshake costs 0.1 to 0.4 ms, so 2 to 4 % of a processor. */
export const HANDSHAKES_AT_ONCE = 1_024
export const HANDSHAKES_PER_SECOND = 100
/** Sockets that are told why they were refused, in a second; each lives no longer. More are closed without a word. */
export const MAX_REFUSING = 64
/** Accepted connections from one network address: offices and test machines share one. */
export const MAX_CONNECTIONS_PER_ADDRESS = 1_024
/** Accepted connections in all. An idle one costs about 20 KB. */
export const MAX_CONNECTIONS = 4_096

/** Bytes that all connections together hold for peers: messages that are not whole, and such as wait to be sent. */
export const MAX_HELD_BYTES = 512 * 1024 * 1024

/** What one session allows and waits for. */
export interface SessionLimits {
  readonly windowBytes: number
  readonly connectionWindowBytes: number
  readonly maxStreams: number
  readonly maxReassemblyBytes: number
  readonly maxQueuedBytes: number
  readonly keepaliveMs: number
  readonly deadAfterMs: number
  readonly stallTimeoutMs: number
  /** What is sent in one turn leaves together, but no later than this. */
  readonly turnMs: number
}

/** The limits of a session, unless told otherwise. */
export const sessionDefaults: SessionLimits = {
  windowBytes: WINDOW_BYTES,
  connectionWindowBytes: CONNECTION_WINDOW_BYTES,
  maxStreams: MAX_STREAMS,
  maxReassemblyBytes: MAX_REASSEMBLY_BYTES,
  maxQueuedBytes: MAX_QUEUED_PER_CONNECTION_BYTES,
  keepaliveMs: KEEPALIVE_MS,
  deadAfterMs: DEAD_AFTER_MS,
  stallTimeoutMs: STALL_TIMEOUT_MS,
  turnMs: TURN_MS
}

/** What a transport allows strangers before and while they are connected. */
export interface AcceptLimits {
  readonly handshakeTimeoutMs: number
  readonly maxPendingHandshakes: number
  readonly maxPendingPerAddress: number
  readonly maxConnectionsPerAddress: number
  readonly maxConnections: number
  readonly handshakesAtOnce: number
  readonly handshakesPerSecond: number
  readonly maxHeldBytes: number
}

/** The limits of a transport, unless told otherwise. */
export const acceptDefaults: AcceptLimits = {
  handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
  maxPendingHandshakes: MAX_PENDING_HANDSHAKES,
  maxPendingPerAddress: MAX_PENDING_PER_ADDRESS,
  maxConnectionsPerAddress: MAX_CONNECTIONS_PER_ADDRESS,
  maxConnections: MAX_CONNECTIONS,
  handshakesAtOnce: HANDSHAKES_AT_ONCE,
  handshakesPerSecond: HANDSHAKES_PER_SECOND,
  maxHeldBytes: MAX_HELD_BYTES
}
