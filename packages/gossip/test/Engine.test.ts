/**
 * Verifies: whatever a machine makes of messages, a node reads no more of them than it has time for, takes no more of one origin than
 * it may say, holds what was published for who missed it, and lets go of connections that nobody uses.
 */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { Connections } from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import type { Action, Machine } from "@parley/core/Machine"
import type { NodeId } from "@parley/core/NodeId"
import { type Connection, ResetCode, type Stream } from "@parley/core/Transport"
import type { Command, Message, Timer, Told } from "@parley/gossip/GossipMachine"
import * as Payload from "@parley/gossip/Payload"
import * as Statement from "@parley/gossip/Statement"
import type * as Swim from "@parley/gossip/Swim"
import * as Wire from "@parley/gossip/Wire"
import { AddressBook, MAX_ADDRESSES, MAX_NODES } from "../src/internal/AddressBook.ts"
import { Engine, MAX_DEAD } from "../src/internal/Engine.ts"
import { PUBLISH, Rates, RECORDS_AT_ONCE, WORK_MS_AT_ONCE, WORK_MS_PER_SECOND } from "../src/internal/Rates.ts"
import { MAX_BYTES, MAX_RECORDS, Records } from "../src/internal/Records.ts"
import { LINGER_MS } from "../src/internal/Links.ts"
import { run, until } from "./ground.ts"

/** For what waits on real time: machines may be slow. */
const LONG_MS = 60_000
/** When the tests run. */
const now = Date.now()
type Step = Parameters<Machine<undefined, Message, Timer, Command, Told>["step"]>[1]

/** An engine on no network: what happens goes to `step`, and what it gives is done. */
const engine = (step: (event: Step) => ReadonlyArray<Action<Message, Timer, Told>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      let isGenuine: (statement: Swim.Statement) => boolean = () => false
      const identity = Identity.generate()
      const dialled: Array<{ readonly peer: NodeId; drained: boolean; streams: number }> = []
      const connections: Connections["Service"] = {
        nodeId: identity.nodeId,
        isPrivate: false,
        addresses: () => [],
        get: () => undefined,
        list: () => [],
        connect: ({ node }) =>
          Effect.sync(() => {
            const one = { peer: node!, drained: false, streams: 1 }
            dialled.push(one)
            return {
              ...connection(node!),
              streams: () => one.streams,
              drain: () => Effect.sync(() => void (one.drained = true))
            }
          }),
        keep: () => Effect.void,
        observe: () => Effect.void,
        handle: () => Effect.void
      }
      const made = new Engine<undefined>({
        identity,
        connections,
        addresses: () => [],
        fork: Effect.runFork,
        start: (verify) => {
          isGenuine = verify
          return { machine: { step: (_, event) => [undefined, step(event)] }, state: undefined }
        }
      })
      return { made, identity, dialled, isGenuine }
    }),
    ({ identity, made }) => Effect.sync(() => made.stop(AgentRecord.tombstone(identity, now, now)))
  )

const connection = (peer: NodeId): Connection => ({
  peer,
  address: "tcp://nowhere:1",
  direction: "outbound",
  relayed: false,
  state: () => "open",
  streams: () => 1,
  open: () => stream().stream,
  drain: () => Effect.void,
  close: () => Effect.void
})

const stream = () => {
  const seen = { paused: false, reset: undefined as number | undefined }
  const made: Stream = {
    send: () => true,
    reset: (code) => void (seen.reset = code),
    pause: () => void (seen.paused = true),
    resume: () => void (seen.paused = false)
  }
  return { seen, stream: made }
}

/** A peer's stream to an engine, which has said hello. */
const speak = (to: Engine<undefined>, peer: NodeId = Identity.generate().nodeId, epoch = 1) => {
  const { seen, stream: made } = stream()
  const handler = to.links.accept(connection(peer), made)!
  handler.onMessage(Wire.encodeHello({ epoch, addresses: [] }), false)
  return { peer, seen, say: (bytes: Uint8Array) => handler.onMessage(bytes, false) }
}

