import { afterAll, beforeAll, describe, expect } from "bun:test"
import { suite } from "@parley/registry/testing/StoreSuite"
import * as Store from "@parley/registry/Store"
import * as StorePostgres from "@parley/registry/StorePostgres"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../../test-support/Postgres.ts"
import { skipTest } from "../../../test-support/Skip.ts"

let server: Postgres.Postgres
beforeAll(async () => {
  if (Postgres.unavailable === undefined) server = await Postgres.start()
})
afterAll(async () => {
  if (Postgres.unavailable === undefined) await server.stop()
})

const open = (url: string, budget: Partial<Store.Bytes> = {}) =>
  Effect.map(Layer.build(StorePostgres.layer(Redacted.make(url), { budget })), (context) =>
    Context.get(context, Store.Store)
  )

suite(
  { describe, test: skipTest(Postgres.unavailable), expect },
  {
    name: "PostgreSQL",
    isShared: true,
    effort: 0.6,
    place: Effect.map(
      Effect.promise(() => server.database()),
      (url) => ({ open: open(url), openWith: (budget) => open(url, budget) })
    )
  }
)
