import { describe, expect, test } from "bun:test"
import { suite } from "@parley/core/testing/DiscoverySuite"
import * as Identity from "@parley/core/Identity"
import * as Signature from "@parley/core/Signature"
import * as TransportMemory from "@parley/core/TransportMemory"
import DHT from "bittorrent-dht"
import krpc from "k-rpc"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { once } from "node:events"
import { spawn } from "node:child_process"
import { join as path } from "node:path"
import { command, repository } from "../../../test-support/Runtime.ts"
import * as Dht from "../src/Dht.ts"
import * as DhtNetwork from "../src/internal/DhtNetwork.ts"
import * as DhtNode from "../src/internal/DhtNode.ts"
import * as PacketSeal from "../src/internal/PacketSeal.ts"
import { K } from "../src/internal/Lookup.ts"
import { KrpcSocket } from "../src/internal/KrpcSocket.ts"
import { open as anywhere } from "@parley/core/Perimeter"
import { join, type Peer } from "./support/HostileDht.ts"
import * as Mesh from "./support/MemoryMesh.ts"

suite(
  { describe, test, expect },
  {
    name: "DHT",
    supports: { advertising: true, records: false, changes: false },
    world: Effect.gen(function* () {
      const hub = TransportMemory.makeHub()
      const { address } = yield* Dht.serve({ host: "127.0.0.1" })
      let identity = Identity.generate()
      return {
        // The suite attaches an actor, and then asks for its discovery.
        attach: (next) =>
          Effect.suspend(() => {
            identity = next
            return Mesh.attach(hub, next)
          }),
        discovery: Effect.suspend(() =>
          Mesh.discoveryOf(
            Dht.layer({ host: "127.0.0.1", bootstrap: [`127.0.0.1:${address.port}`] }).pipe(
              Layer.provide(Layer.succeed(Identity.Identity, identity))
            )
          )
        )
      }
    })
  }
)

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))
const found = (peer: Peer, query: Parameters<Peer["membership"]["find"]>[0]) =>
  Effect.map(
    Effect.orElseSucceed(Stream.runCollect(peer.membership.find(query)), () => []),
    (all) => all.map(({ node }) => node)
  )
/** Searches until this one is found, since news may be on its way. */
const untilFound = (peer: Peer, query: Parameters<Peer["membership"]["find"]>[0], whom: Peer) =>
  found(peer, query).pipe(
    Effect.repeat({
      schedule: Schedule.spaced("50 millis"),
      until: (nodes) => nodes.includes(whom.identity.nodeId),
      times: 200
    }),
    Effect.map((nodes) => nodes.includes(whom.identity.nodeId))
  )

