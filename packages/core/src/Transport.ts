/**
 * Transport: how bytes reach a peer whose key is proven.
 *
 * A transport dials addresses of its schemes and accepts connections. A connection is authenticated (it knows the peer's
 * NodeId), encrypted, ordered, and multiplexed into streams of messages with back-pressure. This is the byte path: plain
 * callbacks, no promise and no fibre per message.
 *
 * What every implementation MUST do (the laws are in `@parley/core/testing/TransportSuite`):
 * - report a connection only when the peer has proven its key in this very session;
 * - deliver the messages of one stream in order, once, whole, and never one of another stream;
 * - stop the sender when the receiver does not take: at most `WINDOW_BYTES` of unreleased messages per stream;
 * - call `onClosed` exactly once for every stream that did not end on both sides, also when the connection goes;
 * - bound what a peer can make it hold, whatever that peer sends.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { NodeId } from "./NodeId.ts"

/** Bytes of messages that may be on their way to a stream's receiver before it has released any. */
export const WINDOW_BYTES = 512 * 1024
/** Bytes that a stream's sender may queue beyond its credit; one that ignores `false` from `send` and passes it is reset. */
export const MAX_QUEUED_BYTES = 16 * 1024 * 1024 + WINDOW_BYTES
/** Largest message on a stream: head and body together. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024
/** Streams that a peer may have open at once on one connection. */
export const MAX_STREAMS = 4_096

/** Where a node can be reached, as a URL whose scheme names the transport: `tcp://127.0.0.1:7878`, `mem://ada`. */
export type Address = string

/** The scheme of an address, without its colon. */
export const schemeOf = (address: Address): string => {
  const colon = address.indexOf(":")
  return colon < 0 ? "" : address.slice(0, colon)
}

/** Why a stream was reset. Crosses the wire as one byte. */
export const ResetCode = {
  /** Whoever asked no longer wants the answer. */
  Cancelled: 0,
  /** Nobody at the other end handles this protocol. */
  UnknownProtocol: 1,
  /** The other end is full. */
  Overloaded: 2,
  /** The other end could not make sense of a message. */
  Malformed: 3,
  /** A buffer ran over because its reader was too slow. */
  TooSlow: 4,
  /** The handler broke. */
  Internal: 5,
  /** The connection went. */
  Disconnected: 6
} as const
/** Why a stream was reset. */
export type ResetCode = (typeof ResetCode)[keyof typeof ResetCode]

/**
 * One sequence of messages in each direction within a connection.
 *
 * A stream is over when both sides sent their last message, or either reset it.
 */
