/**
 * Verifies: what strangers on a socket can do (nothing that others notice), network keys, limits, ports, and that a peer that does not
 * read, dawdles or repeats recorded bytes is shut out with a reason while another is served on.
 */
import { describe, expect, test } from "bun:test"
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as Identity from "@parley/core/Identity"
import * as Signature from "@parley/core/Signature"
import * as Handshake from "@parley/transport-tcp/Handshake"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import * as X25519 from "@parley/transport-tcp/X25519"
import { seeded } from "@parley/core/testing/Seeded"
import { call, empty, failure, start, until } from "./nodes.ts"
import type { TestNode } from "./nodes.ts"

/** A bare socket to a node, that counts what it gets and knows when it is over. */
const bare = async (port: number): Promise<{ socket: Socket; over: () => boolean; got: () => Buffer }> => {
  const socket = connect({ host: "127.0.0.1", port })
  let over = false
  const chunks: Array<Uint8Array> = []
  socket.on("error", () => {})
  socket.on("close", () => {
    over = true
  })
  socket.on("data", (chunk: Uint8Array) => void chunks.push(chunk))
  await new Promise((resolve) => socket.once("connect", resolve))
  return { socket, over: () => over, got: () => Buffer.concat(chunks) }
}

/** The first messages of a real handshake. */
const initiator = () => {
  const identity = Identity.generate()
  return Handshake.initiator({
    identity: identity.publicKey,
    sign: (message) => identity.sign(message),
    verify: (key, message, signature) => Signature.best.verify(key, message, signature),
    staticKey: X25519.generate()
  })
}

/** Runs `body` while an honest peer is connected, and checks that it is served before and after. */
const besideOthers = async (options: TransportTcp.Options, body: (node: TestNode) => Promise<void>): Promise<void> => {
  const node = await start(options)
  const friend = await start({ listen: false })
  try {
    const connection = await friend.dial(node.address, node.nodeId)
    expect(await call(connection, "before")).toBe("BEFORE")
    await body(node)
    expect(await call(connection, "after")).toBe("AFTER")
    const again = await start({ listen: false })
    expect(await call(await again.dial(node.address), "again")).toBe("AGAIN")
    await again.stop()
    expect(node.closed.filter((why) => why.includes("threw"))).toEqual([])
  } finally {
    await friend.stop()
    await node.stop()
  }
}

