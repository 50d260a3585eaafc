/** Tasks and streams whose connection breaks: they go on, run once, and nobody else can have them. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import type { Settings } from "@parley/core/Guardrails"
import type { Connection, Stream as PeerStream } from "@parley/core/Transport"
import { ResetCode } from "@parley/core/Transport"
import * as Protocol from "@parley/core/Protocol"
import type { TaskEvent } from "@parley/core/Node"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Envelope from "../src/internal/Envelope.ts"
import { ACCEPT_AFTER_MS } from "../src/internal/Executor.ts"
import * as TaskId from "../src/internal/TaskId.ts"
import { addressOf, makeEndless, makeMesh, makeSignal, type Member, reasonOf, run, until } from "./mesh.ts"

const Work = Capability.untyped("work.do@1.0.0")
const Count = Capability.stream("work.count", { version: "1.0.0", input: Schema.Int, output: Schema.Int })

const Bytes = Capability.stream("work.bytes", { version: "1.0.0", input: Schema.Int, output: Schema.Uint8Array })

const resume = (changed: Partial<Settings["resume"]>) => ({
  drainMs: 10,
  resume: { ms: 10_000, perCaller: 64, entries: 64, bytes: 8 * 1024 * 1024, ...changed }
})

/** Breaks all connections of a node, as a network does: nobody meant to. */
const cut = (member: Member): number => {
  const connections = member.connections.list()
  for (const connection of connections) connection.close("cut by a test")
  return connections.length
}

const pair = (changed: Partial<Settings["resume"]> = {}) =>
  Effect.gen(function* () {
    const mesh = makeMesh()
    const ada = yield* mesh.node("ada", { guardrails: resume(changed) })
    const bob = yield* mesh.node("bob")
    return { mesh, ada, bob }
  })

/** Numbers from 0 on, each when it is asked for, with a turn of the loop in between. */
const numbers = (count: number) =>
  Stream.range(0, count - 1).pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.yieldNow)
  )

