/**
 * What a node says of itself: where it is and what it can do, signed by its own key, so that anyone may carry it.
 *
 * A record counts by its own signature alone. The higher `seq` wins; a record with no capabilities that expires when it
 * is issued is a tombstone: the node has gone. The signature covers `parley/record/1`, a line feed, and the RFC 8785 text
 * of the record without `sig`, members unknown to this version included.
 */
import * as Schema from "effect/Schema"
import * as CanonicalJson from "./CanonicalJson.ts"
import { CapabilityRecord } from "./Capability.ts"
import type * as Identity from "./Identity.ts"
import { NodeId } from "./NodeId.ts"
import * as SignedBytes from "./SignedBytes.ts"

/** Largest record, in bytes of canonical JSON: ten capabilities with generous schemas, and 1,000 records stay below 64 MiB. */
export const MAX_RECORD_BYTES = 65_536
/** Most capabilities of one record: past it, one node would crowd the index of its peers. */
export const MAX_CAPABILITIES = 64
/** Most addresses of one record: every interface of a large host, and its relays; a dialler tries the first (`Connections.MAX_DIALLED`). */
export const MAX_ADDRESSES = 32
/** Longest address, in characters: a host name (253), a port, and a relay with two NodeIds. */
export const MAX_ADDRESS_LENGTH = 512
/** Longest agent name, in characters: what a terminal's column and a DNS label can show. */
export const MAX_NAME_LENGTH = 63
/** Longest time from issue to expiry, in milliseconds (24 h): a dead node is forgotten by all within a day. */
export const MAX_LIFETIME = 86_400_000
/** Lifetime where none is given, in milliseconds (1 h): a node that lives renews it, one that crashed fades soon. */
export const DEFAULT_LIFETIME = 3_600_000
/** How far ahead of ours a peer's clock may be, in milliseconds (5 min, as in Kerberos): more is a wrong clock. */
export const CLOCK_SKEW = 300_000

const Millis = Schema.Natural

/** A signed agent record as it travels. */
export const AgentRecord = Schema.Struct({
  v: Schema.Literal(1),
  node: NodeId,
  /** For people; not unique, and no proof of anything. Empty in a tombstone. */
  name: Schema.String.check(
    Schema.isMaxLength(MAX_NAME_LENGTH),
    // Control characters could rewrite the terminal that shows the name.
    Schema.isPattern(/^[^\p{Cc}\p{Zl}\p{Zp}\p{Cs}]*$/u)
  ),
  /** Counts a node's records; the higher wins. */
  seq: Schema.Natural,
  /** Milliseconds since 1970 on the node's clock. */
  issuedAt: Millis,
  /** Milliseconds since 1970; at most `MAX_LIFETIME` after `issuedAt`. */
  expiresAt: Millis,
  /** Where to dial it, the best first: `scheme:…` in printable ASCII. */
  addresses: Schema.Array(
    Schema.String.check(Schema.isMaxLength(MAX_ADDRESS_LENGTH), Schema.isPattern(/^[a-z][a-z0-9+.-]*:[!-~]+$/))
  ).check(Schema.isMaxLength(MAX_ADDRESSES)),
  capabilities: Schema.Array(CapabilityRecord).check(Schema.isMaxLength(MAX_CAPABILITIES)),
  /** The node's signature, base64url. */
  sig: SignedBytes.SignatureText
})
/** A signed agent record. */
export type AgentRecord = typeof AgentRecord.Type

/** Its time is over. */
export class Expired extends Schema.TaggedClass<Expired>()("Expired", {
  expiresAt: Schema.Finite,
  now: Schema.Finite
}) {}
/** One at least as new is known: a higher `seq`, or the same with other content. */
export class NotNewer extends Schema.TaggedClass<NotNewer>()("NotNewer", {
  seq: Schema.Natural,
  known: Schema.Natural
}) {}
/** It is larger than a record may be. */
export class Oversized extends Schema.TaggedClass<Oversized>()("Oversized", {
  bytes: Schema.Natural,
  maxBytes: Schema.Natural
}) {}
/** It is another node's record than the expected one's. */
export class WrongSigner extends Schema.TaggedClass<WrongSigner>()("WrongSigner", {
  expected: NodeId,
  actual: NodeId
}) {}
/** The signature is not that node's over this content. */
export class BadSignature extends Schema.TaggedClass<BadSignature>()("BadSignature", { node: NodeId }) {}
/** It is not a record. */
export class Malformed extends Schema.TaggedClass<Malformed>()("Malformed", { detail: Schema.String }) {}
/** It was issued later than now, by more than clocks may differ. */
export class FromFuture extends Schema.TaggedClass<FromFuture>()("FromFuture", {
  issuedAt: Schema.Finite,
  now: Schema.Finite
}) {}
/** It wants to be believed for longer than any record is. */
export class LifetimeTooLong extends Schema.TaggedClass<LifetimeTooLong>()("LifetimeTooLong", {
  lifetime: Schema.Finite,
  maxLifetime: Schema.Finite
}) {}

