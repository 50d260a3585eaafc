/**
 * The evidence chain: every report that counted, each with a hash over itself and over all before it.
 *
 * `hash = SHA-256(seq LF previous-hash LF report)`, where seq is decimal, the previous hash is 64 hex digits (none before the
 * first link), and the report is its RFC 8785 text, as it was stored, with the time at which it was taken. Whoever has seen one
 * link's hash can tell whether anything before it was changed, left out or put in since.
 */
import { createHash } from "node:crypto"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Schema from "effect/Schema"
import type { Report } from "./Event.ts"

/** Where a chain stands: its last link. */
export const Head = Schema.Struct({
  /** How many links there are; 0 for none. */
  seq: Schema.Natural,
  /** Of the last one, as hex; `""` for none. */
  hash: Schema.String.check(Schema.isPattern(/^([0-9a-f]{64})?$/))
})
/** Where a chain stands. */
export type Head = typeof Head.Type

/** A link as it is stored and shown. */
export interface Link extends Head {
  /** Milliseconds since the epoch; what counts is the report's own `at`, which the hash covers. */
  readonly at: number
  readonly report: Report
}

/** Before the first link. */
export const START: Head = { seq: 0, hash: "" }

/** The link after another. Throws a `JsonError` for a report that has no JSON form. */
export const next = (previous: Head, report: Report): Head => ({
  seq: previous.seq + 1,
  hash: createHash("sha256")
    .update(`${previous.seq + 1}\n${previous.hash}\n`)
    .update(CanonicalJson.bytes(report))
    .digest("hex")
})
