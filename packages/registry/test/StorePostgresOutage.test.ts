/** What becomes of a store in PostgreSQL when connections, or the server, are lost. */
import { afterAll, beforeAll, expect } from "bun:test"
import type { Fact } from "@parley/registry/Event"
import { Store, type StoreError } from "@parley/registry/Store"
import * as StorePostgres from "@parley/registry/StorePostgres"
import { registered, traced, trusted } from "@parley/registry/testing/StoreModel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import * as Postgres from "../../../test-support/Postgres.ts"
import { skipTest } from "../../../test-support/Skip.ts"

let server: Postgres.Postgres
beforeAll(async () => {
  if (Postgres.unavailable === undefined) server = await Postgres.start()
})
afterAll(async () => {
  if (Postgres.unavailable === undefined) await server.stop()
})

const open = (url: string) =>
  Effect.map(Layer.build(StorePostgres.layer(Redacted.make(url))), (context) => Context.get(context, Store))
const write = (store: Store["Service"], ...facts: ReadonlyArray<Fact>) =>
  store.append(["claim"], (_, taken) => ({ facts, claims: taken.size === 0 ? ["claim"] : [] }))
const codeOf = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.match(effect, { onFailure: ({ code }) => code, onSuccess: () => "it succeeded" })
const law = (name: string, body: (url: string) => Effect.Effect<void, unknown, Scope.Scope>) =>
  skipTest(Postgres.unavailable)(
    name,
    async () => Effect.runPromise(Effect.scoped(body(await server.database()))),
    30_000
  )

/** Codes of what a client sends before it says who it is: asking for TLS, and for GSS. */
const ASKS_FOR_CIPHER = new Set([80_877_103, 80_877_104])

/** Puts together again what a client sends as whole requests: whatever the network made of it, each ends with what asks for an answer. */
const byRequest = (take: (request: Buffer) => void) => {
  let [rest, request, isStarted] = [Buffer.alloc(0), Buffer.alloc(0), false]
  return (data: Buffer): void => {
    rest = Buffer.concat([rest, data])
    for (;;) {
      // All but the first messages have a letter before their length.
      const letter = isStarted ? 1 : 0
      if (rest.length < letter + 4) return
      const end = letter + rest.readInt32BE(letter)
      if (rest.length < end) return
      const [message, type] = [rest.subarray(0, end), String.fromCharCode(rest[0]!)]
      rest = rest.subarray(end)
      request = Buffer.concat([request, message])
      if (isStarted && !"SQXp".includes(type)) continue
      isStarted ||= !ASKS_FOR_CIPHER.has(message.readInt32BE(4))
      take(request)
      request = Buffer.alloc(0)
    }
  }
}

/** A wire to the server that can be cut: each request of a client goes through `send`, which passes it on, or not. */
const wire = (url: string, send: (data: Buffer, pass: (data: Buffer) => void, cut: () => void) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      const proxy = createServer((client) => {
        const upstream = connect(Number(new URL(url).port), "127.0.0.1")
        const cut = () => {
          client.destroy()
          upstream.end()
        }
        for (const socket of [client, upstream]) sockets.add(socket.on("error", cut).on("close", cut))
        client.on(
          "data",
          byRequest((request) => send(request, (passed) => void upstream.write(passed), cut))
        )
        upstream.on("data", (data) => void (client.destroyed || client.write(data)))
      })
      await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve))
      const through = new URL(url)
      through.port = String((proxy.address() as AddressInfo).port)
      return { url: through.href, proxy, sockets }
    }),
    ({ proxy, sockets }) =>
      Effect.promise(async () => {
        for (const socket of sockets) socket.destroy()
        await new Promise<void>((resolve) => proxy.close(() => resolve()))
      })
  )

law("while the server is down everything fails as Unavailable, and works again when it is back", (url) =>
  Effect.gen(function* () {
    const store = yield* open(url)
    yield* write(store, registered("a"))
    for (const signal of ["SIGQUIT", "SIGINT"] as const) {
      yield* Effect.promise(() => server.end(signal))
      expect(yield* codeOf(write(store, traced()))).toBe("Unavailable")
      expect(yield* codeOf(store.load)).toBe("Unavailable")
      expect(yield* codeOf(store.eventsAfter(0, 10))).toBe("Unavailable")
      expect(yield* codeOf(store.trim({ events: 0, traces: 0 }))).toBe("Unavailable")
      yield* Effect.promise(() => server.begin())
      expect((yield* store.load).agents.length).toBe(1)
      // A new connection, and the one that was broken while it lay in the pool.
      yield* Effect.promise(async () => {
        await server.end("SIGQUIT")
        await server.begin()
      })
      const { cursor } = yield* store.load
      expect((yield* write(store, traced(), traced())).map((event) => event.cursor)).toEqual([cursor + 1, cursor + 2])
    }
  })
)

