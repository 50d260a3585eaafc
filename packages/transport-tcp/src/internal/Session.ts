/**
 * Session: many streams on one authenticated link.
 *
 * What is sent in one turn is written into one buffer as it is encoded, and sealed and written once when the turn's microtasks have run, in
 * records of at most 64 KiB. What comes is parsed where it was decrypted. Nothing is allocated for a frame but the view that a
 * handler gets; there is no promise, fibre or exception in between.
 */
import * as Effect from "effect/Effect"
import type { NodeId } from "@parley/core/NodeId"
import { ResetCode } from "@parley/core/Transport"
import type { Address, Connection, StreamHandler } from "@parley/core/Transport"
import type { CipherState } from "../CipherState.ts"
import * as Frame from "../Frame.ts"
import type { SessionLimits } from "../Limits.ts"
import { Budget, Holding } from "./Budget.ts"
import type { ByteLink, LinkHandler } from "./ByteLink.ts"
import * as DataFrames from "./DataFrames.ts"
import { Outbox, type OutboxOwner } from "./Outbox.ts"
import { RecordReader } from "./Records.ts"
import type { SessionOptions, SessionOwner } from "./SessionOptions.ts"
import { SessionStream } from "./SessionStream.ts"
import { StreamTable } from "./StreamTable.ts"
import { Sweeper, type Swept } from "./Sweeper.ts"

const empty = new Uint8Array(0)
export class Session implements Connection, Frame.FrameSink, LinkHandler, OutboxOwner, Swept {
  readonly peer: NodeId
  readonly address: Address
  readonly direction: "outbound" | "inbound"
  readonly relayed: boolean
  readonly window: number
  readonly peerWindow: number
  /** Most bytes in the body of a frame for this peer. */
  readonly maxBody: number
  /** What we may still send, over all streams. */
  credit: number
  slot = 0
  /** Streams with something to send that wait for the link or the connection's credit. */
  readonly blocked = new Set<SessionStream>()

  readonly #link: ByteLink
  readonly #receive: CipherState
  readonly #limits: SessionLimits
  readonly #holding: Holding
  readonly #owner: SessionOwner
  readonly #peerMaxStreams: number
  readonly #reader: RecordReader
  readonly #streams = new StreamTable<SessionStream>()
  readonly #out: Outbox
  readonly #sweeper: Sweeper
  #state: "open" | "draining" | "closed" = "open"
  #nextId: number
  #ourStreams = 0
  #theirStreams = 0
  /** The stream that was opened last, and others that were opened and have sent nothing. */
  #opened: SessionStream | undefined
  #unannounced: Array<SessionStream> = []
  #allowance: number
  #owed = 0
  #pong = false
  #heard = true
  #heardAt = performance.now()
  #pinged = false
  #sentGoAway = false
  #gotGoAway = false
  #onDrained: Array<() => void> = []

  constructor(options: SessionOptions) {
    this.peer = options.peer
    this.address = options.address
    this.direction = options.direction
    this.relayed = options.relayed
    this.window = options.limits.windowBytes
    this.peerWindow = options.peerSettings.windowBytes
    this.maxBody = Math.min(Frame.MAX_BODY_BYTES, options.peerMaxFrame - Frame.HEADER_BYTES)
    this.credit = options.peerSettings.connectionWindowBytes
    this.#link = options.link
    this.#receive = options.receive
    this.#limits = options.limits
    this.#holding = new Holding(options.budget ?? new Budget(Number.POSITIVE_INFINITY), options.limits)
    this.#owner = options.owner
    this.#peerMaxStreams = options.peerSettings.maxStreams
    this.#allowance = options.limits.connectionWindowBytes
    this.#nextId = options.direction === "outbound" ? 1 : 2
    this.#out = new Outbox(options.link, options.send, options.prefix, this.#heardAt, options.limits.turnMs, this)
    this.#reader = new RecordReader((record) => this.#open(record))
    this.#sweeper = options.sweeper ?? new Sweeper(options.limits)
    this.#sweeper.add(this)
    options.link.attach(this)
  }

  /** So much waits in front of the network that streams must queue. */
  get congested(): boolean {
    return this.#out.congested
  }