/** Why a record does not count. */
export class RecordRefused extends Schema.TaggedError<RecordRefused>()("RecordRefused", {
  reason: Schema.Union([
    Expired,
    NotNewer,
    Oversized,
    WrongSigner,
    BadSignature,
    Malformed,
    FromFuture,
    LifetimeTooLong
  ])
}) {
  override get message() {
    const { reason } = this
    switch (reason._tag) {
      case "Expired":
        return `The agent record expired ${Math.round((reason.now - reason.expiresAt) / 1000)} s ago: ask the node for a new one`
      case "NotNewer":
        return `The agent record has seq ${reason.seq}, and one with seq ${reason.known} is known: issue it with a higher seq`
      case "Oversized":
        return `The agent record has ${reason.bytes} bytes, at most ${reason.maxBytes} are taken: shorten schemas or descriptions`
      case "WrongSigner":
        return `The agent record is of ${reason.actual}, expected was one of ${reason.expected}`
      case "BadSignature":
        return `The agent record is not signed by ${reason.node}: it was altered or forged`
      case "Malformed":
        return `Not an agent record: ${reason.detail}`
      case "FromFuture":
        return `The agent record was issued ${Math.round((reason.issuedAt - reason.now) / 1000)} s from now: set the clocks`
      case "LifetimeTooLong":
        return `The agent record is to live ${reason.lifetime} ms, at most ${reason.maxLifetime} are believed: issue it for less`
    }
  }
}

const isAgentRecord = Schema.is(AgentRecord)
const describe = Schema.decodeUnknownResult(AgentRecord)
const refused = (reason: RecordRefused["reason"]): RecordRefused => new RecordRefused({ reason })

const signedBody = (record: Omit<AgentRecord, "sig"> & { readonly sig?: string }): Uint8Array => {
  const { sig: _, ...body } = record
  return CanonicalJson.bytes(body)
}

/** What a node states of itself; NodeId, version and signature are added by `make`. */
export interface Fields {
  readonly name: string
  readonly seq: number
  /** Milliseconds since 1970. */
  readonly issuedAt: number
  /** Milliseconds since 1970; `DEFAULT_LIFETIME` after `issuedAt` where absent. */
  readonly expiresAt?: number
  readonly addresses: ReadonlyArray<string>
  readonly capabilities: ReadonlyArray<CapabilityRecord>
}

/** Signs a record. Throws the `RecordRefused` with which every peer would refuse it (too large, malformed, too long-lived). */
export const make = (identity: Identity.Identity["Service"], fields: Fields): AgentRecord => {
  const { addresses, capabilities, issuedAt, name, seq } = fields
  const body = {
    v: 1 as const,
    node: identity.nodeId,
    name,
    seq,
    issuedAt,
    expiresAt: fields.expiresAt ?? issuedAt + DEFAULT_LIFETIME,
    addresses,
    capabilities
  }
  let canonical: Uint8Array
  try {
    canonical = signedBody(body)
  } catch (cause) {
    throw refused(new Malformed({ detail: cause instanceof Error ? cause.message : String(cause) }))
  }
  const record: AgentRecord = { ...body, sig: SignedBytes.sign(identity, "record", canonical) }
  const verdict = check(record, { now: issuedAt })
  if (verdict instanceof RecordRefused) throw verdict
  return record
}

/** The record with which a node takes leave: no addresses, no capabilities, over as soon as issued. */
export const tombstone = (identity: Identity.Identity["Service"], seq: number, now: number): AgentRecord =>
  make(identity, { name: "", seq, issuedAt: now, expiresAt: now, addresses: [], capabilities: [] })

/** Whether the node says with this record that it has gone. */
export const isTombstone = (record: AgentRecord): boolean =>
  record.capabilities.length === 0 && record.expiresAt <= record.issuedAt

/** What a record is measured against. */
export interface Against {
  /** Milliseconds since 1970. */
  readonly now: number
  /** The record of the same node that is known so far. */
  readonly known?: AgentRecord | undefined
  /** The node whose record this must be. */
  readonly expect?: NodeId | undefined
  /** At most `MAX_RECORD_BYTES`, which is the default. */
  readonly maxBytes?: number | undefined
}

