/** Postgres: a pool of connections to one database, through @effect/sql-pg, which speaks PostgreSQL's protocol itself. */
import type * as PgConnection from "@effect/sql-pg/PgConnection"
import type * as PgPool from "@effect/sql-pg/PgPool"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import { StoreError } from "../Store.ts"
import * as Migrations from "./Migrations.ts"
import type { Query } from "./Queries.ts"
import type { Row } from "./Rows.ts"

/** Most connections of one instance, and one that listens: PostgreSQL allows 100 in all where nothing else is set. */
export const MAX_CONNECTIONS = 8
/** How long a connection may take, in milliseconds. */
export const CONNECT_MS = 5_000
/** How long a statement may take, in milliseconds: the server has gone, or is frozen. Up to 5 s more until it is given up. */
export const STATEMENT_MS = 10_000
/** How long to wait for a lock that another instance holds. The server ends its transaction when it has slept for as long. */
export const LOCK_MS = 5_000
/** How long a registry that starts waits for its database, in milliseconds: they are often started together. */
export const START_MS = 10_000
/** How long to find out what became of a commit during which the connection was lost, in milliseconds. */
export const DOUBT_MS = 10_000
const AGAIN_MS = 250

/** The lock that migrations are done under, and that of session memory; any two numbers of our own. */
export const MIGRATIONS_LOCK = 7_170_001
export const MEMORY_LOCK = 7_170_002

/** A parameter of a statement. */
export type Value = string | number | Uint8Array | ReadonlyArray<string> | ReadonlyArray<Uint8Array>

/** SQLSTATE classes that say nothing about the statement: connection, resources, operator, locks, start-up. */
const passing = /^(08|53|55|57|40)/

const failed = (operation: string, error: SqlError): StoreError => {
  const { reason } = error
  const cause = reason.cause
  const sqlState = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
  const isAway = reason._tag === "ConnectionError" || reason._tag === "LockTimeoutError" || passing.test(sqlState)
  const detail = cause instanceof Error ? cause.message : reason.message
  return new StoreError({ code: isAway ? "Unavailable" : "Failed", operation, detail })
}

const numbered = new Map<string, string>()
/** `?` as PostgreSQL numbers it: `$1`, `$2` … */
const statement = (sql: string): string => {
  let text = numbered.get(sql)
  if (text === undefined) {
    let n = 0
    numbered.set(sql, (text = sql.replaceAll("?", () => `$${++n}`)))
  }
  return text
}

/** Statements on one connection. */
export type Run = (sql: string, ...parameters: ReadonlyArray<Value>) => Effect.Effect<ReadonlyArray<Row>, StoreError>

const runner =
  (operation: string, connection: PgConnection.PgConnection): Run =>
  (sql, ...parameters) =>
    connection.query(statement(sql), parameters).pipe(
      Effect.mapError((error) => failed(operation, error)),
      Effect.timeoutOrElse({
        duration: STATEMENT_MS,
        orElse: () =>
          Effect.fail(
            new StoreError({ code: "Unavailable", operation, detail: `no answer within ${STATEMENT_MS / 1_000} s` })
          )
      }),
      Effect.map(({ rows }) => rows)
    )

/** A body that throws fails. */
export const attempt = <A>(operation: string, body: () => A): Effect.Effect<A, StoreError> =>
  Effect.try({
    try: body,
    catch: (error) =>
      new StoreError({
        code: error instanceof SyntaxError ? "Corrupt" : "Failed",
        operation,
        detail: error instanceof Error ? error.message : String(error)
      })
  })

const unavailable = ({ code }: StoreError): boolean => code === "Unavailable"

/** A database, and the connections to it. */
export class Postgres {
  readonly #pool: PgPool.PgPool

  constructor(pool: PgPool.PgPool) {
    this.#pool = pool
  }

