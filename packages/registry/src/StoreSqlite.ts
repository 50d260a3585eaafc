/**
 * StoreSqlite: the store of a registry that is one process and one file; nothing else to install.
 *
 * WAL and `synchronous = FULL`: what is acknowledged has been synced to the disk. A second process on the same file is
 * served correctly, one commit after the other, but not told of news.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Kept from "./internal/Kept.ts"
import * as Keys from "./internal/Keys.ts"
import * as MemorySqlite from "./internal/MemorySqlite.ts"
import * as Queries from "./internal/Queries.ts"
import * as Rows from "./internal/Rows.ts"
import * as Sqlite from "./internal/Sqlite.ts"
import { SessionMemory } from "./SessionMemory.ts"
import { BUDGET, type Bytes, type Options, type Snapshot, Store, type StoreError } from "./Store.ts"

/** Where a file's log stands. */
const head = (database: Sqlite.Sqlite): Kept.Head => Kept.headOf(database.get(Kept.HEAD))

/** Takes steps. */
const walk = <A>(database: Sqlite.Sqlite, steps: Kept.Steps<A>): A => {
  let at = steps.next()
  while (at.done !== true) at = steps.next(database.all(at.value.sql, ...at.value.parameters))
  return at.value
}

const insert = (database: Sqlite.Sqlite, rows: Rows.Rows): void => {
  database.each("INSERT INTO parley_events (cursor, at, type, fact) VALUES (?, ?, ?, ?)", rows.events)
  database.each(
    "INSERT INTO parley_agents (id, agent) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET agent = excluded.agent",
    rows.agents
  )
  for (const id of rows.left) database.run("DELETE FROM parley_agents WHERE id = ?", id)
  database.each(
    "INSERT INTO parley_counts (agent, completed, failed) VALUES (?, ?, ?) ON CONFLICT (agent) DO UPDATE SET completed = completed + excluded.completed, failed = failed + excluded.failed",
    rows.counts
  )
  database.each(
    "INSERT INTO parley_edges (agent, capability, reviewer, edge) VALUES (?, ?, ?, ?) ON CONFLICT (agent, capability, reviewer) DO UPDATE SET edge = excluded.edge",
    rows.edges
  )
  database.each(
    "INSERT INTO parley_reports (seq, hash, cursor, at, agent, capability, score, ema, report) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    rows.reports
  )
  database.each(
    "INSERT INTO parley_traces (cursor, at, time, task, sender, receiver, type, trace) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    rows.traces
  )
  database.each(
    "INSERT INTO parley_verdicts (cursor, at, task, publisher, verdict) VALUES (?, ?, ?, ?, ?)",
    rows.verdicts
  )
  database.each(
    "INSERT INTO parley_publishers (publisher, bytes) VALUES (?, ?) ON CONFLICT (publisher) DO UPDATE SET bytes = bytes + excluded.bytes",
    rows.publishers
  )
}

const load = (database: Sqlite.Sqlite): Effect.Effect<Snapshot, StoreError> =>
  database.snapshot(
    "load",
    Effect.gen(function* () {
      const { cursor } = yield* database.attempt("load", () => head(database))
      const last = yield* database.attempt("load", () =>
        database.get("SELECT seq, hash FROM parley_reports ORDER BY seq DESC LIMIT 1")
      )
      /** Reads page after page, so that a large registry does not stand still while one is loaded. */
      const pages = (sql: string, columns: ReadonlyArray<string>, take: (rows: ReadonlyArray<Rows.Row>) => void) =>
        Effect.gen(function* () {
          for (let after = columns.map(() => ""); ;) {
            const page = yield* database.attempt("load", () => {
              const rows = database.all(sql, ...after, Queries.PAGE)
              take(rows)
              return rows
            })
            const end = page.at(-1)
            if (end === undefined || page.length < Queries.PAGE) return
            after = columns.map((column) => String(end[column]))
            yield* Effect.yieldNow
          }
        })
      const all = new Rows.Gathering()
      yield* pages(Queries.COUNTS_PAGE, ["agent"], all.takeCounts)
      yield* pages(Queries.AGENTS_PAGE, ["id"], all.takeAgents)
      yield* pages(Queries.EDGES_PAGE, ["agent", "capability", "reviewer"], all.takeEdges)
      return {
        cursor,
        agents: all.agents,
        departed: all.departed(),
        edges: all.edges,
        link: last === undefined ? { seq: 0, hash: "" } : { seq: Number(last["seq"]), hash: String(last["hash"]) }
      }
    })
  )

