/**
 * WebSocket frames (RFC 6455, section 5): bytes in, messages out, and back.
 *
 * Written out, because the two runtimes' own WebSockets look a host up again when they dial it (an address that was checked may
 * not be the one that is dialled), and take messages of any size before anybody sees them. Here a length is looked at before
 * anything is allocated for it.
 */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"

/** Most fragments of one message: more serve nobody but whoever wants to cost memory. */
export const MAX_FRAGMENTS = 1_024

/** What a frame is. */
export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const

/** Why a connection is closed (RFC 6455, section 7.4.1). */
export const CloseCode = {
  Normal: 1000,
  GoingAway: 1001,
  ProtocolError: 1002,
  NoStatus: 1005,
  Abnormal: 1006,
  NotUtf8: 1007,
  PolicyViolation: 1008,
  TooLarge: 1009,
  InternalError: 1011,
  TryAgainLater: 1013
} as const

/** The peer broke the protocol or a bound: the connection is closed with `code`. */
export class Fault extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

/** What comes of frames. */
export interface Sink {
  readonly onMessage: (text: string) => void
  readonly onPing: (payload: Buffer) => void
  readonly onPong: () => void
  readonly onClose: (code: number, reason: string) => void
}

const utf8 = new TextDecoder("utf-8", { fatal: true })
const decode = (bytes: Uint8Array): string => {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new Fault(CloseCode.NotUtf8, "the message is not UTF-8")
  }
}

const HEAD_BYTES = 14
const MAX_CONTROL_BYTES = 125

/** Reads frames from bytes that come in any pieces. Throws a `Fault`; nothing may be pushed after that. */
export class FrameReader {
  readonly #masked: boolean
  readonly #maxBytes: number
  readonly #sink: Sink
  readonly #head = Buffer.allocUnsafe(HEAD_BYTES)
  #headLength = 0
  #opcode = 0
  #fin = false
  /** The payload that is being read, once its head is complete. */
  #payload: Buffer | undefined
  #filled = 0
  #mask: Buffer | undefined
  #parts: Array<Buffer> = []
  #partBytes = 0
  #inMessage = false

  /** `masked`: the frames must be masked (a client's), or must not be (a server's). `maxBytes`: largest message. */
  constructor(options: { readonly masked: boolean; readonly maxBytes: number; readonly sink: Sink }) {
    this.#masked = options.masked
    this.#maxBytes = options.maxBytes
    this.#sink = options.sink
  }

