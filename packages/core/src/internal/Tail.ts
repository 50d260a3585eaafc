/**
 * The tail of a stream of chunks: the last messages of it, kept so that a reader whose connection broke goes on where it was,
 * with no chunk left out and none twice. A pure machine: what it sends goes into a sink, and no time passes in it.
 *
 * Nobody acknowledges chunks. The transport returns credit for what was delivered, and lets at most `WINDOW_BYTES` be on their
 * way; a message is pushed only when those before it have left with credit. So whatever lies more than a window before the
 * newest message has been delivered, and is not kept:
 *
 * - Let m1 … mk be sent into one sink, and f one of them that was not delivered whole. Some of f, and all that came after it up
 *   to m(k-1), is on its way with credit: f+1 … m(k-1) have less than `WINDOW_BYTES`.
 * - f is dropped only when f+1 … m(k-1) have at least `WINDOW_BYTES`. So f was delivered.
 *
 * A window and two messages are thus enough, whatever their sizes. With less room (`Tails`) older ones go earlier, and a reader
 * that wants one of those is told that it cannot have it.
 */
import { WINDOW_BYTES } from "../Transport.ts"

/** Messages of one tail, however small: 16,384 of a few bytes are a megabyte of objects. */
export const MAX_MESSAGES = 16_384
/** What a kept message costs besides its body, in bytes: its object, and its place in the list. */
export const MESSAGE_COST = 64
/** A list with so many empty places at its beginning is packed when they are more than half of it. */
const PACK_FROM = 256

/** Where messages go: a stream. */
export interface Sink {
  /** As `Stream.send`. */
  send(head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean
}

/** Counts what is kept, and has older messages dropped where that is too much. */
export interface Room {
  readonly changed: (tail: Tail, bytes: number) => void
}

interface Message {
  readonly head: Uint8Array
  readonly body: string | Uint8Array
  readonly chunks: number
}

const sizeOf = ({ body }: Message): number => body.length + 1
const costOf = ({ body }: Message): number => body.length + MESSAGE_COST

/** The tail of one stream. */
export class Tail {
  readonly room: Room
  /** What is kept, from `#first` on. */
  #messages: Array<Message | undefined> = []
  #first = 0
  /** Which message goes out next. */
  #at = 0
  /** Numbers of chunks: the first kept, the next to be pushed, the next to go out, and the first that never went out. */
  #from = 0
  #next = 0
  #out = 0
  #unsent = 0
  #size = 0
  #sink: Sink | undefined
  #isWritable = false
  #end: Omit<Message, "chunks"> | undefined
  #endSent = false
  #isOver = false
  /** Bytes that were dropped, for the next ones of their length. */
  #spare: Uint8Array | undefined
  /** Called once when more may be pushed, or never will. */
  wake: (() => void) | undefined

  constructor(room: Room) {
    this.room = room
  }

