/**
 * What an executor says instead of a result, as JSON on the wire, and as the reason that the caller sees. Both directions
 * stand in this file, so that they cannot drift apart.
 */
import { Buffer } from "node:buffer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"

/** Longest text of a refusal, in characters: a schema's complaint about one value. */
const MAX_TEXT = 2_000
/** Longest code that is sent, in characters. */
const MAX_CODE = 128
const Text = Schema.String.check(Schema.isMaxLength(MAX_TEXT))
const Amount = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))

/**
 * A task that was not run. Codes with a meaning of their own: `Overloaded`, `InputInvalid`, `TooLarge`, `BudgetExceeded`,
 * `HopLimit`; every other one is the executor's own word.
 */
const RejectedBody = Schema.Struct({
  code: Text,
  detail: Text,
  retryAfterMs: Schema.optionalKey(Amount),
  bytes: Schema.optionalKey(Amount),
  limit: Schema.optionalKey(Amount)
})
/** A task that was not run. */
export type RejectedBody = typeof RejectedBody.Type

/** Other terms. */
const CounteredBody = Schema.Struct({
  detail: Text,
  deadlineMs: Schema.optionalKey(Amount),
  costUsd: Schema.optionalKey(Amount),
  retryAfterMs: Schema.optionalKey(Amount)
})
/** Other terms. */
export type CounteredBody = typeof CounteredBody.Type

/**
 * A task that failed. `by` tells a handler's error from the executor's own `DeadlineExceeded`, `OutputInvalid` and
 * `TooLarge`.
 */
const FailedBody = Schema.Struct({
  by: Schema.Literals(["handler", "executor"]),
  code: Text,
  detail: Text,
  bytes: Schema.optionalKey(Amount),
  limit: Schema.optionalKey(Amount)
})
/** A task that failed. */
export type FailedBody = typeof FailedBody.Type

const amounts = ["retryAfterMs", "deadlineMs", "costUsd", "bytes", "limit"] as const

/** A body within the bounds that readers hold, whatever a handler or a plugin put into it. */
export const encode = (body: RejectedBody | CounteredBody | FailedBody): string => {
  const given: { readonly [key: string]: unknown } = { ...body }
  const bounded: Record<string, unknown> = { detail: String(body.detail).slice(0, MAX_TEXT) }
  if ("by" in body) bounded["by"] = body.by
  if ("code" in body) bounded["code"] = String(body.code).slice(0, MAX_CODE)
  for (const key of amounts) {
    const amount = given[key]
    if (typeof amount === "number" && Number.isFinite(amount)) bounded[key] = Math.max(0, amount)
  }
  return JSON.stringify(bounded)
}

/** Control characters of a stranger's text could rewrite the terminal that shows it. Tabs and line feeds stay. */
const CONTROLS = /(?![\t\n])\p{Cc}/gu
const shown = <B extends { readonly detail: string; readonly code?: string }>(body: B): B => ({
  ...body,
  detail: body.detail.replace(CONTROLS, "\ufffd"),
  ...(body.code === undefined ? {} : { code: body.code.replace(CONTROLS, "\ufffd") })
})

const decoders = {
  Rejected: Schema.decodeUnknownResult(Schema.fromJsonString(RejectedBody)),
  Countered: Schema.decodeUnknownResult(Schema.fromJsonString(CounteredBody)),
  Failed: Schema.decodeUnknownResult(Schema.fromJsonString(FailedBody))
}

/** The reason that the caller sees. */
export const toReason = (
  kind: "Rejected" | "Countered" | "Failed",
  body: string,
  peer: NodeId,
  capability: string,
  deadlineMs: number
): NodeErrorReason => {
  const bad: NodeErrorReason = { _tag: "BadAnswer", peer, detail: `its refusal could not be read` }
  if (body.length > 8 * MAX_TEXT) return bad
  try {
    switch (kind) {
      case "Rejected": {
        const decoded = decoders.Rejected(body)
        return Result.isFailure(decoded) ? bad : rejected(shown(decoded.success), peer, capability)
      }
      case "Countered": {
        const decoded = decoders.Countered(body)
        return Result.isFailure(decoded) ? bad : { _tag: "Countered", peer, ...shown(decoded.success) }
      }
      case "Failed": {
        const decoded = decoders.Failed(body)
        return Result.isFailure(decoded) ? bad : failed(shown(decoded.success), peer, capability, deadlineMs)
      }
    }
  } catch {
    return bad
  }
}

/** Says that an agent does not have the task that it was asked to go on with, or not any more. */
export const isUnknownTask = (message: Uint8Array): boolean => {
  if (message.length > 8 * MAX_TEXT) return false
  const decoded = decoders.Rejected(Buffer.from(message).toString("utf8", 1))
  return Result.isSuccess(decoded) && decoded.success.code === "UnknownTask"
}

const rejected = (body: RejectedBody, peer: NodeId, capability: string): NodeErrorReason => {
  switch (body.code) {
    case "Overloaded":
      return { _tag: "Overloaded", peer, retryAfterMs: body.retryAfterMs ?? 1_000, detail: body.detail }
    case "InputInvalid":
      return { _tag: "InputInvalid", capability, peer, detail: body.detail }
    case "TooLarge":
      return { _tag: "TooLarge", bytes: body.bytes ?? 0, limit: body.limit ?? 0 }
    case "BudgetExceeded":
      return { _tag: "BudgetExceeded", what: "cost", detail: body.detail }
    case "HopLimit":
      return { _tag: "BudgetExceeded", what: "hops", detail: body.detail }
    default:
      return { _tag: "Rejected", peer, code: body.code, detail: body.detail }
  }
}

const failed = (body: FailedBody, peer: NodeId, capability: string, deadlineMs: number): NodeErrorReason => {
  if (body.by === "handler") return { _tag: "HandlerFailed", peer, code: body.code, detail: body.detail }
  switch (body.code) {
    case "DeadlineExceeded":
      return { _tag: "DeadlineExceeded", peer, deadlineMs, where: "executor" }
    case "OutputInvalid":
      return { _tag: "OutputInvalid", capability, peer, detail: body.detail }
    case "TooLarge":
      return { _tag: "TooLarge", bytes: body.bytes ?? 0, limit: body.limit ?? 0 }
    default:
      return { _tag: "HandlerFailed", peer, code: body.code, detail: body.detail }
  }
}
