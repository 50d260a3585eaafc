/**
 * A topic's message as it crosses the mesh: signed by who published it, so that anybody may carry it.
 *
 * ```
 * 0     publisher's public key, 32 bytes
 * 32    epoch, u48: when the publisher began on this topic, in ms since 1970
 * 38    seq, u48: counts its messages on this topic since then, from 0
 * 44    at, u48: when it was published, in ms since 1970
 * 50    topic, u16 length (1 to 256) and UTF-8
 * ..    text, u32 length (at most 65,536) and UTF-8
 * ..    signature, 64 bytes
 * ```
 *
 * The signature covers `parley/broadcast/1`, a line feed, and all bytes before it.
 */
import * as Schema from "effect/Schema"
import { MAX_BROADCAST_BYTES } from "@parley/core/Broadcast"
import * as NodeId from "@parley/core/NodeId"
import * as Signature from "@parley/core/Signature"
import * as SignedBytes from "@parley/core/SignedBytes"
import { Malformed, Reader, Writer } from "./internal/Bytes.ts"

/** Longest topic, in bytes: as on streams of TOPICS. */
export const MAX_TOPIC_BYTES = 256
/** Largest envelope: the head, the longest topic and text, the signature. */
export const MAX_ENVELOPE_BYTES = 50 + 2 + MAX_TOPIC_BYTES + 4 + MAX_BROADCAST_BYTES + Signature.SIGNATURE_BYTES
/** How far ahead of ours a publisher's clock may be, in ms: as of records. */
export const CLOCK_SKEW_MS = 300_000
/**
 * How old a message may be, in ms: a partition of a minute and a half, and a clock that is behind by `CLOCK_SKEW_MS`. What is
 * older is a replay.
 */
export const MAX_AGE_MS = CLOCK_SKEW_MS + 90_000

/** A message, read and not yet believed. */
export interface Envelope {
  readonly publisher: NodeId.NodeId
  readonly epoch: number
  readonly seq: number
  readonly at: number
  readonly topic: string
  readonly text: string
  /** The whole, signature included. */
  readonly bytes: Uint8Array
}

/** Why an envelope does not count. */
export class EnvelopeRefused extends Schema.TaggedError<EnvelopeRefused>()("EnvelopeRefused", {
  /** `Malformed`: no envelope. `Stale`: too old. `FromFuture`: its clock is ahead. `BadSignature`: altered or forged. */
  code: Schema.Literals(["Malformed", "Stale", "FromFuture", "BadSignature"]),
  detail: Schema.String
}) {
  override get message(): string {
    return this.detail
  }
}

const WHAT = "broadcast"

/** Signs a message. */
export const seal = (
  identity: { readonly nodeId: NodeId.NodeId; readonly sign: (message: Uint8Array) => Uint8Array },
  { at, epoch, seq, text, topic }: Pick<Envelope, "epoch" | "seq" | "at" | "topic" | "text">
): Envelope => {
  const body = new Writer()
    .node(identity.nodeId)
    .u48(epoch)
    .u48(seq)
    .u48(at)
    .text16(topic)
    .bytes32(Buffer.from(text, "utf8"))
    .done()
  const bytes = new Writer()
    .bytes(body)
    .bytes(identity.sign(SignedBytes.make(WHAT, body)))
    .done()
  return { publisher: identity.nodeId, epoch, seq, at, topic, text, bytes }
}

/** Reads an envelope, and checks all but its signature: shape, bounds, and that it is of this time. */
export const open = (bytes: Uint8Array, now: number): Envelope | EnvelopeRefused => {
  try {
    const reader = new Reader(bytes)
    const publisher = reader.node("the publisher")
    const epoch = reader.u48("the epoch")
    const seq = reader.u48("the number")
    const at = reader.u48("the time")
    const topic = reader.text16(MAX_TOPIC_BYTES, "the topic")
    if (topic === "") throw new Malformed("the topic is empty")
    const length = reader.u32("the text")
    if (length > MAX_BROADCAST_BYTES)
      throw new Malformed(`the text has ${length} bytes, at most ${MAX_BROADCAST_BYTES}`)
    const text = reader.text(length, "the text")
    reader.bytes(Signature.SIGNATURE_BYTES, "the signature")
    reader.end()
    if (at > now + CLOCK_SKEW_MS || epoch > now + CLOCK_SKEW_MS)
      return new EnvelopeRefused({
        code: "FromFuture",
        detail: `the message is from ${at - now} ms ahead: set the clocks`
      })
    if (at < now - MAX_AGE_MS || at < epoch - CLOCK_SKEW_MS)
      return new EnvelopeRefused({
        code: "Stale",
        detail: `the message is ${now - at} ms old, at most ${MAX_AGE_MS} are taken`
      })
    return { publisher, epoch, seq, at, topic, text, bytes }
  } catch (error) {
    if (!(error instanceof Malformed)) throw error
    return new EnvelopeRefused({ code: "Malformed", detail: `not a message: ${error.message}` })
  }
}

/** Whether the publisher signed it. Costs 34 µs. */
export const isGenuine = ({ bytes, publisher }: Envelope): boolean => {
  const end = bytes.length - Signature.SIGNATURE_BYTES
  return Signature.best.verify(
    NodeId.toPublicKey(publisher),
    SignedBytes.make(WHAT, bytes.subarray(0, end)),
    bytes.subarray(end)
  )
}
