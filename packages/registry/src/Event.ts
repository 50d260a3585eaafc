/**
 * What has happened in a registry, in one order: the log that storage keeps, instances follow and subscribers read.
 *
 * A fact becomes an event when it is committed: it then has a cursor, which counts up without a gap over all instances of
 * one database. Whoever has seen up to a cursor misses nothing by asking for what comes after it.
 */
import type { AgentRecord as NodeRecord } from "@parley/core/AgentRecord"
import type { Receipt } from "@parley/core/Receipt"
import type * as Schema from "effect/Schema"
import type { AgentStatus, Manifest, TraceEvent } from "./Model.ts"

/** An agent, as it is stored. */
export interface StoredAgent {
  readonly manifest: Manifest
  /** The node's own signed record; absent for agents that speak AgentMesh only. */
  readonly record?: NodeRecord
  /** Milliseconds since the epoch. */
  readonly registeredAt: number
}

/** A report about one task, as it is stored: it was checked, and it counts. */
export interface Report {
  readonly agent: string
  /** `""` where the reporter did not say (AgentMesh's `POST /trust/update`). */
  readonly capability: string
  /** Who reports: a NodeId or an agent's id; `""` for somebody on loopback who did not say. */
  readonly reviewer: string
  /** Task id; made up by the registry where the reporter gave none. */
  readonly task: string
  readonly success: boolean
  /** 0 to 1. */
  readonly quality: number
  readonly latencyMs?: number
  /** When the registry took it, in milliseconds since the epoch: reputation counts from then, and the evidence chain covers it. */
  readonly at?: number
  /** The executor's word that it did this task for the reviewer; its presence makes the report attested. */
  readonly receipt?: Receipt
}

/** What a registry's consensus view shows: a question, how it was decided, and the certificate that proves it. */
export interface PublishedVerdict {
  readonly task: string
  readonly capability: string
  readonly publishedBy: string
  /** The question for people: its input, cut to a bound. */
  readonly question: Schema.Json
  /** The certificate of `@parley/consensus/Certificate`, as it was signed. It was checked when it was taken. */
  readonly certificate: Schema.Json
}

/** Something that happened. Every member is JSON. */
export type Fact =
  | { readonly type: "agent.registered"; readonly agent: StoredAgent }
  | { readonly type: "agent.left"; readonly id: string }
  | { readonly type: "status.changed"; readonly id: string; readonly status: AgentStatus; readonly why: string }
  | {
      readonly type: "trust.changed"
      readonly report: Report
      /** The agent's overall score, and AgentMesh's moving average, after the report. */
      readonly score: number
      readonly ema: number
      /** Reputation's own row for (agent, capability, reviewer) after the report; opaque to storage. */
      readonly edge: Schema.Json
      /** The report's link of the evidence chain. */
      readonly link: { readonly seq: number; readonly hash: string }
    }
  | { readonly type: "task.started"; readonly id: string; readonly task: string }
  | { readonly type: "task.ended"; readonly id: string; readonly task: string; readonly elapsedMs?: number }
  | { readonly type: "trace"; readonly trace: TraceEvent }
  | { readonly type: "verdict"; readonly verdict: PublishedVerdict }
/** What kinds of things happen. */
export type EventType = Fact["type"]

/** A committed fact. */
export interface Event {
  /** 1, 2, 3 …: over all instances of one database, without a gap. */
  readonly cursor: number
  /** Milliseconds since the epoch, on the clock of the instance that committed it. */
  readonly at: number
  readonly fact: Fact
}
