/**
 * What comes of a handler, as it goes to the caller: a result, a failure, and the receipt for a result.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import * as CanonicalJson from "../CanonicalJson.ts"
import type { Identity } from "../Identity.ts"
import { TaskRefused } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Receipt from "../Receipt.ts"
import * as JsonCodec from "./JsonCodec.ts"
import * as Refusal from "./Refusal.ts"
import type { Finished } from "./Repeats.ts"
import { OutputInvalid, OutputTooLarge } from "./SendChunks.ts"
import type { Work } from "./Work.ts"

/** What a handler's end comes to; an output has at most `limit` bytes. */
export const settle = (work: Work, exit: Exit.Exit<unknown, unknown>, limit: number, now: number): Finished =>
  exit._tag === "Success" ? succeeded(work, exit.value, limit, now) : failed(work, exit.cause, limit, now)

/** What a handler said that will not do the task after all. */
export const refusalOf = (work: Work, exit: Exit.Exit<unknown, unknown>): TaskRefused["terms"] | undefined => {
  if (exit._tag === "Success" || work.expired) return undefined
  const error = Cause.squash(exit.cause)
  return error instanceof TaskRefused ? error.terms : undefined
}

const settledAs = (work: Work, kind: Finished["kind"], body: string, now: number): Finished => ({
  kind,
  body,
  id: work.id,
  capability: work.served.capability.id,
  input: work.request.body,
  startedAt: work.startedAt,
  finishedAt: Math.max(now, work.startedAt)
})

const succeeded = (work: Work, output: unknown, limit: number, now: number): Finished => {
  if (work.served.capability.kind === "stream") return settledAs(work, "result", "", now)
  const json = work.served.output.encode(output)
  if (json instanceof JsonCodec.Unfit) return broken(work, "OutputInvalid", json.detail, now)
  const body = JsonCodec.stringify(json)
  if (body === undefined) return broken(work, "OutputInvalid", "it has no JSON form", now)
  const bytes = JsonCodec.excess(body, limit)
  return bytes > 0 ? tooLarge(work, bytes, limit, now) : settledAs(work, "result", body, now)
}

const tooLarge = (work: Work, bytes: number, limit: number, now: number): Finished => {
  const body = Refusal.encode({ by: "executor", code: "TooLarge", detail: "the output", bytes, limit })
  return settledAs(work, "failed", body, now)
}

/** A task that its executor could not bring to an answer. */
export const broken = (work: Work, code: string, detail: string, now: number): Finished =>
  settledAs(work, "failed", Refusal.encode({ by: "executor", code, detail }), now)

const failed = (work: Work, cause: Cause.Cause<unknown>, limit: number, now: number): Finished => {
  if (work.expired) return broken(work, "DeadlineExceeded", "the handler was interrupted", now)
  const error = Cause.squash(cause)
  if (error instanceof OutputInvalid) return broken(work, "OutputInvalid", error.detail, now)
  if (error instanceof OutputTooLarge) return tooLarge(work, error.bytes, limit, now)
  const code = tagOf(error)
  const detail = error instanceof Error ? error.message : typeof error === "string" ? error : describe(error)
  return settledAs(work, "failed", Refusal.encode({ by: "handler", code, detail }), now)
}

/** What a caller that asks for a receipt gets. Throws where the input or the output has no canonical form. */
export const receiptOf = (identity: Identity["Service"], caller: NodeId, settled: Finished): string =>
  JSON.stringify(
    Receipt.make(identity, {
      task: settled.id.hex,
      capability: settled.capability,
      caller,
      inputHash: CanonicalJson.hash(JSON.parse(settled.input)),
      outputHash: CanonicalJson.hash(JSON.parse(settled.body)),
      startedAt: settled.startedAt,
      finishedAt: settled.finishedAt
    })
  )

const tagOf = (error: unknown): string => {
  if (typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string")
    return error._tag
  return error instanceof Error && error.name !== "" ? error.name : "Error"
}

const describe = (error: unknown): string => {
  try {
    return JSON.stringify(error) ?? String(error)
  } catch {
    return String(error)
  }
}