const make = (database: Sqlite.Sqlite, budget: Bytes): Store["Service"] => {
  /** The last event that this instance has seen, by loading, missing or committing it. */
  let seen = 0
  const missed = (seen: number, cursor: number) => {
    if (cursor === seen) return []
    const found = database.all(
      "SELECT cursor, at, fact FROM parley_events WHERE cursor > ? ORDER BY cursor LIMIT ?",
      seen,
      Rows.MAX_MISSED + 1
    )
    return Rows.missed(found, seen, cursor)
  }
  const trimTable = (table: keyof Bytes, since: number) =>
    Effect.gen(function* () {
      while (
        yield* database.write("trim", (now) => walk(database, Kept.trim(table, head(database), budget, since, now)))
      ) {
        yield* Effect.yieldNow
      }
    })
  return {
    kind: "sqlite",
    load: Effect.tap(load(database), ({ cursor }) => Effect.sync(() => void (seen = cursor))),
    append: (claims, decide, from = seen) =>
      Effect.map(
        database.write("append", (now) => {
          const before = head(database)
          const { cursor } = before
          const digests = new Map(claims.map((claim) => [claim, Keys.claim(claim)]))
          const taken = new Set<string>()
          for (const [claim, digest] of digests)
            if (database.get("SELECT 1 FROM parley_claims WHERE digest = ?", digest) !== undefined) taken.add(claim)
          const decided = decide(missed(from, cursor), taken)
          for (const claim of decided.claims)
            database.run("INSERT INTO parley_claims (digest) VALUES (?)", digests.get(claim) ?? Keys.claim(claim))
          if (decided.facts.length === 0) return { events: [], cursor }
          const rows = Rows.rows(decided.facts, cursor, now)
          walk(database, Kept.makeRoom(budget, before, rows.bytes))
          insert(database, rows)
          const { parameters, sql } = Kept.written(cursor + decided.facts.length, rows.bytes)
          database.run(sql, ...parameters)
          return { events: Rows.events(decided.facts, cursor, now), cursor: cursor + decided.facts.length }
        }),
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
            const { trimmed } = yield* database.attempt("read events", () => head(database))
            if (after < trimmed) return yield* Rows.gap(after, trimmed)
            return events
          }),
    bounds: database.attempt("read the log's bounds", () => {
      const { cursor, trimmed } = head(database)
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
      database.attempt("read a secret", () => {
        const row = database.get("SELECT value FROM parley_secrets WHERE name = ?", Keys.key(name))
        return row === undefined ? undefined : Rows.secret(row)
      }),
    putSecret: (name, value, replace = false) =>
      database.write("keep a secret", () => {
        database.run(
          `INSERT INTO parley_secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO ${replace ? "UPDATE SET value = excluded.value" : "NOTHING"}`,
          Keys.key(name),
          JSON.stringify(value)
        )
        return Rows.secret(database.get("SELECT value FROM parley_secrets WHERE name = ?", Keys.key(name)) ?? {})
      }),
    kept: database.attempt("count what is kept", () => Kept.bytesOf(head(database))),
    trim: ({ events, traces }) =>
      Effect.gen(function* () {
        yield* trimTable("events", events)
        yield* trimTable("traces", traces)
        yield* trimTable("verdicts", 0)
        yield* MemorySqlite.sweep(database)
      }),
    news: Effect.never
  }
}

/**
 * Store and SessionMemory in one file, which is made where there is none; `:memory:` is forgotten with the scope. Fails where it
 * cannot be opened, or was written by a newer version.
 */
export const layer = (file: string, options: Options = {}): Layer.Layer<Store | SessionMemory, StoreError> =>
  Layer.effectContext(
    Effect.map(Sqlite.open(file), (database) =>
      Context.make(Store, make(database, { ...BUDGET, ...options.budget })).pipe(
        Context.add(SessionMemory, MemorySqlite.make(database))
      )
    )
  )
