/** Outbox: what a session sends in one turn, encoded into one buffer, sealed and written when the turn's microtasks have run. */
import type { CipherState } from "../CipherState.ts"
import { tagLength } from "../CipherState.ts"
import * as Frame from "../Frame.ts"
import { LINK_HIGH_WATER_BYTES, MAX_UNSENT_BYTES } from "../Limits.ts"
import type { ByteLink } from "./ByteLink.ts"
import { LENGTH_BYTES } from "./Records.ts"

/** A new session's buffer; it doubles as turns send more, and comes back to this when idle. */
const FIRST_BYTES = 2_048

/** How often a turn looks at the clock, in bytes that it has to send: fewer are not worth a record of their own. */
const LOOK_BYTES = 1_024

/** Records from this size on are sealed into the same buffers again and again, as long as links send each at once. */
const SPARE_FROM_BYTES = 16 * 1024

/**
 * Those buffers, of all sessions: thousands of sessions with one each would hold more than they send. A session needs one at a
 * time, and one over a circuit is written through another session.
 */
const spares: Array<Buffer> = []
const MAX_SPARES = 4

/** What an outbox asks of its session. */
export interface OutboxOwner {
  /** Whether anything may still be sent. */
  isUp(): boolean
  /** The turn is over: last moment to add frames. */
  onFlush(): void
  /** Everything of the turn has been given to the link. */
  onFlushed(): void
  fail(why: string): void
}

export class Outbox {
  /** Frames not sealed yet are its first `pending` bytes. Write at what `reserve` gives, then move `pending` on. */
  buffer: Buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  pending = 0
  /** So much waits in front of the network that streams must queue. */
  congested = false

  readonly #link: ByteLink
  readonly #cipher: CipherState
  readonly #owner: OutboxOwner
  readonly #flush: () => void
  readonly #turnMs: number
  #prefix: Uint8Array | undefined
  #scheduled = false
  /** When this turn's frames began to wait. */
  #since = 0
  /** Pending bytes at which to look at the clock. */
  #lookAt = LOOK_BYTES
  /** What is being written lies here, and the next record may. */
  #lent: Buffer | undefined
  #written = 0
  #left = 0
  #movedAt: number

  /** `prefix` goes out before the first record, in the same write. */
  constructor(
    link: ByteLink,
    cipher: CipherState,
    prefix: Uint8Array | undefined,
    now: number,
    turnMs: number,
    owner: OutboxOwner
  ) {
    this.#link = link
    this.#cipher = cipher
    this.#prefix = prefix
    this.#movedAt = now
    this.#turnMs = turnMs
    this.#owner = owner
    this.#flush = () => this.flush()
    if (prefix !== undefined) this.schedule()
  }

  /** Makes room for so many bytes and says where. */
  reserve(bytes: number): number {
    let at = this.pending
    if (at + bytes <= this.buffer.length) return at
    if (at + bytes > Frame.MAX_RECORD_BYTES) {
      this.seal()
      at = 0
      if (bytes <= this.buffer.length) return at
    }
    const size = Math.min(Frame.MAX_RECORD_BYTES, Math.max(2 * this.buffer.length, at + bytes))
    const grown = Buffer.allocUnsafeSlow(size)
    grown.set(this.buffer.subarray(0, at))
    this.buffer = grown
    return at
  }

  /** Sees to it that this turn's frames leave when its microtasks have run. */
  schedule(): void {
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#since = performance.now()
      queueMicrotask(this.#flush)
    } else if (this.pending >= this.#lookAt) {
      const now = performance.now()
      if (now - this.#since < this.#turnMs) {
        this.#lookAt = this.pending + LOOK_BYTES
      } else {
        this.#since = now
        this.seal()
        this.#link.push()
      }
    }
  }

  /** Sends what waits, before the turn is over. */
  push(): void {
    if (this.pending === 0) return
    this.#since = performance.now()
    this.seal()
  }

