/**
 * RegistryTrust: a registry's view of agents as one more source of a node's trust.
 *
 * What the registry signed about an agent moves where the node's trust in it begins: from 0.5 to `0.5 + weight × (stated − 0.5)`.
 * Each experience of its own then leaves nine tenths of that, as of any beginning: after twenty, an eighth. The node's own figures
 * are learned and kept as ever; without the registry, or the layer, they are what they were.
 *
 * Statements of agents that searches find are asked for in the background. One counts by its signature, and as far as the registry
 * is believed: `weight` says how far.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { Discovery, type Membership } from "@parley/core/Discovery"
import type { NodeId } from "@parley/core/NodeId"
import { INITIAL, MAX_ENTRIES, RATE, Trust } from "@parley/core/Trust"
import { Client } from "./Client.ts"
import * as Statement from "./Statement.ts"

/** How far a registry is believed where nothing is said: half. */
export const DEFAULT_WEIGHT = 0.5
/** Agents whose standings are remembered; the one longest not asked for goes first. About 1 KB each. */
export const MAX_AGENTS = 4_096
/** Agents that wait to be asked about; the oldest are passed over. */
export const MAX_WAITING = 256
/** How long a standing is not asked for again, in milliseconds. */
export const FRESH_MS = 600_000

/** What a registry said of agents. */
export class RegistryView extends Context.Service<
  RegistryView,
  {
    /** Asks about an agent soon, unless that was done lately. */
    readonly notice: (node: NodeId) => void
    /** What was said, 0 to 1: in the capability, else overall. */
    readonly stated: (node: NodeId, capability: string) => number | undefined
    /** Of whom something was said. */
    readonly nodes: () => Iterable<NodeId>
  }
>()("@parley/registry/RegistryTrust/RegistryView") {}

/** A registry's statement, taken apart for look-ups. */
interface View {
  readonly askedAt: number
  readonly scores: ReadonlyMap<string, number> | undefined
}

const OVERALL = ""

/** Options of the view. */
export interface Options {
  /** The registry that is believed: whose key signs its statements. Default: that of the first statement. */
  readonly registry?: NodeId
}

const make = Effect.fn("RegistryTrust.make")(function* (options: Options) {
  const client = yield* Client
  const clock = yield* Clock.Clock
  const views = new Map<NodeId, View>()
  const waiting = yield* Queue.sliding<NodeId>(MAX_WAITING)
  let signer = options.registry

  const keep = (node: NodeId, scores: View["scores"]): void => {
    const known = views.get(node)
    views.delete(node)
    if (views.size >= MAX_AGENTS) for (const oldest of views.keys()) if (views.delete(oldest)) break
    views.set(node, { askedAt: clock.currentTimeMillisUnsafe(), scores: scores ?? known?.scores })
  }
  const ask = Effect.gen(function* () {
    const node = yield* Queue.take(waiting)
    const answer = yield* Effect.result(
      client.use("get a statement", (api) => api.agents.statement({ params: { id: node } }))
    )
    if (answer._tag === "Failure") return yield* Effect.logDebug(answer.failure.message)
    const now = clock.currentTimeMillisUnsafe()
    const verified = Statement.verify(answer.success, {
      agent: node,
      now,
      ...(signer === undefined ? {} : { registry: signer })
    })
    if (verified instanceof Statement.StatementRefused) return yield* Effect.logWarning(verified.message)
    signer ??= verified.registry
    // Where no report counts, nothing is known.
    const known = verified.standings.filter(({ reports }) => reports > 0)
    keep(node, new Map(known.map(({ capability, score }) => [capability ?? OVERALL, score])))
  })
  yield* Effect.forkScoped(Effect.forever(ask))

  return RegistryView.of({
    notice: (node) => {
      const known = views.get(node)
      if (known !== undefined && clock.currentTimeMillisUnsafe() - known.askedAt < FRESH_MS) return
      keep(node, undefined)
      Queue.offerUnsafe(waiting, node)
    },
    stated: (node, capability) => {
      const scores = views.get(node)?.scores
      return scores?.get(capability) ?? scores?.get(OVERALL)
    },
    nodes: () => views.keys()
  })
})

/** What the registry of the client in context says of agents. */
export const layerView = (options: Options = {}): Layer.Layer<RegistryView, never, Client> =>
  Layer.effect(RegistryView, make(options))

/** A discovery whose finds the view takes notice of. */
export const layerDiscovery: Layer.Layer<Discovery, never, Discovery | RegistryView> = Layer.effect(
  Discovery,
  Effect.gen(function* () {
    const discovery = yield* Discovery
    const view = yield* RegistryView
    const noticing = (membership: Membership): Membership => ({
      ...membership,
      find: (query, report) =>
        Stream.tap(membership.find(query, report), ({ node }) =>
          Effect.sync(() => void (node === undefined || view.notice(node)))
        )
    })
    return Discovery.of({ name: discovery.name, join: (host) => Effect.map(discovery.join(host), noticing) })
  })
)

const unit = (value: number): number => Math.min(1, Math.max(0, value))

/** A node's trust that begins where the view says, as far as `weight` (0 to 1) goes. */
export const wrap = (
  trust: Trust["Service"],
  view: Pick<RegistryView["Service"], "stated" | "nodes">,
  weight = DEFAULT_WEIGHT
): Trust["Service"] => {
  /** How much is left of the beginning, by peer and capability; what is not here has all of it. */
  const left = new Map<NodeId, Map<string, number>>()
  const note = (node: NodeId, capability: string, factor: number): void => {
    const ofNode = left.get(node)
    if (ofNode === undefined) {
      if (left.size >= MAX_ENTRIES) for (const oldest of left.keys()) if (left.delete(oldest)) break
      left.set(node, new Map([[capability, factor]]))
    } else ofNode.set(capability, (ofNode.get(capability) ?? 1) * factor)
  }
  for (const { capability, node, samples } of trust.entries()) note(node, capability, (1 - RATE) ** samples)
  const offset = (node: NodeId, capability: string): number => {
    const stated = view.stated(node, capability)
    return stated === undefined ? 0 : weight * (stated - INITIAL) * (left.get(node)?.get(capability) ?? 1)
  }
  function* tried(): Generator<NodeId> {
    yield* trust.get.tried?.() ?? []
    yield* view.nodes()
  }
  return Trust.of({
    get: Object.assign(
      (node: NodeId, capability: string) => unit(trust.get(node, capability) + offset(node, capability)),
      // Without these, every node is looked at anyway.
      trust.get.tried === undefined || trust.get.rest === undefined ? {} : { tried, rest: trust.get.rest }
    ),
    learn: (node, capability, quality, why) => {
      const before = offset(node, capability)
      const move = trust.learn(node, capability, quality, why)
      note(node, capability, 1 - RATE)
      return { ...move, before: unit(move.before + before), after: unit(move.after + offset(node, capability)) }
    },
    entries: () =>
      trust.entries().map((entry) => ({ ...entry, value: unit(entry.value + offset(entry.node, entry.capability)) }))
  })
}

/** Puts trust that begins where the registry says in place of the trust below it. */
export const layerTrust = (weight = DEFAULT_WEIGHT): Layer.Layer<Trust, never, Trust | RegistryView> =>
  Layer.effect(
    Trust,
    Effect.gen(function* () {
      return wrap(yield* Trust, yield* RegistryView, weight)
    })
  )