describe("a task whose connection breaks", () => {
  test("is attached to again while it runs, and runs once", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const began = makeSignal()
        const go = makeSignal()
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            runs += 1
            began.tell()
            return Effect.as(go.wait, "done")
          })
        )
        const events: Array<TaskEvent["_tag"]> = []
        const call = yield* Effect.forkChild(bob.call(Work, 1, { onEvent: ({ _tag }) => void events.push(_tag) }))
        yield* began.wait
        for (let n = 0; n < 3; n++) {
          expect(cut(bob)).toBe(1)
          yield* until(
            "it is told that it goes on",
            Effect.sync(() => events.filter((tag) => tag === "Resumed").length === n + 1)
          )
        }
        go.tell()
        expect(yield* Fiber.join(call)).toBe("done")
        expect(runs).toBe(1)
        const told = events.filter((tag) => tag !== "Searching" && tag !== "Trust")
        expect(told).toEqual(["Sent", "Resumed", "Accepted", "Resumed", "Resumed", "Answered"])
      })
    ))

  test("is accepted once on each stream", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const began = makeSignal()
        yield* ada.serve(Work, () =>
          Effect.andThen(
            Effect.sync(began.tell),
            // Longer than an executor takes to say that it has accepted a task.
            Effect.as(Effect.sleep(ACCEPT_AFTER_MS + 50), "done")
          )
        )
        const call = yield* Effect.forkChild(bob.call(Work, 1))
        yield* began.wait
        cut(bob)
        expect(yield* Fiber.join(call)).toBe("done")
      })
    ))

  test("is answered from memory where it was done meanwhile", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.sync(() => {
            runs += 1
            // It ends before the answer is on its way.
            cut(ada)
            return "done"
          })
        )
        expect(yield* bob.call(Work, 1, { receipt: true })).toBe("done")
        expect(runs).toBe(1)
      })
    ))

  test("goes on waiting in the queue", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const go = makeSignal()
        const runs: Array<unknown> = []
        yield* ada.serve(
          Work,
          (input) =>
            Effect.suspend(() => {
              runs.push(input)
              return Effect.as(go.wait, input)
            }),
          { concurrency: 1 }
        )
        const calls = yield* Effect.forEach([1, 2, 3, 4], (input) => Effect.forkChild(bob.call(Work, input)))
        yield* until(
          "three wait",
          Effect.map(ada.status, ({ serving }) => serving[0]?.waiting === 3)
        )
        cut(bob)
        yield* until(
          "they connect again",
          Effect.sync(() => bob.connections.list().length === 1)
        )
        go.tell()
        expect(yield* Effect.forEach(calls, Fiber.join)).toEqual([1, 2, 3, 4])
        expect(runs).toEqual([1, 2, 3, 4])
      })
    ))

  test("is sent again where it never arrived", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        let runs = 0
        yield* ada.serve(Work, () => Effect.sync(() => ++runs))
        yield* bob.call(Work, 0)
        // Sent and broken in one turn: nothing of it gets through.
        const call = yield* Effect.forkChild(
          bob.call(Work, 1, { onEvent: ({ _tag }) => void (_tag === "Sent" && cut(bob)) })
        )
        expect(yield* Fiber.join(call)).toBe(2)
        expect(runs).toBe(2)
      })
    ))

  test("is not sent again where its agent had it and lost it", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair({ ms: 0 })
        let runs = 0
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            runs += 1
            return Effect.never
          })
        )
        const events: Array<TaskEvent["_tag"]> = []
        const call = yield* Effect.forkChild(
          reasonOf(bob.call(Work, 1, { to: ada.nodeId, onEvent: ({ _tag }) => void events.push(_tag) }))
        )
        yield* until(
          "it is accepted",
          Effect.sync(() => events.includes("Accepted"))
        )
        cut(bob)
        expect((yield* Fiber.join(call))._tag).toBe("Disconnected")
        expect(runs).toBe(1)
      })
    ))

  test("is cancelled all the same", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const call = yield* Effect.forkChild(bob.call(Work, 1))
        yield* endless.began.wait
        cut(bob)
        yield* Fiber.interrupt(call)
        yield* endless.interrupted.wait
      })
    ))

  test("is given up when nobody comes back for it", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* pair({ ms: 50 })
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const stranger = yield* mesh.stranger()
        const connection = yield* Effect.orDie(stranger.connections.connect({ addresses: [addressOf(ada.nodeId)] }))
        connection.open(Protocol.CALL, silent)?.send(requestHead(1), "1", true)
        yield* endless.began.wait
        connection.close("gone for good")
        yield* endless.interrupted.wait
        yield* until(
          "nothing runs",
          Effect.map(ada.status, ({ serving }) => serving[0]?.running === 0)
        )
      })
    ))

  test("goes to another agent at once when its own has gone", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const bob = yield* mesh.node("bob")
        const took: Array<string> = []
        const agents = ["ada", "cal"].map((name) => ({ name, began: makeSignal() }))
        const scopes = yield* Effect.forEach(agents, ({ began, name }) =>
          Effect.gen(function* () {
            const ready = makeSignal()
            const leave = makeSignal()
            yield* Effect.forkChild(
              Effect.scoped(
                Effect.gen(function* () {
                  const member = yield* mesh.node(name, { guardrails: { drainMs: 1 } })
                  yield* member.serve(Work, () =>
                    Effect.suspend(() => {
                      took.push(name)
                      began.tell()
                      return took.length === 1 ? Effect.never : Effect.succeed(name)
                    })
                  )
                  ready.tell()
                  yield* leave.wait
                })
              )
            )
            yield* ready.wait
            return { name, leave }
          })
        )
        const call = yield* Effect.forkChild(bob.call(Work, 1, { deadline: "60 seconds" }))
        yield* until(
          "one has it",
          Effect.sync(() => took.length === 1)
        )
        scopes.find(({ name }) => name === took[0])?.leave.tell()
        expect(yield* Fiber.join(call)).toBe(agents.find(({ name }) => name !== took[0])!.name)
      })
    ))

  test("fails soon where there is no other", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const bob = yield* mesh.node("bob", { guardrails: { searchMs: 50 } })
        const began = makeSignal()
        const call = yield* Effect.scoped(
          Effect.gen(function* () {
            const ada = yield* mesh.node("ada", { guardrails: { drainMs: 1 } })
            yield* ada.serve(Work, () => Effect.suspend(() => (began.tell(), Effect.never)))
            const calling = yield* Effect.forkDetach(reasonOf(bob.call(Work, 1, { deadline: "60 seconds" })))
            yield* began.wait
            return calling
          })
        )
        expect((yield* Fiber.join(call))._tag).toMatch(/Disconnected|Rejected|NoPeer/)
      })
    ))
})

