/**
 * Connections: every authenticated link of this node, one per peer.
 *
 * Two nodes that dial each other at once keep the connection that the smaller NodeId dialled, and both know which without
 * a word; the other one is drained. When one of them connects anew, both go on with the new connection.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Identity } from "./Identity.ts"
import { keepsOld, SIMULTANEOUS_MS } from "./internal/Simultaneous.ts"
import type { NodeId } from "./NodeId.ts"
import {
  type Acceptor,
  type Address,
  type Connection,
  type Owner,
  schemeOf,
  type Target,
  Transport,
  TransportError,
  type TransportErrorReason
} from "./Transport.ts"

/** Pause between starting one address of a target and the next: the Connection Attempt Delay of RFC 8305. */
export const ATTEMPT_DELAY_MS = 250
/**
 * How long direct addresses have before those through a relay are dialled beside them: a private address of another network
 * answers nothing at all, and would hold up the relayed one for as long as a dial may take. A direct path is found later, too.
 */
export const RELAY_DELAY_MS = 500
export { SIMULTANEOUS_MS } from "./internal/Simultaneous.ts"
/** How long a connection that lost against another one of the same pair may take to finish its streams. */
export const REPLACED_GRACE_MS = 5_000
/**
 * How long a relayed connection still takes new streams when a direct one took its place: until then the peer knows of that,
 * whichever way was faster.
 */
export const UPGRADE_SETTLE_MS = 1_000
/** How long its streams may take to finish. Its relay allows as much, and ends it where its quota is used up. */
export const UPGRADE_GRACE_MS = 60 * 60 * 1_000
/** First and longest pause between attempts to come back to a kept target. Each pause doubles, with up to a half taken off at random. */
export const BACKOFF_MS = { first: 100, longest: 10_000 }
/**
 * Addresses of a target that one attempt dials, direct ones and relayed ones, each once. Whoever signs a record chooses its
 * addresses, and may write down those of others: so many of them a record can make a node knock at, and no more.
 */
export const MAX_DIALLED = { direct: 12, relayed: 4 }
/** Refused connection attempts that are logged each second; the rest is only counted. */
export const LOGGED_REFUSALS_PER_SECOND = 10

/**
 * Hears of connections as they come and go, in order; none of these may throw. A connection that takes the place of another
 * one of the same peer is told as `onDisconnected` and then `onConnected`, since streams do not move from one to the other.
 */
export interface Observer {
  readonly onConnected?: (connection: Connection) => void
  readonly onDisconnected?: (peer: NodeId, why: string) => void
  readonly onRefused?: (address: Address, error: TransportError) => void
  readonly onAddresses?: (addresses: ReadonlyArray<Address>) => void
}

/** Every authenticated link of this node, one per peer. */
export class Connections extends Context.Service<
  Connections,
  {
    readonly nodeId: NodeId
    /** Only holders of the network key can connect. */
    readonly isPrivate: boolean
    /** Where this node can be reached now. */
    readonly addresses: () => ReadonlyArray<Address>
    /** The live connection to a peer. */
    readonly get: (peer: NodeId) => Connection | undefined
    /** Every live connection. */
    readonly list: () => ReadonlyArray<Connection>
    /**
     * The live connection to a target, or a new one: direct addresses first, a little apart (RFC 8305), relayed ones when
     * none answered soon. Who asks for the same peer at the same time shares one attempt.
     */
    readonly connect: (target: Target) => Effect.Effect<Connection, TransportError>
    /**
     * Stays connected to a target until the scope closes: dials again at once when a connection that stood has gone, then with
     * growing pauses (0.1 s to 10 s).
     */
    readonly keep: (target: Target) => Effect.Effect<void, never, Scope.Scope>
    /** Handles the streams of one protocol on every connection, until the scope closes. */
    readonly handle: (protocol: number, acceptor: Acceptor) => Effect.Effect<void, TransportError, Scope.Scope>
    /** Hears of connections until the scope closes. Connections that are live already are told at once. */
    readonly observe: (observer: Observer) => Effect.Effect<void, never, Scope.Scope>
  }