  flush(): void {
    this.#scheduled = false
    if (!this.#owner.isUp()) return
    this.#owner.onFlush()
    if (this.pending > 0) this.seal()
    else if (this.#prefix !== undefined) this.#write(this.#fresh(0))
    this.#scheduled = false
    if (this.#owner.isUp()) this.#owner.onFlushed()
  }

  writeCredit(stream: number, amount: number): void {
    const at = this.reserve(Frame.CREDIT_BYTES)
    Frame.writeCredit(this.buffer, at, stream, amount)
    this.pending = at + Frame.CREDIT_BYTES
    this.schedule()
  }

  writeReset(stream: number, code: number): void {
    const at = this.reserve(Frame.RESET_BYTES)
    Frame.writeReset(this.buffer, at, stream, code)
    this.pending = at + Frame.RESET_BYTES
    this.schedule()
  }

  /** A frame without a body, for the connection. */
  writeBare(kind: number): void {
    const at = this.reserve(Frame.HEADER_BYTES)
    Frame.writeHeader(this.buffer, at, kind, 0, 0)
    this.pending = at + Frame.HEADER_BYTES
    this.schedule()
  }

  /** Looks whether the peer takes anything, and lets go of what an idle session does not need; called now and then. */
  tick(now: number, stallTimeoutMs: number): void {
    const unsent = this.#link.unsent()
    if (unsent === 0 || this.#written - unsent > this.#left) {
      this.#left = this.#written - unsent
      this.#movedAt = now
    } else if (now - this.#movedAt >= stallTimeoutMs) {
      const stalled = Math.round(now - this.#movedAt)
      return this.#owner.fail(`the peer stopped reading: nothing of ${unsent} bytes left for ${stalled} ms`)
    }
    if (this.pending === 0 && this.buffer.length > FIRST_BYTES) this.buffer = Buffer.allocUnsafeSlow(FIRST_BYTES)
  }

  /** Seals what is pending, and `more` behind it, into one record. */
  seal(more?: Uint8Array): void {
    const plaintext = this.buffer.subarray(0, this.pending)
    const bytes = this.pending + (more === undefined ? 0 : more.length)
    this.pending = 0
    this.#lookAt = LOOK_BYTES
    if (!this.#owner.isUp()) return
    const size = LENGTH_BYTES + bytes + tagLength
    const out = this.#fresh(size)
    let at = out.length - size
    out[at++] = (bytes + tagLength) >>> 8
    out[at++] = bytes + tagLength
    this.#cipher.seal(out, at, plaintext, more)
    this.#write(out)
    // A link that has nothing left to send needs the buffer no more.
    if (this.#lent !== undefined && spares.length < MAX_SPARES && this.#link.unsent() === 0) spares.push(this.#lent)
    this.#lent = undefined
  }

  /** A buffer that begins with the prefix, once, and has so many bytes after it. */
  #fresh(bytes: number): Uint8Array {
    const prefix = this.#prefix
    if (prefix === undefined) {
      if (bytes < SPARE_FROM_BYTES) return Buffer.allocUnsafe(bytes)
      // Nobody else has it meanwhile: what this one is written to may seal records of its own.
      this.#lent = spares.pop() ?? Buffer.allocUnsafeSlow(LENGTH_BYTES + Frame.MAX_RECORD_BYTES + tagLength)
      return this.#lent.subarray(0, bytes)
    }
    this.#prefix = undefined
    const out = Buffer.allocUnsafe(prefix.length + bytes)
    out.set(prefix)
    return out
  }

  #write(bytes: Uint8Array): void {
    this.#written += bytes.length
    this.#link.write(bytes)
    const unsent = this.#link.unsent()
    if (unsent > LINK_HIGH_WATER_BYTES) {
      this.congested = true
      if (unsent > MAX_UNSENT_BYTES) this.#owner.fail(`the peer stopped reading: ${unsent} bytes wait for it`)
    }
  }
}
