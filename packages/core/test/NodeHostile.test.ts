/** Verifies: whatever a peer sends, the node lives, its memory stays bounded, and every other peer is served on. */
import { describe, expect, test } from "bun:test"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Capability from "@parley/core/Capability"
import type { Connections } from "@parley/core/Connections"
import * as Guardrails from "@parley/core/Guardrails"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import * as Protocol from "@parley/core/Protocol"
import { type Acceptor, type Connection, ResetCode, type Stream } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import type * as EffectStream from "effect/Stream"
import * as Directory from "../src/internal/Directory.ts"
import * as Envelope from "../src/internal/Envelope.ts"
import { read } from "../src/internal/TaskId.ts"
import { idle, makeEndless, makeMesh, meet, reasonOf, run, until } from "./mesh.ts"
import { announce, recordMessage, signed } from "./records.ts"
import { ignore, requestMessage } from "./wire.ts"
import { forRounds, mutate, type Seeded, seeded } from "../src/testing/Seeded.ts"

const HOSTILE_ROUNDS = 100_000
const Work = Capability.untyped("work.do@1.0.0")
/** A task whose caller has gone is given up within a moment. */
const nobodyComesBack = { ms: 20, perCaller: 16, entries: 16, bytes: 1_000_000 }
const queryMessage = (asked: object): Uint8Array =>
  Buffer.concat([Uint8Array.of(2), Buffer.from(JSON.stringify(asked))])
const asked = { id: "0123456789abcdef", hops: 2, ms: 1_000, query: { name: "work.do", version: "^1", limit: 5 } }

/** A directory over a network that is not there: its acceptor is fed by the test. */
const bareDirectory = Effect.fnUntraced(function* () {
  const identity = Identity.generate()
  let acceptor: Acceptor | undefined
  const connections: Connections["Service"] = {
    nodeId: identity.nodeId,
    isPrivate: false,
    addresses: () => [],
    get: () => undefined,
    list: () => [],
    connect: () => Effect.never,
    keep: () => Effect.void,
    observe: () => Effect.void,
    handle: (_, given) =>
      Effect.sync(() => {
        acceptor = given
      })
  }
  const matcher = Matcher.make()
  const directory = yield* Directory.make({
    name: "bare",
    identity,
    connections,
    matcher,
    settings: { ...Guardrails.defaults, records: 500 },
    context: () => ({ now: Date.now(), trust: () => 0.5, availability: () => ({ value: 1, why: "" }) }),
    capabilities: () => [Work.record]
  })
  return { acceptor: acceptor!, directory, matcher }
})

/** A stream that only counts. */
const fakeStream = () => {
  const heard = { sent: 0, ended: 0, reset: undefined as ResetCode | undefined }
  const stream: Stream = {
    send: (_head, _body, last) => {
      heard.sent += 1
      if (last) heard.ended += 1
      return true
    },
    reset: (code) => {
      heard.reset = code
    },
    pause: () => {},
    resume: () => {}
  }
  return { heard, stream }
}

