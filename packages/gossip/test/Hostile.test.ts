/**
 * Verifies: nothing that a stranger sends by gossip crashes a node, is believed of somebody else, or brings back what is over;
 * and a flood costs its sender more than the node.
 */
import { describe, expect, test } from "bun:test"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import type { Heard } from "@parley/core/Broadcast"
import type { Found } from "@parley/core/Discovery"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import { forRounds, mutate, seeded } from "@parley/core/testing/Seeded"
import { ResetCode, type Stream as PeerStream } from "@parley/core/Transport"
import * as Envelope from "@parley/gossip/Envelope"
import * as Payload from "@parley/gossip/Payload"
import * as Statement from "@parley/gossip/Statement"
import type * as Swim from "@parley/gossip/Swim"
import * as Wire from "@parley/gossip/Wire"
import { ground, type Joined, joined, meet, run, stranger, until } from "./ground.ts"

const signed = (
  identity: Identity.Identity["Service"],
  more: Partial<AgentRecord.Fields> = {}
): AgentRecord.AgentRecord =>
  AgentRecord.make(identity, {
    name: "n",
    seq: 1,
    issuedAt: Date.now(),
    addresses: [],
    capabilities: [{ name: "x", version: "1.0.0" }],
    ...more
  })
const gossip = (payload: Uint8Array): Uint8Array =>
  Wire.encode({ _tag: "Gossip", id: "", origin: "", round: 0, payload }, () => [])
const told = (record: AgentRecord.AgentRecord): Uint8Array => gossip(Payload.ofRecord(record).payload)
const said = (
  identity: Identity.Identity["Service"],
  more: Partial<Parameters<typeof Envelope.seal>[1]> = {}
): Uint8Array =>
  gossip(
    Payload.ofEnvelope(
      Envelope.seal(identity, { epoch: Date.now(), seq: 0, at: Date.now(), topic: "t", text: '"x"', ...more })
    ).payload
  )
const hello = Wire.encodeHello({ epoch: 1, addresses: [] })

/** A stranger's stream to a node, and how it ended. */
const attack = (node: Joined) =>
  Effect.gen(function* () {
    const peer = yield* stranger
    const connection = yield* peer.connections.connect({ node: node.nodeId, addresses: node.connections.addresses() })
    const closed: Array<ResetCode> = []
    let writable = true
    const open = (): PeerStream =>
      connection.open(Protocol.GOSSIP, {
        onMessage: () => {},
        onWritable: () => void (writable = true),
        onClosed: (code) => void closed.push(code)
      })!
    const stream = open()
    return {
      ...peer,
      closed,
      open,
      stream,
      isWritable: () => writable,
      send: (...messages: ReadonlyArray<Uint8Array>): void => {
        for (const message of messages) writable = stream.send(message, undefined, false)
      }
    }
  })

const listen = (node: Joined, topic: string) =>
  Effect.gen(function* () {
    const heard: Array<Heard> = []
    yield* node.carrier.subscribe(topic, (one) => void heard.push(one))
    return heard
  })
const search = (node: Joined): Effect.Effect<ReadonlyArray<Found>> =>
  Effect.orDie(Stream.runCollect(node.membership.find({})))
const knows = (node: Joined, whom: string) =>
  Effect.map(search(node), (all) => all.some((found) => found.node === whom))