  push(bytes: Uint8Array): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#payload === undefined) {
        this.#head[this.#headLength++] = bytes[at++]!
        this.#readHead()
      } else {
        const taken = Math.min(this.#payload.length - this.#filled, bytes.length - at)
        this.#payload.set(bytes.subarray(at, at + taken), this.#filled)
        this.#filled += taken
        at += taken
      }
      if (this.#payload !== undefined && this.#filled === this.#payload.length) this.#endFrame()
    }
  }

  #readHead(): void {
    if (this.#headLength < 2) return
    const first = this.#head[0]!
    const second = this.#head[1]!
    const masked = (second & 0x80) !== 0
    if (this.#headLength === 2) {
      if ((first & 0x70) !== 0) throw new Fault(CloseCode.ProtocolError, "reserved bits are set")
      if (masked !== this.#masked) {
        throw new Fault(
          CloseCode.ProtocolError,
          masked ? "a server's frame is masked" : "a client's frame is not masked"
        )
      }
    }
    const short = second & 0x7f
    const lengthBytes = short === 127 ? 8 : short === 126 ? 2 : 0
    if (this.#headLength < 2 + lengthBytes + (masked ? 4 : 0)) return
    const length =
      lengthBytes === 8 ? Number(this.#head.readBigUInt64BE(2)) : lengthBytes === 2 ? this.#head.readUInt16BE(2) : short
    this.#opcode = first & 0x0f
    this.#fin = (first & 0x80) !== 0
    this.#admit(length)
    this.#mask = masked ? Buffer.from(this.#head.subarray(2 + lengthBytes, 6 + lengthBytes)) : undefined
    this.#payload = Buffer.allocUnsafe(length)
    this.#filled = 0
    this.#headLength = 0
  }

  /** Looks at a frame before anything is allocated for it. */
  #admit(length: number): void {
    const opcode = this.#opcode
    if (opcode >= 8) {
      if (opcode > 10) throw new Fault(CloseCode.ProtocolError, `there is no opcode ${opcode}`)
      if (!this.#fin || length > MAX_CONTROL_BYTES) {
        throw new Fault(CloseCode.ProtocolError, "a control frame is fragmented or too long")
      }
      return
    }
    if (opcode > 2) throw new Fault(CloseCode.ProtocolError, `there is no opcode ${opcode}`)
    if ((opcode === Opcode.Continuation) !== this.#inMessage) {
      throw new Fault(CloseCode.ProtocolError, "fragments are out of order")
    }
    if (this.#partBytes + length > this.#maxBytes) {
      throw new Fault(CloseCode.TooLarge, `a message has at most ${this.#maxBytes} bytes`)
    }
    if (this.#parts.length >= MAX_FRAGMENTS) {
      throw new Fault(CloseCode.TooLarge, `a message has at most ${MAX_FRAGMENTS} fragments`)
    }
  }

  #endFrame(): void {
    const payload = this.#payload!
    this.#payload = undefined
    if (this.#mask !== undefined) {
      for (let at = 0; at < payload.length; at++) payload[at]! ^= this.#mask[at & 3]!
    }
    switch (this.#opcode) {
      case Opcode.Ping:
        return this.#sink.onPing(payload)
      case Opcode.Pong:
        return this.#sink.onPong()
      case Opcode.Close: {
        if (payload.length === 1) throw new Fault(CloseCode.ProtocolError, "a close frame has one byte")
        const code = payload.length === 0 ? CloseCode.NoStatus : payload.readUInt16BE(0)
        return this.#sink.onClose(code, payload.length < 3 ? "" : decode(payload.subarray(2)))
      }
    }
    this.#inMessage = !this.#fin
    if (!this.#fin || this.#parts.length > 0) {
      this.#parts.push(payload)
      this.#partBytes += payload.length
    }
    if (!this.#fin) return
    const message = this.#parts.length === 0 ? payload : Buffer.concat(this.#parts, this.#partBytes)
    this.#parts = []
    this.#partBytes = 0
    this.#sink.onMessage(decode(message))
  }
}

/** One frame. A client's is masked (RFC 6455, section 5.3). */
export const encodeFrame = (opcode: number, payload: Uint8Array, masked: boolean): Buffer => {
  const { length } = payload
  const lengthBytes = length > 0xffff ? 8 : length > 125 ? 2 : 0
  const start = 2 + lengthBytes + (masked ? 4 : 0)
  const frame = Buffer.allocUnsafe(start + length)
  frame[0] = 0x80 | opcode
  frame[1] = (masked ? 0x80 : 0) | (lengthBytes === 8 ? 127 : lengthBytes === 2 ? 126 : length)
  if (lengthBytes === 8) frame.writeBigUInt64BE(BigInt(length), 2)
  else if (lengthBytes === 2) frame.writeUInt16BE(length, 2)
  if (!masked) {
    frame.set(payload, start)
    return frame
  }
  const mask = randomBytes(4)
  frame.set(mask, start - 4)
  for (let at = 0; at < length; at++) frame[start + at] = payload[at]! ^ mask[at & 3]!
  return frame
}

/** The payload of a close frame. */
export const closePayload = (code: number, reason: string): Buffer => {
  const text = Buffer.from(reason).subarray(0, MAX_CONTROL_BYTES - 2)
  const payload = Buffer.allocUnsafe(2 + text.length)
  payload.writeUInt16BE(code, 0)
  payload.set(text, 2)
  return payload
}
