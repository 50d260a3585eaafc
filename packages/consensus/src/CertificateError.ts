/**
 * What can be wrong with a certificate.
 */
import { NodeId } from "@parley/core/NodeId"
import { MAX_LIMIT } from "@parley/core/Query"
import * as Schema from "effect/Schema"

/** Most agents invited, and answers: as many as one query may match. A verifier computes one signature for each. */
export const MAX_INVITED = MAX_LIMIT
/** Longest certificate read, in bytes of UTF-8: the answers of five agents at the largest body that is read by default. */
export const MAX_BYTES = 8 * 1_048_576

/** Why a certificate does not count. `node` is the agent whose part is wrong. */
export const Reason = Schema.Union([
  /** It is longer than certificates are read. */
  Schema.TaggedStruct("TooLarge", { bytes: Schema.Natural }),
  /** It is no certificate. */
  Schema.TaggedStruct("Malformed", { detail: Schema.String }),
  /** It is of a version that is not known here. */
  Schema.TaggedStruct("UnknownVersion", { version: Schema.String }),
  /** An agent stands twice among those invited. */
  Schema.TaggedStruct("InvitedTwice", { node: NodeId }),
  /** An agent answered that was not invited. */
  Schema.TaggedStruct("NotInvited", { node: NodeId }),
  /** An agent stands twice among those that answered. */
  Schema.TaggedStruct("AnsweredTwice", { node: NodeId }),
  /** An answer came without a receipt, so no certificate can rest on it. */
  Schema.TaggedStruct("NoReceipt", { node: NodeId }),
  /** A receipt is for something else than the answer beside it; `field` says what. */
  Schema.TaggedStruct("WrongReceipt", {
    node: NodeId,
    field: Schema.String,
    expected: Schema.String,
    actual: Schema.String
  }),
  /** A receipt is not signed by its executor. */
  Schema.TaggedStruct("BadReceiptSignature", { node: NodeId }),
  /** An agent answered with another capability than was asked for. */
  Schema.TaggedStruct("WrongCapability", { node: NodeId, expected: Schema.String, actual: Schema.String }),
  /** The answers cannot be counted here: the aggregation is not known, takes another argument, or fails. */
  Schema.TaggedStruct("NotCountable", { aggregation: Schema.String, detail: Schema.String }),
  /** The outcome does not follow from the answers. */
  Schema.TaggedStruct("WrongOutcome", { field: Schema.String, stated: Schema.String, counted: Schema.String }),
  /** What the asker states was changed after it signed, or never signed by it. */
  Schema.TaggedStruct("BadAskerSignature", { asker: NodeId })
])
/** Why a certificate does not count. */
export type Reason = typeof Reason.Type

/** A certificate does not count. */
export class CertificateError extends Schema.TaggedError<CertificateError>()("CertificateError", { reason: Reason }) {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "TooLarge":
        return `the certificate has ${reason.bytes} bytes, at most ${MAX_BYTES} are read`
      case "Malformed":
        return `not a certificate: ${reason.detail}`
      case "UnknownVersion":
        return `the certificate is of version ${reason.version}; this program reads version 1`
      case "InvitedTwice":
        return `forged: ${reason.node} is listed twice among the invited, and has one vote`
      case "NotInvited":
        return `forged: ${reason.node} answers, and was not invited`
      case "AnsweredTwice":
        return `forged: ${reason.node} answers twice, and has one vote`
      case "NoReceipt":
        return `the answer of ${reason.node} came without a receipt: ask with receipts, or leave it out by recounting`
      case "WrongReceipt":
        return `forged: the receipt of ${reason.node} is for another ${reason.field}: expected ${reason.expected}, it says ${reason.actual}`
      case "BadReceiptSignature":
        return `forged: the receipt of ${reason.node} is not signed by it`
      case "WrongCapability":
        return `forged: ${reason.node} answered with ${reason.actual}, asked for was ${reason.expected}`
      case "NotCountable":
        return `the answers cannot be counted with ${JSON.stringify(reason.aggregation)}: ${reason.detail}`
      case "WrongOutcome":
        return `forged: ${reason.field} is stated as ${reason.stated}, and counting the answers gives ${reason.counted}`
      case "BadAskerSignature":
        return `forged: the certificate is not signed by ${reason.asker}, who is said to have asked`
    }
  }
}
