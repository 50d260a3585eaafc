/**
 * The messages of a task on its stream: a compact binary head, then a JSON body. `docs/protocol.md` describes every byte.
 *
 * Encoders write the head into one scratch buffer, which transports copy at once; decoders look at the message in place and
 * copy nothing but what they return. A decoder returns undefined for whatever is not a message of its kind.
 */
import { Buffer } from "node:buffer"
import { CallerSpan, type RecentSpans, TRACE_BYTES } from "./CallerSpan.ts"
import * as TaskId from "./TaskId.ts"

/** First byte of a message. */
export const Kind = {
  Request: 1,
  Accepted: 2,
  Result: 3,
  Rejected: 4,
  Countered: 5,
  Failed: 6,
  Chunk: 7,
  End: 8,
  /** Several chunks, as one JSON array; to callers that take it. */
  Chunks: 9,
  /** One chunk of bytes, as they are; to callers that take it. */
  Bytes: 10,
  /** A result whose output are bytes, as they are; to callers that take it. */
  BytesResult: 11,
  /** In place of a request: the task is one that its caller placed before, on a connection that broke. */
  Resume: 12
} as const

const Flag = { receipt: 1, trace: 2, budget: 4, stream: 8, batches: 16, bytes: 32, raw: 64 } as const
const ALL_FLAGS = 127

/**
 * Most bytes of JSON in a message of several chunks, whatever a single one may have: so that both ends agree on it without
 * knowing each other's cap, and so that a batch is never more than what a stream may have on its way.
 */
export const MAX_BATCH_BYTES = 64 * 1024

/** Bytes of a task id. */
export const { TASK_BYTES } = TaskId
/** Where it lies. */
const TASK_AT = 1 + 1 + 1 + 4
const FIXED = TASK_AT + TASK_BYTES + 1

/** A task as it goes to an executor. */
export interface Request {
  /** Also the idempotency key. */
  readonly task: TaskId.TaskId
  /** `name@version`, or `name@range` where the caller has not seen the record. ASCII, at most 255 bytes. */
  readonly capability: string
  /** What is left of the deadline when the message is sent: clocks differ, durations do not. */
  readonly deadlineMs: number
  readonly hops: number
  readonly receipt: boolean
  readonly stream: boolean
  /** The caller takes several chunks in one message (kind 9). */
  readonly batches: boolean
  /** The caller takes bytes as they are: chunks (kind 10), or the result (kind 11). */
  readonly bytes: boolean
  /** The input are bytes, and its body is they: `bytesOf` of their JSON. */
  readonly raw: boolean
  /** US dollars. */
  readonly budget: number | undefined
  readonly trace: Trace | undefined
}