>()("@parley/core/Connections") {}

interface Held {
  readonly connection: Connection
  readonly since: number
}

const fail = (reason: TransportErrorReason) => Effect.fail(new TransportError({ reason }))

/** Begins the second when the first has failed, or takes longer than that; the first connection of both wins. */
const afterwards = (
  first: Effect.Effect<Connection, TransportError>,
  second: Effect.Effect<Connection, TransportError>,
  delayMs: number
): Effect.Effect<Connection, TransportError> =>
  Effect.suspend(() => {
    const gaveUp = Deferred.makeUnsafe<void>()
    const attempt = Effect.tapError(first, () => Deferred.succeed(gaveUp, undefined))
    return Effect.race(attempt, Deferred.await(gaveUp).pipe(Effect.timeoutOption(delayMs), Effect.andThen(second)))
  })

/** Goes through addresses in order, each a moment after the last or as soon as it failed; the first connection wins. */
const dialInTurn = (
  dialOne: (address: Address) => Effect.Effect<Connection, TransportError>,
  addresses: ReadonlyArray<Address>,
  expect: NodeId | undefined,
  failed: Array<TransportError>
): Effect.Effect<Connection, TransportError> => {
  const from = (index: number): Effect.Effect<Connection, TransportError> =>
    Effect.suspend(() => {
      const address = addresses[index]
      if (address === undefined) return fail({ _tag: "NoAddress", node: expect ?? "" })
      const gaveUp = Deferred.makeUnsafe<void>()
      const attempt = dialOne(address).pipe(
        Effect.tapError((error) => {
          failed.push(error)
          return Deferred.succeed(gaveUp, undefined)
        })
      )
      if (index + 1 >= addresses.length) return attempt
      const next = Deferred.await(gaveUp).pipe(Effect.timeoutOption(ATTEMPT_DELAY_MS), Effect.andThen(from(index + 1)))
      return Effect.race(attempt, next)
    })
  return from(0)
}

