/**
 * Registrar: what sockets ask of the registry that they are part of. The ledger answers.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { TraceEventType } from "./Model.ts"
import type { Unavailable } from "./Problem.ts"

/** A trace as an agent sends it; the registry gives it its time, and an id where it has none. */
export interface NewTrace {
  readonly trace_id?: string
  readonly task_id: string
  readonly event_type: TraceEventType
  readonly from_agent: string
  readonly to_agent: string
  readonly payload: { readonly [key: string]: Schema.Json }
}

/** What sockets ask of the registry. Each write is durable when its effect ends. */
export class Registrar extends Context.Service<
  Registrar,
  {
    /** Whether an agent is registered. */
    readonly knows: (agent: string) => boolean
    /** Stores a trace, and gives its id. */
    readonly trace: (trace: NewTrace) => Effect.Effect<string, Unavailable>
    readonly taskStarted: (agent: string, task: string) => Effect.Effect<void, Unavailable>
    /** `elapsedMs` becomes a measured latency. */
    readonly taskEnded: (agent: string, task: string, elapsedMs?: number) => Effect.Effect<void, Unavailable>
  }
>()("@parley/registry/Registrar") {}
