/**
 * Links: the streams on which this node and its gossip peers speak, over whatever connections there are.
 *
 * Each side opens one stream to the other, on which it alone speaks. A link stands while this node's own stream does. Where
 * there is no connection, one is made from the addresses that are known; one that was made for gossip is let go again when
 * neither gossip nor anything else uses it, so that a node stays connected to its neighbours and not to everybody.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Connections } from "@parley/core/Connections"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { type Address, type Connection, ResetCode, type Stream, type StreamHandler } from "@parley/core/Transport"
import { Recent } from "./Recent.ts"
import { type Source, type Time, Turns } from "./Turns.ts"

/** Longest wait for a connection, in ms: a dial with its handshake over a slow link, and a second address after the first. */
export const DIAL_MS = 5_000
/** Connections being made at once: each costs two key agreements and a socket. */
export const MAX_DIALS = 16
/** Peers that wait for their turn to be dialled; one more counts as unreachable. */
export const MAX_WAITING_DIALS = 256
/** Bytes that wait for one peer while it takes nothing; past it the peer is too slow, and its link ends. */
export const MAX_QUEUED_BYTES = 4 * 1024 * 1024
/** How long a connection that was made for gossip stays when gossip needs it no more, in ms: it may be needed again soon. */
export const LINGER_MS = 3_000
/** How often connections are looked at that may go, in ms. */
export const SWEEP_MS = 1_000
/** How long a peer that broke the protocol, or has no gossip, is left alone, in ms. */
export const SHUN_MS = 60_000
/** Peers that are remembered as left alone. */
const MAX_SHUNNED = 4_096
/** How long a peer whose stream ended may take to open the next one on another connection, in ms. */
const MOVE_MS = 1_000
/** Streams open on a connection that nobody uses: both ends announce their records on one. */
const ANNOUNCING_STREAMS = 2
/** How long a connection that is let go may take to finish, in ms. */
const DRAIN_MS = 1_000

/** What the links tell of, and ask for. */
export interface Deps {
  readonly connections: Connections["Service"]
  readonly addressesOf: (peer: NodeId) => ReadonlyArray<Address>
  /** The first message on a new stream. */
  readonly hello: () => Uint8Array
  /** A first message came. A number that stands for the peer's run, or undefined when it makes no sense. */
  readonly onHello: (peer: NodeId, message: Uint8Array) => number | undefined
  /** What reading messages may take. */
  readonly time: Time
  /** A message came; false when it broke the protocol. */
  readonly onMessage: (peer: NodeId, message: Uint8Array) => boolean
  readonly onUp: (peer: NodeId) => void
  readonly onDown: (peer: NodeId) => void
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}

interface Link {
  readonly peer: NodeId
  /** This node's stream. */
  out: { readonly stream: Stream; readonly connection: Connection } | undefined
  blocked: boolean
  readonly queue: Array<Uint8Array>
  queuedBytes: number
  dialling: boolean
  /** The peer's stream. */
  into: (Source & { readonly stream: Stream; readonly connection: Connection }) | undefined
  /** The peer's run, as it said last. */
  run: number | undefined
  /** The machine knows of it. */
  up: boolean
}

const empty = new Uint8Array(0)

/** The links of one node. Nothing is told before `send` or a peer's stream makes one. */
export class Links {
  readonly #deps: Deps
  readonly #turns: Turns
  readonly #links = new Map<NodeId, Link>()
  /** Connections that were made for gossip, and since when (ms of `performance.now`) gossip has had no use for them. */
  readonly #made = new Map<Connection, number | undefined>()
  readonly #shunned = new Recent<NodeId, number>(MAX_SHUNNED)
  readonly #dials: Array<Link> = []
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  readonly #sweep: ReturnType<typeof setInterval>
  #dialling = 0
  /** Connections made for gossip. */
  dials = 0
  #stopped = false

  constructor(deps: Deps) {
    this.#deps = deps
    this.#turns = new Turns(deps.time)
    this.#sweep = setInterval(() => this.#letGo(), SWEEP_MS)
  }

