/** A tracker's side of relaying: who holds a slot, and the circuits between two streams each. */
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode } from "@parley/core/Transport"
import type { Connection, Stream, StreamHandler } from "@parley/core/Transport"
import * as Addresses from "./Addresses.ts"
import { knock } from "./Knock.ts"
import * as Wire from "./RelayWire.ts"

export interface RelayLimits {
  readonly maxReservations: number
  /** How long a slot is held without being asked for again. */
  readonly leaseMs: number
  readonly reservationsPerMinute: number
  readonly maxCircuitsPerSlot: number
  readonly maxSlotBytesPerHour: number
  readonly maxCircuits: number
  readonly maxCircuitsPerPeer: number
  readonly maxCircuitBytes: number
  readonly maxCircuitMs: number
  readonly maxPeerBytesPerHour: number
  readonly maxHostBytesPerHour: number
  readonly circuitsPerMinute: number
  readonly looksPerMinute: number
}

const HOUR_MS = 60 * 60 * 1_000
const MINUTE_MS = 60 * 1_000
/** Peers, and addresses, whose use of the hour is remembered; beyond it the oldest of the same kind are forgotten. */
const MAX_ACCOUNTS = 16_384

/** What one peer, or all peers of one network address, had of this hour and this minute. */
interface Account {
  since: number
  bytes: number
  circuits: number
  /** Circuits, slots and looks asked for within a minute, and when that began. */
  readonly asked: { [what in "circuit" | "slot" | "look"]: { minute: number; count: number } }
}

interface Slot {
  readonly connection: Connection
  readonly stream: Stream
  /** When its lease ends, on the server's clock; never where the node asked for none. */
  until: number
}

/** Counts bytes of this hour; how many those are now. */
const charge = (account: Account, bytes: number, now = Date.now()): number => {
  if (now - account.since > HOUR_MS) {
    account.since = now
    account.bytes = 0
  }
  return (account.bytes += bytes)
}

/** Two streams, each the other's outlet. What one cannot send stops the other, so at most a window waits in each. */
class Circuit {
  readonly #server: RelayServer
  readonly #accounts: ReadonlyArray<readonly [Account, most: number]>
  readonly #timer: ReturnType<typeof setTimeout>
  readonly #most: number
  near: Stream | undefined
  far: Stream | undefined
  #bytes = 0
  #open = 2
  #over = false

  constructor(server: RelayServer, accounts: ReadonlyArray<readonly [Account, most: number]>) {
    this.#server = server
    this.#accounts = accounts
    this.#most = server.limits.maxCircuitBytes
    this.#timer = setTimeout(() => this.end(ResetCode.Overloaded), server.limits.maxCircuitMs)
    this.#timer.unref()
    for (const [account] of accounts) account.circuits++
  }