describe("strangers on a socket", () => {
  const frame = (length: number, body: Uint8Array): Uint8Array =>
    new Uint8Array(Buffer.concat([Uint8Array.of(length >>> 8, length), body]))
  const hello = initiator().hello
  const first: ReadonlyArray<readonly [string, Uint8Array, string]> = [
    ["says nothing sensible", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "WrongMagic"],
    ["declares a huge message", frame(65_535, empty), "WrongMagic"],
    ["declares an empty message", frame(0, empty), "WrongMagic"],
    [
      "has the magic and then garbage",
      frame(44, Buffer.concat([hello.subarray(2, 6), new Uint8Array(40).fill(255)])),
      "UnsupportedVersion"
    ],
    ["speaks before its turn", Buffer.concat([hello, Uint8Array.of(1)]), "OutOfOrder"]
  ]
  for (const [name, bytes, code] of first) {
    test(`one who ${name} is refused with ${code}`, () =>
      besideOthers({}, async (node) => {
        const stranger = await bare(node.port)
        stranger.socket.write(bytes)
        await until("the socket is closed", stranger.over)
        const reason = node.refused[0]!.reason
        expect(reason._tag === "HandshakeFailed" && reason.code).toBe(code)
        expect(node.connections.length).toBe(1)
      }))
  }

  test(
    "random and truncated bytes at every stage",
    () =>
      besideOthers({ limits: { handshakeTimeoutMs: 2_000 } }, async (node) => {
        const random = seeded(21)
        for (let n = 0; n < 60; n++) {
          const stranger = await bare(node.port)
          if (n % 3 === 0) {
            stranger.socket.write(random.bytes(1 + random.int(400)))
            stranger.socket.end()
          } else {
            // A real first message, then whatever instead of the third.
            stranger.socket.write(initiator().hello)
            await until("the second message came", () => stranger.got().length > 2)
            const length = n % 3 === 1 ? 64 + random.int(500) : random.int(65_536)
            stranger.socket.write(frame(length, random.bytes(n % 2 === 0 ? length : random.int(length + 1))))
            if (n % 2 === 1) stranger.socket.end()
          }
          await until("the socket is closed", stranger.over)
        }
        expect(node.connections.length).toBe(1)
        expect(node.refused.length).toBe(60)
      }),
    30_000
  )

  test("recorded bytes of another's session, at once or message by message", () =>
    besideOthers({}, async (node) => {
      // A listener in the middle, which records what an honest node sends.
      const recorded: Array<Uint8Array> = []
      const middle = createServer((near) => {
        const far = connect({ host: "127.0.0.1", port: node.port })
        near.on("data", (chunk: Uint8Array) => {
          recorded.push(Uint8Array.from(chunk))
          far.write(chunk)
        })
        far.on("data", (chunk: Uint8Array) => near.write(chunk))
        for (const [one, other] of [
          [near, far],
          [far, near]
        ] as const) {
          one.on("error", () => {})
          one.on("close", () => other.destroy())
        }
      })
      await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve))
      const honest = await start({ listen: false })
      const connection = await honest.dial(`tcp://127.0.0.1:${(middle.address() as AddressInfo).port}`)
      expect(await call(connection, "secret")).toBe("SECRET")
      await honest.stop()
      middle.close()
      expect(recorded.length >= 2).toBe(true)
      for (const whole of [true, false]) {
        const before = node.refused.length
        const replay = await bare(node.port)
        if (whole) {
          replay.socket.write(Buffer.concat(recorded))
        } else {
          replay.socket.write(recorded[0]!)
          await until("the node answers", () => replay.got().length > 2)
          for (const chunk of recorded.slice(1)) replay.socket.write(chunk)
        }
        await until("the replay is shut out", replay.over)
        expect(node.refused.length).toBe(before + 1)
      }
      expect(node.connections.length).toBe(2)
    }))

  test("records that are altered on the way end that connection only", () =>
    besideOthers({}, async (node) => {
      let inject: (() => void) | undefined
      const middle = createServer((near) => {
        const far = connect({ host: "127.0.0.1", port: node.port })
        near.pipe(far)
        far.pipe(near)
        near.on("error", () => {})
        far.on("error", () => {})
        inject = () => void far.write(Buffer.concat([Uint8Array.of(0, 40), new Uint8Array(40)]))
      })
      await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve))
      const honest = await start({ listen: false })
      const connection = await honest.dial(`tcp://127.0.0.1:${(middle.address() as AddressInfo).port}`)
      expect(await call(connection, "x")).toBe("X")
      inject!()
      await until("both ends closed it", () => node.closed.length === 1 && connection.state() === "closed")
      expect(node.closed[0]).toContain("does not open")
      await honest.stop()
      middle.close()
    }))

  test("one who dawdles is shut out", () =>
    // Time enough for honest peers on a busy machine.
    besideOthers({ limits: { handshakeTimeoutMs: 1_500 } }, async (node) => {
      const stranger = await bare(node.port)
      stranger.socket.write(hello.subarray(0, 5))
      await until("the socket is closed", stranger.over)
      expect(node.refused[0]!.reason._tag).toBe("TimedOut")
    }))

  test("as many as are waited for at once, and as many as one address may have", async () => {
    for (const limits of [
      { maxPendingHandshakes: 3 },
      { maxPendingPerAddress: 3 },
      { maxConnectionsPerAddress: 3 },
      { maxConnections: 3 }
    ]) {
      const node = await start({ limits })
      const strangers = [await bare(node.port), await bare(node.port), await bare(node.port)]
      const dialler = await start({ listen: false })
      const reason = await failure(dialler.dial(node.address))
      expect(reason._tag === "HandshakeFailed" && reason.code).toBe("Busy")
      const refusal = node.refused[0]!.reason
      expect(refusal).toEqual({ _tag: "LimitReached", limit: Object.keys(limits)[0]!, value: 3 })
      strangers[0]!.socket.destroy()
      await until("there is room again", () => node.refused.length === 2)
      expect(await call(await dialler.dial(node.address), "room")).toBe("ROOM")
      for (const stranger of strangers) stranger.socket.destroy()
      await dialler.stop()
      await node.stop()
    }
  })

  test("a peer that asks a lot and does not read is dropped", async () => {
    const node = await start(
      { limits: { stallTimeoutMs: 300, keepaliveMs: 100_000, deadAfterMs: 100_000 } },
      undefined,
      (_, stream) => ({
        onMessage: () => {
          for (let n = 0; n < 3; n++) stream.send(new Uint8Array(60_000), undefined, n === 2)
        },
        onWritable: () => {},
        onClosed: () => {}
      })
    )
    const friend = await start({ listen: false })
    const middle = createServer((near) => {
      const far = connect({ host: "127.0.0.1", port: node.port })
      near.on("data", (chunk: Uint8Array) => void far.write(chunk))
      far.on("data", (chunk: Uint8Array) => {
        near.write(chunk)
        // After the handshake it stops taking what the node sends.
        if (node.connections.length > 1) far.pause()
      })
      for (const socket of [near, far]) socket.on("error", () => {})
      far.on("close", () => near.destroy())
    })
    await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve))
    const connection = await friend.dial(node.address)
    const greedy = await start({ listen: false })
    const slow = await greedy.dial(`tcp://127.0.0.1:${(middle.address() as AddressInfo).port}`)
    for (let n = 0; n < 800; n++) {
      slow.open(200, { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} })!.send(empty, "more", true)
    }
    await until("it was dropped", () => node.closed.length > 0)
    expect(node.closed[0]).toContain("stopped reading")
    expect([connection.state(), (await call(connection, "still served")).length]).toEqual(["open", 60_000])
    await Promise.all([friend.stop(), greedy.stop(), node.stop()])
    middle.close()
  }, 30_000)
})

