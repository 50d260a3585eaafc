/**
 * Network: who belongs to this node's private network, where that has a root that signs member certificates.
 *
 * Transports ask it in their handshake, before they tell a stranger anything: `admit` checks the peer's certificate and that its
 * member has not been put out, and `certificate` is what this node shows of itself. Revocations travel from member to member
 * (protocol MEMBERS); when a list comes that names a connected peer, that connection is closed at once.
 *
 * A network without a root has no such service: there, whoever has the network key is a member, for as long as the key is in use.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Connections } from "./Connections.ts"
import { RateLimit } from "./RateLimit.ts"
import * as MemberCertificate from "./MemberCertificate.ts"
import type { NetworkOf, Refused } from "./MemberCertificate.ts"
import type * as NodeId from "./NodeId.ts"
import * as Protocol from "./Protocol.ts"
import * as RevocationSpread from "./RevocationSpread.ts"
import * as Revocations from "./Revocations.ts"
import { type Connection, ResetCode, type StreamHandler, type TransportError } from "./Transport.ts"

export type { RefusedCode } from "./MemberCertificate.ts"

/** First byte of a MEMBERS message: this end lets its peer in; it does not, and why; a list of revocations. */
export const Kind = { Welcome: 0, Refused: 1, List: 2 } as const
/** Lists that one peer may send at once, and a second: reading the longest takes about a millisecond. */
export const LISTS = { atOnce: 10, perSecond: 1 } as const
/** How often connections are looked at whose certificate may have ended, in ms. */
const LOOK_MS = 10_000
/** Members remembered that are not connected, or whose handshake is under way; more than a transport lets in at once. */
const MAX_ADMITTED = 8_192

/** How a peer was let in. */
interface Admitted {
  readonly member: NodeId.NodeId
  /** When its certificate, or its delegation, ends. */
  readonly until: number
}

/** What a network's member is made of. */
export interface Options extends NetworkOf {
  /** What this node shows: its certificate, with a delegation where it acts for a member. */
  readonly certificate: Uint8Array
  readonly revocations?: Revocations.Revocations | undefined
  /** Keeps a newer list. Must not throw. */
  readonly save?: (list: Revocations.Revocations) => void
}

/** Who belongs to the network, as this node knows it. */
export class Members {
  #certificate: Uint8Array
  readonly of: NetworkOf
  readonly #save: (list: Revocations.Revocations) => void
  readonly #admitted = new Map<NodeId.NodeId, Admitted>()
  readonly #listeners = new Set<(list: Revocations.Revocations) => void>()
  readonly #spread: RevocationSpread.State
  #send: (to: string, text: string) => void = () => {}
  #out: ReadonlySet<NodeId.NodeId>

  constructor({ certificate, network, revocations, root, save }: Options) {
    this.of = { network, root }
    this.#certificate = certificate
    this.#save = save ?? (() => {})
    this.#spread = RevocationSpread.make(this.of, revocations)
    this.#out = new Set(revocations?.revoked.map(({ node }) => node))
  }

  /** What this node shows in handshakes. */
  get certificate(): Uint8Array {
    return this.#certificate
  }

  /** Shows another certificate from the next handshake on, as where a delegation was renewed. */
  renew(certificate: Uint8Array): void {
    this.#certificate = certificate
  }

  /** The list that stands. */
  get revocations(): Revocations.Revocations | undefined {
    return this.#spread.known
  }

