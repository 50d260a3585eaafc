/**
 * The DHT's UDP socket, in the shape that `k-rpc` expects of one, and the door to all that strangers send.
 *
 * What comes in is read strictly (`KrpcMessage`), counted against its sender, and matched to what was asked: an answer counts
 * from the very endpoint that was asked, under its transaction's 8 random bytes. Who asks us does not get into the routing
 * table by that; who answers us does. What goes out passes the perimeter, whoever told of the host.
 */
import { Buffer } from "node:buffer"
import { randomBytes } from "node:crypto"
import * as dgram from "node:dgram"
import * as dns from "node:dns"
import { EventEmitter } from "node:events"
import { isIPv4 } from "node:net"
import { networkInterfaces } from "node:os"
import type { Rules } from "@parley/core/Perimeter"
import { Announcers } from "./Announcers.ts"
import * as Bencode from "./Bencode.ts"
import { ItemShares } from "./ItemShares.ts"
import * as Message from "./KrpcMessage.ts"
import type { PacketSeal } from "./PacketSeal.ts"
import { TokenBucket } from "./TokenBucket.ts"

/** How long an answer is waited for, in milliseconds: a round trip around the world, twice. */
export const ANSWER_MS = 1_000
/** Queries under way at once. */
export const MAX_INFLIGHT = 256
/** Queries of one host that are answered a second, and at once: a search asks a node a few times. */
export const QUERIES_OF_HOST = { perSecond: 50, atOnce: 200 }
/** Datagrams of all hosts that are read a second, and at once: reading one costs about 20 µs. */
export const PACKETS = { perSecond: 5_000, atOnce: 10_000 }
/** Hosts that are counted at once; past it, those that have been quiet are forgotten, and then all. */
export const MAX_HOSTS = 10_000
/** Nodes whose opinion of where we are is kept; most of them decide. */
const MAX_WITNESSES = 8

/**
 * How often a datagram is sent again that was not sent at all: on Bun the next one, to whomever, fails with the ICMP answer of a port
 * where nobody listens any more.
 */
const RESENDS = 3

const TRANSACTION_BYTES = 8

/** How the socket behaves. */
export interface Options {
  readonly rules: Rules
  readonly seal: PacketSeal
  /** The NodeId's key to announce under; absent for a node that announces nothing. */
  readonly publicKey: Uint8Array | undefined
  /** Hosts that many nodes share, each counted by itself. */
  readonly isShared: (host: string) => boolean
}

type Answered = (error: Error | null, reply: Message.Reply | null, peer: Message.Peer) => void

interface Pending {
  readonly peer: Message.Peer
  readonly host: string
  readonly answered: Answered
  readonly timer: ReturnType<typeof setTimeout>
}

const failure = (message: string, code: string | number): Error => Object.assign(new Error(message), { code })
/** The library takes a node that failed so out of its table. */
const timedOut = (): Error => failure("no answer came", "ETIMEDOUT")
const nobody = (): void => undefined

/** The machine's own addresses; looked up when the socket is bound. */
const ownHosts = (): ReadonlySet<string> =>
  new Set(
    Object.values(networkInterfaces()).flatMap((entries) =>
      (entries ?? []).flatMap(({ address, family }) => (family === "IPv4" ? [address] : []))
    )
  )

export class KrpcSocket extends EventEmitter {
  readonly announcers = new Announcers()
  /** What this node has announced itself; Latin-1. */
  readonly own = new Set<string>()
  /** What strangers sent that was not passed on, by reason. */
  readonly dropped = { malformed: 0, tooMany: 0, unasked: 0, outside: 0, broken: 0 }
  /** The closest nodes known, as `nodes` has them; set by whoever owns the routing table. */
  closest: (target: Buffer) => Buffer = () => Buffer.alloc(0)
  inflight = 0
  /** Others can reach us: they see us where we are. Till they say so we ask as one who is not asked (BEP 43). */
  isReachable = false

  readonly #options: Options
  readonly #socket = dgram.createSocket("udp4")
  readonly #pending = new Map<string, Pending>()
  readonly #buckets = new Map<string, TokenBucket>()
  readonly #shares = new ItemShares()
  readonly #witnesses = new Map<string, boolean>()
  readonly #all = new TokenBucket(PACKETS.perSecond, PACKETS.atOnce, Date.now())
  #own: ReadonlySet<string> = new Set()
  #asking: { readonly a: Message.Arguments; readonly source: string } | undefined
  #isClosed = false

