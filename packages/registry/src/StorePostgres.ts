/**
 * StorePostgres: the store of registries of which several run on one database.
 *
 * The log's lock is the one row of `parley_log`, taken at the beginning of a commit: commits come one after another over all
 * instances, so that cursors have no gap and whoever reads sees no cursor before a lower one. A commit of hundreds of facts is
 * a dozen statements. Where the database goes away, everything fails as `Unavailable` until it is back.
 */
import * as Context from "effect/Context"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { randomUUID } from "node:crypto"
import * as Keys from "./internal/Keys.ts"
import * as MemoryPostgres from "./internal/MemoryPostgres.ts"
import * as Postgres from "./internal/Postgres.ts"
import * as Queries from "./internal/Queries.ts"
import * as Rows from "./internal/Rows.ts"
import { SessionMemory } from "./SessionMemory.ts"
import { type Snapshot, Store, type StoreError } from "./Store.ts"

/** Longest time without `news`, in milliseconds: a notification may be lost with its connection. */
export const NEWS_MS = 1_000
/** The channel of LISTEN and NOTIFY; the payload is the instance that committed. */
const CHANNEL = "parley_news"

const head = (row: Rows.Row | undefined): { readonly cursor: number; readonly trimmed: number } => ({
  cursor: Number(row?.["cursor"]),
  trimmed: Number(row?.["trimmed"])
})

/** Tables, their columns with the type that text becomes, and what else is to be said about an insertion. */
const insertions: ReadonlyArray<{
  readonly rows: (rows: Rows.Rows) => ReadonlyArray<ReadonlyArray<string | number>>
  readonly width: number
  readonly sql: string
}> = [
  insertion("parley_events", "cursor:bigint at:bigint type:text fact:text", ({ events }) => events),
  insertion(
    "parley_agents",
    "id:text agent:text",
    ({ agents }) => agents,
    "ON CONFLICT (id) DO UPDATE SET agent = excluded.agent"
  ),
  insertion(
    "parley_counts",
    "agent:text completed:bigint failed:bigint",
    ({ counts }) => counts,
    "ON CONFLICT (agent) DO UPDATE SET completed = parley_counts.completed + excluded.completed, failed = parley_counts.failed + excluded.failed"
  ),
  insertion(
    "parley_edges",
    "agent:text capability:text reviewer:text edge:text",
    ({ edges }) => edges,
    "ON CONFLICT (agent, capability, reviewer) DO UPDATE SET edge = excluded.edge"
  ),
  insertion(
    "parley_reports",
    "seq:bigint hash:text cursor:bigint at:bigint agent:text capability:text score:float8 ema:float8 report:text",
    ({ reports }) => reports
  ),
  insertion(
    "parley_traces",
    "cursor:bigint at:bigint time:bigint task:text sender:text receiver:text type:text trace:text",
    ({ traces }) => traces
  ),
  insertion("parley_verdicts", "cursor:bigint at:bigint task:text verdict:text", ({ verdicts }) => verdicts)
]

function insertion(
  table: string,
  columns: string,
  rows: (rows: Rows.Rows) => ReadonlyArray<ReadonlyArray<string | number>>,
  more = ""
) {
  const named = columns.split(" ").map((column) => column.split(":"))
  const names = named.map(([name]) => name).join(", ")
  const arrays = named.map(([, type]) => (type === "text" ? "?::text[]" : `?::text[]::${type}[]`)).join(", ")
  return {
    rows,
    width: named.length,
    sql: `INSERT INTO ${table} (${names}) SELECT * FROM unnest(${arrays}) ${more}`
  }
}

/** One statement a table, whatever the number of rows. */
const insert = (run: Postgres.Run, rows: Rows.Rows): Effect.Effect<void, StoreError> =>
  Effect.gen(function* () {
    for (const { rows: of, sql, width } of insertions) {
      const some = of(rows)
      if (some.length === 0) continue
      const columns = Array.from({ length: width }, (_, column) => some.map((row) => String(row[column])))
      yield* run(sql, ...columns)
    }
    if (rows.left.length > 0) yield* run("DELETE FROM parley_agents WHERE id = ANY(?::text[])", rows.left)
  })

