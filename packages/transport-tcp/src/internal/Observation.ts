/** Asks a node that sees this one where a port of this machine appears, by opening a connection from that port to it. */
import { isIP, connect, createServer, type Socket } from "node:net"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode } from "@parley/core/Transport"
import type { Connection } from "@parley/core/Transport"
import type * as Perimeter from "@parley/core/Perimeter"
import { isNoCloser } from "./Closeness.ts"
import { explain } from "./RelayLink.ts"
import type { HostPort } from "./Addresses.ts"
import * as Wire from "./PunchWire.ts"

/** How long the observer may take to say what it saw. */
export const OBSERVE_MS = 4_000

export interface Request {
  /** A direct connection to the one that is asked. */
  readonly observer: Connection
  /** Where it is reached. */
  readonly at: HostPort
  /** Whom it shall tell, too. */
  readonly peer?: NodeId
  /** The port of this machine. */
  readonly port: number
  readonly perimeter: Perimeter.Rules
  /** This node is seen there: once for each family of addresses. */
  readonly onSeen: (endpoint: HostPort) => void
  /** The peer is seen there. */
  readonly onTheirs: (endpoint: HostPort) => void
  /** It will say nothing more. */
  readonly onFailed: (why: string) => void
}

/** Starts; gives what lets the connections go that keep the mapping. */
export const observe = (request: Request): (() => void) => {
  const { at, observer, onFailed, onSeen, onTheirs, peer, perimeter, port } = request
  const sockets: Array<Socket> = []
  let over = false
  const end = (): void => {
    if (over) return
    over = true
    clearTimeout(timer)
    for (const socket of sockets) socket.destroy()
    stream?.reset(ResetCode.Cancelled)
  }
  const fail = (why: string): void => {
    if (over) return
    end()
    onFailed(why)
  }
  const show = (token: Uint8Array, to: HostPort): void => {
    if (!perimeter.allows(to.host)) return
    const socket = connect({ ...to, localPort: port, noDelay: true })
    sockets.push(socket)
    socket.on("error", () => {})
    socket.once("connect", () => void socket.write(Wire.shown(token)))
  }
  const timer = setTimeout(() => fail(`${observer.peer} did not say where it sees this node`), OBSERVE_MS)
  const stream = observer.open(Protocol.PUNCH, {
    onMessage: (message, last) => {
      if (over) return
      const sight = last ? undefined : Wire.readSight(message)
      switch (sight?._tag) {
        case undefined:
          return fail(`${observer.peer} answers what makes no sense`)
        case "Token": {
          if (sockets.length > 0) return fail(`${observer.peer} answers twice`)
          const family = isIP(at.host)
          const other = sight.at.find(
            ({ host }) => isIP(host) !== family && isIP(host) === 6 && isNoCloser(host, at.host)
          )
          if (other !== undefined && family !== 0) show(sight.token, other)
          return show(sight.token, at)
        }
        case "Seen":
          clearTimeout(timer)
          return onSeen(sight.endpoint)
        case "Theirs":
          if (isNoCloser(sight.endpoint.host, at.host)) onTheirs(sight.endpoint)
          return
      }
    },
    onWritable: () => {},
    onClosed: (code) =>
      fail(code === ResetCode.UnknownProtocol ? `${observer.peer} does not say where it sees others` : explain(code))
  })
  if (stream === undefined) {
    queueMicrotask(() => fail(`the connection to ${observer.peer} takes no more streams`))
    return end
  }
  stream.send(Wire.observe(peer), undefined, false)
  return end
}

/** A port of this machine that nothing uses. */
export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen({ port: 0, host: "0.0.0.0" }, () => {
      const bound = server.address()
      server.close(() => resolve(bound !== null && typeof bound === "object" ? bound.port : 0))
    })
  })
