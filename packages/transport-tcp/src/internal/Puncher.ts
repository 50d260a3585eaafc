/** Drives `Punch` over relayed connections: streams, sockets, and the handshake on what comes of them. */
import { isIP, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Action, Event } from "@parley/core/Machine"
import type { NodeId } from "@parley/core/NodeId"
import type * as Perimeter from "@parley/core/Perimeter"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode } from "@parley/core/Transport"
import type { Address, Connection, Owner, Stream, StreamHandler } from "@parley/core/Transport"
import * as Punch from "../Punch.ts"
import * as Addresses from "./Addresses.ts"
import type { HostPort } from "./Addresses.ts"
import type { Endpoint } from "./Endpoint.ts"
import { freePort, observe } from "./Observation.ts"
import { MAX_TOKENS_PER_PEER, Observer } from "./Observer.ts"
import { PunchSockets } from "./PunchSockets.ts"
import * as Wire from "./PunchWire.ts"
import { parseAddress } from "./RelayClient.ts"
import { SocketLink } from "./SocketLink.ts"
import { Turns } from "./Turns.ts"

/** Attempts under way at once, led and followed: each takes up to ten sockets. */
export const MAX_ATTEMPTS = 64
/**
 * Attempts of others that this node follows at once and a second: keys cost nothing, so this counts over all of them. A relayed
 * connection that is refused has its turn kept.
 */
export const FOLLOWED = { atOnce: 32, perSecond: 4 }
/**
 * The node at a relay gives one peer so many tokens; where all are in use, the attempt of another that has been under way longest
 * gives way to the next one, if it has come to nothing for this time, in ms: an honest one takes some round trips until both dial.
 */
export const LED_ON_MS = 1_000
/** Relayed connections whose attempts are remembered; relays allow fewer to one node. */
const MAX_PAIRS = 4_096

export interface PuncherOptions {
  readonly endpoint: Endpoint
  readonly owner: Owner
  readonly perimeter: Perimeter.Rules
  readonly handshakeTimeoutMs: number
  /** Where this node listens. */
  readonly addresses: () => ReadonlyArray<Address>
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

type Happening = Event<Punch.Message, Punch.Timer, Punch.Command>
type Deed = Action<Punch.Message, Punch.Timer, Punch.Told>

export class Puncher {
  readonly observer: Observer
  readonly options: PuncherOptions
  /** By relayed connection. */
  readonly #pairs = new Map<Connection, Pair>()
  readonly #busy = new Set<Pair>()
  readonly #turns = new Turns<Connection>(FOLLOWED, performance.now())

  constructor(options: PuncherOptions) {
    this.options = options
    this.observer = new Observer(options.addresses)
  }

  /** Where this node listens for everybody: the port, or 0. */
  readonly port = (): number => {
    for (const address of this.options.addresses()) {
      const at = Addresses.parse(address)
      if (at !== undefined) return at.port
    }
    return 0
  }

  /** This node has dialled the peer through a relay. */
  lead(connection: Connection): void {
    if (connection.relayed)
      this.#pair(connection, true)?.happen({ _tag: "Command", now: performance.now(), command: { _tag: "Start" } })
  }

  /** A peer has opened a PUNCH stream. */
  accept(connection: Connection, stream: Stream): StreamHandler | undefined {
    let inner: StreamHandler | undefined
    let begun = false
    return {
      onMessage: (message, last) => {
        if (begun) return inner?.onMessage(message, last)
        begun = true
        if (last) return stream.reset(ResetCode.Malformed)
        if (!connection.relayed) {
          inner = this.observer.accept(connection, stream, message)
          return
        }
        const offer = Wire.decode(message)
        if (offer?._tag !== "Offer" || connection.direction !== "inbound") return stream.reset(ResetCode.Malformed)
        const pair = this.#mayFollow(connection) ? this.#pair(connection, false) : undefined
        if (pair === undefined) return stream.reset(ResetCode.Overloaded)
        inner = pair.follow(stream)
        pair.hear(offer)
      },
      onWritable: () => {},
      onClosed: (code) => inner?.onClosed(code)
    }
  }

