/** Verifies: sums of session memory are those of its entries: after a migration, after a kill, after many have written at once. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { fromSeed } from "@parley/core/testing/Seeded"
import { type Bounds, BOUNDS, type SessionMemory } from "@parley/registry/SessionMemory"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import * as Server from "../../../test-support/Postgres.ts"
import { command } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import * as MemoryPostgres from "../src/internal/MemoryPostgres.ts"
import * as MemorySqlite from "../src/internal/MemorySqlite.ts"
import * as Migrations from "../src/internal/Migrations.ts"
import * as Postgres from "../src/internal/Postgres.ts"
import * as Sqlite from "../src/internal/Sqlite.ts"

const TIMEOUT_MS = 60_000
const seed = Number(process.env["PARLEY_SEED"] ?? Date.now() % 1_000_000)
const folder = mkdtempSync(join(tmpdir(), "parley-memory-tables-"))
let server: Server.Postgres
beforeAll(async () => {
  if (Server.unavailable === undefined) server = await Server.start()
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  if (Server.unavailable === undefined) await server.stop()
})

/** A database, by its own words. */
interface Database {
  readonly open: (bounds?: Bounds) => Effect.Effect<SessionMemory["Service"], unknown, Scope.Scope>
  /** The first column of the answer, line by line. */
  readonly ask: (sql: string) => Promise<ReadonlyArray<string>>
}

const sqlite = (file: string): Database => ({
  open: (bounds) => Effect.map(Sqlite.open(file), (database) => MemorySqlite.make(database, bounds)),
  ask: async (sql) => {
    const database = new DatabaseSync(file)
    const rows = database.prepare(sql).all()
    database.close()
    return rows.map((row) => String(Object.values(row)[0]))
  }
})
const postgres = (url: string): Database => ({
  open: (bounds) => Effect.map(Postgres.open(Redacted.make(url)), (database) => MemoryPostgres.make(database, bounds)),
  ask: async (sql) => (await server.sql(url, sql)).split("\n").filter((line) => line !== "")
})

/** What does not add up: nothing. */
const discrepancies = async ({ ask }: Database): Promise<ReadonlyArray<string>> => [
  ...(await ask(
    `SELECT 'session ' || s.session FROM parley_memory_sessions s LEFT JOIN (
       SELECT session, count(*) AS keys, sum(bytes) AS bytes FROM parley_memory_entries GROUP BY session
     ) e ON e.session = s.session WHERE e.session IS NULL OR s.keys <> e.keys OR s.bytes <> e.bytes`
  )),
  ...(await ask(
    "SELECT 'lost ' || session FROM parley_memory_entries WHERE session NOT IN (SELECT session FROM parley_memory_sessions)"
  )),
  ...(await ask(
    `SELECT 'holder ' || coalesce(h.holder, e.holder) FROM (
       SELECT holder, sum(sessions) AS sessions, sum(bytes) AS bytes FROM parley_memory_held GROUP BY holder
     ) h FULL JOIN (
       SELECT holder, count(DISTINCT session) AS sessions, sum(bytes) AS bytes
         FROM parley_memory_entries WHERE holder <> '' GROUP BY holder
       UNION ALL SELECT 'all', count(DISTINCT session), coalesce(sum(bytes), 0) FROM parley_memory_entries
       UNION ALL SELECT 'strangers', count(DISTINCT session || ' ' || holder), coalesce(sum(bytes), 0)
         FROM parley_memory_entries WHERE holder LIKE 'stranger:%'
     ) e ON e.holder = h.holder
     WHERE coalesce(h.sessions, 0) <> coalesce(e.sessions, 0) OR coalesce(h.bytes, 0) <> coalesce(e.bytes, 0)`
  ))
]

const FAR = 2 ** 50
/** As the version before wrote it: 300 sessions of one entry, one of a thousand, one that has expired. */
const before = (dialect: Migrations.Dialect): ReadonlyArray<string> => {
  const numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1000)"
  return [
    Migrations.record(dialect),
    ...Migrations.migrations
      .slice(0, 2)
      .flatMap(({ id, name, statements }) => [
        ...statements(dialect),
        `INSERT INTO parley_migrations (id, name, at) VALUES (${id}, '${name}', 0)`
      ]),
    `INSERT INTO parley_sessions ${numbers} SELECT 's' || n, n FROM n WHERE n <= 300`,
    `INSERT INTO parley_memory ${numbers} SELECT 's' || n, 'é', '"🦜' || n || '"', ${FAR} FROM n WHERE n <= 300`,
    "INSERT INTO parley_sessions VALUES ('full', 1), ('expired', 1)",
    `INSERT INTO parley_memory ${numbers} SELECT 'full', 'k' || n, CAST(n AS ${dialect.text}), ${FAR} FROM n`,
    "INSERT INTO parley_memory VALUES ('expired', 'k', '1', 1)"
  ]
}

