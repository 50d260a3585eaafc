/** Verifies: a call finds its own way: the given peer, known records, a query across the mesh, discovery, and then `NoPeer`. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import { Discovery } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import type { TaskEvent } from "@parley/core/Node"
import * as Protocol from "@parley/core/Protocol"
import * as Trust from "@parley/core/Trust"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { addressOf, knows, makeMesh, meet, type Member, reasonOf, run, until } from "./mesh.ts"
import { announce } from "./records.ts"

const Work = Capability.untyped("work.do@1.2.0")
const serve = (node: Member) => node.serve(Work, () => Effect.succeed(node.name))

describe("fallback", () => {
  test("a peer given by NodeId is the only one asked", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        yield* serve(ada)
        yield* serve(bob)
        expect(yield* cal.call("work.do", 1, { to: bob.nodeId })).toBe("bob")
        expect(yield* cal.call(Work, 1, { to: ada.nodeId })).toBe("ada")
      })
    ))

  test("a peer given by address is asked without its record", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { alone: true })
        const bob = yield* mesh.node("bob", { alone: true })
        yield* serve(ada)
        expect(yield* bob.call("work.do@^1", 1, { to: addressOf(ada.nodeId) })).toBe("ada")
        expect((yield* bob.status).peers).toBe(1)
      })
    ))

  test("a given peer that cannot be reached is an error, though others serve", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob", { guardrails: { searchMs: 50 } })
        yield* serve(ada)
        const gone = Identity.generate().nodeId
        expect(yield* reasonOf(bob.call("work.do", 1, { to: gone }))).toMatchObject({ _tag: "Unreachable", peer: gone })
        const at = addressOf(gone)
        expect(yield* reasonOf(bob.call("work.do", 1, { to: at }))).toMatchObject({ _tag: "Unreachable", peer: at })
      })
    ))

  test("records that are known are used without a search", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serve(ada)
        yield* bob.discover({ name: "work.do" })
        const tags: Array<string> = []
        yield* bob.call("work.do", 1, { onEvent: (event: TaskEvent) => void tags.push(event._tag) })
        expect(tags).toEqual(["Sent", "Trust", "Answered"])
      })
    ))

  test("a query goes across the mesh: A knows only B, and C serves", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const a = yield* mesh.node("a", { alone: true })
        const b = yield* mesh.node("b", { alone: true })
        const c = yield* mesh.node("c", { alone: true })
        const d = yield* mesh.node("d", { alone: true })
        yield* serve(d)
        yield* meet(a, b)
        yield* meet(b, c)
        yield* meet(c, d)
        expect(yield* a.call("work.do", 1, { deadline: 1_500 })).toBe("d")
        expect((yield* a.peers).map(({ node }) => node).sort()).toEqual([b.nodeId, d.nodeId].sort())
      })
    ))

  test("whoever a search finds is asked, too: a hint leads to B, and B knows C, who serves", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const b = yield* mesh.node("b", { alone: true })
        const c = yield* mesh.node("c", { alone: true })
        yield* serve(c)
        yield* meet(b, c)
        const hint = { source: "hint", addresses: [addressOf(b.nodeId)] }
        const discovery = Discovery.of({
          name: "hint",
          join: () =>
            Effect.succeed({ advertise: Effect.void, find: () => Stream.succeed(hint), changes: Stream.empty })
        })
        const a = yield* mesh.node("a", { discovery })
        expect((yield* a.peers).length).toBe(0)
        expect(yield* a.call("work.do", 1, { deadline: 1_500 })).toBe("c")
      })
    ))

  test("an agent that has failed is no match: a search goes on until another one is found", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { alone: true })
        const bob = yield* mesh.node("bob", { alone: true })
        yield* serve(bob)
        yield* ada.serve(Work, () => Effect.never)
        const late = { source: "late", addresses: [addressOf(bob.nodeId)] }
        const discovery = Discovery.of({
          name: "late",
          join: () =>
            Effect.succeed({
              advertise: Effect.void,
              // Long after a search that had a match would have ended.
              find: () => Stream.fromEffect(Effect.as(Effect.sleep(150), late)),
              changes: Stream.empty
            })
        })
        const cal = yield* mesh.node("cal", { discovery, guardrails: { settleMs: 1 } })
        yield* meet(cal, ada)
        yield* knows(cal, ada.nodeId, "work.do@1.2.0")
        // Ada goes when she is asked, and her record stays.
        yield* Effect.forkChild(
          Effect.andThen(
            until(
              "ada is asked",
              Effect.map(ada.status, ({ serving }) => serving.some(({ running }) => running > 0))
            ),
            Effect.sync(() => {
              mesh.hub.owners.delete(addressOf(ada.nodeId))
              ada.connections.get(cal.nodeId)?.close("gone")
            })
          )
        )
        expect(yield* cal.call("work.do", 1, { deadline: 3_000 })).toBe("bob")
      })
    ))

  test("a query goes no further than its hops", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const guardrails = { hops: 1, searchMs: 300 }
        const nodes: Array<Member> = []
        for (const name of ["a", "b", "c", "d", "e"]) nodes.push(yield* mesh.node(name, { alone: true, guardrails }))
        const [a, b, c, d, e] = nodes as [Member, Member, Member, Member, Member]
        yield* serve(e)
        yield* meet(a, b)
        yield* meet(b, c)
        yield* meet(c, d)
        yield* meet(d, e)
        // b passes the query on to c, which tells of its peer d, and asks nobody: e stays unknown.
        expect(yield* reasonOf(a.call("work.do", 1))).toMatchObject({ _tag: "NoPeer" })
      })
    ))

  test("a stranger's query goes no further than this node lets it", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const b = yield* mesh.node("b", { alone: true, guardrails: { hops: 0 } })
        const c = yield* mesh.node("c", { alone: true })
        const d = yield* mesh.node("d", { alone: true })
        yield* serve(d)
        yield* meet(b, c)
        yield* meet(c, d)
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, b)
        const records = yield* Effect.callback<number>((resume) => {
          let count = 0
          const stream = connection.open(Protocol.RECORDS, {
            onMessage: (message, last) => {
              if (message.length > 0) count += 1
              if (last) resume(Effect.succeed(count))
            },
            onWritable: () => {},
            onClosed: (code) => resume(Effect.die(new Error(`closed with ${code}`)))
          })
          const asked = { id: "00000000000000aa", hops: 16, ms: 2_000, query: { name: "work.do" } }
          stream?.send(Uint8Array.of(2), JSON.stringify(asked), true)
        })
        expect(records).toBe(0)
      })
    ))

  test("in a ring, a query comes back to nobody twice", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const nodes: Array<Member> = []
        for (let i = 0; i < 6; i++) nodes.push(yield* mesh.node(`n${i}`, { alone: true, guardrails: { hops: 16 } }))
        for (let i = 0; i < 6; i++) yield* meet(nodes[i] as Member, nodes[(i + 1) % 6] as Member)
        // Somebody beside the ring counts what it is asked.
        const stranger = yield* mesh.stranger()
        let queries = 0
        yield* stranger.connections.handle(Protocol.RECORDS, (_, stream) => ({
          onMessage: (message) => {
            if (message[0] !== 2) return
            queries += 1
            stream.send(new Uint8Array(0), undefined, true)
          },
          onWritable: () => {},
          onClosed: () => {}
        }))
        yield* announce(stranger, nodes[3] as Member, [])
        const tried: Array<string> = []
        const found = yield* (nodes[0] as Member).discover(
          { name: "work.none" },
          { within: "4 seconds", onTried: ({ step, detail }) => void tried.push(`${step}: ${detail}`) }
        )
        expect(found).toEqual([])
        expect(queries).toBe(1)
        // It ended because everybody had answered, not because the time was over.
        expect(tried.at(-1)).toMatch(/^query across the mesh: 2 peers, no answer, 0\.[0-9] s$/)
      })
    ))

  test("discovery finds whom no peer knows", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serve(ada)
        expect((yield* bob.peers).length).toBe(0)
        expect(yield* bob.call("work.do", 1)).toBe("ada")
      })
    ))

  test("nobody: the error lists what was tried, and the closest names", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serve(ada)
        yield* bob.discover({ name: "work.do" })
        const reason = yield* reasonOf(bob.call("work.dont@^1", 1))
        if (reason._tag !== "NoPeer") throw new Error(reason._tag)
        expect(reason.wanted).toBe("work.dont@^1")
        expect(reason.tried.map(({ step }) => step)).toEqual(["known records", "memory", "query across the mesh"])
        expect(reason.tried[0]?.detail).toBe("1 agent")
        expect(reason.closest).toEqual([{ id: "work.do@1.2.0", node: ada.nodeId }])
        const major = yield* reasonOf(bob.call("work.do@^2", 1))
        expect(major).toMatchObject({ _tag: "NoPeer", wanted: "work.do@^2" })
      })
    ))

  test("a match that has gone is unreachable, costs trust, and the next one answers", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        yield* serve(bob)
        const gone = yield* Effect.scoped(
          Effect.gen(function* () {
            const stranger = yield* mesh.stranger()
            yield* announce(stranger, cal, [Work])
            return stranger.identity.nodeId
          })
        )
        const here = Effect.map(cal.peers, (peers) => peers.every(({ node }) => node !== gone))
        yield* until("the peer has gone", here)
        const answer = yield* cal.request("work.do", 1, { where: { preferPeers: [gone] } })
        expect(answer.output).toBe("bob")
        expect(answer.attempts).toMatchObject([{ _tag: "Unreachable", peer: gone }])
        const lost = (yield* cal.status).trust.find(({ node }) => node === gone)
        expect(lost).toMatchObject({ value: 0.45, samples: 1, why: "unreachable" })
      })
    ))

  test("filters hold: least trust, constraints, cost", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const trust = Trust.make()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal", { trust, guardrails: { searchMs: 100, settleMs: 1 } })
        yield* ada.serve(Capability.untyped("work.do", { metadata: { gpu: true }, cost: { usdPerCall: 2 } }), () =>
          Effect.succeed("ada")
        )
        yield* serve(bob)
        trust.learn(ada.nodeId, "work.do", 1, "before")
        expect(yield* cal.call("work.do", 1, { where: { minTrust: 0.52 } })).toBe("ada")
        expect(yield* cal.call("work.do", 1, { where: { constraints: { gpu: { eq: true } } } })).toBe("ada")
        expect(yield* cal.call("work.do", 1, { where: { maxCostUsd: 1 } })).toBe("bob")
        expect(yield* reasonOf(cal.call("work.do", 1, { where: { minTrust: 0.9 } }))).toMatchObject({
          _tag: "NoPeer",
          wanted: "work.do with minTrust 0.9"
        })
        expect(yield* reasonOf(cal.call("work.do@one", 1))).toMatchObject({ _tag: "BadQuery" })
      })
    ))

  test("an agent serves itself without a network", () =>
    run(
      Effect.gen(function* () {
        const ada = yield* makeMesh().node("ada", { alone: true })
        yield* serve(ada)
        const answer = yield* ada.request(Work, 1, { receipt: true })
        expect([answer.output, answer.peer, answer.receipt?.caller]).toEqual(["ada", ada.nodeId, ada.nodeId])
        expect((yield* ada.status).trust).toEqual([])
      })
    ))
})
