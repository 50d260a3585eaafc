/** Endpoint: this node's side of every handshake and session, over links of any kind. */
import type { Identity } from "@parley/core/Identity"
import * as Network from "@parley/core/Network"
import * as NodeId from "@parley/core/NodeId"
import * as Signature from "@parley/core/Signature"
import { TransportError } from "@parley/core/Transport"
import type { Address, Owner, TransportErrorReason } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import type * as CipherSuite from "../CipherSuite.ts"
import * as Frame from "../Frame.ts"
import * as Handshake from "../Handshake.ts"
import { PROBE_MS, type SessionLimits } from "../Limits.ts"
import * as X25519 from "../X25519.ts"
import type { Refused } from "./Admission.ts"
import { Budget } from "./Budget.ts"
import type { Keeper, KeptLink } from "./ByteLink.ts"
import { establish } from "./Establish.ts"
import * as Greeting from "./Greeting.ts"
import { Session } from "./Session.ts"
import type { SessionOwner } from "./SessionOptions.ts"
import * as Settings from "./Settings.ts"
import { CLOSE_GRACE_MS } from "./SocketLink.ts"
import { Sweeper } from "./Sweeper.ts"

/** The smallest frame a peer may ask for; less would make every message crawl. */
const MIN_PEER_FRAME_BYTES = 1_024
/** How long a node that shuts down goes on sending what its peers have not taken yet, as long as they take any of it. */
const FLUSH_MS = 5_000
/** How often it looks at that. */
const LOOK_MS = 2

export interface EndpointOptions {
  readonly identity: Identity["Service"]
  readonly networkKey: Uint8Array | undefined
  /** In a network with a root: what this node shows, and whom it lets in. */
  readonly members?: Pick<Network.Members, "admit" | "certificate"> | undefined
  readonly ciphers: ReadonlyArray<CipherSuite.Cipher> | undefined
  readonly handshakeTimeoutMs: number
  readonly limits: SessionLimits
  readonly maxHeldBytes: number
}

/** A link whose other end is to be proven. */
export interface Attempt {
  readonly link: KeptLink
  readonly address: Address
  readonly relayed: boolean
  /** Called exactly once, unless the attempt is abandoned. */
  readonly onResult: (session: Session | undefined, reason: TransportErrorReason | undefined) => void
}

export class Endpoint implements Keeper {
  readonly #options: EndpointOptions
  readonly #handshake: Handshake.Options
  readonly #sessions = new Set<Session>()
  /** Links of sessions, and whether each is a circuit; those included that have closed and still send their last. */
  readonly #links = new Map<KeptLink, boolean>()
  #onGone: () => void = () => {}
  readonly #budget: Budget
  readonly #sweeper: Sweeper
  readonly #attempts = new Set<() => void>()
  /** Who has dialled and waits to be let in, and what gives that up. */
  readonly #knocking = new WeakMap<Attempt, () => void>()
  /** What is said of each limit, made once: in a flood it would be most of what turning somebody away costs. */
  readonly #full = new Map<string, TransportError>()
  #owner: Owner | undefined
  /** One for all sessions, so that none of them keeps its handshake in memory. */
  #serves: SessionOwner | undefined

