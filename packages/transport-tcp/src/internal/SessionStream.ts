/** One stream of a session: its credit, what waits for credit, and the message that is not whole yet. */
import { MAX_MESSAGE_BYTES, MAX_QUEUED_BYTES, ResetCode } from "@parley/core/Transport"
import type { Stream, StreamHandler } from "@parley/core/Transport"
import { FRAME_COST } from "../Frame.ts"
import type { Session } from "./Session.ts"

const nothingBefore = new Uint8Array(0)
const nothing: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }

/** A message is not cut into pieces smaller than this for want of credit. */
const MIN_PIECE_BYTES = 1_024
/** First buffer of a message that comes in parts; doubled as it grows. */
const FIRST_PART_BYTES = 4_096
/** One that begins with so many bytes gets room for 64 KiB and its head at once: most are of that size. */
const LONG_PART_BYTES = 16 * 1024
const LONG_MESSAGE_BYTES = 65 * 1024
/** Bytes that share their record with no others of their size. */
const LONG_BODY_BYTES = 32 * 1024
/** Beyond so many characters a string's bytes are counted before room is made for it; below, three each are assumed. */
const COUNTED_CHARACTERS = 4_096

export class SessionStream implements Stream {
  readonly session: Session
  readonly id: number
  readonly protocol: number
  readonly ours: boolean
  handler: StreamHandler = nothing
  /** The peer has heard of it. */
  announced: boolean
  closed = false
  sentLast = false
  gotLast = false
  /** What we may still send. */
  credit: number
  /** What the peer may still send. */
  allowance: number
  /** Delivered and free, but the peer has not been told yet. */
  owed = 0
  /** Delivered while paused. */
  held = 0
  paused = false

  /** `send` has returned false, and `onWritable` has not been called since. */
  #starved = false
  #queue: Array<Uint8Array> | undefined
  #queueOffset = 0
  #queuedBytes = 0
  #pumping = false
  #part: Buffer | undefined
  #partBytes = 0

  constructor(session: Session, id: number, protocol: number, ours: boolean) {
    this.session = session
    this.id = id
    this.protocol = protocol
    this.ours = ours
    this.announced = !ours
    this.credit = session.peerWindow
    this.allowance = session.window
  }