  /** Takes what comes on one of the streams. */
  readonly side = (from: () => Stream | undefined, to: () => Stream | undefined): StreamHandler => ({
    onMessage: (message, last) => {
      const outlet = to()
      if (this.#over || outlet === undefined) return
      this.#bytes += message.length
      let over = this.#bytes > this.#most
      const now = Date.now()
      for (const [account, most] of this.#accounts) over = charge(account, message.length, now) > most || over
      if (over) return this.end(ResetCode.Overloaded)
      if (!outlet.send(message, undefined, last) && !last) from()?.pause()
      if (last && --this.#open === 0) this.#finish()
    },
    onWritable: () => to()?.resume(),
    onClosed: (code) => this.end(code)
  })

  end(code: ResetCode): void {
    if (this.#over) return
    this.#finish()
    this.near?.reset(code)
    this.far?.reset(code)
  }

  #finish(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    for (const [account] of this.#accounts) account.circuits--
    this.#server.circuits.delete(this)
  }
}

export class RelayServer {
  readonly limits: RelayLimits
  readonly circuits = new Set<Circuit>()
  readonly #slots = new Map<NodeId, Slot>()
  /** By NodeId, and by NodeId of a slot. */
  readonly #accounts = new Map<string, Account>()
  /** By network address: apart, so that no number of new keys makes an address forgotten. */
  readonly #hosts = new Map<string, Account>()

  readonly #mayDial: (host: string) => boolean
  readonly #now: () => number

  /** `now` is what leases end by: ms of a clock that never goes back. */
  constructor(limits: RelayLimits, mayDial: (host: string) => boolean = () => true, now = () => performance.now()) {
    this.limits = limits
    this.#mayDial = mayDial
    this.#now = now
  }

  /** Takes a RELAY stream, whose first message says what is wanted. */
  accept(connection: Connection, stream: Stream): StreamHandler {
    let inner: StreamHandler | undefined
    return {
      onMessage: (message, last) => {
        if (inner !== undefined) return inner.onMessage(message, last)
        const request = Wire.readRequest(message)
        if (request === undefined || (last && request._tag !== "Look")) {
          inner = this.#refuse(stream, "Malformed")
        } else if (request._tag === "Reserve") {
          inner = this.#reserve(connection, stream, request.leased)
        } else if (request._tag === "Look") {
          inner = this.#look(connection, stream, request.port)
        } else {
          inner = this.#connect(connection, stream, request.node)
        }
      },
      onWritable: () => inner?.onWritable(),
      onClosed: (code) => inner?.onClosed(code)
    }
  }

  /** Ends every circuit and slot. */
  close(): void {
    for (const circuit of [...this.circuits]) circuit.end(ResetCode.Disconnected)
    for (const slot of this.#slots.values()) slot.stream.reset(ResetCode.Disconnected)
    this.#slots.clear()
  }

  #refuse(stream: Stream, reason: Wire.Refusal): StreamHandler {
    stream.send(Wire.no(reason), undefined, true)
    return deaf
  }

  #reserve(connection: Connection, stream: Stream, leased: boolean): StreamHandler {
    if (connection.relayed) return this.#refuse(stream, "Relayed")
    const peer = connection.peer
    const { leaseMs, maxReservations, reservationsPerMinute } = this.limits
    const own = this.#account(peer)
    if (!mayAsk(own, "slot", reservationsPerMinute)) return this.#refuse(stream, "LimitReached")
    const before = this.#slots.get(peer)
    if (before === undefined && this.#slots.size >= maxReservations) {
      this.#sweep()
      if (this.#slots.size >= maxReservations) return this.#refuse(stream, "LimitReached")
    }
    // One slot a key, the latest: a node that has started again need not wait until its old slot is given up.
    const slot: Slot = { connection, stream, until: Number.POSITIVE_INFINITY }
    this.#slots.set(peer, slot)
    before?.stream.reset(ResetCode.Cancelled)
    const release = (): void => {
      if (this.#slots.get(peer) === slot) this.#slots.delete(peer)
    }
    const grant = (): void => {
      if (!leased) return void stream.send(Wire.yes, undefined, false)
      slot.until = this.#now() + leaseMs
      stream.send(Wire.grant({ leaseMs, ...this.#left(peer) }), undefined, false)
    }
    grant()
    return {
      onMessage: (message, last) => {
        const again = leased && !last && Wire.readRequest(message)?._tag === "Reserve"
        if (again && this.#slots.get(peer) === slot && mayAsk(own, "slot", reservationsPerMinute)) return grant()
        release()
        stream.reset(last ? ResetCode.Cancelled : again ? ResetCode.Overloaded : ResetCode.Malformed)
      },
      onWritable: () => {},
      onClosed: release
    }
  }

  /** Tells a node where its connection comes from, and whether it can be reached there. */
  #look(connection: Connection, stream: Stream, port: number): StreamHandler {
    if (connection.relayed) return this.#refuse(stream, "Relayed")
    const from = Addresses.parse(connection.address)
    const { looksPerMinute } = this.limits
    const host = hostOf(connection.address)
    const accounts = [this.#account(connection.peer), ...(host === undefined ? [] : [this.#host(host)])]
    for (const account of accounts) {
      if (!mayAsk(account, "look", looksPerMinute)) return this.#refuse(stream, "LimitReached")
    }
    const tell = (reached: Wire.Reached): void =>
      void stream.send(Wire.seen({ time: Date.now(), reached, address: connection.address }), undefined, true)
    // Only whoever holds a connection from an address has it tried, and only there: nobody can have others knocked at.
    if (port === 0 || from === undefined || connection.direction !== "inbound" || !this.#mayDial(from.host)) {
      tell("not tried")
      return deaf
    }
    const stop = knock(from.host, port, tell)
    return { onMessage: () => {}, onWritable: () => {}, onClosed: stop }
  }

  /** The slot of a node whose lease runs and whose connection stands. */
  #slotOf(node: NodeId): Slot | undefined {
    const slot = this.#slots.get(node)
    if (slot === undefined || (this.#now() < slot.until && slot.connection.state() === "open")) return slot
    this.#slots.delete(node)
    slot.stream.reset(ResetCode.TooSlow)
    return undefined
  }

  /** Gives up every slot whose lease is over. */
  #sweep(): void {
    for (const node of [...this.#slots.keys()]) this.#slotOf(node)
  }

  /** What a node's slot is still good for. */
  #left(node: NodeId): { readonly circuits: number; readonly bytes: number } {
    const account = this.#account(slotKey(node))
    const { maxCircuits, maxCircuitsPerSlot, maxSlotBytesPerHour } = this.limits
    return {
      circuits: Math.max(0, Math.min(maxCircuitsPerSlot - account.circuits, maxCircuits - this.circuits.size)),
      bytes: Math.max(0, maxSlotBytesPerHour - charge(account, 0))
    }
  }

  #connect(connection: Connection, near: Stream, node: NodeId): StreamHandler {
    if (connection.relayed) return this.#refuse(near, "Relayed")
    const { limits } = this
    const own = this.#account(connection.peer)
    const host = hostOf(connection.address)
    // Keys cost nothing: a peer that comes with ever new ones is still at one address.
    const shared = host === undefined ? undefined : this.#host(host)
    const accounts: Array<readonly [Account, number]> = [[own, limits.maxPeerBytesPerHour]]
    if (shared !== undefined) accounts.push([shared, limits.maxHostBytesPerHour])
    if (!mayAsk(own, "circuit", limits.circuitsPerMinute)) return this.#refuse(near, "LimitReached")
    const slot = this.#slotOf(node)
    if (slot === undefined) return this.#refuse(near, "NoReservation")
    // The node's own share: whoever is called by all the world leaves room for others.
    const called = this.#account(slotKey(node))
    accounts.push([called, limits.maxSlotBytesPerHour])
    if (accounts.some(([account, most]) => charge(account, 0) >= most)) return this.#refuse(near, "QuotaExceeded")
    const mostOfHost = Math.max(limits.maxCircuitsPerPeer, limits.maxCircuits / 2)
    if (
      this.circuits.size >= limits.maxCircuits ||
      own.circuits >= limits.maxCircuitsPerPeer ||
      called.circuits >= limits.maxCircuitsPerSlot ||
      (shared?.circuits ?? 0) >= mostOfHost
    ) {
      return this.#refuse(near, "LimitReached")
    }
    const circuit = new Circuit(this, accounts)
    const [nearSide, farSide] = [() => circuit.near, () => circuit.far]
    circuit.near = near
    circuit.far = slot.connection.open(Protocol.CIRCUIT, circuit.side(farSide, nearSide))
    if (circuit.far === undefined) {
      circuit.near = undefined
      circuit.end(ResetCode.Disconnected)
      return this.#refuse(near, "NoReservation")
    }
    this.circuits.add(circuit)
    circuit.far.send(Wire.incoming(connection.peer), undefined, false)
    near.send(Wire.yes, undefined, false)
    return circuit.side(nearSide, farSide)
  }

  #account(key: string): Account {
    return accountOf(this.#accounts, key)
  }

  #host(key: string): Account {
    return accountOf(this.#hosts, key)
  }
}

const accountOf = (accounts: Map<string, Account>, key: string): Account => {
  let account = accounts.get(key)
  if (account === undefined) {
    if (accounts.size >= MAX_ACCOUNTS) {
      for (const [oldest, entry] of accounts) {
        if (entry.circuits > 0) continue
        accounts.delete(oldest)
        break
      }
    }
    const now = Date.now()
    const asked = {
      circuit: { minute: now, count: 0 },
      slot: { minute: now, count: 0 },
      look: { minute: now, count: 0 }
    }
    account = { since: now, bytes: 0, circuits: 0, asked }
    accounts.set(key, account)
  }
  return account
}

/** Counts a request of this minute; whether there may be one. */
const mayAsk = (account: Account, what: keyof Account["asked"], most: number): boolean => {
  const asked = account.asked[what]
  const now = Date.now()
  if (now - asked.minute > MINUTE_MS) {
    asked.minute = now
    asked.count = 0
  }
  return ++asked.count <= most
}

/** The account of what goes to a node, beside the one of what it makes itself. */
const slotKey = (node: NodeId): string => `to ${node}`

/** The network that a connection came from; undefined for one that this node dialled. */
const hostOf = (address: string): string | undefined => {
  const parsed = Addresses.parse(address)
  return parsed === undefined ? undefined : Addresses.network(parsed.host)
}

const deaf: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }
