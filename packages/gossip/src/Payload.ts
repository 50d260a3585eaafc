/**
 * What a broadcast carries: a topic's message, or an agent record. Each is signed by its origin, and counts by that alone.
 *
 * ```
 * 0     kind: 1 a topic's message, 2 an agent record
 * 1..   the envelope (`Envelope`), or the record's RFC 8785 text in UTF-8
 * ```
 *
 * The id of a payload is the first 16 bytes of the SHA-256 over it, so that nobody can make another that passes for it.
 */
import { createHash } from "node:crypto"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import type { NodeId } from "@parley/core/NodeId"
import * as Envelope from "./Envelope.ts"
import type { Carried } from "./Plumtree.ts"

/** Bytes of an id. */
export const ID_BYTES = 16
/** Largest payload: the larger of a full envelope and a full record, and the kind. */
export const MAX_PAYLOAD_BYTES = 1 + Math.max(Envelope.MAX_ENVELOPE_BYTES, AgentRecord.MAX_RECORD_BYTES)

const TOPIC = 1
const RECORD = 2

/** What a payload turned out to be: believed, but for the time that a record's age is a matter of. */
export type Read =
  | { readonly _tag: "Topic"; readonly origin: NodeId; readonly envelope: Envelope.Envelope }
  | { readonly _tag: "Record"; readonly origin: NodeId; readonly record: AgentRecord.AgentRecord }

/** Why a payload is neither believed nor passed on. */
export interface Refused {
  readonly _tag: "Refused"
  /** No honest node passes this on, however its clock goes. */
  readonly isHostile: boolean
  readonly detail: string
}

/** The id of a payload: 32 hex digits. */
export const idOf = (payload: Uint8Array): string =>
  createHash("sha256")
    .update(payload)
    .digest("hex")
    .slice(0, 2 * ID_BYTES)

const carried = (kind: number, body: Uint8Array, origin: NodeId): Carried => {
  const payload = new Uint8Array(1 + body.length)
  payload[0] = kind
  payload.set(body, 1)
  return { id: idOf(payload), origin, payload }
}

/** A topic's message as it is carried. */
export const ofEnvelope = ({ bytes, publisher }: Envelope.Envelope): Carried => carried(TOPIC, bytes, publisher)

/** A record as it is carried. */
export const ofRecord = (record: AgentRecord.AgentRecord): Carried =>
  carried(RECORD, CanonicalJson.bytes(record), record.node)

const refuse = (isHostile: boolean, detail: string): Refused => ({ _tag: "Refused", isHostile, detail })

/** What no honest node passes on. */
const hostile: ReadonlySet<string> = new Set([
  "Malformed",
  "Oversized",
  "BadSignature",
  "LifetimeTooLong",
  "WrongSigner"
])

/**
 * Reads a payload and checks its signature, the cheap parts first. `known`: the newest record of a node. `admits`: whether more
 * of this origin is taken now; asked before the signature is looked at, so that a forger can say anything there.
 */
export const read = (
  payload: Uint8Array,
  against: {
    readonly now: number
    readonly known: (node: NodeId) => AgentRecord.AgentRecord | undefined
    readonly admits: (origin: NodeId, kind: Read["_tag"]) => boolean
  }
): Read | Refused => {
  const body = payload.subarray(1)
  if (payload[0] === TOPIC) {
    const envelope = Envelope.open(body, against.now)
    if (envelope instanceof Envelope.EnvelopeRefused)
      return refuse(envelope.code === "Malformed", `a message: ${envelope.detail}`)
    const { publisher } = envelope
    if (!against.admits(publisher, "Topic")) return refuse(false, `too much of ${publisher}`)
    if (!Envelope.isGenuine(envelope)) return refuse(true, `a message that ${publisher} did not sign`)
    return { _tag: "Topic", origin: publisher, envelope }
  }
  if (payload[0] !== RECORD) return refuse(true, `a payload of kind ${payload[0] ?? "none"}`)
  const parsed = CanonicalJson.parse(body, { maxBytes: AgentRecord.MAX_RECORD_BYTES })
  if (parsed._tag === "Failure") return refuse(true, `a record: ${parsed.failure.message}`)
  const value = parsed.success
  const claimed = typeof value === "object" && value !== null && "node" in value ? (value.node as NodeId) : undefined
  const known = claimed === undefined ? undefined : against.known(claimed)
  if (claimed !== undefined && !against.admits(claimed, "Record")) return refuse(false, `too much of one node`)
  const record = AgentRecord.verify(value, { now: against.now, ...(known === undefined ? {} : { known }) })
  if (record instanceof AgentRecord.RecordRefused) return refuse(hostile.has(record.reason._tag), record.message)
  return { _tag: "Record", origin: record.node, record }
}