  readonly state = (): "open" | "draining" | "closed" => this.#state

  readonly streams = (): number => this.#streams.size

  readonly open = (protocol: number, handler: StreamHandler): SessionStream | undefined => {
    if (this.#state !== "open" || this.#ourStreams >= this.#peerMaxStreams) return undefined
    while (this.#streams.get(this.#nextId) !== undefined) this.#advanceId()
    const stream = new SessionStream(this, this.#nextId, protocol & 0xff, true)
    stream.handler = handler
    this.#advanceId()
    this.#streams.add(stream)
    this.#ourStreams++
    this.#hold()
    this.#opened = stream
    this.#out.schedule()
    return stream
  }

  readonly drain = (graceMs: number): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      if (this.#state === "closed") return resume(Effect.void)
      const timer = setTimeout(() => this.close("it was drained, and the time for that was over"), graceMs)
      this.#onDrained.push(() => {
        clearTimeout(timer)
        resume(Effect.void)
      })
      this.#goAway()
    })

  readonly close = (why: string): void => {
    if (this.#state === "closed") return
    this.#out.flush()
    this.#end(why, true)
  }

  /** Closes because the peer broke a rule or went. */
  fail(why: string): void {
    this.#end(why, false)
  }

  /** Takes bytes of the link that came before this session stood. */
  receive(earlyData: Uint8Array, rest: Uint8Array): void {
    if (earlyData.length > 0 && this.isUp()) this.#parse(earlyData)
    if (rest.length > 0) this.onData(rest)
  }

  onData(chunk: Uint8Array): void {
    if (this.#state === "closed") return
    this.#heard = true
    const wrong = this.#reader.push(chunk)
    if (wrong !== undefined) this.fail(wrong)
  }

  onDrain(): void {
    this.#out.congested = false
    try {
      this.#unblock()
    } catch (cause) {
      this.#broken(cause)
    }
  }

  onClose(why: string): void {
    this.#end(why, false)
  }

  // What the outbox asks for.

  isUp(): boolean {
    return this.#state !== "closed"
  }

  onFlush(): void {
    if (this.#opened !== undefined || this.#unannounced.length > 0) this.#announce()
    if (!this.#pong) return
    this.#pong = false
    this.#out.writeBare(Frame.Type.Pong)
  }

  /** Sends what waits before the turn is over, for a session that runs over a stream of this one. */
  push(): void {
    if (this.isUp()) this.#out.push()
  }

  onFlushed(): void {
    if (this.#sentGoAway && this.#gotGoAway && this.#streams.size === 0) this.#end("it was drained", true)
  }

  // What streams ask for.

  /** Encodes a whole message into one frame; `bound` is at least its length, and credit has been checked against it. */
  writeMessage(
    stream: SessionStream,
    head: Uint8Array,
    body: string | Uint8Array | undefined,
    bound: number,
    last: boolean
  ): void {
    this.#spend(stream, DataFrames.writeMessage(this.#out, stream, head, body, bound, last))
  }

  /** Encodes a part of a message: all of `head`, and `bytes` from `from` to `to`. */
  writePiece(
    stream: SessionStream,
    head: Uint8Array,
    bytes: Uint8Array,
    from: number,
    to: number,
    more: boolean,
    last: boolean
  ): void {
    this.#spend(stream, DataFrames.writePiece(this.#out, stream, head, bytes.subarray(from, to), more, last))
  }

  /** Message bytes that the record which is begun has room for. */
  roomInRecord(): number {
    return Frame.MAX_BODY_BYTES - 1 - this.#out.pending
  }

  writeReset(stream: SessionStream, code: ResetCode): void {
    if (!stream.announced || this.#state === "closed") return
    this.#out.writeReset(stream.id, code)
  }

  /** Both sides have said their last. */
  finish(stream: SessionStream): void {
    this.remove(stream)
  }

  /** Forgets a stream. */
  remove(stream: SessionStream): void {
    if (stream.closed) return
    stream.drop()
    if (this.blocked.size > 0) this.blocked.delete(stream)
    this.#streams.delete(stream.id)
    if (stream.ours) this.#ourStreams--
    else this.#theirStreams--
    if (stream.held > 0) {
      this.releaseConnection(stream.held)
      stream.held = 0
    }
    if (this.#state === "draining" && this.#streams.size === 0) this.#out.schedule()
  }

  /** The receiver is done with so much of a stream. */
  release(stream: SessionStream, cost: number): void {
    this.releaseConnection(cost)
    if (stream.gotLast) return
    stream.owed += cost
    if (stream.owed >= this.window >> 1) {
      this.#writeCredit(stream.id, stream.owed)
      stream.allowance += stream.owed
      stream.owed = 0
    }
  }

  /** So much less is held for the connection. */
  releaseConnection(cost: number): void {
    this.#owed += cost
    if (this.#owed >= this.#limits.connectionWindowBytes >> 1) {
      this.#writeCredit(0, this.#owed)
      this.#allowance += this.#owed
      this.#owed = 0
    }
  }

  /** Bytes that streams have queued: what waits for credit, or for the link. */
  get waiting(): number {
    return this.#holding.waiting
  }

  /** Counts what streams have queued; false when that is more than allowed. */
  queued(bytes: number): boolean {
    return this.#holding.queued(bytes)
  }

  /** Counts buffers of messages that are not whole; false, and not counted, when that would be more than allowed. */
  reassembling(bytes: number): boolean {
    return this.#holding.reassembling(bytes)
  }

  // What frames say. Each method returns whether the session still stands.

  onDataFrame(id: number, flags: number, protocol: number, bytes: Uint8Array, start: number, end: number): boolean {
    const cost = end - start + Frame.FRAME_COST
    this.#allowance -= cost
    if (this.#allowance < 0) return this.#violation("more bytes than the connection's window came")
    let stream = this.#streams.get(id)
    if ((flags & Frame.Flag.Open) !== 0) {
      if (stream !== undefined || (id & 1) === (this.direction === "outbound" ? 1 : 0)) {
        return this.#violation(`stream ${id} was opened, which is open or not the peer's to open`)
      }
      if (this.#gotGoAway) return this.#violation(`stream ${id} was opened after GOAWAY`)
      if (this.#theirStreams >= this.#limits.maxStreams) {
        this.#out.writeReset(id, ResetCode.Overloaded)
        this.releaseConnection(cost)
        return true
      }
      stream = new SessionStream(this, id, protocol, false)
      this.#streams.add(stream)
      this.#theirStreams++
      const handler = this.#owner.onStream(this, protocol, stream)
      if (handler === undefined) stream.reset(ResetCode.UnknownProtocol)
      else if (!stream.closed) stream.handler = handler
      if (this.#state === "closed") return false
    }
    if (stream === undefined || stream.closed) {
      // Sent before the peer knew that the stream is over.
      this.releaseConnection(cost)
      return true
    }
    if (stream.gotLast) return this.#violation(`a message came after the last one of stream ${id}`)
    stream.allowance -= cost
    if (stream.allowance < 0) return this.#violation(`more bytes than the window of stream ${id} came`)
    stream.take(bytes, start, end, (flags & Frame.Flag.More) !== 0, (flags & Frame.Flag.Last) !== 0, cost)
    return this.isUp()
  }

  onCreditFrame(id: number, amount: number): boolean {
    if (id === 0) {
      this.credit += amount
      if (this.credit > 0xffff_ffff) return this.#violation("the connection's credit passed 4 GiB")
      this.#unblock()
    } else {
      const stream = this.#streams.get(id)
      if (stream === undefined) return true
      stream.credit += amount
      if (stream.credit > 0xffff_ffff) return this.#violation(`the credit of stream ${id} passed 4 GiB`)
      stream.pump()
    }
    return this.isUp()
  }

  onResetFrame(id: number, code: number): boolean {
    const stream = this.#streams.get(id)
    if (stream === undefined) return true
    const handler = stream.handler
    this.remove(stream)
    handler.onClosed(code <= ResetCode.Disconnected ? (code as ResetCode) : ResetCode.Internal)
    return this.isUp()
  }

  onPing(): boolean {
    this.#pong = true
    this.#out.schedule()
    return true
  }

  onPong(): boolean {
    return true
  }

  onGoAway(): boolean {
    this.#gotGoAway = true
    // Where both said it at once, nothing else would end the session.
    if (this.#sentGoAway) this.#out.schedule()
    else this.#goAway()
    return true
  }

  // Inside.

  #spend(stream: SessionStream, bytes: number): void {
    const cost = bytes + Frame.FRAME_COST
    stream.credit -= cost
    this.credit -= cost
  }

  #writeCredit(id: number, amount: number): void {
    if (this.isUp()) this.#out.writeCredit(id, amount)
  }

  #violation(what: string): false {
    this.fail(`the peer broke the protocol: ${what}`)
    return false
  }

  #advanceId(): void {
    this.#nextId = (this.#nextId + 2) >>> 0
    if (this.#nextId === 0) this.#nextId = 2
  }

  #open(record: Uint8Array): boolean {
    const plaintext = this.#receive.openFresh(record)
    if (plaintext === undefined) {
      this.fail("a record does not open: it was altered, repeated, left out or reordered on the way")
      return false
    }
    this.#parse(plaintext)
    return this.isUp()
  }

  #parse(frames: Uint8Array): void {
    try {
      const wrong = Frame.parse(frames, this)
      if (wrong !== undefined) this.#violation(wrong)
    } catch (cause) {
      this.#broken(cause)
    }
  }

  #broken(cause: unknown): void {
    this.fail(`a handler of this node threw: ${cause instanceof Error ? cause.message : String(cause)}`)
  }

  #unblock(): void {
    if (this.blocked.size === 0) return
    const waiting = [...this.blocked]
    this.blocked.clear()
    for (const stream of waiting) stream.pump()
  }

  /** Notes the stream that was opened last, unless it has sent something, as nearly all have. */
  #hold(): void {
    if (this.#opened?.announced === false) this.#unannounced.push(this.#opened)
    this.#opened = undefined
  }

  /** Tells the peer of streams that were opened and have sent nothing. */
  #announce(): void {
    this.#hold()
    const waiting = this.#unannounced
    if (waiting.length === 0) return
    this.#unannounced = []
    for (const stream of waiting) {
      if (stream.announced || stream.closed) continue
      if (this.credit >= Frame.FRAME_COST) this.writePiece(stream, empty, empty, 0, 0, true, false)
      else this.#unannounced.push(stream)
    }
  }

  #goAway(): void {
    if (this.#sentGoAway || this.#state === "closed") return
    this.#announce()
    this.#sentGoAway = true
    for (const stream of this.#unannounced)
      if (!stream.closed && !stream.announced) stream.abort(ResetCode.Disconnected)
    this.#unannounced = []
    this.#state = "draining"
    this.#out.writeBare(Frame.Type.GoAway)
  }

  /** Asks for a sign of life at once; gives whether one came since, for who asks again. */
  probe(): () => boolean {
    const at = performance.now()
    this.#heard = false
    if (this.isUp()) this.#out.writeBare(Frame.Type.Ping)
    return () => this.#heard || this.#heardAt > at
  }

  tick(now: number): void {
    if (this.#heard) {
      this.#heard = false
      this.#pinged = false
      this.#heardAt = now
    } else if (this.#pinged && now - this.#heardAt >= this.#limits.deadAfterMs) {
      return this.fail(`the peer was silent for ${Math.round(now - this.#heardAt)} ms`)
    } else if (!this.#pinged && now - this.#heardAt >= this.#limits.keepaliveMs) {
      this.#pinged = true
      this.#out.writeBare(Frame.Type.Ping)
    }
    this.#out.tick(now, this.#limits.stallTimeoutMs)
  }

  #end(why: string, graceful: boolean): void {
    if (this.#state === "closed") return
    this.#state = "closed"
    this.#sweeper.remove(this)
    if (graceful) this.#link.close()
    else this.#link.destroy()
    const streams = this.#streams.values()
    this.#streams.clear()
    this.blocked.clear()
    for (const stream of streams) {
      stream.drop()
      try {
        stream.handler.onClosed(ResetCode.Disconnected)
      } catch {
        // It may not throw; the others and the owner must hear all the same.
      }
    }
    this.#owner.onClosed(this, why)
    for (const done of this.#onDrained) done()
    this.#onDrained = []
  }
}
