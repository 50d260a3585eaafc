/**
 * What is kept of finished tasks, so that one that comes again is answered without being run again: by caller and task, within
 * a count and a number of bytes, the oldest out first.
 *
 * It is a log of bytes. A hundred thousand tasks a second that each left a few objects behind, to live for a second and then
 * die, would cost the garbage collector as much as running them.
 */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import type { NodeId } from "../NodeId.ts"

/** What a finished task came to; enough to answer again, with a receipt for whoever asks for one. */
export interface Finished {
  readonly kind: "result" | "failed"
  /** The task id, 16 one-byte characters. */
  readonly task: string
  readonly capability: string
  /** The input as JSON. */
  readonly input: string
  /** The answer as JSON. */
  readonly body: string
  readonly startedAt: number
  readonly finishedAt: number
}

/** Bytes of a part of the log; what is larger gets a part of its own. */
const PART_BYTES = 65_536
/** A place in the log is the number of its part times this, plus where it lies there. */
const PLACES = 2 ** 30
/** Beyond so many characters a text's bytes are counted before room is made; below, three each are assumed. */
const COUNTED_CHARACTERS = 4_096

// An entry: where what stands. Texts follow as UTF-8, the input first.
const SIZE = 0
const HASH = 4
const PREVIOUS = 8
const STARTED = 16
const FINISHED = 24
const CALLER = 32
const CAPABILITY = 36
const INPUT_BYTES = 40
const BODY_BYTES = 44
const KIND = 48
const TASK = 49
const TASK_BYTES = 16
const HEAD_BYTES = TASK + TASK_BYTES

const none = -1

class Part {
  readonly buffer: Buffer
  readonly view: DataView
  end = 0

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes)
    this.view = new DataView(this.buffer.buffer, this.buffer.byteOffset, bytes)
  }
}

/** Strings by small numbers, as long as somebody uses them. */
class Names {
  readonly #numbers = new Map<string, number>()
  readonly #names: Array<string> = []
  readonly #uses: Array<number> = []
  readonly #free: Array<number> = []

  number(name: string): number {
    return this.#numbers.get(name) ?? none
  }
  name(number: number): string {
    return this.#names[number] ?? ""
  }
  use(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.#free.pop() ?? this.#names.length
      this.#numbers.set(name, number)
      this.#names[number] = name
      this.#uses[number] = 0
    }
    this.#uses[number]! += 1
    return number
  }
  release(number: number): void {
    this.#uses[number]! -= 1
    if (this.#uses[number]! > 0) return
    this.#numbers.delete(this.name(number))
    this.#names[number] = ""
    this.#free.push(number)
  }
}

const most = (text: string): number => (text.length > COUNTED_CHARACTERS ? Buffer.byteLength(text) : text.length * 3)

/** Finished tasks, in the order in which they finished. */
export class Repeats {
  readonly #entries: number
  readonly #maxBytes: number
  /** Random, so that nobody can choose task ids that fall together. */
  readonly #seed = randomBytes(4).readInt32LE()
  /** The place of the newest entry of each hash; older ones are linked from there. */
  readonly #newest = new Map<number, number>()
  readonly #callers = new Names()
  readonly #capabilities = new Names()
  readonly #parts: Array<Part> = []
  /** The number of the first part. */
  #first = 0
  /** Where the oldest entry lies in the first part. */
  #start = 0
  #count = 0
  /** Of all texts together. */
  #bytes = 0
  #spare: Part | undefined

  constructor(limits: { readonly entries: number; readonly bytes: number }) {
    this.#entries = limits.entries
    this.#maxBytes = limits.bytes
  }

  get(caller: NodeId, task: string): Finished | undefined {
    let place = this.#newest.get(this.#hash(caller, task)) ?? none
    const number = place === none ? none : this.#callers.number(caller)
    const oldest = this.#first * PLACES + this.#start
    while (place >= oldest) {
      const { buffer, view } = this.#parts[Math.floor(place / PLACES) - this.#first]!
      const at = place % PLACES
      if (view.getUint32(at + CALLER) === number && isTask(buffer, at + TASK, task)) {
        const input = at + HEAD_BYTES
        const body = input + view.getUint32(at + INPUT_BYTES)
        return {
          kind: buffer[at + KIND] === 0 ? "result" : "failed",
          task,
          capability: this.#capabilities.name(view.getUint32(at + CAPABILITY)),
          input: buffer.toString("utf8", input, body),
          body: buffer.toString("utf8", body, body + view.getUint32(at + BODY_BYTES)),
          startedAt: view.getFloat64(at + STARTED),
          finishedAt: view.getFloat64(at + FINISHED)
        }
      }
      place = view.getFloat64(at + PREVIOUS)
    }
    return undefined
  }

