/**
 * The laws of Transport, for every implementation: call `suite` from a test file with the runner's own `describe`, `test`
 * and `expect`, and a harness that makes two nodes.
 *
 * ```ts
 * import { describe, expect, test } from "bun:test"
 * suite({ describe, test, expect }, { name: "memory", pair })
 * ```
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Identity from "../Identity.ts"
import {
  MAX_MESSAGE_BYTES,
  MAX_QUEUED_BYTES,
  MAX_STREAMS,
  ResetCode,
  schemeOf,
  type Stream,
  TransportError,
  WINDOW_BYTES
} from "../Transport.ts"
import { type Ground, type Harness, Heard, makeGround, PATIENCE_MS, protocol } from "../internal/TransportGround.ts"
import { seeded } from "./Seeded.ts"
import type { TestApi } from "./TestApi.ts"

export type { Harness, Party } from "../internal/TransportGround.ts"

/** Longest run of one law. */
const LAW_MS = 30_000
const empty = new Uint8Array(0)
const encoder = new TextEncoder()

/** Sends so many bytes in messages of `size` until `send` says stop; gives the bytes given to `send`. */
const fill = (stream: Stream, size: number, most: number): number => {
  const message = new Uint8Array(size)
  let sent = 0
  while (sent < most) {
    sent += size
    if (!stream.send(message, undefined, false)) break
  }
  return sent
}