describe("a stranger", () => {
  test("who signs what it sends is heard", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        const heard = yield* listen(node, "t")
        const one = yield* attack(node)
        one.send(hello, told(signed(one.identity)), said(one.identity))
        yield* until("its record and its message came", () =>
          Effect.map(knows(node, one.identity.nodeId), (known) => known && heard.length === 1)
        )
        expect(heard[0]).toMatchObject({ from: one.identity.nodeId, text: '"x"', seq: 0 })
      })
    ))

  test("says nothing of another: what is forged is not taken, and its sender is heard no more", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        const victim = Identity.generate()
        const heard = yield* listen(node, "t")
        const record = signed(victim)
        const now = yield* Clock.currentTimeMillis
        const envelope = Envelope.seal(victim, { epoch: now, seq: 0, at: now, topic: "t", text: '"x"' })
        const bytes = Uint8Array.from(envelope.bytes)
        bytes[bytes.length - 65] = bytes[bytes.length - 65]! ^ 1
        for (const forged of [
          told({ ...record, seq: 2 }),
          told({ ...record, addresses: ["tcp://evil:1"] }),
          gossip(Payload.ofEnvelope({ ...envelope, bytes }).payload)
        ]) {
          const one = yield* attack(node)
          one.send(hello, forged, told(signed(one.identity)))
          yield* until("its stream is reset", () => Effect.sync(() => one.closed.length > 0))
          expect(one.closed).toEqual([ResetCode.Malformed])
          one.open()
          yield* until("it is not let in again", () => Effect.sync(() => one.closed.length > 1))
          expect(one.closed[1]).toBe(ResetCode.UnknownProtocol)
          expect(yield* knows(node, one.identity.nodeId)).toBe(false)
        }
        expect([heard.length, yield* knows(node, victim.nodeId)]).toEqual([0, false])
      })
    ))

  test("brings nobody back: replayed and future records and messages are not taken, nor held against who passes them on", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        const heard = yield* listen(node, "t")
        const [gone, late, early] = [Identity.generate(), Identity.generate(), Identity.generate()]
        const now = yield* Clock.currentTimeMillis
        const one = yield* attack(node)
        one.send(
          hello,
          // It left, and an older record of it comes again.
          told(signed(gone, { seq: 5 })),
          told(AgentRecord.tombstone(gone, 6, now)),
          told(signed(gone, { seq: 4 })),
          told(signed(gone, { seq: 5 })),
          // Its time is over; it has not come yet.
          told(signed(late, { issuedAt: now - 10_000, expiresAt: now - 1 })),
          told(signed(early, { issuedAt: now + AgentRecord.CLOCK_SKEW + 60_000 })),
          said(one.identity, { at: now - Envelope.MAX_AGE_MS - 1_000, epoch: now - Envelope.MAX_AGE_MS - 1_000 }),
          said(one.identity, { at: now + Envelope.CLOCK_SKEW_MS + 60_000 }),
          // A message that comes again, and one of an epoch that is over.
          said(one.identity, { epoch: now, at: now, seq: 0, text: '"first"' }),
          said(one.identity, { epoch: now, at: now, seq: 0, text: '"again"' }),
          said(one.identity, { epoch: now - 1, at: now, seq: 0, text: '"older"' }),
          said(one.identity, { epoch: now, at: now, seq: 1, text: '"last"' })
        )
        yield* until("the last came", () => Effect.sync(() => heard.some(({ text }) => text === '"last"')))
        expect(heard.map(({ text }) => text)).toEqual(['"first"', '"last"'])
        for (const whom of [gone, late, early]) expect(yield* knows(node, whom.nodeId)).toBe(false)
        expect(one.closed).toEqual([])
      })
    ))

  test("that sends other bytes ends its stream alone", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        const heard = yield* listen(node, "t")
        const random = seeded(20_261_125)
        const identity = Identity.generate()
        const examples = [
          hello,
          told(signed(identity)),
          said(identity),
          Wire.encode({ _tag: "Shuffle", origin: identity.nodeId, ttl: 3, peers: [identity.nodeId] }, () => [
            "tcp://h:1"
          ]),
          Wire.encode({ _tag: "IHave", have: [{ id: "00".repeat(16), round: 1 }] }, () => []),
          Wire.encode({ _tag: "Graft", id: "00".repeat(16) }, () => [])
        ]
        for (let n = 0; n < 20; n++) {
          const one = yield* attack(node)
          forRounds(random, 20, (round) =>
            one.send(random.int(4) === 0 || round === 0 ? hello : mutate(random, random.pick(examples)))
          )
          one.send(random.bytes(100))
          yield* until("its stream is reset", () => Effect.sync(() => one.closed.length > 0))
        }
        const honest = yield* attack(node)
        honest.send(hello, said(honest.identity))
        yield* until("an honest one is heard", () =>
          Effect.sync(() => heard.some(({ from }) => from === honest.identity.nodeId))
        )
      })
    ))

  test("does not stop a node's own: a record is taken from the node alone", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        yield* node.advertise({ seq: 10 })
        const one = yield* attack(node)
        one.send(hello, told(signed(node.identity, { seq: 3 })), told(signed(one.identity)))
        yield* until("the attacker's own came", () => knows(node, one.identity.nodeId))
        expect(one.closed).toEqual([])
        expect(node.record().seq).toBe(10)
      })
    ))
})

/** What somebody says of itself, or of another, under this signature. */
const alive = (signer: Identity.Identity["Service"], more: Partial<Swim.Alive> = {}): Swim.Alive => {
  const said = { _tag: "Alive", subject: signer.nodeId, incarnation: 1_000, left: false, ...more } as const
  const evidence = Statement.sign(signer, { ...said, evidence: new Uint8Array(0) })
  return { ...said, evidence }
}
const accusation = (signer: Identity.Identity["Service"], subject: string, accuser: string): Swim.Accusation => {
  const said = { _tag: "Accusation", subject, incarnation: 1_000, accuser } as const
  return { ...said, evidence: Statement.sign(signer, { ...said, evidence: new Uint8Array(0) }) }
}
const news = (...statements: ReadonlyArray<Swim.Statement>): Uint8Array =>
  Wire.encode({ _tag: "News", statements }, () => [])
const items = (statement: Swim.Statement): Uint8Array => {
  const key = `${statement._tag === "Alive" ? "a" : "x"}${statement.subject}`
  const item = { key, version: 4_000, payload: statement, bytes: Statement.MAX_STATEMENT_BYTES }
  return Wire.encode({ _tag: "Items", items: [item] }, () => [])
}

/** A neighbour that notes which statements the node passes on to it. */
const watcher = (node: Joined) =>
  Effect.gen(function* () {
    const identity = Identity.generate()
    const { connections } = yield* ground(identity)
    const passedOn: Array<Swim.Statement> = []
    yield* Effect.orDie(
      connections.handle(Protocol.GOSSIP, () => ({
        onMessage: (bytes) => {
          const read = Wire.decode(bytes)
          if (read instanceof Wire.WireRefused) return
          const { message } = read
          if (message._tag === "News") passedOn.push(...message.statements)
          else if (message._tag === "Ping" || message._tag === "Ack") passedOn.push(...message.about)
          else if (message._tag === "Items")
            for (const { payload } of message.items) if (!(payload instanceof Uint8Array)) passedOn.push(payload)
        },
        onWritable: () => {},
        onClosed: () => {}
      }))
    )
    const connection = yield* connections.connect({ node: node.nodeId, addresses: node.connections.addresses() })
    const stream = connection.open(Protocol.GOSSIP, { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} })!
    for (const message of [hello, Wire.encode({ _tag: "Join" }, () => [])]) stream.send(message, undefined, false)
    yield* until("it is a neighbour", () => Effect.sync(() => node.neighbors().includes(identity.nodeId)))
    return passedOn
  })

