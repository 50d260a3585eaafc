/** Verifies: a relay that was given by hand and gives no place is told of once, until it has given one. */
import { describe, expect, test } from "bun:test"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Node from "@parley/core/Node"
import * as Layers from "../src/Layers.ts"
import * as RelaysAloud from "../src/internal/RelaysAloud.ts"

/** A logger that keeps what it is told. */
const listening = () => {
  const heard: Array<string> = []
  const first = Deferred.makeUnsafe<string>()
  const logger = Logger.make(({ message }) => {
    heard.push(String(message))
    Deferred.doneUnsafe(first, Effect.succeed(String(message)))
  })
  const layer = Layer.mergeAll(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "Warn"))
  return { heard, first: Deferred.await(first), layer }
}

describe("a relay given by hand", () => {
  test("is told of when it fails, once until it is held, and not when it is merely let go of", () => {
    const { heard, layer } = listening()
    const hear = RelaysAloud.make((warning) => Effect.runSync(Effect.provide(warning, layer)))
    const told = (state: "held" | "asked" | "not held", failures: number, refused?: string) => {
      hear([{ via: "tcp://a:1", state, failures, refused }])
      return heard.splice(0)
    }
    expect(told("asked", 0)).toEqual([])
    const [first, ...more] = told("not held", 1)
    expect([first, more]).toEqual([expect.stringMatching(/relay tcp:\/\/a:1: it cannot be reached \(/), []])
    expect([told("asked", 1), told("not held", 2), told("asked", 2), told("not held", 3)].flat()).toEqual([])
    expect([told("held", 1), told("held", 1), told("not held", 1)].flat()).toEqual([])
    expect(told("not held", 2, "it is full")).toEqual([expect.stringContaining("tcp://a:1: it is full (")])
    hear([{ via: "tcp://b:1", state: "not held", failures: 1, refused: undefined }])
    expect(heard).toEqual([expect.stringContaining("tcp://b:1")])
  })

  test("that is down is told of by a node that starts with it", async () => {
    const { first, layer } = listening()
    const node = Layers.layer({ mdns: false, gossip: false, host: "127.0.0.1", relays: ["tcp://127.0.0.1:1"] })
    const told = Effect.andThen(Node.Node, first).pipe(Effect.provide(Layer.provideMerge(node, layer)))
    expect(await Effect.runPromise(told)).toMatch(/no place at the relay tcp:\/\/127\.0\.0\.1:1: it cannot be reached/)
  })
})
