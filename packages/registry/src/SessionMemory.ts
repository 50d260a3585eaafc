/**
 * SessionMemory: what agents that work together on something share, by session and key, each with a time to live.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { StoreError } from "./Store.ts"

/** Longest session id or key, in characters. */
export const MAX_KEY_LENGTH = 128
/** Largest value, in bytes of JSON. */
export const MAX_VALUE_BYTES = 65_536
/** Most keys of one session. */
export const MAX_KEYS = 1_000
/** Most sessions. The one longest not written goes first. */
export const MAX_SESSIONS = 10_000
/** Time to live where none is given, in milliseconds (a day), and the longest one (30 days). */
export const DEFAULT_TTL_MS = 86_400_000
export const MAX_TTL_MS = 30 * 86_400_000

/** A session is full. */
export interface Full {
  readonly _tag: "Full"
  readonly limit: number
}

/** What agents that work together share. */
export class SessionMemory extends Context.Service<
  SessionMemory,
  {
    /** `sqlite`, `postgres`, `redis`. */
    readonly kind: string
    readonly sessions: (options: {
      readonly limit: number
      readonly after?: string
    }) => Effect.Effect<ReadonlyArray<string>, StoreError>
    /** Everything of a session that has not expired; empty where there is none. */
    readonly all: (session: string) => Effect.Effect<{ readonly [key: string]: Schema.Json }, StoreError>
    readonly get: (session: string, key: string) => Effect.Effect<Schema.Json | undefined, StoreError>
    readonly set: (
      session: string,
      key: string,
      value: Schema.Json,
      ttlMs?: number
    ) => Effect.Effect<Full | undefined, StoreError>
    readonly remove: (session: string, key: string) => Effect.Effect<void, StoreError>
    readonly clear: (session: string) => Effect.Effect<void, StoreError>
  }
>()("@parley/registry/SessionMemory") {}