export interface Stream {
  /**
   * Sends the message `head ‖ utf8(body)`; both may be reused as soon as this returns.
   *
   * Returns false when the peer's credit or the connection's buffer is used up: the message is queued, and the sender
   * should send no more before `onWritable`. After the last message, or once closed, sending does nothing and returns false.
   */
  send(head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean
  /** Abandons both directions. The peer's handler hears `onClosed(code)`; this side's hears nothing more. */
  reset(code: ResetCode): void
  /** Returns no more credit, so that at most one window more arrives. */
  pause(): void
  /** Returns the credit held back since `pause`, and goes on returning it as messages are delivered. */
  resume(): void
}

/** What the owner of a stream does when something happens to it. None of these may throw. */
export interface StreamHandler {
  /**
   * A message came. Nobody writes to its bytes any more, but they may be a small part of a large buffer: copy what you keep,
   * unless it is large itself. `last`: the peer will send no more.
   */
  onMessage(message: Uint8Array, last: boolean): void
  /** Sending is possible again after `send` returned false. */
  onWritable(): void
  /** The stream ended before both sides had sent their last message. Called at most once, and nothing comes after it. */
  onClosed(code: ResetCode): void
}

/** An authenticated, encrypted, multiplexed link to one peer. */
export interface Connection {
  readonly peer: NodeId
  /** The other end's address as this side knows it. */
  readonly address: Address
  /** Who dialled. */
  readonly direction: "outbound" | "inbound"
  /** The bytes go through a tracker, which cannot read them. */
  readonly relayed: boolean
  /** `open` takes new streams, `draining` finishes those it has, `closed` is over. */
  readonly state: () => "open" | "draining" | "closed"
  /** Streams now open, of both sides. */
  readonly streams: () => number
  /** Opens a stream of a protocol, or gives undefined when the connection is not open or has `MAX_STREAMS` of ours. */
  readonly open: (protocol: number, handler: StreamHandler) => Stream | undefined
  /** Takes no new streams, waits until those open have ended or `graceMs` is over, and closes. Safe to call twice. */
  readonly drain: (graceMs: number) => Effect.Effect<void>
  /** Closes at once; open streams hear `onClosed(Disconnected)`. Safe to call twice. */
  readonly close: (why: string) => void
}

/** What a transport tells about, and may ask of, the node that it serves. */
export interface Owner {
  readonly nodeId: NodeId
  /** A peer dialled us and proved its key. Not called for connections that `dial` returns. */
  readonly onConnection: (connection: Connection) => void
  /** A peer opened a stream. Undefined refuses it with `UnknownProtocol`. */
  readonly onStream: (connection: Connection, protocol: number, stream: Stream) => StreamHandler | undefined
  /** A reported or returned connection is over. Called exactly once for each. */
  readonly onClosed: (connection: Connection, why: string) => void
  /** An attempt to connect to us was refused: bad handshake, wrong network, a limit. For logs and counters. */
  readonly onRefused: (address: Address, error: TransportError) => void
  /** Addresses of this transport have changed since `listen` returned, such as a new relay reservation. */
  readonly onAddresses: (addresses: ReadonlyArray<Address>) => void
  /** A connection to a peer over any transport of the node; what a relay needs to reach its tracker. */
  readonly connect: (target: Target) => Effect.Effect<Connection, TransportError>
  /** Handles streams of a protocol on every connection of the node until the scope closes. */
  readonly handle: (protocol: number, acceptor: Acceptor) => Effect.Effect<void, TransportError, Scope.Scope>
}

/** Takes a stream that a peer opened, or refuses it. */
export type Acceptor = (connection: Connection, stream: Stream) => StreamHandler | undefined

/** Whom to connect to: a NodeId, addresses, or both. With a NodeId, whoever answers must prove that key. */
export interface Target {
  readonly node?: NodeId
  readonly addresses: ReadonlyArray<Address>
}

/** No part of the node speaks this address's scheme. */
export const UnknownScheme = Schema.TaggedStruct("UnknownScheme", {
  address: Schema.String,
  known: Schema.Array(Schema.String)
})
/** Nobody could be reached there. `refused`: the machine answered that nobody listens. `broken`: somebody was there, and went. */
export const DialFailed = Schema.TaggedStruct("DialFailed", {
  address: Schema.String,
  detail: Schema.String,
  refused: Schema.optionalKey(Schema.Boolean),
  broken: Schema.optionalKey(Schema.Boolean)
})
/** Somebody answered, but no session came of it. `code` names the cause, such as `NetworkKeyMissing`. */
export const HandshakeFailed = Schema.TaggedStruct("HandshakeFailed", {
  address: Schema.String,
  code: Schema.String,
  detail: Schema.String
})
/** Nothing came back in time. */
export const TimedOut = Schema.TaggedStruct("TimedOut", { address: Schema.String, afterMs: Schema.Finite })
/** The address cannot be listened on. */
export const ListenFailed = Schema.TaggedStruct("ListenFailed", { address: Schema.String, detail: Schema.String })
/** A limit of this node or of the peer stands in the way. */
export const LimitReached = Schema.TaggedStruct("LimitReached", { limit: Schema.String, value: Schema.Finite })
/** There is no address to try. */
export const NoAddress = Schema.TaggedStruct("NoAddress", { node: Schema.String })
/** The protocol number is taken by another part of this node. */
export const ProtocolTaken = Schema.TaggedStruct("ProtocolTaken", { protocol: Schema.Int })
/** The transport is not listening yet, or no more. */
export const NotListening = Schema.TaggedStruct("NotListening", { address: Schema.String })

const Cause = Schema.Union([
  UnknownScheme,
  DialFailed,
  HandshakeFailed,
  TimedOut,
  ListenFailed,
  LimitReached,
  NoAddress,
  ProtocolTaken,
  NotListening
])

/** Every address of a target failed, each for its own reason. */
export const AllFailed = Schema.TaggedStruct("AllFailed", { node: Schema.String, causes: Schema.Array(Cause) })

/** Why a transport could not do what was asked. */
export const TransportErrorReason = Schema.Union([...Cause.members, AllFailed])
/** Why a transport could not do what was asked. */
export type TransportErrorReason = typeof TransportErrorReason.Type

const explain = (reason: TransportErrorReason): string => {
  switch (reason._tag) {
    case "UnknownScheme":
      return `no transport of this node speaks ${reason.address}; it speaks ${reason.known.join(", ") || "none"}`
    case "DialFailed":
      return `could not reach ${reason.address}: ${reason.detail}`
    case "HandshakeFailed":
      return `${reason.address} answered, but the handshake failed (${reason.code}): ${reason.detail}`
    case "TimedOut":
      return `${reason.address} did not answer within ${reason.afterMs} ms`
    case "ListenFailed":
      return `cannot listen on ${reason.address}: ${reason.detail}`
    case "LimitReached":
      return `the limit ${reason.limit} (${reason.value}) is reached`
    case "NoAddress":
      return `no address of ${reason.node} is known`
    case "ProtocolTaken":
      return `protocol ${reason.protocol} already has a handler on this node`
    case "NotListening":
      return `the transport of ${reason.address} is not started`
    case "AllFailed":
      return `${reason.node} could not be reached: ${reason.causes.map(explain).join("; ")}`
  }
}

/** A transport could not do what was asked. */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  reason: TransportErrorReason
}) {
  override get message(): string {
    return explain(this.reason)
  }
}