  /** One statement by itself. */
  query(operation: string, sql: string, ...parameters: ReadonlyArray<Value>) {
    return Effect.scoped(
      Effect.flatMap(
        Effect.mapError(this.#pool.get, (error) => failed(operation, error)),
        (connection) => runner(operation, connection)(sql, ...parameters)
      )
    )
  }

  /** What is asked, and what becomes of each row. */
  read<A>(operation: string, query: () => Query, decode: (row: Row) => A): Effect.Effect<ReadonlyArray<A>, StoreError> {
    return Effect.flatMap(attempt(operation, query), ({ parameters, sql }) =>
      Effect.flatMap(this.query(operation, sql, ...parameters), (rows) => attempt(operation, () => rows.map(decode)))
    )
  }

  /** One state over all reads of `body`. */
  snapshot<A>(operation: string, body: (run: Run) => Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.scoped(
      Effect.flatMap(this.#begin(operation, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), (run) =>
        this.#ending(run, body(run), run("COMMIT"))
      )
    )
  }

  /**
   * A transaction that writes. All of it stands when this succeeds, and nothing of it when it fails: where the connection is lost
   * during the commit, PostgreSQL is asked what became of it.
   */
  write<A>(operation: string, body: (run: Run, now: number) => Effect.Effect<A, StoreError>) {
    return Effect.scoped(
      Effect.gen({ self: this }, function* () {
        const run = yield* this.#begin(operation, "BEGIN")
        const [row] = yield* run(
          "SELECT txid_current()::text AS id, set_config('lock_timeout', ?, true), set_config('idle_in_transaction_session_timeout', ?, true), set_config('synchronous_commit', 'on', true)",
          String(LOCK_MS),
          String(LOCK_MS)
        )
        const now = yield* Clock.currentTimeMillis
        const commit = Effect.catchIf(run("COMMIT"), unavailable, (lost) =>
          this.#settle(operation, String(row?.["id"]), lost)
        )
        return yield* this.#ending(run, body(run, now), commit)
      })
    )
  }

  /** A connection of one's own, on which a transaction has begun. A connection that turns out dead is replaced once. */
  #begin(operation: string, begin: string): Effect.Effect<Run, StoreError, Scope.Scope> {
    const once = Effect.flatMap(
      Effect.mapError(this.#pool.reserve, (error) => failed(operation, error)),
      (connection) => {
        const run = runner(operation, connection)
        return Effect.as(run(begin), run)
      }
    )
    return Effect.retry(once, { times: 1, while: unavailable })
  }

  /** Commits what succeeds, and takes back the rest. Whoever interrupts waits for either. */
  #ending<A>(run: Run, body: Effect.Effect<A, StoreError>, commit: Effect.Effect<unknown, StoreError>) {
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(body)), (exit) =>
        Exit.isSuccess(exit)
          ? Effect.as(commit, exit.value)
          : Effect.andThen(Effect.ignore(run("ROLLBACK")), Effect.failCause(exit.cause))
      )
    )
  }

  /** What became of a transaction whose COMMIT was not answered. */
  #settle(operation: string, id: string, lost: StoreError): Effect.Effect<void, StoreError> {
    const ask = Effect.flatMap(this.query(operation, "SELECT txid_status(?::text::bigint) AS status", id), ([row]) =>
      row?.["status"] === "committed"
        ? Effect.void
        : Effect.fail(row?.["status"] === "in progress" ? lost : new StoreError({ ...lost, code: "Failed" }))
    )
    return ask.pipe(
      Effect.retry({ schedule: Schedule.spaced(AGAIN_MS), times: DOUBT_MS / AGAIN_MS, while: unavailable }),
      Effect.mapError(() => lost)
    )
  }
}

const migrate = (database: Postgres): Effect.Effect<void, StoreError> =>
  Effect.flatMap(
    database.write("migrate", (run, now) =>
      Effect.gen(function* () {
        yield* run("SELECT pg_advisory_xact_lock(?::bigint)", MIGRATIONS_LOCK)
        const [encoding] = yield* run("SHOW server_encoding")
        if (encoding?.["server_encoding"] !== "UTF8")
          return `its encoding is ${String(encoding?.["server_encoding"])}: make it with ENCODING 'UTF8'`
        yield* run(Migrations.record(Migrations.postgres))
        const done = (yield* run("SELECT id FROM parley_migrations")).map(({ id }) => Number(id))
        const pending = Migrations.pending(done)
        if (typeof pending === "string") return pending
        for (const { id, name, statements } of pending) {
          for (const sql of statements(Migrations.postgres)) yield* run(sql)
          yield* run("INSERT INTO parley_migrations (id, name, at) VALUES (?, ?, ?)", id, name, now)
        }
        return undefined
      })
    ),
    (refused) =>
      refused === undefined
        ? Effect.void
        : Effect.fail(new StoreError({ code: "Failed", operation: "migrate", detail: refused }))
  )

/** What connections are made with. */
export const configuration = (url: Redacted.Redacted) => ({
  url,
  connectTimeout: CONNECT_MS,
  keepAlive: CONNECT_MS,
  applicationName: "parley-registry",
  // The largest fact has 16 Mi characters: see `Rows.MAX_FACT_LENGTH`.
  maxMessageSize: 64 * 1_048_576
})

/** Connects, and migrates. Waits for a database that is still starting. */
export const open = (url: Redacted.Redacted): Effect.Effect<Postgres, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const Pool = yield* Effect.promise(() => import("@effect/sql-pg/PgPool"))
    const pool = yield* Effect.mapError(
      Pool.make({ ...configuration(url), maxConnections: MAX_CONNECTIONS, idleTimeout: 60_000 }),
      (error) => failed("connect", error)
    )
    const database = new Postgres(pool)
    yield* Effect.retry(migrate(database), {
      schedule: Schedule.spaced(AGAIN_MS),
      times: START_MS / AGAIN_MS,
      while: unavailable
    })
    return database
  })
