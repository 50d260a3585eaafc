/**
 * Trust: what this node has learned of its peers, one figure per peer and capability.
 *
 * Each experience moves the figure by `old + 0.1 × (quality − old)`. It starts at 0.5, and stays within 0 and 1. Only what
 * this node has asked for itself counts: nobody can raise or lower it by talking.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { TrustOf } from "./Matcher.ts"
import type { NodeId } from "./NodeId.ts"

/** What is believed of a peer nobody has tried. */
export const INITIAL = 0.5
/** How far one experience moves the figure towards its quality. */
export const RATE = 0.1
/** Most peer-and-capability pairs remembered; the one longest unused goes first. About 100 bytes each. */
export const MAX_ENTRIES = 100_000

/** What is known of one peer's capability. */
export interface Entry {
  readonly node: NodeId
  /** The capability's name, without version: a new version inherits what the old one earned. */
  readonly capability: string
  /** 0 to 1. */
  readonly value: number
  /** How many experiences it rests on. */
  readonly samples: number
  /** What moved it last: `answered in 12 ms`, `dissented`, `unreachable`. */
  readonly why: string
}

/** How an experience moved trust. */
export interface Move {
  readonly node: NodeId
  readonly capability: string
  readonly before: number
  readonly after: number
  readonly why: string
}

/** What this node has learned of its peers. */
export class Trust extends Context.Service<
  Trust,
  {
    /** 0 to 1; `INITIAL` for one never tried. */
    readonly get: TrustOf
    /** Takes an experience in: its quality, 0 (failed) to 1 (as good as can be), and why. */
    readonly learn: (node: NodeId, capability: string, quality: number, why: string) => Move
    /** All that is known. */
    readonly entries: () => ReadonlyArray<Entry>
  }
>()("@parley/core/Trust") {}

/** An entry as it is kept. */
interface Known {
  readonly node: NodeId
  readonly capability: string
  value: number
  samples: number
  why: string
}

/** Trust held in memory, beginning with what was known before. */
export const make = (known: ReadonlyArray<Entry> = []): Trust["Service"] => {
  const entries = new Map<string, Known>()
  // The one learned of last stands at the end already, and most often it is learned of again.
  let newest: Known | undefined
  const keyOf = (node: NodeId, capability: string) => `${node} ${capability}`
  const find = (node: NodeId, capability: string): Known | undefined =>
    newest !== undefined && newest.node === node && newest.capability === capability
      ? newest
      : entries.get(keyOf(node, capability))
  for (const entry of known.slice(-MAX_ENTRIES)) entries.set(keyOf(entry.node, entry.capability), { ...entry })
  return Trust.of({
    get: Object.assign((node: NodeId, capability: string) => find(node, capability)?.value ?? INITIAL, {
      tried: function* () {
        for (const { node } of entries.values()) yield node
      },
      rest: INITIAL
    }),
    learn: (node, capability, quality, why) => {
      const old = find(node, capability)
      const before = old?.value ?? INITIAL
      const bounded = quality >= 0 ? Math.min(quality, 1) : 0
      const after = before + RATE * (bounded - before)
      if (old !== undefined && old === newest) {
        old.value = after
        old.samples += 1
        old.why = why
      } else {
        const key = keyOf(node, capability)
        newest = { node, capability, value: after, samples: (old?.samples ?? 0) + 1, why }
        entries.delete(key)
        entries.set(key, newest)
        if (entries.size > MAX_ENTRIES) {
          const oldest = entries.keys().next()
          if (oldest.done !== true) entries.delete(oldest.value)
        }
      }
      return { node, capability, before, after, why }
    },
    entries: () => Array.from(entries.values(), (entry) => ({ ...entry }))
  })
}

/** Trust that begins empty and ends with the process. */
export const layer: Layer.Layer<Trust> = Layer.sync(Trust, () => make())

/** Trust that begins with what `load` gives and hands what it learned to `save` when the layer's scope closes. */
export const layerKept = <E, R>(store: {
  readonly load: Effect.Effect<ReadonlyArray<Entry>, E, R>
  readonly save: (entries: ReadonlyArray<Entry>) => Effect.Effect<void>
}): Layer.Layer<Trust, E, R> =>
  Layer.effect(
    Trust,
    Effect.gen(function* () {
      const trust = make(yield* store.load)
      yield* Effect.addFinalizer(() => store.save(trust.entries()))
      return trust
    })
  )
