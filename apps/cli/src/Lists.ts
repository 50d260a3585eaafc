/**
 * `--allow` and `--deny`: who may call what this node serves. `NODE` is said of everything, `NAME=NODE` of one capability.
 */
import * as Effect from "effect/Effect"
import { type NodeId, parse } from "@parley/core/NodeId"
import { type UsageError, usage } from "./Failure.ts"
import type * as Flags from "./Flags.ts"

interface Entry {
  /** `name` or `name@version`; undefined for all. */
  readonly name: string | undefined
  readonly node: NodeId
}

/** What was said of whom. */
export interface Lists {
  readonly of: (id: string) => {
    readonly allow?: ReadonlyArray<NodeId>
    readonly deny?: ReadonlyArray<NodeId>
  }
  /** The complaint about a list that is about none of what is served. */
  readonly unused: (served: ReadonlyArray<string>) => UsageError | undefined
}

const entries = (flag: string, words: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Entry>, UsageError> =>
  Effect.forEach(words, (word) => {
    const at = word.indexOf("=")
    const node = parse(word.slice(at + 1))
    return node === undefined
      ? Effect.fail(
          usage("BadList", `--${flag} ${JSON.stringify(word)} names no node: write z6Mk…, or csv.describe=z6Mk…`)
        )
      : Effect.succeed({ name: at < 0 ? undefined : word.slice(0, at), node })
  })

const isOf = ({ name }: Entry, id: string): boolean =>
  name === undefined || name === id || name === id.slice(0, id.indexOf("@"))

/** Reads both flags. */
export const read = Effect.fnUntraced(function* (
  options: Pick<Flags.Serve, "allow" | "deny">
): Effect.fn.Return<Lists, UsageError> {
  const allow = yield* entries("allow", options.allow)
  const deny = yield* entries("deny", options.deny)
  return {
    of: (id) => {
      const [allowed, denied] = [allow, deny].map((list) => list.filter((entry) => isOf(entry, id)))
      return {
        ...(allowed === undefined || allowed.length === 0 ? {} : { allow: allowed.map(({ node }) => node) }),
        ...(denied === undefined || denied.length === 0 ? {} : { deny: denied.map(({ node }) => node) })
      }
    },
    unused: (served) => {
      const idle = [...allow, ...deny].find((entry) => !served.some((id) => isOf(entry, id)))
      return idle === undefined
        ? undefined
        : usage("BadList", `--allow or --deny names ${idle.name}, which is not served here: ${served.join(", ")} is`)
    }
  }
})
