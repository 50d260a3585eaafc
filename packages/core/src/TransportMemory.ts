/**
 * TransportMemory: connections between nodes of one process, at `mem://NodeId`.
 *
 * A part like any other, not a test toy: several agents of one program talk through it with the same laws (order,
 * back-pressure, limits) and without a socket. Keys are not proven, since one process is one trust domain.
 */
import { Buffer } from "node:buffer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Identity } from "./Identity.ts"
import type { NodeId } from "./NodeId.ts"
import {
  type Address,
  type Connection,
  MAX_MESSAGE_BYTES,
  MAX_QUEUED_BYTES,
  MAX_STREAMS,
  type Owner,
  ResetCode,
  type Stream,
  type StreamHandler,
  Transport,
  TransportError,
  WINDOW_BYTES
} from "./Transport.ts"

/** The nodes of one process that can reach each other. */
export interface Hub {
  readonly owners: Map<Address, { readonly owner: Owner; readonly connections: Set<Connection> }>
}

/** A hub of its own, apart from the one that `layer` uses. */
export const makeHub = (): Hub => ({ owners: new Map() })

const processHub = makeHub()

/** How long a node that goes still sends what its peers have no room for, while they take nothing of it. */
const CLOSE_GRACE_MS = 1_000
/** How often it looks at that, and how long it does so at all. */
const LOOK_MS = 1
const FLUSH_MS = 5_000

const addressOf = (node: NodeId): Address => `mem://${node}`

interface Parcel {
  readonly stream: MemoryStream
  readonly bytes: Uint8Array
  readonly last: boolean
}

/** One end of a stream. Messages wait at the sender until the receiver has room for them. */
class MemoryStream implements Stream {
  readonly #end: MemoryEnd
  readonly opener: boolean
  readonly #waiting: Array<Parcel> = []
  #waitingBytes = 0
  #inFlight = 0
  #owed = 0
  #paused = false
  #blocked = false
  #sentLast = false
  #gotLast = false
  closed = false
  handler: StreamHandler | undefined
  twin: MemoryStream | undefined

  constructor(end: MemoryEnd, opener: boolean) {
    this.#end = end
    this.opener = opener
  }

  send(head: Uint8Array, body: string | Uint8Array | undefined, last: boolean): boolean {
    const twin = this.twin
    if (this.closed || this.#sentLast || twin === undefined) return false
    const tail = typeof body === "string" ? Buffer.from(body, "utf8") : (body ?? new Uint8Array(0))
    const size = head.length + tail.length
    if (size > MAX_MESSAGE_BYTES || this.#waitingBytes + size > MAX_QUEUED_BYTES) {
      this.#fail(ResetCode.TooSlow)
      return false
    }
    const bytes = new Uint8Array(size)
    bytes.set(head)
    bytes.set(tail, head.length)
    this.#sentLast = last
    this.#waiting.push({ stream: twin, bytes, last })
    this.#waitingBytes += bytes.length
    this.#pump()
    if (this.#waiting.length > 0 || this.#inFlight >= WINDOW_BYTES) this.#blocked = true
    this.settle()
    return !this.#blocked
  }

  reset(code: ResetCode): void {
    if (this.closed) return
    this.#close()
    const twin = this.twin
    if (twin !== undefined) this.#end.post(() => twin.lost(code))
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    const owed = this.#owed
    this.#owed = 0
    if (owed > 0) this.twin?.credit(owed)
  }

  /** Bytes that wait for the receiver. */
  get waiting(): number {
    return this.#waitingBytes
  }

  /** A message arrives from the twin. */
  take(bytes: Uint8Array, last: boolean): void {
    if (this.closed) return
    this.#gotLast = last
    this.#owed += bytes.length
    try {
      this.handler?.onMessage(bytes, last)
    } catch {
      // A handler must not throw; one that does loses its stream, and nobody else's.
      this.reset(ResetCode.Internal)
    }
    if (!this.#paused) this.resume()
    this.settle()
  }

  /** The twin has taken bytes, so that more may go. */
  credit(bytes: number): void {
    this.#end.post(() => {
      this.#inFlight -= bytes
      this.#pump()
      this.settle()
      if (this.#blocked && !this.closed && this.#waiting.length === 0 && this.#inFlight < WINDOW_BYTES) {
        this.#blocked = false
        this.handler?.onWritable()
      }
    })
  }

  /** The other end has gone, or reset the stream. */
  lost(code: ResetCode): void {
    if (this.closed) return
    this.#close()
    this.handler?.onClosed(code)
  }

  /** Both sides have said their last. */
  settle(): void {
    if (!this.closed && this.#sentLast && this.#gotLast && this.#waiting.length === 0) this.#close()
  }

  #fail(code: ResetCode): void {
    const twin = this.twin
    this.#end.post(() => this.lost(code))
    if (twin !== undefined) this.#end.post(() => twin.lost(code))
  }

  #close(): void {
    this.closed = true
    this.#waiting.length = 0
    this.#waitingBytes = 0
    this.#end.forget(this)
  }

