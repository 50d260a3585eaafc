/** SessionMemory in PostgreSQL: `SessionMemory` in the database of the store. */
import * as Effect from "effect/Effect"
import { BOUNDS, type Bounds, type Full, type SessionMemory } from "../SessionMemory.ts"
import { StoreError } from "../Store.ts"
import { key } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import * as MemoryReads from "./MemoryReads.ts"
import { attempt, MEMORY_LOCK, type Postgres, type Run } from "./Postgres.ts"

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
  MemoryReads.slice(
    database,
    database.write("sweep session memory", (run, now) => Effect.andThen(alone(run), steps(run, Memory.sweep(now))))
  )

/** Takes out what has expired. */
export const sweep = (database: Postgres): Effect.Effect<void, StoreError> =>
  Effect.asVoid(Effect.repeat(slice(database), { until: (swept) => swept === 0 }))

export const make = (database: Postgres, bounds: Bounds = BOUNDS): SessionMemory["Service"] => {
  const part = () => Math.floor(Math.random() * PARTS)
  const remove = (operation: string, session: string, name?: string) =>
    Effect.flatMap(
      attempt(operation, () => Memory.remove(key(session), name === undefined ? undefined : key(name), part())),
      (removal) => database.write(operation, (run) => Effect.andThen(together(run), steps(run, removal)))
    )
  return {
    kind: "postgres",
    ...MemoryReads.make(database),
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
