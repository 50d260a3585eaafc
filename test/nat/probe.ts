/**
 * A host that does with sockets what it is told, a line of JSON each, and says what comes of it, a line of JSON each.
 *
 * - `{"udp": 4000}` opens a port; `{"send": "text", "from": 4000, "host": "203.0.113.2", "port": 5000}` sends from it.
 * - `{"listen": 6000}` takes TCP connections, and tells each whom it sees; `{"connect": "name", "from": 4000, "host", "port"}` makes one.
 */
import { createSocket, type Socket } from "node:dgram"
import { connect, createServer, type Socket as TcpSocket } from "node:net"
import { createInterface } from "node:readline"

/** What is asked for. */
export type Order =
  | { readonly udp: number }
  | { readonly send: string; readonly from: number; readonly host: string; readonly port: number }
  | { readonly listen: number }
  | { readonly connect: string; readonly from?: number; readonly host: string; readonly port: number }

/** What is told. Addresses are `HOST:PORT`. */
export type News =
  | { readonly ready: number }
  | { readonly heard: string; readonly at: number; readonly from: string }
  | { readonly connected: string; readonly seenAs: string }
  | { readonly failed: string; readonly why: string }

/** A connection that nobody answered by then does not come any more: a lost first packet is sent again after 1 s. */
const CONNECT_MS = 400

const say = (news: News): void => console.log(JSON.stringify(news))
const ports = new Map<number, Socket>()
const kept = new Set<TcpSocket>()

const carryOut = (order: Order): void => {
  if ("udp" in order) {
    const socket = createSocket("udp4")
    ports.set(order.udp, socket)
    socket.on("message", (bytes, from) =>
      say({ heard: String(bytes), at: order.udp, from: `${from.address}:${from.port}` })
    )
    socket.bind(order.udp, () => say({ ready: order.udp }))
  } else if ("send" in order) {
    ports.get(order.from)?.send(order.send, order.port, order.host)
  } else if ("listen" in order) {
    const server = createServer((socket) => {
      kept.add(socket)
      socket.on("error", () => {})
      socket.write(`${socket.remoteAddress?.replace("::ffff:", "")}:${socket.remotePort}`)
    })
    server.on("error", (error) => say({ failed: `listen ${order.listen}`, why: error.message }))
    server.listen(order.listen, () => say({ ready: order.listen }))
  } else {
    const { connect: name, from, host, port } = order
    const socket = connect({ host, port, ...(from === undefined ? {} : { localPort: from }) })
    const timer = setTimeout(() => {
      socket.destroy()
      say({ failed: name, why: "silence" })
    }, CONNECT_MS)
    kept.add(socket)
    socket.on("error", (error) => {
      clearTimeout(timer)
      say({ failed: name, why: error.message })
    })
    socket.once("data", (bytes: Uint8Array) => {
      clearTimeout(timer)
      say({ connected: name, seenAs: new TextDecoder().decode(bytes) })
    })
  }
}

createInterface({ input: process.stdin })
  .on("line", (line) => carryOut(JSON.parse(line) as Order))
  .on("close", () => process.exit(0))