describe("network keys", () => {
  const key = new Uint8Array(32).fill(9)
  const codes: ReadonlyArray<readonly [string, TransportTcp.Options, TransportTcp.Options, string]> = [
    ["a dialler without a key", { networkKey: key }, {}, "NetworkKeyMissing"],
    [
      "a dialler with another key",
      { networkKey: key },
      { networkKey: new Uint8Array(32).fill(8) },
      "NetworkKeyMismatch"
    ],
    ["a dialler with a key outside of its network", {}, { networkKey: key }, "NetworkKeyUnexpected"]
  ]
  for (const [name, ours, theirs, code] of codes) {
    test(`${name} is refused with ${code}, at both ends`, async () => {
      const node = await start(ours)
      const dialler = await start({ listen: false, ...theirs })
      const reason = await failure(dialler.dial(node.address))
      expect(reason._tag === "HandshakeFailed" && reason.code).toBe(code)
      await until("the node knows", () => node.refused.length === 1)
      const refusal = node.refused[0]!.reason
      expect(refusal._tag === "HandshakeFailed" && refusal.code).toBe(code)
      expect(node.connections).toEqual([])
      await Promise.all([dialler.stop(), node.stop()])
    })
  }

  test("the same key, redacted or not, opens the network", async () => {
    const node = await start({ networkKey: Redacted.make(key) })
    const dialler = await start({ listen: false, networkKey: key })
    expect(await call(await dialler.dial(node.address, node.nodeId), "hi")).toBe("HI")
    await Promise.all([dialler.stop(), node.stop()])
  })

  test("a key of another length is refused before anything starts", () => {
    expect(() => TransportTcp.make(Identity.generate(), { networkKey: new Uint8Array(31) })).toThrow("32 bytes")
  })
})

