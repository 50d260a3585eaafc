/** The fault proxy does what it says, on this runtime. */
import { afterEach, describe, expect, test } from "bun:test"
import { once } from "node:events"
import net from "node:net"
import { performance } from "node:perf_hooks"
import { FaultProxy } from "../test-support/FaultProxy.ts"
import { until, untilValue } from "../test-support/Until.ts"

const closers: Array<() => unknown> = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A server that says back what it hears. */
const echo = async (): Promise<{ readonly port: number; readonly sockets: Set<net.Socket> }> => {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined)
    socket.on("close", () => sockets.delete(socket))
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as net.AddressInfo).port, sockets }
}

class Client {
  readonly socket: net.Socket
  heard = ""
  closed: string | undefined

  constructor(port: number) {
    this.socket = net.connect({ port, host: "127.0.0.1" })
    closers.push(() => this.socket.destroy())
    this.socket.on("data", (bytes: Uint8Array) => (this.heard += new TextDecoder().decode(bytes)))
    this.socket.on("error", (error: NodeJS.ErrnoException) => (this.closed = error.code ?? error.message))
    this.socket.on("close", () => (this.closed ??= "closed"))
  }
  async hears(text: string): Promise<void> {
    await untilValue(
      `"${text}"`,
      () => this.heard,
      (heard) => heard === text
    )
  }
}

const setup = async () => {
  const server = await echo()
  const proxy = await FaultProxy.to(server)
  closers.push(() => proxy.close())
  const client = new Client(proxy.port)
  await once(client.socket, "connect")
  return { server, proxy, client }
}

/** So long nothing may come that must not. */
const quiet = () => new Promise((resolve) => setTimeout(resolve, 60))

describe("a fault proxy", () => {
  test("passes what is said, and ends when either side does", async () => {
    const { client, proxy, server } = await setup()
    client.socket.write("one")
    await client.hears("one")
    expect(proxy.counters).toEqual({
      accepted: 1,
      open: 1,
      broken: 0,
      unreachable: 0,
      toServer: 3,
      toClient: 3,
      held: 0
    })
    client.socket.end("two")
    await client.hears("onetwo")
    await until("the end", () => client.closed === "closed" && proxy.counters.open === 0 && server.sockets.size === 0)
  })

  test("delays, in order", async () => {
    const { client, proxy } = await setup()
    proxy.delay(40, 30)
    const from = performance.now()
    for (const part of ["a", "b", "c", "d"]) {
      client.socket.write(part)
      await quiet()
    }
    await client.hears("abcd")
    // The last one was said after four pauses, and is delayed by 10 ms or more each way.
    expect(performance.now() - from).toBeGreaterThanOrEqual(180 + 20 - 2)
  })

  test("limits bandwidth", async () => {
    const { client, proxy } = await setup()
    proxy.bandwidth(200_000)
    const from = performance.now()
    client.socket.write("x".repeat(40_000))
    await client.hears("x".repeat(40_000))
    expect(performance.now() - from).toBeGreaterThanOrEqual(195)
  })

  for (const fault of ["cut", "freeze"] as const) {
    test(`holds everything after ${fault}, and loses nothing of it`, async () => {
      const { client, proxy, server } = await setup()
      client.socket.write("before ")
      await client.hears("before ")
      proxy[fault]()
      client.socket.write("after")
      const late = new Client(proxy.port)
      late.socket.write("late")
      await quiet()
      expect([client.heard, client.closed, late.heard, late.closed]).toEqual(["before ", undefined, "", undefined])
      expect(server.sockets.size).toBe(1)
      await proxy.heal()
      await client.hears("before after")
      await late.hears("late")
    })
  }

  test("does not tell of a closing across a cut", async () => {
    const { client, proxy, server } = await setup()
    client.socket.write("x")
    await client.hears("x")
    proxy.cut()
    client.socket.destroy()
    await quiet()
    expect(server.sockets.size).toBe(1)
    await proxy.heal()
    await until("the server's side closed", () => server.sockets.size === 0)
  })

  test("silences one direction", async () => {
    const { client, proxy } = await setup()
    proxy.silence("toClient")
    client.socket.write("heard")
    await until("the server's hearing it", () => proxy.counters.toServer === 5)
    await quiet()
    expect(client.heard).toBe("")
    await proxy.heal()
    await client.hears("heard")
  })

  test("resets connections, and lets them end", async () => {
    const { client, proxy, server } = await setup()
    await until("the server's taking it", () => server.sockets.size === 1)
    expect(proxy.reset()).toBe(1)
    await untilValue(
      "the reset",
      () => client.closed,
      (closed) => closed === "ECONNRESET"
    )
    await until("the server's hearing of it", () => server.sockets.size === 0)
    const second = new Client(proxy.port)
    await once(second.socket, "connect")
    await until("the server's taking it", () => server.sockets.size === 1)
    expect(proxy.end()).toBe(1)
    await untilValue(
      "the end",
      () => second.closed,
      (closed) => closed === "closed"
    )
    expect(proxy.counters.broken).toBe(2)
  })

  test("loses connections by chance", async () => {
    const { client, proxy } = await setup()
    proxy.loss(1)
    client.socket.write("x")
    await untilValue(
      "the reset",
      () => client.closed,
      (closed) => closed === "ECONNRESET"
    )
    expect(proxy.counters.broken).toBe(1)
  })

  test("refuses, and takes connections at the same port again", async () => {
    const { client, proxy } = await setup()
    const { port } = proxy
    await proxy.refuse()
    const refused = new Client(port)
    await untilValue(
      "the refusal",
      () => refused.closed,
      (closed) => closed === "ECONNREFUSED"
    )
    client.socket.write("still here")
    await client.hears("still here")
    await proxy.heal()
    const again = new Client(port)
    again.socket.write("again")
    await again.hears("again")
  })

  test("resets when there is no target, and follows one that moved", async () => {
    const { proxy } = await setup()
    const moved = await echo()
    proxy.retarget({ port: 1 })
    const lost = new Client(proxy.port)
    await untilValue(
      "the reset",
      () => lost.closed,
      (closed) => closed === "ECONNRESET"
    )
    expect(proxy.counters.unreachable).toBe(1)
    proxy.retarget(moved)
    const found = new Client(proxy.port)
    found.socket.write("found")
    await found.hears("found")
    expect(moved.sockets.size).toBe(1)
  })

  test("holds back those who send too much", async () => {
    const { client, proxy } = await setup()
    proxy.cut()
    const much = "y".repeat(8 * 1024 * 1024)
    client.socket.write(much)
    await quiet()
    expect(proxy.counters.held).toBeLessThanOrEqual(512 * 1024)
    await proxy.heal()
    await untilValue(
      "all of it",
      () => client.heard.length,
      (length) => length === much.length
    )
  })
})

describe("until", () => {
  test("says what it saw", async () => {
    let looks = 0
    const wait = untilValue(
      "a hundred",
      () => (looks += looks < 9 ? 1 : 0),
      (count) => count === 100,
      {
        withinMs: 1_500,
        diagnose: () => ({ cause: "it stops at nine" })
      }
    )
    const said = await wait.then(
      () => "nothing",
      (error: Error) => error.message
    )
    expect(said).toContain("waited 1500 ms for a hundred")
    expect(said).toContain(" ms: 1\n")
    expect(said).toContain("changes more")
    expect(said).toContain(" ms: 9\n")
    expect(said).toContain("it stops at nine")
  })

  test("goes on after a failure", async () => {
    let looks = 0
    await until("the third look", () => {
      looks += 1
      if (looks < 3) throw new Error("not yet")
      return true
    })
    expect(looks).toBe(3)
  })
})
