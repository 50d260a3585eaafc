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
import * as Principal from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { World } from "./World.ts"

/** What a report without a quality says: as in AgentMesh. */
export const DEFAULT_QUALITY = 0.5

/**
 * Who may report at all: keys cost nothing. Where AgentMesh's agents are let in by a secret and no seeds are configured, whoever made
 * himself a few keys and receipts would be taken for a founder, so only those who know the secret are heard.
 */
const mayReport = (isClosed: boolean, caller: Principal.Principal): Effect.Effect<void, Problem.Forbidden> =>
  isClosed && caller.kind === "node"
    ? Effect.fail(
        new Problem.Forbidden({
          detail:
            "This registry hears those who know its secret, since it knows of no key whom to believe; its operator names some with --seed"
        })
      )
    : Effect.void

/** The handlers of reports. */
export const layer = HttpApiBuilder.group(
  Api,
  "trust",
  Effect.fnUntraced(function* (handlers) {
    const ledger = yield* Ledger
    const { mode } = yield* Principal.Auth
    const { reputation } = yield* World
    const isClosed = mode === "secret" && reputation.configuredSeeds().length === 0
    return handlers.handleAll({
      update: Effect.fnUntraced(function* ({ query: { agent_id, quality = DEFAULT_QUALITY, success } }) {
        const caller = yield* Caller
        yield* mayReport(isClosed, caller)
        const reviewer = nameOf(caller)
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
        yield* mayReport(isClosed, caller)
        const { agent_id: agent, capability, latency_ms: latencyMs, quality, receipt, success, task_id: task } = payload
        if (receipt !== undefined) {
          // Who has no name here reports as whom the receipt names; a name must be the one that the receipt names.
          const verdict = yield* Receipt.verifyApart(receipt, {
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