/** Trace context (W3C Trace Context: 16-byte trace id, 8-byte span id, flags). */
export interface Trace {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

const scratch = Buffer.alloc(512)
/** The beginnings of `scratch`, by their lengths: no head needs a view of its own. */
const requestHeads: Array<Uint8Array | undefined> = []
// Requests for one capability come in rows: its name lies in `scratch` still.
let written = ""

/** The head of a request; valid until the next one is encoded. */
export const encodeRequest = (request: Request): Uint8Array => {
  const { budget, capability, task, trace } = request
  scratch[0] = Kind.Request
  scratch[1] =
    (request.receipt ? Flag.receipt : 0) |
    (trace === undefined ? 0 : Flag.trace) |
    (budget === undefined ? 0 : Flag.budget) |
    (request.stream ? Flag.stream : 0) |
    (request.batches ? Flag.batches : 0) |
    (request.bytes ? Flag.bytes : 0) |
    (request.raw ? Flag.raw : 0)
  scratch[2] = request.hops
  writeWord(Math.min(Math.max(Math.ceil(request.deadlineMs), 0), 0xffff_ffff), 3)
  writeWord(task.a, TASK_AT)
  writeWord(task.b, TASK_AT + 4)
  writeWord(task.c, TASK_AT + 8)
  writeWord(task.d, TASK_AT + 12)
  if (capability !== written) {
    scratch[FIXED - 1] = scratch.write(capability, FIXED, 255, "latin1")
    written = capability
  }
  let at = FIXED + scratch[FIXED - 1]!
  if (trace !== undefined) {
    scratch.set(traceBytes(trace), at)
    at += TRACE_BYTES
  }
  if (budget !== undefined) {
    scratch.writeDoubleBE(budget, at)
    at += 8
  }
  return (requestHeads[at] ??= scratch.subarray(0, at))
}

const writeWord = (word: number, at: number): void => {
  scratch[at] = word >>> 24
  scratch[at + 1] = word >>> 16
  scratch[at + 2] = word >>> 8
  scratch[at + 3] = word
}

/** Spans last for many calls, and their ids are hex digits: their bytes are kept as long as they are. */
const traces = new WeakMap<Trace, Uint8Array>()

const traceBytes = (trace: Trace): Uint8Array => {
  const known = traces.get(trace)
  if (known !== undefined) return known
  const bytes = Buffer.alloc(TRACE_BYTES)
  bytes.write(trace.traceId, 0, 16, "hex")
  bytes.write(trace.spanId, 16, 8, "hex")
  bytes[24] = trace.sampled ? 1 : 0
  traces.set(trace, bytes)
  return bytes
}

/** A received request: its id, its head, and its body. One object, because each task has one. */
export class ReceivedRequest extends TaskId.TaskId {
  readonly #flags: number
  readonly capability: string
  readonly deadlineMs: number
  readonly hops: number
  readonly budget: number | undefined
  readonly trace: CallerSpan | undefined
  readonly body: string

