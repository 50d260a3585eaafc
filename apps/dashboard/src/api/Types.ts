/** What the registry sends, by the registry's own schemas: types alone, nothing of them is bundled. */
import type * as Api from "@parley/registry/ApiModel"
import type * as Model from "@parley/registry/Model"

export type AgentRecord = Model.AgentRecord
export type AgentStatus = Model.AgentStatus
export type Capability = Model.Capability
export type Standing = Model.Standing
export type TraceEvent = Model.TraceEvent
export type TraceEventType = Model.TraceEventType
export type AgentTrust = Api.AgentTrust
export type CapabilitySummary = typeof Api.CapabilitySummary.Type
export type DiscoveryResult = typeof Api.DiscoveryResult.Type
export type Health = typeof Api.Health.Type
export type Head = typeof Api.Head.Type
export type Score = Api.Score
export type Session = typeof Api.Session.Type
export type Sessions = typeof Api.Sessions.Type
export type Stats = typeof Api.Stats.Type
export type TrustHistory = typeof Api.TrustHistory.Type
export type Verdict = typeof Api.Verdict.Type

/** JSON, as it was sent. */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/** An event of `/ws/events`. */
export interface RegistryEvent {
  readonly cursor: number
  /** ISO 8601. */
  readonly at: string
  readonly type: string
  readonly data: { readonly [key: string]: unknown }
}