describe(`RECORDS, ${HOSTILE_ROUNDS} hostile messages each`, () => {
  const feed = (random: Seeded, name: string, sample: (peer: Identity.Identity["Service"]) => Uint8Array) =>
    run(
      Effect.gen(function* () {
        const { acceptor, directory, matcher } = yield* bareDirectory()
        const peers = Array.from({ length: 16 }, () => Identity.generate())
        const samples = peers.map((peer) => ({ peer: peer.nodeId, bytes: sample(peer) }))
        const others = Array.from({ length: 2_000 }, () => Identity.generate().nodeId)
        const seen = { reset: 0, taken: 0 }
        forRounds(random, HOSTILE_ROUNDS, (round) => {
          const each = samples[round % samples.length]!
          const bytes = round % 10 === 0 ? random.bytes(random.int(60)) : mutate(random, each.bytes)
          // Limits are per peer: most come as somebody else, so that what is behind the limits is tried as well.
          const peer = round % 3 === 0 ? each.peer : others[round % others.length]!
          const { heard, stream } = fakeStream()
          const handler = acceptor({ peer } as Connection, stream)!
          const last = random.int(4) !== 0
          handler.onMessage(bytes, last)
          if (heard.reset === undefined) seen.taken += 1
          if (heard.reset === undefined && !last) handler.onMessage(mutate(random, each.bytes), true)
          if (heard.reset === undefined) handler.onClosed(ResetCode.Cancelled)
          else seen.reset += 1
          if (heard.sent > Directory.MAX_ANSWERS + 1 || heard.ended > 1) throw new Error(`${name} sent too much`)
        })
        expect(seen.reset).toBeGreaterThan(HOSTILE_ROUNDS / 2)
        expect(matcher.size().records).toBeLessThanOrEqual(500)
        expect(directory.own().capabilities.length).toBe(1)
        return seen
      })
    )

  test("announcements", async () => {
    const random = seeded(0x4ec0)
    await feed(random, "announce", (peer) => recordMessage(signed(peer, [Work])))
  }, 120_000)

  test("queries", async () => {
    const random = seeded(0x4ec1)
    const seen = await feed(random, "query", () => queryMessage(asked))
    expect(seen.taken).toBeGreaterThan(100)
  }, 120_000)
})

describe("announcements of many strangers", () => {
  test("cost no more than the node has time for, and one that was refused is taken later", () =>
    run(
      Effect.gen(function* () {
        const { acceptor, matcher } = yield* bareDirectory()
        const words = (n: number): string => `${n} `.repeat(100)
        const many = Array.from(
          { length: AgentRecord.MAX_CAPABILITIES },
          (_, n) => Capability.untyped(`flood.c${n}@1.0.0`, { description: words(n) }).record
        )
        const strangers = Array.from({ length: 400 }, () => Identity.generate())
        const announcements = strangers.map((one) => ({
          peer: one.nodeId,
          bytes: recordMessage(
            AgentRecord.make(one, { name: "n", seq: 1, issuedAt: Date.now(), addresses: [], capabilities: many })
          )
        }))
        const tell = ({ bytes, peer }: (typeof announcements)[number]): ResetCode | undefined => {
          const { heard, stream } = fakeStream()
          acceptor({ peer } as Connection, stream)!.onMessage(bytes, true)
          return heard.reset
        }
        const began = performance.now()
        const refused = announcements.filter((one) => tell(one) === ResetCode.Overloaded)
        const took = performance.now() - began
        expect(refused.length).toBeGreaterThan(0)
        expect(matcher.size().records).toBe(1 + strangers.length - refused.length)
        // Nothing is refused that there was time for.
        expect(took).toBeGreaterThan(Directory.LEARNING_MS_AT_ONCE.ofAll)
        yield* until(
          "it is taken",
          Effect.sync(() => tell(refused[0]!) === undefined)
        )
        expect(matcher.get(refused[0]!.peer) !== undefined).toBe(true)
      })
    ))
})

/** Opens a stream and sends what it is given, in pieces. */
const throwAt = (connection: Connection, protocol: number, pieces: ReadonlyArray<Uint8Array>, last: boolean) => {
  const stream = connection.open(protocol, ignore)
  pieces.forEach((piece, index) => stream?.send(piece, undefined, last && index === pieces.length - 1))
  return stream
}

