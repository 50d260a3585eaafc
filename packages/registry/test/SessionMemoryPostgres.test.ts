import { afterAll, beforeAll, describe, expect } from "bun:test"
import type { Bounds } from "@parley/registry/SessionMemory"
import * as SessionMemorySuite from "@parley/registry/testing/SessionMemorySuite"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Server from "../../../test-support/Postgres.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import * as MemoryPostgres from "../src/internal/MemoryPostgres.ts"
import * as Postgres from "../src/internal/Postgres.ts"

let server: Server.Postgres
beforeAll(async () => {
  if (Server.unavailable === undefined) server = await Server.start()
})
afterAll(async () => {
  if (Server.unavailable === undefined) await server.stop()
})

const open = (url: string) => (bounds?: Bounds) =>
  Effect.map(Postgres.open(Redacted.make(url)), (database) => MemoryPostgres.make(database, bounds))

SessionMemorySuite.suite(
  { describe, test: skipTest(Server.unavailable), expect },
  {
    name: "PostgreSQL",
    isShared: true,
    place: Effect.map(
      Effect.promise(() => server.database()),
      (url) => ({ open: open(url) })
    )
  }
)