  #pump(): void {
    while (this.#inFlight < WINDOW_BYTES) {
      const parcel = this.#waiting.shift()
      if (parcel === undefined) return
      this.#waitingBytes -= parcel.bytes.length
      this.#inFlight += parcel.bytes.length
      this.#end.post(() => parcel.stream.take(parcel.bytes, parcel.last))
    }
  }
}

/** One end of a connection. What happens on it happens in order, each burst in one microtask. */
class MemoryEnd implements Connection {
  readonly peer: NodeId
  readonly address: Address
  readonly direction: "outbound" | "inbound"
  readonly relayed = false
  readonly #owner: Owner
  readonly #streams = new Set<MemoryStream>()
  readonly #idle: Array<() => void> = []
  readonly #events: Array<() => void> = []
  #scheduled = false
  #mine = 0
  #state: "open" | "draining" | "closed" = "open"
  other: MemoryEnd | undefined

  constructor(owner: Owner, peer: NodeId, direction: "outbound" | "inbound") {
    this.#owner = owner
    this.peer = peer
    this.address = addressOf(peer)
    this.direction = direction
  }

  readonly state = (): "open" | "draining" | "closed" => this.#state
  readonly streams = (): number => this.#streams.size

  readonly open = (protocol: number, handler: StreamHandler): Stream | undefined => {
    const other = this.other
    if (this.#state !== "open" || other === undefined || other.#state !== "open" || this.#mine >= MAX_STREAMS) {
      return undefined
    }
    const mine = new MemoryStream(this, true)
    const theirs = new MemoryStream(other, false)
    mine.twin = theirs
    theirs.twin = mine
    mine.handler = handler
    this.#mine += 1
    this.#streams.add(mine)
    other.#streams.add(theirs)
    this.post(() => {
      if (theirs.closed) return
      theirs.handler = other.#owner.onStream(other, protocol, theirs)
      if (theirs.handler === undefined) theirs.reset(ResetCode.UnknownProtocol)
    })
    return mine
  }

  readonly drain = (graceMs: number): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.#state === "closed") return Effect.void
      this.#state = "draining"
      const other = this.other
      if (other !== undefined && other.#state === "open") other.#state = "draining"
      if (this.#streams.size === 0) return Effect.sync(() => this.close("drained"))
      const idle = Deferred.makeUnsafe<void>()
      this.#idle.push(() => Deferred.doneUnsafe(idle, Effect.void))
      return Deferred.await(idle).pipe(
        Effect.timeoutOption(graceMs),
        Effect.andThen(Effect.sync(() => this.close("drained")))
      )
    })

