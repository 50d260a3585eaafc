/**
 * Verifies: a relay cannot alter, repeat, reorder, cut or divert anything without both ends noticing; its refusals are typed; its quotas end
 * circuits; a lost slot comes back.
 */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Connections from "@parley/core/Connections"
import * as Identity from "@parley/core/Identity"
import * as Protocol from "@parley/core/Protocol"
import { type NodeId, toPublicKey } from "@parley/core/NodeId"
import { WINDOW_BYTES } from "@parley/core/Transport"
import type { Address, Connection, Stream } from "@parley/core/Transport"
import * as Relay from "@parley/transport-tcp/Relay"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { MAX_PENDING_HANDSHAKES } from "../src/Limits.ts"
import { parseAddress } from "../src/internal/RelayClient.ts"
import { RelayServer } from "../src/internal/RelayServer.ts"
import { mutate, seeded } from "@parley/core/testing/Seeded"
import { call, empty, failure, until } from "./nodes.ts"

type Side = "near" | "far"
/** What a relay makes of the n-th message towards a side; the first one is its own. */
type Evil = (side: Side, index: number, message: Uint8Array) => ReadonlyArray<Uint8Array>

interface World {
  readonly tracker: Connections.Connections["Service"]
  readonly a: Connections.Connections["Service"]
  readonly b: Connections.Connections["Service"]
  readonly relayed: () => Address | undefined
  readonly closed: Array<string>
  readonly server: RelayServer
}

