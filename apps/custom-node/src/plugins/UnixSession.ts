/**
 * UnixSession: many streams of messages over one sealed socket, each with its own credit. This is the part of a transport
 * that the contract says most about; whatever the socket is made of, it may look like this.
 *
 * A record is one frame: kind (1 byte), stream (4 bytes), and what the kind says. Who dialled opens odd streams, the other
 * end even ones. A frame that breaks the rules ends the connection; one for a stream that is over is ignored, since it may
 * have been on its way.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { NodeId } from "@parley/core/NodeId"
import {
  type Address,
  type Connection,
  MAX_MESSAGE_BYTES,
  MAX_QUEUED_BYTES,
  MAX_STREAMS,
  type Owner,
  ResetCode,
  type Stream,
  type StreamHandler,
  WINDOW_BYTES
} from "@parley/core/Transport"
import type { LinkHandler, SecureSocket } from "./SecureSocket.ts"

/** Bytes of a message in one frame: small enough that a long message does not hold up short ones. */
const CHUNK_BYTES = 32 * 1024
/** Bytes of unfinished messages that a peer may make this end hold, over all its streams. */
export const MAX_PARTIAL_BYTES = 4 * MAX_MESSAGE_BYTES

const OPEN = 1
const DATA = 2
const CREDIT = 3
const RESET = 4
const DRAIN = 5
/** Flags of DATA: the message ends here; it is the stream's last. */
const WHOLE = 1
const LAST = 2

/** A number from the wire as a code, if it is one. */
const codeOf = (byte: number | undefined): ResetCode =>
  Object.values(ResetCode).find((code) => code === byte) ?? ResetCode.Internal

class UnixStream implements Stream {
  readonly #session: UnixSession
  readonly id: number
  handler: StreamHandler | undefined
  closed = false
  // Sending: messages wait here while the peer gives no credit.
  readonly #waiting: Array<{ readonly bytes: Uint8Array; readonly last: boolean; offset: number }> = []
  #waitingBytes = 0
  #credit = WINDOW_BYTES
  #blocked = false
  #sentLast = false
  // Receiving: what came and was not released is never more than a window.
  readonly #partial: Array<Uint8Array> = []
  #partialBytes = 0
  #unreleased = 0
  #paused = false
  #gotLast = false

  constructor(session: UnixSession, id: number, handler?: StreamHandler) {
    this.#session = session
    this.id = id
    this.handler = handler
  }

