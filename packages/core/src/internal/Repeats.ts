/**
 * What is kept of finished tasks, so that one that comes again is answered without being run again: by caller and task, within
 * a count and a number of bytes, each caller's oldest out first.
 *
 * Whoever holds more than an equal share makes room, so that nobody pushes out what is kept for others by doing much.
 *
 * What is kept lies in logs of bytes. A hundred thousand tasks a second that each left a few objects behind, to live for a
 * second and then die, would cost the garbage collector as much as running them.
 */
import { Buffer } from "node:buffer"
import type { NodeId } from "../NodeId.ts"
import * as TaskId from "./TaskId.ts"

/** What a finished task came to; enough to answer again, with a receipt for whoever asks for one. */
export interface Finished {
  readonly kind: "result" | "failed"
  readonly id: TaskId.TaskId
  readonly capability: string
  /** The input as JSON. */
  readonly input: string
  /** The answer as JSON. */
  readonly body: string
  readonly startedAt: number
  readonly finishedAt: number
}

/**
 * Callers of whom something is kept; beyond, the one that came first is forgotten. Who had another task meanwhile counts as a
 * newcomer once: keys cost nothing, and thousands of callers with one task each shall not push out those who do the work.
 */
const MAX_CALLERS = 10_000
/** Least and most bytes of a part of a log; what is larger gets a part of its own. */
const LEAST_BYTES = 512
const PART_BYTES = 65_536
/** Tasks that are too old to be answered again are looked for this often at most, in ms, when a caller comes. */
const AGE_EVERY_MS = 1_000
/** A log that has so many times the room that it needs, and more than so many bytes, is packed; and so are its tables. */
const SPARSE = 8
const SPARSE_BYTES = 8 * LEAST_BYTES
/** A place in a log is the number of its part times this, plus where it lies there. */
const PLACES = 2 ** 30
/** Beyond so many characters a text's bytes are counted before room is made; below, three each are assumed. */
const COUNTED_CHARACTERS = 4_096
/** Buckets of the smallest table, as a power of two. */
const FIRST_BITS = 4

// An entry, in eights (times, and the place of the one before it in its bucket), then in fours, then as bytes: the name of the
// capability in Latin-1, input and answer in UTF-8.
const PREVIOUS = 0
const STARTED = 1
const FINISHED = 2
const ID = 6
const SIZE = 10
const INPUT_BYTES = 11
const BODY_BYTES = 12
/** The length of the capability's name, times two, and one where the task failed. */
const NAME_AND_KIND = 13
const HEAD_BYTES = 56

const none = -1

class Part {
  readonly bytes: Buffer
  readonly fours: Int32Array
  readonly eights: Float64Array
  end = 0

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size)
    this.fours = new Int32Array(this.bytes.buffer)
    this.eights = new Float64Array(this.bytes.buffer)
  }
}

const most = (text: string): number => (text.length > COUNTED_CHARACTERS ? Buffer.byteLength(text) : text.length * 3)
const inEights = (bytes: number): number => (bytes + 7) & ~7
const bitsFor = (count: number): number => Math.max(FIRST_BITS, 32 - Math.clz32(count))

/** A part that its log no longer needs, for whichever log needs one next. */
interface Spare {
  part: Part | undefined
}

/** The finished tasks of one caller, in the order in which they finished. */
class Log {
  readonly caller: NodeId
  count = 0
  /** Something was added since it was looked at, or came, as one of too many. */
  isBusy = false
  /** Of all texts together. */
  bytes = 0
  /** The place of the newest entry of each bucket; older ones are linked from there, down to some that are gone. */
  #newest!: Float64Array
  /**
   * A byte of eight bits for each bucket: the bits of what was added since the last turn, and before it. Most ids are new, and
   * a new one's bit is mostly not set: this small table tells so without a look at the large ones, which no cache holds.
   */
  #young!: Uint8Array
  #old!: Uint8Array
  /** Tasks there from before the last turn. When they are gone, it is time for the next. */
  #oldLeft = 0
  /** How many bytes each task takes, and its texts, the oldest first, in a ring: it is dropped without a look at it. */
  #sizes!: Int32Array
  /** Where in the ring the oldest stands. */
  #oldest = 0
  #shift!: number
  #parts: Array<Part> = []
  /** The number of the first part. */
  #first = 0
  /** Where the oldest entry lies in the first part. */
  #start = 0
  /** Bytes of entries, and of parts. */
  #held = 0
  #size = 0
  readonly #spare: Spare