describe("dialling and listening", () => {
  test("its own address is refused", async () => {
    const node = await start()
    const reason = await failure(node.dial(node.address))
    expect(reason._tag === "HandshakeFailed" && reason.code).toBe("SelfDial")
    await until("nothing of it is left", () => node.connections.every((each) => each.state() === "closed"))
    await node.stop()
  })

  test("a peer that is not the expected one is named as such", async () => {
    const [node, dialler] = await Promise.all([start(), start()])
    const reason = await failure(dialler.dial(node.address, Identity.generate().nodeId))
    expect(reason._tag === "HandshakeFailed" && reason.code).toBe("UnexpectedPeer")
    await Promise.all([dialler.stop(), node.stop()])
  })

  test("a port in use says so and what to do", async () => {
    const node = await start()
    const reason = await failure(start({ port: node.port }))
    expect(reason._tag).toBe("ListenFailed")
    expect(reason._tag === "ListenFailed" && reason.detail).toContain(`port ${node.port} is in use: stop the program`)
    await node.stop()
  })

  test("addresses that are none, or where nobody is, or before it listens", async () => {
    const node = await start()
    for (const address of ["tcp://", "tcp://host", "tcp://host:0", "tcp://host:70000", "tcp://a b:1", "tcp://[::1:5"]) {
      expect([address, (await failure(node.dial(address)))._tag]).toEqual([address, "DialFailed"])
    }
    const gone = await start()
    await gone.stop()
    expect((await failure(node.dial(gone.address)))._tag).toBe("DialFailed")
    expect((await failure(node.dial("mem://x")))._tag).toBe("UnknownScheme")
    expect((await failure(gone.dial(node.address)))._tag).toBe("NotListening")
    await node.stop()
  })

  test("a silent server is given up in time, and an interrupted dial leaves no socket", async () => {
    const sockets: Array<Socket> = []
    const silent = createServer((socket) => void sockets.push(socket.on("error", () => {})))
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve))
    const address = `tcp://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const node = await start({ listen: false, limits: { handshakeTimeoutMs: 60 } })
    expect(await failure(node.dial(address))).toEqual({ _tag: "TimedOut", address, afterMs: 60 })
    const patient = await start({ listen: false })
    const fiber = Effect.runFork(patient.transport.dial(address, undefined))
    await until("the server sees it", () => sockets.length === 2)
    await Effect.runPromise(Fiber.interrupt(fiber))
    let over = 0
    for (const socket of sockets) socket.on("close", () => over++).resume()
    await until("both sockets are closed", () => sockets.every((socket) => socket.destroyed) || over === 2)
    await Promise.all([node.stop(), patient.stop()])
    silent.close()
  })

  test("what is asked in the turn of the connection rides with the third message", async () => {
    const node = await start()
    const writes: Array<number> = []
    const middle = createServer((near) => {
      const far = connect({ host: "127.0.0.1", port: node.port })
      near.on("data", (chunk: Uint8Array) => {
        writes.push(chunk.length)
        far.write(chunk)
      })
      far.on("data", (chunk: Uint8Array) => near.write(chunk))
      far.on("close", () => near.destroy())
      for (const socket of [near, far]) socket.on("error", () => {})
    })
    await new Promise<void>((resolve) => middle.listen(0, "127.0.0.1", resolve))
    const dialler = await start({ listen: false })
    const answer = await Effect.runPromise(
      Effect.flatMap(
        dialler.transport.dial(`tcp://127.0.0.1:${(middle.address() as AddressInfo).port}`, undefined),
        (connection) => Effect.promise(() => call(connection, "early"))
      )
    )
    expect([answer, writes.length]).toEqual(["EARLY", 2])
    await Promise.all([dialler.stop(), node.stop()])
    middle.close()
  })
})
