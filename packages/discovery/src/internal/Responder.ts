import type { RemoteInfo } from "node:dgram"
import type { Found } from "@parley/core/Discovery"
import type { NodeId } from "@parley/core/NodeId"
import type { Address } from "@parley/core/Transport"
import type multicastDns from "multicast-dns"
import type { Dialect, Wanted } from "./Dialect.ts"
import * as DnsSd from "./DnsSd.ts"
import * as Interfaces from "./Interfaces.ts"
import { type Message, MulticastLink } from "./MulticastLink.ts"
import { MAX_QUESTIONS } from "./PlainDialect.ts"

/** An answer to all waits this long at most, so that nodes asked together do not speak at once (RFC 6762, 6). */
const JITTER_MS = 40
/** Least time between two answers to all on one interface. The RFC's second would make a newcomer wait too long. */
const GAP_MS = 100
/** Second announcement (RFC 6762, 8.3). */
const REPEAT_MS = 1_000
/** How often the link is asked again, so that nobody who lives is forgotten: half of `DnsSd.TTL`. */
const ASK_MS = 60_000
/** How often interfaces and expired instances are looked at. */
const TICK_MS = 1_000
/** How long a goodbye may take. */
const GOODBYE_MS = 200
/** Nodes that go by another name at the same moment say so within this time, one after the other. */
const TURN_MS = 5_000

export interface Options {
  readonly node: NodeId
  readonly port: number
  /** Names or addresses of interfaces; undefined for all. */
  readonly interfaces: ReadonlyArray<string> | undefined
  /** Whether an interface with this address may be used. */
  readonly allows: (address: string) => boolean
  readonly dialect: Dialect
  /** Must not throw. */
  readonly onFound: (found: Found) => void
}

/** What is about to be answered on one link. */
interface Pending {
  own: boolean
  services: boolean
  timer: ReturnType<typeof setTimeout> | undefined
  lastAt: number
}

/** No interface could be opened; `tried` says why, one by one. */
export class NoInterface extends Error {
  readonly tried: ReadonlyArray<string>
  constructor(tried: ReadonlyArray<string>) {
    super(tried.length === 0 ? "no IPv4 interface is up" : tried.join("; "))
    this.tried = tried
  }
}

/** The multicast DNS of one node on every interface: it answers, announces, asks and remembers. */
export class Responder {
  readonly #options: Options
  readonly #links = new Map<string, MulticastLink>()
  readonly #opening = new Set<string>()
  readonly #pending = new Map<MulticastLink, Pending>()
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  #ticker: ReturnType<typeof setInterval> | undefined
  #endpoint: DnsSd.Endpoint | undefined
  #askedAt = Number.NEGATIVE_INFINITY
  #closed = false
  #turn: number

  constructor(options: Options) {
    this.#options = options
    this.#turn = options.dialect.turn(Date.now())
  }

  /** Opens every interface; rejects with `NoInterface` when there is none. */
  async open(): Promise<void> {
    const failures = await this.#openNew()
    if (this.#links.size === 0) {
      this.#closed = true
      throw new NoInterface(failures)
    }
    this.ask()
    this.#later(REPEAT_MS, () => this.ask())
    this.#ticker = setInterval(() => this.#tick(), TICK_MS)
  }

