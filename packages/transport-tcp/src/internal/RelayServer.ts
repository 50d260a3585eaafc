/** A tracker's side of relaying: who holds a slot, and the circuits between two streams each. */
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import { ResetCode } from "@parley/core/Transport"
import type { Connection, Stream, StreamHandler } from "@parley/core/Transport"
import * as Wire from "./RelayWire.ts"

export interface RelayLimits {
  readonly maxReservations: number
  readonly maxCircuits: number
  readonly maxCircuitsPerPeer: number
  readonly maxCircuitBytes: number
  readonly maxCircuitMs: number
  readonly maxPeerBytesPerHour: number
}

const HOUR_MS = 60 * 60 * 1_000
/** Peers whose use of the hour is remembered; beyond it the oldest are forgotten. */
const MAX_ACCOUNTS = 16_384

interface Account {
  since: number
  bytes: number
  circuits: number
}

interface Slot {
  readonly connection: Connection
  readonly stream: Stream
}

/** Two streams, each the other's outlet. What one cannot send stops the other, so at most a window waits in each. */
class Circuit {
  readonly #server: RelayServer
  readonly #account: Account
  readonly #timer: ReturnType<typeof setTimeout>
  readonly #most: number
  near: Stream | undefined
  far: Stream | undefined
  #bytes = 0
  #open = 2
  #over = false

  constructor(server: RelayServer, account: Account) {
    this.#server = server
    this.#account = account
    this.#most = server.limits.maxCircuitBytes
    this.#timer = setTimeout(() => this.end(ResetCode.Overloaded), server.limits.maxCircuitMs)
    this.#timer.unref()
    account.circuits++
  }

  /** Takes what comes on one of the streams. */
  readonly side = (from: () => Stream | undefined, to: () => Stream | undefined): StreamHandler => ({
    onMessage: (message, last) => {
      const outlet = to()
      if (this.#over || outlet === undefined) return
      this.#bytes += message.length
      this.#account.bytes += message.length
      if (this.#bytes > this.#most) return this.end(ResetCode.Overloaded)
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
    this.#account.circuits--
    this.#server.circuits.delete(this)
  }
}

export class RelayServer {
  readonly limits: RelayLimits
  readonly circuits = new Set<Circuit>()
  readonly #slots = new Map<NodeId, Slot>()
  readonly #accounts = new Map<NodeId, Account>()

  constructor(limits: RelayLimits) {
    this.limits = limits
  }

  /** Takes a RELAY stream, whose first message says what is wanted. */
  accept(connection: Connection, stream: Stream): StreamHandler {
    let inner: StreamHandler | undefined
    return {
      onMessage: (message, last) => {
        if (inner !== undefined) return inner.onMessage(message, last)
        const request = last ? undefined : Wire.readRequest(message)
        if (request === undefined) {
          inner = this.#refuse(stream, "Malformed")
        } else if (request._tag === "Reserve") {
          inner = this.#reserve(connection, stream)
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

  #reserve(connection: Connection, stream: Stream): StreamHandler {
    const peer = connection.peer
    const before = this.#slots.get(peer)
    if (before === undefined && this.#slots.size >= this.limits.maxReservations) {
      return this.#refuse(stream, "LimitReached")
    }
    const slot: Slot = { connection, stream }
    this.#slots.set(peer, slot)
    before?.stream.reset(ResetCode.Cancelled)
    const release = (): void => {
      if (this.#slots.get(peer) === slot) this.#slots.delete(peer)
    }
    stream.send(Wire.yes, undefined, false)
    return {
      onMessage: (_message, last) => {
        release()
        stream.reset(last ? ResetCode.Cancelled : ResetCode.Malformed)
      },
      onWritable: () => {},
      onClosed: release
    }
  }

  #connect(connection: Connection, near: Stream, node: NodeId): StreamHandler {
    const slot = this.#slots.get(node)
    if (slot === undefined) return this.#refuse(near, "NoReservation")
    const account = this.#account(connection.peer)
    if (account.bytes >= this.limits.maxPeerBytesPerHour) return this.#refuse(near, "QuotaExceeded")
    if (this.circuits.size >= this.limits.maxCircuits || account.circuits >= this.limits.maxCircuitsPerPeer) {
      return this.#refuse(near, "LimitReached")
    }
    const circuit = new Circuit(this, account)
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

  #account(peer: NodeId): Account {
    const now = Date.now()
    let account = this.#accounts.get(peer)
    if (account === undefined) {
      if (this.#accounts.size >= MAX_ACCOUNTS) {
        for (const [oldest, entry] of this.#accounts) {
          if (entry.circuits > 0) continue
          this.#accounts.delete(oldest)
          break
        }
      }
      account = { since: now, bytes: 0, circuits: 0 }
      this.#accounts.set(peer, account)
    } else if (now - account.since > HOUR_MS) {
      account.since = now
      account.bytes = 0
    }
    return account
  }
}

const deaf: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }
