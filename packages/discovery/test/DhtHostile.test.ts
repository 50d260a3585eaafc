/** A DHT with strangers in it: what they answer is not believed, and what they send does not stop or grow a node. */
import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import * as Perimeter from "@parley/core/Perimeter"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Dht from "../src/Dht.ts"
import * as Bencode from "../src/internal/Bencode.ts"
import * as DhtItem from "../src/internal/DhtItem.ts"
import * as DhtNetwork from "../src/internal/DhtNetwork.ts"
import * as DhtNode from "../src/internal/DhtNode.ts"
import * as Message from "../src/internal/KrpcMessage.ts"
import { MAX_ITEMS_OF_HOST } from "../src/internal/ItemShares.ts"
import { QUERIES_OF_HOST } from "../src/internal/KrpcSocket.ts"
import * as Lookup from "../src/internal/Lookup.ts"
import * as PacketSeal from "../src/internal/PacketSeal.ts"
import { hostile } from "./support/Hostile.ts"
import { join, type Peer, type Puppet, puppet, tap } from "./support/HostileDht.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))
const network = DhtNetwork.named(DhtNetwork.DEFAULT_NETWORK)
const ID = Buffer.alloc(20, 0xee)

const serve = Effect.map(Dht.serve({ host: "127.0.0.1" }), (node) => ({ node, at: `127.0.0.1:${node.address.port}` }))
const find = (peer: Peer, query: Parameters<Peer["membership"]["find"]>[0]) =>
  Stream.runCollect(peer.membership.find(query))
const nodesFound = (peer: Peer, name: string) => Effect.map(find(peer, { name }), (all) => all.map(({ node }) => node))
/** Searches until somebody is found who was looked for, since news may be on its way. */
const findsEventually = (peer: Peer, whom: Peer) =>
  nodesFound(peer, "test.ability").pipe(
    Effect.repeat({
      schedule: Schedule.spaced("20 millis"),
      until: (nodes) => nodes.includes(whom.identity.nodeId)
    }),
    Effect.timeout("20 seconds")
  )

/** A stranger who has met a node: pinged, and answered its ping, so that it is in its routing table. */
const befriend = (stranger: Puppet, port: number, id: Buffer = ID) =>
  stranger.ask(Bencode.encode({ t: "me", y: "q", q: "ping", a: { id } }), port)

const answerTo = ({ t }: Message.Query, r: { readonly [name: string]: Bencode.Encodable }, id: Buffer = ID) => ({
  t,
  y: "r",
  r: { id, token: "token", ...r }
})

const signed = (identity: Identity.Identity["Service"], seq: number, v: Buffer) => ({
  k: identity.publicKey,
  seq,
  v,
  sig: identity.sign(Bencode.encode({ salt: network.salt, seq, v }).subarray(1, -1))
})

const itemOf = (identity: Identity.Identity["Service"], address: string, seq = 1) =>
  DhtItem.encode(
    AgentRecord.make(identity, {
      name: "x",
      seq,
      issuedAt: Date.now(),
      addresses: [address],
      capabilities: [{ name: "test.ability", version: "1.0.0" }]
    }),
    network
  )

