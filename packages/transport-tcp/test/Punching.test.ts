/**
 * Verifies: a relayed connection gives way to a direct one at both ends without a frame lost or repeated; nobody can make a node
 * dial others than the peer, or more often than it should.
 */
import { describe, expect, test } from "bun:test"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Perimeter from "@parley/core/Perimeter"
import * as Protocol from "@parley/core/Protocol"
import { type Connection, ResetCode, type Stream, type StreamHandler } from "@parley/core/Transport"
import * as NatType from "@parley/transport-tcp/NatType"
import * as Punch from "@parley/transport-tcp/Punch"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { MAX_TOKENS, MAX_TOKENS_PER_PEER, MAX_USES } from "../src/internal/Observer.ts"
import { FOLLOWED, LED_ON_MS } from "../src/internal/Puncher.ts"
import * as Wire from "../src/internal/PunchWire.ts"
import { RelayServer } from "../src/internal/RelayServer.ts"
import { empty, until } from "./nodes.ts"

const ECHO = 200
type Node = Connections.Connections["Service"]

interface World {
  readonly tracker: Node
  readonly a: Node
  readonly b: Node
  /** The way to `b` through the tracker. */
  readonly relay: string
  readonly relayServer: RelayServer
  readonly node: (options?: TransportTcp.Options) => Promise<Node>
}

const meet = async (world: World): Promise<Connection> =>
  Effect.runPromise(world.a.connect({ node: world.b.nodeId, addresses: [world.relay] }))