describe("a DHT of one's own", () => {
  test(
    "is filled again when its only node has begun anew",
    () =>
      run(
        Effect.gen(function* () {
          const first = yield* Scope.make()
          const hub = yield* Scope.provide(Dht.serve({ host: "127.0.0.1" }), first)
          const options = { bootstrap: [`127.0.0.1:${hub.address.port}`], checkMs: 100 }
          // Who is asked read-only keeps nothing: all that is known is with the one node.
          const ada = yield* join(options)
          yield* ada.publish()
          yield* Scope.close(first, Exit.void)
          yield* Dht.serve({ host: "127.0.0.1", port: hub.address.port })
          const bob = yield* join(options)
          expect(yield* untilFound(bob, { name: "test.ability" }, ada)).toBe(true)
          expect(yield* untilFound(bob, { node: ada.identity.nodeId }, ada)).toBe(true)
        })
      ),
    30_000
  )

  test("forgets at once who leaves: its scope's end says so", () =>
    run(
      Effect.gen(function* () {
        const { address } = yield* Dht.serve({ host: "127.0.0.1" })
        const options = { bootstrap: [`127.0.0.1:${address.port}`] }
        const staying = yield* Scope.make()
        const ada = yield* Scope.provide(join(options), staying)
        yield* ada.publish()
        const bob = yield* join(options)
        expect(yield* untilFound(bob, { node: ada.identity.nodeId }, ada)).toBe(true)
        yield* Scope.close(staying, Exit.void)
        expect(yield* found(bob, { node: ada.identity.nodeId })).toEqual([])
        expect(yield* found(bob, { name: "test.ability" })).toEqual([])
      })
    ))

  test(
    "brings what a node put to those that came later, as its view grows",
    () =>
      run(
        Effect.gen(function* () {
          const { address } = yield* Dht.serve({ host: "127.0.0.1" })
          const bootstrap = [`127.0.0.1:${address.port}`]
          // Nothing but the growth can move the item: the node does not look who holds it.
          const ada = yield* join({ bootstrap, checkMs: 3_600_000 })
          yield* ada.publish()
          yield* Effect.forEach(Array.from({ length: 24 }), () => Dht.serve({ host: "127.0.0.1", bootstrap }), {
            concurrency: 4,
            discard: true
          })
          const late = yield* DhtNode.open({
            port: 0,
            host: "127.0.0.1",
            bootstrap: [address],
            network: DhtNetwork.named(DhtNetwork.DEFAULT_NETWORK),
            seal: PacketSeal.none,
            rules: anywhere
          })
          const { asked, held } = yield* late.copies(ada.identity.publicKey).pipe(
            Effect.orElseSucceed(() => ({ asked: 0, held: 0, seq: 0 })),
            Effect.repeat({
              schedule: Schedule.spaced("50 millis"),
              until: ({ asked, held }) => asked === K && 2 * held > asked,
              times: 200
            })
          )
          expect(asked).toBe(K)
          expect(held).toBeGreaterThan(K / 2)
        })
      ),
    30_000
  )

  test("gives a node's present item, though its clock was ahead when it ran before", () =>
    run(
      Effect.gen(function* () {
        const { address } = yield* Dht.serve({ host: "127.0.0.1" })
        const identity = Identity.generate()
        const network = DhtNetwork.named(DhtNetwork.DEFAULT_NETWORK)
        const before = yield* DhtNode.open({
          port: 0,
          host: "127.0.0.1",
          bootstrap: [address],
          network,
          seal: PacketSeal.none,
          rules: anywhere
        })
        const seq = (yield* Clock.currentTimeMillis) + 86_400_000
        yield* before.put(identity.publicKey, (message) => identity.sign(message), { seq, value: Buffer.from("old") })
        const again = yield* join({ bootstrap: [`127.0.0.1:${address.port}`] }, identity)
        yield* again.publish()
        const stored = yield* before.get(identity.publicKey)
        expect(stored !== undefined && stored.seq > seq).toBe(true)
        const other = yield* join({ bootstrap: [`127.0.0.1:${address.port}`] })
        expect(yield* found(other, { node: identity.nodeId })).toEqual([identity.nodeId])
      })
    ))

  test("keeps networks apart", () =>
    run(
      Effect.gen(function* () {
        const { address } = yield* Dht.serve({ host: "127.0.0.1" })
        const bootstrap = [`127.0.0.1:${address.port}`]
        const [ada, bob, eve] = [
          yield* join({ bootstrap, network: "one" }),
          yield* join({ bootstrap, network: "one" }),
          yield* join({ bootstrap, network: "two" })
        ]
        yield* ada.publish()
        expect(yield* untilFound(bob, { name: "test.ability" }, ada)).toBe(true)
        expect(yield* found(eve, { name: "test.ability" })).toEqual([])
        expect(yield* found(eve, { node: ada.identity.nodeId })).toEqual([])
      })
    ))

  test("of nodes of others: found by key, and by capability from the announced endpoint itself", () =>
    run(
      Effect.gen(function* () {
        // The library's own searches and its own table, as on any node of the public network: it knows nothing of keys in announcements.
        const strangers = yield* Effect.acquireRelease(
          Effect.promise(() => Promise.all([stranger([]), stranger([])])),
          (made) => Effect.promise(() => Promise.all(made.map(({ close }) => close())))
        )
        const bootstrap = strangers.map(({ port }) => `127.0.0.1:${port}`)
        const [ada, bob] = [yield* join({ bootstrap }), yield* join({ bootstrap })]
        yield* ada.publish()
        expect(yield* untilFound(bob, { node: ada.identity.nodeId }, ada)).toBe(true)
        expect(yield* untilFound(bob, { name: "test.ability" }, ada)).toBe(true)
      })
    ))

  test("refuses what is no bootstrap node, and says how one is written", () =>
    run(
      Effect.gen(function* () {
        for (const at of ["nonsense", "http://host:1", "host:0", "host:70000", "[::1]:1"]) {
          expect((yield* Effect.flip(join({ bootstrap: [at] }))).message).toContain("write host:port")
        }
        const { address } = yield* Dht.serve({ host: "127.0.0.1" })
        const taken = yield* Effect.flip(Dht.serve({ host: "127.0.0.1", port: address.port }))
        expect(taken.message).toContain(`UDP port ${address.port}`)
      })
    ))

  test("leaves nothing behind that keeps a process alive", async () => {
    const [program, ...args] = command(path(repository, "packages/discovery/test/programs/DhtLeaves.ts"))
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] })
    const timer = setTimeout(() => child.kill("SIGKILL"), 20_000)
    const [code] = (await once(child, "exit")) as [number | null]
    clearTimeout(timer)
    expect(code).toBe(0)
  }, 30_000)
})

/** A node as the library makes it, but for the socket's type: it drops the members that are Parley's own. */
const stranger = async (bootstrap: ReadonlyArray<{ readonly host: string; readonly port: number }>) => {
  const socket = new KrpcSocket({
    rules: anywhere,
    seal: PacketSeal.none,
    publicKey: undefined,
    isShared: () => true
  })
  const dht = new DHT({
    krpc: krpc({ krpcSocket: socket, bootstrap, k: 20, concurrency: 16 }),
    bootstrap: false,
    verify: (signature, message, publicKey) => Signature.best.verify(publicKey, message, signature),
    maxValues: { max: 100, maxAge: 0 },
    maxPeers: 100,
    maxAge: 0
  })
  const port = await new Promise<number>((resolve) => dht.listen(0, "127.0.0.1", () => resolve(socket.address().port)))
  return { port, close: () => new Promise<void>((resolve) => dht.destroy(resolve)) }
}
