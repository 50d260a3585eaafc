/**
 * NodeLeases: the leases that nodes keep by putting their record again. One a node at each instance.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Lease, Presence } from "./Presence.ts"

/** The leases that nodes keep by putting their record again. */
export class NodeLeases extends Context.Service<
  NodeLeases,
  {
    /** Alive for another `LEASE_MS`. */
    readonly renew: (node: string) => Effect.Effect<void>
    /** The node has left; its leases are dropped elsewhere. */
    readonly forget: (node: string) => void
  }
>()("@parley/registry/NodeLeases") {}

/** Leases of nodes. */
export const layer: Layer.Layer<NodeLeases, never, Presence> = Layer.effect(
  NodeLeases,
  Effect.map(Presence, (presence) => {
    const leases = new Map<string, Lease>()
    return NodeLeases.of({
      renew: (node) =>
        Effect.gen(function* () {
          const lease = leases.get(node)
          if (lease !== undefined) yield* lease.renew
          // A lease that was ended for good lives no more by being renewed.
          if (lease === undefined || !presence.view(node).online) leases.set(node, yield* presence.open(node))
        }),
      forget: (node) => void leases.delete(node)
    })
  })
)
