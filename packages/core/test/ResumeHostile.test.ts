/** Verifies: nobody goes on with a task that is not his, and whoever breaks connections on purpose gains nothing by it. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Protocol from "@parley/core/Protocol"
import { type Connection, ResetCode, type Stream as PeerStream } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Envelope from "../src/internal/Envelope.ts"
import { TaskId } from "../src/internal/TaskId.ts"
import { addressOf, meet, reasonOf, run, until } from "./mesh.ts"
import { Count, resumingPair, Work } from "./resuming.ts"
import { ignore, read, requestMessage, requestOf } from "./wire.ts"

describe("whoever asks to go on with a task", () => {
  test("has to be who placed it, of the same kind, and at a chunk that is there", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* resumingPair()
        yield* ada.serve(Count, (count) => Stream.concat(Stream.range(0, count - 1), Stream.never))
        const [owner, thief] = [yield* mesh.stranger(), yield* mesh.stranger()]
        const asked = requestOf({ capability: "work.count@1.0.0", stream: true })
        const first = read(yield* meet(owner, ada), Envelope.encodeRequest(asked), "10")
        yield* until(
          "ten came",
          Effect.sync(() => first.numbers().length === 10)
        )
        for (const attempt of [
          { by: thief, message: Envelope.encodeResume(asked, 0) },
          { by: thief, message: Envelope.encodeResume(asked, 10) },
          { by: owner, message: Envelope.encodeResume(asked, 11) },
          { by: owner, message: Envelope.encodeResume(asked, 2 ** 52) },
          { by: owner, message: Envelope.encodeResume({ ...asked, stream: false }, 0) },
          { by: owner, message: Envelope.encodeResume({ ...asked, task: new TaskId(9, 9, 9, 9) }, 0) }
        ]) {
          const reader = read(yield* meet(attempt.by, ada), attempt.message)
          yield* until(
            "it is refused",
            Effect.sync(() => reader.rejected().length === 1)
          )
          expect(reader.rejected()).toEqual(["UnknownTask"])
          expect(reader.numbers().length).toBe(0)
        }
        // Whoever placed it still reads it.
        expect(first.closed).toEqual([])
        const second = read(yield* meet(owner, ada), Envelope.encodeResume(asked, 4))
        yield* until(
          "the rest came",
          Effect.sync(() => second.numbers().length === 6)
        )
        expect(second.numbers()).toEqual([4, 5, 6, 7, 8, 9])
        // There is one reader.
        yield* until(
          "the first is sent away",
          Effect.sync(() => first.closed.length === 1)
        )
        expect(first.closed).toEqual([ResetCode.Cancelled])
      })
    ))

  test("sends what is a resumption, or is reset", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* resumingPair()
        yield* ada.serve(Work, () => Effect.succeed("well"))
        const stranger = yield* mesh.stranger()
        const good = Envelope.encodeResume(requestOf(), 0)
        const wrong = [
          good.subarray(0, 25),
          Uint8Array.from([...good, 0]),
          Uint8Array.from(good, (byte, at) => (at === 1 ? 0x80 : byte)),
          Uint8Array.from(good, (byte, at) => (at === 18 ? 0xff : byte))
        ]
        for (const message of wrong) {
          const reader = read(yield* meet(stranger, ada), message)
          yield* until(
            "it is reset",
            Effect.sync(() => reader.closed.length === 1)
          )
          expect(reader.closed).toEqual([ResetCode.Malformed])
        }
      })
    ))

  test("finds as many tasks held as the limits allow, and not more", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* resumingPair({ perCaller: 5, entries: 8 })
        let running = 0
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            running += 1
            return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void running--))
          })
        )
        for (const left of [5, 8, 8]) {
          const stranger = yield* mesh.stranger()
          const connection = yield* meet(stranger, ada)
          const before = running
          for (let id = 0; id < 20; id++) {
            const message = requestMessage("1", { task: new TaskId(id, 0, 0, 0) })
            connection.open(Protocol.CALL, ignore)?.send(message, undefined, true)
          }
          yield* until(
            "all run",
            Effect.sync(() => running === before + 20)
          )
          connection.close("gone")
          yield* until(
            "those over the limit are given up",
            Effect.sync(() => running === left)
          )
        }
      })
    ))

  test("keeps at most half of the places from others by going away, and all where nobody else waits", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* resumingPair({ ms: 15_000 })
        const Quiet = Capability.untyped("work.quiet@1.0.0")
        for (const capability of [Work, Quiet]) {
          yield* ada.serve(capability, (input) => (input === "bob's" ? Effect.succeed("well") : Effect.never), {
            concurrency: 4
          })
        }
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        for (let n = 0; n < 12; n++) {
          const task = new TaskId(n, 0, 0, 0)
          const message = requestMessage("1", { task, capability: n % 2 === 0 ? Work.id : Quiet.id })
          connection.open(Protocol.CALL, ignore)?.send(message, undefined, true)
        }
        const counts = Effect.map(ada.status, ({ serving }) => serving.map((each) => [each.running, each.waiting]))
        yield* until(
          "each has four running, and two waiting",
          Effect.map(counts, (all) => all.every(([runs, waits]) => runs === 4 && waits === 2))
        )
        connection.close("gone for good")
        // After half a second, since it may only have been a cut; held tasks are given up after fifteen.
        expect(yield* bob.call(Work, "bob's", { deadline: "5 seconds" })).toBe("well")
        const [contested, alone] = (yield* counts).map(([runs, waits]) => runs! + waits!)
        expect(contested).toBeLessThan(6)
        expect(alone).toBe(6)
      })
    ))

  test("floods in vain", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* resumingPair()
        yield* ada.serve(Work, () => Effect.succeed("well"))
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        let refused = 0
        for (let round = 0; round < 20; round++) {
          for (let id = 0; id < 1_000; id++) {
            const stream = connection.open(Protocol.CALL, { ...ignore, onMessage: () => void refused++ })
            const task = new TaskId(round, id, 0, 0)
            stream?.send(Envelope.encodeResume(requestOf({ task, stream: id % 2 === 0 }), id % 3), undefined, true)
          }
          yield* until(
            "all are refused",
            Effect.sync(() => refused === (round + 1) * 1_000)
          )
        }
        expect(yield* bob.call(Work, 1)).toBe("well")
        expect((yield* ada.status).serving[0]).toMatchObject({ running: 0, waiting: 0, done: 1 })
      })
    ))
})

describe("an agent that breaks its connections", () => {
  const accepts = (stream: PeerStream) => stream.send(Envelope.encodeAccepted(1, 0), undefined, false)
  const forgets = (stream: PeerStream) =>
    stream.send(Envelope.heads.rejected, '{"code":"UnknownTask","detail":"never heard of it"}', true)

  for (const [what, answers] of [
    ["says that it goes on", { request: accepts, resume: accepts }],
    ["says that it never had the task", { request: () => {}, resume: forgets }]
  ] as const) {
    test(`is dialled ever more seldom when it ${what}`, () =>
      run(
        Effect.gen(function* () {
          const { bob, mesh } = yield* resumingPair()
          const agent = yield* mesh.stranger()
          let dials = 0
          let last: Connection | undefined
          yield* agent.connections.handle(Protocol.CALL, (connection, stream) => ({
            ...ignore,
            onMessage: (message) => {
              if (connection !== last) dials += 1
              last = connection
              const isResume = message[0] === Envelope.Kind.Resume
              if (isResume) answers.resume(stream)
              else answers.request(stream)
              // What it says arrives before the connection breaks.
              if (!isResume || answers.resume === accepts) setImmediate(() => connection.close("on purpose"))
            }
          }))
          const reason = yield* reasonOf(bob.call(Work, 1, { to: addressOf(agent.identity.nodeId), deadline: 1_500 }))
          expect(reason._tag).toMatch(/Disconnected|DeadlineExceeded/)
          // At once, and then after pauses that double.
          expect(dials).toBeGreaterThan(2)
          expect(dials).toBeLessThan(12)
        })
      ))
  }
})
