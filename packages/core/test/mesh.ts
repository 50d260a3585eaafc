/**
 * A mesh of nodes within this process, for tests: memory transport, one board, the strategies of `@parley/consensus` left out.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as DiscoveryMemory from "@parley/core/DiscoveryMemory"
import * as Guardrails from "@parley/core/Guardrails"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import * as Strategy from "@parley/core/Strategy"
import * as TransportMemory from "@parley/core/TransportMemory"
import * as Trust from "@parley/core/Trust"

/** What a node of the mesh may differ in. */
export interface MeshOptions {
  readonly guardrails?: Partial<Guardrails.Settings>
  readonly strategies?: Strategy.Registered
  readonly trust?: Trust.Trust["Service"]
}

/** A place where nodes meet; each `node` is a new agent that lives as long as the scope. */
export const makeMesh = () => {
  const hub = TransportMemory.makeHub()
  const board = DiscoveryMemory.makeBoard()
  return {
    board,
    hub,
    node: (name: string, options: MeshOptions = {}): Effect.Effect<Node.Node["Service"], never, Scope.Scope> =>
      Layer.build(
        Layer.fresh(
          Node.layer({ name }).pipe(
            Layer.provide([
              TransportMemory.layerHub(hub),
              DiscoveryMemory.layer(board),
              Matcher.layer,
              Strategy.layer(options.strategies ?? {}),
              Guardrails.layer(options.guardrails ?? {}),
              Layer.succeed(Trust.Trust, options.trust ?? Trust.make())
            ]),
            Layer.provide(Identity.layerEphemeral)
          )
        )
      ).pipe(
        Effect.map((context) => Node.Node.use((node) => Effect.succeed(node)).pipe(Effect.provide(context))),
        Effect.flatten,
        Effect.orDie
      )
  }
}
