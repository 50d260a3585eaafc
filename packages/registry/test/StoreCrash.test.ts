/**
 * Instances that are killed (SIGKILL) while they write, again and again, and a database server that is killed under them: what
 * was acknowledged is there. `PARLEY_CRASH_ROUNDS` says how often; 10 times where absent.
 */
import { expect } from "bun:test"
import { fromSeed, type Seeded } from "@parley/core/testing/Seeded"
import type { Event } from "@parley/registry/Event"
import { Store } from "@parley/registry/Store"
import * as StorePostgres from "@parley/registry/StorePostgres"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import { comparable, StoreModel } from "@parley/registry/testing/StoreModel"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as Postgres from "../../../test-support/Postgres.ts"
import { command } from "../../../test-support/Runtime.ts"
import { skipTest } from "../../../test-support/Skip.ts"

const ROUNDS = Number(process.env["PARLEY_CRASH_ROUNDS"] ?? 10)
const seed = Number(process.env["PARLEY_SEED"] ?? Date.now() % 1_000_000)
const TIMEOUT_MS = 60_000 + ROUNDS * 5_000
const program = fileURLToPath(new URL("programs/appender.ts", import.meta.url))

/** An instance that writes, and what it has said. */
const appender = (place: string, random: Seeded) => {
  const [runtime, ...words] = command(program)
  const child = spawn(runtime, [...words, place, String(random.int(2 ** 31))], { stdio: ["ignore", "pipe", "pipe"] })
  const lines: Array<string> = []
  let rest = ""
  let error = ""
  const waiting = new Set<() => void>()
  child.stdout.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split("\n")
    rest = parts.pop() ?? ""
    lines.push(...parts)
    for (const look of waiting) look()
  })
  child.stderr.on("data", (chunk: Buffer) => void (error += chunk.toString()))
  let hasEnded = false
  const ended = new Promise<void>((resolve) => {
    // `close`: its output has been read to the end.
    child.once("close", () => {
      hasEnded = true
      resolve()
      for (const look of waiting) look()
    })
  })
  return {
    lines,
    last: () => Math.max(0, ...lines.flatMap((line) => (line.startsWith("ack ") ? [Number(line.slice(4))] : []))),
    /** Waits until it has said something. */
    until: (holds: (lines: ReadonlyArray<string>) => boolean) =>
      new Promise<void>((resolve, reject) => {
        const look = () => {
          if (holds(lines)) resolve()
          else if (hasEnded) reject(new Error(`the appender ended by itself (seed ${seed}): ${error}`))
          else return
          waiting.delete(look)
        }
        waiting.add(look)
        look()
      }),
    kill: async () => {
      child.kill("SIGKILL")
      await ended
    }
  }
}

const acks = (lines: ReadonlyArray<string>) => lines.filter((line) => line.startsWith("ack ")).length
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Everything that must hold of a store in which all up to `acknowledged` was acknowledged. */
const verify = (acknowledged: number) =>
  Effect.gen(function* () {
    const store = yield* Store
    const snapshot = yield* store.load
    const events: Array<Event> = []
    for (;;) {
      const page = yield* store.eventsAfter(events.length, 5_000)
      if (page.length === 0) break
      events.push(...page)
    }
    const model = new StoreModel()
    model.add(events)
    expect([seed, snapshot.cursor >= acknowledged]).toEqual([seed, true])
    expect(events.length).toBe(snapshot.cursor)
    expect(events.every(({ cursor }, index) => cursor === index + 1)).toBe(true)
    // All that is derived from events stands and falls with them.
    expect(comparable(snapshot)).toEqual(model.snapshot())
    const links = snapshot.link.seq
    expect((yield* store.chain(0, 50_000)).map(({ seq }) => seq)).toEqual(
      Array.from({ length: Math.min(links, 50_000) }, (_, n) => n + 1)
    )
    const claims = Array.from({ length: links + 100 }, (_, n) => `report ${n}`)
    yield* store.append(claims, (missed, taken) => {
      expect(missed).toEqual([])
      expect(claims.filter((claim) => taken.has(claim))).toEqual(claims.slice(0, links))
      return { facts: [], claims: [] }
    })
    expect((yield* store.traces({ limit: 50 })).map(({ cursor }) => cursor)).toEqual(
      model.traces({ limit: 50 }).map(({ cursor }) => cursor)
    )
    return snapshot.cursor
  })