/** A record of an identity that carries nothing but its number. */
const recordOf = (origin: Identity.Identity["Service"], seq: number): AgentRecord.AgentRecord =>
  AgentRecord.make(origin, { name: "n", seq, issuedAt: now, addresses: [], capabilities: [] })
const gossip = (payload: Uint8Array): Uint8Array =>
  Wire.encode({ _tag: "Gossip", id: "", origin: "", round: 0, payload }, () => [])

const join = Wire.encode({ _tag: "Join" }, () => [])
const busy = (ms: number): void => {
  const until = performance.now() + ms
  while (performance.now() < until);
}

describe("a node's time", () => {
  test("goes to no stranger for longer than it has: what comes beyond it waits unread, and its stream is paused", () =>
    run(
      Effect.gen(function* () {
        let steps = 0
        const { made } = yield* engine((event) => {
          if (event._tag !== "Message") return []
          steps++
          busy(30)
          return []
        })
        const one = speak(made)
        const began = performance.now()
        for (let n = 0; n < 9; n++) one.say(join)
        // It is not stopped before its time is used up; the last of its messages may take it beyond. The clock goes on meanwhile.
        const passed = performance.now() - began
        expect(passed).toBeGreaterThanOrEqual(WORK_MS_AT_ONCE.ofOne)
        const had = WORK_MS_AT_ONCE.ofOne + (WORK_MS_PER_SECOND.ofOne * passed) / 1_000
        expect(30 * (steps - 1)).toBeLessThan(had)
        expect([one.seen.paused, made.links.waitingBytes > 0]).toEqual([true, true])
        // Another stranger waits as well, and is heard before the rest of the first.
        const other = speak(made)
        other.say(join)
        // A neighbour is heard at once.
        const before = steps
        const neighbor = Identity.generate().nodeId
        made.neighbors.add(neighbor)
        speak(made, neighbor).say(join)
        expect(steps).toBe(before + 1)
        yield* until("all are heard", () => Effect.sync(() => steps === 11))
        expect([one.seen.paused, other.seen.paused, made.links.waitingBytes]).toEqual([false, false, 0])
      })
    ))

  test("that is saved up is little, and neighbours that flood leave another its share", () => {
    const rates = new Rates()
    const peers = Array.from({ length: 4 }, () => Identity.generate().nodeId)
    const [one, other] = [peers[0]!, peers[1]!]
    const hour = 3_600_000
    rates.spent(one, false, hour, hour + WORK_MS_AT_ONCE.ofOne)
    expect(rates.pauseFor(one, false, hour + WORK_MS_AT_ONCE.ofOne) > 0).toBe(true)
    // The strangers' time is spent, too, and the neighbours' is not.
    expect(rates.pauseFor(other, false, hour + WORK_MS_AT_ONCE.ofOne) > 0).toBe(true)
    expect(rates.pauseFor(other, true, hour + WORK_MS_AT_ONCE.ofOne)).toBe(0)
    expect(WORK_MS_PER_SECOND.ofNeighbors > 3 * WORK_MS_PER_SECOND.ofOne).toBe(true)
  })
})