  /** Nothing is kept of it any more, and nothing is taken. */
  get isOver(): boolean {
    return this.#isOver
  }
  /** All went out, and the reader takes more. */
  get isReady(): boolean {
    return this.#isWritable && this.#at === this.#messages.length
  }
  /** Somebody reads it. */
  get isAttached(): boolean {
    return this.#sink !== undefined
  }
  /** It was said to its end, which went out. */
  get isSaid(): boolean {
    return this.#endSent
  }
  /** Chunks that can be had again: from the first number up to before the second. */
  get kept(): readonly [from: number, next: number] {
    return [this.#from, this.#next]
  }
  /** Whether a reader may go on with the chunk of this number. */
  has(next: number): boolean {
    return this.#indexOf(next) >= 0
  }
  /** Messages kept. */
  get length(): number {
    return this.#messages.length - this.#first
  }

  /** A copy that may be pushed: whoever made these bytes may write into them again. */
  copyOf(bytes: Uint8Array): Uint8Array {
    const spare = this.#spare
    if (spare?.length !== bytes.length) return new Uint8Array(bytes)
    this.#spare = undefined
    spare.set(bytes)
    return spare
  }

  /** Takes a message of so many chunks, whose bytes nobody changes any more; gives whether another one may follow at once. */
  push(head: Uint8Array, body: string | Uint8Array, chunks: number): boolean {
    if (this.#isOver) return false
    const isSent = this.#at === this.#messages.length
    const message = { head, body, chunks }
    this.#messages.push(message)
    this.#next += chunks
    this.#size += sizeOf(message)
    if (isSent) this.#trim(sizeOf(message))
    this.#pump()
    this.room.changed(this, costOf(message))
    return this.isReady
  }

  /** The last message; it goes out after all others. */
  end(head: Uint8Array, body: string | Uint8Array | undefined): void {
    if (this.#isOver || this.#end !== undefined) return
    this.#end = { head, body: body ?? "" }
    this.#spare = undefined
    this.#pump()
  }

  /**
   * Goes on into another sink, from the chunk of this number on. False where that is none that a reader may ask for: it was
   * dropped, lies within a message, or never went out.
   */
  attach(sink: Sink, next: number): boolean {
    const index = this.#indexOf(next)
    if (index < 0) return false
    // The reader has all before it.
    while (this.#first < index) this.#drop()
    this.#pack()
    this.#at = this.#first
    this.#out = next
    this.#endSent = false
    this.#sink = sink
    this.#isWritable = true
    this.#pump()
    this.#tell()
    return true
  }

  /** The sink has gone; with another one attached meanwhile, nothing happens. */
  detach(sink: Sink): void {
    if (this.#sink !== sink) return
    this.#sink = undefined
    this.#isWritable = false
  }

  /** The sink takes messages again. */
  writable(sink: Sink): void {
    if (this.#sink !== sink) return
    this.#isWritable = true
    this.#pump()
    this.#tell()
  }

  /** Drops the oldest message that went out, and gives whether there was one. */
  shed(): boolean {
    if (this.#at <= this.#first) return false
    this.#drop()
    this.#pack()
    return true
  }

  /** Lets go of everything. */
  close(): void {
    if (this.#isOver) return
    this.#isOver = true
    let cost = 0
    for (let i = this.#first; i < this.#messages.length; i++) cost += costOf(this.#messages[i]!)
    this.#messages = []
    this.#first = this.#at = this.#size = 0
    this.#spare = undefined
    this.#sink = undefined
    this.#isWritable = false
    this.room.changed(this, -cost)
    this.#tell(true)
  }

  /** Where the message lies that begins with this chunk; below zero where none does. */
  #indexOf(next: number): number {
    if (this.#isOver || next < this.#from || next > this.#unsent) return -1
    let number = this.#from
    let index = this.#first
    while (number < next) number += this.#messages[index++]!.chunks
    return number === next ? index : -1
  }

  /** Drops what has been delivered, after the newest message, of so many bytes, came. */
  #trim(newest: number): void {
    while (this.#first < this.#at) {
      const oldest = sizeOf(this.#messages[this.#first]!)
      if (this.#size - oldest - newest < WINDOW_BYTES && this.length <= MAX_MESSAGES) break
      this.#drop()
    }
    this.#pack()
  }

  #drop(): void {
    const oldest = this.#messages[this.#first]!
    this.#messages[this.#first] = undefined
    this.#first += 1
    this.#from += oldest.chunks
    this.#size -= sizeOf(oldest)
    // Streams copy what they are given to send, so that nobody else has it.
    if (oldest.body instanceof Uint8Array && this.#end === undefined) this.#spare = oldest.body
    this.room.changed(this, -costOf(oldest))
  }

  #pack(): void {
    if (this.#first < PACK_FROM || this.#first * 2 < this.#messages.length) return
    this.#messages.splice(0, this.#first)
    this.#at -= this.#first
    this.#first = 0
  }

  #pump(): void {
    const sink = this.#sink
    if (sink === undefined) return
    while (this.#isWritable && this.#at < this.#messages.length) {
      const { body, chunks, head } = this.#messages[this.#at++]!
      this.#out += chunks
      if (this.#out > this.#unsent) this.#unsent = this.#out
      this.#isWritable = sink.send(head, body, false)
    }
    if (this.#at < this.#messages.length || this.#end === undefined || this.#endSent) return
    this.#endSent = true
    this.#sink = undefined
    this.#isWritable = false
    sink.send(this.#end.head, this.#end.body === "" ? undefined : this.#end.body, true)
  }

  #tell(always = false): void {
    if (!always && !this.isReady) return
    const { wake } = this
    this.wake = undefined
    wake?.()
  }
}