/** No room for anything: what retention then leaves was counted wrong. */
const NOTHING = { budget: { events: 0, traces: 0, verdicts: 0 } }
/** The sums of bytes stand and fall with what they count. */
const counted = Effect.gen(function* () {
  const store = yield* Store
  const { events, traces, verdicts } = yield* store.kept
  expect([events > 0, traces > 0, verdicts > 0]).toEqual([true, true, true])
  yield* store.trim({ events: 0, traces: 0 })
  expect([seed, yield* store.kept]).toEqual([seed, NOTHING.budget])
  const { first, last } = yield* store.bounds
  expect([first, (yield* store.traces({ limit: 1 })).length, (yield* store.verdicts({ limit: 1 })).length]).toEqual([
    last + 1,
    0,
    0
  ])
})

skipTest(undefined)(
  `SQLite: nothing acknowledged is lost by ${ROUNDS} kills under load`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "parley-crash-"))
    const file = join(folder, "registry.db")
    const random = fromSeed(seed)
    try {
      let before = 0
      for (let round = 0; round < ROUNDS; round++) {
        const child = appender(file, random)
        const enough = random.int(20)
        await child.until((lines) => acks(lines) > enough)
        await pause(random.int(60))
        await child.kill()
        expect(child.last() > before).toBe(true)
        before = await Effect.runPromise(Effect.provide(verify(child.last()), StoreSqlite.layer(file)))
      }
      await Effect.runPromise(Effect.provide(counted, StoreSqlite.layer(file, NOTHING)))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
  TIMEOUT_MS
)

skipTest(Postgres.unavailable)(
  `PostgreSQL: nothing acknowledged is lost by ${ROUNDS} kills of one of two instances`,
  async () => {
    const server = await Postgres.start()
    const random = fromSeed(seed)
    try {
      const url = await server.database()
      const other = appender(url, random)
      await other.until((lines) => acks(lines) > 0)
      let acknowledged = 0
      for (let round = 0; round < ROUNDS; round++) {
        const child = appender(url, random)
        const enough = random.int(10)
        await child.until((lines) => acks(lines) > enough)
        await pause(random.int(60))
        await child.kill()
        acknowledged = Math.max(acknowledged, child.last())
        // The one that lives is not held up by the one that died.
        const said = acks(other.lines)
        await other.until((lines) => acks(lines) > said + 2)
      }
      await other.kill()
      expect(other.lines.filter((line) => line.startsWith("lost"))).toEqual([])
      await Effect.runPromise(
        Effect.provide(verify(Math.max(acknowledged, other.last())), StorePostgres.layer(Redacted.make(url)))
      )
      await Effect.runPromise(Effect.provide(counted, StorePostgres.layer(Redacted.make(url), NOTHING)))
    } finally {
      await server.stop()
    }
  },
  TIMEOUT_MS
)

skipTest(Postgres.unavailable)(
  "PostgreSQL: instances come back by themselves when the server was killed, and nothing acknowledged is lost",
  async () => {
    const server = await Postgres.start()
    const random = fromSeed(seed)
    try {
      const url = await server.database()
      const children = [appender(url, random), appender(url, random)]
      for (let round = 0; round < 3; round++) {
        for (const child of children) {
          const said = acks(child.lines)
          await child.until((lines) => acks(lines) > said + 3)
        }
        const before = children.map(({ lines }) => lines.length)
        await server.end(round === 1 ? "SIGKILL" : "SIGQUIT")
        await Promise.all(
          children.map((child, n) =>
            child.until((lines) => lines.slice(before[n]).some((line) => line.startsWith("lost")))
          )
        )
        await server.begin()
      }
      for (const child of children) {
        const said = acks(child.lines)
        await child.until((lines) => acks(lines) > said + 3)
      }
      for (const child of children) await child.kill()
      const losses = children.flatMap(({ lines }) => lines.filter((line) => line.startsWith("lost")))
      expect(losses.filter((line) => !line.startsWith("lost Unavailable"))).toEqual([])
      await Effect.runPromise(
        Effect.provide(
          verify(Math.max(...children.map((child) => child.last()))),
          StorePostgres.layer(Redacted.make(url))
        )
      )
      await Effect.runPromise(Effect.provide(counted, StorePostgres.layer(Redacted.make(url), NOTHING)))
    } finally {
      await server.stop()
    }
  },
  TIMEOUT_MS
)
