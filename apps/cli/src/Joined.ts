/**
 * A node for the time of one command.
 */
import * as Effect from "effect/Effect"
import * as Layers from "@parley/agent/Layers"
import { Matcher } from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import { NodeError, type NodeErrorReason } from "@parley/core/NodeError"
import { Named, type UsageError } from "./Failure.ts"
import type * as Flags from "./Flags.ts"
import * as Names from "./Names.ts"
import * as Settings from "./Settings.ts"

/** What an answer comes as: at once, or in chunks. */
export type Kind = "call" | "stream"

/** Where the closest name is the very one, but served the other way: the command that gets it. */
const hint = (reason: NodeErrorReason, kind: Kind | undefined, matcher: Matcher["Service"]): string => {
  if (reason._tag !== "NoPeer" || kind === undefined) return ""
  const other = reason.closest.find(({ id, node }) => {
    const name = id.slice(0, id.indexOf("@"))
    if (name !== reason.wanted.split("@")[0]) return false
    const served = matcher.get(node)?.capabilities.filter((each) => `${each.name}@${each.version}` === id)
    return served?.some((each) => (each.stream === true) !== (kind === "stream")) === true
  })
  if (other === undefined) return ""
  return kind === "stream"
    ? `\n  ${other.id} answers at once: try parley call`
    : `\n  ${other.id} answers in chunks: try parley stream`
}

/** Joins as one who asks, does the work, and leaves. `work` gets the node, and the names it learns of agents. */
export const asker = <A, E>(
  options: Flags.Joining &
    Flags.Common &
    Pick<Layers.Options, "onFound"> & { readonly kind?: Kind; readonly publish?: boolean },
  work: (node: Node.Node["Service"], nameOf: Names.NameOf) => Effect.Effect<A, E, Layers.Services>
): Effect.Effect<A, E | Named | Layers.StartError | UsageError> =>
  Effect.flatMap(Settings.asker(options), (settings) =>
    Effect.gen(function* () {
      const node = yield* Node.Node
      const matcher = yield* Matcher
      const nameOf = Names.known(matcher)
      return yield* Effect.mapError(work(node, nameOf), (error) =>
        error instanceof NodeError && !options.json
          ? new Named({
              error,
              text: `${Names.put(error.message, nameOf)}${hint(error.reason, options.kind, matcher)}`
            })
          : error
      )
    }).pipe(
      Effect.provide(
        Layers.layer({ ...settings, ...(options.onFound === undefined ? {} : { onFound: options.onFound }) })
      )
    )
  )
