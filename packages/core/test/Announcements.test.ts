/** Verifies: a peer that connects anew is told this node's record there, and nothing stays open on its older connection. */
import { describe, expect, test } from "bun:test"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode } from "@parley/core/Transport"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Effect from "effect/Effect"
import { addressOf, makeMesh, run, until } from "./mesh.ts"
import { ignore } from "./wire.ts"

describe("a node's record", () => {
  test("is told on the newer of two connections, and the older one is free to end", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const identity = Identity.generate()
        const transport = TransportMemory.make(identity.nodeId, mesh.hub)
        const peer = yield* Connections.make(transport, identity.nodeId)
        const heard: Array<string> = []
        yield* peer.handle(Protocol.RECORDS, () => {
          const at = heard.push("") - 1
          return {
            ...ignore,
            onMessage: () => void (heard[at] += "told "),
            onClosed: (code) => void (heard[at] += `closed ${code} `)
          }
        })
        const dial = transport.dial(addressOf(ada.nodeId), ada.nodeId)
        yield* dial
        yield* until(
          "it is told",
          Effect.sync(() => heard[0] === "told ")
        )
        yield* dial
        yield* until(
          "it is told again, and the first stream is over",
          Effect.sync(() => heard[1] === "told " && heard[0] === `told closed ${ResetCode.Cancelled} `)
        )
        expect(heard.length).toBe(2)
      })
    ))
})