describe("a stream whose connection breaks", () => {
  test(
    "goes on where it was: no gap, no repeat",
    () =>
      run(
        Effect.gen(function* () {
          const { ada, bob } = yield* pair()
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
    20_000
  )

  test(
    "gives its end again, and what came before it",
    () =>
      run(
        Effect.gen(function* () {
          const { ada, bob } = yield* pair()
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
    20_000
  )

  test("of bytes gives what they were, though their maker writes into them again", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob } = yield* pair()
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
        const { ada, bob } = yield* pair()
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
        const { ada, mesh } = yield* pair()
        let made = 0
        yield* ada.serve(Count, (count) => numbers(count).pipe(Stream.tap(() => Effect.sync(() => void made++))))
        const stranger = yield* mesh.stranger()
        const reader = yield* reading(stranger.connections.connect({ addresses: [addressOf(ada.nodeId)] }))
        reader.send(Envelope.encodeRequest(request({ capability: "work.count@1.0.0", stream: true })), "5000")
        yield* until(
          "some came",
          Effect.sync(() => reader.chunks() >= 10)
        )
        reader.connection.close("cut by a test")
        const before = made
        yield* Effect.sleep(50)
        expect(made - before).toBeLessThan(600)
        const again = yield* reading(stranger.connections.connect({ addresses: [addressOf(ada.nodeId)] }))
        again.send(Envelope.encodeResume(request({ capability: "work.count@1.0.0", stream: true }), reader.chunks()))
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
        const { ada, bob } = yield* pair()
        yield* bob.connections.connect({ node: ada.nodeId, addresses: [addressOf(ada.nodeId)] })
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

// What strangers try.

const silent = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }

const request = (changed: Partial<Envelope.Request> = {}): Envelope.Request => ({
  task: new TaskId.TaskId(1, 2, 3, 4),
  capability: "work.do@1.0.0",
  deadlineMs: 60_000,
  hops: 1,
  receipt: false,
  stream: false,
  batches: false,
  bytes: false,
  raw: false,
  budget: undefined,
  trace: undefined,
  ...changed
})

const requestHead = (id: number): Uint8Array =>
  Uint8Array.from(Envelope.encodeRequest(request({ task: new TaskId.TaskId(id, 0, 0, 0) })))

/** A peer that reads the wire itself. */
const reading = <E>(connect: Effect.Effect<Connection, E>) =>
  Effect.gen(function* () {
    const connection = yield* Effect.orDie(connect)
    const messages: Array<Uint8Array> = []
    const closed: Array<ResetCode> = []
    let stream: PeerStream | undefined
    const kinds = (kind: number) => messages.filter((message) => message[0] === kind)
    const numbersSeen = () =>
      kinds(Envelope.Kind.Chunk).map((message) => JSON.parse(Envelope.bodyOf(message)) as number)
    return {
      connection,
      send: (head: Uint8Array, body?: string) => {
        stream = connection.open(Protocol.CALL, {
          onMessage: (message) => void messages.push(Uint8Array.from(message)),
          onWritable: () => {},
          onClosed: (code) => void closed.push(code)
        })
        stream?.send(Uint8Array.from(head), body, true)
      },
      numbers: numbersSeen,
      chunks: () => numbersSeen().length,
      ended: () => kinds(Envelope.Kind.End).length === 1,
      rejected: () =>
        kinds(Envelope.Kind.Rejected).map((message) => JSON.parse(Envelope.bodyOf(message)).code as string),
      closed
    }
  })

describe("whoever asks to go on with a task", () => {
  test("has to be who placed it, of the same kind, and at a chunk that is there", () =>
    run(
      Effect.gen(function* () {
        const { ada, mesh } = yield* pair()
        yield* ada.serve(Count, (count) => Stream.concat(Stream.range(0, count - 1), Stream.never))
        const [owner, thief] = [yield* mesh.stranger(), yield* mesh.stranger()]
        const to = { addresses: [addressOf(ada.nodeId)] }
        const asked = request({ capability: "work.count@1.0.0", stream: true })
        const first = yield* reading(owner.connections.connect(to))
        first.send(Envelope.encodeRequest(asked), "10")
        yield* until(
          "ten came",
          Effect.sync(() => first.chunks() === 10)
        )
        for (const attempt of [
          { by: thief, message: Envelope.encodeResume(asked, 0) },
          { by: thief, message: Envelope.encodeResume(asked, 10) },
          { by: owner, message: Envelope.encodeResume(asked, 11) },
          { by: owner, message: Envelope.encodeResume(asked, 2 ** 52) },
          { by: owner, message: Envelope.encodeResume({ ...asked, stream: false }, 0) },
          { by: owner, message: Envelope.encodeResume({ ...asked, task: new TaskId.TaskId(9, 9, 9, 9) }, 0) }
        ]) {
          const reader = yield* reading(attempt.by.connections.connect(to))
          reader.send(attempt.message)
          yield* until(
            "it is refused",
            Effect.sync(() => reader.rejected().length === 1)
          )
          expect(reader.rejected()).toEqual(["UnknownTask"])
          expect(reader.chunks()).toBe(0)
        }
        // Whoever placed it still reads it.
        expect(first.closed).toEqual([])
        const second = yield* reading(owner.connections.connect(to))
        second.send(Envelope.encodeResume(asked, 4))
        yield* until(
          "the rest came",
          Effect.sync(() => second.chunks() === 6)
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
        const { ada, mesh } = yield* pair()
        yield* ada.serve(Work, () => Effect.succeed("well"))
        const stranger = yield* mesh.stranger()
        const good = Envelope.encodeResume(request(), 0)
        const wrong = [
          good.subarray(0, 25),
          Uint8Array.from([...good, 0]),
          Uint8Array.from(good, (byte, at) => (at === 1 ? 0x80 : byte)),
          Uint8Array.from(good, (byte, at) => (at === 18 ? 0xff : byte))
        ]
        for (const message of wrong) {
          const reader = yield* reading(stranger.connections.connect({ addresses: [addressOf(ada.nodeId)] }))
          reader.send(message)
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
        const { ada, mesh } = yield* pair({ perCaller: 5, entries: 8 })
        let running = 0
        yield* ada.serve(Work, () =>
          Effect.suspend(() => {
            running += 1
            return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void running--))
          })
        )
        for (const left of [5, 8, 8]) {
          const stranger = yield* mesh.stranger()
          const connection = yield* Effect.orDie(stranger.connections.connect({ addresses: [addressOf(ada.nodeId)] }))
          const before = running
          for (let id = 0; id < 20; id++) connection.open(Protocol.CALL, silent)?.send(requestHead(id), "1", true)
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

  test("floods in vain", () =>
    run(
      Effect.gen(function* () {
        const { ada, bob, mesh } = yield* pair()
        yield* ada.serve(Work, () => Effect.succeed("well"))
        const stranger = yield* mesh.stranger()
        const connection = yield* Effect.orDie(stranger.connections.connect({ addresses: [addressOf(ada.nodeId)] }))
        let refused = 0
        for (let round = 0; round < 20; round++) {
          for (let id = 0; id < 1_000; id++) {
            const stream = connection.open(Protocol.CALL, { ...silent, onMessage: () => void refused++ })
            const task = new TaskId.TaskId(round, id, 0, 0)
            stream?.send(Envelope.encodeResume(request({ task, stream: id % 2 === 0 }), id % 3), undefined, true)
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