const migrates = (database: Database) =>
  Effect.gen(function* () {
    // Two that start together.
    const [one, two] = yield* Effect.all([database.open(), database.open()], { concurrency: 2 })
    expect(yield* two.get("s7", "é")).toBe("🦜7")
    const all = yield* one.all("full")
    expect(Object.keys(all).length).toBe(1_000)
    expect(all["k1000"]).toBe(1_000)
    expect((yield* two.sessions({ limit: 1_000 })).length).toBe(301)
    expect(yield* Effect.promise(() => discrepancies(database))).toEqual([])
    const rows = (sql: string) => Effect.promise(() => database.ask(sql))
    expect(yield* rows("SELECT count(*) FROM parley_migrations WHERE id = 3")).toEqual(["1"])
    // It counts for nobody, but in all; and it can be replaced and removed as ever.
    expect(yield* rows("SELECT holder FROM parley_memory_held")).toEqual(["all"])
    expect(yield* one.set("s7", "é", 8, { writer: { id: "a", isStranger: true } })).toBe(undefined)
    expect(yield* two.set("full", "one more", 1)).toMatchObject({ of: "session", what: "keys" })
    yield* two.remove("full", "k1")
    yield* one.clear("s1")
    expect(yield* Effect.promise(() => discrepancies(database))).toEqual([])
    // What has expired makes room for one more.
    const few = yield* database.open({ ...BOUNDS, all: { sessions: 301, bytes: BOUNDS.all.bytes } })
    expect(yield* few.set("new", "k", 1)).toBe(undefined)
    expect(yield* few.set("newer", "k", 1)).toMatchObject({ of: "all", what: "sessions" })
  })

test(
  "SQLite: what stood there stays, is counted once, and is nobody's",
  async () => {
    const file = join(folder, "before.db")
    const raw = new DatabaseSync(file)
    for (const sql of before(Migrations.sqlite)) raw.exec(sql)
    raw.close()
    await Effect.runPromise(Effect.scoped(migrates(sqlite(file))))
  },
  TIMEOUT_MS
)
skipTest(Server.unavailable)(
  "PostgreSQL: what stood there stays, is counted once, and is nobody's",
  async () => {
    const url = await server.database()
    await server.sql(url, before(Migrations.postgres).join(";\n"))
    await Effect.runPromise(Effect.scoped(migrates(postgres(url))))
  },
  TIMEOUT_MS
)

skipTest(Server.unavailable)(
  "PostgreSQL: sums are right after two instances have written, removed and cleared at once",
  async () => {
    const random = fromSeed(seed)
    const database = postgres(await server.database())
    await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const instances = [yield* database.open(), yield* database.open()]
          const act = (n: number) => {
            const memory = instances[n % 2]!
            const [session, key] = [`s${random.int(6)}`, `k${random.int(5)}`]
            const writer = { id: `w${random.int(4)}`, isStranger: random.int(2) === 0 }
            const what = random.int(12)
            return what === 0
              ? memory.clear(session)
              : what < 4
                ? memory.remove(session, key)
                : memory.set(session, key, "v".repeat(random.int(99)), { writer, ttlMs: what === 4 ? 1 : 60_000 })
          }
          yield* Effect.all(
            Array.from({ length: 200 }, (_, n) => act(n)),
            { concurrency: 14, discard: true }
          )
          expect([seed, yield* Effect.promise(() => discrepancies(database))]).toEqual([seed, []])
        })
      )
    )
  },
  TIMEOUT_MS
)

test(
  "SQLite: killed while it writes, it has kept what it acknowledged, and its sums are right",
  async () => {
    const file = join(folder, "killed.db")
    const random = fromSeed(seed)
    const program = fileURLToPath(new URL("programs/remembering.ts", import.meta.url))
    /** What each key may be: what was acknowledged last, and what was tried after it. `undefined`: nothing. */
    const may = new Map<string, Array<number | undefined>>()
    for (let round = 0; round < 3; round++) {
      const [runtime, ...words] = command(program)
      const child = spawn(runtime, [...words, file, String(random.int(2 ** 31))], { stdio: ["ignore", "pipe", "pipe"] })
      let output = ""
      let errors = ""
      child.stderr.on("data", (chunk: Buffer) => void (errors += chunk.toString()))
      const enough = 30 + random.int(100)
      await new Promise<void>((resolve, reject) => {
        child.stdout.on("data", (chunk: Buffer) => {
          output += chunk.toString()
          if (output.split("\n").filter((line) => line.startsWith("ack ")).length > enough) child.kill("SIGKILL")
        })
        child.once("close", (_code, signal) =>
          signal === "SIGKILL" ? resolve() : reject(new Error(`It ended by itself (seed ${seed}): ${errors}`))
        )
      })
      for (const line of output.split("\n").slice(0, -1)) {
        const [what, session, key, value] = line.split(" ")
        const place = `${session} ${key}`
        const now = what === "ack" || what === "try" ? Number(value) : undefined
        may.set(place, what === "ack" || what === "gone" ? [now] : [...(may.get(place) ?? [undefined]), now])
      }
      const database = sqlite(file)
      await Effect.runPromise(
        Effect.scoped(
          Effect.gen(function* () {
            const memory = yield* database.open()
            for (const [place, values] of may) {
              const [session = "", key = ""] = place.split(" ")
              const value = (yield* memory.get(session, key)) as number | undefined
              expect([seed, place, values.includes(value)]).toEqual([seed, place, true])
              may.set(place, [value])
            }
          })
        )
      )
      expect([seed, await discrepancies(database)]).toEqual([seed, []])
    }
  },
  TIMEOUT_MS
)
