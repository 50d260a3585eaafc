/**
 * Appends to a store as fast as it can until it is killed: `appender.ts FILE-OR-URL SEED`. Prints `ack CURSOR` for each
 * acknowledged batch, before it begins the next one, and `lost CODE` where the store failed; it then loads again and goes on.
 */
import type { Event } from "@parley/registry/Event"
import { Store, type StoreError } from "@parley/registry/Store"
import * as StorePostgres from "@parley/registry/StorePostgres"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { randomFacts } from "@parley/registry/testing/StoreModel"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { writeSync } from "node:fs"

const [place = "", seed = "1"] = process.argv.slice(2)
const random = fromSeed(Number(seed))
const say = (line: string) => writeSync(1, `${line}\n`)

const isReport = ({ fact }: Event) => fact.type === "trust.changed"

const program = Effect.gen(function* () {
  const store = yield* Store
  const load = store.load.pipe(
    Effect.retry(Schedule.spaced(20)),
    Effect.map(({ link }) => link.seq)
  )
  let links = yield* load
  const once: Effect.Effect<void, StoreError> = Effect.gen(function* () {
    const claims = [`contested ${random.int(500)}`, ...Array.from({ length: 60 }, (_, n) => `report ${links + n}`)]
    const events = yield* store.append(claims, (missed, taken) => {
      links += missed.filter(isReport).length
      const facts = randomFacts(random, 1 + random.int(30), links)
      const reports = facts.filter(({ type }) => type === "trust.changed").length
      const contested = claims.slice(0, 1).filter((claim) => !taken.has(claim))
      return { facts, claims: [...contested, ...Array.from({ length: reports }, (_, n) => `report ${links + n}`)] }
    })
    links += events.filter(isReport).length
    say(`ack ${events.at(-1)?.cursor}`)
  })
  const again = (error: StoreError) =>
    Effect.gen(function* () {
      say(`lost ${error.code} ${error.detail}`)
      links = yield* load
    })
  say("begun")
  for (;;) {
    yield* Effect.catch(once, again)
    // Others get their turn, as in a registry that serves meanwhile.
    yield* Effect.yieldNow
  }
})

await Effect.runPromise(
  Effect.provide(program, place.includes("://") ? StorePostgres.layer(Redacted.make(place)) : StoreSqlite.layer(place))
)
