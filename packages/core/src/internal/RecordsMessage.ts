/**
 * The messages of RECORDS: a byte that says which, then JSON. An empty message, as the last one, ends the answers.
 */
import { Buffer } from "node:buffer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AgentRecord from "../AgentRecord.ts"
import * as CanonicalJson from "../CanonicalJson.ts"
import { check, Query } from "../Query.ts"

/** Longest that a query may take at a peer, in ms. */
export const MAX_QUERY_MS = 60_000
/** Furthest that a query may say it travels; every node cuts it to its own guardrail. */
export const MAX_QUERY_HOPS = 16
/** Kind of a message that tells a record. */
export const RECORD = 1
/** Kind of a message that asks. */
export const QUERY = 2
/** Largest query: all that its schema allows, and room. */
export const MAX_QUERY_BYTES = 16 * 1024

/** A query as it travels. */
const Asked = Schema.Struct({
  id: Schema.String.check(Schema.isPattern(/^[0-9a-f]{16}$/)),
  hops: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: MAX_QUERY_HOPS })),
  ms: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MAX_QUERY_MS })),
  query: Query
})
/** A query as it travels. */
export type Asked = typeof Asked.Type

/** First bytes of messages. */
export const head = { record: Uint8Array.of(RECORD), query: Uint8Array.of(QUERY) }
/** The message that ends a stream. */
export const empty = new Uint8Array(0)

const decodeAsked = Schema.decodeUnknownResult(Asked)

/** Reads a query; undefined for what is none, or makes no sense. */
export const readQuery = (message: Uint8Array): Asked | undefined => {
  if (message[0] !== QUERY || message.length > MAX_QUERY_BYTES) return undefined
  const parsed = CanonicalJson.parse(Buffer.from(message.subarray(1)).toString("utf8"), { maxDepth: 8 })
  const asked = Result.isSuccess(parsed) ? decodeAsked(parsed.success) : undefined
  if (asked === undefined || Result.isFailure(asked)) return undefined
  return check(asked.success.query) === undefined ? asked.success : undefined
}

/** Reads a record, not verified yet; undefined for what is none. */
export const readRecord = (message: Uint8Array): unknown => {
  if (message[0] !== RECORD || message.length > AgentRecord.MAX_RECORD_BYTES + 1) return undefined
  const parsed = CanonicalJson.parse(Buffer.from(message.subarray(1)).toString("utf8"), {
    maxBytes: AgentRecord.MAX_RECORD_BYTES
  })
  return Result.isSuccess(parsed) ? parsed.success : undefined
}