  /** Takes a place among the attempts under way. */
  enter(pair: Pair): boolean {
    if (this.#busy.size >= MAX_ATTEMPTS) return false
    const through = [...this.#busy].filter(({ via }) => via === pair.via)
    if (through.length >= MAX_TOKENS_PER_PEER) through.find((other) => !other.leads && other.giveWay())
    this.#busy.add(pair)
    return true
  }

  leave(pair: Pair): void {
    this.#busy.delete(pair)
  }

  forget(connection: Connection): void {
    this.#pairs.delete(connection)
    this.#turns.forget(connection)
  }

  /** The connection is over. */
  closed(connection: Connection): void {
    this.#pairs.get(connection)?.stop()
    this.#turns.forget(connection)
  }

  close(): void {
    for (const pair of [...this.#pairs.values()]) pair.stop()
    this.#pairs.clear()
    this.observer.close()
  }

  #pair(connection: Connection, leads: boolean): Pair | undefined {
    const known = this.#pairs.get(connection)
    if (known !== undefined) return known
    if (this.#pairs.size >= MAX_PAIRS) for (const each of [...this.#pairs.values()]) each.look()
    if (this.#pairs.size >= MAX_PAIRS) return undefined
    const pair = new Pair(this, connection, leads)
    this.#pairs.set(connection, pair)
    return pair
  }

  #mayFollow(connection: Connection): boolean {
    let followed = 0
    for (const { leads } of this.#busy) if (!leads) followed++
    return this.#turns.take(connection, performance.now(), followed < FOLLOWED.atOnce)
  }
}

/** One relayed connection, and the attempts to do without it. */
class Pair {
  readonly #puncher: Puncher
  readonly #connection: Connection
  readonly leads: boolean
  /** The relay's node. */
  readonly via: NodeId | undefined
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  readonly #events: Array<Happening> = []
  #state: Punch.State
  #handling = false
  #over = false
  #stream: Stream | undefined
  #attempt: Attempt | undefined
  #begunAt = 0

  constructor(puncher: Puncher, connection: Connection, leads: boolean) {
    this.#puncher = puncher
    this.#connection = connection
    this.leads = leads
    this.via = parseAddress(connection.address)?.tracker
    this.#state = Punch.make(connection.peer, leads, puncher.port, Math.random)
  }

  /** Events are handled one after the other, also those that an action brings about at once. */
  happen(event: Happening): void {
    if (this.#over) return
    this.#events.push(event)
    if (this.#handling) return
    this.#handling = true
    for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
      const isTried = next._tag === "Timer" && next.timer.what === "Retry"
      if (isTried && this.look()) break
      const [state, actions] = Punch.machine.step(this.#state, next)
      this.#state = state
      for (const action of actions) this.#carryOut(action)
    }
    this.#handling = false
  }

  command(command: Punch.Command): void {
    this.happen({ _tag: "Command", now: performance.now(), command })
  }

  hear(message: Punch.Message): void {
    this.happen({ _tag: "Message", now: performance.now(), from: this.#connection.peer, message })
  }

  /** Takes the stream of an attempt that the peer leads. */
  follow(stream: Stream): StreamHandler {
    this.#stream?.reset(ResetCode.Cancelled)
    this.#stream = stream
    return this.#handler(() => stream)
  }

  /** Gives up an attempt that has not come to dialling for a while; false where there is none. */
  giveWay(): boolean {
    if (this.#state.phase !== "Agreeing" || performance.now() - this.#begunAt < LED_ON_MS) return false
    this.#close()
    this.happen({ _tag: "LinkDown", now: performance.now(), peer: this.#connection.peer })
    return true
  }

  /** Ends when the relayed connection is not in use any more, and gives whether that is so. */
  look(): boolean {
    if (this.#connection.state() === "open") return false
    this.stop()
    return true
  }

  stop(): void {
    if (this.#over) return
    this.#over = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#close()
    this.#rest()
    this.#puncher.forget(this.#connection)
  }

  #handler(own: () => Stream | undefined): StreamHandler {
    const isOwn = (): boolean => this.#stream !== undefined && this.#stream === own()
    return {
      onMessage: (bytes, last) => {
        if (!isOwn()) return
        const message = last ? undefined : Wire.decode(bytes)
        if (message !== undefined) return this.hear(message)
        this.#close()
        this.happen({ _tag: "LinkDown", now: performance.now(), peer: this.#connection.peer })
      },
      onWritable: () => {},
      onClosed: (code) => {
        if (!isOwn()) return
        this.#stream = undefined
        // It never will.
        if (code === ResetCode.UnknownProtocol) return this.stop()
        this.happen({ _tag: "LinkDown", now: performance.now(), peer: this.#connection.peer })
      }
    }
  }

  #carryOut(action: Deed): void {
    switch (action._tag) {
      case "Send":
        return this.#send(action.message)
      case "Close":
        return this.#close()
      case "After": {
        const timer = setTimeout(() => {
          this.#timers.delete(timer)
          this.happen({ _tag: "Timer", now: performance.now(), timer: action.timer })
        }, action.ms)
        timer.unref()
        this.#timers.add(timer)
        return
      }
      case "Tell":
        return this.#tell(action.told)
    }
  }

  #send(message: Punch.Message): void {
    if (this.#stream === undefined && message._tag === "Offer") {
      const handler = this.#handler(() => stream)
      const stream = this.#connection.open(Protocol.PUNCH, handler)
      this.#stream = stream
    }
    if (this.#stream !== undefined) this.#stream.send(Wire.encode(message), undefined, false)
    else this.happen({ _tag: "LinkDown", now: performance.now(), peer: this.#connection.peer })
  }

  #close(): void {
    const stream = this.#stream
    this.#stream = undefined
    stream?.reset(ResetCode.Cancelled)
  }

  #rest(): void {
    const attempt = this.#attempt
    this.#attempt = undefined
    attempt?.close()
    this.#puncher.leave(this)
  }

  #tell(told: Punch.Told): void {
    switch (told._tag) {
      case "Observe": {
        this.#begunAt = performance.now()
        const isLet = this.#puncher.enter(this)
        if (!isLet) return this.command({ _tag: "Observed", ok: false })
        this.#attempt = new Attempt(this.#puncher.options, this.#connection, this.leads, {
          observed: (ok) => this.command({ _tag: "Observed", ok }),
          connected: () => this.command({ _tag: "Connected" })
        })
        return
      }
      case "Dial":
        return this.#attempt?.dial(told.port, told.rttMs)
      case "Rest":
        this.#rest()
        if (told.direct) this.stop()
    }
  }
}

interface AttemptListener {
  readonly observed: (ok: boolean) => void
  readonly connected: () => void
}

/** The sockets of one attempt. */
class Attempt {
  readonly #options: PuncherOptions
  readonly #leads: boolean
  readonly #peer: NodeId
  readonly #on: AttemptListener
  /** Where the peer's port is seen: one endpoint of each family. */
  readonly #theirs = new Map<number, HostPort>()
  readonly #seen = new Map<number, HostPort>()
  readonly #waiting: Array<Socket> = []
  #port = 0
  #unobserve: () => void = () => {}
  #sockets: PunchSockets | undefined
  /** Handshakes under way, and what abandons them. */
  readonly #handshakes = new Set<() => void>()
  #isAsking = false
  #over = false

  constructor(options: PuncherOptions, relayed: Connection, leads: boolean, on: AttemptListener) {
    this.#options = options
    this.#leads = leads
    this.#peer = relayed.peer
    this.#on = on
    const failed = (why: string): Effect.Effect<void> =>
      Effect.suspend(() => {
        if (!this.#over) on.observed(false)
        return Effect.logDebug(`no direct path to ${relayed.peer} is tried: ${why}`)
      })
    const through = parseAddress(relayed.address)
    const at = through === undefined ? undefined : Addresses.parse(through.via)
    if (through === undefined || at === undefined) {
      options.run(failed(`${relayed.address} names no relay`))
      return
    }
    options.run(
      options.owner.connect({ node: through.tracker, addresses: [through.via] }).pipe(
        Effect.flatMap((observer) =>
          Effect.map(Effect.promise(freePort), (port) => this.#observe(observer, at, port, failed))
        ),
        Effect.catch((error) => failed(error.message)),
        Effect.catchCause((cause) => failed(String(cause)))
      )
    )
  }

  /** Both begin now. */
  dial(listening: number, rttMs: number): void {
    const allowed = [...this.#theirs.values()].filter(({ host }) => this.#options.perimeter.allows(host))
    // Only families that this end has, too.
    const targets = allowed
      .filter(({ host }) => this.#seen.has(isIP(host)))
      .toSorted((a, b) => isIP(b.host) - isIP(a.host))
    if (this.#over || targets.length === 0) return
    this.#sockets = new PunchSockets({
      port: this.#port,
      rttMs,
      targets,
      listening: listening === 0 ? [] : targets.map(({ host }) => ({ host, port: listening })),
      onSocket: (socket) => (this.#leads ? this.#queue(socket) : this.#answer(socket)),
      onReached: (socket) => (this.#leads ? this.#queue(socket) : this.#ask(socket, () => {}))
    })
  }

  close(): void {
    this.#over = true
    this.#unobserve()
    this.#sockets?.close()
    for (const abandon of [...this.#handshakes]) abandon()
    for (const socket of this.#waiting) socket.destroy()
  }

  #observe(observer: Connection, at: HostPort, port: number, failed: (why: string) => Effect.Effect<void>): void {
    if (this.#over) return
    if (observer.relayed) return void this.#options.run(failed("its relay is reached through a relay"))
    this.#port = port
    let told = false
    this.#unobserve = observe({
      observer,
      at,
      peer: this.#peer,
      port,
      perimeter: this.#options.perimeter,
      onSeen: (endpoint) => {
        this.#seen.set(isIP(endpoint.host), endpoint)
        if (told) return
        told = true
        this.#on.observed(true)
      },
      onTheirs: (endpoint) => {
        if (!this.#theirs.has(isIP(endpoint.host))) this.#theirs.set(isIP(endpoint.host), endpoint)
      },
      onFailed: (why) => {
        if (!told) this.#options.run(failed(why))
      }
    })
  }

  /** The leader proves itself on one connection after the other, so that both ends mean the same one. */
  #queue(socket: Socket): void {
    this.#waiting.push(socket)
    this.#next()
  }

  #next(): void {
    const socket = this.#isAsking || this.#over ? undefined : this.#waiting.shift()
    if (socket === undefined) return
    this.#isAsking = true
    this.#ask(socket, () => {
      this.#isAsking = false
      this.#next()
    })
  }

  #ask(socket: Socket, failed: () => void): void {
    const { endpoint, handshakeTimeoutMs, owner } = this.#options
    const address = addressOf(socket)
    let done = false
    const abandon = endpoint.dial(
      {
        link: new SocketLink(socket),
        address,
        relayed: false,
        onResult: (session) => {
          done = true
          this.#handshakes.delete(abandon)
          if (session === undefined) return failed()
          owner.onConnection(session)
          this.#on.connected()
        }
      },
      this.#peer,
      handshakeTimeoutMs
    )
    if (!done) this.#handshakes.add(abandon)
  }

  #answer(socket: Socket): void {
    const { endpoint } = this.#options
    const address = addressOf(socket)
    let done = false
    const abandon = endpoint.accept({
      link: new SocketLink(socket),
      address,
      relayed: false,
      onResult: (session) => {
        done = true
        this.#handshakes.delete(abandon)
        if (session?.peer === this.#peer) this.#on.connected()
      }
    })
    if (!done) this.#handshakes.add(abandon)
  }
}

const addressOf = (socket: Socket): Address =>
  Addresses.format(Addresses.remote(socket.remoteAddress), socket.remotePort ?? 0)
