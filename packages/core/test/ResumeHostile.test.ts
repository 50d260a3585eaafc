/** Verifies: nobody goes on with a task that is not his, and whoever breaks connections on purpose gains nothing by it. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Protocol from "@parley/core/Protocol"
import { type Connection, ResetCode, type Stream as PeerStream } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Envelope from "../src/internal/Envelope.ts"
import { ANEW } from "../src/internal/Recovery.ts"
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
        const [Later, Quiet] = [Capability.untyped("work.later@1.0.0"), Capability.untyped("work.quiet@1.0.0")]
        const running = { stranger: 0, bob: 0 }
        const forever = (who: keyof typeof running) =>
          Effect.suspend(() => {
            running[who] += 1
            return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (running[who] -= 1)))
          })
        const places = { concurrency: 4 }
        yield* ada.serve(Work, (_, task) => forever(task.caller === bob.nodeId ? "bob" : "stranger"), places)
        yield* ada.serve(Later, (input) => (input === "well" ? Effect.succeed(input) : Effect.never), places)
        yield* ada.serve(Quiet, () => Effect.never, places)
        const gone = yield* mesh.stranger()
        const connection = yield* meet(gone, ada)
        let id = 0
        for (const [capability, count] of [
          [Quiet.id, 6],
          [Later.id, 4],
          [Work.id, 12]
        ] as const) {
          for (let n = 0; n < count; n++) {
            const message = requestMessage("1", { task: new TaskId(++id, 0, 0, 0), capability })
            connection.open(Protocol.CALL, ignore)?.send(message, undefined, true)
          }
        }
        const counts = Effect.map(ada.status, ({ serving }) =>
          serving.map(({ running: runs, waiting }) => `${runs} and ${waiting}`)
        )
        yield* until(
          "all have come",
          Effect.map(counts, (all) => all.join(", ") === "4 and 8, 4 and 0, 4 and 2")
        )
        connection.close("gone for good")
        for (let n = 0; n < 3; n++) yield* Effect.forkChild(bob.call(Work, n, { deadline: "10 seconds" }))
        // After half a second, since it may only have been a cut; held tasks are given up after fifteen.
        yield* until(
          "two of the others run",
          Effect.sync(() => running.bob === 2)
        )
        expect(yield* bob.call(Later, "well", { deadline: "4 seconds" })).toBe("well")
        expect(running).toEqual({ bob: 2, stranger: 2 })
        expect((yield* counts).at(-1)).toBe("4 and 2")
      })
    ))

  test("loses no place by a short cut, though others wait for it", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* resumingPair({ ms: 60_000 })
        let running = 0
        yield* ada.serve(
          Work,
          () =>
            Effect.suspend(() => {
              running += 1
              return Effect.never
            }),
          { concurrency: 4 }
        )
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        const tasks = [1, 2, 3, 4].map((n) => requestOf({ task: new TaskId(n, 0, 0, 0) }))
        for (const task of tasks) read(connection, Envelope.encodeRequest(task), "1")
        yield* until(
          "all run",
          Effect.sync(() => running === 4)
        )
        connection.close("cut by a test")
        // Another one waits for a place meanwhile.
        expect((yield* reasonOf(bob.call(Work, 1, { deadline: 50 })))._tag).toMatch(/DeadlineExceeded|Countered/)
        const again = yield* meet(stranger, ada)
        const readers = tasks.map((task) => read(again, Envelope.encodeResume(task, 0)))
        yield* until(
          "each has an answer",
          Effect.sync(() => readers.every((reader) => reader.accepted() || reader.rejected().length === 1))
        )
        expect(readers.map((reader) => reader.accepted())).toEqual([true, true, true, true])
        expect(running).toBe(4)
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

describe("an agent that accepts a task twice", () => {
  test("gives a bad answer", () =>
    run(
      Effect.gen(function* () {
        const { bob, mesh } = yield* resumingPair()
        const agent = yield* mesh.stranger()
        yield* agent.connections.handle(Protocol.CALL, (_, stream) => ({
          ...ignore,
          onMessage: () => {
            for (let n = 0; n < 2; n++) stream.send(Envelope.encodeAccepted(1, 0), undefined, false)
            stream.send(Envelope.encodeResult(undefined), "1", true)
          }
        }))
        const reason = yield* reasonOf(bob.call(Work, 1, { to: addressOf(agent.identity.nodeId) }))
        expect(reason).toMatchObject({ _tag: "BadAnswer", detail: "a second acceptance" })
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

  test("is dialled ever more seldom after a while, though it gives a chunk on each", () =>
    run(
      Effect.gen(function* () {
        const { bob, mesh } = yield* resumingPair()
        const agent = yield* mesh.stranger()
        let dials = 0
        yield* agent.connections.handle(Protocol.CALL, (connection, stream) => ({
          ...ignore,
          onMessage: (message) => {
            dials += 1
            const next = message[0] === Envelope.Kind.Resume ? Envelope.decodeResume(message)?.next : 0
            stream.send(Envelope.heads.chunk, String(next), false)
            // What it says arrives before the connection breaks.
            setImmediate(() => connection.close("on purpose"))
          }
        }))
        const seen: Array<number> = []
        const stream = bob.stream(Count, 1_000, { to: addressOf(agent.identity.nodeId), deadline: "4 seconds" })
        const exit = yield* Effect.exit(Stream.runForEach(stream, (n) => Effect.sync(() => void seen.push(n))))
        expect(exit._tag).toBe("Failure")
        expect(seen.length).toBeGreaterThan(3)
        expect(seen).toEqual(Array.from(seen, (_, n) => n))
        expect(dials).toBeLessThan(2 * ANEW.atOnce)
      })
    ))
})