describe("an origin", () => {
  test("is taken at its word no more often than it may speak", () => {
    const rates = new Rates()
    const [one, other] = [Identity.generate().nodeId, Identity.generate().nodeId]
    for (let n = 0; n < 2 * PUBLISH.atOnce; n++) {
      expect(rates.admits(one, "Topic", 0)).toBe(true)
      rates.took(one, "Topic", 1, 0)
    }
    expect([rates.admits(one, "Topic", 0), rates.admits(other, "Topic", 0)]).toEqual([false, true])
    expect(rates.admits(one, "Topic", 1_000)).toBe(true)
    rates.took(other, "Topic", 2 * PUBLISH.bytesAtOnce, 0)
    expect(rates.admits(other, "Topic", 0)).toBe(false)
  })

  test("changes its record no more often than it may, whoever tells", () =>
    run(
      Effect.gen(function* () {
        const { made } = yield* engine(() => [])
        const origin = Identity.generate()
        const one = speak(made)
        const many = 3 * RECORDS_AT_ONCE
        for (let seq = 1; seq <= many; seq++) {
          one.say(gossip(Payload.ofRecord(recordOf(origin, seq)).payload))
        }
        yield* until("all are read", () => Effect.sync(() => made.counts().payloads === many))
        expect(made.counts().fresh >= RECORDS_AT_ONCE).toBe(true)
        expect(made.counts().fresh < many).toBe(true)
        expect(one.seen.reset).toBe(undefined)
      })
    ))

  test("is known by its newest record: an older one, or the same again, changes nothing", () => {
    const records = new Records()
    const origin = Identity.generate()
    const make = (seq: number) =>
      AgentRecord.make(origin, { name: `n${seq}`, seq, issuedAt: now, addresses: [], capabilities: [] })
    expect(records.put(make(5), 100, now)).toBe("new")
    expect(records.put(make(4), 200, now)).toBe("known")
    expect(records.put(make(5), 200, now)).toBe("known")
    expect([records.get(origin.nodeId)?.seq, records.bytes]).toEqual([5, 100])
    expect(records.put(AgentRecord.tombstone(origin, 6, now), 50, now)).toBe("new")
    expect(records.put(make(5), 100, now)).toBe("known")
    expect([records.get(origin.nodeId)?.seq, records.size, records.bytes, [...records.live(now)].length]).toEqual([
      6, 1, 50, 0
    ])
  })
})

describe("what is known of many", () => {
  test("is bounded: newcomers' records wait until something expires, and who is known stays", () => {
    const records = new Records()
    const one = recordOf(Identity.generate(), 1)
    const named = (n: number, seq = 1): AgentRecord.AgentRecord => ({ ...one, seq, node: `z${n}` as NodeId })
    for (let n = 0; n < MAX_RECORDS; n++) records.put(named(n), 10, now)
    expect([records.put(named(-1), 10, now), records.put(named(7, 2), 10, now)]).toEqual(["full", "new"])
    expect([records.size, records.get(named(-1).node)]).toEqual([MAX_RECORDS, undefined])
    expect(records.put(named(-1), 10, one.expiresAt)).toBe("new")
    expect([records.size, records.bytes]).toEqual([1, 10])
    expect(records.put(named(-2), MAX_BYTES, now)).toBe("full")
  })

  test("and where it is: the newest addresses of each, its own words first", () => {
    const book = new AddressBook()
    const node = "z1" as NodeId
    const addresses = Array.from({ length: 3 * MAX_ADDRESSES }, (_, n) => `tcp://a:${n}`)
    for (const address of addresses) book.add(node, [address], "another")
    expect(book.get(node)).toEqual(addresses.slice(-MAX_ADDRESSES).reverse())
    book.add(node, addresses, "itself")
    expect(book.get(node)).toEqual([...addresses.slice(0, MAX_ADDRESSES), ...addresses.slice(-MAX_ADDRESSES).reverse()])
    for (let n = 2; n <= MAX_NODES + 1; n++) book.add(`z${n}` as NodeId, ["tcp://b:1"], "another")
    expect([book.size, book.get(node)]).toEqual([MAX_NODES, []])
  })
})