  /** Lets a peer in that has proven its key, or says why not. */
  admit(peer: Uint8Array, certificate: Uint8Array | undefined, now: number): Refused | undefined {
    const read = MemberCertificate.verify(certificate, this.of, peer, now)
    if ("code" in read) return read
    if (this.#out.has(read.member)) {
      const detail = `the network's root has put ${read.member} out (revocations number ${this.revocations?.number ?? 0})`
      return { code: "MemberRevoked", detail }
    }
    const node = read.delegate?.node ?? read.member
    const until = Math.min(read.expiresAt, read.delegate?.expiresAt ?? read.expiresAt)
    this.#admitted.delete(node)
    if (this.#admitted.size >= MAX_ADMITTED) {
      for (const oldest of this.#admitted.keys()) {
        if (this.#spread.links.has(oldest)) continue
        this.#admitted.delete(oldest)
        break
      }
    }
    this.#admitted.set(node, { member: read.member, until })
    return undefined
  }

  /** Why a peer that was let in belongs to the network no more. */
  whyOut(peer: NodeId.NodeId, now: number): string | undefined {
    const admitted = this.#admitted.get(peer)
    const member = admitted?.member ?? peer
    if (this.#out.has(member)) return `the network's root has put ${member} out`
    return admitted !== undefined && admitted.until <= now ? "its member certificate has ended" : undefined
  }

  /** The member that a peer acts for: itself, unless it showed a delegation. */
  memberOf(peer: NodeId.NodeId): NodeId.NodeId {
    return this.#admitted.get(peer)?.member ?? peer
  }

  /** Whether the root has put a member out. */
  isOut(member: NodeId.NodeId): boolean {
    return this.#out.has(this.memberOf(member))
  }

  /** Takes in a list that somebody handed over, as text; true when it is newer than what was known. */
  learn(text: string): boolean {
    return this.#step({ _tag: "Command", now: Date.now(), command: text })
  }

  /** Hears of newer lists; gives what ends it. Must not throw. */
  observe(listener: (list: Revocations.Revocations) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** For `keep` alone: how messages leave, and what happens to links. */
  drive(send: (to: string, text: string) => void): {
    readonly up: (peer: NodeId.NodeId) => void
    readonly down: (peer: NodeId.NodeId) => void
    readonly heard: (from: NodeId.NodeId, text: string) => void
  } {
    this.#send = send
    const now = (): number => Date.now()
    return {
      up: (peer) => void this.#step({ _tag: "LinkUp", now: now(), peer }),
      // For whom it acts stays known: it may have come anew before, and what it drains lives on.
      down: (peer) => void this.#step({ _tag: "LinkDown", now: now(), peer }),
      heard: (from, text) => void this.#step({ _tag: "Message", now: now(), from, message: text })
    }
  }

  #step(event: Parameters<typeof RevocationSpread.machine.step>[1]): boolean {
    let newer = false
    const [, actions] = RevocationSpread.machine.step(this.#spread, event)
    for (const action of actions) {
      if (action._tag === "Send") this.#send(action.to, action.message)
      if (action._tag !== "Tell") continue
      newer = true
      this.#out = new Set(action.told.revoked.map(({ node }) => node))
      this.#save(action.told)
      for (const listener of [...this.#listeners]) listener(action.told)
    }
    return newer
  }
}

/** The network that this node is a member of. */
export class Network extends Context.Service<Network, Members>()("@parley/core/Network") {}

const heads = {
  welcome: Uint8Array.of(Kind.Welcome),
  refused: Uint8Array.of(Kind.Refused),
  list: Uint8Array.of(Kind.List)
}
const empty = new Uint8Array(0)
/** Whoever only sends expects nothing but the end. */
const sending: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }

const say = (connection: Connection, head: Uint8Array, text: string | undefined): void =>
  void connection.open(Protocol.MEMBERS, sending)?.send(head, text, true)

/** What an acceptor says first on a connection in a network with a root: come in, or why not. */
export const greet = (connection: Connection, refused: Refused | undefined): void =>
  refused === undefined
    ? say(connection, heads.welcome, undefined)
    : say(connection, heads.refused, JSON.stringify({ code: refused.code, detail: refused.detail }))

/** Longest refusal that is read, in bytes. */
const MAX_REFUSAL_BYTES = 1_024
const codes: ReadonlySet<string> = new Set([
  "CertificateMissing",
  "CertificateInvalid",
  "CertificateExpired",
  "MemberRevoked"
] satisfies Array<Refused["code"]>)

/** Reads a greeting: `"welcome"`, or the refusal; undefined for any other message. */
export const readGreeting = (message: Uint8Array): "welcome" | Refused | undefined => {
  if (message[0] === Kind.Welcome && message.length === 1) return "welcome"
  if (message[0] !== Kind.Refused || message.length > MAX_REFUSAL_BYTES) return undefined
  try {
    const { code, detail } = JSON.parse(Buffer.from(message.subarray(1)).toString("utf8")) as Partial<Refused>
    if (typeof code !== "string" || !codes.has(code) || typeof detail !== "string") return undefined
    return { code, detail: detail.replace(/\p{Cc}/gu, " ") }
  } catch {
    return undefined
  }
}

/** Spreads revocations, and closes connections to whom they name, until the scope closes. */
export const keep = Effect.fnUntraced(function* (
  members: Members,
  connections: Connections["Service"]
): Effect.fn.Return<void, TransportError, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context())
  const limit = new RateLimit(LISTS.perSecond, LISTS.atOnce)
  const links = members.drive((to, text) => {
    const connection = connections.get(to as NodeId.NodeId)
    if (connection !== undefined) say(connection, heads.list, text)
  })
  /** All connections of a peer, also such as are drained, or wait behind another one: streams go on over them. */
  const held = new Map<NodeId.NodeId, Set<Connection>>()
  const prune = (peer: NodeId.NodeId, of: Set<Connection>): void => {
    for (const connection of of) if (connection.state() === "closed") of.delete(connection)
    if (of.size === 0) held.delete(peer)
  }
  let isTold = false
  const cut = (): void => {
    const now = Date.now()
    for (const [peer, all] of held) {
      prune(peer, all)
      const why = members.whyOut(peer, now)
      // Once more round the loop of events, so that the list which puts the peer out reaches it, too.
      if (why !== undefined) for (const connection of all) setTimeout(() => connection.close(why), 0)
    }
    if (isTold || !members.isOut(connections.nodeId)) return
    isTold = true
    const advice = "ask who keeps the root to be let in anew"
    run(
      Effect.logWarning(`the network's root has put this node out, and no member will talk to it any more: ${advice}`)
    )
  }
  yield* connections.handle(Protocol.MEMBERS, (connection, stream) => {
    const { peer } = connection
    return {
      onMessage: (message, last) => {
        if (!last || message.length > Revocations.MAX_REVOCATIONS_BYTES + 1) return stream.reset(ResetCode.Malformed)
        if (message[0] === Kind.List) {
          if (limit.take(peer, Date.now()) > 0) return stream.reset(ResetCode.Overloaded)
          links.heard(peer, Buffer.from(message.subarray(1)).toString("utf8"))
        }
        stream.send(empty, undefined, true)
      },
      onWritable: () => {},
      onClosed: () => {}
    }
  })
  yield* connections.observe({
    onConnected: (connection) => {
      const { peer } = connection
      const all = held.get(peer) ?? new Set()
      held.set(peer, all.add(connection))
      links.up(peer)
      // It may have been put out while its handshake was under way, or come over a transport that does not ask.
      if (members.whyOut(peer, Date.now()) !== undefined) cut()
    },
    onDisconnected: (peer) => {
      const all = held.get(peer)
      if (all !== undefined) prune(peer, all)
      links.down(peer)
    }
  })
  const stop = members.observe(cut)
  const timer = setInterval(cut, LOOK_MS)
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      stop()
      clearInterval(timer)
    })
  )
  cut()
})

/** The membership of a deployment at work over its connections. */
export const layerKeep: Layer.Layer<never, TransportError, Network | Connections> = Layer.effectDiscard(
  Effect.gen(function* () {
    yield* keep(yield* Network, yield* Connections)
  })
)