  /** `name address` of each interface in use. */
  get interfaces(): ReadonlyArray<string> {
    return [...this.#links.values()].map((link) => `${link.interface.name} ${link.interface.address}`)
  }

  /** Milliseconds since the link was last asked. */
  get sinceAsked(): number {
    return performance.now() - this.#askedAt
  }

  /** Tells everybody where the node is; with no dialable address, that it is gone. */
  announce(addresses: ReadonlyArray<Address>): void {
    const endpoint = DnsSd.endpointOf(addresses)
    if (endpoint === undefined) return void this.#goodbye()
    this.#endpoint = endpoint
    for (const link of this.#links.values()) this.#answer(link, { own: true, delayMs: 0 })
    this.#later(REPEAT_MS, () => {
      for (const link of this.#links.values()) this.#answer(link, { own: true, delayMs: 0 })
    })
  }

  /** Says that the node is gone. */
  withdraw(): void {
    void this.#goodbye()
  }

  /** Asks everybody who is there. */
  ask(): void {
    this.#askedAt = performance.now()
    const question = this.#options.dialect.question(Date.now())
    for (const link of this.#links.values()) this.#send(link.query(question))
  }

  /** Says goodbye and closes every socket. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#ticker)
    for (const timer of this.#timers) clearTimeout(timer)
    for (const { timer } of this.#pending.values()) clearTimeout(timer)
    await this.#goodbye()
    for (const link of this.#links.values()) link.close()
    this.#links.clear()
  }

  async #goodbye(): Promise<void> {
    const endpoint = this.#endpoint
    this.#endpoint = undefined
    if (endpoint === undefined) return
    for (const pending of this.#pending.values()) pending.own = false
    const goodbye = this.#options.dialect.answer({ own: true, services: false }, endpoint, {
      ttl: 0,
      flush: true,
      now: Date.now()
    })
    const sent = [...this.#links.values()].map((link) => link.respond(goodbye).catch(() => undefined))
    let timer: ReturnType<typeof setTimeout> | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GOODBYE_MS)
    })
    await Promise.race([Promise.all(sent), late])
    clearTimeout(timer)
  }

  #later(delayMs: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      if (!this.#closed) run()
    }, delayMs)
    this.#timers.add(timer)
  }

  #tick(): void {
    const now = Date.now()
    for (const found of this.#options.dialect.expire(now)) this.#tell(found)
    const turn = this.#options.dialect.turn(now)
    if (turn !== this.#turn) {
      this.#turn = turn
      for (const link of this.#links.values()) this.#answer(link, { own: true, delayMs: Math.random() * TURN_MS })
    }
    const present = new Set(Interfaces.list().map(({ address }) => address))
    for (const [address, link] of this.#links) if (!present.has(address)) this.#drop(link)
    if (this.sinceAsked >= ASK_MS) this.ask()
    void this.#openNew()
  }

  async #openNew(): Promise<ReadonlyArray<string>> {
    const wanted = this.#options.interfaces
    const candidates = Interfaces.list().filter(
      ({ address, name }) =>
        (wanted === undefined || wanted.includes(name) || wanted.includes(address)) &&
        this.#options.allows(address) &&
        !this.#links.has(address) &&
        !this.#opening.has(address)
    )
    const failures = await Promise.all(
      candidates.map(async (at) => {
        this.#opening.add(at.address)
        try {
          const link = await MulticastLink.open(at, this.#options.port, this.#listener)
          if (this.#closed) return link.close()
          this.#links.set(at.address, link)
          // One that came up later has to hear of us, and we of it.
          if (this.#ticker !== undefined) {
            this.#send(link.query({ questions: this.#options.dialect.question(Date.now()).questions }))
            this.#answer(link, { own: true, delayMs: 0 })
          }
          return undefined
        } catch (cause) {
          return `${at.name} ${at.address}: ${cause instanceof Error ? cause.message : String(cause)}`
        } finally {
          this.#opening.delete(at.address)
        }
      })
    )
    return failures.flatMap((failure) => failure ?? [])
  }

  #drop(link: MulticastLink): void {
    clearTimeout(this.#pending.get(link)?.timer)
    this.#pending.delete(link)
    this.#links.delete(link.interface.address)
    link.close()
  }

  readonly #listener = {
    onQuery: (link: MulticastLink, query: multicastDns.QueryPacket, from: RemoteInfo): void => {
      if (this.#closed) return
      const { dialect } = this.#options
      const wanted = this.#endpoint === undefined ? undefined : dialect.wanted(query, Date.now())
      if (wanted === undefined || (!wanted.own && !wanted.services)) return
      // A resolver that asks from another port takes one direct answer and does not listen to the group.
      if (from.port !== link.port) {
        if (dialect.answersResolvers) this.#answerLegacy(link, query, wanted, from)
        return
      }
      const own = wanted.own && !dialect.isKnown(query)
      this.#answer(link, { ...wanted, own, delayMs: Math.random() * JITTER_MS })
    },
    onResponse: (link: MulticastLink, response: multicastDns.ResponsePacket, from: RemoteInfo): void => {
      if (this.#closed) return
      const sameHost = Interfaces.isOwn(from.address)
      const { found, missing, sound } = this.#options.dialect.ingest(response, Date.now(), sameHost, from.address)
      if (sound) link.trust(from.address)
      for (const one of found) this.#tell(one)
      if (missing.length > 0) this.#send(link.query({ questions: missing.slice(0, MAX_QUESTIONS) }))
    }
  }

  #tell(found: Found): void {
    if (found.node !== this.#options.node) this.#options.onFound(found)
  }

  #message(wanted: Wanted, ttl: number, flush: boolean): Message {
    return this.#options.dialect.answer(wanted, this.#endpoint, { ttl, flush, now: Date.now() })
  }

  #answer(link: MulticastLink, wanted: { own?: boolean; services?: boolean; delayMs: number }): void {
    if (this.#endpoint === undefined || (wanted.own !== true && wanted.services !== true)) return
    let pending = this.#pending.get(link)
    if (pending === undefined) {
      pending = { own: false, services: false, timer: undefined, lastAt: Number.NEGATIVE_INFINITY }
      this.#pending.set(link, pending)
    }
    const waiting = pending
    waiting.own ||= wanted.own === true
    waiting.services ||= wanted.services === true
    if (waiting.timer !== undefined) return
    const delay = Math.max(wanted.delayMs, waiting.lastAt + GAP_MS - performance.now())
    waiting.timer = setTimeout(() => {
      waiting.timer = undefined
      waiting.lastAt = performance.now()
      const message = this.#message(waiting, DnsSd.TTL, true)
      waiting.own = false
      waiting.services = false
      if (!this.#closed && (message.answers?.length ?? 0) > 0) this.#send(link.respond(message))
    }, delay)
  }

  #answerLegacy(link: MulticastLink, query: multicastDns.QueryPacket, wanted: Wanted, from: RemoteInfo): void {
    const message = this.#message(wanted, DnsSd.LEGACY_TTL, false)
    const questions = (query.questions ?? []).slice(0, MAX_QUESTIONS)
    this.#send(link.respond({ ...message, id: query.id ?? 0, questions }, from))
  }

  /** A packet that could not be sent is like one that was lost; an interface that is gone is noticed at the next tick. */
  #send(sent: Promise<void>): void {
    sent.catch(() => undefined)
  }
}
