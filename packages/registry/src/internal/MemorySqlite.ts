/** SessionMemory in SQLite: `SessionMemory` in the file of the store. Whoever writes is alone. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { BOUNDS, type Bounds, type Full, type SessionMemory } from "../SessionMemory.ts"
import type { StoreError } from "../Store.ts"
import { key } from "./Keys.ts"
import * as Memory from "./Memory.ts"
import * as MemoryReads from "./MemoryReads.ts"
import type { Sqlite } from "./Sqlite.ts"

const run = <A>(database: Sqlite, steps: Memory.Steps<A>): A => {
  for (let next = steps.next(); ;) {
    if (next.done === true) return next.value
    const [sql, ...parameters] = next.value
    next = steps.next(database.all(sql, ...parameters))
  }
}

const slice = (database: Sqlite): Effect.Effect<number, StoreError> =>
  MemoryReads.slice(
    database,
    database.write("sweep session memory", (now) => run(database, Memory.sweep(now)))
  )

/** Takes out what has expired. */
export const sweep = (database: Sqlite): Effect.Effect<void, StoreError> =>
  Effect.asVoid(Effect.repeat(Effect.tap(slice(database), Effect.yieldNow), { until: (swept) => swept === 0 }))

export const make = (database: Sqlite, bounds: Bounds = BOUNDS): SessionMemory["Service"] => {
  const remove = (operation: string, session: string, name?: string) =>
    database.write(operation, () =>
      run(database, Memory.remove(key(session), name === undefined ? undefined : key(name), 0))
    )
  return {
    kind: "sqlite",
    ...MemoryReads.make(database),
    // The row as it is found, without a list: this is what is asked most.
    get: (session, name) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        database.attempt("read session memory", () => {
          const { parameters, sql } = Memory.one(session, name, now)
          const row = database.get(sql, ...parameters)
          return row === undefined ? undefined : MemoryReads.valueOf(row)
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
