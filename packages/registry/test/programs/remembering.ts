/**
 * Writes to session memory as fast as it can until it is killed: `remembering.ts FILE SEED`. Prints `ack SESSION KEY VALUE` for
 * each write that was acknowledged, and `gone SESSION KEY` for each removal, before it begins the next one.
 */
import { fromSeed } from "@parley/core/testing/Seeded"
import { SessionMemory } from "@parley/registry/SessionMemory"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as Effect from "effect/Effect"
import { writeSync } from "node:fs"

const [file = "", seed = "1"] = process.argv.slice(2)
const random = fromSeed(Number(seed))
const say = (line: string) => writeSync(1, `${line}\n`)

const program = Effect.gen(function* () {
  const memory = yield* SessionMemory
  for (let n = 0; ; n++) {
    const [session, key] = [`s${random.int(20)}`, `k${random.int(10)}`]
    if (random.int(5) === 0) {
      // Said before as well: killed in between, it may be gone or not.
      say(`going ${session} ${key}`)
      yield* memory.remove(session, key)
      say(`gone ${session} ${key}`)
    } else {
      say(`try ${session} ${key} ${n}`)
      const writer = { id: `w${random.int(6)}`, isStranger: random.int(2) === 0 }
      const full = yield* memory.set(session, key, n, { writer })
      if (full === undefined) say(`ack ${session} ${key} ${n}`)
    }
    yield* Effect.yieldNow
  }
})

await Effect.runPromise(Effect.provide(program, StoreSqlite.layer(file)))
