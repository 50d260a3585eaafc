/**
 * One end of dials, in a process of its own: `DialEnd.ts KIND answer`, or `DialEnd.ts KIND ask ADDRESS`. KIND is `parley`,
 * `tcp` for a bare connect, or `libp2p`.
 */
import { connect as connectSocket, createServer } from "node:net"
import type { AddressInfo } from "node:net"
import * as Effect from "effect/Effect"
import { lasting } from "./Lasting.ts"
import { Load, type Run } from "./Load.ts"
import { obey } from "./Obey.ts"
import * as Sessions from "./Sessions.ts"

export type DialKind = "parley" | "tcp" | "libp2p"

/** What a `DialEnd.ts` is told. */
export type DialOrder =
  /** Dials, so many at once, until the time is over; answered by a `Run`. For the asking end. */
  | { readonly _tag: "Dial"; readonly lanes: number; readonly seconds: number }
  /** Dials there, asks, and waits for the answer, as often as told; answered by the times in ms. For the asking end. */
  | { readonly _tag: "First"; readonly address: string; readonly times: number }
  /** Answered by how many were let in so far. For the answering end. */
  | { readonly _tag: "Accepted" }

/**
 * Every dial here comes from one address, where a node that is open to the world has them from many. So what one address may have
 * is raised, as an operator behind a proxy would; what a node takes in all stays as it is.
 */
const limits = {
  handshakesAtOnce: 1_000_000,
  handshakesPerSecond: 1_000_000,
  maxPendingPerAddress: 256,
  maxConnectionsPerAddress: 4_096
}

interface Answering {
  readonly address: string
  readonly accepted: () => number
}

/** Gives one dial, which ends what it opened; each lane has one of its own. */
type Lane = (address: string) => Promise<() => Promise<void>>

const answers: { readonly [Kind in DialKind]: () => Promise<Answering> } = {
  parley: async () => {
    const node = await Sessions.sessions({ limits })
    let accepted = 0
    await Effect.runPromise(lasting(node.observe({ onConnected: () => (accepted += 1) })))
    return { address: node.addresses()[0]!, accepted: () => accepted }
  },
  libp2p: async () => (await import("../rivals/Libp2pDial.ts")).answer(),
  tcp: () =>
    new Promise((resolve) => {
      let accepted = 0
      const server = createServer({ noDelay: true }, (socket) => {
        accepted += 1
        socket.on("error", () => {})
        socket.resume()
      })
      server.listen(0, "127.0.0.1", () => {
        resolve({ address: String((server.address() as AddressInfo).port), accepted: () => accepted })
      })
    })
}

const lanes: { readonly [Kind in DialKind]: () => Promise<Lane> } = {
  parley: async () => {
    const node = await Sessions.sessions({ listen: false })
    return async (address) => {
      const connection = await Sessions.connect(node, address)
      return async () => connection.close("it was measured")
    }
  },
  libp2p: async () => (await import("../rivals/Libp2pDial.ts")).dialler(),
  tcp: async () => (port) =>
    new Promise((resolve, reject) => {
      const socket = connectSocket({ port: Number(port), host: "127.0.0.1", noDelay: true })
      socket.once("error", reject)
      socket.once("connect", () =>
        resolve(async () => {
          socket.end()
        })
      )
    })
}

const [kind, role, to = ""] = process.argv.slice(2) as [DialKind, string, string]
const answering = role === "answer" ? await answers[kind]() : undefined
const asking: Array<Lane> = []

const dial = async (count: number, seconds: number): Promise<Run> => {
  while (asking.length < count) asking.push(await lanes[kind]())
  const load = new Load(seconds)
  await Promise.all(
    asking.slice(0, count).map(async (lane) => {
      while (!load.over) {
        const begun = performance.now()
        const close = await lane(to)
        load.answered(begun)
        await close()
      }
    })
  )
  return load.run()
}

const first = async (address: string, times: number): Promise<ReadonlyArray<number>> => {
  const took: Array<number> = []
  for (let i = 0; i < times; i++) {
    const node = await Sessions.sessions({ listen: false })
    const begun = performance.now()
    const connection = await Sessions.connect(node, address)
    await Sessions.ask(connection, "hello")
    took.push(performance.now() - begun)
    connection.close("it was measured")
  }
  return took
}

await obey<DialOrder>({ address: answering?.address ?? to }, async (order) => {
  switch (order._tag) {
    case "Dial":
      return dial(order.lanes, order.seconds)
    case "First":
      return first(order.address, order.times)
    case "Accepted":
      return answering!.accepted()
  }
})
