/** SessionMemory in SQLite: `SessionMemory` in the file of the store. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { MAX_KEYS, MAX_SESSIONS, type SessionMemory } from "../SessionMemory.ts"
import { key, text } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import type { Row } from "./Rows.ts"
import type { Sqlite } from "./Sqlite.ts"

export const make = (database: Sqlite): SessionMemory["Service"] => {
  const read = <A>(operation: string, body: (now: number) => A) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => database.attempt(operation, () => body(now)))
  const valueOf = (row: Row): Schema.Json => JSON.parse(String(row["value"])) as Schema.Json
  const forget = (session: string) => {
    database.run("DELETE FROM parley_memory WHERE session = ?", session)
    database.run("DELETE FROM parley_sessions WHERE session = ?", session)
  }
  /** Makes room for one more session. */
  const makeRoom = (now: number) => {
    const count = () => Number(database.get("SELECT count(*) AS n FROM parley_sessions")?.["n"])
    if (count() < MAX_SESSIONS) return
    for (const sql of Memory.SWEEP) database.run(sql.text, ...(sql.now ? [now] : []))
    if (count() < MAX_SESSIONS) return
    const oldest = database.get("SELECT session FROM parley_sessions ORDER BY written LIMIT 1")
    if (oldest !== undefined) forget(String(oldest["session"]))
  }
  return {
    kind: "sqlite",
    sessions: ({ after, limit }) =>
      read("list sessions", (now) => {
        const { parameters, sql } = Memory.sessions(now, limit, after)
        return database.all(sql, ...parameters).map(({ session }) => text(String(session)))
      }),
    all: (session) =>
      read("read a session", (now) =>
        Object.fromEntries(
          database
            .all("SELECT name, value FROM parley_memory WHERE session = ? AND expires > ?", key(session), now)
            .map((row) => [text(String(row["name"])), valueOf(row)])
        )
      ),
    get: (session, name) =>
      read("read session memory", (now) => {
        const row = database.get(
          "SELECT value FROM parley_memory WHERE session = ? AND name = ? AND expires > ?",
          key(session),
          key(name),
          now
        )
        return row === undefined ? undefined : valueOf(row)
      }),
    set: (session, name, value, ttlMs) =>
      database.write("write session memory", (now) => {
        const entry = Memory.entry(session, name, value, now, ttlMs)
        const known = database.get("SELECT 1 FROM parley_sessions WHERE session = ?", entry.session)
        if (known === undefined) makeRoom(now)
        else {
          database.run("DELETE FROM parley_memory WHERE session = ? AND expires <= ?", entry.session, now)
          const others = database.get(
            "SELECT count(*) AS n FROM parley_memory WHERE session = ? AND name <> ?",
            entry.session,
            entry.name
          )
          if (Number(others?.["n"]) >= MAX_KEYS) return { _tag: "Full" as const, limit: MAX_KEYS }
        }
        database.run(
          "INSERT INTO parley_sessions (session, written) VALUES (?, ?) ON CONFLICT (session) DO UPDATE SET written = excluded.written",
          entry.session,
          now
        )
        database.run(
          "INSERT INTO parley_memory (session, name, value, expires) VALUES (?, ?, ?, ?) ON CONFLICT (session, name) DO UPDATE SET value = excluded.value, expires = excluded.expires",
          entry.session,
          entry.name,
          entry.value,
          entry.expires
        )
        return undefined
      }),
    remove: (session, name) =>
      database.write("remove from session memory", () => {
        database.run("DELETE FROM parley_memory WHERE session = ? AND name = ?", key(session), key(name))
        database.run(Memory.FORGET_EMPTY, key(session))
      }),
    clear: (session) => database.write("clear a session", () => forget(key(session)))
  }
}
