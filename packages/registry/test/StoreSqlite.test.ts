import { afterAll, describe, expect, test } from "bun:test"
import { SessionMemory } from "@parley/registry/SessionMemory"
import * as SessionMemorySuite from "@parley/registry/testing/SessionMemorySuite"
import { suite } from "@parley/registry/testing/StoreSuite"
import * as Store from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"

const folder = mkdtempSync(join(tmpdir(), "parley-store-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const open = (file: string, budget: Partial<Store.Bytes> = {}) =>
  Effect.map(Layer.build(StoreSqlite.layer(file, { budget })), (context) => Context.get(context, Store.Store))

suite(
  { describe, test, expect },
  {
    name: "SQLite, in a file",
    isShared: true,
    place: Effect.sync(() => {
      const file = join(folder, `${++files}`, "registry.db")
      return { open: open(file), openWith: (budget) => open(file, budget) }
    })
  }
)
suite(
  { describe, test, expect },
  {
    name: "SQLite, in memory",
    isShared: false,
    place: Effect.succeed({ open: open(":memory:"), openWith: (budget) => open(":memory:", budget) })
  }
)

const openMemory = (file: string) =>
  Effect.map(Layer.build(StoreSqlite.layer(file)), (context) => Context.get(context, SessionMemory))
/** As `set` would have written it, one millisecond after the other. */
const crowd = (file: string) => (sessions: number) =>
  Effect.sync(() => {
    const database = new DatabaseSync(file)
    const numbers = `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${sessions})`
    database.exec(`${numbers} INSERT INTO parley_sessions SELECT 'crowd' || n, n FROM n`)
    database.exec(`${numbers} INSERT INTO parley_memory SELECT 'crowd' || n, 'k', CAST(n AS TEXT), ${2 ** 50} FROM n`)
    database.close()
  })

SessionMemorySuite.suite(
  { describe, test, expect },
  {
    name: "SQLite, in a file",
    isShared: true,
    crowds: true,
    place: Effect.sync(() => {
      const file = join(folder, `${++files}`)
      return { open: openMemory(file), crowd: crowd(file) }
    })
  }
)
SessionMemorySuite.suite(
  { describe, test, expect },
  { name: "SQLite, in memory", isShared: false, crowds: false, place: Effect.succeed({ open: openMemory(":memory:") }) }
)
