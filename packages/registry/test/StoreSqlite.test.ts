import { afterAll, describe, expect, test } from "bun:test"
import { suite } from "@parley/registry/testing/StoreSuite"
import * as Store from "@parley/registry/Store"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

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