describe("a hostile peer", () => {
  test("garbage on every protocol at every stage harms nobody else", () => {
    const random = seeded(0x9a5b)
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, (input) => Effect.succeed(input))
        yield* ada.serve(Capability.untyped("work.stream", { kind: "stream" }), (): EffectStream.Stream<never> => {
          throw new TypeError("a handler that throws")
        })
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        const samples: ReadonlyArray<readonly [number, Uint8Array]> = [
          [Protocol.CALL, requestMessage("1")],
          [Protocol.CALL, requestMessage('"\\ud800"', { receipt: true, task: read(random.bytes(16), 0) })],
          [Protocol.CALL, requestMessage("1", { capability: "work.stream@^1", stream: true, budget: 0 })],
          [Protocol.CALL, requestMessage("[".repeat(5_000))],
          [Protocol.RECORDS, recordMessage(signed(stranger.identity, [Work]))],
          [Protocol.RECORDS, queryMessage(asked)],
          [Protocol.TOPICS, Uint8Array.of(1, 110, 101, 119, 115)]
        ]
        for (let round = 0; round < 4_000; round++) {
          const [protocol, sample] = random.pick(samples)
          const pieces = Array.from({ length: 1 + random.int(3) }, () =>
            random.int(3) === 0 ? sample : mutate(random, sample)
          )
          const stream = throwAt(
            connection,
            random.int(20) === 0 ? random.int(256) : protocol,
            pieces,
            random.int(2) === 0
          )
          if (random.int(3) === 0) yield* Effect.yieldNow
          if (random.int(2) === 0) stream?.reset(random.int(7) as ResetCode)
          if (round % 50 === 0) expect(yield* bob.call(Work, { round })).toEqual({ round })
        }
        yield* idle(ada)
        connection.close("enough")
        yield* until(
          "it has gone",
          Effect.map(ada.peers, (peers) => peers.length === 1)
        )
        expect(yield* bob.call(Work, "still here")).toBe("still here")
        expect((yield* ada.status).known.records).toBeLessThanOrEqual(3)
      })
    )
  }, 30_000)

  test("an executor that answers with garbage is a typed failure each time, and its caller goes on", () => {
    const random = seeded(0x9a5c)
    return run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", {
          guardrails: { circuit: { failures: 1e9, openMs: 1, entries: 10 } }
        })
        const bob = yield* mesh.node("bob")
        yield* bob.serve(Capability.untyped("work.well"), () => Effect.succeed("well"))
        const stranger = yield* mesh.stranger()
        const samples = [
          Buffer.concat([Envelope.encodeResult(undefined), Buffer.from('"ok"')]),
          Envelope.encodeAccepted(1, 1),
          Buffer.concat([Envelope.heads.failed, Buffer.from('{"by":"handler","code":"x","detail":"y"}')]),
          Buffer.concat([
            Envelope.heads.countered,
            Buffer.from('{"detail":"x","retryAfterMs":1e300,"deadlineMs":1e300}')
          ]),
          Buffer.concat([Envelope.heads.chunk, Buffer.from("1")]),
          Envelope.encodeEnd
        ]
        yield* stranger.connections.handle(Protocol.CALL, (_, stream) => ({
          ...ignore,
          onMessage: () => {
            const count = 1 + random.int(3)
            for (let n = 1; n <= count; n++) {
              const sample = random.pick(samples)
              stream.send(random.int(2) === 0 ? sample : mutate(random, sample), undefined, n === count)
            }
            if (random.int(4) === 0) stream.reset(random.int(7) as ResetCode)
          }
        }))
        yield* announce(stranger, ada, [Work])
        const tags = new Map<string, number>()
        for (let round = 0; round < 1_500; round++) {
          const exit = yield* Effect.exit(
            ada.call(Work, round, { to: stranger.identity.nodeId, deadline: 300, receipt: round % 5 === 0 })
          )
          const tag =
            exit._tag === "Success" ? "Success" : yield* Effect.map(Effect.flip(exit), ({ reason }) => reason._tag)
          tags.set(tag, (tags.get(tag) ?? 0) + 1)
        }
        expect(tags.get("BadAnswer")).toBeGreaterThan(100)
        expect(yield* ada.call("work.well", 1)).toBe("well")
        expect((yield* ada.status).trust.find(({ node }) => node === stranger.identity.nodeId)?.value).toBeLessThan(0.2)
      })
    )
  }, 30_000)

  test("a second message after a request ends the task, and its handler", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { resume: nobodyComesBack } })
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        const stranger = yield* mesh.stranger()
        const connection = yield* meet(stranger, ada)
        throwAt(connection, Protocol.CALL, [requestMessage("1")], true)
        yield* endless.began.wait
        connection.close("gone without a word")
        yield* endless.interrupted.wait
        yield* idle(ada)
      })
    ))

  test("queries without end are turned away, and a reader that takes no answers is given up", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { guardrails: { queriesPerSecond: 10_000 } })
        const big = Capability.untyped("work.big", { description: "x".repeat(1_000) })
        const stranger = yield* mesh.stranger()
        // Forty agents with records of about 1.6 KiB: what one query is answered with.
        for (let n = 0; n < 40; n++) {
          const other = yield* mesh.stranger()
          yield* announce(other, ada, [big])
        }
        const connection = yield* meet(stranger, ada)
        const codes: Array<ResetCode> = []
        const ended = { count: 0 }
        const queries = 200
        for (let n = 0; n < queries; n++) {
          const stream = connection.open(Protocol.RECORDS, {
            onMessage: (_, last) => void (last && (ended.count += 1)),
            onWritable: () => {},
            onClosed: (code) => void codes.push(code)
          })
          stream?.pause()
          const id = n.toString(16).padStart(16, "0")
          stream?.send(queryMessage({ ...asked, id, hops: 16, ms: 500, query: { name: "work.*" } }), undefined, true)
        }
        yield* until(
          "every query has come to an end",
          Effect.sync(() => codes.length + ended.count === queries)
        )
        expect(codes.filter((code) => code === ResetCode.Overloaded).length).toBe(
          queries - Directory.MAX_QUERIES_PER_PEER
        )
        // Others are answered meanwhile, and the stranger again afterwards.
        const bob = yield* mesh.node("bob", { alone: true })
        yield* meet(bob, ada)
        expect((yield* bob.discover({ name: "work.big" }, { within: "2 seconds" })).length).toBe(40)
      })
    ))

  test("a flood of records of one peer is slowed, and the node knows its last one in the end", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { alone: true })
        const bob = yield* mesh.node("bob", { alone: true })
        yield* meet(bob, ada)
        // Each capability served is a new record; ada takes twenty of them in a second.
        for (let n = 0; n < 50; n++) {
          yield* bob.serve(Capability.untyped(`work.n${n}`), () => Effect.succeed(n))
          yield* Effect.yieldNow
        }
        yield* until(
          "ada knows the last one",
          Effect.map(ada.peers, ([peer]) => peer?.capabilities.length === 50)
        )
        expect(yield* ada.call("work.n49", 1)).toBe(49)
      })
    ))

  test("a record of somebody else, an old one and a forged one change nothing", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const stranger = yield* mesh.stranger()
        const victim = Identity.generate()
        const old = signed(stranger.identity, [Work])
        yield* announce(stranger, ada, [Capability.untyped("work.new")])
        const forged: AgentRecord.AgentRecord = { ...signed(stranger.identity, [Work]), name: "another" }
        const connection = yield* meet(stranger, ada)
        const before = yield* ada.status
        for (const record of [signed(victim, [Work]), old, forged, ada.record()]) {
          throwAt(connection, Protocol.RECORDS, [recordMessage(record)], false)
        }
        yield* announce(stranger, ada, [Capability.untyped("work.newer")])
        expect((yield* ada.status).known.records).toBe(before.known.records)
        expect((yield* ada.peers).map(({ capabilities }) => capabilities)).toEqual([["work.newer@1.0.0"]])
        expect(yield* reasonOf(ada.call(Work, 1, { deadline: 2_000 }))).toMatchObject({ _tag: "NoPeer" })
      })
    ))
})