  constructor(caller: NodeId, spare: Spare) {
    this.caller = caller
    this.#spare = spare
    this.#link(FIRST_BITS)
  }

  get(id: TaskId.TaskId): Finished | undefined {
    const hash = TaskId.hash(id)
    const bucket = hash >>> this.#shift
    if (((this.#young[bucket]! | this.#old[bucket]!) & this.#bit(hash)) === 0) return undefined
    let place = this.#newest[bucket]!
    const oldest = this.#first * PLACES + this.#start
    while (place >= oldest) {
      const number = Math.floor(place / PLACES)
      const { bytes, eights, fours } = this.#parts[number - this.#first]!
      const at = place - number * PLACES
      const four = at >> 2
      if (
        fours[four + ID] === id.a &&
        fours[four + ID + 1] === id.b &&
        fours[four + ID + 2] === id.c &&
        fours[four + ID + 3] === id.d
      ) {
        const input = at + HEAD_BYTES + (fours[four + NAME_AND_KIND]! >> 1)
        const body = input + fours[four + INPUT_BYTES]!
        return {
          kind: (fours[four + NAME_AND_KIND]! & 1) === 0 ? "result" : "failed",
          id,
          capability: bytes.toString("latin1", at + HEAD_BYTES, input),
          input: bytes.toString("utf8", input, body),
          body: bytes.toString("utf8", body, body + fours[four + BODY_BYTES]!),
          startedAt: eights[(at >> 3) + STARTED]!,
          finishedAt: eights[(at >> 3) + FINISHED]!
        }
      }
      place = eights[(at >> 3) + PREVIOUS]!
    }
    return undefined
  }

  /** Adds a task whose texts have at most `room` bytes, and gives how many they have. */
  add({ body, capability, finishedAt, id, input, kind, startedAt }: Finished, room: number): number {
    if (this.count >= this.#newest.length) this.#link(bitsFor(this.count))
    const part = this.#room(inEights(HEAD_BYTES + capability.length + room))
    const { bytes, eights, fours } = part
    const at = part.end
    const start = at + HEAD_BYTES
    for (let i = 0; i < capability.length; i++) bytes[start + i] = capability.charCodeAt(i)
    const inputBytes = bytes.write(input, start + capability.length, "utf8")
    const bodyBytes = bytes.write(body, start + capability.length + inputBytes, "utf8")
    const size = inEights(HEAD_BYTES + capability.length + inputBytes + bodyBytes)
    const hash = TaskId.hash(id)
    const bucket = hash >>> this.#shift
    this.#young[bucket]! |= this.#bit(hash)
    const ring = ((this.#oldest + this.count) & (this.#newest.length - 1)) * 2
    this.#sizes[ring] = size
    this.#sizes[ring + 1] = inputBytes + bodyBytes
    const eight = at >> 3
    eights[eight + PREVIOUS] = this.#newest[bucket]!
    eights[eight + STARTED] = startedAt
    eights[eight + FINISHED] = finishedAt
    const four = at >> 2
    fours[four + ID] = id.a
    fours[four + ID + 1] = id.b
    fours[four + ID + 2] = id.c
    fours[four + ID + 3] = id.d
    fours[four + SIZE] = size
    fours[four + INPUT_BYTES] = inputBytes
    fours[four + BODY_BYTES] = bodyBytes
    fours[four + NAME_AND_KIND] = capability.length * 2 + (kind === "result" ? 0 : 1)
    this.#newest[bucket] = (this.#first + this.#parts.length - 1) * PLACES + at
    part.end = at + size
    this.#held += size
    this.count += 1
    this.bytes += inputBytes + bodyBytes
    return inputBytes + bodyBytes
  }

  /** When the oldest finished. */
  oldest(): number {
    return this.#parts[0]!.eights[(this.#start >> 3) + FINISHED]!
  }

  /** Forgets the oldest, and gives how many bytes its texts had. */
  drop(): number {
    const part = this.#parts[0]!
    const size = this.#sizes[this.#oldest * 2]!
    const bytes = this.#sizes[this.#oldest * 2 + 1]!
    this.#oldest = (this.#oldest + 1) & (this.#newest.length - 1)
    if (this.#oldLeft === 0) this.#turn()
    this.#oldLeft -= 1
    this.#start += size
    this.#held -= size
    this.count -= 1
    this.bytes -= bytes
    if (this.#start >= part.end) {
      this.#parts.shift()
      this.#first += 1
      this.#start = 0
      this.#size -= part.bytes.length
      if (part.bytes.length === PART_BYTES) this.#spare.part = part
    }
    if (this.#size > SPARSE_BYTES && this.#size > SPARSE * this.#held) this.#pack()
    if (this.#newest.length > SPARSE * Math.max(this.count, 1 << FIRST_BITS)) this.#link(bitsFor(this.count))
    return bytes
  }

  #bit(hash: number): number {
    return 1 << ((hash >>> (this.#shift - 3)) & 7)
  }

  #turn(): void {
    const free = this.#old
    this.#old = this.#young
    this.#oldLeft = this.count
    this.#young = free.fill(0)
  }

  /** The last part, with so much room at its end. */
  #room(bytes: number): Part {
    const last = this.#parts.at(-1)
    if (last !== undefined && last.end + bytes <= last.bytes.length) return last
    const usual = Math.min(Math.max(LEAST_BYTES, 1 << (32 - Math.clz32(this.#held))), PART_BYTES)
    const size = Math.max(inEights(bytes), usual)
    const part = (size === PART_BYTES ? this.#spare.part : undefined) ?? new Part(size)
    if (part === this.#spare.part) this.#spare.part = undefined
    part.end = 0
    this.#size += size
    this.#parts.push(part)
    return part
  }

  /** Makes a table of so many bits. */
  #link(bits: number): void {
    this.#newest = new Float64Array(1 << bits).fill(none)
    this.#young = new Uint8Array(1 << bits)
    this.#old = new Uint8Array(1 << bits)
    this.#oldLeft = this.count
    this.#sizes = new Int32Array(2 << bits)
    this.#oldest = 0
    this.#shift = 32 - bits
    let ring = 0
    let at = this.#start
    for (const [i, { eights, end, fours }] of this.#parts.entries()) {
      for (; at < end; at += fours[(at >> 2) + SIZE]!) {
        const four = (at >> 2) + ID
        const id = new TaskId.TaskId(fours[four]!, fours[four + 1]!, fours[four + 2]!, fours[four + 3]!)
        const hash = TaskId.hash(id)
        const bucket = hash >>> this.#shift
        this.#old[bucket]! |= this.#bit(hash)
        this.#sizes[ring++] = fours[(at >> 2) + SIZE]!
        this.#sizes[ring++] = fours[(at >> 2) + INPUT_BYTES]! + fours[(at >> 2) + BODY_BYTES]!
        eights[(at >> 3) + PREVIOUS] = this.#newest[bucket]!
        this.#newest[bucket] = (this.#first + i) * PLACES + at
      }
      at = 0
    }
  }

  /** Moves what is left into as little room as it needs. */
  #pack(): void {
    const parts = this.#parts
    let at = this.#start
    this.#parts = []
    this.#start = 0
    this.#size = 0
    for (const { bytes, end, fours } of parts) {
      while (at < end) {
        const size = fours[(at >> 2) + SIZE]!
        const part = this.#room(size)
        part.bytes.set(bytes.subarray(at, at + size), part.end)
        part.end += size
        at += size
      }
      at = 0
    }
    this.#link(bitsFor(this.count))
  }
}

/** Finished tasks of all callers. */
export class Repeats {
  readonly #limits: { readonly count: number; readonly bytes: number; readonly ms: number }
  /** Of callers of whom something is kept. */
  readonly #logs = new Map<NodeId, Log>()
  readonly #spare: Spare = { part: undefined }
  /** Kept in all: tasks, and bytes of their texts. */
  readonly #kept = { count: 0, bytes: 0 }
  /** When old tasks were looked for last, by the time of the task that came then. */
  #agedAt = Number.NEGATIVE_INFINITY
  /** Who makes room, as long as it has more than others. */
  #payer: Log | undefined
  #turns: Iterator<Log> = this.#logs.values()

  constructor({ bytes, entries, ms }: { readonly entries: number; readonly bytes: number; readonly ms?: number }) {
    this.#limits = { count: entries, bytes, ms: ms ?? Number.POSITIVE_INFINITY }
  }

  get(caller: NodeId, id: TaskId.TaskId): Finished | undefined {
    return this.#logs.get(caller)?.get(id)
  }

  /** Keeps a task, in place of what was kept of it. One that is larger than all that may be kept is not. */
  set(caller: NodeId, finished: Finished): void {
    const limits = this.#limits
    const kept = this.#kept
    if (limits.count < 1) return
    const log = this.#logs.get(caller) ?? this.#come(caller, finished.finishedAt)
    let room = most(finished.input) + most(finished.body)
    if (kept.bytes + room > limits.bytes) {
      room = Buffer.byteLength(finished.input) + Buffer.byteLength(finished.body)
      if (room > limits.bytes) return
      while (kept.bytes + room > limits.bytes) this.#makeRoom(log, "bytes")
    }
    while (kept.count >= limits.count) this.#makeRoom(log, "count")
    if (log.count === 0) {
      for (const first of this.#logs.values()) {
        if (this.#logs.size < MAX_CALLERS) break
        if (!first.isBusy) while (first.count > 0) this.#drop(first)
        else {
          first.isBusy = false
          this.#logs.delete(first.caller)
          this.#logs.set(first.caller, first)
        }
      }
      log.isBusy = false
      this.#logs.set(caller, log)
    } else log.isBusy = true
    kept.bytes += log.add(finished, room)
    kept.count += 1
  }

  /** A caller of whom nothing is kept shall not share with what is too old: callers that have gone would hold it for ever. */
  #come(caller: NodeId, now: number): Log {
    if (now - this.#agedAt >= AGE_EVERY_MS) {
      this.#agedAt = now
      for (const log of this.#logs.values())
        while (log.count > 0 && now - log.oldest() > this.#limits.ms) this.#drop(log)
    }
    return new Log(caller, this.#spare)
  }

  /** Forgets one task: of this caller where it has its share of what is kept, else of another one that has. */
  #makeRoom(own: Log, of: "count" | "bytes"): void {
    let payer: Log | undefined = own
    if (!this.#hasShare(payer, of)) payer = this.#payer
    while (payer === undefined || !this.#hasShare(payer, of)) {
      const next = this.#turns.next()
      if (next.done === true) this.#turns = this.#logs.values()
      else this.#payer = payer = next.value
    }
    this.#drop(payer)
  }

  /** Whoever has most, has. */
  #hasShare(log: Log, of: "count" | "bytes"): boolean {
    return log[of] * this.#logs.size >= this.#kept[of]
  }

  #drop(log: Log): void {
    this.#kept.bytes -= log.drop()
    this.#kept.count -= 1
    if (log.count === 0) this.#logs.delete(log.caller)
  }
}
