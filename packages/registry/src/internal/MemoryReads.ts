/** What is read of session memory in tables, the same in SQLite and PostgreSQL. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { SessionMemory } from "../SessionMemory.ts"
import type { StoreError } from "../Store.ts"
import { text } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import type { Query } from "./Queries.ts"
import type { Row } from "./Rows.ts"

/** What either database offers. */
interface Database {
  readonly read: <A>(
    operation: string,
    query: () => Query,
    decode: (row: Row) => A
  ) => Effect.Effect<ReadonlyArray<A>, StoreError>
}

const rows = <A>(database: Database, operation: string, query: (now: number) => Query, decode: (row: Row) => A) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => database.read(operation, () => query(now), decode))

export const valueOf = (row: Row): Schema.Json => JSON.parse(String(row["value"])) as Schema.Json

/** Takes out some of what has expired by `write`, which is not asked where nothing has; gives how many entries. */
export const slice = (
  database: Database,
  write: Effect.Effect<number, StoreError>
): Effect.Effect<number, StoreError> =>
  Effect.flatMap(
    rows(database, "sweep session memory", Memory.expired, () => undefined),
    ({ length }) => (length === 0 ? Effect.succeed(0) : write)
  )

export const make = (database: Database): Pick<SessionMemory["Service"], "all" | "get" | "sessions"> => ({
  sessions: ({ after, limit }) =>
    rows(
      database,
      "list sessions",
      (now) => Memory.sessions(now, limit, after),
      ({ session }) => text(String(session))
    ),
  all: (session) =>
    Effect.map(
      rows(
        database,
        "read a session",
        (now) => Memory.all(session, now),
        (row) => [text(String(row["name"])), valueOf(row)] as const
      ),
      (entries) => Object.fromEntries(entries)
    ),
  get: (session, name) =>
    Effect.map(
      rows(database, "read session memory", (now) => Memory.one(session, name, now), valueOf),
      ([value]) => value
    )
})
