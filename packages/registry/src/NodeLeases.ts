/**
 * NodeLeases: the leases that nodes keep by putting their record again. One a node at each instance.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Lease, Presence } from "./Presence.ts"

/** Most leases that are remembered to be renewed; keys cost nothing. The one longest not renewed runs out by itself. */
export const MAX_REMEMBERED = 100_000

/** The leases that nodes keep by putting their record again. */
export class NodeLeases extends Context.Service<
  NodeLeases,
  {
    /** Alive for another `LEASE_MS`. */
    readonly renew: (node: string) => Effect.Effect<void>
    /** The node has left; its leases are dropped elsewhere. */
    readonly forget: (node: string) => void
    /** How many are remembered. */
    readonly size: () => number
  }
>()("@parley/registry/NodeLeases") {}

/** Leases of nodes, of which so many are remembered. */
export const layerOf = (maxRemembered: number): Layer.Layer<NodeLeases, never, Presence> =>
  Layer.effect(
    NodeLeases,
    Effect.map(Presence, (presence) => {
      const leases = new Map<string, Lease>()
      return NodeLeases.of({
        renew: (node) =>
          Effect.gen(function* () {
            const lease = leases.get(node)
            if (lease !== undefined) yield* lease.renew
            // A lease that was ended for good lives no more by being renewed.
            const kept = lease === undefined || !presence.view(node).online ? yield* presence.open(node) : lease
            // The one renewed last stands at the end.
            leases.delete(node)
            leases.set(node, kept)
            for (const oldest of leases.keys()) {
              if (leases.size <= maxRemembered) break
              leases.delete(oldest)
            }
          }),
        forget: (node) => void leases.delete(node),
        size: () => leases.size
      })
    })
  )

/** Leases of nodes. */
export const layer = layerOf(MAX_REMEMBERED)