describe("answers of strangers", () => {
  test("that are signed by somebody else, or older, or of another network, are not believed", () =>
    run(
      Effect.gen(function* () {
        const [victim, evil] = [Identity.generate(), Identity.generate()]
        const genuine = itemOf(victim, "tcp://10.0.0.1:1", 7)
        const forged = itemOf(victim, "tcp://6.6.6.6:6", 8)
        const wrong = [
          // Somebody else's key, somebody else's signature, a changed value, a changed version, another salt.
          signed(evil, 9, forged),
          { ...signed(evil, 9, forged), k: victim.publicKey },
          { ...signed(victim, 9, genuine), v: forged },
          { ...signed(victim, 9, forged), seq: 10 },
          {
            k: victim.publicKey,
            seq: 9,
            v: forged,
            sig: victim.sign(Bencode.encode({ seq: 9, v: forged }).subarray(1, -1))
          },
          { v: forged },
          // Genuine, but older.
          signed(victim, 1, itemOf(victim, "tcp://10.0.0.2:2", 6))
        ]
        const names: Array<string> = []
        // The older one is asked first and last.
        for (const r of [...wrong.slice(-1), signed(victim, 8, genuine), ...wrong]) {
          const id = randomBytes(20)
          names.push((yield* puppet((query) => answerTo(query, query.q === "get" ? r : {}, id))).at)
        }
        const asker = yield* join({ bootstrap: names })
        const found = yield* find(asker, { node: victim.nodeId })
        expect(found.map(({ addresses }) => addresses)).toEqual([["tcp://10.0.0.1:1"]])
      })
    ))

  test("that name nodes nobody knows cost a bounded search, and hide nobody", () =>
    run(
      Effect.gen(function* () {
        const { at } = yield* serve
        const honest = yield* join({ bootstrap: [at] })
        yield* honest.publish()
        // Keys out of the air, and the key of one who does not serve what is asked for.
        const bystander = yield* join({ bootstrap: [at] })
        yield* bystander.publish({ capabilities: [{ name: "test.other", version: "1.0.0" }] })
        const liars: Array<string> = []
        for (let i = 0; i < 3; i++) {
          const id = randomBytes(20)
          const pks = () => Buffer.concat([bystander.identity.publicKey, randomBytes(32 * 15)])
          liars.push((yield* puppet((query) => answerTo(query, query.q === "get_peers" ? { pks: pks() } : {}, id))).at)
        }
        const asker = yield* join({ bootstrap: [...liars, at] })
        const found = yield* findsEventually(asker, honest)
        expect([...new Set(found)]).toEqual([honest.identity.nodeId])
      })
    ))

  test("that go on naming closer nodes end with the search's bound", () =>
    run(
      Effect.gen(function* () {
        let asked = 0
        const closer = (query: Message.Query) => {
          asked++
          const target = query.a.target ?? query.a.info_hash ?? ID
          const nodes = Array.from({ length: 8 }, () => {
            const id = Buffer.from(target)
            randomBytes(2).copy(id, 18)
            // All at this very socket's host, each at a port where nobody is.
            return Buffer.concat([id, Message.endpointBytes("127.0.0.1", 1 + (randomBytes(2).readUInt16BE() % 1_000))])
          })
          return answerTo(query, { nodes: Buffer.concat(nodes) })
        }
        const stranger = yield* puppet(closer)
        const asker = yield* join({ bootstrap: [stranger.at] })
        const began = performance.now()
        const found = yield* Effect.exit(find(asker, { name: "test.ability" }))
        expect(Exit.isSuccess(found) ? found.value : "failed").toEqual([])
        expect(performance.now() - began).toBeLessThan(Dht.FIND_MS + 1_000)
        expect(asked).toBeLessThan(2 * Lookup.MAX_QUERIES)
      })
    ))

  test("that are too large, or none at all, are passed over", () =>
    run(
      Effect.gen(function* () {
        const { at } = yield* serve
        const honest = yield* join({ bootstrap: [at] })
        yield* honest.publish()
        const giant = yield* puppet((query) =>
          Buffer.concat([Bencode.encode(answerTo(query, {})), Buffer.alloc(60_000)])
        )
        const long = yield* puppet((query) =>
          answerTo(query, { nodes: Buffer.alloc(26 * 1_000, 1), v: Buffer.alloc(20_000) })
        )
        const silent = yield* puppet(() => undefined)
        const asker = yield* join({ bootstrap: [giant.at, long.at, silent.at, at] })
        yield* findsEventually(asker, honest)
        expect((yield* find(asker, { node: honest.identity.nodeId })).length).toBe(1)
      })
    ))

  test("do not come at all: the search fails in its time, and says that nobody answered", () =>
    run(
      Effect.gen(function* () {
        const silent = yield* puppet(() => undefined)
        const asker = yield* join({ bootstrap: [silent.at] })
        const began = performance.now()
        const error = yield* Effect.flip(find(asker, { name: "test.ability" }))
        expect(error.code).toBe("Unreachable")
        expect(error.message).toContain("no DHT node answered")
        expect(performance.now() - began).toBeLessThan(Dht.FIND_MS + 1_000)
      })
    ))

  test("under another's transaction, or from elsewhere than was asked, count for nothing", () =>
    run(
      Effect.gen(function* () {
        const victim = Identity.generate()
        const lie = signed(victim, 9, itemOf(victim, "tcp://6.6.6.6:6"))
        // The one that is asked tells its accomplice, who answers in its place: same host, other port, right transaction.
        const accomplice = yield* puppet(() => undefined)
        const asked = yield* puppet((query, _packet, from) => {
          if (query.q === "get") accomplice.send(Bencode.encode(answerTo(query, lie)), from.port)
          return query.q === "get" ? answerTo({ ...query, t: Buffer.alloc(8, 1) }, lie) : answerTo(query, {})
        })
        const asker = yield* join({ bootstrap: [asked.at] })
        const found = yield* Effect.exit(find(asker, { node: victim.nodeId }))
        expect(Exit.isSuccess(found) ? found.value : []).toEqual([])
      })
    ))
})