  send(head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean {
    if (this.closed || this.#sentLast) return false
    const tail = typeof body === "string" ? Buffer.from(body, "utf8") : (body ?? new Uint8Array(0))
    const size = head.length + tail.length
    if (size > MAX_MESSAGE_BYTES || this.#waitingBytes + size > MAX_QUEUED_BYTES) {
      this.reset(ResetCode.TooSlow)
      queueMicrotask(() => this.handler?.onClosed(ResetCode.TooSlow))
      return false
    }
    this.#sentLast = last
    this.#waiting.push({ bytes: Buffer.concat([head, tail]), last, offset: 0 })
    this.#waitingBytes += size
    this.#pump()
    this.#blocked = !this.#hasRoom()
    return !this.#blocked
  }

  reset(code: ResetCode): void {
    if (this.closed) return
    this.#close()
    this.#session.frame(RESET, this.id, Uint8Array.of(code))
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#release()
  }

  /** The peer has taken bytes, so that more may go. False when it gives more than there is. */
  credited(bytes: number): boolean {
    this.#credit += bytes
    this.wake()
    return this.#credit <= WINDOW_BYTES
  }

  /** There may be room again. */
  wake(): void {
    this.#pump()
    if (!this.#blocked || this.closed || !this.#hasRoom()) return
    this.#blocked = false
    this.handler?.onWritable()
  }

  /** Bytes came. False when the peer may not have sent them. */
  take(bytes: Uint8Array, flags: number): boolean {
    this.#unreleased += bytes.length
    const size = this.#partialBytes + bytes.length
    if (this.#gotLast || this.#unreleased > WINDOW_BYTES || size > MAX_MESSAGE_BYTES) return false
    if ((flags & WHOLE) === 0) {
      this.#partial.push(bytes)
      this.#partialBytes = size
      this.#session.partialBytes += bytes.length
      if (this.#session.partialBytes > MAX_PARTIAL_BYTES) {
        this.reset(ResetCode.Overloaded)
        this.handler?.onClosed(ResetCode.Overloaded)
      }
    } else {
      const message = this.#partialBytes === 0 ? bytes : Buffer.concat([...this.#partial, bytes])
      this.#forgetPartial()
      this.#gotLast = (flags & LAST) !== 0
      this.handler?.onMessage(message, this.#gotLast)
    }
    this.#release()
    this.#settle()
    return true
  }

  /** The other end has gone, or reset the stream. */
  lost(code: ResetCode): void {
    if (this.closed) return
    this.#close()
    this.handler?.onClosed(code)
  }

  #hasRoom(): boolean {
    return this.#waiting.length === 0 && this.#credit > 0 && !this.#session.congested
  }

  /** Returns credit, half a window at a time: a sender out of credit is always owed that much. */
  #release(): void {
    if (this.closed || this.#paused || this.#unreleased < WINDOW_BYTES / 2) return
    const credit = Buffer.alloc(4)
    credit.writeUInt32BE(this.#unreleased)
    this.#unreleased = 0
    this.#session.frame(CREDIT, this.id, credit)
  }

  #pump(): void {
    while (!this.closed && !this.#session.congested) {
      const first = this.#waiting[0]
      if (first === undefined) break
      const left = first.bytes.length - first.offset
      const size = Math.min(left, this.#credit, CHUNK_BYTES)
      if (size === 0 && left > 0) break
      const isWhole = size === left
      const flags = isWhole ? (first.last ? WHOLE | LAST : WHOLE) : 0
      this.#session.frame(DATA, this.id, Uint8Array.of(flags), first.bytes.subarray(first.offset, first.offset + size))
      first.offset += size
      this.#credit -= size
      this.#waitingBytes -= size
      if (isWhole) this.#waiting.shift()
    }
    this.#settle()
  }

  /** Both sides have said their last. */
  #settle(): void {
    if (!this.closed && this.#sentLast && this.#gotLast && this.#waiting.length === 0) this.#close()
  }

  #close(): void {
    this.closed = true
    this.#waiting.length = 0
    this.#forgetPartial()
    this.#session.forget(this)
  }

  #forgetPartial(): void {
    this.#session.partialBytes -= this.#partialBytes
    this.#partial.length = 0
    this.#partialBytes = 0
  }
}

/** What a session needs to know. */
export interface SessionOptions {
  readonly socket: Pick<SecureSocket, "congested" | "send" | "end">
  readonly owner: Owner
  readonly peer: NodeId
  readonly address: Address
  readonly direction: "outbound" | "inbound"
}

/** One connection. */
export class UnixSession implements Connection, LinkHandler {
  readonly peer: NodeId
  readonly address: Address
  readonly direction: "outbound" | "inbound"
  readonly relayed = false
  /** Bytes of unfinished messages held now. */
  partialBytes = 0
  readonly #socket: SessionOptions["socket"]
  readonly #owner: Owner
  readonly #streams = new Map<number, UnixStream>()
  readonly #idle: Array<() => void> = []
  #state: "open" | "draining" | "closed" = "open"
  #nextId: number
  #lastTheirs = 0
  #mine = 0

  constructor({ address, direction, owner, peer, socket }: SessionOptions) {
    this.peer = peer
    this.address = address
    this.direction = direction
    this.#socket = socket
    this.#owner = owner
    this.#nextId = direction === "outbound" ? 1 : 2
  }

  readonly state = (): "open" | "draining" | "closed" => this.#state
  readonly streams = (): number => this.#streams.size

  get congested(): boolean {
    return this.#socket.congested
  }

  readonly open = (protocol: number, handler: StreamHandler): Stream | undefined => {
    if (this.#state !== "open" || this.#mine >= MAX_STREAMS || this.#nextId > 0xffff_ffff) return undefined
    const stream = new UnixStream(this, this.#nextId, handler)
    this.#nextId += 2
    this.#mine += 1
    this.#streams.set(stream.id, stream)
    this.frame(OPEN, stream.id, Uint8Array.of(protocol))
    return stream
  }

  readonly drain = (graceMs: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.#state === "closed") return Effect.void
      this.#state = "draining"
      this.frame(DRAIN, 0)
      const idle = Deferred.makeUnsafe<void>()
      if (this.#streams.size === 0) Deferred.doneUnsafe(idle, Effect.void)
      else this.#idle.push(() => Deferred.doneUnsafe(idle, Effect.void))
      const waited = Effect.timeoutOption(Deferred.await(idle), graceMs)
      return Effect.andThen(
        waited,
        Effect.sync(() => this.close("drained"))
      )
    })

  readonly close = (why: string): void => {
    if (this.#state === "closed") return
    this.#socket.end()
    this.onClosed(why)
  }

  readonly onClosed = (why: string): void => {
    if (this.#state === "closed") return
    this.#state = "closed"
    for (const stream of [...this.#streams.values()]) stream.lost(ResetCode.Disconnected)
    this.#owner.onClosed(this, why)
  }

  readonly onDrain = (): void => {
    for (const stream of [...this.#streams.values()]) stream.wake()
  }

  readonly onRecord = (record: Uint8Array): void => {
    if (this.#state === "closed") return
    const frame = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
    if (frame.length < 5 || !this.#handle(frame[0], frame.readUInt32BE(1), frame.subarray(5))) {
      this.close("the peer broke the protocol")
    }
  }

  frame(kind: number, id: number, ...parts: ReadonlyArray<Uint8Array>): void {
    const head = Buffer.alloc(5)
    head[0] = kind
    head.writeUInt32BE(id, 1)
    this.#socket.send(Buffer.concat([head, ...parts]))
  }

  forget(stream: UnixStream): void {
    if (!this.#streams.delete(stream.id)) return
    if (this.#isMine(stream.id)) this.#mine -= 1
    if (this.#streams.size === 0) for (const wake of this.#idle.splice(0)) wake()
  }

  #isMine(id: number): boolean {
    return id % 2 === this.#nextId % 2
  }

  /** False when the peer may not say this. */
  #handle(kind: number | undefined, id: number, rest: Buffer): boolean {
    const stream = this.#streams.get(id)
    switch (kind) {
      case OPEN:
        return this.#accept(id, rest[0])
      case DATA:
        return rest.length > 0 && (stream?.take(rest.subarray(1), rest[0]!) ?? true)
      case CREDIT:
        return rest.length === 4 && (stream?.credited(rest.readUInt32BE(0)) ?? true)
      case RESET:
        stream?.lost(codeOf(rest[0]))
        return true
      case DRAIN:
        if (this.#state === "open") this.#state = "draining"
        return true
      default:
        return false
    }
  }

  #accept(id: number, protocol: number | undefined): boolean {
    if (protocol === undefined || this.#isMine(id) || id <= this.#lastTheirs) return false
    this.#lastTheirs = id
    if (this.#streams.size - this.#mine >= MAX_STREAMS) {
      this.frame(RESET, id, Uint8Array.of(ResetCode.Overloaded))
      return true
    }
    const stream = new UnixStream(this, id)
    this.#streams.set(id, stream)
    stream.handler = this.#owner.onStream(this, protocol, stream)
    if (stream.handler === undefined) stream.reset(ResetCode.UnknownProtocol)
    return true
  }
}
