/** DATA frames as they are written: straight into the outbox, and large bodies sealed from where they lie. */
import * as Frame from "../Frame.ts"
import type { Outbox } from "./Outbox.ts"

/** From this size on a record is full enough for what comes in large parts. */
const FULL_FROM_BYTES = Frame.MAX_RECORD_BYTES - 8 * 1024
/** Up to so many bytes a loop is faster than `set`. */
const LOOP_BYTES = 48

/** Whose frame it is. */
export interface Sender {
  readonly id: number
  readonly protocol: number
  /** The peer has heard of it. */
  announced: boolean
}

/** Writes a whole message as one frame; `bound` is at least its length. Gives its length. */
export const writeMessage = (
  outbox: Outbox,
  sender: Sender,
  head: Uint8Array,
  body: string | Uint8Array | undefined,
  bound: number,
  last: boolean
): number => {
  const start = outbox.reserve(bound + Frame.HEADER_BYTES + 1)
  const out = outbox.buffer
  let at = start + Frame.HEADER_BYTES
  let kind: number = last ? Frame.Type.Data | Frame.Flag.Last : Frame.Type.Data
  if (!sender.announced) {
    sender.announced = true
    kind |= Frame.Flag.Open
    out[at++] = sender.protocol
  }
  const from = at
  const headBytes = head.length
  if (headBytes <= LOOP_BYTES) for (let i = 0; i < headBytes; i++) out[at + i] = head[i]!
  else out.set(head, at)
  at += headBytes
  if (typeof body === "string") {
    at += out.write(body, at, "utf8")
  } else if (body !== undefined) {
    out.set(body, at)
    at += body.length
  }
  Frame.writeHeader(out, start, kind, sender.id, at - start - Frame.HEADER_BYTES)
  outbox.pending = at
  outbox.schedule()
  return at - from
}

/** Writes `head ‖ bytes`, a message or a part of one, as one frame. Gives its length. */
export const writePiece = (
  outbox: Outbox,
  sender: Sender,
  head: Uint8Array,
  bytes: Uint8Array,
  more: boolean,
  last: boolean
): number => {
  const length = head.length + bytes.length
  const size = length + Frame.HEADER_BYTES + 1
  // What fills its record is sealed from where it lies.
  const isFull = outbox.pending + size > FULL_FROM_BYTES
  if (outbox.pending + size > Frame.MAX_RECORD_BYTES) outbox.seal()
  const start = outbox.reserve(isFull ? size - bytes.length : size)
  const out = outbox.buffer
  let at = start + Frame.HEADER_BYTES
  let kind: number = Frame.Type.Data | (more ? Frame.Flag.More : 0) | (last ? Frame.Flag.Last : 0)
  if (!sender.announced) {
    sender.announced = true
    kind |= Frame.Flag.Open
    out[at++] = sender.protocol
  }
  out.set(head, at)
  at += head.length
  Frame.writeHeader(out, start, kind, sender.id, at + bytes.length - start - Frame.HEADER_BYTES)
  if (isFull) {
    outbox.pending = at
    outbox.seal(bytes)
  } else {
    out.set(bytes, at)
    outbox.pending = at + bytes.length
    outbox.schedule()
  }
  return length
}