describe("what is said of a node", () => {
  test("by the node itself in an earlier run is passed on until this run has said more", () =>
    run(
      Effect.gen(function* () {
        const heard: Array<string> = []
        const { identity, made } = yield* engine((event) => {
          if (event._tag === "Message" && event.message._tag === "Gossip") heard.push(event.message.id)
          return []
        })
        const [before, older, newer] = [2, 4, 9].map((seq) => Payload.ofRecord(recordOf(identity, seq)))
        const peer = speak(made)
        peer.say(gossip(before!.payload))
        expect(made.advertise(recordOf(identity, 5))).toBe(undefined)
        peer.say(gossip(older!.payload))
        peer.say(gossip(newer!.payload))
        expect(heard).toEqual([before!.id, newer!.id])
        expect([peer.seen.reset, made.records.get(identity.nodeId)?.seq]).toEqual([undefined, 5])
      })
    ))

  test("by the node itself in an earlier run is known for old, however many records there are", () =>
    run(
      Effect.gen(function* () {
        const heard: Array<string> = []
        const { identity, made } = yield* engine((event) => {
          if (event._tag === "Message" && event.message._tag === "Gossip") heard.push(event.message.id)
          return []
        })
        const one = recordOf(Identity.generate(), 1)
        for (let n = 0; n < MAX_RECORDS; n++) made.records.put({ ...one, node: `z${n}` as NodeId }, 10, now)
        expect(made.advertise(recordOf(identity, 5))).toBe(undefined)
        const [older, newer] = [4, 9].map((seq) => Payload.ofRecord(recordOf(identity, seq)))
        const peer = speak(made)
        for (const one of [older!, newer!]) peer.say(gossip(one.payload))
        expect(heard).toEqual([newer!.id])
      })
    ))

  test("with a time of the future is not believed, nor held against who says it", () =>
    run(
      Effect.gen(function* () {
        const { isGenuine, made } = yield* engine(() => [])
        const subject = Identity.generate()
        const said = (incarnation: number): Swim.Alive => {
          const alive: Swim.Alive = {
            _tag: "Alive",
            subject: subject.nodeId,
            incarnation,
            left: false,
            evidence: new Uint8Array(64)
          }
          return { ...alive, evidence: Statement.sign(subject, alive) }
        }
        const soon = now + Statement.CLOCK_SKEW_MS
        expect([isGenuine(said(soon - 10_000)), isGenuine(said(soon + LONG_MS))]).toEqual([true, false])
        const peer = speak(made)
        peer.say(join)
        expect(peer.seen.reset).toBe(undefined)
        expect(isGenuine({ ...said(1), left: true })).toBe(false)
        peer.say(join)
        expect(peer.seen.reset).toBe(ResetCode.Malformed)
      })
    ))

  test("and came by comparing counts under its own name alone: who calls it otherwise is left alone", () =>
    run(
      Effect.gen(function* () {
        let came: Told | undefined
        const { made } = yield* engine((event) =>
          came !== undefined && event._tag === "Command" && event.command._tag === "Join"
            ? [{ _tag: "Tell", told: came }]
            : []
        )
        const origin = Identity.generate()
        const bring = (key: string, version: number, payload: Uint8Array): readonly [boolean, boolean] => {
          const from = Identity.generate().nodeId
          came = { _tag: "Came", item: { key, version, payload, bytes: payload.length }, from }
          made.command({ _tag: "Join", contacts: [] })
          return [made.links.isShunned(from), made.records.get(origin.nodeId) !== undefined]
        }
        const { payload } = Payload.ofRecord(recordOf(origin, 7))
        const forged = payload.slice()
        forged[forged.length - 10]! ^= 1
        expect(bring(`r${origin.nodeId}`, 7, forged)).toEqual([true, false])
        expect(bring(`r${Identity.generate().nodeId}`, 7, payload)).toEqual([true, false])
        const next = Payload.ofRecord(recordOf(origin, 8)).payload
        expect(bring(`r${origin.nodeId}`, 9, next)).toEqual([true, false])
        expect(bring(`r${origin.nodeId}`, 10, Payload.ofRecord(recordOf(origin, 10)).payload)).toEqual([false, true])
      })
    ))
})

