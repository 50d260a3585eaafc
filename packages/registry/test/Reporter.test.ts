import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import * as Client from "../src/Client.ts"
import { Outbox } from "../src/internal/Outbox.ts"
import * as Reporter from "../src/Reporter.ts"
import { freePort } from "../../../test-support/Throwaway.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.provideService(effect, References.MinimumLogLevel, "None")))

const trace = (task: number): Reporter.Trace => ({
  task_id: String(task),
  event_type: "request_sent",
  from_agent: "a",
  to_agent: "b",
  payload: {}
})

describe("Outbox", () => {
  test("keeps the newest, in order, and counts what it gave up", () => {
    const outbox = new Outbox<number>(16)
    for (let n = 0; n < 1_000; n++) outbox.push(n)
    expect(outbox.length).toBeLessThan(19)
    expect(outbox.length + outbox.dropped).toBe(1_000)
    const taken = outbox.take(100)
    expect(taken).toEqual([...taken].sort((a, b) => a - b))
    expect(taken.at(-1)).toBe(999)
    outbox.push(1_000)
    outbox.putBack(taken.slice(-2))
    expect(outbox.take(3)).toEqual([998, 999, 1_000])
  })

  test("is bounded by size as well, but for one item", () => {
    const outbox = new Outbox<string>(100, 10, (text) => text.length)
    for (const text of ["aaaa", "bbbb", "cccc"]) outbox.push(text)
    expect(outbox.take(9)).toEqual(["bbbb", "cccc"])
    outbox.push("x".repeat(50))
    expect(outbox.length).toBe(1)
    outbox.push("y")
    expect(outbox.take(9)).toEqual(["y"])
    expect(outbox.dropped).toBe(2)
  })

  test("waits until something is there", () =>
    run(
      Effect.gen(function* () {
        const outbox = new Outbox<number>(4)
        const waiter = yield* Effect.forkChild(outbox.some, { startImmediately: true })
        expect(waiter.pollUnsafe()).toBe(undefined)
        outbox.push(1)
        yield* outbox.some
        expect(outbox.take(1)).toEqual([1])
      })
    ))
})

describe("a reporter whose registry is away", () => {
  test(
    "holds a bounded number, slows nobody, and lets its scope close at once",
    () =>
      run(
        Effect.gen(function* () {
          const port = yield* Effect.promise(freePort)
          const layer = Reporter.layer.pipe(
            Layer.provide(Client.layer({ at: `http://127.0.0.1:${port}` })),
            Layer.provide(Identity.layerEphemeral)
          )
          const began = yield* Effect.scoped(
            Effect.gen(function* () {
              const reporter = Context.get(yield* Layer.build(layer), Reporter.Reporter)
              const told = 50_000
              const before = performance.now()
              for (let task = 0; task < told; task++) reporter.trace(trace(task))
              expect((performance.now() - before) / told).toBeLessThan(0.2)
              while (!reporter.status().away) yield* Effect.yieldNow
              const { dropped, lastError, told: taken, waiting } = reporter.status()
              expect(taken).toBe(0)
              expect(waiting.traces).toBeLessThan(Reporter.MAX_TRACES * 1.2)
              expect(waiting.traces + dropped).toBe(told)
              expect(lastError?.code).toBe("Unreachable")
              return performance.now()
            })
          )
          expect(performance.now() - began).toBeLessThan(Reporter.FLUSH_MS)
        })
      ),
    30_000
  )
})
