import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import { NodeId } from "@parley/core/NodeId"
import { Query } from "@parley/core/Query"
import * as Schema from "effect/Schema"

/** Largest message either side takes: one record and what is around it. */
export const MAX_MESSAGE_BYTES = AgentRecord.MAX_RECORD_BYTES + 1_024
/** Most records in one answer. */
export const MAX_RESULTS = 50
/** Longest explanation of a refusal that is shown. */
const MAX_DETAIL = 500

/** What a node asks, one request on each stream. */
export const Request = Schema.Union([
  /** Takes the asker's record in, or renews its lease. */
  Schema.Struct({ t: Schema.Literal("register"), record: Schema.Unknown }),
  /** Takes the asker's record out. */
  Schema.Struct({ t: Schema.Literal("withdraw") }),
  /** Asks for records, at most `limit`. */
  Schema.Struct({
    t: Schema.Literal("find"),
    query: Query,
    limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: MAX_RESULTS })))
  }),
  /** Asks for some records at once, and for comings and goings until the stream is reset. */
  Schema.Struct({ t: Schema.Literal("watch") })
])
/** What a node asks. */
export type Request = typeof Request.Type

/** Why a tracker says no. `Record`: the record does not count. `Full`: no room. */
export const RefusedCode = Schema.Literals(["Record", "Full"])

/** What a tracker says. */
export const Reply = Schema.Union([
  Schema.Struct({ t: Schema.Literal("registered"), leaseMs: Schema.Natural }),
  Schema.Struct({ t: Schema.Literal("withdrawn") }),
  Schema.Struct({ t: Schema.Literal("record"), record: Schema.Unknown }),
  Schema.Struct({ t: Schema.Literal("gone"), node: NodeId }),
  Schema.Struct({
    t: Schema.Literal("refused"),
    code: RefusedCode,
    // Control characters could rewrite the log that shows it.
    detail: Schema.String.check(Schema.isMaxLength(MAX_DETAIL), Schema.isPattern(/^\P{Cc}*$/u))
  }),
  /** The last message of a `find`. `more`: there are others that match. */
  Schema.Struct({ t: Schema.Literal("end"), more: Schema.Boolean })
])
/** What a tracker says. */
export type Reply = typeof Reply.Type

/** A message that made no sense, and why. */
export interface Malformed {
  readonly t: "malformed"
  readonly detail: string
}

const text = new TextEncoder()
const isRequest = Schema.is(Request)
const isReply = Schema.is(Reply)

const parse = <A>(bytes: Uint8Array, is: (value: unknown) => value is A): A | Malformed => {
  const parsed = CanonicalJson.parse(bytes, { maxBytes: MAX_MESSAGE_BYTES })
  if (parsed._tag === "Failure") return { t: "malformed", detail: parsed.failure.message }
  const value: unknown = parsed.success
  return is(value) ? value : { t: "malformed", detail: "no message of this protocol" }
}

/** A request, or why it is none. Never throws. */
export const decodeRequest = (bytes: Uint8Array): Request | Malformed => parse(bytes, isRequest)
/** A reply, or why it is none. Never throws. */
export const decodeReply = (bytes: Uint8Array): Reply | Malformed => parse(bytes, isReply)

/** A message as it travels: compact JSON in UTF-8. */
export const encode = (message: Request | Reply): Uint8Array => text.encode(JSON.stringify(message))

/** A refusal that fits into a reply. */
export const refusal = (code: typeof RefusedCode.Type, detail: string): Reply => ({
  t: "refused",
  code,
  detail: detail.slice(0, MAX_DETAIL).replace(/\p{Cc}/gu, " ")
})
