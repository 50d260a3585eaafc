/**
 * Messages of chunks read: one as JSON, several as one JSON array, or one of bytes. All chunks of a message are handed on
 * together.
 */
import { Buffer } from "node:buffer"
import type * as Schema from "effect/Schema"
import type { Settings } from "../Guardrails.ts"
import type { NodeErrorReason } from "../NodeError.ts"
import type { Candidate } from "./Outgoing.ts"
import * as Envelope from "./Envelope.ts"
import type { Job } from "./Job.ts"
import * as JsonCodec from "./JsonCodec.ts"

/** Chunks of bytes from this size on are not copied: half of a record, so that a chunk keeps no more than twice its size. */
const VIEW_FROM_BYTES = 32 * 1024

/** Reads a message of chunks into `chunks`, in order, up to the first that is none; gives what is wrong with that one. */
export const readChunks = (
  settings: Settings,
  job: Job,
  { capability, node }: Candidate,
  message: Uint8Array,
  chunks: Array<unknown>
): NodeErrorReason | undefined => {
  const { maxJsonDepth, maxPayloadBytes } = settings
  const kind = message[0]
  const bytes = message.length - 1
  const tooLarge = (size: number): NodeErrorReason => ({ _tag: "TooLarge", bytes: size, limit: maxPayloadBytes })
  const invalid = (detail: string): NodeErrorReason => ({ _tag: "OutputInvalid", capability, peer: node, detail })
  if (kind === Envelope.Kind.Bytes) {
    if (!job.bytes) return invalid("bytes came, and they were not asked for")
    if (bytes > maxPayloadBytes) return tooLarge(bytes)
    chunks.push(
      bytes < VIEW_FROM_BYTES
        ? new Uint8Array(message.subarray(1))
        : new Uint8Array(message.buffer, message.byteOffset + 1, bytes)
    )
    return undefined
  }
  const decode = (json: Schema.Json): NodeErrorReason | undefined => {
    const output = job.output.decode(json)
    if (output instanceof JsonCodec.Unfit) return invalid(output.detail)
    chunks.push(output)
    return undefined
  }
  if (kind === Envelope.Kind.Chunk) {
    if (bytes > maxPayloadBytes) return tooLarge(bytes)
    const json = JsonCodec.parse(Envelope.bodyOf(message), maxJsonDepth)
    return json instanceof JsonCodec.Unfit ? invalid(json.detail) : decode(json)
  }
  if (bytes > Envelope.MAX_BATCH_BYTES) {
    return invalid(`${bytes} bytes of chunks came in one message, at most ${Envelope.MAX_BATCH_BYTES} may`)
  }
  const all = JsonCodec.parse(Envelope.bodyOf(message), maxJsonDepth + 1)
  if (all instanceof JsonCodec.Unfit) return invalid(all.detail)
  if (!Array.isArray(all)) return invalid("several chunks came, and not as an array")
  if (all.length === 0) return invalid("a message of several chunks came without any")
  for (const json of all as ReadonlyArray<Schema.Json>) {
    // Each chunk of a message that is within the cap is so too.
    const size = bytes > maxPayloadBytes ? Buffer.byteLength(JSON.stringify(json)) : 0
    const wrong = size > maxPayloadBytes ? tooLarge(size) : decode(json)
    if (wrong !== undefined) return wrong
  }
  return undefined
}
