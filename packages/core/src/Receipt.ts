/**
 * The executor's word for what it did: which task, over which input, with which output, and when.
 *
 * It holds hashes instead of contents, so it can be shown to third parties. The signature covers `parley/receipt/1`, a
 * line feed, and the RFC 8785 text of the receipt without `sig`.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as CanonicalJson from "./CanonicalJson.ts"
import type * as Identity from "./Identity.ts"
import { NodeId } from "./NodeId.ts"
import * as SignedBytes from "./SignedBytes.ts"

/** Longest receipt read from text, in bytes: four times one with the longest capability name. */
export const MAX_RECEIPT_BYTES = 4_096
/** Longest `name@version`, in characters: the longest name, the longest version and the `@`. */
export const MAX_CAPABILITY_LENGTH = 193

const Hash = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/))
const Millis = Schema.Natural

/** A signed receipt as it travels. */
export const Receipt = Schema.Struct({
  v: Schema.Literal(1),
  /** 16 random bytes, as 32 lower-case hex digits. */
  task: Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/)),
  /** `name@version`. */
  capability: Schema.String.check(
    Schema.isMaxLength(MAX_CAPABILITY_LENGTH),
    Schema.isPattern(/^[a-z0-9][a-z0-9._-]*@[0-9A-Za-z.+-]+$/)
  ),
  executor: NodeId,
  caller: NodeId,
  /** SHA-256 of the input's RFC 8785 bytes, as hex (`CanonicalJson.hash`). */
  inputHash: Hash,
  /** SHA-256 of the output's RFC 8785 bytes, as hex (`CanonicalJson.hash`). */
  outputHash: Hash,
  /** When the executor began, in milliseconds since 1970 on its clock. */
  startedAt: Millis,
  /** When it was done; not before `startedAt`. */
  finishedAt: Millis,
  /** The executor's signature, base64url. */
  sig: SignedBytes.SignatureText
})
/** A signed receipt. */
export type Receipt = typeof Receipt.Type
/** What the executor states; its own NodeId, the version and the signature are added by `make`. */
export type Fields = Omit<Receipt, "v" | "executor" | "sig">

/** The receipt is not one. */
export class Malformed extends Schema.TaggedClass<Malformed>()("Malformed", { detail: Schema.String }) {}
/** The signature is not the executor's over these fields. */
export class BadSignature extends Schema.TaggedClass<BadSignature>()("BadSignature", { executor: NodeId }) {}
/** It is a true receipt, but of something else. */
export class Mismatch extends Schema.TaggedClass<Mismatch>()("Mismatch", {
  field: Schema.String,
  expected: Schema.String,
  actual: Schema.String
}) {}

/** Why a receipt does not count. */
export class ReceiptRefused extends Schema.TaggedError<ReceiptRefused>()("ReceiptRefused", {
  reason: Schema.Union([Malformed, BadSignature, Mismatch])
}) {
  override get message() {
    const { reason } = this
    switch (reason._tag) {
      case "Malformed":
        return `Not a receipt: ${reason.detail}`
      case "BadSignature":
        return `The receipt is not signed by its executor ${reason.executor}: do not count its answer`
      case "Mismatch":
        return `The receipt is for another ${reason.field}: expected ${reason.expected}, it says ${reason.actual}`
    }
  }
}

const isReceipt = Schema.is(Receipt)
const describe = Schema.decodeUnknownResult(Receipt)
const refused = (reason: ReceiptRefused["reason"]): ReceiptRefused => new ReceiptRefused({ reason })

const signedBody = (receipt: Omit<Receipt, "sig"> & { readonly sig?: string }): Uint8Array => {
  const { sig: _, ...body } = receipt
  return CanonicalJson.bytes(body)
}

/** Signs a receipt. Throws a `ReceiptRefused` (`Malformed`) when a field does not hold: those fields are the executor's own. */
export const make = (identity: Identity.Identity["Service"], fields: Fields): Receipt => {
  const { capability, caller, finishedAt, inputHash, outputHash, startedAt, task } = fields
  const body = {
    v: 1 as const,
    task,
    capability,
    executor: identity.nodeId,
    caller,
    inputHash,
    outputHash,
    startedAt,
    finishedAt
  }
  const receipt: Receipt = { ...body, sig: SignedBytes.sign(identity, "receipt", signedBody(body)) }
  const shape = checkShape(receipt)
  if (shape instanceof ReceiptRefused) throw shape
  return receipt
}