const load = (database: Postgres.Postgres): Effect.Effect<Snapshot, StoreError> =>
  database.snapshot("load", (run) =>
    Effect.gen(function* () {
      const [log] = yield* run("SELECT cursor, trimmed FROM parley_log")
      const [last] = yield* run("SELECT seq, hash FROM parley_reports ORDER BY seq DESC LIMIT 1")
      const pages = (sql: string, columns: ReadonlyArray<string>, take: (rows: ReadonlyArray<Rows.Row>) => void) =>
        Effect.gen(function* () {
          for (let after = columns.map(() => ""); ;) {
            const page = yield* run(sql, ...after, Queries.PAGE)
            yield* Postgres.attempt("load", () => take(page))
            const end = page.at(-1)
            if (end === undefined || page.length < Queries.PAGE) return
            after = columns.map((column) => String(end[column]))
          }
        })
      const all = new Rows.Gathering()
      yield* pages(Queries.COUNTS_PAGE, ["agent"], all.takeCounts)
      yield* pages(Queries.AGENTS_PAGE, ["id"], all.takeAgents)
      yield* pages(Queries.EDGES_PAGE, ["agent", "capability", "reviewer"], all.takeEdges)
      return {
        cursor: head(log).cursor,
        agents: all.agents,
        departed: all.departed(),
        edges: all.edges,
        link: last === undefined ? { seq: 0, hash: "" } : { seq: Number(last["seq"]), hash: String(last["hash"]) }
      }
    })
  )

/** Listens for what other instances commit, and comes back when the connection is lost. */
const listen = (url: Redacted.Redacted, me: string): Effect.Effect<Queue.Dequeue<void>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const news = yield* Queue.sliding<void>(1)
    const { make: connect } = yield* Effect.promise(() => import("@effect/sql-pg/PgConnection"))
    const once = Effect.scoped(
      Effect.gen(function* () {
        const connection = yield* connect(Postgres.configuration(url))
        const notifications = yield* connection.listen(CHANNEL)
        // Something may have happened before.
        for (;;) {
          yield* Queue.offer(news, undefined)
          while ((yield* Queue.take(notifications)).payload === me);
        }
      })
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignore(once), Effect.sleep(NEWS_MS))))
    return news
  })

