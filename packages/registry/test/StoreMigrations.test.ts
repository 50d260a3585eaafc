/** Verifies: what becomes of a database that an earlier version has written. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { Store } from "@parley/registry/Store"
import * as StorePostgres from "@parley/registry/StorePostgres"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Postgres from "../../../test-support/Postgres.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import * as Migrations from "../src/internal/Migrations.ts"

const folder = mkdtempSync(join(tmpdir(), "parley-migrations-"))
let server: Postgres.Postgres
beforeAll(async () => {
  if (Postgres.unavailable === undefined) server = await Postgres.start()
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  if (Postgres.unavailable === undefined) await server.stop()
})

/** The tables as the first version made them, with three events: a trace, a verdict, and a status. */
const first = (dialect: Migrations.Dialect): ReadonlyArray<string> => {
  const trace = JSON.stringify({ trace_id: "t", task_id: "tåsk", payload: "🦜é" })
  const verdict = JSON.stringify({ task: "tåsk", publishedBy: "ada", question: "ü".repeat(1_000), certificate: {} })
  return [
    Migrations.record(dialect),
    ...Migrations.migrations[0]!.statements(dialect),
    "INSERT INTO parley_migrations (id, name, at) VALUES (1, 'the first', 0)",
    `INSERT INTO parley_events VALUES (1, 5, 'trace', '{"type":"trace","trace":${trace}}')`,
    `INSERT INTO parley_events VALUES (2, 6, 'verdict', '{"type":"verdict","verdict":${verdict}}')`,
    `INSERT INTO parley_events VALUES (3, 7, 'status.changed', '{"type":"status.changed"}')`,
    `INSERT INTO parley_traces VALUES (1, 5, 5, 'tåsk', 'ädä', '🦜', 'accepted', '${trace}')`,
    `INSERT INTO parley_verdicts VALUES (2, 6, 'tåsk', '${verdict}')`,
    "UPDATE parley_log SET cursor = 3"
  ]
}

/** What stood there counts, and goes as what comes. */
const law = (layer: (budget: { verdicts?: number }) => Layer.Layer<Store, unknown>) => {
  const withStore = <A>(budget: { verdicts?: number }, body: Effect.Effect<A, unknown, Store>) =>
    Effect.runPromise(Effect.provide(body, layer(budget)))
  const emptied = Effect.gen(function* () {
    const store = yield* Store
    const later = (yield* Clock.currentTimeMillis) + 60_000
    yield* store.trim({ events: later, traces: later })
    return yield* store.kept
  })
  return async () => {
    const published = { task: "new", capability: "sum", publishedBy: "ada", question: 1, certificate: {} }
    const kept = await withStore(
      {},
      Effect.gen(function* () {
        const store = yield* Store
        yield* store.load
        const before = yield* store.kept
        yield* store.append([], () => ({ facts: [{ type: "verdict", verdict: published }], claims: [] }))
        expect((yield* store.verdicts({ limit: 10 })).map(({ task }) => task)).toEqual(["new", "tåsk"])
        return before
      })
    )
    expect([kept.events > 2_300, kept.traces > 300, kept.verdicts > 2_000]).toEqual([true, true, true])
    const { verdicts, ...rest } = await withStore({}, emptied)
    expect([rest, verdicts > kept.verdicts]).toEqual([{ events: 0, traces: 0 }, true])
    expect(await withStore({ verdicts: 0 }, emptied)).toEqual({ events: 0, traces: 0, verdicts: 0 })
  }
}

test("SQLite: events, traces and verdicts of before are counted", async () => {
  const file = join(folder, "first.db")
  const database = new DatabaseSync(file)
  for (const sql of first(Migrations.sqlite)) database.exec(sql)
  database.close()
  await law((budget) => StoreSqlite.layer(file, { budget }))()
})

skipTest(Postgres.unavailable)("PostgreSQL: events, traces and verdicts of before are counted", async () => {
  const url = await server.database()
  await server.sql(url, first(Migrations.postgres).join(";\n"))
  await law((budget) => StorePostgres.layer(Redacted.make(url), { budget }))()
})

test("whoever has no verdict left is not remembered as a publisher", async () => {
  const file = join(folder, "publishers.db")
  await Effect.runPromise(
    Effect.provide(
      Effect.gen(function* () {
        const store = yield* Store
        for (let n = 0; n < 50; n++) {
          const verdict = { task: "t", capability: "sum", publishedBy: `${n}`, question: 1, certificate: {} }
          yield* store.append([], () => ({ facts: [{ type: "verdict", verdict }], claims: [] }))
        }
      }),
      StoreSqlite.layer(file, { budget: { verdicts: 2_000 } })
    )
  )
  const database = new DatabaseSync(file)
  const [counted] = database.prepare("SELECT count(*) AS publishers, sum(bytes) AS bytes FROM parley_publishers").all()
  const [stored] = database.prepare("SELECT count(*) AS verdicts FROM parley_verdicts").all()
  const [log] = database.prepare("SELECT verdicts AS bytes FROM parley_log").all()
  database.close()
  expect([counted!["publishers"], counted!["bytes"]]).toEqual([stored!["verdicts"], log!["bytes"]])
})
