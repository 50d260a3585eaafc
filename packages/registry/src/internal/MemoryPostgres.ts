/** SessionMemory in PostgreSQL: `SessionMemory` in the database of the store. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { MAX_KEYS, MAX_SESSIONS, type SessionMemory } from "../SessionMemory.ts"
import type { StoreError } from "../Store.ts"
import { key, text } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import { attempt, MEMORY_LOCK, type Postgres, type Run } from "./Postgres.ts"
import type { Row } from "./Rows.ts"

/** Nobody else writes while sessions are taken out; whoever only adds shares. */
const alone = (run: Run) => run("SELECT pg_advisory_xact_lock(?::bigint)", MEMORY_LOCK)
const together = (run: Run) => run("SELECT pg_advisory_xact_lock_shared(?::bigint)", MEMORY_LOCK)

/** Takes out what has expired. */
export const sweep = (database: Postgres): Effect.Effect<void, StoreError> =>
  database.write("sweep session memory", (run, now) =>
    Effect.andThen(
      alone(run),
      Effect.forEach(Memory.SWEEP, (sql) => run(sql.text, ...(sql.now ? [now] : [])), { discard: true })
    )
  )

export const make = (database: Postgres): SessionMemory["Service"] => {
  const timed = <A>(body: (now: number) => Effect.Effect<A, StoreError>) =>
    Effect.flatMap(Clock.currentTimeMillis, body)
  const valueOf = (row: Row): Schema.Json => JSON.parse(String(row["value"])) as Schema.Json
  const keys = (operation: string, ...texts: ReadonlyArray<string>) => attempt(operation, () => texts.map(key))

  /** `"Crowded"`: there are too many sessions for one more, and `evict` was not said. */
  const set = (session: string, name: string, value: Schema.Json, ttlMs: number | undefined, evict: boolean) =>
    database.write("write session memory", (run, now) =>
      Effect.gen(function* () {
        const entry = yield* attempt("write session memory", () => Memory.entry(session, name, value, now, ttlMs))
        yield* together(run)
        // Locks the session's row, so that two who write to it count one after the other.
        const [row] = yield* run(
          "INSERT INTO parley_sessions (session, written) VALUES (?, ?) ON CONFLICT (session) DO UPDATE SET written = excluded.written RETURNING (xmax = 0) AS fresh",
          entry.session,
          now
        )
        if (row?.["fresh"] === true) {
          const [sessions] = yield* run("SELECT count(*) AS n FROM parley_sessions")
          if (Number(sessions?.["n"]) > MAX_SESSIONS) {
            if (!evict) return "Crowded" as const
            const [oldest] = yield* run(
              "SELECT session FROM parley_sessions WHERE session <> ? ORDER BY written LIMIT 1 FOR UPDATE SKIP LOCKED",
              entry.session
            )
            if (oldest !== undefined) {
              yield* run("DELETE FROM parley_memory WHERE session = ?", String(oldest["session"]))
              yield* run("DELETE FROM parley_sessions WHERE session = ?", String(oldest["session"]))
            }
          }
        }
        yield* run("DELETE FROM parley_memory WHERE session = ? AND expires <= ?", entry.session, now)
        const [others] = yield* run(
          "SELECT count(*) AS n FROM parley_memory WHERE session = ? AND name <> ?",
          entry.session,
          entry.name
        )
        if (Number(others?.["n"]) >= MAX_KEYS) return { _tag: "Full" as const, limit: MAX_KEYS }
        yield* run(
          "INSERT INTO parley_memory (session, name, value, expires) VALUES (?, ?, ?, ?) ON CONFLICT (session, name) DO UPDATE SET value = excluded.value, expires = excluded.expires",
          entry.session,
          entry.name,
          entry.value,
          entry.expires
        )
        return undefined
      })
    )

  return {
    kind: "postgres",
    sessions: ({ after, limit }) =>
      timed((now) =>
        database.read(
          "list sessions",
          () => Memory.sessions(now, limit, after),
          ({ session }) => text(String(session))
        )
      ),
    all: (session) =>
      timed((now) =>
        Effect.map(
          database.read(
            "read a session",
            () => ({
              sql: "SELECT name, value FROM parley_memory WHERE session = ? AND expires > ?",
              parameters: [key(session), now]
            }),
            (row) => [text(String(row["name"])), valueOf(row)] as const
          ),
          (entries) => Object.fromEntries(entries)
        )
      ),
    get: (session, name) =>
      timed((now) =>
        Effect.map(
          database.read(
            "read session memory",
            () => ({
              sql: "SELECT value FROM parley_memory WHERE session = ? AND name = ? AND expires > ?",
              parameters: [key(session), key(name), now]
            }),
            valueOf
          ),
          ([value]) => value
        )
      ),
    set: (session, name, value, ttlMs) =>
      Effect.gen(function* () {
        const first = yield* set(session, name, value, ttlMs, false)
        if (first !== "Crowded") return first
        yield* sweep(database)
        const second = yield* set(session, name, value, ttlMs, true)
        return second === "Crowded" ? undefined : second
      }),
    remove: (session, name) =>
      Effect.flatMap(keys("remove from session memory", session, name), ([from = "", what = ""]) =>
        database.write("remove from session memory", (run) =>
          Effect.asVoid(
            alone(run).pipe(
              Effect.andThen(run("DELETE FROM parley_memory WHERE session = ? AND name = ?", from, what)),
              Effect.andThen(run(Memory.FORGET_EMPTY, from))
            )
          )
        )
      ),
    clear: (session) =>
      Effect.flatMap(keys("clear a session", session), ([which = ""]) =>
        database.write("clear a session", (run) =>
          Effect.asVoid(
            alone(run).pipe(
              Effect.andThen(run("DELETE FROM parley_memory WHERE session = ?", which)),
              Effect.andThen(run("DELETE FROM parley_sessions WHERE session = ?", which))
            )
          )
        )
      )
  }
}