  /** Keeps a task, in place of what was kept of it. One that is larger than all that may be kept is not. */
  set(caller: NodeId, finished: Finished): void {
    const { body, capability, input, task } = finished
    let room = most(input) + most(body)
    if (this.#bytes + room > this.#maxBytes) {
      room = Buffer.byteLength(input) + Buffer.byteLength(body)
      if (room > this.#maxBytes) return
      while (this.#count > 0 && this.#bytes + room > this.#maxBytes) this.#dropOldest()
    }
    if (this.#entries < 1) return
    while (this.#count >= this.#entries) this.#dropOldest()
    const part = this.#room(HEAD_BYTES + room)
    const { buffer, view } = part
    const at = part.end
    const hash = this.#hash(caller, task)
    const inputBytes = buffer.write(input, at + HEAD_BYTES, "utf8")
    const bodyBytes = buffer.write(body, at + HEAD_BYTES + inputBytes, "utf8")
    const size = HEAD_BYTES + inputBytes + bodyBytes
    view.setUint32(at + SIZE, size)
    view.setInt32(at + HASH, hash)
    view.setFloat64(at + PREVIOUS, this.#newest.get(hash) ?? none)
    view.setFloat64(at + STARTED, finished.startedAt)
    view.setFloat64(at + FINISHED, finished.finishedAt)
    view.setUint32(at + CALLER, this.#callers.use(caller))
    view.setUint32(at + CAPABILITY, this.#capabilities.use(capability))
    view.setUint32(at + INPUT_BYTES, inputBytes)
    view.setUint32(at + BODY_BYTES, bodyBytes)
    buffer[at + KIND] = finished.kind === "result" ? 0 : 1
    for (let i = 0; i < TASK_BYTES; i++) buffer[at + TASK + i] = task.charCodeAt(i)
    this.#newest.set(hash, (this.#first + this.#parts.length - 1) * PLACES + at)
    part.end += size
    this.#count += 1
    this.#bytes += inputBytes + bodyBytes
  }

  /** The last part, with so much room at its end. */
  #room(bytes: number): Part {
    const last = this.#parts.at(-1)
    if (last !== undefined && last.end + bytes <= last.buffer.length) return last
    const spare = bytes <= PART_BYTES ? this.#spare : undefined
    if (spare !== undefined) this.#spare = undefined
    const part = spare ?? new Part(Math.max(bytes, PART_BYTES))
    part.end = 0
    this.#parts.push(part)
    return part
  }

  #dropOldest(): void {
    const part = this.#parts[0]!
    const { view } = part
    const at = this.#start
    const hash = view.getInt32(at + HASH)
    const size = view.getUint32(at + SIZE)
    if (this.#newest.get(hash) === this.#first * PLACES + at) this.#newest.delete(hash)
    this.#callers.release(view.getUint32(at + CALLER))
    this.#capabilities.release(view.getUint32(at + CAPABILITY))
    this.#count -= 1
    this.#bytes -= size - HEAD_BYTES
    this.#start += size
    if (this.#start < part.end) return
    this.#parts.shift()
    this.#first += 1
    this.#start = 0
    if (part.buffer.length === PART_BYTES) this.#spare = part
  }

  #hash(caller: string, task: string): number {
    let hash = this.#seed
    // The end of a NodeId is as good as random; all of the caller is compared afterwards.
    for (let i = Math.max(0, caller.length - 6); i < caller.length; i++) {
      hash = Math.imul(hash ^ caller.charCodeAt(i), 0x0100_0193)
    }
    for (let i = 0; i < TASK_BYTES; i++) {
      hash = Math.imul(hash ^ task.charCodeAt(i), 0x0100_0193)
      hash ^= hash >>> 15
    }
    return hash
  }
}

const isTask = (buffer: Buffer, at: number, task: string): boolean => {
  for (let i = 0; i < TASK_BYTES; i++) if (buffer[at + i] !== task.charCodeAt(i)) return false
  return true
}
