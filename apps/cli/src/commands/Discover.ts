/** `parley discover`: who can do something, best first, and why. */
import * as Effect from "effect/Effect"
import * as Wanted from "@parley/agent/Wanted"
import type { Found } from "@parley/core/Discovery"
import type { Match } from "@parley/core/Matcher"
import type * as Node from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import type { Tried } from "@parley/core/NodeError"
import { describe } from "@parley/core/Query"
import { schemeOf } from "@parley/core/Transport"
import * as Trust from "@parley/core/Trust"
import * as Choosing from "../Choosing.ts"
import { ExitCode, Unsuccessful } from "../Failure.ts"
import type * as Flags from "../Flags.ts"
import * as Joined from "../Joined.ts"
import * as Output from "../Output.ts"
import * as Settings from "../Settings.ts"

/** Which discoveries told of a node. */
type Sources = Map<NodeId, Set<string>>

const shortSource = (source: string): string => source.split(" ")[0] ?? source

/** Who told of the agent (the mesh, where no discovery did), and whether it is reached through a relay. */
const via = (node: Node.Node["Service"], match: Match, sources: Sources): string => {
  const connection = node.connections.get(match.node)
  const relayed = connection?.relayed ?? match.record.addresses.every((address) => schemeOf(address) === "relay")
  const told = [...new Set([...(sources.get(match.node) ?? [])].map(shortSource))].sort()
  return [...(told.length === 0 ? ["mesh"] : told), ...(relayed ? ["relayed"] : [])].join(", ")
}

const cost = ({ capability }: Match): string => {
  const price = capability.cost?.usdPerCall ?? 0
  return price === 0 ? "free" : `$${price}`
}

const why = ({ parts }: Match): string =>
  [parts.semantic.why, parts.trust.why, parts.availability.why].filter((part) => part !== "").join(", ")

const show = (
  node: Node.Node["Service"],
  trust: Trust.Trust["Service"],
  matches: ReadonlyArray<Match>,
  sources: Sources
) =>
  matches.map((match) => ({
    node: match.node,
    name: match.record.name,
    capability: `${match.capability.name}@${match.capability.version}`,
    description: match.capability.description ?? "",
    score: match.score,
    parts: match.parts,
    why: why(match),
    trust: trust.get(match.node, match.capability.name),
    cost: cost(match),
    via: via(node, match, sources),
    addresses: match.record.addresses
  }))

export const run = Effect.fnUntraced(function* (options: Flags.Discover & Flags.Common) {
  const wanted = Wanted.parse(options.wanted.join(" "))
  const query = yield* Choosing.query(options, {
    ...wanted,
    ...(options.limit === undefined ? {} : { limit: options.limit })
  })
  const within = yield* Settings.time("within", options.within)
  const tried: Array<Tried> = []
  const sources: Sources = new Map()
  const onFound = ({ node, source }: Found) => {
    if (node !== undefined) sources.set(node, (sources.get(node) ?? new Set()).add(source))
  }
  const shown = yield* Joined.asker({ ...options, onFound }, (node) =>
    Effect.gen(function* () {
      const matches = yield* node.discover(query, {
        ...(within === undefined ? {} : { within }),
        onTried: (step) => tried.push(step)
      })
      return show(node, yield* Trust.Trust, matches, sources)
    })
  )
  if (shown.length === 0) {
    const steps = tried.map(({ detail, step }) => `${step} (${detail})`).join(", ")
    const isWords = query.text !== undefined && Object.keys(query).every((key) => key === "text" || key === "limit")
    const isAll = Object.keys(query).every((key) => key === "limit")
    const nothing = isAll
      ? "nobody serves anything"
      : `nothing matches ${isWords ? JSON.stringify(query.text) : describe(query)}`
    const text = `${nothing}\n  tried: ${steps || "known records"}`
    if (options.json) yield* Output.print("[]")
    else yield* Output.error(text)
    return yield* new Unsuccessful({ exitCode: ExitCode.NoPeer })
  }
  const rows = shown.map((match) => [
    match.name || Output.short(match.node),
    match.capability,
    match.score.toFixed(2),
    match.why,
    match.trust.toFixed(2),
    match.cost,
    match.via
  ])
  yield* Output.result(
    options,
    shown,
    Output.table([["AGENT", "CAPABILITY", "SCORE", "WHY", "TRUST", "COST", "VIA"], ...rows], 3)
  )
})