const checkShape = (value: unknown): Receipt | ReceiptRefused => {
  if (!isReceipt(value)) {
    const result = describe(value)
    const detail = result._tag === "Failure" ? String(result.failure).slice(0, 300) : "it has another shape"
    return refused(new Malformed({ detail }))
  }
  return checkTimes(value)
}

/** What the schema does not say. */
const checkTimes = (receipt: Receipt): Receipt | ReceiptRefused =>
  receipt.finishedAt < receipt.startedAt ? refused(new Malformed({ detail: "it ends before it starts" })) : receipt

/** What a receipt must be for: each field given is compared. */
export type Expected = Partial<Omit<Fields, "startedAt" | "finishedAt"> & { readonly executor: NodeId }>
const comparable = ["task", "capability", "executor", "caller", "inputHash", "outputHash"] as const

/** The bytes that a receipt's signature must cover, where they are for what was expected. */
const bodyOf = (receipt: Receipt, expected: Expected): Uint8Array | ReceiptRefused => {
  for (const field of comparable) {
    const wanted = expected[field]
    if (wanted !== undefined && wanted !== receipt[field]) {
      return refused(new Mismatch({ field, expected: wanted, actual: receipt[field] }))
    }
  }
  let body: Uint8Array
  try {
    body = signedBody(receipt)
  } catch (cause) {
    return refused(new Malformed({ detail: cause instanceof Error ? cause.message : String(cause) }))
  }
  return body.length > MAX_RECEIPT_BYTES
    ? refused(new Malformed({ detail: `more than ${MAX_RECEIPT_BYTES} bytes` }))
    : body
}

/**
 * Whether a receipt holds: its shape, the executor's signature, and the expected fields. Needs nothing but the receipt.
 *
 * A receipt with members unknown to this version is accepted when the signature covers them.
 */
export const verify = (receipt: unknown, expected: Expected = {}): true | ReceiptRefused => {
  const shaped = checkShape(receipt)
  if (shaped instanceof ReceiptRefused) return shaped
  const body = bodyOf(shaped, expected)
  if (body instanceof ReceiptRefused) return body
  return SignedBytes.verify(shaped.executor, "receipt", body, shaped.sig)
    ? true
    : refused(new BadSignature({ executor: shaped.executor }))
}

/**
 * As `verify`, of what the schema has read already; where the runtime can, the signature is checked on another thread, so that
 * whoever is asked by many serves others meanwhile.
 */
export const verifyApart = (receipt: Receipt, expected: Expected = {}): Effect.Effect<true | ReceiptRefused> =>
  Effect.suspend(() => {
    const shaped = checkTimes(receipt)
    if (shaped instanceof ReceiptRefused) return Effect.succeed(shaped)
    const body = bodyOf(shaped, expected)
    if (body instanceof ReceiptRefused) return Effect.succeed(body)
    return Effect.callback<true | ReceiptRefused>((resume) =>
      SignedBytes.verifyApart(shaped.executor, "receipt", body, shaped.sig, (holds) =>
        resume(Effect.succeed(holds || refused(new BadSignature({ executor: shaped.executor }))))
      )
    )
  })

/** Reads and verifies a receipt from a parsed value, or from JSON text or its UTF-8. */
export const decode = (input: unknown, expected: Expected = {}): Receipt | ReceiptRefused => {
  let value = input
  if (typeof input === "string" || input instanceof Uint8Array) {
    const parsed = CanonicalJson.parse(input, { maxBytes: MAX_RECEIPT_BYTES })
    if (parsed._tag === "Failure") return refused(new Malformed({ detail: parsed.failure.message }))
    value = parsed.success
  } else if (!CanonicalJson.isWithinDepth(value)) {
    return refused(new Malformed({ detail: `nested deeper than ${CanonicalJson.MAX_DEPTH} levels` }))
  }
  const verdict = verify(value, expected)
  return verdict === true ? (value as Receipt) : verdict
}