  /** Peers with a link. */
  get size(): number {
    let up = 0
    for (const link of this.#links.values()) if (link.up) up++
    return up
  }

  /** Bytes of messages that wait to be read. */
  get waitingBytes(): number {
    return this.#turns.bytes
  }

  isUp(peer: NodeId): boolean {
    return this.#links.get(peer)?.up === true
  }

  /** Sends a message, over a new link where there is none. */
  send(peer: NodeId, message: Uint8Array): void {
    if (this.#stopped) return
    const link = this.#of(peer)
    if (link.out !== undefined && !link.blocked) {
      link.blocked = !link.out.stream.send(message, undefined, false)
      return
    }
    link.queue.push(message)
    link.queuedBytes += message.length
    if (link.queuedBytes > MAX_QUEUED_BYTES) return this.#drop(link, ResetCode.TooSlow)
    if (link.out === undefined) this.#connect(link)
  }

  /** Ends the link once what was sent on it is out. */
  close(peer: NodeId): void {
    const link = this.#links.get(peer)
    if (link === undefined) return
    link.up = false
    this.#endOut(link)
    // The peer ends its stream in answer. Should this node open another meanwhile, that end is not for it.
    link.into = undefined
    this.#tidy(link)
  }

  /** Ends the link with a peer that broke the protocol, and takes none from it for a while. */
  shun(peer: NodeId, why: ResetCode = ResetCode.Malformed): void {
    this.#shunned.set(peer, performance.now() + SHUN_MS)
    const link = this.#links.get(peer)
    if (link !== undefined) this.#drop(link, why)
  }

  isShunned(peer: NodeId): boolean {
    const until = this.#shunned.get(peer)
    if (until === undefined) return false
    if (performance.now() < until) return true
    this.#shunned.delete(peer)
    return false
  }

  /** Takes a stream that a peer opened. */
  readonly accept = (connection: Connection, stream: Stream): StreamHandler | undefined => {
    const { peer } = connection
    if (this.#stopped || this.isShunned(peer)) return undefined
    let greeted = false
    const ended = (): void => {
      this.#turns.forget(entry)
      const link = this.#links.get(peer)
      if (link?.into === entry) this.#lost(link, connection)
    }
    const wrong = (): void => {
      this.#turns.forget(entry)
      stream.reset(ResetCode.Malformed)
      this.shun(peer)
    }
    const hear = (message: Uint8Array, last: boolean): void => {
      if (last && message.length === 0) {
        stream.send(empty, undefined, true)
        return ended()
      }
      if (greeted) {
        if (!this.#deps.onMessage(peer, message)) wrong()
        return
      }
      const run = this.#deps.onHello(peer, message)
      if (run === undefined) return wrong()
      greeted = true
      this.#came(entry, run)
    }
    const cutOff = (): void => {
      stream.reset(ResetCode.Overloaded)
      ended()
    }
    const entry = { stream, connection, peer, hear, cutOff }
    return {
      onMessage: (message, last) => this.#turns.take(entry, message, last),
      onWritable: () => {},
      onClosed: ended
    }
  }

  /** The peer has a connection: a link on an older one moves there. */
  readonly onConnected = (connection: Connection): void => {
    const link = this.#links.get(connection.peer)
    if (link === undefined || this.#stopped || link.out === undefined || link.out.connection === connection) return
    const { stream } = link.out
    link.out = undefined
    stream.send(empty, undefined, true)
    this.#open(link, connection)
  }

  /** Ends everything; nothing is told any more. */
  stop(): void {
    this.#stopped = true
    clearInterval(this.#sweep)
    for (const timer of this.#timers) clearTimeout(timer)
    this.#turns.stop()
    for (const link of this.#links.values()) {
      link.out?.stream.send(empty, undefined, true)
      link.into?.stream.reset(ResetCode.Cancelled)
    }
    this.#links.clear()
  }

  #of(peer: NodeId): Link {
    const known = this.#links.get(peer)
    if (known !== undefined) return known
    const link: Link = {
      peer,
      out: undefined,
      blocked: false,
      queue: [],
      queuedBytes: 0,
      dialling: false,
      into: undefined,
      run: undefined,
      up: false
    }
    this.#links.set(peer, link)
    return link
  }

  /** Forgets a link of which nothing is left. */
  #tidy(link: Link): void {
    if (link.up || link.out !== undefined || link.into !== undefined || link.dialling) return
    if (this.#links.get(link.peer) === link) this.#links.delete(link.peer)
  }

  #later(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms)
    this.#timers.add(timer)
  }

  #connect(link: Link): void {
    if (link.dialling) return
    const { peer } = link
    const { connections } = this.#deps
    link.dialling = true
    const live = connections.get(peer)
    // Never at once: whoever sends hears of the link after it has sent.
    if (live !== undefined || this.isShunned(peer)) {
      queueMicrotask(() => {
        link.dialling = false
        if (live === undefined || !this.#open(link, live)) this.#fail(link)
      })
      return
    }
    if (this.#dials.length >= MAX_WAITING_DIALS) {
      queueMicrotask(() => {
        link.dialling = false
        this.#fail(link)
      })
      return
    }
    this.#dials.push(link)
    this.#dial()
  }

  #dial(): void {
    while (this.#dialling < MAX_DIALS && !this.#stopped) {
      const link = this.#dials.shift()
      if (link === undefined) return
      this.#dialling++
      const { peer } = link
      const { addressesOf, connections, fork } = this.#deps
      const before = connections.get(peer)
      const dial = connections.connect({ node: peer, addresses: addressesOf(peer) }).pipe(
        Effect.timeout(DIAL_MS),
        Effect.tapDefect((defect) => Effect.logError(`a dial of ${peer} broke`, defect)),
        // Why there is no connection makes no difference to gossip: the machine hears that there is no link.
        Effect.onExit((exit) =>
          Effect.sync(() => {
            const connection = Exit.isSuccess(exit) ? exit.value : undefined
            this.#dialled(link, connection, connection !== before)
          })
        )
      )
      fork(dial)
    }
  }

  #dialled(link: Link, connection: Connection | undefined, isNew: boolean): void {
    this.#dialling--
    link.dialling = false
    if (this.#stopped) return
    if (connection !== undefined && isNew && connection.direction === "outbound") {
      this.dials++
      this.#made.set(connection, undefined)
    }
    if (connection === undefined || !this.#open(link, connection)) this.#fail(link)
    this.#dial()
  }

  /** Opens this node's stream on a connection, and sends what has waited. */
  #open(link: Link, connection: Connection): boolean {
    if (this.#stopped || link.out !== undefined) return true
    const { peer } = link
    const stream = connection.open(Protocol.GOSSIP, {
      onMessage: () => {},
      onWritable: () => {
        if (link.out !== out) return
        link.blocked = false
        this.#flush(link)
      },
      onClosed: (code) => {
        if (link.out !== out) return
        link.out = undefined
        if (code === ResetCode.UnknownProtocol) return this.shun(peer)
        this.#lost(link, connection)
      }
    })
    if (stream === undefined) return false
    const out = { stream, connection }
    link.out = out
    link.blocked = !stream.send(this.#deps.hello(), undefined, false)
    this.#flush(link)
    this.#up(link)
    return true
  }

  #flush(link: Link): void {
    while (!link.blocked && link.out !== undefined) {
      const message = link.queue.shift()
      if (message === undefined) break
      link.queuedBytes -= message.length
      link.blocked = !link.out.stream.send(message, undefined, false)
    }
  }

  #up(link: Link): void {
    if (link.up || this.#stopped) return
    link.up = true
    this.#deps.onUp(link.peer)
  }

  /** The peer's stream stands, and says which run of the peer it is of. */
  #came(entry: NonNullable<Link["into"]>, run: number): void {
    const link = this.#of(entry.connection.peer)
    const older = link.into
    const isAnother = link.run !== undefined && link.run !== run
    link.into = entry
    link.run = run
    if (older !== undefined && older.connection === entry.connection) {
      this.#turns.forget(older)
      older.stream.reset(ResetCode.Cancelled)
    }
    if (isAnother && link.up) {
      // What this node's stream held for the earlier run is not for this one.
      link.queue.length = 0
      link.queuedBytes = 0
      link.up = false
      this.#deps.onDown(link.peer)
    }
    if (link.out === undefined) this.#connect(link)
    this.#up(link)
  }

  /** A stream of the link ended, and not by this node. */
  #lost(link: Link, connection: Connection): void {
    if (link.into?.connection === connection) link.into = undefined
    const elsewhere = this.#deps.connections.get(link.peer)
    if (elsewhere !== undefined && elsewhere !== connection && link.up) {
      // It may be on its way to the newer connection.
      if (link.out === undefined) this.#connect(link)
      this.#later(MOVE_MS, () => {
        if (link.up && link.into === undefined) this.#fail(link)
      })
      return
    }
    this.#fail(link)
  }

  /** There is no link, or no more. */
  #fail(link: Link): void {
    this.#endOut(link)
    link.up = false
    this.#tidy(link)
    if (!this.#stopped) this.#deps.onDown(link.peer)
  }

  #drop(link: Link, why: ResetCode): void {
    link.out?.stream.reset(why)
    link.out = undefined
    if (link.into !== undefined) {
      this.#turns.forget(link.into)
      link.into.stream.reset(why)
    }
    link.into = undefined
    this.#fail(link)
  }

  #endOut(link: Link): void {
    link.queue.length = 0
    link.queuedBytes = 0
    link.blocked = false
    const { out } = link
    link.out = undefined
    out?.stream.send(empty, undefined, true)
  }

  /** Lets go of connections that were made for gossip, and that nobody uses any more. */
  #letGo(): void {
    const now = performance.now()
    for (const [connection, idleSince] of this.#made) {
      if (connection.state() !== "open") {
        this.#made.delete(connection)
        continue
      }
      const link = this.#links.get(connection.peer)
      const isUsed =
        link !== undefined &&
        (link.out?.connection === connection || link.into?.connection === connection || link.dialling)
      if (isUsed || connection.streams() > ANNOUNCING_STREAMS) this.#made.set(connection, undefined)
      else if (idleSince === undefined) this.#made.set(connection, now)
      else if (now - idleSince >= LINGER_MS) {
        this.#made.delete(connection)
        this.#deps.fork(connection.drain(DRAIN_MS))
      }
    }
  }
}
