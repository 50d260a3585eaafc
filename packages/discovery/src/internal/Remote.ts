import type { Connections, Observer } from "@parley/core/Connections"
import * as NodeId from "@parley/core/NodeId"
import type { Address, Connection, TransportError } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Latch from "effect/Latch"

/** Pauses between attempts to connect, in milliseconds: the first, and the longest. Each time twice as long. */
export const BACKOFF_MS = { first: 100, longest: 10_000 }

/** An address whose owner's NodeId may be learned only by connecting. */
export interface Remote {
  /** The address without a NodeId. */
  readonly address: Address
  /** Who it is, if said or learned. */
  readonly peer: () => NodeId.NodeId | undefined
  /** The live connection to it, or a new one. */
  readonly connect: Effect.Effect<Connection, TransportError>
  /**
   * Stays connected: connects, runs `onConnected`, waits until the connection has gone, and begins anew. A failure of
   * `onConnected` is logged, and the connection stays.
   */
  readonly keep: (onConnected: (connection: Connection) => Effect.Effect<void>) => Effect.Effect<never>
}

/** Splits `tcp://host:port/z6Mk…` into address and NodeId; undefined for what is no address. */
export const parse = (
  text: string
): { readonly address: Address; readonly node: NodeId.NodeId | undefined } | undefined => {
  if (!/^[a-z][a-z0-9+.-]*:[!-~]+$/.test(text)) return undefined
  const slash = text.lastIndexOf("/")
  const node = slash < 0 ? undefined : NodeId.parse(text.slice(slash + 1))
  // `mem://z6Mk…` is an address of its own: what stands before the NodeId must be one, too.
  const rest = text.slice(0, slash)
  return node === undefined || /^[a-z][a-z0-9+.-]*:\/*$/.test(rest)
    ? { address: text, node: undefined }
    : { address: rest, node }
}

const lost = (connections: Connections["Service"], peer: NodeId.NodeId): Effect.Effect<void> =>
  Effect.scoped(
    Effect.gen(function* () {
      const gone = yield* Latch.make()
      const observer: Observer = { onDisconnected: (node) => void (node === peer && gone.openUnsafe()) }
      yield* connections.observe(observer)
      if (connections.get(peer) === undefined) return
      yield* gone.await
    })
  )

/** Ends when a connection to a peer stands, whoever made it. */
const connected = (connections: Connections["Service"], peer: NodeId.NodeId): Effect.Effect<void> =>
  Effect.scoped(
    Effect.gen(function* () {
      const came = yield* Latch.make()
      const observer: Observer = { onConnected: (connection) => void (connection.peer === peer && came.openUnsafe()) }
      yield* connections.observe(observer)
      yield* came.await
    })
  )

/** The owner of an address, as seen by this node. */
export const make = (
  connections: Connections["Service"],
  address: Address,
  node: NodeId.NodeId | undefined
): Remote => {
  let peer = node
  const dial = Effect.suspend(() =>
    connections.connect(peer === undefined ? { addresses: [address] } : { node: peer, addresses: [address] })
  ).pipe(
    Effect.tap((connection) =>
      Effect.sync(() => {
        peer = connection.peer
      })
    )
  )
  const connect = dial.pipe(
    Effect.catch((error: TransportError) => {
      const { reason } = error
      // Another node lives there now. That is fine unless somebody said which it must be.
      if (node !== undefined || peer === undefined || reason._tag !== "HandshakeFailed") return Effect.fail(error)
      peer = undefined
      return dial
    })
  )
  return {
    address,
    peer: () => peer,
    connect,
    keep: (onConnected) =>
      Effect.gen(function* () {
        let pause = BACKOFF_MS.first
        while (true) {
          const exit = yield* Effect.exit(connect)
          if (Exit.isSuccess(exit)) {
            pause = BACKOFF_MS.first
            yield* onConnected(exit.value)
            yield* lost(connections, exit.value.peer)
          }
          // Another part of this node may get through earlier; but one that comes and goes is not followed without pause.
          const waited = pause * (0.5 + Math.random() / 2)
          const most = Math.min(waited, BACKOFF_MS.first)
          yield* Effect.sleep(most)
          const sooner = peer === undefined ? Effect.never : connected(connections, peer)
          yield* Effect.race(Effect.sleep(waited - most), sooner)
          pause = Math.min(pause * 2, BACKOFF_MS.longest)
        }
      })
  }
}
