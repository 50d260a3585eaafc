/** Verifies: the DHT's socket believes who was asked alone, and bounds what it asks, reads and answers. */
import { describe, expect, test } from "bun:test"
import { randomBytes } from "node:crypto"
import * as Perimeter from "@parley/core/Perimeter"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Bencode from "../src/internal/Bencode.ts"
import * as DhtNetwork from "../src/internal/DhtNetwork.ts"
import * as DhtNode from "../src/internal/DhtNode.ts"
import * as Message from "../src/internal/KrpcMessage.ts"
import { KrpcSocket, MAX_INFLIGHT } from "../src/internal/KrpcSocket.ts"
import * as PacketSeal from "../src/internal/PacketSeal.ts"
import { puppet } from "./support/HostileDht.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))
const network = DhtNetwork.named(DhtNetwork.DEFAULT_NETWORK)
const id = Buffer.alloc(20, 0xee)

const opened = Effect.acquireRelease(
  Effect.callback<KrpcSocket>((resume) => {
    const socket = new KrpcSocket({
      rules: Perimeter.open,
      seal: PacketSeal.none,
      publicKey: undefined,
      isShared: () => true
    })
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
  }),
  (socket) => Effect.callback<void>((done) => socket.destroy(() => done(Effect.void)))
)
/** Asks, and gives the reply, or the error's code. */
const ask = (socket: KrpcSocket, peer: Message.Peer) =>
  Effect.callback<Message.Reply | string>((resume) =>
    socket.query(peer, { q: "ping", a: { id } }, (error, reply) =>
      resume(Effect.succeed(reply ?? String((error as { readonly code?: unknown } | null)?.code)))
    )
  )
const host = "127.0.0.1"

describe("the DHT's socket", () => {
  test("takes an answer only from the node that was asked, where that is known", () =>
    run(
      Effect.gen(function* () {
        const socket = yield* opened
        const other = yield* puppet(({ t }) => ({ t, y: "r", r: { id } }))
        expect(yield* ask(socket, { host, port: other.port, id: Buffer.alloc(20, 1) })).toBe("EUNEXPECTEDNODE")
        expect(yield* ask(socket, { host, port: other.port, id })).toMatchObject({ y: "r" })
        expect(yield* ask(socket, { host, port: other.port })).toMatchObject({ y: "r" })
        expect(socket.inflight).toBe(0)
      })
    ))

  test("loses nothing that it sends to others because somebody has gone", () =>
    run(
      Effect.gen(function* () {
        const socket = yield* opened
        const gone = yield* Effect.scoped(puppet(() => undefined))
        const live = yield* puppet(({ t }) => ({ t, y: "r", r: { id } }))
        for (let round = 0; round < 20; round++) {
          for (let i = 0; i < 3; i++) socket.query({ host, port: gone.port }, { q: "ping", a: { id } })
          expect([round, yield* ask(socket, { host, port: live.port })]).toMatchObject([round, { y: "r" }])
        }
      })
    ))

  test("asks so much at once, and says at once that there is no more room", () =>
    run(
      Effect.gen(function* () {
        const socket = yield* opened
        const mute = yield* puppet(() => undefined)
        const outcomes = yield* Effect.forEach(
          Array.from({ length: MAX_INFLIGHT + 40 }),
          () => ask(socket, { host, port: mute.port }),
          { concurrency: "unbounded" }
        )
        expect(outcomes.every((outcome) => outcome === "ETIMEDOUT")).toBe(true)
        expect([socket.dropped.outside, socket.inflight]).toEqual([40, 0])
        expect(mute.heard()).toBeLessThanOrEqual(MAX_INFLIGHT)
      })
    ))

  test("reads so many datagrams a second, whoever sends them", () =>
    run(
      Effect.gen(function* () {
        const socket = yield* opened
        const flooder = yield* puppet(() => undefined)
        const { port } = socket.address()
        for (let sent = 0; sent < 200_000 && socket.dropped.tooMany === 0; sent += 100) {
          for (let i = 0; i < 100; i++) flooder.send(Buffer.from("garbage"), port)
          yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        }
        expect(socket.dropped.tooMany).toBeGreaterThan(0)
        expect(socket.dropped.malformed).toBeGreaterThanOrEqual(10_000)
      })
    ))

  test("takes itself for reachable where most of those who answer see it at its own address", () =>
    run(
      Effect.gen(function* () {
        const socket = yield* opened
        const own = Message.endpointBytes(host, socket.address().port)
        const seenAs = (ip: Buffer) =>
          Effect.flatMap(
            puppet(({ t }) => ({ t, y: "r", ip, r: { id } })),
            ({ port }) => ask(socket, { host, port })
          )
        const elsewhere = Message.endpointBytes("203.0.113.7", 7)
        yield* seenAs(elsewhere)
        yield* seenAs(own)
        expect(socket.isReachable).toBe(false)
        yield* seenAs(own)
        expect(socket.isReachable).toBe(true)
        // One liar more, and then others, change it back.
        for (let i = 0; i < 3; i++) yield* seenAs(elsewhere)
        expect(socket.isReachable).toBe(false)
      })
    ))
})

describe("a node of the DHT", () => {
  const open = (rules: Perimeter.Rules, bootstrap: ReadonlyArray<DhtNode.HostPort> = []) =>
    DhtNode.open({ port: 0, host, bootstrap, network, seal: PacketSeal.none, rules })

  test("asks few of the endpoints that others tell, in one search", () =>
    run(
      Effect.gen(function* () {
        const values = (at: number) =>
          Array.from({ length: Message.MAX_VALUES }, (_, i) => Message.endpointBytes(`10.0.${at}.${i + 1}`, 1))
        const tellers = yield* Effect.forEach([0, 1, 2, 3], (at) =>
          puppet(({ q, t }) => ({
            t,
            y: "r",
            r: { id: randomBytes(20), token: "token", ...(q === "get_peers" ? { values: values(at) } : {}) }
          }))
        )
        const told = new Set<string>()
        const allows = (at: string): boolean => {
          if (at.startsWith("10.")) told.add(at)
          return !at.startsWith("10.")
        }
        const node = yield* open(
          { name: "this machine", allows },
          tellers.map(({ port }) => ({ host, port }))
        )
        yield* node.lookup(id, () => undefined)
        expect(told.size).toBe(DhtNode.MAX_ASKED)
      })
    ))

  test("asks few of those who ask it whether they are there", () =>
    run(
      Effect.gen(function* () {
        const node = yield* open(Perimeter.open)
        const began = performance.now()
        let pinged = 0
        const strangers = yield* Effect.forEach(Array.from({ length: 80 }), () =>
          puppet(({ q }) => {
            if (q === "ping") pinged++
            return undefined
          })
        )
        const packet = () => Bencode.encode({ t: "aa", y: "q", q: "ping", a: { id: randomBytes(20) } })
        for (const stranger of strangers) yield* stranger.ask(packet(), node.address.port)
        // Whatever it was going to ask has come by the time that its last answer has.
        const seconds = (performance.now() - began) / 1_000
        expect(pinged).toBeGreaterThan(0)
        expect(pinged).toBeLessThanOrEqual(DhtNode.PINGS_PER_SECOND * (seconds + 1))
        expect(pinged).toBeLessThan(80)
      })
    ))
})
