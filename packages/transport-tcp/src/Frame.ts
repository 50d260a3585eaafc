/**
 * Frames: what the two ends of a session say to each other inside sealed records.
 *
 * ```
 * 0        type (bits 0-3) and flags (bits 4-7)
 * 1..4     stream, u32 big-endian; 0 is the connection itself
 * 5..6     length of the body, u16 big-endian
 * 7..      body
 * ```
 *
 * A record holds one or more whole frames: no frame spans two records, so a reader holds nothing between them, and the length
 * of a record, which is known before anything is allocated, is the cap of a frame.
 *
 * | type | body | meaning |
 * | --- | --- | --- |
 * | 0 DATA | with OPEN one byte of protocol first, then message bytes | a message, or with MORE a part of one |
 * | 1 CREDIT | u32 above 0 | so many more bytes may be sent, on a stream or (stream 0) on the connection |
 * | 2 RESET | u8 `ResetCode` | the stream is over, both ways |
 * | 3 PING | none | answer with PONG |
 * | 4 PONG | none | |
 * | 5 GOAWAY | none | this end opens no more streams; who hears it opens none either, and says so with its own GOAWAY |
 */

/** Bytes before the body. */
export const HEADER_BYTES = 7
/** Most plaintext in a record: the 65,535 bytes of a Noise message without its tag. */
export const MAX_RECORD_BYTES = 65_519
/** Most bytes in the body of a frame, which shares its record with nothing else then. */
export const MAX_BODY_BYTES = MAX_RECORD_BYTES - HEADER_BYTES
/**
 * What a DATA frame costs of a window besides its message bytes, about what a receiver spends on holding it: so that a window
 * of 512 KiB is at most 16,384 empty messages.
 */
export const FRAME_COST = 32

/** Types of frames. */
export const Type = { Data: 0, Credit: 1, Reset: 2, Ping: 3, Pong: 4, GoAway: 5 } as const
/** Flags of a DATA frame. */
export const Flag = {
  /** First frame of a stream; the body begins with the protocol. */
  Open: 0x10,
  /** The sender's last frame on this stream. */
  Last: 0x20,
  /** The message goes on in the stream's next frame. */
  More: 0x40
} as const

/** Takes frames as they are parsed. Each method returns whether to go on. */
export interface FrameSink {
  /** The message bytes are `bytes[start..end)`, valid during the call; `protocol` counts with `Flag.Open` only. */
  onDataFrame(stream: number, flags: number, protocol: number, bytes: Uint8Array, start: number, end: number): boolean
  onCreditFrame(stream: number, amount: number): boolean
  onResetFrame(stream: number, code: number): boolean
  onPing(): boolean
  onPong(): boolean
  onGoAway(): boolean
}

/**
 * Hands the frames of one record to `sink`, in order, and allocates nothing.
 *
 * Gives undefined when all were read (or the sink had enough), else what is wrong with the frame that it stopped at; a sink
 * hears nothing of a frame that is wrong.
 */
export const parse = (record: Uint8Array, sink: FrameSink): string | undefined => {
  const size = record.length
  let at = 0
  while (at < size) {
    const body = at + HEADER_BYTES
    if (body > size) return `a record ends inside the head of a frame, ${size - at} bytes into it`
    const kind = record[at]!
    const stream = ((record[at + 1]! << 24) | (record[at + 2]! << 16) | (record[at + 3]! << 8) | record[at + 4]!) >>> 0
    const length = (record[at + 5]! << 8) | record[at + 6]!
    const end = body + length
    if (end > size) return `a frame declares ${length} bytes, and its record has ${size - body}`
    if ((kind & 0x0f) === Type.Data) {
      if ((kind & 0x80) !== 0 || (kind & (Flag.Last | Flag.More)) === (Flag.Last | Flag.More)) {
        return `a DATA frame has the flags ${kind >> 4}`
      }
      if (stream === 0) return "a DATA frame is for stream 0"
      if ((kind & Flag.Open) === 0) {
        if (!sink.onDataFrame(stream, kind, 0, record, body, end)) return undefined
      } else {
        if (length === 0) return "a frame opens a stream of no protocol"
        if (!sink.onDataFrame(stream, kind, record[body]!, record, body + 1, end)) return undefined
      }
    } else {
      switch (kind) {
        case Type.Credit: {
          if (length !== 4) return `a CREDIT frame has ${length} bytes instead of 4`
          const amount =
            ((record[body]! << 24) | (record[body + 1]! << 16) | (record[body + 2]! << 8) | record[body + 3]!) >>> 0
          if (amount === 0) return "a CREDIT frame gives nothing"
          if (!sink.onCreditFrame(stream, amount)) return undefined
          break
        }
        case Type.Reset:
          if (length !== 1) return `a RESET frame has ${length} bytes instead of 1`
          if (stream === 0) return "a RESET frame is for stream 0"
          if (!sink.onResetFrame(stream, record[body]!)) return undefined
          break
        case Type.Ping:
        case Type.Pong:
        case Type.GoAway:
          if (length !== 0 || stream !== 0) return `a frame of type ${kind} has a body or a stream`
          if (!(kind === Type.Ping ? sink.onPing() : kind === Type.Pong ? sink.onPong() : sink.onGoAway())) {
            return undefined
          }
          break
        default:
          return `a frame has the unknown type and flags 0x${kind.toString(16)}`
      }
    }
    at = end
  }
  return undefined
}

/** Writes the seven bytes before a body. */
export const writeHeader = (out: Uint8Array, at: number, kind: number, stream: number, length: number): void => {
  out[at] = kind
  out[at + 1] = stream >>> 24
  out[at + 2] = stream >>> 16
  out[at + 3] = stream >>> 8
  out[at + 4] = stream
  out[at + 5] = length >>> 8
  out[at + 6] = length
}

/** Bytes of a CREDIT frame. */
export const CREDIT_BYTES = HEADER_BYTES + 4
/** Writes a CREDIT frame. */
export const writeCredit = (out: Uint8Array, at: number, stream: number, amount: number): void => {
  writeHeader(out, at, Type.Credit, stream, 4)
  out[at + 7] = amount >>> 24
  out[at + 8] = amount >>> 16
  out[at + 9] = amount >>> 8
  out[at + 10] = amount
}

/** Bytes of a RESET frame. */
export const RESET_BYTES = HEADER_BYTES + 1
/** Writes a RESET frame. */
export const writeReset = (out: Uint8Array, at: number, stream: number, code: number): void => {
  writeHeader(out, at, Type.Reset, stream, 1)
  out[at + 7] = code
}
