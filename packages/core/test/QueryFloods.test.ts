/** Verifies: what strangers ask costs a node a bounded share of its time, its sending, and of its own quota at its peers. */
import { describe, expect, test } from "bun:test"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { Connections } from "@parley/core/Connections"
import * as Guardrails from "@parley/core/Guardrails"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import { type Acceptor, type Connection, ResetCode, type Stream } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Directory from "../src/internal/Directory.ts"
import { RateLimit } from "@parley/core/RateLimit"
import { run } from "./mesh.ts"
import { recordMessage } from "./records.ts"

const queryMessage = (n: number, hops = 0): Uint8Array => {
  const asked = { id: n.toString(16).padStart(16, "0"), hops, ms: 1_000, query: { name: "work.do" } }
  return Buffer.concat([Uint8Array.of(2), Buffer.from(JSON.stringify(asked))])
}

/** A record of nearly the largest size. */
const largeRecord = (identity = Identity.generate()) =>
  AgentRecord.make(identity, {
    name: "large",
    seq: 1,
    issuedAt: Date.now(),
    addresses: [],
    capabilities: [{ name: "work.do", version: "1.0.0", input: { description: "x".repeat(60_000) } }]
  })

const farewell = (identity: Identity.Identity["Service"]) => AgentRecord.tombstone(identity, 2, Date.now())

/** A connection on which everything that is opened, sent and reset is counted. */
const fakePeer = () => {
  const { nodeId } = Identity.generate()
  const seen = { opened: 0 }
  const connection = {
    peer: nodeId,
    open: () => {
      seen.opened += 1
      return { send: () => true, reset: () => {}, pause: () => {}, resume: () => {} } satisfies Stream
    }
  } as unknown as Connection
  return { connection, seen }
}

/** A directory whose only other peer is `friend`; those of `connected` count as connected, too. */
const makeDirectory = Effect.fnUntraced(function* (
  friend: Connection,
  matcher: Matcher.Matcher["Service"],
  settings: Partial<Guardrails.Settings> = {},
  connected: ReadonlySet<string> = new Set()
) {
  const identity = Identity.generate()
  let acceptor: Acceptor | undefined
  const connections: Connections["Service"] = {
    nodeId: identity.nodeId,
    isPrivate: false,
    addresses: () => [],
    get: (node) => (connected.has(node) ? friend : undefined),
    list: () => [friend],
    connect: () => Effect.never,
    keep: () => Effect.void,
    observe: () => Effect.void,
    handle: (_, given) => Effect.sync(() => void (acceptor = given))
  }
  yield* Directory.make({
    name: "asked",
    identity,
    connections,
    matcher,
    settings: { ...Guardrails.defaults, ...settings },
    context: () => ({ now: Date.now(), trust: () => 0.5, availability: () => ({ value: 1, why: "" }) }),
    capabilities: () => []
  })
  return (from: Connection, message: Uint8Array, last: boolean) => {
    const heard = { bytes: 0, records: 0, ended: false, reset: undefined as ResetCode | undefined }
    const stream: Stream = {
      send: (_head, body, end) => {
        heard.bytes += body?.length ?? 0
        if (body !== undefined) heard.records += 1
        if (end) heard.ended = true
        return true
      },
      reset: (code) => void (heard.reset = code),
      pause: () => {},
      resume: () => {}
    }
    const handler = acceptor!(from, stream)
    handler?.onMessage(message, last)
    return { ...heard, over: () => ({ ...heard }), close: () => handler?.onClosed(ResetCode.Cancelled) }
  }
})

/** What a query takes that takes long. */
const SLOW_MS = 20

