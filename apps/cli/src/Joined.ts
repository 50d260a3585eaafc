/**
 * A node for the time of one command.
 */
import * as Effect from "effect/Effect"
import * as Layers from "@parley/agent/Layers"
import * as Node from "@parley/core/Node"
import type { UsageError } from "./Failure.ts"
import type * as Flags from "./Flags.ts"
import * as Settings from "./Settings.ts"

/** Joins as one who asks, does the work, and leaves. */
export const asker = <A, E>(
  options: Flags.Joining & Pick<Layers.Options, "onFound">,
  work: (node: Node.Node["Service"]) => Effect.Effect<A, E, Layers.Services>
): Effect.Effect<A, E | Layers.StartError | UsageError> =>
  Effect.flatMap(Settings.asker(options), (settings) =>
    Effect.flatMap(Node.Node, work).pipe(
      Effect.provide(
        Layers.layer({ ...settings, ...(options.onFound === undefined ? {} : { onFound: options.onFound }) })
      )
    )
  )
