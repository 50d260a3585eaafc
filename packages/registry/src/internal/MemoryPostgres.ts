/** SessionMemory in PostgreSQL: `SessionMemory` in the database of the store. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import { BOUNDS, type Bounds, type Full, type SessionMemory } from "../SessionMemory.ts"
import { StoreError } from "../Store.ts"
import { key, text } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import { attempt, MEMORY_LOCK, type Postgres, type Run } from "./Postgres.ts"
import type { Query } from "./Queries.ts"
import type { Row } from "./Rows.ts"

/** Rows that strangers and all are counted in, so that writers seldom wait for one another. */
const PARTS = 16

/** Nobody else writes: whoever sweeps, or comes close to a bound of all. Others share. */
const alone = (run: Run) => run("SELECT pg_advisory_xact_lock(?::bigint)", MEMORY_LOCK)
const together = (run: Run) => run("SELECT pg_advisory_xact_lock_shared(?::bigint)", MEMORY_LOCK)

const steps = <A>(run: Run, of: Memory.Steps<A>): Effect.Effect<A, StoreError> =>
  Effect.gen(function* () {
    for (let next = of.next(); ;) {
      if (next.done === true) return next.value
      const [sql, ...parameters] = next.value
      next = of.next(yield* run(sql, ...parameters))
    }
  })

const slice = (database: Postgres): Effect.Effect<number, StoreError> =>
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
          : database.write("sweep session memory", (run, now) =>
              Effect.andThen(alone(run), steps(run, Memory.sweep(now)))
            )
    )
  )

/** Takes out what has expired. */
export const sweep = (database: Postgres): Effect.Effect<void, StoreError> =>
  Effect.asVoid(Effect.repeat(slice(database), { until: (swept) => swept === 0 }))

export const make = (database: Postgres, bounds: Bounds = BOUNDS): SessionMemory["Service"] => {
  const read = <A>(operation: string, query: (now: number) => Query, decode: (row: Row) => A) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => database.read(operation, () => query(now), decode))
  const valueOf = (row: Row): Schema.Json => JSON.parse(String(row["value"])) as Schema.Json
  const part = () => Math.floor(Math.random() * PARTS)
  const remove = (operation: string, session: string, name?: string) =>
    Effect.flatMap(
      attempt(operation, () => Memory.remove(key(session), name === undefined ? undefined : key(name), part())),
      (removal) => database.write(operation, (run) => Effect.andThen(together(run), steps(run, removal)))
    )
  return {
    kind: "postgres",
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
      Effect.map(
        read("read session memory", (now) => Memory.one(session, name, now), valueOf),
        ([value]) => value
      ),
    set: (session, name, value, { ttlMs, writer } = {}) => {
      const operation = "write session memory"
      const once = (isAlone: boolean) =>
        Effect.suspend(() => {
          let refused: Full | "Crowded" | undefined
          const written = database.write(operation, (run, now) =>
            Effect.gen(function* () {
              const [entry, holder] = yield* attempt(
                operation,
                () => [Memory.entry(session, name, value, now, ttlMs), Memory.holderOf(writer)] as const
              )
              yield* (isAlone ? alone : together)(run)
              refused = yield* steps(run, Memory.set({ entry, holder, now, bounds, isAlone, part: part() }))
              // Nothing of it stands.
              if (refused !== undefined) return yield* new StoreError({ code: "Failed", operation, detail: "full" })
            })
          )
          return Effect.map(
            Effect.catchIf(
              written,
              () => refused !== undefined,
              () => Effect.void
            ),
            () => refused
          )
        })
      return Effect.gen(function* () {
        for (let isAlone = false; ; isAlone = true) {
          const refused = yield* once(isAlone)
          if (refused === undefined) return undefined
          if (refused !== "Crowded" && refused.of === "session") return refused
          if ((yield* slice(database)) === 0 && refused !== "Crowded") return refused
        }
      })
    },
    remove: (session, name) => remove("remove from session memory", session, name),
    clear: (session) => remove("clear a session", session)
  }
}