/** Nobody listens there, or another node does. */
const isElsewhere = (reason: TransportErrorReason): boolean =>
  (reason._tag === "DialFailed" && reason.refused === true) ||
  (reason._tag === "HandshakeFailed" && reason.code === "UnexpectedPeer")

/** Wherever a peer was dialled, it is not there any more: it has not just become unreachable. */
export const isRefusal = ({ reason }: TransportError): boolean =>
  reason._tag === "AllFailed" ? reason.causes.every(isElsewhere) : isElsewhere(reason)

/** How a node reaches peers at addresses of some schemes. */
export class Transport extends Context.Service<
  Transport,
  {
    /** Address schemes, without the colon. */
    readonly schemes: ReadonlyArray<string>
    /** Only holders of a network key can connect. Absent means anyone can. */
    readonly isPrivate?: boolean
    /**
     * Starts accepting for an owner and gives the addresses where this node can be reached (none for one that only dials).
     * Called once, before any `dial`. Closing the scope stops accepting and closes every connection.
     */
    readonly listen: (owner: Owner) => Effect.Effect<ReadonlyArray<Address>, TransportError, Scope.Scope>
    /**
     * Connects. With `expect`, fails unless the peer proves that key. Interruption abandons the attempt and leaves nothing.
     * Safe to retry.
     */
    readonly dial: (address: Address, expect: NodeId | undefined) => Effect.Effect<Connection, TransportError>
  }
>()("@parley/core/Transport") {}

/** Several transports as one; each serves the addresses of its schemes. */
export const merge = (transports: ReadonlyArray<Transport["Service"]>): Transport["Service"] => {
  const schemes = transports.flatMap((transport) => transport.schemes)
  return Transport.of({
    schemes,
    isPrivate: transports.length > 0 && transports.every((transport) => transport.isPrivate === true),
    listen: (owner) => {
      const current = transports.map((): ReadonlyArray<Address> => [])
      return Effect.map(
        Effect.forEach(transports, (transport, index) =>
          Effect.map(
            transport.listen({
              ...owner,
              onAddresses: (addresses) => {
                current[index] = addresses
                owner.onAddresses(current.flat())
              }
            }),
            (addresses) => {
              current[index] = addresses
            }
          )
        ),
        () => current.flat()
      )
    },
    dial: (address, expect) => {
      const transport = transports.find((candidate) => candidate.schemes.includes(schemeOf(address)))
      return transport === undefined
        ? Effect.fail(new TransportError({ reason: { _tag: "UnknownScheme", address, known: schemes } }))
        : transport.dial(address, expect)
    }
  })
}