const make = (database: Postgres.Postgres, me: string, news: Queue.Dequeue<void>): Store["Service"] => {
  /** The last event that this instance has seen, by loading, missing or committing it. */
  let seen = 0
  const missed = (run: Postgres.Run, seen: number, cursor: number) =>
    cursor === seen
      ? Effect.succeed([])
      : Effect.flatMap(
          run(
            "SELECT cursor, at, fact FROM parley_events WHERE cursor > ? ORDER BY cursor LIMIT ?",
            seen,
            Rows.MAX_MISSED + 1
          ),
          (rows) => Postgres.attempt("append", () => Rows.missed(rows, seen, cursor))
        )
  const taken = (run: Postgres.Run, claims: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      if (claims.length === 0) return new Set<string>()
      const byDigest = new Map(claims.map((claim) => [Buffer.from(Keys.claim(claim)).toString("hex"), claim]))
      const rows = yield* run(
        "SELECT encode(digest, 'hex') AS digest FROM parley_claims WHERE digest = ANY(?::bytea[])",
        claims.map(Keys.claim)
      )
      return new Set(rows.map(({ digest }) => byDigest.get(String(digest)) ?? ""))
    })
  const trimTable = (table: "parley_events" | "parley_traces", before: number) =>
    Effect.gen(function* () {
      const keep = Queries.firstKept(table, before, (yield* Clock.currentTimeMillis) + Queries.MAX_SKEW_MS)
      for (;;) {
        const more = yield* database.write("trim", (run) =>
          Effect.gen(function* () {
            // The log's lock, as for a commit: nothing comes in between.
            const [log] = yield* run("SELECT cursor, trimmed FROM parley_log FOR UPDATE")
            const [kept] = yield* run(keep.sql, ...keep.parameters)
            const [from] = yield* run(`SELECT cursor FROM ${table} ORDER BY cursor LIMIT 1`)
            const end = Number(kept?.["cursor"] ?? head(log).cursor + 1)
            const first = Number(from?.["cursor"] ?? end)
            if (first >= end) return false
            const to = Math.min(first + Queries.TRIM_SLICE, end) - 1
            yield* run(`DELETE FROM ${table} WHERE cursor <= ?`, to)
            if (table === "parley_events") yield* run("UPDATE parley_log SET trimmed = ?", to)
            return true
          })
        )
        if (!more) return
      }
    })
  return {
    kind: "postgres",
    load: Effect.tap(load(database), ({ cursor }) => Effect.sync(() => void (seen = cursor))),
    append: (claims, decide, from = seen) =>
      Effect.map(
        database.write("append", (run, now) =>
          Effect.gen(function* () {
            const [log] = yield* run("SELECT cursor, trimmed FROM parley_log FOR UPDATE")
            const { cursor } = head(log)
            const news = yield* missed(run, from, cursor)
            const used = yield* taken(run, claims)
            const decided = yield* Postgres.attempt("append", () => decide(news, used))
            if (decided.claims.length > 0)
              yield* run(
                "INSERT INTO parley_claims (digest) SELECT * FROM unnest(?::bytea[])",
                decided.claims.map(Keys.claim)
              )
            const { facts } = decided
            if (facts.length === 0) return { events: [], cursor }
            yield* insert(run, yield* Postgres.attempt("append", () => Rows.rows(facts, cursor, now)))
            yield* run("UPDATE parley_log SET cursor = ?", cursor + facts.length)
            yield* run("SELECT pg_notify(?, ?)", CHANNEL, me)
            return { events: Rows.events(facts, cursor, now), cursor: cursor + facts.length }
          })
        ),
        ({ cursor, events }) => {
          seen = cursor
          return events
        }
      ),
    eventsAfter: (cursor, limit, types) =>
      types?.length === 0
        ? Effect.succeed([])
        : Effect.gen(function* () {
            const after = Queries.cursorOf(cursor)
            const events = yield* database.read(
              "read events",
              () => Queries.eventsAfter(after, limit, types),
              Rows.event
            )
            // After the rows were read: what was trimmed meanwhile is not missing in silence.
            const [log] = yield* database.query("read events", "SELECT cursor, trimmed FROM parley_log")
            const { trimmed } = head(log)
            if (after < trimmed) return yield* Rows.gap(after, trimmed)
            return events
          }),
    bounds: Effect.map(database.query("read the log's bounds", "SELECT cursor, trimmed FROM parley_log"), ([log]) => {
      const { cursor, trimmed } = head(log)
      return { first: trimmed + 1, last: cursor }
    }),
    traces: (query) => database.read("search traces", () => Queries.traces(query), Rows.trace),
    history: (agent, options) =>
      Effect.map(
        database.read("read a history", () => Queries.history(agent, options), Rows.point),
        (points) => points.toReversed()
      ),
    verdicts: (options) => database.read("read verdicts", () => Queries.verdicts(options), Rows.verdict),
    chain: (seq, limit) => database.read("read the chain", () => Queries.chain(seq, limit), Rows.link),
    getSecret: (name) =>
      Effect.map(
        database.read(
          "read a secret",
          () => ({ sql: "SELECT value FROM parley_secrets WHERE name = ?", parameters: [Keys.key(name)] }),
          Rows.secret
        ),
        ([value]) => value
      ),
    putSecret: (name, value, replace = false) =>
      database.write("keep a secret", (run) =>
        Effect.gen(function* () {
          const place = yield* Postgres.attempt("keep a secret", () => Keys.key(name))
          yield* run(
            `INSERT INTO parley_secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO ${replace ? "UPDATE SET value = excluded.value" : "NOTHING"}`,
            place,
            JSON.stringify(value)
          )
          const [row] = yield* run("SELECT value FROM parley_secrets WHERE name = ?", place)
          return yield* Postgres.attempt("keep a secret", () => Rows.secret(row ?? {}))
        })
      ),
    trim: ({ events, traces }) =>
      trimTable("parley_events", events).pipe(
        Effect.andThen(trimTable("parley_traces", traces)),
        Effect.andThen(MemoryPostgres.sweep(database))
      ),
    news: Effect.timeoutOrElse(Queue.take(news), { duration: NEWS_MS, orElse: () => Effect.void })
  }
}

/**
 * Store and SessionMemory in a PostgreSQL database: `postgres://USER:PASSWORD@HOST/DATABASE`. Waits for a database that is still
 * starting; fails where there is none, or it was written by a newer version.
 */
export const layer = (url: Redacted.Redacted): Layer.Layer<Store | SessionMemory, StoreError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const database = yield* Postgres.open(url)
      const me = randomUUID()
      const news = yield* listen(url, me)
      return Context.make(Store, make(database, me, news)).pipe(
        Context.add(SessionMemory, MemoryPostgres.make(database))
      )
    })
  )
