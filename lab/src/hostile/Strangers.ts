/** Strangers with sessions of their own: the transport alone, so that they can send what no node of ours would. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import type { Connection, Owner, StreamHandler, Transport } from "@parley/core/Transport"
import * as TransportTcp from "@parley/transport-tcp/TransportTcp"
import { add, type Counts, doorTo, rest, type Victim } from "./Attack.ts"

/** Strangers in one attack, and the network addresses from which they come. */
export const STRANGERS = 32
const DOORS = 8
/** Pause between two bursts of a stranger, in ms. */
const PAUSE_MS = 100

/** Hears nothing. */
export const deaf: StreamHandler = { onMessage: () => {}, onWritable: () => {}, onClosed: () => {} }

/** One stranger. */
export interface Stranger {
  readonly identity: Identity.Identity["Service"]
  /** A session with the victim through a door; undefined where it is not let in. */
  readonly dial: (victim: Victim, door: string) => Promise<Connection | undefined>
  readonly close: () => Promise<void>
}

/** Makes one. `onStream`: what it does with streams that the victim opens; by default it takes them and says nothing. */
const makeStranger = async (
  onStream: (connection: Connection, protocol: number) => StreamHandler = () => deaf
): Promise<Stranger> => {
  const identity = Identity.generate()
  const transport: Transport["Service"] = TransportTcp.make(identity, { listen: false })
  const scope = Scope.makeUnsafe()
  const owner: Owner = {
    nodeId: identity.nodeId,
    onConnection: () => {},
    onStream: (connection, protocol) => onStream(connection, protocol),
    onClosed: () => {},
    onRefused: () => {},
    onAddresses: () => {},
    connect: (target) => transport.dial(target.addresses[0]!, target.node),
    handle: () => Effect.void
  }
  await Effect.runPromise(transport.listen(owner).pipe(Scope.provide(scope)))
  return {
    identity,
    dial: async ({ node }, door) => {
      const exit = await Effect.runPromiseExit(transport.dial(door, node))
      return Exit.isSuccess(exit) ? exit.value : undefined
    },
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

/** Keeps sessions of many strangers, and lets each do its worst at a bounded pace. */
export const siege = async (
  victim: Victim,
  counts: Counts,
  over: AbortSignal,
  worst: (connection: Connection, stranger: Stranger, which: number) => void
): Promise<void> => {
  const doors = await Promise.all(Array.from({ length: DOORS }, (_, i) => doorTo(victim, 160 + i, over)))
  const strangers = await Promise.all(Array.from({ length: STRANGERS }, () => makeStranger()))
  const one = async (stranger: Stranger, which: number): Promise<void> => {
    while (!over.aborted) {
      const connection = await stranger.dial(victim, doors[which % DOORS]!)
      add(counts, connection === undefined ? "refused" : "sessions")
      while (connection?.state() === "open" && !over.aborted) {
        worst(connection, stranger, which)
        await rest(PAUSE_MS, over)
      }
      await rest(500, over)
    }
  }
  await Promise.all(strangers.map(one))
  await Promise.all(strangers.map((stranger) => stranger.close()))
}