/**
 * Records that `verify` has taken. One that is handed on within the process, from a discovery to the merge of several and to the
 * directory, keeps its shape and its signature, so that only its time is looked at again: a verification costs 100 µs.
 */
const genuine = new WeakSet<object>()

/** Everything but the signature, the cheap parts first; the canonical bytes that it covers. */
const check = (record: unknown, against: Against): Uint8Array | RecordRefused => {
  if (!isAgentRecord(record)) {
    const result = describe(record)
    const detail = result._tag === "Failure" ? String(result.failure).slice(0, 300) : "it has another shape"
    return refused(new Malformed({ detail }))
  }
  return checkTime(record, against) ?? checkSize(record, against)
}

/** Whether it counts now, and for the node that is asked for. */
const checkTime = (record: AgentRecord, against: Against): RecordRefused | undefined => {
  const { expect, known, now } = against
  const { expiresAt, issuedAt, node, seq } = record
  for (const expected of [expect, known?.node]) {
    if (expected !== undefined && node !== expected) return refused(new WrongSigner({ expected, actual: node }))
  }
  if (issuedAt > now + CLOCK_SKEW) return refused(new FromFuture({ issuedAt, now }))
  const lifetime = expiresAt - issuedAt
  if (lifetime > MAX_LIFETIME) return refused(new LifetimeTooLong({ lifetime, maxLifetime: MAX_LIFETIME }))
  if (isTombstone(record)) {
    // A tombstone counts for as long as a record that it buries may still be alive.
    if (issuedAt + MAX_LIFETIME <= now) return refused(new Expired({ expiresAt, now }))
  } else if (expiresAt <= now) return refused(new Expired({ expiresAt, now }))
  return known !== undefined && seq < known.seq ? refused(new NotNewer({ seq, known: known.seq })) : undefined
}

const checkSize = (record: AgentRecord, against: Against): Uint8Array | RecordRefused => {
  const maxBytes = Math.min(against.maxBytes ?? MAX_RECORD_BYTES, MAX_RECORD_BYTES)
  let canonical: Uint8Array
  try {
    canonical = signedBody(record)
  } catch (cause) {
    return refused(new Malformed({ detail: cause instanceof Error ? cause.message : String(cause) }))
  }
  // The signature's own member is 95 bytes and counts as well.
  const bytes = canonical.length + record.sig.length + 9
  return bytes > maxBytes ? refused(new Oversized({ bytes, maxBytes })) : canonical
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/**
 * Takes or refuses what somebody passes on as an agent record: a parsed value, JSON text, or its UTF-8.
 *
 * Bounds, shape and times come before the signature, so that hostile input costs little. The record known already, at the
 * same `seq` with the same content, is taken as unchanged: the answer is `known` itself, and no signature is computed.
 */
export const verify = (value: unknown, against: Against): AgentRecord | RecordRefused => {
  const maxBytes = Math.min(against.maxBytes ?? MAX_RECORD_BYTES, MAX_RECORD_BYTES)
  let candidate = value
  if (typeof value === "string" || value instanceof Uint8Array) {
    const parsed = CanonicalJson.parse(value, { maxBytes })
    if (parsed._tag === "Failure") {
      const { reason } = parsed.failure
      return refused(
        reason._tag === "TooLarge"
          ? new Oversized({ bytes: reason.bytes, maxBytes })
          : new Malformed({ detail: parsed.failure.message })
      )
    }
    candidate = parsed.success
  } else if (!CanonicalJson.isWithinDepth(value)) {
    return refused(new Malformed({ detail: `nested deeper than ${CanonicalJson.MAX_DEPTH} levels` }))
  }
  const { known } = against
  if (typeof candidate === "object" && candidate !== null && genuine.has(candidate) && maxBytes === MAX_RECORD_BYTES) {
    const taken = candidate as AgentRecord
    if (taken === known || taken.seq !== known?.seq) return checkTime(taken, against) ?? taken
  }
  const canonical = check(candidate, against)
  if (canonical instanceof RecordRefused) return canonical
  const record = candidate as AgentRecord
  if (known !== undefined && record.seq === known.seq) {
    return record.sig === known.sig && equal(canonical, signedBody(known))
      ? known
      : refused(new NotNewer({ seq: record.seq, known: known.seq }))
  }
  if (!SignedBytes.verify(record.node, "record", canonical, record.sig))
    return refused(new BadSignature({ node: record.node }))
  genuine.add(record)
  return record
}

/** The one that counts, of two verified records of one node: the higher `seq`; of equal ones the first. */
export const newest = (a: AgentRecord, b: AgentRecord): AgentRecord => (b.seq > a.seq ? b : a)
