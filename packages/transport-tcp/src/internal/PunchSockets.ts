/**
 * Dials a peer from one port while the peer dials that port: whichever packet finds a way makes the connection.
 *
 * The port dials the peer's endpoint, and then listens too: a peer whose router gives it another port for each destination comes
 * from one that nobody could foretell. A port that listens cannot dial (Linux and others refuse to share it), so that each new
 * round stops listening first.
 */
import { connect, createServer, isIP, type Server, type Socket } from "node:net"
import * as Addresses from "./Addresses.ts"
import type { HostPort } from "./Addresses.ts"

/** From dialling to listening: by then the sockets that dial have their port. */
const LISTEN_AFTER_MS = 15
/**
 * From one round to the next, where somebody refused: its end may have come to it a moment later. At random between half of it
 * and all, so that two ends do not go on refusing each other in step; doubles, so that one that only refuses is dialled a few times.
 */
export const ROUND_MS = 120
/** Beside two round trips, how long a packet may go unanswered until it is sent anew: TCP would wait for a second. Doubles. */
const AGAIN_MS = 250
/** IPv4 begins so much after IPv6 where both ends have both (RFC 8305, 5). */
export const IPV6_AHEAD_MS = 100
/** Where the peer listens for everybody, if it says so, is tried so much later: its own port is more likely to work. */
const LISTENING_AFTER_MS = 250
/** Sockets from the peer that are taken in one attempt. */
export const MAX_TAKEN = 4

/** What may be otherwise a moment later. */
const passing = new Set(["ECONNREFUSED", "ECONNRESET", "EADDRINUSE"])

export interface Terms {
  readonly port: number
  readonly rttMs: number
  /** Where the peer's port is seen, IPv6 first. */
  readonly targets: ReadonlyArray<HostPort>
  /** Where the peer listens for everybody. */
  readonly listening: ReadonlyArray<HostPort>
  /** A connection to the peer's port, or from it. */
  readonly onSocket: (socket: Socket) => void
  /** A connection to where the peer listens. */
  readonly onReached: (socket: Socket) => void
}

export class PunchSockets {
  readonly #terms: Terms
  readonly #hosts: ReadonlySet<string>
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  readonly #dialling = new Set<Socket>()
  /** Of those, such as the port dials with, and where. */
  readonly #silent = new Map<Socket, HostPort>()
  /** Longest pause before a target that refuses is dialled again. */
  readonly #pauses = new Map<HostPort, number>()
  #server: Server | undefined
  #taken = 0
  #over = false

  constructor(terms: Terms) {
    this.#terms = terms
    this.#hosts = new Set(terms.targets.map(({ host }) => host))
    const hasBoth = new Set(terms.targets.map(({ host }) => isIP(host))).size > 1
    for (const target of terms.targets) {
      if (hasBoth && isIP(target.host) === 4) this.#after(IPV6_AHEAD_MS, () => this.#round([target]))
    }
    this.#round(hasBoth ? terms.targets.filter(({ host }) => isIP(host) === 6) : terms.targets)
    this.#anew(AGAIN_MS + 2 * terms.rttMs)
    this.#after(LISTENING_AFTER_MS, () => {
      for (const at of terms.listening) this.#connect(at, undefined, terms.onReached, () => {})
    })
  }

  /** Gives up all that did not come to be. */
  close(): void {
    this.#over = true
    for (const timer of this.#timers) clearTimeout(timer)
    for (const socket of this.#dialling) socket.destroy()
    this.#dialling.clear()
    this.#server?.close()
    this.#server = undefined
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#over) run()
    }, ms)
    this.#timers.add(timer)
  }

  /** The router of the other end may have dropped the first packet, as it came before its own host's. */
  #anew(afterMs: number): void {
    this.#after(afterMs, () => {
      const silent = [...this.#silent.values()]
      for (const [socket] of this.#silent) {
        this.#dialling.delete(socket)
        socket.destroy()
      }
      this.#silent.clear()
      if (silent.length > 0) this.#round(silent)
      this.#anew(2 * afterMs)
    })
  }

  #round(targets: ReadonlyArray<HostPort>): void {
    this.#server?.close()
    this.#server = undefined
    const onSocket = (socket: Socket): void => this.#take(socket)
    for (const target of targets)
      this.#connect(target, this.#terms.port, onSocket, (code) => {
        // Silence goes on by itself, and where no way leads, none will be made.
        if (code === undefined || !passing.has(code)) return
        const pause = this.#pauses.get(target) ?? ROUND_MS
        this.#pauses.set(target, 2 * pause)
        this.#after(pause * (0.5 + Math.random() / 2), () => this.#round([target]))
      })
    this.#after(LISTEN_AFTER_MS, () => this.#listen("::"))
  }

  #connect(
    to: HostPort,
    localPort: number | undefined,
    on: (socket: Socket) => void,
    onError: (code: string | undefined) => void
  ): void {
    const socket = connect({ ...to, noDelay: true, ...(localPort === undefined ? {} : { localPort }) })
    this.#dialling.add(socket)
    if (localPort !== undefined) this.#silent.set(socket, to)
    const failed = (error: NodeJS.ErrnoException): void => {
      this.#silent.delete(socket)
      if (this.#dialling.delete(socket) && !this.#over) onError(error.code)
    }
    socket.once("error", failed)
    socket.once("connect", () => {
      // Its errors belong to whoever has it now.
      socket.on("error", () => {})
      this.#dialling.delete(socket)
      this.#silent.delete(socket)
      if (this.#over) return void socket.destroy()
      // Where the other end stopped listening before it took the connection, its machine takes it back.
      socket.once("close", () => {
        if (localPort !== undefined && !this.#over) onError("ECONNRESET")
      })
      on(socket)
    })
  }

  #listen(host: "::" | "0.0.0.0"): void {
    if (this.#server !== undefined) return
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on("error", () => {})
      // Others may know of this port, too; it is there for the peer alone.
      if (this.#over || !this.#hosts.has(Addresses.remote(socket.remoteAddress))) socket.destroy()
      else this.#take(socket)
    })
    this.#server = server
    server.on("error", () => {
      if (this.#server !== server) return
      this.#server = undefined
      if (host === "::" && !this.#over) this.#listen("0.0.0.0")
    })
    server.listen({ port: this.#terms.port, host })
  }

  #take(socket: Socket): void {
    if (++this.#taken > MAX_TAKEN) socket.destroy()
    else this.#terms.onSocket(socket)
  }
}
