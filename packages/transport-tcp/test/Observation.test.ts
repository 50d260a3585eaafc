/** Verifies: who tells a node where it is seen cannot use it to reach hosts behind its router, nor to send them bytes of its choice. */
import { describe, expect, test } from "bun:test"
import { connect, createServer, type Socket } from "node:net"
import * as Perimeter from "@parley/core/Perimeter"
import { isNoCloser } from "../src/internal/Closeness.ts"
import { freePort, observe } from "../src/internal/Observation.ts"
import * as Wire from "../src/internal/PunchWire.ts"
import { start, until } from "./nodes.ts"

describe("an observer", () => {
  test("cannot choose what is sent to where it points", async () => {
    const heard: Array<Buffer> = []
    const sockets: Array<Socket> = []
    const victim = createServer((socket) => {
      sockets.push(socket)
      socket.on("data", (bytes: Buffer) => void heard.push(bytes)).on("error", () => {})
    })
    await new Promise<void>((resolve) => victim.listen(0, "127.0.0.1", resolve))
    const bound = victim.address()
    const port = bound !== null && typeof bound === "object" ? bound.port : 0
    const command = Buffer.from("SHUTDOWN NOW!\r\n\n")
    const evil = await start({}, undefined, (_, stream) => ({
      onMessage: () => void stream.send(Wire.token(command, []), undefined, false),
      onWritable: () => {},
      onClosed: () => {}
    }))
    const node = await start()
    let end = (): void => {}
    try {
      const observer = await node.dial(evil.address)
      end = observe({
        observer,
        at: { host: "127.0.0.1", port },
        port: await freePort(),
        perimeter: Perimeter.open,
        onSeen: () => {},
        onTheirs: () => {},
        onFailed: () => {}
      })
      await until("the victim hears something", () => heard.length > 0)
      expect(heard[0]!.equals(command)).toBe(false)
      expect(heard[0]!.length).toBe(Wire.TOKEN_BYTES)
    } finally {
      end()
      for (const socket of sockets) socket.destroy()
      victim.close()
      await node.stop()
      await evil.stop()
    }
  })

  // It is reached in the world, where these tests must send nothing; or here, which the node's perimeter excludes.
  for (const [what, at, told] of [
    ["closer to it than the observer", "203.0.113.1", "203.0.113.9"],
    ["outside its perimeter", "127.0.0.1", "127.0.0.1"]
  ] as const)
    test(`has a node dial no host that is ${what}`, async () => {
      const came: Array<Socket> = []
      const victim = createServer((socket) => void came.push(socket.on("error", () => {})))
      await new Promise<void>((resolve) => victim.listen(0, "127.0.0.1", resolve))
      const bound = victim.address()
      const port = bound !== null && typeof bound === "object" ? bound.port : 0
      const evil = await start({}, undefined, (_, stream) => ({
        onMessage: () => {
          // The victim, as IPv6 writes it.
          stream.send(Wire.token(Wire.newToken(), [{ host: "::ffff:7f00:1", port }]), undefined, false)
          for (const endpoint of [
            { host: "127.0.0.1", port },
            { host: "203.0.113.9", port }
          ])
            stream.send(Wire.theirs(endpoint), undefined, false)
        },
        onWritable: () => {},
        onClosed: () => {}
      }))
      const node = await start()
      const theirs: Array<{ readonly host: string; readonly port: number }> = []
      let end = (): void => {}
      try {
        end = observe({
          observer: await node.dial(evil.address),
          at: { host: at, port },
          port: await freePort(),
          perimeter: { ...Perimeter.open, allows: (host) => at !== "127.0.0.1" && host !== at },
          onSeen: () => {},
          onTheirs: (endpoint) => void theirs.push(endpoint),
          onFailed: () => {}
        })
        await until("the peer's address", () => theirs.length > 0)
        const own = connect({ host: "127.0.0.1", port }).on("error", () => {})
        await until("a connection that came later", () => came.some((each) => each.remotePort === own.localPort))
        own.destroy()
        expect([came.length, theirs[0]]).toEqual([1, { host: told, port }])
      } finally {
        end()
        for (const socket of came) socket.destroy()
        victim.close()
        await node.stop()
        await evil.stop()
      }
    })

  test("points to nothing that is closer to the node than itself", () => {
    const all = ["127.0.0.1", "fe80::1", "192.168.1.1", "203.0.113.9"]
    all.forEach((at, i) =>
      all.forEach((host, j) => expect([at, host, isNoCloser(host, at)]).toEqual([at, host, j >= i]))
    )
    for (const host of [
      "::1",
      "0.0.0.0",
      "::",
      "::ffff:7f00:1",
      "127.9.9.9",
      "10.0.0.1",
      "172.16.0.1",
      "fd00::1",
      "100.64.0.1"
    ])
      expect([host, isNoCloser(host, "2001:db8::1")]).toEqual([host, false])
    expect(isNoCloser("169.254.169.254", "10.0.0.1")).toBe(false)
    expect(isNoCloser("fd00::1", "10.0.0.1")).toBe(true)
    // A name may be one of the own network; it is none of this machine.
    expect(isNoCloser("10.0.0.1", "relay.example")).toBe(true)
    expect(isNoCloser("::1", "relay.example")).toBe(false)
    expect(isNoCloser("127.0.0.1", "localhost")).toBe(true)
  })
})
