/**
 * The handlers of reports: AgentMesh's, which carry no receipt, and ours, which do.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { parseId } from "@parley/core/Capability"
import * as Receipt from "@parley/core/Receipt"
import { Api, Caller } from "./Api.ts"
import type { Reported, TrustUpdated } from "./ApiModel.ts"
import * as Commands from "./Commands.ts"
import * as Answers from "./internal/Answers.ts"
import { nameOf } from "./internal/Who.ts"
import { Ledger } from "./Ledger.ts"
import * as Problem from "./Problem.ts"

/** What a report without a quality says: as in AgentMesh. */
export const DEFAULT_QUALITY = 0.5

/** The handlers of reports. */
export const layer = HttpApiBuilder.group(
  Api,
  "trust",
  Effect.fnUntraced(function* (handlers) {
    const ledger = yield* Ledger
    return handlers.handleAll({
      update: Effect.fnUntraced(function* ({ query: { agent_id, quality = DEFAULT_QUALITY, success } }) {
        const reviewer = nameOf(yield* Caller)
        // Before it is looked whether there is such an agent, as in AgentMesh.
        if (!(quality >= 0 && quality <= 1)) {
          return yield* new Problem.Unprocessable({ detail: "quality must be between 0.0 and 1.0" })
        }
        const { agent, score } = yield* ledger.commit(
          Commands.report({ agent: agent_id, capability: "", reviewer, success, quality })
        )
        return Answers.json(JSON.stringify({ agent_id: agent, trust_score: score } satisfies typeof TrustUpdated.Type))
      }),
      report: Effect.fnUntraced(function* ({ payload }) {
        const caller = yield* Caller
        const { agent_id: agent, capability, latency_ms: latencyMs, quality, receipt, success, task_id: task } = payload
        if (receipt !== undefined) {
          // Who has no name here reports as whom the receipt names; a name must be the one that the receipt names.
          const verdict = Receipt.verify(receipt, {
            task,
            ...(caller.kind === "node" ? { caller: receipt.caller } : {})
          })
          if (verdict !== true) return yield* new Problem.Unprocessable({ detail: verdict.message })
          if (receipt.executor !== agent) {
            return yield* new Problem.Unprocessable({
              detail: `The receipt is ${receipt.executor}'s, the report is about ${agent}`
            })
          }
          if (caller.kind !== "local" && caller.kind !== "operator" && receipt.caller !== caller.id) {
            return yield* new Problem.Forbidden({
              detail: `The receipt is for a task that ${receipt.caller} asked for, and not ${caller.id}`
            })
          }
          if (parseId(receipt.capability).name !== capability) {
            return yield* new Problem.Unprocessable({
              detail: `The receipt is for ${receipt.capability}, the report is about ${capability}`
            })
          }
        }
        const isNamed = caller.kind === "node" || caller.kind === "agent"
        const reported = yield* ledger.commit(
          Commands.report({
            agent,
            capability,
            reviewer: isNamed ? caller.id : (receipt?.caller ?? ""),
            task,
            success,
            quality,
            ...(latencyMs === undefined ? {} : { latencyMs }),
            ...(receipt === undefined ? {} : { receipt })
          })
        )
        const answer: typeof Reported.Type = {
          agent_id: agent,
          trust_score: reported.score,
          standing: reported.standing()
        }
        return Answers.json(JSON.stringify(answer))
      })
    })
  })
)