describe("what strangers send", () => {
  test("be it random or damaged: a node goes on, for everybody else", () =>
    run(
      Effect.gen(function* () {
        const seed = Number(process.env["PARLEY_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
        console.log(`PARLEY_SEED=${seed}`)
        const random = fromSeed(seed)
        const { at, node } = yield* serve
        const stranger = yield* puppet((query) => answerTo(query, {}))
        const { port } = node.address
        const a = {
          id: ID,
          target: ID,
          info_hash: ID,
          token: "token",
          port: 1,
          v: "x",
          k: Buffer.alloc(32),
          sig: Buffer.alloc(64),
          seq: 1
        }
        const examples = ["ping", "find_node", "get_peers", "announce_peer", "get", "put"].map((q) =>
          Bencode.encode({ t: "aa", y: "q", q, a })
        )
        // In portions that a socket's buffer holds; each ends when an honest question is answered.
        for (let portion = 0; portion < 40; portion++) {
          for (let i = 0; i < 50; i++) stranger.send(hostile(random, examples), port)
          const other = yield* puppet(() => undefined)
          yield* other
            .ask(Bencode.encode({ t: "aa", y: "q", q: "ping", a: { id: ID } }), port)
            .pipe(Effect.timeout("500 millis"), Effect.retry({ times: 20 }))
        }
        expect([node.dropped.malformed > 0, node.dropped.broken]).toEqual([true, 0])
        const [ada, bob] = [yield* join({ bootstrap: [at] }), yield* join({ bootstrap: [at] })]
        yield* ada.publish()
        yield* findsEventually(bob, ada)
      })
    ))

  test("in floods is answered up to the limit, and others are served", () =>
    run(
      Effect.gen(function* () {
        const { node } = yield* serve
        const flooder = yield* puppet(() => undefined)
        const packet = Bencode.encode({ t: "aa", y: "q", q: "get_peers", a: { id: ID, info_hash: ID }, ro: 1 })
        const began = performance.now()
        for (let i = 0; i < 3_000; i++) {
          flooder.send(packet, node.address.port)
          if (i % 100 === 99) yield* Effect.sleep(1)
        }
        const other = yield* puppet(() => undefined)
        yield* other.ask(packet, node.address.port).pipe(Effect.timeout("500 millis"), Effect.retry({ times: 20 }))
        const seconds = (performance.now() - began) / 1_000
        expect(flooder.heard()).toBeLessThanOrEqual(QUERIES_OF_HOST.atOnce + QUERIES_OF_HOST.perSecond * (seconds + 1))
        expect(node.dropped.tooMany).toBeGreaterThan(0)
      })
    ))

  test(
    "to be stored has a share for each host, which one who does not get its answers cannot use up for another",
    () =>
      run(
        Effect.gen(function* () {
          const node = yield* DhtNode.open({
            port: 0,
            host: "127.0.0.1",
            bootstrap: [],
            network,
            seal: PacketSeal.none,
            rules: Perimeter.open,
            isShared: () => false
          })
          const { port } = node.address
          const stranger = yield* puppet(() => undefined)
          const ask = (q: string, a: Bencode.Encodable) =>
            stranger.ask(Bencode.encode({ t: "aa", y: "q", q, a, ro: 1 }), port).pipe(
              Effect.timeout("500 millis"),
              // Over the limit of queries, nothing is answered for a while.
              Effect.retry({ times: 60 }),
              Effect.map((packet) => Message.read(packet))
            )
          const put = (token: Bencode.Encodable, v: string) => ask("put", { id: ID, token, v })
          // Bad tokens are refused, and not counted.
          expect(yield* put("bad", "x")).toMatchObject({ y: "e", code: 203 })
          const got = yield* ask("get", { id: ID, target: ID })
          const token = got?.y === "r" ? got.r.token : undefined
          let taken = 0
          let refused: unknown
          for (let i = 0; refused === undefined && i < 2 * MAX_ITEMS_OF_HOST; i++) {
            const reply = yield* put(token, `value ${i}`)
            if (reply?.y === "r") taken++
            else refused = reply
          }
          expect(taken).toBe(MAX_ITEMS_OF_HOST)
          expect(refused).toMatchObject({ y: "e", code: 202 })
          // What is there already may be renewed.
          expect(yield* put(token, "value 3")).toMatchObject({ y: "r" })
        })
      ),
    30_000
  )

  test("does not bring a stranger into the routing table before it has answered", () =>
    run(
      Effect.gen(function* () {
        const { node } = yield* serve
        const mute = yield* puppet(() => undefined)
        yield* befriend(mute, node.address.port)
        const shy = yield* puppet((query) => answerTo(query, {}, Buffer.alloc(20, 2)))
        yield* shy.ask(
          Bencode.encode({ t: "me", y: "q", q: "ping", a: { id: Buffer.alloc(20, 2) }, ro: 1 }),
          node.address.port
        )
        expect(node.known()).toBe(0)
        const open = yield* puppet((query) => answerTo(query, {}, Buffer.alloc(20, 3)))
        yield* befriend(open, node.address.port, Buffer.alloc(20, 3))
        yield* Effect.sync(() => node.known()).pipe(
          Effect.repeat({ schedule: Schedule.spaced("10 millis"), until: (known) => known > 0 }),
          Effect.timeout("20 seconds")
        )
        expect(node.known()).toBe(1)
      })
    ))
})

describe("a perimeter", () => {
  test("holds for nodes that other nodes tell of", () =>
    run(
      Effect.gen(function* () {
        const outside = yield* puppet((query) => answerTo(query, {}), "127.0.0.2")
        const [host = "", port = ""] = outside.at.split(":")
        const nodes = () => Buffer.concat([randomBytes(20), Message.endpointBytes(host, Number(port))])
        const endpoint = Message.endpointBytes(host, Number(port))
        const tempter = yield* puppet((query) => answerTo(query, { nodes: nodes(), values: [endpoint] }))
        const rules: Perimeter.Rules = { name: "this address", allows: (at) => at === "127.0.0.1" }
        const kept = yield* join({ bootstrap: [tempter.at] }).pipe(Effect.provideService(Perimeter.Perimeter, rules))
        yield* Effect.exit(kept.publish())
        yield* Effect.exit(find(kept, { name: "test.ability" }))
        expect([outside.heard(), tempter.heard() > 0]).toEqual([0, true])
        // The same without a perimeter: the temptation works.
        const free = yield* join({ bootstrap: [tempter.at] })
        yield* Effect.exit(find(free, { name: "test.ability" }))
        expect(outside.heard()).toBeGreaterThan(0)
      })
    ))

  test("that is closed refuses bootstrap nodes outside and names", () =>
    run(
      Effect.gen(function* () {
        for (const at of ["8.8.8.8:6881", "router.example:6881"]) {
          const refused = yield* Effect.flip(join({ bootstrap: [at] })).pipe(
            Effect.provideService(Perimeter.Perimeter, Perimeter.closed)
          )
          expect(refused.message).toContain("perimeter")
        }
      })
    ))
})

describe("a private network", () => {
  const networkKey = new Uint8Array(32).fill(5)

  test(
    "is closed to who lacks its key, and shows nothing",
    () =>
      run(
        Effect.gen(function* () {
          const hub = yield* Dht.serve({ host: "127.0.0.1", networkKey })
          const stranger = yield* puppet(() => undefined)
          // Between a member and the node: what a wire would show.
          const wire = yield* tap(hub.address.port)
          const ada = yield* join({ bootstrap: [wire.at], networkKey }, Identity.generate(), true)
          yield* ada.publish()
          const bob = yield* join(
            { bootstrap: [`127.0.0.1:${hub.address.port}`], networkKey },
            Identity.generate(),
            true
          )
          yield* findsEventually(bob, ada)
          const seen = Buffer.concat(wire.packets)
          expect(wire.packets.length).toBeGreaterThan(3)
          for (const secret of [ada.identity.publicKey, "tcp://", "get_peers"])
            expect(seen.includes(secret)).toBe(false)
          stranger.send(Bencode.encode({ t: "aa", y: "q", q: "ping", a: { id: ID } }), hub.address.port)
          const eve = yield* join({ bootstrap: [`127.0.0.1:${hub.address.port}`] })
          expect((yield* Effect.flip(find(eve, { node: ada.identity.nodeId }))).code).toBe("Unreachable")
          expect([stranger.heard(), hub.dropped.malformed > 1]).toEqual([0, true])
        })
      ),
    30_000
  )

  test("does not join a DHT without its key, nor the public one", () =>
    run(
      Effect.gen(function* () {
        const { at } = yield* serve
        const open = yield* Effect.flip(join({ bootstrap: [at] }, Identity.generate(), true))
        expect(open.message).toContain("private")
        const shown = yield* Effect.flip(join({ public: true, networkKey }, Identity.generate(), true))
        expect(shown.message).toContain("public DHT")
      })
    ))
})
