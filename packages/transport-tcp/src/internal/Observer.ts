/**
 * Tells nodes where their connections come from: the one side of learning a mapping (RFC 8489 does so over UDP).
 *
 * A node asks on a PUNCH stream and gets a token; a TCP connection that begins with its hash is looked at instead of being taken
 * for a handshake. Nobody else can tell such a port from one that does not do this.
 */
import type { Socket } from "node:net"
import type { NodeId } from "@parley/core/NodeId"
import { ResetCode } from "@parley/core/Transport"
import type { Address, Connection, Stream, StreamHandler } from "@parley/core/Transport"
import { acceptDefaults } from "../Limits.ts"
import * as Addresses from "./Addresses.ts"
import { Admission } from "./Admission.ts"
import * as Wire from "./PunchWire.ts"
import type { SocketLink } from "./SocketLink.ts"

/** How long a token is good for, and what came with it is kept open. */
export const TOKEN_MS = 15_000
/** Tokens out at once: where all are, the network address (IPv6: the /48) that has most of them gives its oldest one up, as keys cost nothing. */
export const MAX_TOKENS = 1_024
/** Tokens of one peer. */
export const MAX_TOKENS_PER_PEER = 8
/** Connections that one token is good for: one of each family, and one that was lost. */
export const MAX_USES = 3

interface Watch {
  readonly peer: NodeId
  readonly wants: NodeId | null
  readonly stream: Stream
  readonly sockets: Array<SocketLink>
  readonly endpoints: Array<Addresses.HostPort>
  readonly end: () => void
}

const boundless = Number.POSITIVE_INFINITY

export class Observer {
  readonly #addresses: () => ReadonlyArray<Address>
  readonly #tokens = new Map<string, Watch>()
  readonly #byPeer = new Map<NodeId, Set<Watch>>()
  readonly #admission = new Admission(
    {
      ...acceptDefaults,
      maxPendingHandshakes: MAX_TOKENS,
      maxPendingPerAddress: boundless,
      maxConnectionsPerAddress: boundless,
      maxConnections: boundless,
      handshakesAtOnce: boundless
    },
    true
  )

  /** `addresses`: where this node listens. */
  constructor(addresses: () => ReadonlyArray<Address>) {
    this.#addresses = addresses
  }

  /** Whether any connection may begin with a token now. */
  get expects(): boolean {
    return this.#tokens.size > 0
  }

  /** Takes the request on a stream of a peer that is connected directly. */
  accept(connection: Connection, stream: Stream, request: Uint8Array): StreamHandler | undefined {
    const wants = Wire.readObserve(request)
    if (wants === undefined) {
      stream.reset(ResetCode.Malformed)
      return undefined
    }
    const { peer } = connection
    const own = this.#byPeer.get(peer) ?? new Set()
    const from = Addresses.parse(connection.address)?.host ?? connection.address
    const giveUp = (code: ResetCode): void => {
      end()
      stream.reset(code)
    }
    const guest =
      own.size < MAX_TOKENS_PER_PEER
        ? this.#admission.admit(from, performance.now(), () => giveUp(ResetCode.Overloaded))
        : undefined
    if (guest === undefined || !("left" in guest)) {
      stream.reset(ResetCode.Overloaded)
      return undefined
    }
    const bytes = Wire.newToken()
    const key = keyOf(Wire.shown(bytes))
    const end = (): void => {
      if (!this.#tokens.delete(key)) return
      clearTimeout(timer)
      guest.left()
      own.delete(watch)
      if (own.size === 0) this.#byPeer.delete(peer)
      for (const link of watch.sockets) link.destroy()
    }
    const watch: Watch = { peer, wants, stream, sockets: [], endpoints: [], end }
    const timer = setTimeout(() => giveUp(ResetCode.Cancelled), TOKEN_MS)
    timer.unref()
    this.#tokens.set(key, watch)
    this.#byPeer.set(peer, own.add(watch))
    const at = this.#addresses().flatMap((address) => Addresses.parse(address) ?? [])
    stream.send(Wire.token(bytes, at), undefined, false)
    // What the other one of the pair has shown already.
    for (const other of this.#paired(watch))
      for (const endpoint of other.endpoints) stream.send(Wire.theirs(endpoint), undefined, false)
    return {
      onMessage: () => giveUp(ResetCode.Malformed),
      onWritable: () => {},
      onClosed: end
    }
  }

  /** Looks at the first bytes of a connection; `otherwise` takes it on where they are no token. */
  look(link: SocketLink, socket: Socket, timeoutMs: number, otherwise: () => void, done: () => void): void {
    const timer = setTimeout(() => {
      link.destroy()
      done()
    }, timeoutMs)
    link.attach({
      onData: (chunk) => {
        clearTimeout(timer)
        if (this.#saw(link, socket, chunk)) return done()
        otherwise()
        link.again(chunk)
      },
      onDrain: () => {},
      onClose: () => {
        clearTimeout(timer)
        done()
      }
    })
  }

  close(): void {
    for (const watch of [...this.#tokens.values()]) watch.end()
  }

  /** Those of the peer that this one names, and that name it. */
  #paired(watch: Watch): ReadonlyArray<Watch> {
    const named = watch.wants === null ? undefined : this.#byPeer.get(watch.wants)
    return named === undefined ? [] : [...named].filter((other) => other.wants === watch.peer && other !== watch)
  }

  #saw(link: SocketLink, socket: Socket, chunk: Uint8Array): boolean {
    const watch = chunk.length === Wire.TOKEN_BYTES ? this.#tokens.get(keyOf(chunk)) : undefined
    if (watch === undefined) return false
    link.attach({ onData: () => link.destroy(), onDrain: () => {}, onClose: () => {} })
    if (watch.sockets.length >= MAX_USES) {
      link.destroy()
      return true
    }
    watch.sockets.push(link)
    const endpoint = { host: Addresses.remote(socket.remoteAddress), port: socket.remotePort ?? 0 }
    if (!Wire.isEndpoint(endpoint)) return true
    watch.endpoints.push(endpoint)
    watch.stream.send(Wire.seen(endpoint), undefined, false)
    for (const other of this.#paired(watch)) other.stream.send(Wire.theirs(endpoint), undefined, false)
    return true
  }
}

const keyOf = (token: Uint8Array): string => Buffer.from(token).toString("latin1")