describe("a node that says more and more of itself", () => {
  test("tells the mesh of the first at once, and then of the last alone", () =>
    run(
      Effect.gen(function* () {
        const published: Array<string> = []
        const { identity, made } = yield* engine((event) => {
          if (event._tag === "Command" && event.command._tag === "Publish") published.push(event.command.id)
          return []
        })
        const records = [1, 2, 3, 4].map((seq) => recordOf(identity, seq))
        for (const record of records) made.advertise(record)
        const ids = records.map((record) => Payload.ofRecord(record).id)
        expect(published).toEqual([ids[0]!])
        yield* until("the last is told", () => Effect.sync(() => published.length > 1))
        expect(published).toEqual([ids[0]!, ids[3]!])
      })
    ))
})

describe("a peer that has started again", () => {
  test("is another: its link goes down and up", () =>
    run(
      Effect.gen(function* () {
        const links: Array<string> = []
        const { made } = yield* engine((event) => {
          if (event._tag === "LinkUp" || event._tag === "LinkDown") links.push(event._tag)
          return []
        })
        const { peer } = speak(made)
        expect(links).toEqual(["LinkUp"])
        speak(made, peer)
        expect(links).toEqual(["LinkUp"])
        speak(made, peer, 2)
        expect(links).toEqual(["LinkUp", "LinkDown", "LinkUp"])
      })
    ))
})

describe("who is dead or gone", () => {
  test("is known of as many as may be members, the latest of them", () =>
    run(
      Effect.gen(function* () {
        let told: Told = { _tag: "MemberDown", peer: "" }
        const { made } = yield* engine(() => [{ _tag: "Tell", told }])
        const tell = (now: Told): void => {
          told = now
          made.command({ _tag: "Join", contacts: [] })
        }
        const name = (n: number): NodeId => `z${n}` as NodeId
        for (let n = 0; n <= MAX_DEAD; n++) tell({ _tag: n % 2 === 0 ? "MemberDown" : "MemberLeft", peer: name(n) })
        expect([0, 1, MAX_DEAD].map((n) => made.isDown(name(n)))).toEqual([false, true, true])
        tell({ _tag: "MemberUp", peer: name(1) })
        expect(made.isDown(name(1))).toBe(false)
      })
    ))
})

describe("what was said", () => {
  test("is held for who missed it: this node's own, and what it has heard of others", () =>
    run(
      Effect.gen(function* () {
        const held: Array<string> = []
        const { made } = yield* engine((event) => {
          if (event._tag === "Command" && event.command._tag === "Put") held.push(event.command.item.key)
          if (event._tag !== "Message" || event.message._tag !== "Gossip") return []
          const { id, origin, payload, round } = event.message
          return [{ _tag: "Tell", told: { _tag: "Deliver", id, origin, payload, round } as Told }]
        })
        expect(made.publish("t", '"own"')).toBe(0)
        expect(held.map((key) => key[0])).toEqual(["m"])
        const origin = Identity.generate()
        speak(made).say(gossip(Payload.ofRecord(recordOf(origin, 1)).payload))
        expect(held[1]).toBe(`r${origin.nodeId}`)
      })
    ))
})

describe("a connection that was made for gossip", () => {
  test(
    "is let go when gossip needs it no more, unless somebody else uses it",
    () =>
      run(
        Effect.gen(function* () {
          const [used, peer] = [Identity.generate().nodeId, Identity.generate().nodeId]
          const { dialled, made } = yield* engine(() => [])
          for (const one of [used, peer]) made.links.send(one, join)
          yield* until("they are made", () => Effect.sync(() => made.links.isUp(used) && made.links.isUp(peer)))
          expect(dialled.map((one) => one.drained)).toEqual([false, false])
          // Both ends announce their records on one stream each.
          dialled[0]!.streams = 3
          dialled[1]!.streams = 2
          for (const one of [used, peer]) made.links.close(one)
          yield* until("it is let go", () => Effect.sync(() => dialled[1]!.drained), 10 * LINGER_MS)
          expect(dialled[0]!.drained).toBe(false)
        })
      ),
    LONG_MS
  )
})
