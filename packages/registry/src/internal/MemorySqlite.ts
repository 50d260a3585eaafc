/** SessionMemory in SQLite: `SessionMemory` in the file of the store. Whoever writes is alone. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { BOUNDS, type Bounds, type Full, type SessionMemory } from "../SessionMemory.ts"
import type { StoreError } from "../Store.ts"
import { key, text } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import type { Query } from "./Queries.ts"
import type { Row } from "./Rows.ts"
import type { Sqlite } from "./Sqlite.ts"

const run = <A>(database: Sqlite, steps: Memory.Steps<A>): A => {
  for (let next = steps.next(); ;) {
    if (next.done === true) return next.value
    const [sql, ...parameters] = next.value
    next = steps.next(database.all(sql, ...parameters))
  }
}

const slice = (database: Sqlite): Effect.Effect<number, StoreError> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.flatMap(
      database.read(
        "sweep session memory",
        () => Memory.expired(now),
        () => undefined
      ),
      ({ length }) =>
        length === 0
          ? Effect.succeed(0)
          : database.write("sweep session memory", (now) => run(database, Memory.sweep(now)))
    )
  )

/** Takes out what has expired. */
export const sweep = (database: Sqlite): Effect.Effect<void, StoreError> =>
  Effect.asVoid(Effect.repeat(Effect.tap(slice(database), Effect.yieldNow), { until: (swept) => swept === 0 }))

export const make = (database: Sqlite, bounds: Bounds = BOUNDS): SessionMemory["Service"] => {
  const read = <A>(operation: string, query: (now: number) => Query, decode: (row: Row) => A) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => database.read(operation, () => query(now), decode))
  const valueOf = (row: Row): Schema.Json => JSON.parse(String(row["value"])) as Schema.Json
  const remove = (operation: string, session: string, name?: string) =>
    database.write(operation, () =>
      run(database, Memory.remove(key(session), name === undefined ? undefined : key(name), 0))
    )
  return {
    kind: "sqlite",
    sessions: ({ after, limit }) =>
      read(
        "list sessions",
        (now) => Memory.sessions(now, limit, after),
        ({ session }) => text(String(session))
      ),
    all: (session) =>
      Effect.map(
        read(
          "read a session",
          (now) => Memory.all(session, now),
          (row) => [text(String(row["name"])), valueOf(row)] as const
        ),
        (entries) => Object.fromEntries(entries)
      ),
    get: (session, name) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        database.attempt("read session memory", () => {
          const { parameters, sql } = Memory.one(session, name, now)
          const row = database.get(sql, ...parameters)
          return row === undefined ? undefined : valueOf(row)
        })
      ),
    set: (session, name, value, { ttlMs, writer } = {}) => {
      const once = Effect.suspend(() => {
        let full: Full | undefined
        const written = database.write("write session memory", (now) => {
          const entry = Memory.entry(session, name, value, now, ttlMs)
          const holder = Memory.holderOf(writer)
          const refused = run(database, Memory.set({ entry, holder, now, bounds, isAlone: true, part: 0 }))
          if (refused === undefined || refused === "Crowded") return
          full = refused
          // Nothing of it stands.
          throw new Error("full")
        })
        return Effect.map(
          Effect.catchIf(
            written,
            () => full !== undefined,
            () => Effect.void
          ),
          () => full
        )
      })
      return Effect.gen(function* () {
        for (;;) {
          const full = yield* once
          if (full === undefined || full.of === "session") return full
          if ((yield* slice(database)) === 0) return full
        }
      })
    },
    remove: (session, name) => remove("remove from session memory", session, name),
    clear: (session) => remove("clear a session", session)
  }
}
