/** Endpoint: this node's side of every handshake and session, over links of any kind. */
import type { Identity } from "@parley/core/Identity"
import * as NodeId from "@parley/core/NodeId"
import * as Signature from "@parley/core/Signature"
import { TransportError } from "@parley/core/Transport"
import type { Address, Connection, Owner, TransportErrorReason } from "@parley/core/Transport"
import type * as CipherSuite from "../CipherSuite.ts"
import * as Frame from "../Frame.ts"
import * as Handshake from "../Handshake.ts"
import type { SessionLimits } from "../Limits.ts"
import * as X25519 from "../X25519.ts"
import { Budget } from "./Budget.ts"
import type { ByteLink } from "./ByteLink.ts"
import { establish } from "./Establish.ts"
import { Session } from "./Session.ts"
import type { SessionOwner } from "./SessionOptions.ts"
import * as Settings from "./Settings.ts"
import { Sweeper } from "./Sweeper.ts"

/** The smallest frame a peer may ask for; less would make every message crawl. */
const MIN_PEER_FRAME_BYTES = 1_024

export interface EndpointOptions {
  readonly identity: Identity["Service"]
  readonly networkKey: Uint8Array | undefined
  readonly ciphers: ReadonlyArray<CipherSuite.Cipher> | undefined
  readonly handshakeTimeoutMs: number
  readonly limits: SessionLimits
  readonly maxHeldBytes: number
}

/** A link whose other end is to be proven. */
export interface Attempt {
  readonly link: ByteLink
  readonly address: Address
  readonly relayed: boolean
  /** Called exactly once, unless the attempt is abandoned. */
  readonly onResult: (session: Session | undefined, reason: TransportErrorReason | undefined) => void
}

export class Endpoint {
  readonly #options: EndpointOptions
  readonly #handshake: Handshake.Options
  readonly #sessions = new Set<Connection>()
  readonly #budget: Budget
  readonly #sweeper: Sweeper
  readonly #attempts = new Set<() => void>()
  #owner: Owner | undefined
  /** One for all sessions, so that none of them keeps its handshake in memory. */
  #serves: SessionOwner | undefined

  constructor(options: EndpointOptions) {
    this.#options = options
    this.#budget = new Budget(options.maxHeldBytes)
    this.#sweeper = new Sweeper(options.limits)
    const { identity, limits } = options
    this.#handshake = {
      identity: identity.publicKey,
      sign: (message) => identity.sign(message),
      verify: (publicKey, message, signature) => Signature.best.verify(publicKey, message, signature),
      staticKey: X25519.generate(),
      maxFrame: Frame.MAX_RECORD_BYTES,
      settings: Settings.encode(limits),
      ...(options.networkKey === undefined ? {} : { networkKey: options.networkKey }),
      ...(options.ciphers === undefined ? {} : { ciphers: options.ciphers })
    }
  }

  /** Whom it serves, once it listens and until it is closed. */
  get owner(): Owner | undefined {
    return this.#owner
  }

  /** Sessions that stand. */
  get size(): number {
    return this.#sessions.size
  }

  open(owner: Owner): void {
    this.#owner = owner
    this.#serves = {
      onStream: owner.onStream,
      onClosed: (connection, why) => {
        this.#sessions.delete(connection)
        owner.onClosed(connection, why)
      }
    }
  }

  /** Closes every session and gives up every attempt. */
  close(why: string): void {
    for (const abandon of [...this.#attempts]) abandon()
    this.#attempts.clear()
    for (const session of [...this.#sessions]) session.close(why)
    this.#owner = this.#serves = undefined
  }

  /** Proves itself to the other end, and has it prove itself; gives what abandons the attempt. */
  dial(attempt: Attempt, expect: NodeId.NodeId | undefined, timeoutMs: number): () => void {
    const handshake = Handshake.initiator({
      ...this.#handshake,
      ...(expect === undefined ? {} : { expectedPeer: NodeId.toPublicKey(expect) })
    })
    return this.#run(attempt, handshake, timeoutMs)
  }

  /** Waits for the other end to prove itself; a session is reported to the owner. */
  accept(attempt: Attempt): () => void {
    return this.#run(attempt, Handshake.responder(this.#handshake), this.#options.handshakeTimeoutMs)
  }

  /** Tells the owner of somebody who was not let in. */
  refused(address: Address, reason: TransportErrorReason): void {
    this.#owner?.onRefused(address, new TransportError({ reason }))
  }

  #run(attempt: Attempt, handshake: Handshake.Handshake, timeoutMs: number): () => void {
    const { address, link } = attempt
    const abandon = establish({
      link,
      handshake,
      address,
      timeoutMs,
      limitMs: this.#options.handshakeTimeoutMs,
      onFailed: (reason) => {
        this.#attempts.delete(abandoned)
        attempt.onResult(undefined, reason)
      },
      onEstablished: (outcome, prefix) => {
        this.#attempts.delete(abandoned)
        const [owner, serves] = [this.#owner, this.#serves]
        if (owner === undefined || serves === undefined || outcome.maxFrame < MIN_PEER_FRAME_BYTES) {
          link.destroy()
          const detail =
            owner === undefined ? "this node is shutting down" : `it takes frames of ${outcome.maxFrame} bytes`
          return attempt.onResult(undefined, { _tag: "DialFailed", address, detail })
        }
        const session = new Session({
          link,
          send: outcome.send,
          receive: outcome.receive,
          peer: NodeId.fromPublicKey(outcome.peer),
          address,
          direction: outcome.role === "initiator" ? "outbound" : "inbound",
          relayed: attempt.relayed,
          peerMaxFrame: outcome.maxFrame,
          peerSettings: Settings.decode(outcome.settings),
          limits: this.#options.limits,
          budget: this.#budget,
          sweeper: this.#sweeper,
          owner: serves,
          prefix
        })
        this.#sessions.add(session)
        if (outcome.role === "responder") owner.onConnection(session)
        attempt.onResult(session, undefined)
        session.receive(outcome.earlyData, outcome.rest)
      }
    })
    const abandoned = (): void => {
      this.#attempts.delete(abandoned)
      abandon()
    }
    this.#attempts.add(abandoned)
    return abandoned
  }
}