const inWorld = async (
  a: TransportTcp.Options,
  body: (world: World) => Promise<void>,
  ofTracker: TransportTcp.Options = {}
): Promise<void> => {
  const scope = Scope.makeUnsafe()
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
    Effect.runPromise(Scope.provide(effect, scope))
  const node = (options: TransportTcp.Options = {}): Promise<Node> => {
    const identity = Identity.generate()
    return run(
      Connections.make(TransportTcp.make(identity, { host: "127.0.0.1", port: 0, ...options }), identity.nodeId)
    )
  }
  try {
    const tracker = await node(ofTracker)
    const relayServer = new RelayServer(Relay.defaults)
    await run(tracker.handle(Protocol.RELAY, (connection, stream) => relayServer.accept(connection, stream)))
    const b = await node({ relays: tracker.addresses() })
    const near = await node(a)
    await run(
      b.handle(ECHO, (_connection, stream) => ({
        onMessage: (message, last) => void stream.send(empty, message, last),
        onWritable: () => {},
        onClosed: () => {}
      }))
    )
    const relayAt = (): string | undefined => b.addresses().find((address) => address.startsWith("relay:"))
    await until("a slot at the relay", () => relayAt() !== undefined)
    await body({ tracker, a: near, b, relay: relayAt()!, relayServer, node })
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const isDirect = (node: Node, peer: Node): boolean => node.get(peer.nodeId)?.relayed === false

/** A stream of a raw protocol, and what came of it. */
const open = (connection: Connection, protocol: number) => {
  const got: Array<Uint8Array> = []
  const seen: { got: Array<Uint8Array>; reset: ResetCode | undefined; stream: Stream } = {
    got,
    reset: undefined,
    stream: undefined as never
  }
  const stream = connection.open(protocol, {
    onMessage: (message) => void got.push(message.slice()),
    onWritable: () => {},
    onClosed: (code) => {
      seen.reset = code
    }
  })
  if (stream === undefined) throw new Error("no stream")
  seen.stream = stream
  return seen
}

describe("punching", () => {
  test("gives both ends the same direct connection", () =>
    inWorld({}, async (world) => {
      const { a, b } = world
      const relayed = await meet(world)
      expect(relayed.relayed).toBe(true)
      await until("a direct connection at both ends", () => isDirect(a, b) && isDirect(b, a))
      expect(a.get(b.nodeId)?.direction).toBe("outbound")
      expect(b.get(a.nodeId)?.direction).toBe("inbound")
      await until("the relayed connection is over", () => relayed.state() === "closed")
      expect(a.list().length + b.list().length).toBe(4)
      await until("the circuit is over", () => world.relayServer.circuits.size === 0)
    }))

  test("loses and repeats nothing of streams and calls that are under way", () =>
    inWorld({}, async (world) => {
      const { a, b } = world
      const relayed = await meet(world)
      // A long stream on the relayed connection: numbers, there and back, until long after the direct one stands.
      const back: Array<number> = []
      const failures: Array<string> = []
      let ended = false
      const long = relayed.open(ECHO, {
        onMessage: (message, last) => {
          if (message.length === 4) back.push(new DataView(message.buffer, message.byteOffset).getUint32(0))
          ended ||= last
        },
        onWritable: () => {},
        onClosed: (code) => void failures.push(`the long stream was reset: ${code}`)
      })!
      const number = (value: number): Uint8Array => {
        const bytes = new Uint8Array(4)
        new DataView(bytes.buffer).setUint32(0, value)
        return bytes
      }
      let sent = 0
      const ways = new Set<boolean>()
      const call = (): Promise<void> =>
        new Promise((resolve) => {
          const connection = a.get(b.nodeId)
          let answers = 0
          const stream = connection?.open(ECHO, {
            onMessage: (_message, last) => {
              ways.add(connection!.relayed)
              if (++answers > 1 || !last) failures.push("a call was answered twice")
              resolve()
            },
            onWritable: () => {},
            onClosed: (code) => {
              failures.push(`a call was reset: ${code}`)
              resolve()
            }
          })
          if (stream === undefined) {
            failures.push("there was no connection for a call")
            resolve()
          } else stream.send(empty, number(sent), true)
        })
      let after = 0
      while (after < 200 && failures.length === 0) {
        for (let i = 0; i < 10; i++) long.send(empty, number(sent++), false)
        await Promise.all([call(), call(), call()])
        if (isDirect(a, b) && isDirect(b, a)) after++
        if (sent > 1_000_000) throw new Error("no direct connection came of it")
      }
      await until("the relayed connection takes no new streams", () => relayed.state() === "draining")
      for (let i = 0; i < 100; i++) long.send(empty, number(sent++), i === 99)
      await until("the long stream's end", () => ended || failures.length > 0)
      expect(failures).toEqual([])
      expect(back).toEqual(Array.from({ length: sent }, (_, index) => index))
      expect(ways).toEqual(new Set([true, false]))
      await until("the relayed connection is over", () => relayed.state() === "closed")
    }))

  test("leaves a connection relayed to a peer that does not take part", () =>
    inWorld({ punch: false }, async (world) => {
      const { a, b } = world
      const relayed = await meet(world)
      const echo = open(relayed, ECHO)
      echo.stream.send(empty, "there", true)
      await until("an answer", () => echo.got.length === 1)
      expect(isDirect(a, b)).toBe(false)
    }))
})

describe("somebody who means no good", () => {
  test("cannot have a node dial anybody by what it says", () =>
    inWorld({ punch: false }, async (world) => {
      let knocks = 0
      const victim = createServer((socket) => {
        knocks++
        socket.destroy()
      })
      await new Promise<void>((resolve) => victim.listen(0, "127.0.0.2", () => resolve()))
      const { port } = victim.address() as { port: number }
      try {
        const relayed = await meet(world)
        const endpoint = { host: "127.0.0.2", port }
        const forged: ReadonlyArray<ReadonlyArray<Uint8Array>> = [
          [Wire.theirs(endpoint)],
          [Wire.encode({ _tag: "Offer", port }), Wire.theirs(endpoint), Wire.encode({ _tag: "Go" })],
          [Wire.encode({ _tag: "Offer", port }), Wire.encode({ _tag: "Go" })],
          [Wire.encode({ _tag: "Answer", port })],
          [Wire.encode({ _tag: "Go" })],
          [Wire.observe(world.b.nodeId)],
          [empty]
        ]
        for (const messages of forged) {
          const stream = open(relayed, Protocol.PUNCH)
          for (const message of messages) stream.stream.send(message, undefined, false)
          await until("the stream's reset", () => stream.reset !== undefined)
        }
        // An attempt that goes by the book, to a peer that nobody has seen: it dials nobody.
        const polite = open(relayed, Protocol.PUNCH)
        polite.stream.send(Wire.encode({ _tag: "Offer", port }), undefined, false)
        await until("an answer or a refusal", () => polite.got.length > 0 || polite.reset !== undefined)
        for (const tag of ["Ping", "Go"] as const) polite.stream.send(Wire.encode({ _tag: tag }), undefined, false)
        const echo = open(relayed, ECHO)
        echo.stream.send(empty, "there", true)
        await until("an answer", () => echo.got.length === 1)
        expect(knocks).toBe(0)
        expect(isDirect(world.a, world.b)).toBe(false)
      } finally {
        victim.close()
      }
    }))

  test("cannot have a node dial beyond its perimeter, whatever the relay says of the peer", async () => {
    const knocks = { "127.0.0.2": 0, "127.0.0.3": 0 }
    const hosts = ["127.0.0.2", "127.0.0.3"] as const
    const victims = hosts.map((host) =>
      createServer((socket) => {
        knocks[host]++
        socket.destroy()
      }).listen(0, host)
    )
    const ports = await Promise.all(
      victims.map(async (victim) => {
        await once(victim, "listening")
        return (victim.address() as { port: number }).port
      })
    )
    const perimeter = { ...Perimeter.open, allows: (host: string) => host === "127.0.0.1" }
    const evil = async ({ b, tracker, ...world }: World): Promise<void> => {
      const say = (connection: Connection, stream: Stream): StreamHandler => ({
        onMessage: () => {
          const victim = connection.peer === b.nodeId ? 1 : 0
          stream.send(Wire.token(Wire.newToken(), []), undefined, false)
          stream.send(Wire.theirs({ host: hosts[victim]!, port: ports[victim]! }), undefined, false)
          stream.send(Wire.seen({ host: "127.0.0.1", port: 9 }), undefined, false)
        },
        onWritable: () => {},
        onClosed: () => {}
      })
      await Effect.runPromise(
        Effect.scoped(
          Effect.andThen(
            tracker.handle(Protocol.PUNCH, say),
            Effect.promise(async () => {
              await meet({ b, tracker, ...world })
              // This one has no perimeter, and dials when the other one does: twice is long after that.
              await until("the node without a perimeter dials", () => knocks["127.0.0.3"] > 1)
            })
          )
        )
      )
      expect(knocks["127.0.0.2"]).toBe(0)
    }
    try {
      await inWorld({ perimeter }, evil, { punch: false })
    } finally {
      for (const victim of victims) victim.close()
    }
  })

  test("is followed with few keys at once, however many it has", () =>
    inWorld({ punch: false }, async ({ b, node, relay }) => {
      const began = performance.now()
      const offers = await Promise.all(
        Array.from({ length: 3 * FOLLOWED.atOnce }, async () => {
          const each = await node({ listen: false })
          const relayed = await Effect.runPromise(each.connect({ node: b.nodeId, addresses: [relay] }))
          const offer = open(relayed, Protocol.PUNCH)
          offer.stream.send(Wire.encode({ _tag: "Offer", port: 1 }), undefined, false)
          return offer
        })
      )
      await until("each is answered, or refused", () =>
        offers.every(({ got, reset }) => got.length > 0 || reset !== undefined)
      )
      const refused = offers.filter(({ reset }) => reset === ResetCode.Overloaded).length
      const most = FOLLOWED.atOnce + Math.ceil(((performance.now() - began) * FOLLOWED.perSecond) / 1_000)
      expect(refused).toBeGreaterThan(offers.length - most - 1)
    }))

  test(
    "keeps no pair relayed by attempts that lead nowhere, however often it makes them",
    () =>
      inWorld({}, async (world) => {
        const { a, b, node, relay } = world
        let answered = 0
        const offer = (connection: Connection, left: number = Punch.OFFERS.atOnce): void => {
          if (left === 0) return
          const stream = connection.open(Protocol.PUNCH, {
            onMessage: () => void answered++,
            onWritable: () => {},
            // It says no more after its offer, and makes another one as soon as that is given up.
            onClosed: () => offer(connection, left - 1)
          })
          stream?.send(Wire.encode({ _tag: "Offer", port: 1 }), undefined, false)
        }
        for (let keys = 0; keys < MAX_TOKENS_PER_PEER; keys++) {
          const each = await node({ listen: false, punch: false })
          offer(await Effect.runPromise(each.connect({ node: b.nodeId, addresses: [relay] })))
        }
        await until("all are answered", () => answered === MAX_TOKENS_PER_PEER)
        const since = performance.now()
        await until("they have led it on for a while", () => performance.now() - since > LED_ON_MS)
        await meet(world)
        await until("a direct connection at both ends", () => isDirect(a, b) && isDirect(b, a))
      }),
    30_000
  )

  test("is followed a few times, and then not", () =>
    inWorld({ punch: false }, async (world) => {
      const relayed = await meet(world)
      const offers = Array.from({ length: 60 }, () => open(relayed, Protocol.PUNCH))
      for (const { stream } of offers) stream.send(Wire.encode({ _tag: "Offer", port: 1 }), undefined, false)
      await until("all but one are refused", () => offers.filter(({ reset }) => reset === undefined).length <= 1)
      const followed = offers.filter(({ got }) => got.length > 0)
      expect(followed.length <= Punch.OFFERS.atOnce).toBe(true)
    }))

  test("gets a few tokens from one that sees it, and none works for another purpose", () =>
    inWorld({ punch: false }, async ({ a, b, tracker }) => {
      const direct = await Effect.runPromise(a.connect({ node: tracker.nodeId, addresses: tracker.addresses() }))
      const asked = Array.from({ length: 40 }, () => open(direct, Protocol.PUNCH))
      // It names a peer, which does not name it.
      for (const { stream } of asked) stream.send(Wire.observe(b.nodeId), undefined, false)
      const settled = (): boolean => asked.every(({ got, reset }) => got.length > 0 || reset !== undefined)
      await until("tokens, or refusals", settled)
      expect(asked.filter(({ got }) => got.length > 0).length).toBe(MAX_TOKENS_PER_PEER)
      const sight = Wire.readSight(asked.find(({ got }) => got.length > 0)!.got[0]!)
      if (sight?._tag !== "Token") throw new Error("no token")
      const port = Number(tracker.addresses()[0]!.split(":").at(-1))
      const seenClosed = (first: Uint8Array, then?: Uint8Array): Promise<void> =>
        new Promise((resolve) => {
          const socket = connect({ host: "127.0.0.1", port }, () => {
            socket.write(first)
            if (then !== undefined) setTimeout(() => socket.write(then), 20)
          })
          socket.on("error", () => resolve())
          socket.on("close", () => resolve())
          socket.resume()
        })
      await seenClosed(Wire.newToken())
      await seenClosed(Wire.shown(sight.token), Uint8Array.of(1, 2, 3))
      await until("the token's owner is told", () => asked.some(({ got }) => got.length === 2))
      expect(asked.flatMap(({ got }) => got.map((each) => Wire.readSight(each)?._tag)).includes("Theirs")).toBe(false)
    }))

  test("is not told where a peer is seen that does not name it, and keeps few connections open with a token", () =>
    inWorld({ punch: false }, async ({ a, b, node, tracker }) => {
      const port = Number(tracker.addresses()[0]!.split(":").at(-1))
      const ask = async (asking: Node, wants: Node) => {
        const direct = await Effect.runPromise(asking.connect({ node: tracker.nodeId, addresses: tracker.addresses() }))
        const asked = open(direct, Protocol.PUNCH)
        asked.stream.send(Wire.observe(wants.nodeId), undefined, false)
        await until("a token", () => asked.got.length > 0)
        const sight = Wire.readSight(asked.got[0]!)
        if (sight?._tag !== "Token") throw new Error("no token")
        const told = (tag: string): number => asked.got.filter((each) => Wire.readSight(each)?._tag === tag).length
        return { token: sight.token, told }
      }
      const sockets: Array<Socket> = []
      const show = (token: Uint8Array): Socket => {
        const socket = connect({ host: "127.0.0.1", port }, () => void socket.write(Wire.shown(token)))
        sockets.push(socket.on("error", () => {}).resume())
        return socket
      }
      try {
        const early = await ask(a, b)
        const other = await node()
        // It names another one, and is named by one that is curious.
        const shy = await ask(b, other)
        const friend = await ask(other, b)
        for (let uses = 1; uses <= MAX_USES; uses++) {
          show(shy.token)
          await until("it is seen", () => shy.told("Seen") === uses)
        }
        await until("the one that it names is told", () => friend.told("Theirs") === MAX_USES)
        const curious = await ask(a, b)
        const late = show(shy.token)
        await until("a further connection is closed", () => late.closed)
        expect([early.told("Theirs"), curious.told("Theirs")]).toEqual([0, 0])
        expect([shy.told("Seen"), sockets.filter(({ closed }) => closed).length]).toEqual([MAX_USES, 1])
      } finally {
        for (const socket of sockets) socket.destroy()
      }
    }))

  test("takes no token from somebody at another address, however many keys it has", () =>
    inWorld({ punch: false }, async ({ node, tracker }) => {
      const port = Number(tracker.addresses()[0]!.split(":").at(-1))
      // Who comes through this one comes from another address.
      const elsewhere = createServer((socket) => {
        const on = connect({ host: "127.0.0.1", port, localAddress: "127.0.0.2" })
        for (const [from, to] of [[socket, on] as const, [on, socket] as const])
          from
            .on("error", () => {})
            .on("close", () => to.destroy())
            .pipe(to)
      })
      await new Promise<void>((resolve) => elsewhere.listen(0, "127.0.0.1", () => resolve()))
      const ask = async (addresses: ReadonlyArray<string>, count: number) => {
        const asking = await node({ listen: false })
        const direct = await Effect.runPromise(asking.connect({ node: tracker.nodeId, addresses }))
        const asked = Array.from({ length: count }, () => open(direct, Protocol.PUNCH))
        for (const { stream } of asked) stream.send(Wire.observe(undefined), undefined, false)
        await until("tokens, or refusals", () => asked.every(({ got, reset }) => got.length > 0 || reset !== undefined))
        return asked
      }
      try {
        const way = [`tcp://127.0.0.1:${(elsewhere.address() as { port: number }).port}`]
        const honest = await ask(way, 1)
        const greedy: Array<ReturnType<typeof open>> = []
        for (let keys = 0; keys <= MAX_TOKENS / MAX_TOKENS_PER_PEER; keys++)
          greedy.push(...(await ask(tracker.addresses(), MAX_TOKENS_PER_PEER)))
        const later = await ask(way, MAX_TOKENS_PER_PEER)
        for (const { got, reset } of [...honest, ...later]) expect([got.length, reset]).toEqual([1, undefined])
        const standing = (): number => greedy.filter(({ reset }) => reset === undefined).length
        await until("the greedy one's oldest are given up", () => standing() <= MAX_TOKENS - later.length - 1)
        expect(greedy[0]!.reset).toBe(ResetCode.Overloaded)
        expect(greedy.at(-1)!.reset).toBe(undefined)
      } finally {
        elsewhere.close()
      }
    }))
})

describe("the type of a router", () => {
  test("is none on loopback, and unknown where nobody is asked", () =>
    inWorld({}, async ({ a, node, tracker }) => {
      const other = await node()
      for (const each of [tracker, other])
        await Effect.runPromise(a.connect({ node: each.nodeId, addresses: each.addresses() }))
      const nat = await Effect.runPromise(NatType.detect(a.list()))
      expect(nat.type).toBe("none")
      expect(nat.seen.length).toBe(2)
      expect((await Effect.runPromise(NatType.detect([]))).type).toBe("unknown")
    }))

  test("follows from what others see", () => {
    const own = ["192.168.1.2"]
    const at = (port: number, host = "203.0.113.10") => ({ host, port })
    expect(NatType.classify(own, 4000, [at(4000, "192.168.1.2")]).type).toBe("none")
    expect(NatType.classify(own, 4000, [at(4000), at(4000)]).type).toBe("steady")
    expect(NatType.classify(own, 4000, [at(4000), at(4001)]).type).toBe("changing")
    expect(NatType.classify(own, 4000, [at(4000), at(4000, "203.0.113.11")]).type).toBe("changing")
    expect(NatType.classify(own, 4000, [at(4000)]).type).toBe("one observer")
  })
})
