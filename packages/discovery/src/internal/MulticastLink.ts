import { createSocket, type RemoteInfo } from "node:dgram"
import type { Answer, Question } from "dns-packet"
import multicastDns from "multicast-dns"
import { type Interface, isOnLink } from "./Interfaces.ts"

/** Largest packet that is decoded: what fits into an ordinary frame, and room for jumbo ones. Larger ones are dropped. */
export const MAX_PACKET_BYTES = 4_096
/** Packets taken per second on one interface: far above what a link of a thousand nodes says. More are dropped. */
export const MAX_PACKETS_PER_SECOND = 1_000
/** Of these, packets of one address: a node that is asked often says ten. Who floods is not heard, and others are. */
export const MAX_PACKETS_PER_SENDER = 100
/**
 * Packets a second that are taken from addresses which spoke for a node before, also where others have used up all the rest by posing as
 * many.
 */
export const PACKETS_FOR_KNOWN = 500
/** Addresses remembered that spoke for a node; the one heard of longest ago goes. */
export const MAX_KNOWN_SENDERS = 1_024
/** How long opening may take, in milliseconds. */
const OPEN_MS = 1_000

/**
 * How often a packet is sent again that was not sent at all: on Bun it fails with the ICMP answer to an earlier one, as to a resolver that
 * has asked and gone.
 */
const RESENDS = 3

/** A DNS message to send. */
export interface Message {
  readonly id?: number
  readonly questions?: Array<Question>
  readonly answers?: Array<Answer>
  readonly additionals?: Array<Answer>
}

/** What is heard on one interface. Neither may throw. */
export interface Listener {
  readonly onQuery: (link: MulticastLink, query: multicastDns.QueryPacket, from: RemoteInfo) => void
  readonly onResponse: (link: MulticastLink, response: multicastDns.ResponsePacket, from: RemoteInfo) => void
}

/** Multicast DNS on one interface: its own socket, bound beside those of other programs. */
export class MulticastLink {
  readonly interface: Interface
  readonly #mdns: multicastDns.MulticastDNS
  readonly #port: number
  readonly #budget: PacketBudget
  #closed = false

  private constructor(at: Interface, mdns: multicastDns.MulticastDNS, port: number, budget: PacketBudget) {
    this.interface = at
    this.#budget = budget
    this.#mdns = mdns
    this.#port = port
  }

  /** Opens it; rejects where the interface cannot multicast or the port is held exclusively. */
  static open(at: Interface, port: number, listener: Listener): Promise<MulticastLink> {
    const socket = createSocket({ type: "udp4", reuseAddr: true })
    const mdns = multicastDns({ socket, port, interface: at.address, bind: "0.0.0.0" })
    const budget = new PacketBudget()
    const link = new MulticastLink(at, mdns, port, budget)
    guard(socket, at, budget)
    return new Promise((resolve, reject) => {
      let settled = false
      let warning = "it cannot join the multicast group"
      const settle = (error: string | undefined): void => {
        if (settled) return
        settled = true
        clearTimeout(timer)
        if (error === undefined) return resolve(link)
        link.close()
        reject(new Error(error))
      }
      const timer = setTimeout(() => settle(`not ready within ${OPEN_MS} ms`), OPEN_MS)
      // Once it works, both mean a packet that is no DNS or could not be sent, or an interface that goes: like a lost packet.
      mdns.on("error", (error) => settle(error.message))
      mdns.on("warning", (error) => {
        warning = error.message
      })
      mdns.on("networkInterface", () => settle(undefined))
      mdns.on("ready", () => settle(warning))
      mdns.on("query", (query, from) => listener.onQuery(link, query, from))
      mdns.on("response", (response, from) => listener.onResponse(link, response, from))
    })
  }

  /** The port that it listens on and sends to. */
  get port(): number {
    return this.#port
  }

  /** An address has spoken for a node: a flood by others does not drown it. */
  trust(address: string): void {
    this.#budget.trust(address)
  }

  query(message: Message): Promise<void> {
    return this.#sent((done) => this.#mdns.query({ questions: [], ...message }, done))
  }

  /** Sends answers to everybody, or to one. */
  respond(message: Message, to?: RemoteInfo): Promise<void> {
    const answers = { answers: [], ...message }
    return this.#sent((done) =>
      to === undefined
        ? this.#mdns.respond(answers, done)
        : this.#mdns.respond(answers, { address: to.address, port: to.port }, done)
    )
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#mdns.destroy()
  }

  #sent(send: (done: (error: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const trySend = (left: number): void => {
        if (this.#closed) return resolve()
        send((error) => {
          if (!error) return resolve()
          const isOfBefore = (error as NodeJS.ErrnoException).code === "ECONNREFUSED"
          if (!isOfBefore || left === 0) return reject(error)
          trySend(left - 1)
        })
      }
      trySend(RESENDS)
    })
  }
}

/** Lets only packets through that are small enough, not too many, and sent from this link. */
const guard = (socket: ReturnType<typeof createSocket>, at: Interface, budget: PacketBudget): void => {
  const listeners = socket.listeners("message")
  socket.removeAllListeners("message")
  socket.on("message", (message, from) => {
    if (message.length > MAX_PACKET_BYTES || !isOnLink(at, from.address)) return
    if (!budget.take(from.address, performance.now())) return
    for (const listener of listeners) listener.call(socket, message, from)
  })
}

/** Which packets of a second are taken, by who sent them. */
export class PacketBudget {
  /** In the order of last speaking. */
  readonly #trusted = new Set<string>()
  readonly #bySender = new Map<string, number>()
  #second = 0
  #others = 0
  #known = 0

  /** An address has spoken for a node. */
  trust(sender: string): void {
    this.#trusted.delete(sender)
    this.#trusted.add(sender)
    if (this.#trusted.size <= MAX_KNOWN_SENDERS) return
    for (const oldest of this.#trusted) {
      this.#trusted.delete(oldest)
      return
    }
  }

  /** Takes a packet's place; false when there is none. `now` in milliseconds. */
  take(sender: string, now: number): boolean {
    const second = Math.floor(now / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#others = this.#known = 0
      this.#bySender.clear()
    }
    const sent = this.#bySender.get(sender) ?? 0
    if (sent >= MAX_PACKETS_PER_SENDER) return false
    const isKnown = this.#trusted.has(sender) && this.#known < PACKETS_FOR_KNOWN
    if (!isKnown && this.#others >= MAX_PACKETS_PER_SECOND - PACKETS_FOR_KNOWN) return false
    if (isKnown) this.#known++
    else this.#others++
    this.#bySender.set(sender, sent + 1)
    return true
  }
}
