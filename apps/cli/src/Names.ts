/**
 * Agents as people read of them: the name of the record and the NodeId's beginning, in place of 48 characters.
 *
 * A name is what an agent calls itself, and no proof of anything; so the NodeId's beginning always stands beside it.
 */
import type { Matcher } from "@parley/core/Matcher"
import type { NodeId } from "@parley/core/NodeId"
import * as Output from "./Output.ts"

/** Tells a node's name; undefined where it is not known. */
export type NameOf = (node: NodeId) => string | undefined

/** Names by the records that a matcher knows. */
export const known =
  (matcher: Matcher["Service"]): NameOf =>
  (node) =>
    matcher.get(node)?.name

// Not within an address, which must stay whole to be of use.
const nodeIds = /(?<![/\w])z6Mk[1-9A-HJ-NP-Za-km-z]{44}(?!\w)/g

/** `carol (z6MkwX…)`, or `z6MkwX…` where there is no name. */
export const of = (node: NodeId, nameOf: NameOf): string => {
  const name = nameOf(node)
  return name === undefined || name === "" || node.endsWith(name)
    ? Output.short(node)
    : `${name} (${Output.short(node)})`
}

/** A message with its NodeIds as people read them. */
export const put = (text: string, nameOf: NameOf): string =>
  text.replaceAll(nodeIds, (node) => of(node as NodeId, nameOf))