/** States the laws to the test runner. */
export const suite = (api: TestApi, harness: Harness): void => {
  const { describe, expect } = api
  const law = (name: string, body: (ground: Ground) => Effect.Effect<void, unknown, Scope.Scope>): void =>
    api.test(name, () => Effect.runPromise(Effect.scoped(Effect.flatMap(makeGround(harness), body))), LAW_MS)
  const isTrue = (actual: boolean, what: string): void => expect(actual ? what : `not so: ${what}`).toBe(what)

  /** Fails unless the effect failed with a `TransportError`. */
  const refusal = (effect: Effect.Effect<unknown, TransportError>): Effect.Effect<TransportError> =>
    Effect.matchEffect(effect, {
      onFailure: (error) => Effect.succeed(error),
      onSuccess: () => Effect.die(new Error("it should have failed with a TransportError"))
    })

  describe(`Transport: ${harness.name}`, () => {
    law("both ends know who the other is, and who dialled", ({ a, b, address, connect }) =>
      Effect.gen(function* () {
        const [near, far] = yield* connect
        expect([near.peer, far.peer]).toEqual([b.nodeId, a.nodeId])
        expect([near.direction, far.direction]).toEqual(["outbound", "inbound"])
        expect([near.state(), far.state()]).toEqual(["open", "open"])
        expect(near.address).toBe(address)
        expect(near.relayed).toBe(far.relayed)
        isTrue(b.transport.schemes.includes(schemeOf(address)), "the address has a scheme of the transport")
        expect([a.connections.length, b.connections.length]).toEqual([0, 1])
      })
    )

    law("a peer that is not the expected one is refused, and others are served on", ({ a, b, address, connect }) =>
      Effect.gen(function* () {
        const error = yield* refusal(a.transport.dial(address, Identity.generate().nodeId))
        isTrue(error instanceof TransportError, "the refusal is typed")
        yield* connect
        expect([b.connections.length, b.closed.length]).toEqual([1, 0])
        expect(a.closed.length).toBe(0)
      })
    )

    law("an address where nobody is fails with a typed error", ({ a, b, address, scopes }) =>
      Effect.gen(function* () {
        yield* Scope.close(scopes.b, Exit.void)
        const error = yield* refusal(a.transport.dial(address, b.nodeId))
        isTrue(error.message.length > 0, "it says why")
      })
    )

    law(
      "a message is head and body, whatever their bytes, and both may be reused at once",
      ({ b, connect, events, open }) =>
        Effect.gen(function* () {
          const [near] = yield* connect
          const { stream } = open(near)
          const head = Uint8Array.of(1, 2, 3)
          const body = Uint8Array.of(4, 5)
          stream.send(head, body, false)
          head.fill(9)
          body.fill(9)
          stream.send(encoder.encode("h:"), "grüße, 世界 🌍", false)
          stream.send(empty, "", false)
          stream.send(empty, undefined, false)
          stream.send(empty, "x".repeat(100_000) + "é", false)
          stream.send(encoder.encode("end"), undefined, true)
          yield* events.until("all six messages came", () => b.streams[0]?.ended === true)
          const heard = b.streams[0]!
          expect(Array.from(heard.messages[0]!)).toEqual([1, 2, 3, 4, 5])
          expect(heard.texts.slice(1)).toEqual(["h:grüße, 世界 🌍", "", "", "x".repeat(100_000) + "é", "end"])
        })
    )

    law("a request and its answer end the stream at both ends without onClosed", ({ b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near, far] = yield* connect
        b.onStream = (heard, stream) => {
          heard.onText = (text, last) => {
            if (last) stream.send(encoder.encode("re: "), text, true)
          }
        }
        const calls = Array.from({ length: 50 }, (_, index) => {
          const { heard, stream } = open(near)
          stream.send(empty, `question ${index}`, true)
          return heard
        })
        yield* events.until("every call was answered", () => calls.every((heard) => heard.ended))
        calls.forEach((heard, index) => expect(heard.texts).toEqual([`re: question ${index}`]))
        yield* events.until("no stream is left", () => near.streams() === 0 && far.streams() === 0)
        expect([...calls, ...b.streams].flatMap((heard) => heard.codes)).toEqual([])
      })
    )

    law("both ends open streams at the same time", ({ a, b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near, far] = yield* connect
        for (const node of [a, b]) {
          node.onStream = (heard, stream) => {
            heard.onText = (text) => void stream.send(empty, text.toUpperCase(), true)
          }
        }
        const calls = [near, far, near, far].map((connection, index) => {
          const { heard, stream } = open(connection)
          stream.send(empty, `call ${index}`, true)
          return heard
        })
        yield* events.until("every call was answered", () => calls.every((heard) => heard.ended))
        expect(calls.map((heard) => heard.texts[0])).toEqual(["CALL 0", "CALL 1", "CALL 2", "CALL 3"])
      })
    )

    law(
      "messages of many streams arrive in order, once, whole, and on their own stream",
      ({ b, connect, events, open }) =>
        Effect.gen(function* () {
          const { int: random, seed } = seeded(20_261_121)
          const [near] = yield* connect
          const count = 40
          const sent: Array<Array<string>> = []
          const streams = Array.from({ length: count }, (_, index) => {
            const { stream } = open(near)
            stream.send(empty, `stream ${index}`, false)
            sent.push([`stream ${index}`])
            return stream
          })
          for (let n = 0; n < 2_000; n++) {
            const index = random(count)
            const size = random(20) === 0 ? random(40_000) : random(200)
            const text = `${index}/${n}:` + String.fromCharCode(97 + random(26)).repeat(size)
            streams[index]!.send(encoder.encode(text.slice(0, 3)), text.slice(3), false)
            sent[index]!.push(text)
            if (random(50) === 0) yield* Effect.yieldNow
          }
          for (const stream of streams) stream.send(empty, "last", true)
          yield* events.until(
            `all streams ended (seed ${seed})`,
            () => b.streams.filter((each) => each.ended).length === count
          )
          for (const heard of b.streams) {
            const index = Number(heard.texts[0]!.slice("stream ".length))
            expect(heard.texts).toEqual([...sent[index]!, "last"])
          }
        })
    )

    law("the largest message arrives whole, and a larger one resets its stream", ({ b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near] = yield* connect
        const big = new Uint8Array(MAX_MESSAGE_BYTES)
        for (let i = 0; i < big.length; i += 4_093) big[i] = i
        const { stream } = open(near)
        stream.send(big.subarray(0, 10), big.subarray(10), true)
        yield* events.until("it came", () => b.streams[0]?.ended === true)
        const came = b.streams[0]!.messages[0]!
        expect(came.length).toBe(big.length)
        isTrue(Buffer.compare(came, big) === 0, "it is the same bytes")
        const second = open(near)
        expect(second.stream.send(Uint8Array.of(1), big, true)).toBe(false)
        yield* events.until("its own handler hears that it is over", () => second.heard.codes.length === 1)
        expect(near.state()).toBe("open")
      })
    )

    law(
      "a receiver that does not take stops the sender after one window, and resume lets it go on",
      ({ b, connect, events, open }) =>
        Effect.gen(function* () {
          const [near] = yield* connect
          b.onStream = (heard, stream) => {
            heard.keep = false
            // The first one is slow; the second is answered.
            if (b.streams.length === 1) stream.pause()
            else heard.onText = () => void stream.send(empty, "done", true)
          }
          const { heard, stream } = open(near)
          const size = 1_024
          const sent = fill(stream, size, 4 * WINDOW_BYTES)
          isTrue(sent <= 2 * WINDOW_BYTES, "send says stop")
          // Another stream of the same connection is not held up; when its answer is here, so is whatever came before.
          const ping = open(near)
          ping.stream.send(empty, "ping", true)
          yield* events.until("the other stream is answered", () => ping.heard.ended)
          const slow = b.streams[0]!
          isTrue(slow.bytes <= WINDOW_BYTES, "at most one window came")
          expect(heard.writable).toBe(0)
          slow.stream!.resume()
          yield* events.until("the sender may go on", () => heard.writable === 1)
          stream.send(empty, undefined, true)
          yield* events.until("all came", () => slow.ended)
          expect(slow.bytes).toBe(sent)
        })
    )

    law("a sender that does not stop is reset", ({ b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near] = yield* connect
        b.onStream = (heard, stream) => {
          heard.keep = false
          stream.pause()
        }
        const { heard, stream } = open(near)
        const message = new Uint8Array(1024 * 1024)
        for (let sent = 0; sent <= MAX_QUEUED_BYTES + 4 * message.length; sent += message.length) {
          stream.send(message, undefined, false)
        }
        yield* events.until("its handler is told", () => heard.codes.length > 0)
        expect(heard.codes).toEqual([ResetCode.TooSlow])
        yield* events.until("the other end is told", () => b.streams[0]?.codes.length === 1)
        expect([near.state(), near.streams()]).toEqual(["open", 0])
      })
    )

    law(
      "a reset is heard at the other end, with its code, once, and by nobody at this end",
      ({ b, connect, events, open }) =>
        Effect.gen(function* () {
          const [near, far] = yield* connect
          const first = open(near)
          first.stream.send(empty, "hello", false)
          yield* events.until("it came", () => b.streams[0]?.messages.length === 1)
          first.stream.reset(ResetCode.Cancelled)
          first.stream.reset(ResetCode.Internal)
          expect(first.stream.send(empty, "more", false)).toBe(false)
          yield* events.until("the other end hears", () => b.streams[0]!.codes.length > 0)
          const second = open(near)
          second.stream.send(empty, "hello", true)
          yield* events.until("it came", () => b.streams[1]?.ended === true)
          b.streams[1]!.stream!.send(empty, "part of an answer", false)
          b.streams[1]!.stream!.reset(ResetCode.Overloaded)
          yield* events.until("the opener hears", () => second.heard.codes.length > 0)
          yield* events.until("no stream is left", () => near.streams() === 0 && far.streams() === 0)
          expect([b.streams[0]!.codes, second.heard.codes]).toEqual([[ResetCode.Cancelled], [ResetCode.Overloaded]])
          expect([first.heard.codes, b.streams[1]!.codes]).toEqual([[], []])
          expect(second.heard.texts).toEqual(["part of an answer"])
        })
    )

    law("a protocol that nobody handles is refused", ({ connect, events }) =>
      Effect.gen(function* () {
        const [near] = yield* connect
        const heard = new Heard(events)
        near.open(protocol + 1, heard)?.send(empty, "anybody?", true)
        yield* events.until("it is refused", () => heard.codes.length > 0)
        expect(heard.codes).toEqual([ResetCode.UnknownProtocol])
        expect(near.state()).toBe("open")
      })
    )

    law("closing tells every stream and both owners, once", ({ a, b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near, far] = yield* connect
        const mine = [open(near), open(near)]
        for (const { stream } of mine) stream.send(empty, "hello", false)
        yield* events.until("both came", () => b.streams.filter((heard) => heard.messages.length === 1).length === 2)
        near.close("the law says so")
        near.close("twice")
        yield* events.until("both owners know", () => a.closed.length > 0 && b.closed.length > 0)
        yield* events.until("the far streams know", () => b.streams.every((heard) => heard.codes.length > 0))
        expect(mine.map(({ heard }) => heard.codes)).toEqual([[ResetCode.Disconnected], [ResetCode.Disconnected]])
        expect(b.streams.map((heard) => heard.codes)).toEqual([[ResetCode.Disconnected], [ResetCode.Disconnected]])
        expect([near.state(), far.state()]).toEqual(["closed", "closed"])
        expect(near.open(protocol, new Heard(events))).toBe(undefined)
        expect(mine[0]!.stream.send(empty, "late", false)).toBe(false)
        expect([a.closed.length, b.closed.length]).toEqual([1, 1])
      })
    )

    law("draining finishes what is open, takes nothing new, and closes", ({ a, b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near, far] = yield* connect
        const { heard, stream } = open(near)
        stream.send(empty, "slow question", true)
        yield* events.until("it came", () => b.streams[0]?.ended === true)
        const drained = yield* Effect.forkChild(near.drain(PATIENCE_MS), { startImmediately: true })
        expect(near.state()).toBe("draining")
        expect(near.open(protocol, new Heard(events))).toBe(undefined)
        b.streams[0]!.stream!.send(empty, "answer", true)
        yield* Fiber.join(drained)
        yield* events.until("both owners know", () => a.closed.length > 0 && b.closed.length > 0)
        expect(heard.texts).toEqual(["answer"])
        expect([heard.codes, b.streams[0]!.codes]).toEqual([[], []])
        expect([near.state(), far.state()]).toEqual(["closed", "closed"])
        yield* near.drain(0)
      })
    )

    law("draining gives up when its time is over", ({ b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near] = yield* connect
        const { heard, stream } = open(near)
        stream.send(empty, "a question without an answer", true)
        yield* events.until("it came", () => b.streams[0]?.ended === true)
        yield* near.drain(20)
        expect([near.state(), heard.codes]).toEqual(["closed", [ResetCode.Disconnected]])
      })
    )

    law("a peer may have only so many streams open", ({ b, connect, events, open }) =>
      Effect.gen(function* () {
        const [near] = yield* connect
        const streams = Array.from({ length: MAX_STREAMS }, () => open(near))
        for (const { stream } of streams) stream.send(empty, "x", false)
        expect(near.open(protocol, new Heard(events))).toBe(undefined)
        yield* events.until("all of them came", () => b.streams.length === MAX_STREAMS)
        streams[0]!.stream.reset(ResetCode.Cancelled)
        const next = open(near)
        next.stream.send(empty, "room again", true)
        yield* events.until("one more came", () => b.streams.at(-1)?.texts[0] === "room again")
        expect(next.heard.codes).toEqual([])
      })
    )

    law("an abandoned dial leaves nothing, and another one works", ({ a, address, b, connect, events }) =>
      Effect.gen(function* () {
        for (let n = 0; n < 5; n++) {
          const attempt = yield* Effect.forkChild(a.transport.dial(address, b.nodeId), { startImmediately: true })
          yield* Fiber.interrupt(attempt)
          // One that was quicker than its interruption belongs to whoever asked.
          const exit = yield* Fiber.await(attempt)
          if (Exit.isSuccess(exit)) exit.value.close("too late")
        }
        yield* connect
        const left = () => b.connections.filter((connection) => connection.state() === "open")
        yield* events.until("only the last connection is open", () => left().length === 1)
        expect(a.connections.length).toBe(0)
      })
    )

    law("when a node's scope closes, its peers know", ({ a, b, connect, events, open, scopes }) =>
      Effect.gen(function* () {
        const [near] = yield* connect
        const { heard, stream } = open(near)
        stream.send(empty, "hello", false)
        yield* events.until("it came", () => b.streams[0]?.messages.length === 1)
        yield* Scope.close(scopes.b, Exit.void)
        yield* events.until("both owners know", () => a.closed.length === 1 && b.closed.length === 1)
        expect([heard.codes, b.streams[0]!.codes]).toEqual([[ResetCode.Disconnected], [ResetCode.Disconnected]])
        expect(near.state()).toBe("closed")
      })
    )
  })
}