/** Listens with a transport, and owns every connection that comes of it until the scope closes. */
export const make = Effect.fnUntraced(function* (
  transport: Transport["Service"],
  nodeId: NodeId
): Effect.fn.Return<Connections["Service"], TransportError, Scope.Scope> {
  const scope = yield* Effect.scope
  const run = Effect.runForkWith(yield* Effect.context())
  const live = new Map<NodeId, Held>()
  const behind = new Map<NodeId, Connection>()
  const acceptors: Array<Acceptor | undefined> = Array.from({ length: 256 })
  const observers = new Set<Observer>()
  const attempts = new Map<string, Deferred.Deferred<Connection, TransportError>>()
  let addresses: ReadonlyArray<Address> = []
  let refusalSecond = 0
  let refusals = 0

  const tellGone = (peer: NodeId, why: string): void => {
    for (const observer of [...observers]) observer.onDisconnected?.(peer, why)
  }

  /** Takes a connection in, and gives the one that now stands for its peer. */
  const hold = (connection: Connection): Connection => {
    const { peer } = connection
    const now = performance.now()
    const old = live.get(peer)
    // One that closed before it came here has been reported closed already.
    if (connection.state() === "closed" || old?.connection === connection) return connection
    if (old !== undefined && keepsOld(nodeId, old.connection, connection, now - old.since)) {
      run(connection.drain(REPLACED_GRACE_MS))
      return old.connection
    }
    live.set(peer, { connection, since: now })
    // A peer that connects anew may have restarted, so that all it was told must be told again.
    if (old !== undefined) tellGone(peer, "another connection took its place")
    for (const observer of [...observers]) observer.onConnected?.(connection)
    if (old !== undefined) retire(old.connection, connection)
    return connection
  }

  /**
   * Lets a replaced connection go. Where the peer dialled both, it alone knows which of them it wants, and closes the other:
   * until then, and for a while, the older one stays behind the newer, and stands again should that one close.
   */
  const retire = (old: Connection, fresh: Connection): void => {
    if (old.relayed && !fresh.relayed) {
      const finish = Effect.suspend(() => old.drain(UPGRADE_GRACE_MS))
      return void run(Effect.forkIn(Effect.delay(finish, UPGRADE_SETTLE_MS), scope))
    }
    const peerChooses = old.direction === "inbound" && fresh.direction === "inbound" && old.relayed === fresh.relayed
    if (!peerChooses || old.state() !== "open") return void run(old.drain(REPLACED_GRACE_MS))
    const before = behind.get(old.peer)
    behind.set(old.peer, old)
    if (before !== undefined) run(before.drain(REPLACED_GRACE_MS))
    const late = Effect.suspend(() => {
      if (behind.get(old.peer) !== old) return Effect.void
      behind.delete(old.peer)
      return old.drain(REPLACED_GRACE_MS)
    })
    run(Effect.forkIn(Effect.delay(late, SIMULTANEOUS_MS), scope))
  }

  const handle = (protocol: number, acceptor: Acceptor): Effect.Effect<void, TransportError, Scope.Scope> =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        if (acceptors[protocol] !== undefined) return fail({ _tag: "ProtocolTaken", protocol })
        acceptors[protocol] = acceptor
        return Effect.void
      }),
      () =>
        Effect.sync(() => {
          acceptors[protocol] = undefined
        })
    )

  /** Dials one address for an attempt that takes the first connection only: a second one is closed, and none is lost. */
  const dialFor =
    (target: Target) =>
    (found: { connection: Connection | undefined }) =>
    (address: Address): Effect.Effect<Connection, TransportError> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(restore(transport.dial(address, target.node)), (connection) => {
          if (connection.peer === nodeId) {
            connection.close("a node does not connect to itself")
            return fail({ _tag: "DialFailed", address, detail: "that is this node itself" })
          }
          if (found.connection !== undefined) {
            connection.close("another address answered first")
            return Effect.succeed(found.connection)
          }
          found.connection = hold(connection)
          return Effect.succeed(found.connection)
        })
      )

  const dial = (target: Target): Effect.Effect<Connection, TransportError> =>
    Effect.suspend(() => {
      const once = [...new Set(target.addresses)]
      const direct = once.filter((address) => schemeOf(address) !== "relay").slice(0, MAX_DIALLED.direct)
      const relayed = once.filter((address) => schemeOf(address) === "relay").slice(0, MAX_DIALLED.relayed)
      const failed: Array<TransportError> = []
      const groups = [direct, relayed].filter((group) => group.length > 0)
      if (groups.length === 0) return fail({ _tag: "NoAddress", node: target.node ?? "the peer" })
      const dialOne = dialFor(target)({ connection: undefined })
      return groups
        .map((group) => dialInTurn(dialOne, group, target.node, failed))
        .reduce((first, second) => afterwards(first, second, RELAY_DELAY_MS))
        .pipe(
          Effect.catch((last) => {
            const causes = failed.flatMap((error) => (error.reason._tag === "AllFailed" ? [] : [error.reason]))
            return causes.length < 2
              ? Effect.fail(last)
              : fail({ _tag: "AllFailed", node: target.node ?? "the peer", causes })
          })
        )
    })

  const connect = (target: Target): Effect.Effect<Connection, TransportError> =>
    Effect.suspend(() => {
      if (target.node === nodeId) {
        return fail({ _tag: "DialFailed", address: nodeId, detail: "that is this node itself" })
      }
      const known = target.node === undefined ? at(target.addresses) : get(target.node)
      if (known !== undefined) return Effect.succeed(known)
      const key = target.node ?? target.addresses.join(" ")
      const running = attempts.get(key)
      if (running !== undefined) return Deferred.await(running)
      if (scope.state._tag === "Closed") return fail({ _tag: "NotListening", address: addresses.join(", ") })
      const attempt = Deferred.makeUnsafe<Connection, TransportError>()
      attempts.set(key, attempt)
      return dial(target).pipe(
        Effect.onExit((exit) => {
          attempts.delete(key)
          return Deferred.done(attempt, exit)
        }),
        Effect.forkIn(scope),
        Effect.andThen(Deferred.await(attempt))
      )
    })

  const get = (peer: NodeId): Connection | undefined => {
    const held = live.get(peer)
    return held !== undefined && held.connection.state() === "open" ? held.connection : undefined
  }

  /** The live connection that was dialled at one of these addresses. */
  const at = (wanted: ReadonlyArray<Address>): Connection | undefined => {
    for (const { connection } of live.values()) {
      if (connection.direction !== "outbound" || connection.state() !== "open") continue
      if (wanted.includes(connection.address)) return connection
    }
    return undefined
  }

  const keep = (target: Target): Effect.Effect<void, never, Scope.Scope> =>
    Effect.gen(function* () {
      let pause = BACKOFF_MS.first
      while (true) {
        const exit = yield* Effect.exit(connect(target))
        if (Exit.isSuccess(exit)) {
          const since = performance.now()
          yield* lost(exit.value.peer)
          // A peer that takes connections only to drop them is not dialled faster than one that takes none.
          if (performance.now() - since > BACKOFF_MS.longest) {
            pause = BACKOFF_MS.first
            continue
          }
        } else {
          yield* Effect.logDebug(`not connected to ${target.node ?? target.addresses.join(", ")}`, exit.cause)
        }
        yield* Effect.sleep(pause * (0.5 + Math.random() / 2))
        pause = Math.min(pause * 2, BACKOFF_MS.longest)
      }
    }).pipe(Effect.forkScoped, Effect.asVoid)

  const lost = (peer: NodeId): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      if ((live.get(peer)?.connection.state() ?? "closed") === "closed") return resume(Effect.void)
      const observer: Observer = {
        onDisconnected: (gone) => {
          if (gone === peer) resume(Effect.void)
        }
      }
      observers.add(observer)
      return Effect.sync(() => observers.delete(observer))
    })

  const owner: Owner = {
    nodeId,
    onConnection: (connection) => {
      if (connection.peer === nodeId) connection.close("a node does not connect to itself")
      else hold(connection)
    },
    onStream: (connection, protocol, stream) => acceptors[protocol]?.(connection, stream),
    onClosed: (connection, why) => {
      const { peer } = connection
      const older = behind.get(peer)
      if (older === connection) behind.delete(peer)
      if (live.get(peer)?.connection !== connection) return
      live.delete(peer)
      tellGone(peer, why)
      if (older === undefined || older.state() !== "open") return
      behind.delete(peer)
      hold(older)
    },
    onRefused: (address, error) => {
      for (const observer of [...observers]) observer.onRefused?.(address, error)
      const second = Math.floor(Date.now() / 1000)
      refusals = second === refusalSecond ? refusals + 1 : 1
      refusalSecond = second
      if (refusals <= LOGGED_REFUSALS_PER_SECOND) run(Effect.logInfo(`refused ${address}: ${error.message}`))
    },
    onAddresses: (changed) => {
      addresses = changed
      for (const observer of [...observers]) observer.onAddresses?.(changed)
    },
    connect,
    handle
  }

  addresses = yield* transport.listen(owner)

  return Connections.of({
    nodeId,
    isPrivate: transport.isPrivate ?? false,
    addresses: () => addresses,
    get,
    list: () => [...live.values()].map((held) => held.connection).filter((each) => each.state() === "open"),
    connect,
    keep,
    handle,
    observe: (observer) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          observers.add(observer)
          for (const held of live.values()) observer.onConnected?.(held.connection)
        }),
        () => Effect.sync(() => observers.delete(observer))
      )
  })
})

/** The connections of this identity over the deployment's transport. */
export const layer: Layer.Layer<Connections, TransportError, Transport | Identity> = Layer.effect(
  Connections,
  Effect.gen(function* () {
    return yield* make(yield* Transport, (yield* Identity).nodeId)
  })
)
