/** Verifies: bytes travel as they are where both ends know them as bytes, and mean the same as their JSON everywhere else. */
import { describe, expect, test } from "bun:test"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Capability from "@parley/core/Capability"
import * as Protocol from "@parley/core/Protocol"
import type { StreamHandler } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Envelope from "../src/internal/Envelope.ts"
import { TaskId } from "../src/internal/TaskId.ts"
import { seeded } from "../src/testing/Seeded.ts"
import { announce } from "./records.ts"
import { makeMesh, makeSignal, meet, reasonOf, run } from "./mesh.ts"
import { ignore, requestOf } from "./wire.ts"

const Reverse = Capability.make("bytes.reverse", {
  version: "1.0.0",
  input: Schema.Uint8Array,
  output: Schema.Uint8Array
})
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64")

describe("a call of bytes", () => {
  test("gives them as they were, with a receipt over their JSON, and once for each key", () => {
    const random = seeded(0xb17e)
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        let ran = 0
        yield* ada.serve(Reverse, (bytes) =>
          Effect.sync(() => {
            ran += 1
            return Uint8Array.from(bytes).reverse()
          })
        )
        for (const size of [0, 1, 2, 3, 1_000, 100_000]) {
          const bytes = random.bytes(size)
          const options = { receipt: true, idempotencyKey: `size ${size}` }
          const answer = yield* bob.request(Reverse, bytes, options)
          expect(base64(answer.output)).toBe(base64(Uint8Array.from(bytes).reverse()))
          expect(answer.receipt?.inputHash).toBe(CanonicalJson.hash(base64(bytes)))
          expect(answer.receipt?.outputHash).toBe(CanonicalJson.hash(base64(answer.output)))
          const again = yield* bob.request(Reverse, bytes, options)
          expect(base64(again.output)).toBe(base64(answer.output))
          // The same task, whichever way its input comes.
          const asJson = yield* bob.request("bytes.reverse@1.0.0", base64(bytes), options)
          expect(asJson.output).toBe(base64(answer.output))
        }
        expect(ran).toBe(6)
      })
    )
  })

  test("takes no more room on the wire than they are, and none of it where JSON is meant", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { maxPayloadBytes: 1_000 } })
        const bob = yield* mesh.node("bob")
        const Echo = Capability.untyped("json.echo@1.0.0")
        yield* ada.serve(Reverse, (bytes) => Effect.succeed(Uint8Array.from(bytes).reverse()))
        yield* ada.serve(Echo, (input) => Effect.succeed(input))
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        let tasks = 0
        const answerTo = (capability: string, body: string | Uint8Array, change: Partial<Envelope.Request>) =>
          Effect.gen(function* () {
            const over = makeSignal()
            let answer = ""
            const handler: StreamHandler = {
              onMessage: (message) => {
                answer = `${message[0]} ${Buffer.from(message.subarray(1)).toString("latin1")}`
                over.tell()
              },
              onWritable: () => {},
              onClosed: over.tell
            }
            const request = requestOf({ task: new TaskId(1, 2, 3, ++tasks), capability, ...change })
            connection.open(Protocol.CALL, handler)!.send(Envelope.encodeRequest(request), body, true)
            yield* over.wait
            return answer
          })
        const bytes = Uint8Array.of(1, 2)
        expect(yield* answerTo(Reverse.id, '"AQI="', {})).toBe('3 \0\0"AgE="')
        expect(yield* answerTo(Reverse.id, '"AQI="', { bytes: true })).toBe("11 \0\0\x02\x01")
        expect(yield* answerTo(Reverse.id, bytes, { raw: true })).toBe('3 \0\0"AgE="')
        expect(yield* answerTo(Reverse.id, bytes, { raw: true, bytes: true })).toBe("11 \0\0\x02\x01")
        // Whoever serves JSON gets the JSON that stands for bytes, and answers JSON.
        expect(yield* answerTo(Echo.id, bytes, { raw: true, bytes: true })).toBe('3 \0\0"AQI="')
        // The cap counts the JSON: 747 bytes are 998 characters with their quotes, three more are too many.
        expect((yield* answerTo(Reverse.id, new Uint8Array(747), { raw: true, bytes: true })).slice(0, 2)).toBe("11")
        expect(yield* answerTo(Reverse.id, new Uint8Array(750), { raw: true })).toContain('"code":"TooLarge"')
        expect(yield* reasonOf(bob.call(Reverse, new Uint8Array(750)))).toMatchObject({
          _tag: "TooLarge",
          limit: 1_000
        })
        expect(yield* bob.call(Reverse, bytes)).toEqual(Uint8Array.of(2, 1))
      })
    ))

  test("a result of bytes is an answer only to who asked for bytes", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const stranger = yield* mesh.stranger()
        const { nodeId } = stranger.identity
        const head = Envelope.encodeResult(undefined, true)
        yield* stranger.connections.handle(Protocol.CALL, (_, stream) => ({
          ...ignore,
          onMessage: () => void stream.send(head, Uint8Array.of(2, 1), true)
        }))
        const Text = Capability.make("bytes.text", {
          version: "1.0.0",
          input: Schema.Uint8Array,
          output: Schema.String
        })
        yield* announce(stranger, ada, [Reverse, Text])
        const bytes = Uint8Array.of(1, 2)
        expect(yield* ada.call(Reverse, bytes, { to: nodeId })).toEqual(Uint8Array.of(2, 1))
        expect(yield* reasonOf(ada.call(Text, bytes, { to: nodeId }))).toMatchObject({
          _tag: "BadAnswer",
          detail: "a result of bytes, which was not asked for"
        })
        expect(yield* reasonOf(ada.call("bytes.reverse", "AQI=", { to: nodeId }))).toMatchObject({ _tag: "BadAnswer" })
      })
    ))
})
