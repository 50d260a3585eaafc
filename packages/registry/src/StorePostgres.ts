/**
 * StorePostgres: the store of registries of which several run on one database.
 *
 * The log's lock is the one row of `parley_log`, taken at the beginning of a commit: commits come one after another over all
 * instances, so that cursors have no gap and whoever reads sees no cursor before a lower one. A commit of hundreds of facts is
 * a dozen statements. Where the database goes away, everything fails as `Unavailable` until it is back.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import type * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { randomUUID } from "node:crypto"
import * as Kept from "./internal/Kept.ts"
import * as Keys from "./internal/Keys.ts"
import * as MemoryPostgres from "./internal/MemoryPostgres.ts"
import * as Postgres from "./internal/Postgres.ts"
import * as Queries from "./internal/Queries.ts"
import * as Rows from "./internal/Rows.ts"
import { SessionMemory } from "./SessionMemory.ts"
import { BUDGET, type Bytes, type Options, type Snapshot, Store, type StoreError } from "./Store.ts"

/** Longest time without `news`, in milliseconds: a notification may be lost with its connection. */
export const NEWS_MS = 1_000
/** The channel of LISTEN and NOTIFY; the payload is the instance that committed. */
const CHANNEL = "parley_news"

/** The log's row with its lock: nothing else is committed until this transaction ends. */
const LOCKED = `${Kept.HEAD} FOR UPDATE`

/** Takes steps. */
const walk = <A>(run: Postgres.Run, steps: Kept.Steps<A>): Effect.Effect<A, StoreError> =>
  Effect.gen(function* () {
    let at = steps.next()
    while (at.done !== true) at = steps.next(yield* run(at.value.sql, ...at.value.parameters))
    return at.value
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
  insertion(
    "parley_verdicts",
    "cursor:bigint at:bigint task:text publisher:text verdict:text",
    ({ verdicts }) => verdicts
  ),
  insertion(
    "parley_publishers",
    "publisher:text bytes:bigint",
    ({ publishers }) => publishers,
    "ON CONFLICT (publisher) DO UPDATE SET bytes = parley_publishers.bytes + excluded.bytes"
  )
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
      const [log] = yield* run(Kept.HEAD)
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
        cursor: Kept.headOf(log).cursor,
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

const make = (database: Postgres.Postgres, budget: Bytes, me: string, news: Queue.Dequeue<void>): Store["Service"] => {
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
  const trimTable = (table: keyof Bytes, since: number) =>
    Effect.gen(function* () {
      const slice = database.write("trim", (run, now) =>
        Effect.gen(function* () {
          // The log's lock, as for a commit: nothing comes in between.
          const [log] = yield* run(LOCKED)
          return yield* walk(run, Kept.trim(table, Kept.headOf(log), budget, since, now))
        })
      )
      while (yield* slice);
    })
  return {
    kind: "postgres",
    load: Effect.tap(load(database), ({ cursor }) => Effect.sync(() => void (seen = cursor))),
    append: (claims, decide, from = seen) =>
      Effect.map(
        database.write("append", (run, now) =>
          Effect.gen(function* () {
            const [log] = yield* run(LOCKED)
            const before = Kept.headOf(log)
            const { cursor } = before
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
            const rows = yield* Postgres.attempt("append", () => Rows.rows(facts, cursor, now))
            yield* walk(run, Kept.makeRoom(budget, before, rows.bytes))
            yield* insert(run, rows)
            const { parameters, sql } = Kept.written(cursor + facts.length, rows.bytes)
            yield* run(sql, ...parameters)
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
            const [log] = yield* database.query("read events", Kept.HEAD)
            const { trimmed } = Kept.headOf(log)
            if (after < trimmed) return yield* Rows.gap(after, trimmed)
            return events
          }),
    bounds: Effect.map(database.query("read the log's bounds", Kept.HEAD), ([log]) => {
      const { cursor, trimmed } = Kept.headOf(log)
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
    kept: Effect.map(database.query("count what is kept", Kept.HEAD), ([log]) => Kept.bytesOf(Kept.headOf(log))),
    trim: ({ events, traces }) =>
      trimTable("events", events).pipe(
        Effect.andThen(trimTable("traces", traces)),
        Effect.andThen(trimTable("verdicts", 0)),
        Effect.andThen(MemoryPostgres.sweep(database))
      ),
    news: Effect.timeoutOrElse(Queue.take(news), { duration: NEWS_MS, orElse: () => Effect.void })
  }
}

/**
 * Store and SessionMemory in a PostgreSQL database: `postgres://USER:PASSWORD@HOST/DATABASE`. Waits for a database that is still
 * starting; fails where there is none, or it was written by a newer version.
 */
export const layer = (url: Redacted.Redacted, options: Options = {}): Layer.Layer<Store | SessionMemory, StoreError> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const database = yield* Postgres.open(url)
      const me = randomUUID()
      const news = yield* listen(url, me)
      return Context.make(Store, make(database, { ...BUDGET, ...options.budget }, me, news)).pipe(
        Context.add(SessionMemory, MemoryPostgres.make(database))
      )
    })
  )