  constructor(
    message: Uint8Array,
    capability: string,
    budget: number | undefined,
    trace: CallerSpan | undefined,
    body: string
  ) {
    super(
      TaskId.word(message, TASK_AT),
      TaskId.word(message, TASK_AT + 4),
      TaskId.word(message, TASK_AT + 8),
      TaskId.word(message, TASK_AT + 12)
    )
    this.#flags = message[1] as number
    this.capability = capability
    this.deadlineMs = TaskId.word(message, 3) >>> 0
    this.hops = message[2] as number
    this.budget = budget
    this.trace = trace
    this.body = body
  }
  get receipt(): boolean {
    return (this.#flags & Flag.receipt) !== 0
  }
  get stream(): boolean {
    return (this.#flags & Flag.stream) !== 0
  }
  get batches(): boolean {
    return (this.#flags & Flag.batches) !== 0
  }
  get bytes(): boolean {
    return (this.#flags & Flag.bytes) !== 0
  }
  get raw(): boolean {
    return (this.#flags & Flag.raw) !== 0
  }
}

/** A caller that goes on with a task on another connection. */
export class ReceivedResume extends TaskId.TaskId {
  readonly #flags: number
  /** The number of the first chunk that the caller has not seen, from 0 on. */
  readonly next: number

  constructor(message: Uint8Array) {
    super(TaskId.word(message, 2), TaskId.word(message, 6), TaskId.word(message, 10), TaskId.word(message, 14))
    this.#flags = message[1] as number
    this.next = (TaskId.word(message, 18) >>> 0) * 2 ** 32 + (TaskId.word(message, 22) >>> 0)
  }
  get receipt(): boolean {
    return (this.#flags & Flag.receipt) !== 0
  }
  get stream(): boolean {
    return (this.#flags & Flag.stream) !== 0
  }
  get bytes(): boolean {
    return (this.#flags & Flag.bytes) !== 0
  }
}

const RESUME_BYTES = 26
const RESUME_FLAGS = Flag.receipt | Flag.stream | Flag.bytes

/** The message that goes on with a task. */
export const encodeResume = (request: Request, next: number): Uint8Array => {
  const { task } = request
  const message = Buffer.allocUnsafe(RESUME_BYTES)
  message[0] = Kind.Resume
  message[1] =
    (request.receipt ? Flag.receipt : 0) | (request.stream ? Flag.stream : 0) | (request.bytes ? Flag.bytes : 0)
  message.writeInt32BE(task.a, 2)
  message.writeInt32BE(task.b, 6)
  message.writeInt32BE(task.c, 10)
  message.writeInt32BE(task.d, 14)
  message.writeUInt32BE(Math.floor(next / 2 ** 32), 18)
  message.writeUInt32BE(next >>> 0, 22)
  return message
}

/** Reads a resumption; a number beyond 2^53 is none of a chunk. */
export const decodeResume = (message: Uint8Array): ReceivedResume | undefined => {
  if (message.length !== RESUME_BYTES || message[0] !== Kind.Resume) return undefined
  if (((message[1] as number) & ~RESUME_FLAGS) !== 0) return undefined
  const resume = new ReceivedResume(message)
  return Number.isSafeInteger(resume.next) ? resume : undefined
}

/** The JSON of bytes: the string of their base64. What is counted, compared, kept and signed of bytes is this. */
const jsonOf = (bytes: Buffer, from: number): string => `"${bytes.toString("base64", from)}"`

/** The bytes that a JSON string of base64 stands for. */
export const bytesOf = (json: string): Uint8Array => Buffer.from(json.slice(1, -1), "base64")

/**
 * Length of a request's body as JSON, or -1 when the message is no request; lets a bound be checked before anything is read.
 */
export const requestBodyBytes = (message: Uint8Array): number => {
  const at = bodyStart(message)
  if (at < 0) return -1
  const bytes = message.length - at
  return ((message[1] as number) & Flag.raw) === 0 ? bytes : 4 * Math.ceil(bytes / 3) + 2
}

const bodyStart = (message: Uint8Array): number => {
  if (message.length < FIXED || message[0] !== Kind.Request) return -1
  const flags = message[1] as number
  if (flags > ALL_FLAGS) return -1
  const at =
    FIXED +
    (message[FIXED - 1] as number) +
    ((flags & Flag.trace) === 0 ? 0 : TRACE_BYTES) +
    ((flags & Flag.budget) === 0 ? 0 : 8)
  return at > message.length ? -1 : at
}

const asBuffer = (message: Uint8Array): Buffer =>
  message instanceof Buffer ? message : Buffer.from(message.buffer, message.byteOffset, message.length)

// Requests for one capability come in rows: its name is not made anew while its bytes are the same.
let lastCapability = ""

/** The capability of a request, `length` bytes of Latin-1. */
const capabilityAt = (buffer: Buffer, length: number): string => {
  let same = length === lastCapability.length
  for (let i = 0; same && i < length; i++) same = buffer[FIXED + i] === lastCapability.charCodeAt(i)
  if (!same) lastCapability = buffer.toString("latin1", FIXED, FIXED + length)
  return lastCapability
}

/** Reads a request; its span may be one of those read last. */
export const decodeRequest = (message: Uint8Array, recent?: RecentSpans): ReceivedRequest | undefined => {
  const start = bodyStart(message)
  if (start < 0) return undefined
  const buffer = asBuffer(message)
  const flags = message[1] as number
  const idLength = message[FIXED - 1] as number
  let at = FIXED + idLength
  let trace: CallerSpan | undefined
  if ((flags & Flag.trace) !== 0) {
    trace = recent === undefined ? new CallerSpan(message, at) : recent.read(message, at)
    at += TRACE_BYTES
  }
  let budget: number | undefined
  if ((flags & Flag.budget) !== 0) {
    budget = buffer.readDoubleBE(at)
    if (!(budget >= 0)) return undefined
  }
  const body = (flags & Flag.raw) === 0 ? buffer.toString("utf8", start, message.length) : jsonOf(buffer, start)
  return new ReceivedRequest(message, capabilityAt(buffer, idLength), budget, trace, body)
}

/** What an executor answers. Results and failures end the stream; the rest comes before. */
export type Response =
  | { readonly _tag: "Accepted"; readonly estimateMs: number; readonly waiting: number }
  | { readonly _tag: "Result"; readonly body: string; readonly receipt: string | undefined }
  | { readonly _tag: "Rejected" | "Countered" | "Failed"; readonly body: string }
  | { readonly _tag: "End"; readonly receipt: string | undefined }

const oneByte = (kind: number): Uint8Array => Uint8Array.of(kind)

/** Heads that are the same in every message of their kind. */
export const heads = {
  rejected: oneByte(Kind.Rejected),
  countered: oneByte(Kind.Countered),
  failed: oneByte(Kind.Failed),
  chunk: oneByte(Kind.Chunk),
  chunks: oneByte(Kind.Chunks),
  bytes: oneByte(Kind.Bytes)
} as const

const plainResult = Uint8Array.of(Kind.Result, 0, 0)

const plainBytesResult = Uint8Array.of(Kind.BytesResult, 0, 0)

/** The head of a result: the receipt as JSON, if there is one, goes before the body. `raw`: the body is bytes. */
export const encodeResult = (receipt: string | undefined, raw: boolean = false): Uint8Array => {
  if (receipt === undefined) return raw ? plainBytesResult : plainResult
  const bytes = Buffer.from(receipt, "utf8")
  const head = Buffer.allocUnsafe(3 + bytes.length)
  head[0] = raw ? Kind.BytesResult : Kind.Result
  head.writeUInt16BE(bytes.length, 1)
  head.set(bytes, 3)
  return head
}

/** The head of the message that ends a stream of chunks; its body is the receipt as JSON, or nothing. */
export const encodeEnd: Uint8Array = oneByte(Kind.End)

/** An acceptance: how long the executor expects to take, and how many tasks wait before this one. */
export const encodeAccepted = (estimateMs: number, waiting: number): Uint8Array => {
  const head = Buffer.allocUnsafe(9)
  head[0] = Kind.Accepted
  head.writeUInt32BE(Math.min(Math.max(Math.ceil(estimateMs), 0), 0xffff_ffff), 1)
  head.writeUInt32BE(Math.min(waiting, 0xffff_ffff), 5)
  return head
}

/** Whether a message is one of chunks, which comes before the answer's end. */
export const hasChunks = (message: Uint8Array): boolean => {
  const kind = message[0]
  return kind === Kind.Chunk || kind === Kind.Chunks || kind === Kind.Bytes
}

/** The JSON of a message whose kind is all of its head. */
export const bodyOf = (message: Uint8Array): string => asBuffer(message).toString("utf8", 1, message.length)

/** Reads an answer, but none of chunks. */
export const decodeResponse = (message: Uint8Array): Response | undefined => {
  const buffer = asBuffer(message)
  switch (message[0]) {
    case Kind.Result:
    case Kind.BytesResult: {
      if (message.length < 3) return undefined
      const receiptBytes = buffer.readUInt16BE(1)
      const at = 3 + receiptBytes
      if (at > message.length) return undefined
      return {
        _tag: "Result",
        receipt: receiptBytes === 0 ? undefined : buffer.toString("utf8", 3, at),
        body: message[0] === Kind.Result ? buffer.toString("utf8", at, message.length) : jsonOf(buffer, at)
      }
    }
    case Kind.Accepted:
      return message.length === 9
        ? { _tag: "Accepted", estimateMs: buffer.readUInt32BE(1), waiting: buffer.readUInt32BE(5) }
        : undefined
    case Kind.Rejected:
      return { _tag: "Rejected", body: buffer.toString("utf8", 1, message.length) }
    case Kind.Countered:
      return { _tag: "Countered", body: buffer.toString("utf8", 1, message.length) }
    case Kind.Failed:
      return { _tag: "Failed", body: buffer.toString("utf8", 1, message.length) }
    case Kind.End:
      return { _tag: "End", receipt: message.length === 1 ? undefined : buffer.toString("utf8", 1, message.length) }
    default:
      return undefined
  }
}