  constructor(options: Options) {
    super()
    this.#options = options
    this.#socket.on("message", (packet, from) => this.#receive(packet, from.address, from.port))
    this.#socket.on("error", (error) => this.emit(this.#own.size === 0 ? "error" : "warning", error))
    this.#socket.on("listening", () => {
      this.#own = ownHosts()
      this.emit("listening")
    })
  }

  /** What is counted as one source. */
  #source(host: string, port: number): string {
    return this.#options.isShared(host) ? `${host}:${port}` : host
  }

  bind(port: number, host: string, done?: () => void): void {
    this.#socket.bind(port, host, done)
  }

  address(): { readonly address: string; readonly port: number } {
    return this.#socket.address()
  }

  /** Asks a node. The answer comes later, also when nothing was sent. */
  query(
    peer: Message.Peer,
    query: { readonly q: string; readonly a: Bencode.Encodable },
    done: Answered = nobody
  ): void {
    const named = peer.host ?? peer.address ?? ""
    if (isIPv4(named)) return this.#ask(peer, named, query, done)
    this.inflight++
    const ended = (host: string | undefined): void => {
      this.inflight--
      if (this.#isClosed || host === undefined) {
        done(failure(`${named} is no host that can be asked`, "ENOTFOUND"), null, peer)
        this.#update()
      } else this.#ask({ host, port: peer.port }, host, query, done)
    }
    if (!this.#options.rules.allows(named)) return queueMicrotask(() => ended(undefined))
    dns.lookup(named, 4, (error, host) => ended(error === null ? host : undefined))
  }

  #ask(peer: Message.Peer, host: string, query: { readonly q: string; readonly a: Bencode.Encodable }, done: Answered) {
    const name = randomBytes(TRANSACTION_BYTES)
    const key = name.toString("latin1")
    const isAllowed =
      this.inflight < MAX_INFLIGHT && Message.isReachable({ host, port: peer.port }) && this.#options.rules.allows(host)
    const { publicKey } = this.#options
    const a =
      query.q === "announce_peer" && publicKey !== undefined ? { ...(query.a as object), pk: publicKey } : query.a
    this.inflight++
    const give = (error: Error): void => {
      if (!this.#pending.delete(key)) return
      this.inflight--
      done(error, null, peer)
      this.#update()
    }
    if (!isAllowed) this.dropped.outside++
    const timer = setTimeout(() => give(timedOut()), isAllowed ? ANSWER_MS : 0)
    this.#pending.set(key, { peer, host, answered: done, timer })
    if (isAllowed) this.#send(host, peer.port, { t: name, y: "q", q: query.q, a, ro: this.isReachable ? undefined : 1 })
  }

  /** Answers a query. */
  response(peer: Message.Peer, query: Message.Query, r: { readonly [name: string]: Bencode.Encodable }, done = nobody) {
    const host = peer.address ?? peer.host ?? ""
    const { nodes, values, ...rest } = r
    const hash = query.q === "get_peers" ? query.a.info_hash?.toString("latin1") : undefined
    // The library leaves nodes out where it has a value: a search would end at those who hold it, and never get to newcomers.
    const target = query.q === "get_peers" ? query.a.info_hash : query.a.target
    const near = nodes instanceof Uint8Array ? nodes : target === undefined ? undefined : this.closest(target)
    const { publicKey } = this.#options
    const others = hash === undefined ? [] : this.announcers.sample(hash, Message.MAX_KEYS - 1, Date.now())
    const keys = hash !== undefined && publicKey !== undefined && this.own.has(hash) ? [...others, publicKey] : others
    this.#send(host, peer.port, {
      t: query.t,
      y: "r",
      ip: Message.endpointBytes(host, peer.port),
      r: {
        ...rest,
        nodes: near?.subarray(0, Message.MAX_NODES * Message.NODE_BYTES),
        ...(Array.isArray(values) ? { values: values.slice(0, Message.MAX_VALUES) } : {}),
        ...(keys.length === 0 ? {} : { pks: Buffer.concat(keys) })
      }
    })
    done()
  }

  /** Refuses a query. */
  error(peer: Message.Peer, query: Message.Query, error: Bencode.Encodable, done = nobody): void {
    const e = Array.isArray(error) ? error : [201, "failed"]
    this.#send(peer.address ?? peer.host ?? "", peer.port, { t: query.t, y: "e", e })
    done()
  }

  /** To be called when the library has taken an announcement, while it handles the query: the token was good, the key is kept. */
  announced(): void {
    const { a, source } = this.#asking ?? {}
    if (a?.info_hash === undefined || a.pk === undefined || source === undefined) return
    this.announcers.add(a.info_hash.toString("latin1"), a.pk, source, Date.now())
  }

  /** To be called when the library is about to store an item, while it handles the query: the token was good, the host's share counts. */
  stored(): void {
    if (this.#asking === undefined) return
    this.#shares.add(this.#asking.a, this.#asking.source, Date.now())
  }

  destroy(done: () => void = nobody): void {
    if (this.#isClosed) return done()
    this.#isClosed = true
    for (const [key, { answered, peer, timer }] of this.#pending) {
      clearTimeout(timer)
      this.#pending.delete(key)
      this.inflight--
      answered(failure("the DHT node was closed", "ECLOSED"), null, peer)
    }
    this.#socket.close(done)
  }

  #update(): void {
    this.emit("update")
    this.emit("postupdate")
  }

  #send(host: string, port: number, message: Bencode.Encodable): void {
    if (this.#isClosed) return
    if (!this.#options.rules.allows(host)) return void this.dropped.outside++
    const packet = this.#options.seal.seal(Bencode.encode(message))
    const send = (left: number): void =>
      this.#socket.send(packet, port, host, (error) => {
        const isOfBefore = (error as NodeJS.ErrnoException | null)?.code === "ECONNREFUSED"
        if (isOfBefore && left > 0 && !this.#isClosed) send(left - 1)
      })
    send(RESENDS)
  }

  #receive(sealed: Buffer, host: string, port: number): void {
    if (this.#isClosed || port === 0) return
    const now = Date.now()
    if (!this.#all.take(now)) return void this.dropped.tooMany++
    const packet = this.#options.seal.open(sealed)
    const message = packet && Message.read(packet)
    if (message === undefined) return void this.dropped.malformed++
    try {
      if (message.y === "q") this.#asked(message, host, port, now)
      else this.#answered(message, host, port)
    } catch (error) {
      // What the library cannot take must not end the process: whoever sent it would like that.
      this.dropped.broken++
      this.emit("warning", error)
    } finally {
      this.#asking = undefined
    }
  }

  #answered(message: Message.Reply | Message.Refusal, host: string, port: number): void {
    const key = message.t.toString("latin1")
    const pending = this.#pending.get(key)
    if (pending === undefined || pending.host !== host || pending.peer.port !== port) return void this.dropped.unasked++
    this.#pending.delete(key)
    clearTimeout(pending.timer)
    this.inflight--
    const peer: Message.Peer = { ...pending.peer, host, address: host, port }
    if (message.y === "e") pending.answered(failure("the node refused", message.code), null, peer)
    else if (pending.peer.id !== undefined && pending.peer.id !== null && !pending.peer.id.equals(message.r.id))
      pending.answered(failure("another node answered", "EUNEXPECTEDNODE"), null, peer)
    else {
      if (message.ip !== undefined) this.#witness(`${host}:${port}`, message.ip)
      pending.answered(null, message, peer)
      this.#update()
      return void this.emit("response", message, peer)
    }
    this.#update()
  }

  /** Hears where another node sees us: at an own address and the own port, there is no NAT between. */
  #witness(from: string, ip: Buffer): void {
    const { host, port } = Message.endpointOf(ip)
    this.#witnesses.delete(from)
    this.#witnesses.set(from, this.#own.has(host) && port === this.address().port)
    if (this.#witnesses.size > MAX_WITNESSES) {
      const oldest = this.#witnesses.keys().next()
      if (oldest.done !== true) this.#witnesses.delete(oldest.value)
    }
    const yes = [...this.#witnesses.values()].filter(Boolean).length
    const before = this.isReachable
    this.isReachable = yes * 2 > this.#witnesses.size
    if (this.isReachable && !before) this.emit("reachable")
  }

  #asked(query: Message.Query, host: string, port: number, now: number): void {
    const peer: Message.Peer = { address: host, host, port }
    const source = this.#source(host, port)
    if (!this.#mayAsk(source, now)) return void this.dropped.tooMany++
    if (query.q === "put" && !this.#shares.allows(query.a, source, now)) {
      this.dropped.tooMany++
      return this.error(peer, query, [202, "too many items of your address"])
    }
    this.#asking = { a: query.a, source }
    // Under this id nobody is taken into the routing table; whoever may be is pinged, and gets in by its answer.
    const a = { ...query.a, id: Buffer.alloc(0) }
    this.emit("query", { ...query, a }, peer)
    if (!query.isReadOnly) this.emit("seen", query.a.id, peer)
  }

  #mayAsk(source: string, now: number): boolean {
    let bucket = this.#buckets.get(source)
    if (bucket === undefined) {
      if (this.#buckets.size >= MAX_HOSTS) {
        for (const [name, other] of this.#buckets) if (other.isFull(now)) this.#buckets.delete(name)
        if (this.#buckets.size >= MAX_HOSTS) this.#buckets.clear()
      }
      bucket = new TokenBucket(QUERIES_OF_HOST.perSecond, QUERIES_OF_HOST.atOnce, now)
      this.#buckets.set(source, bucket)
    }
    return bucket.take(now)
  }
}