describe("what a stranger says of who lives", () => {
  test("counts by its maker's signature alone, whoever brings it: what is forged is neither believed nor passed on", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        const passedOn = yield* watcher(node)
        const [victim, accuser, leaver, evil] = [1, 2, 3, 4].map(() => Identity.generate())
        const isPassedOn = (subject: string, tag: Swim.Statement["_tag"]) => () =>
          Effect.sync(() => passedOn.some((one) => one.subject === subject && one._tag === tag))
        const bringer = yield* attack(node)
        // No neighbour brings these; they are genuine, and count.
        bringer.send(hello, news(alive(victim!), alive(accuser!)))
        yield* until("the genuine is passed on", isPassedOn(victim!.nodeId, "Alive"))
        expect(node.neighbors()).not.toContain(bringer.identity.nodeId)

        const stranger = Identity.generate().nodeId
        const forged: ReadonlyArray<Swim.Statement> = [
          // The victim has left, or lives on in a later incarnation, as somebody else says in its name.
          { ...alive(evil!, { subject: victim!.nodeId, left: true }) },
          { ...alive(evil!, { subject: victim!.nodeId, incarnation: 2_000 }) },
          // Genuine once, and altered.
          { ...alive(victim!), left: true },
          { ...alive(victim!), incarnation: 3_000 },
          // One who does not exist.
          { ...alive(evil!, { subject: stranger }) },
          // Accused in the name of another.
          accusation(evil!, victim!.nodeId, accuser!.nodeId),
          { ...accusation(accuser!, leaver!.nodeId, accuser!.nodeId), subject: victim!.nodeId }
        ]
        for (const statement of forged)
          for (const bytes of [news(statement), items(statement)]) {
            const one = yield* attack(node)
            one.send(hello, bytes)
            yield* until("its stream is reset", () => Effect.sync(() => one.closed.length > 0))
            expect(one.closed).toEqual([ResetCode.Malformed])
          }

        // What came behind the forged has been passed on; nothing of the forged was before it.
        bringer.send(
          news(alive(leaver!), alive(leaver!, { left: true })),
          items(accusation(accuser!, victim!.nodeId, accuser!.nodeId))
        )
        yield* until("who left is held for gone", () => Effect.sync(() => node.carrier.isDown(leaver!.nodeId)))
        yield* until("the genuine accusation is passed on", isPassedOn(victim!.nodeId, "Accusation"))
        yield* until("the goodbye is passed on", () =>
          Effect.sync(() => passedOn.some((one) => one.subject === leaver!.nodeId && one._tag === "Alive" && one.left))
        )
        expect(passedOn.filter((one) => !Statement.isGenuine(one))).toEqual([])
        expect(passedOn.some(({ subject }) => subject === stranger)).toBe(false)
        expect([node.carrier.isDown(victim!.nodeId), bringer.closed]).toEqual([false, []])
      })
    ))
})

describe("a flood", () => {
  test("of genuine records is read no faster than the node has time for, and honest ones are heard meanwhile", () =>
    run(
      Effect.gen(function* () {
        const [node, honest] = [yield* joined(), yield* joined()]
        yield* meet(honest, node)
        const heard = yield* listen(node, "t")
        const one = yield* attack(node)
        const keys = Array.from({ length: 50 }, () => Identity.generate())
        const records = keys.flatMap((key) =>
          Array.from({ length: 60 }, (_, n) => told(signed(key, { seq: n + 1, name: "x".repeat(60) })))
        )
        one.send(hello)
        let sent = 0
        // As much as the stream takes, for as long as it takes to hear an honest message.
        const pump = (): void => {
          while (one.isWritable() && sent < 200_000) one.send(records[sent++ % records.length]!)
        }
        let asked = 0
        yield* until("the honest one is heard", () =>
          Effect.gen(function* () {
            pump()
            if (asked++ % 50 === 0) yield* Effect.orDie(honest.carrier.publish("t", '"here"'))
            return heard.length > 0
          })
        )
        expect(heard[0]).toMatchObject({ from: honest.nodeId, text: '"here"' })
        pump()
        // The stream is full: the rest waits at the attacker.
        expect(one.isWritable()).toBe(false)
        expect(node.records() <= keys.length + 3).toBe(true)
      })
    ))

  test("of one publisher's messages stops at what a publisher may send", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        const heard = yield* listen(node, "t")
        const one = yield* attack(node)
        const epoch = yield* Clock.currentTimeMillis
        one.send(hello)
        for (let seq = 0; seq < 6_000; seq++) one.send(said(one.identity, { epoch, seq }))
        const other = yield* attack(node)
        other.send(hello, said(other.identity))
        yield* until("another is heard", () =>
          Effect.sync(() => heard.some(({ from }) => from === other.identity.nodeId))
        )
        // What was dropped was not believed later, and what was taken is in order.
        const seqs = heard.flatMap(({ from, seq }) => (from === one.identity.nodeId ? [seq] : []))
        expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
        expect(new Set(seqs).size).toBe(seqs.length)
        expect(seqs.length < 6_000).toBe(true)
      })
    ))

  test("of own messages is refused to the publisher, in words", () =>
    run(
      Effect.gen(function* () {
        const node = yield* joined()
        let refused: unknown
        for (let n = 0; n < 10_000 && refused === undefined; n++) {
          const result = yield* Effect.result(node.carrier.publish("t", String(n)))
          if (result._tag === "Failure") refused = result.failure
        }
        expect(refused).toMatchObject({ code: "TooMany" })
      })
    ))
})