  constructor(options: EndpointOptions) {
    this.#options = options
    this.#budget = new Budget(options.maxHeldBytes)
    this.#sweeper = new Sweeper(options.limits)
    const { identity, limits, members } = options
    this.#handshake = {
      identity: identity.publicKey,
      sign: (message) => identity.sign(message),
      verify: (publicKey, message, signature) => Signature.best.verify(publicKey, message, signature),
      staticKey: X25519.generate(),
      maxFrame: Frame.MAX_RECORD_BYTES,
      settings: Settings.encode(limits),
      ...(members === undefined
        ? {}
        : {
            membership: {
              // It may be renewed.
              get certificate(): Uint8Array {
                return members.certificate
              },
              admit: (peer: Uint8Array, certificate: Uint8Array | undefined) =>
                members.admit(peer, certificate, Date.now())
            }
          }),
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
        this.#sessions.delete(connection as Session)
        owner.onClosed(connection, why)
      }
    }
  }

  /**
   * Gives up every attempt, and closes every session once its streams have sent what they have; ends when all links have gone.
   * Circuits go first: their bytes lie in the sessions that carry them.
   */
  close(why: string): Effect.Effect<void> {
    return Effect.promise(async () => {
      this.#owner = this.#serves = undefined
      for (const abandon of [...this.#attempts]) abandon()
      this.#attempts.clear()
      await this.#closeAll(why, (session) => session.relayed)
      await this.#closeAll(why, () => true)
    })
  }

  /** This machine is on another network: every peer is asked for a sign of life, and those that give none are let go of. */
  probe(): void {
    const asked = [...this.#sessions].map((session) => ({ session, isAlive: session.probe() }))
    if (asked.length === 0) return
    const timer = setTimeout(() => {
      for (const { isAlive, session } of asked) {
        if (!isAlive()) session.fail(`no sign of life within ${PROBE_MS} ms after this machine's network changed`)
      }
    }, PROBE_MS)
    timer.unref()
  }

  gone(link: KeptLink): void {
    this.#links.delete(link)
    this.#onGone()
  }

  async #closeAll(why: string, which: (of: { readonly relayed: boolean }) => boolean): Promise<void> {
    const sessions = [...this.#sessions].filter(which)
    await flushed(sessions)
    for (const session of sessions) session.close(why)
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_GRACE_MS)
      this.#onGone = () => {
        for (const relayed of this.#links.values()) if (which({ relayed })) return
        clearTimeout(timer)
        resolve()
      }
      this.#onGone()
    })
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

  /** Tells the owner of somebody for whom there is no place. */
  full(address: Address, [limit, value]: Refused): void {
    let error = this.#full.get(limit)
    if (error === undefined) {
      error = new TransportError({ reason: { _tag: "LimitReached", limit, value } })
      this.#full.set(limit, error)
    }
    this.#owner?.onRefused(address, error)
  }

  /** Tells the owner of somebody who was not let in. */
  refused(address: Address, reason: TransportErrorReason): void {
    this.#owner?.onRefused(address, new TransportError({ reason }))
  }

  #session(
    { address, link, relayed }: Attempt,
    outcome: Handshake.Outcome,
    prefix: Uint8Array | undefined,
    owner: SessionOwner
  ): Session {
    const session = new Session({
      link,
      send: outcome.send,
      receive: outcome.receive,
      peer: NodeId.fromPublicKey(outcome.peer),
      address,
      direction: outcome.role === "initiator" ? "outbound" : "inbound",
      relayed,
      peerMaxFrame: outcome.maxFrame,
      peerSettings: Settings.decode(outcome.settings),
      limits: this.#options.limits,
      budget: this.#budget,
      sweeper: this.#sweeper,
      owner,
      prefix
    })
    this.#sessions.add(session)
    this.#links.set(link, relayed)
    link.keeper = this
    return session
  }

  /** Tells somebody who has proven its key and is no member why it is not let in. Nobody here hears of the session. */
  #turnAway(attempt: Attempt, outcome: Handshake.Outcome, reason: TransportErrorReason): void {
    if (reason._tag === "HandshakeFailed" && outcome.maxFrame >= MIN_PEER_FRAME_BYTES) {
      const session = this.#session(attempt, outcome, undefined, {
        onStream: () => undefined,
        onClosed: (connection) => void this.#sessions.delete(connection as Session)
      })
      Network.greet(session, { code: reason.code as Network.RefusedCode, detail: reason.detail })
      session.close("it is no member of the network")
    } else attempt.link.destroy()
    attempt.onResult(undefined, reason)
  }

  /** At the end that dialled in a network with a root: the session counts when the other end has said so. */
  #knock(attempt: Attempt, outcome: Handshake.Outcome, prefix: Uint8Array | undefined, serves: SessionOwner): void {
    const { address } = attempt
    const end = (reason: TransportErrorReason | undefined): void => {
      clearTimeout(timer)
      this.#attempts.delete(abandon)
      this.#knocking.delete(attempt)
      if (reason !== undefined) this.#sessions.delete(session)
      attempt.onResult(reason === undefined ? session : undefined, reason)
    }
    const fail = (reason: TransportErrorReason): void => {
      end(reason)
      session.close("it does not let this node in")
    }
    const owner = Greeting.awaiting(serves, {
      onWelcome: () => end(undefined),
      onRefused: ({ code, detail }) =>
        fail({ _tag: "HandshakeFailed", address, code, detail: `it does not let this node in: ${detail}` }),
      onClosed: (why) => end({ _tag: "DialFailed", address, detail: `${why} before it had let this node in` })
    })
    const session = this.#session(attempt, outcome, prefix, owner)
    const { handshakeTimeoutMs } = this.#options
    const timer = setTimeout(() => fail({ _tag: "TimedOut", address, afterMs: handshakeTimeoutMs }), handshakeTimeoutMs)
    const abandon = (): void => {
      clearTimeout(timer)
      this.#attempts.delete(abandon)
      this.#knocking.delete(attempt)
      this.#sessions.delete(session)
      session.close("it was given up")
    }
    this.#attempts.add(abandon)
    this.#knocking.set(attempt, abandon)
    session.receive(outcome.earlyData, outcome.rest)
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
      onOutsider: (outcome, reason) => {
        this.#attempts.delete(abandoned)
        this.#turnAway(attempt, outcome, reason)
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
        if (outcome.role === "initiator" && outcome.certificate.length > 0)
          return this.#knock(attempt, outcome, prefix, serves)
        const session = this.#session(attempt, outcome, prefix, serves)
        if (outcome.role === "responder") {
          if (this.#options.members !== undefined) Network.greet(session, undefined)
          owner.onConnection(session)
        }
        attempt.onResult(session, undefined)
        session.receive(outcome.earlyData, outcome.rest)
      }
    })
    const abandoned = (): void => {
      this.#attempts.delete(abandoned)
      abandon()
      this.#knocking.get(attempt)?.()
    }
    this.#attempts.add(abandoned)
    return abandoned
  }
}

/** Waits until the streams of these sessions have nothing left to send, as long as the peers take any of it. */
const flushed = async (sessions: ReadonlyArray<Session>): Promise<void> => {
  const started = performance.now()
  let [least, movedAt] = [Number.POSITIVE_INFINITY, started]
  for (;;) {
    const waiting = sessions.reduce((sum, session) => sum + session.waiting, 0)
    const now = performance.now()
    if (waiting < least) [least, movedAt] = [waiting, now]
    if (waiting === 0 || now - movedAt >= CLOSE_GRACE_MS || now - started >= FLUSH_MS) return
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
