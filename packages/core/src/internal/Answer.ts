/**
 * An answer read: bounded, decoded, with its receipt checked, or the reason why it is none.
 */
import type * as Schema from "effect/Schema"
import * as CanonicalJson from "../CanonicalJson.ts"
import { parseId } from "../Capability.ts"
import type { Settings } from "../Guardrails.ts"
import type { Answered } from "../Node.ts"
import type { NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Receipt from "../Receipt.ts"
import type { Connection } from "../Transport.ts"
import type { Placed } from "./Attempt.ts"
import type { Candidate } from "./Outgoing.ts"
import type { Job } from "./Job.ts"
import * as JsonCodec from "./JsonCodec.ts"

/** Reads what an agent answered to `self`. Throws what the job's own evaluator throws. */
export const read = (
  settings: Settings,
  self: NodeId,
  job: Job,
  candidate: Candidate,
  connection: Connection,
  body: string,
  receiptText: string | undefined,
  latencyMs: number
): Placed | NodeErrorReason => {
  const peer = candidate.node
  const bytes = JsonCodec.excess(body, settings.maxPayloadBytes)
  if (bytes > 0) return { _tag: "TooLarge", bytes, limit: settings.maxPayloadBytes }
  const json = JsonCodec.parse(body, settings.maxJsonDepth)
  const output = json instanceof JsonCodec.Unfit ? json : job.output.decode(json)
  if (json instanceof JsonCodec.Unfit || output instanceof JsonCodec.Unfit) {
    const { detail } = output as JsonCodec.Unfit
    return { _tag: "OutputInvalid", capability: candidate.capability, peer, detail }
  }
  let receipt: Receipt.Receipt | undefined
  if (job.receipt) {
    const checked = checkReceipt(job, candidate, self, json, receiptText)
    if (typeof checked === "string") return { _tag: "BadAnswer", peer, detail: checked }
    receipt = checked
  }
  return {
    output,
    json,
    peer,
    capability: receipt?.capability ?? candidate.capability,
    latencyMs,
    relayed: connection.relayed,
    receipt,
    quality: job.evaluate === undefined ? 1 : job.evaluate(output as never, latencyMs)
  }
}

const checkReceipt = (
  job: Job,
  candidate: Candidate,
  caller: NodeId,
  output: Schema.Json,
  text: string | undefined
): Receipt.Receipt | string => {
  if (text === undefined) return "it gave no receipt"
  let outputHash: string
  try {
    outputHash = CanonicalJson.hash(output)
  } catch {
    return "its output has no canonical form"
  }
  const receipt = Receipt.decode(text, {
    task: job.task.hex,
    executor: candidate.node,
    caller,
    inputHash: CanonicalJson.hash(job.input),
    outputHash
  })
  if (receipt instanceof Receipt.ReceiptRefused) return receipt.message
  return parseId(receipt.capability).name === candidate.name
    ? receipt
    : `its receipt is for ${receipt.capability}, and ${candidate.capability} was asked`
}

/** The answer as the caller sees it. */
export const answered = (job: Job, placed: Placed, attempts: ReadonlyArray<NodeErrorReason>): Answered<unknown> => ({
  output: placed.output,
  peer: placed.peer,
  capability: placed.capability,
  task: job.task.hex,
  latencyMs: placed.latencyMs,
  relayed: placed.relayed,
  receipt: placed.receipt,
  attempts
})
