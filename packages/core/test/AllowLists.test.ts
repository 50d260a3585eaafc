/** Verifies: who may call a capability is this node's to say, for each capability, and the caller is told that it may not. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import * as Guardrails from "@parley/core/Guardrails"
import type { ServeOptions } from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Served } from "../src/internal/Served.ts"
import { testNode } from "../src/testing/StrategySuite.ts"
import { makeMesh, reasonOf, run } from "./mesh.ts"

const make = (name: string) => Capability.make(name, { version: "1.0.0", input: Schema.Json, output: Schema.String })
const Listed = make("only.listed")
const Denied = make("all.but.one")
const Open = make("open.to.all")
const Both = make("named.in.both")
const Counting = Capability.stream("count.up", {
  version: "1.0.0",
  input: Schema.Json,
  output: Schema.Finite
})
const answer = () => Effect.succeed("yes")

describe("allow and deny lists", () => {
  test("hold for calls and streams, and the node itself is always let in", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const server = yield* mesh.node("server")
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* server.serve(Listed, answer, { allow: [ada.nodeId] })
        yield* server.serve(Denied, answer, { deny: [bob.nodeId] })
        yield* server.serve(Open, answer)
        yield* server.serve(Both, answer, { allow: [ada.nodeId, bob.nodeId], deny: [bob.nodeId] })
        yield* server.serve(Counting, () => Stream.make(1, 2), { allow: [] })
        const to = server.nodeId
        for (const capability of [Listed, Denied, Open, Both] as const) {
          expect(yield* ada.call(capability, {}, { to })).toBe("yes")
          expect(yield* server.call(capability, {}, { to })).toBe("yes")
        }
        expect(yield* bob.call(Open, {}, { to })).toBe("yes")
        for (const capability of [Listed, Denied, Both]) {
          const reason = yield* reasonOf(bob.call(capability, {}, { to }))
          expect(reason).toMatchObject({ _tag: "Rejected", code: "NotAllowed", peer: to })
        }
        const streamed = yield* reasonOf(Stream.runCollect(ada.stream(Counting, {}, { to })))
        expect(streamed).toMatchObject({ _tag: "Rejected", code: "NotAllowed" })
      })
    ))

  test("hold for whoever acts for one who is named", () => {
    const [member, delegate, other] = [1, 2, 3].map(testNode) as [NodeId, NodeId, NodeId]
    const lets = (options: ServeOptions) => {
      const capability = Open as unknown as Capability.Capability<never, unknown>
      const served = new Served(capability, answer, options, Guardrails.defaults, Context.empty())
      return [served.lets(member, member), served.lets(delegate, member), served.lets(other, other)]
    }
    expect(lets({ deny: [member] })).toEqual([false, false, true])
    expect(lets({ deny: [delegate] })).toEqual([true, false, true])
    expect(lets({ allow: [member] })).toEqual([true, true, false])
    expect(lets({ allow: [delegate] })).toEqual([false, true, false])
    expect(lets({ allow: [member], deny: [delegate] })).toEqual([true, false, false])
  })

  test("a caller that one agent turns away is served by the next", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const choosy = yield* mesh.node("choosy")
        const kind = yield* mesh.node("kind")
        const ada = yield* mesh.node("ada")
        yield* choosy.serve(Open, () => Effect.succeed("choosy"), { deny: [ada.nodeId] })
        yield* kind.serve(Open, () => Effect.succeed("kind"))
        for (let n = 0; n < 5; n++) expect(yield* ada.call(Open, {})).toBe("kind")
      })
    ))
})