describe("a stranger's queries", () => {
  test("are passed on at a tenth of what this node may ask its peers itself", () =>
    run(
      Effect.gen(function* () {
        const friend = fakePeer()
        const tell = yield* makeDirectory(friend.connection, Matcher.make())
        let n = 0
        const began = performance.now()
        // What a bucket holds at first, and what has come into it since: a machine that is slow gives more of it time.
        const bucket = (perSecond: number) => perSecond * (1 + (performance.now() - began) / 1_000)
        const flood = (from: Connection, queries: number) => {
          for (let i = 0; i < queries; i++) tell(from, queryMessage((n += 1), 2), true).close()
        }
        flood(fakePeer().connection, 50)
        expect(friend.seen.opened).toBeGreaterThan(0)
        expect(friend.seen.opened).toBeLessThanOrEqual(bucket(Directory.PASSED_ON_PER_SECOND.ofOne))
        for (let key = 0; key < 20; key++) flood(fakePeer().connection, 20)
        expect(friend.seen.opened).toBeLessThanOrEqual(bucket(Directory.PASSED_ON_PER_SECOND.ofAll))
        expect(Directory.PASSED_ON_PER_SECOND.ofAll).toBeLessThan(Guardrails.defaults.queriesPerSecond)
      })
    ))

  test("that take long to answer are refused once their peer's time is used up; a friend's are answered", () =>
    run(
      Effect.gen(function* () {
        const slow: Matcher.Matcher["Service"] = {
          ...Matcher.make(),
          match: () => {
            for (const until = performance.now() + SLOW_MS; performance.now() < until;);
            return []
          }
        }
        const friend = fakePeer()
        const stranger = fakePeer().connection
        const tell = yield* makeDirectory(friend.connection, slow)
        let answered = 0
        const began = performance.now()
        for (let n = 1; n <= 30; n++) {
          const asked = tell(stranger, queryMessage(n), true)
          asked.close()
          if (asked.reset === undefined) answered += 1
          else expect(asked.reset).toBe(ResetCode.Overloaded)
        }
        expect(answered).toBeGreaterThan(0)
        const comeSince = (Directory.MATCHING_MS_PER_SECOND.ofOne * (performance.now() - began)) / 1_000
        expect(answered).toBeLessThanOrEqual(1 + (Directory.MATCHING_MS_AT_ONCE.ofOne + comeSince) / SLOW_MS)
        expect(tell(friend.connection, queryMessage(31), true).reset).toBe(undefined)
      })
    ))

  test("bring no more than some hundred kilobytes each, however large the records are", () =>
    run(
      Effect.gen(function* () {
        const matcher = Matcher.make()
        for (let i = 0; i < Directory.MAX_ANSWERS; i++) {
          matcher.upsert(largeRecord())
        }
        const tell = yield* makeDirectory(fakePeer().connection, matcher)
        const asked = tell(fakePeer().connection, queryMessage(1), true)
        yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        const { bytes, ended, records } = asked.over()
        expect(ended).toBe(true)
        expect(records).toBeGreaterThan(5)
        expect(bytes).toBeLessThan(Directory.MAX_ANSWER_BYTES + AgentRecord.MAX_RECORD_BYTES)
      })
    ))

  test("records of strangers take bounded memory, and those that have gone make room", () =>
    run(
      Effect.gen(function* () {
        const matcher = Matcher.make()
        const tell = yield* makeDirectory(fakePeer().connection, matcher, { recordBytes: 200_000 })
        const identities = Array.from({ length: 6 }, () => Identity.generate())
        const from = (identity: Identity.Identity["Service"]) => ({
          ...fakePeer().connection,
          peer: identity.nodeId
        })
        const holds = () => identities.filter(({ nodeId }) => matcher.get(nodeId) !== undefined).length
        for (const identity of identities) tell(from(identity), recordMessage(largeRecord(identity)), false)
        expect(holds()).toBe(3)
        for (const identity of identities.slice(0, 2)) tell(from(identity), recordMessage(farewell(identity)), false)
        expect(holds()).toBe(1)
        for (const identity of identities.slice(3)) tell(from(identity), recordMessage(largeRecord(identity)), false)
        expect(holds()).toBe(3)
      })
    ))

  test("a connected peer's record finds room among those of nodes that are not, the oldest of which go", () =>
    run(
      Effect.gen(function* () {
        const matcher = Matcher.make()
        const connected = new Set<string>()
        const tell = yield* makeDirectory(
          fakePeer().connection,
          matcher,
          { records: 4, recordBytes: 200_000 },
          connected
        )
        const hear = (identity: Identity.Identity["Service"], record: AgentRecord.AgentRecord) =>
          tell({ ...fakePeer().connection, peer: identity.nodeId }, recordMessage(record), false)
        const small = (identity: Identity.Identity["Service"]) =>
          AgentRecord.make(identity, { name: "s", seq: 1, issuedAt: Date.now(), addresses: [], capabilities: [] })
        const [a, b, c, d, e, f] = Array.from({ length: 6 }, () => Identity.generate()) as [
          Identity.Identity["Service"],
          ...Array<Identity.Identity["Service"]>
        ]
        const held = () => [a, b!, c!, d!, e!, f!].map(({ nodeId }) => matcher.get(nodeId) !== undefined)
        connected.add(a.nodeId)
        for (const each of [a, b!, c!]) hear(each, largeRecord(each))
        // The node's own record is the fourth: by number nobody else fits.
        hear(d!, small(d!))
        expect(held()).toEqual([true, true, true, false, false, false])
        connected.add(d!.nodeId)
        hear(d!, small(d!))
        expect(held()).toEqual([true, false, true, true, false, false])
        connected.add(e!.nodeId)
        hear(e!, largeRecord(e))
        expect(held()).toEqual([true, false, false, true, true, false])
        connected.add(f!.nodeId)
        hear(f!, small(f!))
        expect(held()).toEqual([true, false, false, true, true, false])
        expect(matcher.size().records).toBe(4)
      })
    ))

  test("announcements come in bursts, and few a second in the long run", () =>
    run(
      Effect.gen(function* () {
        const tell = yield* makeDirectory(fakePeer().connection, Matcher.make())
        const identity = Identity.generate()
        const stranger = { ...fakePeer().connection, peer: identity.nodeId }
        const record = (seq: number) =>
          recordMessage(
            AgentRecord.make(identity, { name: "s", seq, issuedAt: Date.now(), addresses: [], capabilities: [] })
          )
        const codes = Array.from({ length: 30 }, (_, seq) => tell(stranger, record(seq + 1), false).reset)
        expect(codes.slice(0, 20)).toEqual(Array.from({ length: 20 }))
        expect(codes.at(-1)).toBe(ResetCode.Overloaded)
      })
    ))
})

test("a rate limit gives a burst, refills at its rate, and charges what is known later", () => {
  const limit = new RateLimit(2, 20)
  let taken = 0
  while (limit.take("a", 0) === 0) taken += 1
  expect(taken).toBe(20)
  expect(limit.take("a", 1_000)).toBe(0)
  expect(limit.take("a", 1_000)).toBe(0)
  expect(limit.take("a", 1_000)).toBe(500)
  limit.charge("b", 30, 0)
  expect(limit.has("b", 4_999)).toBe(false)
  expect(limit.has("b", 5_001)).toBe(true)
  expect(limit.has("c", 0)).toBe(true)
})