/** A tracker that relays, and two nodes; `b` answers in capitals and has a slot. */
const world = async (
  options: Relay.Options & { readonly evil?: Evil; readonly divert?: boolean; readonly old?: boolean },
  body: (world: World) => Promise<void>
): Promise<void> => {
  const scope = Scope.makeUnsafe()
  const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
    Effect.runPromise(effect.pipe(Scope.provide(scope)))
  const node = (tcp: TransportTcp.Options) => {
    const identity = Identity.generate()
    return run(Connections.make(TransportTcp.make(identity, { host: "127.0.0.1", port: 0, ...tcp }), identity.nodeId))
  }
  try {
    const tracker = await node({})
    const { divert: _divert, evil: _evil, old, ...limits } = options
    const server = new RelayServer({ ...Relay.defaults, ...limits })
    const twist = (stream: Stream, side: Side): Stream => {
      let index = 0
      return {
        send: (head, content, last) => {
          const at = index++
          if (options.evil === undefined || at === 0) return stream.send(head, content, last)
          let ok = true
          for (const piece of options.evil(side, at, Uint8Array.from(head))) ok = stream.send(piece, undefined, false)
          return last ? stream.send(empty, undefined, true) : ok
        },
        reset: (code) => stream.reset(code),
        pause: () => stream.pause(),
        resume: () => stream.resume()
      }
    }
    await run(
      tracker.handle(Protocol.RELAY, (connection, stream) => {
        const twisted: Connection = {
          peer: connection.peer,
          address: connection.address,
          direction: connection.direction,
          relayed: connection.relayed,
          state: connection.state,
          streams: connection.streams,
          drain: connection.drain,
          close: connection.close,
          open: (number, handler) => {
            const diverted = options.divert === true ? tracker.get(a.nodeId) : connection
            const opened = diverted?.open(number, handler)
            return opened === undefined ? undefined : twist(opened, "far")
          }
        }
        const handler = server.accept(twisted, twist(stream, "near"))
        if (old !== true) return handler
        // A relay from before leases reads neither a request for one nor anything on the stream of a slot.
        return {
          ...handler,
          onMessage: (message, last) => {
            if (message[0] !== 4) return handler.onMessage(message, last)
            stream.send(Uint8Array.of(17, 4), undefined, true)
          }
        }
      })
    )
    const relays = tracker.addresses()
    const b = await node({ listen: false, relays })
    const a: World["a"] = await node({ listen: false, ...(options.divert === true ? { relays } : {}) })
    await run(
      b.handle(200, (_connection, stream) => ({
        onMessage: (message, last) => void stream.send(empty, Buffer.from(message).toString().toUpperCase(), last),
        onWritable: () => {},
        onClosed: () => {}
      }))
    )
    const closed: Array<string> = []
    for (const each of [a, b]) {
      await run(each.observe({ onDisconnected: (peer, why) => void (peer !== tracker.nodeId && closed.push(why)) }))
    }
    const relayed = (): Address | undefined => b.addresses().find((address) => address.startsWith("relay:"))
    if (options.maxReservations !== 0) await until("b has a slot", () => relayed() !== undefined)
    await body({ tracker, a, b, relayed, closed, server })
  } finally {
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** The first message of a circuit: who dials. */
const incoming = (dialler: NodeId): Uint8Array => Uint8Array.of(3, ...toPublicKey(dialler))

const connect = (from: World["a"], address: Address): Promise<Connection> =>
  Effect.runPromise(from.connect({ addresses: [address] }))

/** The tracker drops a node's connection, and has it again. */
const stumble = async (tracker: World["tracker"], node: NodeId): Promise<void> => {
  const before = tracker.get(node)!
  before.close("the tracker stumbles")
  await until("it is back", () => tracker.get(node) !== undefined && tracker.get(node) !== before)
}

/** Calls until a slot is there again. */
const again = async (from: World["a"], address: Address): Promise<string> => {
  for (let left = 200; ; left--) {
    const connection = await connect(from, address).catch((error: unknown) => {
      if (left === 0) throw error
    })
    if (connection !== undefined) return call(connection, "again")
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

describe("relay", () => {
  test("carries calls end to end, and both ends know that it is relayed", () =>
    world({}, async ({ a, b, relayed, tracker }) => {
      const connection = await connect(a, relayed()!)
      expect([connection.peer, connection.relayed, connection.address]).toEqual([b.nodeId, true, relayed()!])
      expect(await call(connection, "through")).toBe("THROUGH")
      expect(await call(connection, "x".repeat(600_000))).toBe("X".repeat(600_000))
      const far = b.get(a.nodeId)!
      expect([far.relayed, far.direction, parseAddress(far.address)?.tracker]).toEqual([
        true,
        "inbound",
        tracker.nodeId
      ])
    }))

  test("from before leases relays for nodes that know them", () =>
    world({ old: true }, async ({ a, b, relayed, tracker }) => {
      expect(await call(await connect(a, relayed()!), "old")).toBe("OLD")
      await stumble(tracker, b.nodeId)
      expect(await again(a, relayed()!)).toBe("AGAIN")
    }))

  test("the layer serves the connections of a node", async () => {
    const identity = Identity.generate()
    const transport = TransportTcp.layer({ host: "127.0.0.1", port: 0 })
    const node = Connections.layer.pipe(
      Layer.provide(transport),
      Layer.provide(Layer.succeed(Identity.Identity, identity))
    )
    await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(Relay.layer().pipe(Layer.provideMerge(node)))
          const connections = yield* Effect.provide(Connections.Connections, context)
          const taken = yield* Effect.flip(Effect.scoped(connections.handle(Protocol.RELAY, () => undefined)))
          expect(taken.reason._tag).toBe("ProtocolTaken")
        })
      )
    )
  })

  const flip = (message: Uint8Array, at: number): Uint8Array => message.map((byte, i) => (i === at ? byte ^ 1 : byte))

  // The handshake is message 1 (far), 1 (near) and 2 (far); what follows is sealed records.
  const evils: ReadonlyArray<readonly [string, () => Evil]> = [
    ["alters a byte towards the callee", () => (side, n, m) => [side === "far" && n === 4 ? flip(m, m.length - 3) : m]],
    ["alters a byte towards the caller", () => (side, n, m) => [side === "near" && n === 3 ? flip(m, 5) : m]],
    ["repeats a record", () => (side, n, m) => (side === "far" && n === 4 ? [m, m] : [m])],
    ["leaves a record out", () => (side, n, m) => (side === "far" && n === 4 ? [] : [m])],
    ["cuts a record short", () => (side, n, m) => [side === "near" && n === 3 ? m.subarray(0, m.length - 4) : m]],
    [
      "reorders records",
      () => {
        let kept: Uint8Array | undefined
        return (side, n, m) => {
          if (side !== "far" || n < 4) return [m]
          if (kept === undefined) {
            kept = m
            return []
          }
          const both = [m, kept]
          kept = undefined
          return both
        }
      }
    ]
  ]
  for (const [name, evil] of evils) {
    test(`one that ${name} is noticed by both ends`, () =>
      world({ evil: evil() }, async ({ a, b, closed, relayed }) => {
        const connection = await connect(a, relayed()!)
        const far = await new Promise<Connection>((resolve) => {
          const look = (): void => {
            const found = b.get(a.nodeId)
            if (found === undefined) setTimeout(look, 1)
            else resolve(found)
          }
          look()
        })
        // Answers are right or do not come; a few turns, so that there are records to play with.
        const answers: Array<string> = []
        const failures: Array<unknown> = []
        for (let n = 0; n < 8 && connection.state() === "open"; n++) {
          call(connection, `call ${n}`).then(
            (text) => answers.push(text),
            (error: unknown) => failures.push(error)
          )
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        await until("both ends closed", () => connection.state() === "closed" && far.state() === "closed")
        await until("every call ended", () => failures.length > 0)
        expect(answers.every((text, n) => text === `CALL ${n}`)).toBe(true)
        expect(closed.length).toBe(2)
        expect(closed.some((why) => why.includes("does not open"))).toBe(true)
      }))
  }

  for (const [side, index, name] of [
    ["far", 1, "first"],
    ["near", 1, "second"],
    ["far", 2, "third"]
  ] as const) {
    test(`one that swaps key bytes in the ${name} handshake message is noticed`, () =>
      world({ evil: (to, n, m) => [to === side && n === index ? flip(m, 20) : m] }, async ({ a, b, relayed }) => {
        const outcome = await connect(a, relayed()!).catch(() => undefined)
        if (outcome !== undefined) await until("the dialler learns of it", () => outcome.state() === "closed")
        expect(b.get(a.nodeId)).toBe(undefined)
      }))
  }

  test("one that connects to another node than asked is noticed", () =>
    world({ divert: true }, async ({ a, relayed }) => {
      const reason = await failure(connect(a, relayed()!))
      expect(reason._tag === "HandshakeFailed" || reason._tag === "DialFailed").toBe(true)
    }))

  test("circuits that never speak give up their places to those who come after", () =>
    world({}, async ({ a, b, relayed, tracker }) => {
      const toB = tracker.get(b.nodeId)!
      let reset = 0
      for (let n = 0; n < MAX_PENDING_HANDSHAKES + 20; n++) {
        const stream = toB.open(Protocol.CIRCUIT, {
          onMessage: () => {},
          onWritable: () => {},
          onClosed: () => void reset++
        })
        stream!.send(incoming(Identity.generate().nodeId), undefined, false)
      }
      await until("the oldest gave way", () => reset === 20)
      const connection = await connect(a, relayed()!)
      expect(await call(connection, "still")).toBe("STILL")
      expect(reset).toBe(21)
    }))

  test("refusals are typed, and the dialler reads why", async () => {
    const refused = async (options: Relay.Options, why: string): Promise<void> =>
      world(options, async ({ a, relayed }) => {
        const reason = await failure(connect(a, relayed()!))
        expect([reason._tag, reason._tag === "DialFailed" && reason.detail.includes(why)]).toEqual(["DialFailed", true])
      })
    await refused({ maxCircuits: 0 }, "LimitReached")
    await refused({ maxCircuitsPerPeer: 0 }, "LimitReached")
    await refused({ maxPeerBytesPerHour: 0 }, "QuotaExceeded")
    await world({}, async ({ a, relayed }) => {
      const nobody = relayed()!.replace(/[^/]+$/, Identity.generate().nodeId)
      const reason = await failure(connect(a, nobody))
      expect(reason._tag === "DialFailed" && reason.detail).toContain("NoReservation")
    })
    await world({ maxReservations: 0 }, async ({ a, b, tracker }) => {
      await until("b asked", () => tracker.get(b.nodeId) !== undefined)
      const address = `relay://${tracker.addresses()[0]!.slice(6)}/${tracker.nodeId}/${b.nodeId}`
      const reason = await failure(connect(a, address))
      expect(reason._tag === "DialFailed" && reason.detail).toContain("NoReservation")
      expect(b.addresses()).toEqual([])
    })
  })

  test("a circuit ends when its bytes or its time are used up, and the node is free for another", async () => {
    await world({ maxCircuitBytes: 100_000 }, async ({ a, closed, relayed, server }) => {
      const connection = await connect(a, relayed()!)
      expect(await call(connection, "small")).toBe("SMALL")
      await call(connection, "x".repeat(200_000)).catch(() => {})
      await until("both ends know", () => closed.length === 2)
      expect([closed.every((why) => why.includes("quota")), server.circuits.size]).toEqual([true, 0])
      expect(await call(await connect(a, relayed()!), "again")).toBe("AGAIN")
    })
    await world({ maxCircuitMs: 400 }, async ({ a, closed, relayed }) => {
      await connect(a, relayed()!)
      await until("both ends know", () => closed.length === 2)
      expect(closed.every((why) => why.includes("quota"))).toBe(true)
    })
  })

  test("a circuit holds at most a window each way when one end does not take", () =>
    world({}, async ({ a, b, tracker }) => {
      const relayOf = (node: World["a"]) =>
        Effect.runPromise(node.connect({ node: tracker.nodeId, addresses: tracker.addresses() }))
      const [theirs, mine] = [await relayOf(a), await relayOf(b)]
      const control = { onWritable: () => {}, onClosed: () => {} }
      // `a` takes a slot by hand, and of the circuit that comes it takes nothing.
      const scope = Scope.makeUnsafe()
      let taken = 0
      let broken = 0
      const count = (message: Uint8Array): void => void (taken += message.length)
      const refuse = a.handle(Protocol.CIRCUIT, (_relay, stream) => {
        stream.pause()
        return { onWritable: () => {}, onClosed: () => void broken++, onMessage: count }
      })
      await Effect.runPromise(refuse.pipe(Scope.provide(scope)))
      let answered = false
      const slot = theirs.open(Protocol.RELAY, { ...control, onMessage: () => void (answered = true) })!
      slot.send(Uint8Array.of(1), undefined, false)
      await until("the slot is granted", () => answered)
      let sent = 0
      let stopped = 0
      const near = mine.open(Protocol.RELAY, {
        ...control,
        onMessage: () => fill(),
        onWritable: () => fill()
      })!
      const piece = new Uint8Array(32 * 1024)
      const fill = (): void => {
        stopped = performance.now()
        while (sent < 12 * 1024 * 1024) {
          sent += piece.length
          if (!near.send(piece, undefined, false)) return
        }
      }
      near.send(Uint8Array.of(2, ...toPublicKey(a.nodeId)), undefined, false)
      await until("the dialler is stopped", () => stopped > 0 && performance.now() - stopped > 150)
      // Windows of the dialler's stream and of the one to the node, and what was sent when each said stop.
      expect([taken > WINDOW_BYTES / 2, taken <= WINDOW_BYTES, broken]).toEqual([true, true, 0])
      expect(sent >= taken && sent <= 4 * WINDOW_BYTES).toBe(true)
      await Effect.runPromise(Scope.close(scope, Exit.void))
    }))

  test("a lost slot is asked for again", () =>
    world({}, async ({ a, b, relayed, tracker }) => {
      await stumble(tracker, b.nodeId)
      // Nothing else makes it reachable, so its address has stayed.
      expect(await again(a, relayed()!)).toBe("AGAIN")
    }))

  test("closing a relayed connection frees the circuit", () =>
    world({}, async ({ a, relayed, server }) => {
      const connection = await connect(a, relayed()!)
      expect(server.circuits.size).toBe(1)
      connection.close("done")
      await until("the relay has forgotten it", () => server.circuits.size === 0)
    }))

  test(
    "addresses that are none, or go round in a circle",
    () =>
      world({}, async ({ a, b, relayed, tracker }) => {
        const good = relayed()!
        const bad = ["relay://", "relay://x", good.replace("z6Mk", "z6Mx"), `${good}/x`, good.replace(/:\d+/, ":0")]
        for (const address of bad)
          expect([address, (await failure(connect(a, address)))._tag]).toEqual([address, "DialFailed"])
        const host = tracker.addresses()[0]!.slice(6)
        for (const [via, to] of [
          [a.nodeId, b.nodeId],
          [tracker.nodeId, tracker.nodeId]
        ]) {
          expect((await failure(connect(a, `relay://${host}/${via}/${to}`)))._tag).toBe("DialFailed")
        }
        const random = seeded(31)
        for (let n = 0; n < 100_000; n++)
          parseAddress(Buffer.from(mutate(random, Buffer.from(good))).toString("latin1"))
      }),
    30_000
  )
})
