/** `parley peers`: the agents that can be found. */
import * as Effect from "effect/Effect"
import type { Match } from "@parley/core/Matcher"
import type * as Node from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import type * as NodeError from "@parley/core/NodeError"
import type * as Flags from "../Flags.ts"
import * as Joined from "../Joined.ts"
import * as Output from "../Output.ts"

/** One agent that was found. */
export interface Found {
  readonly node: NodeId
  readonly name: string
  readonly addresses: ReadonlyArray<string>
  readonly capabilities: ReadonlyArray<string>
  /** `direct` or `relayed` where there is a connection. */
  readonly connected: "direct" | "relayed" | undefined
}

/** Everyone who serves something or is connected to, after a search for anything. */
export const find = (node: Node.Node["Service"]): Effect.Effect<ReadonlyArray<Found>, NodeError.NodeError> =>
  Effect.gen(function* () {
    const matches = yield* Effect.catchIf(
      node.discover({ limit: 1_000 }),
      (error) => error.reason._tag === "NoPeer",
      () => Effect.succeed<ReadonlyArray<Match>>([])
    )
    const found = new Map<NodeId, Found>()
    for (const { record } of matches) {
      const capabilities = record.capabilities.map(({ name, version }) => `${name}@${version}`)
      found.set(record.node, { ...record, capabilities, connected: undefined })
    }
    for (const peer of yield* node.peers) {
      const known = found.get(peer.node)
      found.set(peer.node, {
        node: peer.node,
        name: known?.name ?? peer.name ?? "",
        addresses: known?.addresses ?? [peer.address],
        capabilities: known?.capabilities ?? peer.capabilities,
        connected: peer.relayed ? "relayed" : "direct"
      })
    }
    found.delete(node.nodeId)
    return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.node < b.node ? -1 : 1))
  })

/** The agents as a table. */
export const table = (found: ReadonlyArray<Found>): string =>
  Output.table([
    ["AGENT", "NODE", "CAPABILITIES", "CONNECTED", "ADDRESS"],
    ...found.map(({ addresses, capabilities, connected, name, node }) => [
      name || "-",
      node,
      capabilities.join(", ") || "-",
      connected ?? "no",
      addresses[0] ?? "-"
    ])
  ])

export const run = Effect.fnUntraced(function* (options: Flags.Peers & Flags.Common) {
  const found = yield* Joined.asker(options, find)
  const json = found.map(({ connected, ...rest }) => ({ ...rest, connected: connected ?? null }))
  yield* Output.result(options, json, found.length === 0 ? "no agent was found" : table(found))
})
