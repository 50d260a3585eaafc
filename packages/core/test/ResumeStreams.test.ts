/** Verifies: a stream or a subscription whose connection breaks goes on where it was: no gap, no repeat. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Envelope from "../src/internal/Envelope.ts"
import { meet, run, until } from "./mesh.ts"
import { Count, cut, numbers, resumingPair } from "./resuming.ts"
import { read, requestOf } from "./wire.ts"

const Bytes = Capability.stream("work.bytes", { version: "1.0.0", input: Schema.Int, output: Schema.Uint8Array })

describe("a stream whose connection breaks", () => {
  test(
    "goes on where it was: no gap, no repeat",
    () =>
      run(
        Effect.gen(function* () {
          const { ada, bob } = yield* resumingPair()
          yield* ada.serve(Count, numbers)
          const seen: Array<number> = []
          let cuts = 0
          yield* Stream.runForEach(bob.stream(Count, 3_000), (n) =>
            Effect.sync(() => {
              seen.push(n)
              if (n % 100 === 50) cuts += cut(n % 200 === 50 ? bob : ada)
            })
          )
          expect(seen).toEqual(Array.from({ length: 3_000 }, (_, n) => n))
          expect(cuts).toBeGreaterThan(10)
        })
      ),
    30_000
  )

  test(
    "gives its end again, and what came before it",
    () =>
      run(
        Effect.gen(function* () {
          const { ada, bob } = yield* resumingPair()
          yield* ada.serve(Count, (count) => Stream.range(0, count - 1))
          for (let round = 0; round < 20; round++) {
            const seen: Array<number> = []
            yield* Stream.runForEach(bob.stream(Count, 1_000 + round), (n) =>
              Effect.sync(() => {
                if (seen.push(n) === 1) cut(bob)
              })
            )
            expect(seen).toEqual(Array.from({ length: 1_000 + round }, (_, n) => n))
          }
        })
      ),
    30_000
  )

  test("of bytes gives what they were, though their maker writes into them again", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        const shared = new Uint8Array(20_000)
        yield* ada.serve(Bytes, (count) => numbers(count).pipe(Stream.map((n) => shared.fill(n))))
        const seen: Array<string> = []
        yield* Stream.runForEach(bob.stream(Bytes, 200), (bytes) =>
          Effect.sync(() => {
            const n = seen.push(`${bytes.length} ${bytes[0]} ${bytes.every((byte) => byte === bytes[0])}`)
            if (n % 20 === 10) cut(n % 40 === 10 ? bob : ada)
          })
        )
        expect(seen).toEqual(Array.from({ length: 200 }, (_, n) => `20000 ${n} true`))
      })
    ))

  test("comes to its end while its agent drains", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        yield* ada.serve(Count, numbers)
        const seen: Array<number> = []
        yield* Stream.runForEach(bob.stream(Count, 500), (n) =>
          Effect.gen(function* () {
            if (seen.push(n) === 1) yield* Effect.forkDetach(ada.drain)
          })
        )
        expect(seen).toEqual(Array.from({ length: 500 }, (_, n) => n))
      })
    ))

  test("holds its producer while nobody reads, and lets it go on", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* resumingPair()
        let made = 0
        yield* ada.serve(Count, (count) => numbers(count).pipe(Stream.tap(() => Effect.sync(() => void made++))))
        const stranger = yield* mesh.stranger()
        const asked = requestOf({ capability: Count.id, stream: true })
        const reader = read(yield* meet(stranger, ada), Envelope.encodeRequest(asked), "5000")
        yield* until(
          "some came",
          Effect.sync(() => reader.numbers().length >= 10)
        )
        reader.connection.close("cut by a test")
        const before = made
        let last = made
        let turns = 0
        yield* until(
          "the producer stands still",
          Effect.sync(() => {
            turns = made === last ? turns + 1 : 0
            last = made
            return turns === 100
          })
        )
        expect(made - before).toBeLessThan(600)
        const again = read(yield* meet(stranger, ada), Envelope.encodeResume(asked, reader.numbers().length))
        yield* until(
          "it is at its end",
          Effect.sync(() => again.ended())
        )
        expect([...reader.numbers(), ...again.numbers()]).toEqual(Array.from({ length: 5_000 }, (_, n) => n))
      })
    ))
})

describe("a subscription whose connection breaks", () => {
  test("is made again, and so is the connection", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* resumingPair()
        yield* meet(bob, ada)
        let heard = 0
        yield* Effect.forkChild(Stream.runForEach(bob.subscribe("news"), () => Effect.sync(() => void heard++)))
        for (let n = 0; n < 3; n++) {
          yield* until(
            "it is told to the subscriber",
            Effect.map(Effect.orDie(ada.publish("news", n)), (handed) => handed === 1)
          )
          expect(cut(n === 1 ? ada : bob)).toBe(1)
        }
        // What is on its way when a connection breaks is lost, as topics have it; what comes later is not.
        const before = heard
        yield* until(
          "the next one is heard",
          Effect.andThen(
            Effect.orDie(ada.publish("news", 3)),
            Effect.sync(() => heard > before)
          )
        )
      })
    ))
})
