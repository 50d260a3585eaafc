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

/** Who was found, and what was tried to find them. */
export interface Search {
  readonly found: ReadonlyArray<Found>
  readonly tried: ReadonlyArray<NodeError.Tried>
}

/** Everyone who serves something or is connected to, after a search for anything. */
export const find = (node: Node.Node["Service"]): Effect.Effect<Search, NodeError.NodeError> =>
  Effect.gen(function* () {
    const tried: Array<NodeError.Tried> = []
    const matches = yield* Effect.catchIf(
      node.discover({ limit: 1_000 }, { onTried: (step) => tried.push(step) }),
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
    const byName = (a: Found, b: Found) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.node < b.node ? -1 : 1)
    return { found: [...found.values()].sort(byName), tried }
  })

/** The agents for a program. */
export const json = ({ found }: Search) => found.map((each) => ({ ...each, connected: each.connected ?? null }))

/** The agents as a table; where there are none, what was tried. */
export const table = ({ found, tried }: Search): string =>
  found.length === 0
    ? `no agent was found\n  tried: ${tried.map(({ detail, step }) => `${step} (${detail})`).join(", ")}`
    : Output.table(
        [
          ["AGENT", "NODE", "CAPABILITIES", "CONNECTED", "ADDRESS"],
          ...found.map(({ addresses, capabilities, connected, name, node }) => [
            name || "-",
            node,
            capabilities.join(", ") || "-",
            connected ?? "no",
            addresses[0] ?? "-"
          ])
        ],
        2
      )

export const run = Effect.fnUntraced(function* (options: Flags.Peers & Flags.Common) {
  const search = yield* Joined.asker(options, find)
  yield* Output.result(options, json(search), table(search))
})
