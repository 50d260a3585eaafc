/**
 * SessionMemory: what agents that work together on something share, by session and key, each with a time to live.
 *
 * What was set stays until its time is over, or somebody replaces or removes it: nothing makes room for anything else. Where a
 * bound is reached, one more is refused, and told which bound it was. An entry is counted for whoever wrote it, and so is each
 * session that somebody has entries in. Keys cost nothing, so all strangers together have half of the room, and what they write
 * never keeps others from writing.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { StoreError } from "./Store.ts"

/** Longest session id or key, in characters. */
export const MAX_KEY_LENGTH = 128
/** Largest value, in bytes of JSON. */
export const MAX_VALUE_BYTES = 65_536
/** What an entry counts beyond its session's id, its key (twice, as in the answer for a session) and its value, in bytes. */
export const ENTRY_BYTES = 256
/** Most keys of one session. */
export const MAX_KEYS = 1_000
/** Most bytes of one session, so that one answer holds all of it. */
export const MAX_SESSION_BYTES = 1_048_576
/** Most sessions that one identity has entries in, and most bytes of these: a session a minute by day, 64 that are full. */
export const SHARE_SESSIONS = 1_000
export const SHARE_BYTES = 64 * 1_048_576
/** Most sessions and bytes of all strangers together, each counted by itself: half of everything. */
export const STRANGERS_SESSIONS = 5_000
export const STRANGERS_BYTES = 512 * 1_048_576
/** Most sessions and bytes of all together: a disk's small part, and what a Redis of its own holds. */
export const MAX_SESSIONS = 10_000
export const MAX_BYTES = 1_024 * 1_048_576
/** Time to live where none is given, in milliseconds (a day), and the longest one (30 days). */
export const DEFAULT_TTL_MS = 86_400_000
export const MAX_TTL_MS = 30 * 86_400_000

/** Bounds that a test makes smaller. */
export interface Bounds {
  readonly session: { readonly keys: number; readonly bytes: number }
  readonly identity: { readonly sessions: number; readonly bytes: number }
  readonly strangers: { readonly sessions: number; readonly bytes: number }
  readonly all: { readonly sessions: number; readonly bytes: number }
}

export const BOUNDS: Bounds = {
  session: { keys: MAX_KEYS, bytes: MAX_SESSION_BYTES },
  identity: { sessions: SHARE_SESSIONS, bytes: SHARE_BYTES },
  strangers: { sessions: STRANGERS_SESSIONS, bytes: STRANGERS_BYTES },
  all: { sessions: MAX_SESSIONS, bytes: MAX_BYTES }
}

/** Who writes. */
export interface Writer {
  readonly id: string
  /** Nobody has vouched for it: it shares the strangers' half. */
  readonly isStranger: boolean
}

/** There is no room: whose bound it was, in what, and how much that is. Nothing was written. */
export interface Full {
  readonly _tag: "Full"
  readonly of: "session" | "identity" | "strangers" | "all"
  readonly what: "keys" | "sessions" | "bytes"
  readonly limit: number
}

/** How to set a value. */
export interface SetOptions {
  /** Default `DEFAULT_TTL_MS`; cut to `MAX_TTL_MS`. */
  readonly ttlMs?: number
  /** Absent: nobody in particular, who has no share of his own and is bounded by everything together. */
  readonly writer?: Writer
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
    /** What is over a bound already may be replaced by what is not larger. What has expired counts for nothing. */
    readonly set: (
      session: string,
      key: string,
      value: Schema.Json,
      options?: SetOptions
    ) => Effect.Effect<Full | undefined, StoreError>
    readonly remove: (session: string, key: string) => Effect.Effect<void, StoreError>
    readonly clear: (session: string) => Effect.Effect<void, StoreError>
  }
>()("@parley/registry/SessionMemory") {}
