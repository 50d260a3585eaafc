import { expect, test } from "bun:test"
import { connect, createServer, type AddressInfo, type Socket } from "node:net"
import { until } from "../../../test-support/Until.ts"
import { freePort } from "../src/internal/Observation.ts"
import { MAX_TAKEN, PunchSockets, ROUND_MS } from "../src/internal/PunchSockets.ts"

const listen = (onSocket: (socket: Socket) => void): Promise<ReturnType<typeof createServer>> =>
  new Promise((resolve) => {
    const server = createServer(onSocket)
    server.listen(0, "127.0.0.1", () => resolve(server))
  })
const portOf = (server: ReturnType<typeof createServer>): number => (server.address() as AddressInfo).port

test("a connection that the other end's machine takes back is dialled again", async () => {
  const taken: Array<Socket> = []
  let came = 0
  const peer = await listen((socket) => {
    socket.on("error", () => undefined)
    // As when it stopped listening in the moment in which the first one came.
    if (++came === 1) socket.resetAndDestroy()
    else socket.write("here")
  })
  const heard: Array<string> = []
  const punch = new PunchSockets({
    port: await freePort(),
    rttMs: 1,
    targets: [{ host: "127.0.0.1", port: portOf(peer) }],
    listening: [],
    onSocket: (socket) => {
      taken.push(socket)
      socket.on("data", (bytes: Buffer) => void heard.push(bytes.toString()))
    },
    onReached: () => undefined
  })
  try {
    await until("the second one stands", () => heard.includes("here"), { diagnose: () => ({ came, heard }) })
    expect(came).toBeGreaterThan(1)
  } finally {
    punch.close()
    for (const socket of taken) socket.destroy()
    peer.close()
  }
})

test("one that takes nothing is dialled again after pauses that double", async () => {
  const cameAt: Array<number> = []
  const peer = await listen((socket) => {
    socket.on("error", () => undefined)
    cameAt.push(performance.now())
    socket.resetAndDestroy()
  })
  const punch = new PunchSockets({
    port: await freePort(),
    rttMs: 1_000,
    targets: [{ host: "127.0.0.1", port: portOf(peer) }],
    listening: [],
    onSocket: () => undefined,
    onReached: () => undefined
  })
  try {
    await until("it is dialled four times", () => cameAt.length >= 4, { diagnose: () => cameAt })
    for (let dial = 1; dial < 4; dial++) {
      const pause = cameAt[dial]! - cameAt[dial - 1]!
      // Half of each is at random; timers may fire a moment early.
      expect(pause).toBeGreaterThan((ROUND_MS / 2) * 2 ** (dial - 1) - 5)
    }
  } finally {
    punch.close()
    peer.close()
  }
})

test("only the peer gets in at the port, and with a few sockets", async () => {
  const taken: Array<Socket> = []
  const mine: Array<Socket> = []
  const port = await freePort()
  const punch = new PunchSockets({
    port,
    rttMs: 1,
    targets: [{ host: "127.0.0.2", port: await freePort() }],
    listening: [],
    onSocket: (socket) => void taken.push(socket),
    onReached: () => undefined
  })
  /** Tries until the port listens; gives whether it was let in. */
  const come = async (localAddress: string): Promise<boolean> => {
    const [before, tried] = [taken.length, mine.length]
    let made = false
    await until(
      `an answer to ${localAddress}`,
      () => {
        const last = mine.length > tried ? mine.at(-1)! : undefined
        if (taken.length > before || (made && last!.closed)) return true
        if (last === undefined || last.closed) {
          const socket = connect({ host: "127.0.0.1", port, localAddress })
          mine.push(socket.on("error", () => undefined).resume())
          socket.once("connect", () => (made = true))
        }
        return false
      },
      { diagnose: () => ({ taken: taken.length, tries: mine.length - tried }) }
    )
    return taken.length > before
  }
  try {
    expect(await come("127.0.0.1")).toBe(false)
    for (let sockets = 0; sockets < MAX_TAKEN; sockets++) expect(await come("127.0.0.2")).toBe(true)
    expect(await come("127.0.0.2")).toBe(false)
  } finally {
    punch.close()
    for (const socket of [...taken, ...mine]) socket.destroy()
  }
})
