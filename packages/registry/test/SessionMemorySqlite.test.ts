import { afterAll, describe, expect, test } from "bun:test"
import type { Bounds } from "@parley/registry/SessionMemory"
import * as SessionMemorySuite from "@parley/registry/testing/SessionMemorySuite"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as MemorySqlite from "../src/internal/MemorySqlite.ts"
import * as Sqlite from "../src/internal/Sqlite.ts"

const folder = mkdtempSync(join(tmpdir(), "parley-memory-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const open = (file: string) => (bounds?: Bounds) =>
  Effect.map(Sqlite.open(file), (database) => MemorySqlite.make(database, bounds))

SessionMemorySuite.suite(
  { describe, test, expect },
  {
    name: "SQLite, in a file",
    isShared: true,
    place: Effect.sync(() => ({ open: open(join(folder, `${++files}`)) }))
  }
)
SessionMemorySuite.suite(
  { describe, test, expect },
  { name: "SQLite, in memory", isShared: false, place: Effect.succeed({ open: open(":memory:") }) }
)
