/** The file of a store in SQLite: who may read it, and what is no such file. */
import { afterAll, expect, test } from "bun:test"
import { Store } from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { traced } from "@parley/registry/testing/StoreModel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Sqlite from "../src/internal/Sqlite.ts"

const folder = mkdtempSync(join(tmpdir(), "parley-sqlite-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const open = (file: string) =>
  Effect.map(Layer.build(StoreSqlite.layer(file)), (context) => Context.get(context, Store))
const scoped = (name: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  test(name, () => Effect.runPromise(Effect.scoped(body)))

scoped(
  "the file is made for its owner alone, with its folder",
  Effect.gen(function* () {
    const file = join(folder, "deep", "er", "registry.db")
    const store = yield* open(file)
    yield* store.append([], () => ({ facts: [traced()], claims: [] }))
    const files = readdirSync(join(folder, "deep", "er"))
    expect(files.toSorted()).toEqual(["registry.db", "registry.db-shm", "registry.db-wal"])
    for (const each of files) expect(statSync(join(folder, "deep", "er", each)).mode & 0o077).toBe(0)
  })
)

scoped(
  "a commit is on the disk when it returns: WAL, synced every time",
  Effect.gen(function* () {
    const database = yield* Sqlite.open(join(folder, "synced.db"))
    expect(database.get("PRAGMA journal_mode")?.["journal_mode"]).toBe("wal")
    // 2 is FULL: https://www.sqlite.org/pragma.html#pragma_synchronous
    expect(database.get("PRAGMA synchronous")?.["synchronous"]).toBe(2)
  })
)

scoped(
  "the log beside the file is taken over before it is much longer than it may be, and not much earlier",
  Effect.gen(function* () {
    const file = join(folder, "log.db")
    const database = yield* Sqlite.open(file)
    const page = Number(database.get("PRAGMA page_size")?.["page_size"])
    const each = 512
    const most = Sqlite.CHECKPOINT_PAGES * page
    for (let n = 0; n < (2 * Sqlite.CHECKPOINT_PAGES) / each; n++) {
      yield* database.write("fill", () =>
        database.run("INSERT INTO parley_secrets VALUES (?, ?)", `${n}`, "x".repeat(each * page))
      )
    }
    // With the pages of a commit that point to those it fills; the log begins anew behind a checkpoint, and keeps its length.
    const length = statSync(`${file}-wal`).size
    expect([length > most, length < 1.25 * most]).toEqual([true, true])
    expect(statSync(file).size > most / 2).toBe(true)
  })
)

scoped(
  "what is no database is refused as corrupt, and stays as it was",
  Effect.gen(function* () {
    const file = join(folder, "letter.txt")
    writeFileSync(file, "Dear database, ".repeat(1_000))
    const refused = yield* Effect.flip(open(file))
    expect(refused.code).toBe("Corrupt")
    expect(statSync(file).size).toBe(15_000)
  })
)

scoped(
  "a path that cannot be opened is refused, and named",
  Effect.gen(function* () {
    const refused = yield* Effect.flip(open(join(folder, "letter.txt", "registry.db")))
    expect([refused.code, refused.operation.includes("letter.txt")]).toEqual(["Failed", true])
  })
)

scoped(
  "a file of a newer version is left alone",
  Effect.gen(function* () {
    const file = join(folder, "newer.db")
    yield* Effect.scoped(open(file))
    const raw = new DatabaseSync(file)
    raw.exec("INSERT INTO parley_migrations VALUES (1000, 'of tomorrow', 0)")
    raw.close()
    const refused = yield* Effect.flip(open(file))
    expect([refused.code, refused.detail.includes("migration 1000")]).toEqual(["Failed", true])
  })
)

scoped(
  "a commit waits for another process's, without standing still, and decides once",
  Effect.gen(function* () {
    const file = join(folder, "busy.db")
    const store = yield* open(file)
    const other = new DatabaseSync(file)
    other.exec("BEGIN IMMEDIATE")
    yield* Effect.forkScoped(
      Effect.andThen(
        Effect.sleep(100),
        Effect.sync(() => other.exec("COMMIT"))
      )
    )
    let calls = 0
    const events = yield* store.append([], () => {
      calls++
      return { facts: [traced()], claims: [] }
    })
    other.close()
    expect([calls, events.length]).toEqual([1, 1])
  })
)