  /** Bytes that wait for the peer, on all streams. */
  waiting(): number {
    let bytes = 0
    for (const stream of this.#streams) bytes += stream.waiting
    return bytes
  }

  readonly close = (why: string): void => {
    if (this.#state === "closed") return
    this.#state = "closed"
    for (const stream of [...this.#streams]) stream.lost(ResetCode.Disconnected)
    this.#owner.onClosed(this, why)
    const other = this.other
    if (other !== undefined) queueMicrotask(() => other.close(why))
  }

  /** Both ends share one queue, so that nothing overtakes. */
  post(event: () => void): void {
    const queue = this.direction === "outbound" ? this : (this.other ?? this)
    queue.#events.push(event)
    if (queue.#scheduled) return
    queue.#scheduled = true
    queueMicrotask(() => {
      queue.#scheduled = false
      const events = queue.#events.splice(0)
      for (const each of events) each()
    })
  }

  forget(stream: MemoryStream): void {
    if (!this.#streams.delete(stream)) return
    if (stream.opener) this.#mine -= 1
    if (this.#streams.size === 0) for (const wake of this.#idle.splice(0)) wake()
  }
}

/** Two ends of a connection between nodes of this process; how a node reaches itself, too. */
export const pair = (dialler: Owner, acceptor: Owner): readonly [Connection, Connection] => {
  const near = new MemoryEnd(dialler, acceptor.nodeId, "outbound")
  const far = new MemoryEnd(acceptor, dialler.nodeId, "inbound")
  near.other = far
  far.other = near
  return [near, far]
}

/** Waits until nothing waits for a peer any more, as long as the peers take any of it. */
const flushed = async (connections: ReadonlySet<Connection>): Promise<void> => {
  const started = performance.now()
  let [least, movedAt] = [Number.POSITIVE_INFINITY, started]
  for (;;) {
    let waiting = 0
    for (const connection of connections) if (connection instanceof MemoryEnd) waiting += connection.waiting()
    const now = performance.now()
    if (waiting < least) [least, movedAt] = [waiting, now]
    if (waiting === 0 || now - movedAt >= CLOSE_GRACE_MS || now - started >= FLUSH_MS) return
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** A transport between the nodes of a hub. */
export const make = (nodeId: NodeId, hub: Hub = processHub): Transport["Service"] => {
  const address = addressOf(nodeId)
  return Transport.of({
    schemes: ["mem"],
    listen: (owner) =>
      Effect.acquireRelease(
        Effect.suspend(() => {
          if (hub.owners.has(address)) {
            return Effect.fail(
              new TransportError({
                reason: { _tag: "ListenFailed", address, detail: "a node of this identity is in the hub already" }
              })
            )
          }
          const connections = new Set<Connection>()
          const tracked: Owner = {
            ...owner,
            onConnection: (connection) => {
              connections.add(connection)
              owner.onConnection(connection)
            },
            onClosed: (connection, why) => {
              connections.delete(connection)
              owner.onClosed(connection, why)
            }
          }
          hub.owners.set(address, { owner: tracked, connections })
          return Effect.succeed([address])
        }),
        () =>
          Effect.promise(async () => {
            const connections = hub.owners.get(address)?.connections ?? new Set()
            hub.owners.delete(address)
            await flushed(connections)
            for (const connection of connections) connection.close("the node closed")
          })
      ),
    dial: (to, expect) =>
      Effect.suspend(() => {
        const here = hub.owners.get(address)
        const there = hub.owners.get(to)
        const failed = (detail: string, refused = false) =>
          Effect.fail(new TransportError({ reason: { _tag: "DialFailed", address: to, detail, refused } }))
        if (here === undefined) return Effect.fail(new TransportError({ reason: { _tag: "NotListening", address } }))
        if (there === undefined) return failed("no node of this process has that address", true)
        if (there === here) return failed("that is this node itself")
        if (expect !== undefined && there.owner.nodeId !== expect) {
          return Effect.fail(
            new TransportError({
              reason: {
                _tag: "HandshakeFailed",
                address: to,
                code: "UnexpectedPeer",
                detail: `${there.owner.nodeId} answered instead of ${expect}`
              }
            })
          )
        }
        const [near, far] = pair(here.owner, there.owner)
        here.connections.add(near)
        there.owner.onConnection(far)
        return Effect.succeed(near)
      })
  })
}

/** A transport between the nodes of a hub; without one, between all nodes of the process. */
export const layerHub = (hub: Hub): Layer.Layer<Transport, never, Identity> =>
  Layer.effect(
    Transport,
    Identity.useSync((identity) => make(identity.nodeId, hub))
  )

/** A transport between all nodes of the process. */
export const layer: Layer.Layer<Transport, never, Identity> = layerHub(processHub)