  send(head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean {
    if (this.closed || this.sentLast) return false
    const session = this.session
    if (this.#queue === undefined && !session.congested) {
      const bound =
        head.length +
        (body === undefined
          ? 0
          : typeof body !== "string"
            ? body.length
            : body.length <= COUNTED_CHARACTERS
              ? body.length * 3
              : Buffer.byteLength(body))
      const cost = bound + FRAME_COST
      if (cost <= this.credit && cost <= session.credit && bound < session.maxBody) {
        if (last) this.sentLast = true
        if (bound < LONG_BODY_BYTES || body === undefined || typeof body === "string") {
          session.writeMessage(this, head, body, bound, last)
        } else {
          session.writePiece(this, head, body, 0, body.length, false, last)
        }
        if (last && this.gotLast) session.finish(this)
        return true
      }
    }
    return this.#enqueue(head, body, last)
  }

  reset(code: ResetCode): void {
    if (this.closed) return
    this.handler = nothing
    this.abort(code)
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    const held = this.held
    this.held = 0
    if (held > 0 && !this.closed) this.session.release(this, held)
  }

  /** Resets the stream for a reason of the session's, and tells its handler. */
  abort(code: ResetCode): void {
    if (this.closed) return
    const handler = this.handler
    this.session.writeReset(this, code)
    this.session.remove(this)
    handler.onClosed(code)
  }

  /** Lets go of everything; called once, by the session. */
  drop(): void {
    this.closed = true
    if (this.#queue !== undefined) {
      this.session.queued(-this.#queuedBytes)
      this.#queuedBytes = 0
      this.#queue = undefined
    }
    if (this.#part !== undefined) this.#dropPart()
  }

  /** Takes the bytes of one DATA frame, which the session has counted. */
  take(bytes: Uint8Array, start: number, end: number, more: boolean, last: boolean, cost: number): void {
    if (last) this.gotLast = true
    if (more || this.#part !== undefined) {
      if (!this.#append(bytes, start, end)) return this.session.releaseConnection(cost)
      if (more) {
        if (this.paused) this.held += cost
        else this.session.release(this, cost)
        return
      }
      const message = this.#part!.subarray(0, this.#partBytes)
      this.#dropPart()
      this.handler.onMessage(message, last)
    } else {
      this.handler.onMessage(bytes.subarray(start, end), last)
    }
    if (this.closed) this.session.releaseConnection(cost)
    else if (this.paused) this.held += cost
    else this.session.release(this, cost)
    if (last && !this.closed && this.sentLast && this.#queue === undefined) this.session.finish(this)
  }

  /** Sends of the queue what credit and link allow. */
  pump(): void {
    if (this.#pumping || this.closed) return
    const session = this.session
    this.#pumping = true
    let queue = this.#queue
    let index = 0
    while (queue !== undefined) {
      const message = queue[index]
      if (message === undefined) {
        queue = this.#queue = undefined
        break
      }
      const remaining = message.length - this.#queueOffset
      const room = this.#room(remaining)
      if (room < 0) break
      const end = room === remaining
      const last = end && this.sentLast && index === queue.length - 1
      session.writePiece(this, nothingBefore, message, this.#queueOffset, this.#queueOffset + room, !end, last)
      if (end) {
        index++
        this.#queueOffset = 0
        this.#queuedBytes -= message.length + FRAME_COST
        session.queued(-message.length - FRAME_COST)
      } else {
        this.#queueOffset += room
      }
    }
    if (index > 0 && queue !== undefined) queue.splice(0, index)
    this.#pumping = false
    if (queue !== undefined || this.closed) return
    if (this.sentLast) {
      if (this.gotLast) session.finish(this)
    } else if (this.#starved) {
      this.#starved = false
      this.handler.onWritable()
    }
  }

  /** How many of so many bytes may be sent now, as one frame; below zero where the stream waits for credit or the link. */
  #room(remaining: number): number {
    const session = this.session
    if (session.congested) {
      session.blocked.add(this)
      return -1
    }
    const most = Math.min(remaining, session.maxBody - 1)
    const room = Math.min(most, this.credit - FRAME_COST, session.credit - FRAME_COST)
    if (room < most && room < MIN_PIECE_BYTES) {
      if (session.credit < this.credit) session.blocked.add(this)
      return -1
    }
    // What is longer than a record's rest fills it first, so that records are full.
    const rest = session.roomInRecord()
    return rest < room && rest >= MIN_PIECE_BYTES ? rest : room
  }

  /** Sends what may go at once of `head ‖ body`, straight from there; gives how many bytes of it went. */
  #sendPieces(head: Uint8Array, body: Uint8Array, last: boolean): number {
    const length = head.length + body.length
    let sent = 0
    while (sent < length) {
      const room = this.#room(length - sent)
      if (room < 0) break
      const before = sent === 0 ? head : nothingBefore
      const from = sent === 0 ? 0 : sent - head.length
      sent += room
      const more = sent < length
      if (last && !more) this.sentLast = true
      this.session.writePiece(this, before, body, from, sent - head.length, more, last && !more)
    }
    return sent
  }

  #enqueue(head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean {
    const bodyBytes = typeof body === "string" ? Buffer.byteLength(body) : (body?.length ?? 0)
    const length = head.length + bodyBytes
    if (length > MAX_MESSAGE_BYTES) {
      this.abort(ResetCode.Malformed)
      return false
    }
    if (this.#queuedBytes + length + FRAME_COST > MAX_QUEUED_BYTES) {
      this.abort(ResetCode.TooSlow)
      return false
    }
    const isDirect = this.#queue === undefined && body instanceof Uint8Array && head.length < MIN_PIECE_BYTES
    const sent = isDirect ? this.#sendPieces(head, body, last) : 0
    if (sent > 0 && sent === length) {
      if (last && this.gotLast) this.session.finish(this)
      return true
    }
    const message = Buffer.allocUnsafe(length - sent)
    if (sent > 0) {
      message.set((body as Uint8Array).subarray(sent - head.length))
    } else {
      message.set(head)
      if (typeof body === "string") message.write(body, head.length, "utf8")
      else if (body !== undefined) message.set(body, head.length)
    }
    if (last) this.sentLast = true
    if (this.#queue === undefined) this.#queue = [message]
    else this.#queue.push(message)
    this.#queuedBytes += message.length + FRAME_COST
    if (!this.session.queued(message.length + FRAME_COST)) {
      if (this.session.congested) this.session.fail("the peer stopped reading, and what waits for it is full")
      else this.abort(ResetCode.TooSlow)
      return false
    }
    this.pump()
    if (this.#queue === undefined) return !this.closed
    this.#starved = true
    return false
  }

  #append(bytes: Uint8Array, start: number, end: number): boolean {
    const needed = this.#partBytes + end - start
    if (needed > MAX_MESSAGE_BYTES) {
      this.abort(ResetCode.Malformed)
      return false
    }
    const part = this.#part
    if (part === undefined || part.length < needed) {
      const room = part === undefined && needed >= LONG_PART_BYTES ? LONG_MESSAGE_BYTES : 2 * needed
      const size = Math.min(MAX_MESSAGE_BYTES, Math.max(FIRST_PART_BYTES, room))
      if (!this.session.reassembling(size - (part?.length ?? 0))) {
        this.abort(ResetCode.Overloaded)
        return false
      }
      const grown = Buffer.allocUnsafeSlow(size)
      if (part !== undefined) grown.set(part.subarray(0, this.#partBytes))
      this.#part = grown
    }
    this.#part!.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), this.#partBytes)
    this.#partBytes = needed
    return true
  }

  #dropPart(): void {
    if (this.#part !== undefined) this.session.reassembling(-this.#part.length)
    this.#part = undefined
    this.#partBytes = 0
  }
}
