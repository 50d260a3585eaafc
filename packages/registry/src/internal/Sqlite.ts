/**
 * Sqlite: one open file, through `node:sqlite`, which Bun and Deno have. Calls run in the process and are done when they return: a
 * commit, which is on the disk then, takes a fraction of a millisecond.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { closeSync, mkdirSync, openSync } from "node:fs"
import { dirname } from "node:path"
import type { DatabaseSync, StatementSync } from "node:sqlite"
import { StoreError } from "../Store.ts"
import * as Migrations from "./Migrations.ts"
import type { Query } from "./Queries.ts"
import type { Row } from "./Rows.ts"

/** How long a commit waits for another process that writes to the same file, in milliseconds. */
export const BUSY_MS = 5_000
/** How long of it the process stands still, at most, at a time. */
const BLOCKING_MS = 20
const PAUSE_MS = 5
/**
 * How long the write-ahead log grows before it is taken into the file, in pages: 16 MiB. A report writes to pages all over the file, a
 * hundred at once to several hundred, and most of them again with the next: taken over four times less often, each is written and
 * synced fewer times. Nothing is less durable: a commit syncs the log.
 */
export const CHECKPOINT_PAGES = 4_096

/** A parameter of a statement. */
export type Value = string | number | Uint8Array

const failed = (operation: string, error: unknown): StoreError => {
  const detail = error instanceof Error ? error.message : String(error)
  const code = /database (table )?is locked|busy/i.test(detail)
    ? "Unavailable"
    : /malformed|not a database/i.test(detail) || error instanceof SyntaxError
      ? "Corrupt"
      : "Failed"
  return new StoreError({ code, operation, detail })
}

/** An open file. */
export class Sqlite {
  readonly #database: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  /** Held by whoever writes or needs one state over several reads: there is one connection. */
  readonly #turn = Semaphore.makeUnsafe(1)

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) this.#statements.set(sql, (statement = this.#database.prepare(sql)))
    return statement
  }

  run(sql: string, ...parameters: ReadonlyArray<Value>): void {
    this.#statement(sql).run(...parameters)
  }

  /** One statement for many rows. */
  each(sql: string, rows: ReadonlyArray<ReadonlyArray<Value>>): void {
    if (rows.length === 0) return
    const statement = this.#statement(sql)
    for (const row of rows) statement.run(...row)
  }

  get(sql: string, ...parameters: ReadonlyArray<Value>): Row | undefined {
    return this.#statement(sql).get(...parameters)
  }

  all(sql: string, ...parameters: ReadonlyArray<Value>): ReadonlyArray<Row> {
    return this.#statement(sql).all(...parameters)
  }

  /** What is asked, and what becomes of each row. */
  read<A>(operation: string, query: () => Query, decode: (row: Row) => A): Effect.Effect<ReadonlyArray<A>, StoreError> {
    return this.attempt(operation, () => {
      const { parameters, sql } = query()
      return this.all(sql, ...parameters).map(decode)
    })
  }

  /** What throws becomes a StoreError. */
  attempt<A>(operation: string, body: () => A): Effect.Effect<A, StoreError> {
    return Effect.try({ try: body, catch: (error) => failed(operation, error) })
  }

  /**
   * A transaction that writes. All of it stands when this succeeds, and nothing of it when it fails. `body` runs once at most: what is
   * tried again is to begin, while another process writes.
   */
  write<A>(operation: string, body: (now: number) => A): Effect.Effect<A, StoreError> {
    const attempt = Effect.suspend(() => {
      let hasBegun = false
      const once = Effect.flatMap(Clock.currentTimeMillis, (now) =>
        this.attempt(operation, () => {
          this.#database.exec("BEGIN IMMEDIATE")
          hasBegun = true
          try {
            const result = body(now)
            this.#database.exec("COMMIT")
            return result
          } catch (error) {
            if (this.#database.isTransaction) this.#database.exec("ROLLBACK")
            throw error
          }
        })
      )
      return Effect.retry(once, {
        schedule: Schedule.spaced(PAUSE_MS),
        times: BUSY_MS / (BLOCKING_MS + PAUSE_MS),
        while: ({ code }) => code === "Unavailable" && !hasBegun
      })
    })
    return this.#turn.withPermit(attempt)
  }

  /** One state over all reads of `body`, between which others get their turn to read. */
  snapshot<A>(operation: string, body: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return this.#turn.withPermit(
      Effect.acquireUseRelease(
        this.attempt(operation, () => this.#database.exec("BEGIN")),
        () => body,
        () => Effect.sync(() => this.#database.exec("ROLLBACK"))
      )
    )
  }
}

const migrate = (database: Sqlite): Effect.Effect<void, StoreError> =>
  Effect.flatMap(
    database.write("migrate", (now) => {
      database.run(Migrations.record(Migrations.sqlite))
      const done = database.all("SELECT id FROM parley_migrations").map(({ id }) => Number(id))
      const pending = Migrations.pending(done)
      if (typeof pending === "string") return pending
      for (const { id, name, statements } of pending) {
        for (const sql of statements(Migrations.sqlite)) database.run(sql)
        database.run("INSERT INTO parley_migrations (id, name, at) VALUES (?, ?, ?)", id, name, now)
      }
      return undefined
    }),
    (refused) =>
      refused === undefined
        ? Effect.void
        : Effect.fail(new StoreError({ code: "Failed", operation: "migrate", detail: refused }))
  )

/** Opens a file, which is made where there is none, for its owner alone: keys lie in it. `:memory:` lives as long as the scope. */
export const open = (file: string): Effect.Effect<Sqlite, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const raw = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: async () => {
          // Loaded here, so that importing this module costs nothing.
          const { DatabaseSync } = await import("node:sqlite")
          if (file !== ":memory:") {
            mkdirSync(dirname(file), { recursive: true })
            closeSync(openSync(file, "a", 0o600))
          }
          const database = new DatabaseSync(file)
          // While it is opened, another process may be making the same file.
          database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
          database.exec("PRAGMA journal_mode = WAL")
          // A commit returns when it is on the disk, and survives a loss of power.
          database.exec("PRAGMA synchronous = FULL")
          database.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
          return database
        },
        catch: (error) => failed(`open ${file}`, error)
      }),
      (database) => Effect.sync(() => database.close())
    )
    const database = new Sqlite(raw)
    yield* migrate(database)
    yield* database.attempt("open", () => raw.exec(`PRAGMA busy_timeout = ${BLOCKING_MS}`))
    return database
  })
