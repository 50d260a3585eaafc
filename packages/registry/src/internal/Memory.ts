/** Session memory in tables: what SQLite and PostgreSQL share. */
import { Buffer } from "node:buffer"
import type * as Schema from "effect/Schema"
import { DEFAULT_TTL_MS, MAX_KEY_LENGTH, MAX_TTL_MS, MAX_VALUE_BYTES } from "../SessionMemory.ts"
import { key } from "./Keys.ts"
import { cursorOf, type Query } from "./Queries.ts"
import { MAX_ROWS } from "./Rows.ts"

/** A value on its way into the table. Throws where it is too large: those who let it in have said so more kindly. */
export const entry = (session: string, name: string, value: Schema.Json, now: number, ttlMs = DEFAULT_TTL_MS) => {
  if (session.length > MAX_KEY_LENGTH || name.length > MAX_KEY_LENGTH)
    throw new RangeError(`a session's id and its keys have at most ${MAX_KEY_LENGTH} characters`)
  const json = JSON.stringify(value)
  if (json.length * 3 > MAX_VALUE_BYTES && Buffer.byteLength(json) > MAX_VALUE_BYTES)
    throw new RangeError(`a value of session memory has at most ${MAX_VALUE_BYTES} bytes of JSON`)
  return { session: key(session), name: key(name), value: json, expires: now + Math.min(cursorOf(ttlMs), MAX_TTL_MS) }
}

/** Sessions that hold something, in order. */
export const sessions = (now: number, limit: number, after: string | undefined): Query => ({
  sql: `SELECT session FROM parley_sessions s WHERE ${
    after === undefined ? "" : "session > ? AND "
  }EXISTS (SELECT 1 FROM parley_memory m WHERE m.session = s.session AND m.expires > ?) ORDER BY session LIMIT ?`,
  parameters: [...(after === undefined ? [] : [key(after)]), now, Math.min(cursorOf(limit), MAX_ROWS)]
})

/** A session without a key is none. */
export const FORGET_EMPTY =
  "DELETE FROM parley_sessions WHERE session = ? AND NOT EXISTS (SELECT 1 FROM parley_memory m WHERE m.session = parley_sessions.session)"

/** Takes out what has expired. `now`: its one parameter is the time. */
export const SWEEP = [
  { text: "DELETE FROM parley_memory WHERE expires <= ?", now: true },
  {
    text: "DELETE FROM parley_sessions WHERE NOT EXISTS (SELECT 1 FROM parley_memory m WHERE m.session = parley_sessions.session)",
    now: false
  }
] as const
