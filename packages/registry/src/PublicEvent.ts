/**
 * PublicEvent: an event as subscribers see it, `{"cursor", "at", "type", "data"}` in snake_case JSON.
 *
 * What stands in `data`, by `type`:
 * - `agent.registered`: `agent_id`, `manifest`, `registered_at`, `node` (whether it came with its own signed record)
 * - `agent.left`: `agent_id`
 * - `status.changed`: `agent_id`, `status`, `why`
 * - `trust.changed`: `agent_id`, `capability` and `reviewer` (null where unknown), `task_id`, `success`, `quality`, `latency_ms`
 *   (null where unknown), `attested`, `trust_score`, `ema`, `link` (its number in the evidence chain)
 * - `task.started`, `task.ended`: `agent_id`, `task_id`; ended: `elapsed_ms` (null where unknown)
 * - `trace`: AgentMesh's TraceEvent
 * - `verdict`: `task_id`, `capability`, `published_by`, `question`, `certificate`
 * - `gap`: `from`, `to`: what came after cursor `from`, up to and with cursor `to`, is no longer held; ask for state anew
 */
import * as Schema from "effect/Schema"
import type { Event, Fact } from "./Event.ts"
import { Instant } from "./Model.ts"

/** What kinds of events subscribers see. */
export const PublicEventType = Schema.Literals([
  "agent.registered",
  "agent.left",
  "status.changed",
  "trust.changed",
  "task.started",
  "task.ended",
  "trace",
  "verdict",
  "gap"
])
/** What kinds of events subscribers see. */
export type PublicEventType = typeof PublicEventType.Type

/** An event as subscribers see it. */
export const PublicEvent = Schema.Struct({
  /** Whoever comes back with it gets what came after it. */
  cursor: Schema.Natural,
  at: Instant,
  type: PublicEventType,
  data: Schema.Record(Schema.String, Schema.Json)
})
/** An event as subscribers see it. */
export type PublicEvent = typeof PublicEvent.Type

const dataOf = (fact: Fact): { readonly [key: string]: unknown } => {
  switch (fact.type) {
    case "agent.registered":
      return {
        agent_id: fact.agent.manifest.agent_id,
        manifest: fact.agent.manifest,
        registered_at: new Date(fact.agent.registeredAt).toISOString(),
        node: fact.agent.record !== undefined
      }
    case "agent.left":
      return { agent_id: fact.id }
    case "status.changed":
      return { agent_id: fact.id, status: fact.status, why: fact.why }
    case "trust.changed": {
      const { report } = fact
      return {
        agent_id: report.agent,
        capability: report.capability === "" ? null : report.capability,
        reviewer: report.reviewer === "" ? null : report.reviewer,
        task_id: report.task,
        success: report.success,
        quality: report.quality,
        latency_ms: report.latencyMs ?? null,
        attested: report.receipt !== undefined,
        trust_score: fact.score,
        ema: fact.ema,
        link: fact.link.seq
      }
    }
    case "task.started":
      return { agent_id: fact.id, task_id: fact.task }
    case "task.ended":
      return { agent_id: fact.id, task_id: fact.task, elapsed_ms: fact.elapsedMs ?? null }
    case "trace":
      return { ...fact.trace }
    case "verdict": {
      const { verdict } = fact
      return {
        task_id: verdict.task,
        capability: verdict.capability,
        published_by: verdict.publishedBy,
        question: verdict.question,
        certificate: verdict.certificate
      }
    }
  }
}

/** The JSON of an event. */
export const encode = (event: Event): string =>
  JSON.stringify({
    cursor: event.cursor,
    at: new Date(event.at).toISOString(),
    type: event.fact.type,
    data: dataOf(event.fact)
  })

/** The JSON of a gap: what came after `from`, up to and with `to`, is no longer held. */
export const encodeGap = (from: number, to: number, at: number): string =>
  JSON.stringify({ cursor: to, at: new Date(at).toISOString(), type: "gap", data: { from, to } })

/** Whether an event concerns an agent: it is about it, from it, to it, or reported by it. */
export const concerns = (fact: Fact, agent: string): boolean => {
  switch (fact.type) {
    case "agent.registered":
      return fact.agent.manifest.agent_id === agent
    case "trust.changed":
      return fact.report.agent === agent || fact.report.reviewer === agent
    case "trace":
      return fact.trace.from_agent === agent || fact.trace.to_agent === agent
    case "verdict":
      return fact.verdict.publishedBy === agent
    default:
      return fact.id === agent
  }
}