law("a registry that begins before its database waits for it", (url) =>
  Effect.gen(function* () {
    yield* Effect.promise(() => server.end())
    const opening = yield* Effect.forkScoped(Effect.flatMap(open(url), (store) => store.bounds))
    yield* Effect.sleep(300)
    expect(opening.pollUnsafe()).toBe(undefined)
    yield* Effect.promise(() => server.begin())
    expect(yield* Fiber.join(opening)).toEqual({ first: 1, last: 0 })
  })
)

// The notification is the last statement before COMMIT, and names its channel.
for (const arrives of [true, false])
  law(
    `a connection cut at COMMIT: ${arrives ? "it was committed, and succeeds" : "nothing stands, and it fails"}`,
    (url) =>
      Effect.gen(function* () {
        const state = { isArmed: false, isCommit: false, cuts: 0 }
        const { url: through } = yield* wire(url, (data, pass, cut) => {
          if (state.isCommit) {
            state.isCommit = false
            state.cuts++
            if (arrives) pass(data)
            return cut()
          }
          if (state.isArmed && data.includes("parley_news")) {
            state.isArmed = false
            state.isCommit = true
          }
          pass(data)
        })
        const store = yield* open(through)
        yield* store.load
        yield* write(store, registered("a"))
        state.isArmed = true
        const code = yield* codeOf(write(store, registered("b"), trusted(0)))
        expect([state.cuts, code]).toEqual([1, arrives ? "it succeeded" : "Unavailable"])
        const { agents, cursor, link } = yield* store.load
        expect([agents.length, cursor, link.seq]).toEqual(arrives ? [2, 3, 1] : [1, 1, 0])
        expect((yield* write(store, traced())).map((event) => event.cursor)).toEqual([cursor + 1])
      })
  )

law("news comes when another instance has committed, and not for one's own", (url) =>
  Effect.gen(function* () {
    const [me, other] = [yield* open(url), yield* open(url)]
    yield* me.load
    // What it begins with, and what the clock brings.
    yield* me.news
    yield* me.news
    const tookMs: Array<number> = []
    for (let round = 0; round < 5; round++) {
      const started = performance.now()
      const told = yield* Effect.forkScoped(me.news)
      yield* Effect.yieldNow
      yield* write(other, traced())
      yield* Fiber.join(told)
      tookMs.push(performance.now() - started)
    }
    // The best of five, since other work on the machine may hold one up; the clock alone would bring none of them sooner.
    expect(Math.min(...tookMs)).toBeLessThan(StorePostgres.NEWS_MS * 0.8)
    let missed = 0
    yield* me.append([], (events) => {
      missed = events.length
      return { facts: [], claims: [] }
    })
    expect(missed).toBe(tookMs.length)
    const still = yield* Effect.forkScoped(me.news)
    yield* write(me, traced())
    expect(still.pollUnsafe()).toBe(undefined)
  })
)

law("a database in an encoding that cannot hold every text is refused, with a reason", () =>
  Effect.gen(function* () {
    const postgres = `postgres://parley@127.0.0.1:${server.port}/postgres`
    yield* Effect.promise(() =>
      server.sql(postgres, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    )
    const refused = yield* Effect.flip(open(`postgres://parley@127.0.0.1:${server.port}/latin`))
    expect([refused.code, refused.detail]).toEqual(["Failed", "its encoding is LATIN1: make it with ENCODING 'UTF8'"])
  })
)

law("a database of a newer version is left alone", (url) =>
  Effect.gen(function* () {
    yield* Effect.scoped(open(url))
    yield* Effect.promise(() => server.sql(url, "INSERT INTO parley_migrations VALUES (1000, 'of tomorrow', 0)"))
    const refused = yield* Effect.flip(open(url))
    expect([refused.code, refused.detail.includes("migration 1000")]).toEqual(["Failed", true])
  })
)
