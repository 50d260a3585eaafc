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
/** Most peer-and-capability pairs remembered; the one longest unused goes first. About 200 bytes each. */
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

/** An entry as it is kept: in a ring, from the one longest unused to the one learned of last. */
interface Known {
  readonly node: NodeId
  readonly capability: string
  value: number
  samples: number
  why: string
  older: Known
  newer: Known
}

/** Trust held in memory, beginning with what was known before. */
export const make = (known: ReadonlyArray<Entry> = []): Trust["Service"] => {
  // Looked up for each match of each call: neither key is put together for it.
  const byNode = new Map<NodeId, Map<string, Known>>()
  let size = 0
  let newest: Known | undefined
  const find = (node: NodeId, capability: string): Known | undefined => byNode.get(node)?.get(capability)

  const join = (entry: Known): void => {
    if (newest !== undefined) {
      entry.older = newest
      entry.newer = newest.newer
      entry.newer.older = entry
      newest.newer = entry
    }
    newest = entry
  }
  const leave = (entry: Known): void => {
    entry.older.newer = entry.newer
    entry.newer.older = entry.older
    if (newest === entry) newest = entry.older === entry ? undefined : entry.older
    entry.older = entry.newer = entry
  }
  const add = (entry: Entry): void => {
    const one = { ...entry } as Known
    one.older = one.newer = one
    const ofNode = byNode.get(one.node)
    if (ofNode === undefined) byNode.set(one.node, new Map([[one.capability, one]]))
    else ofNode.set(one.capability, one)
    join(one)
    size += 1
  }
  const forget = (entry: Known): void => {
    leave(entry)
    const ofNode = byNode.get(entry.node)
    if (ofNode?.delete(entry.capability) === true && ofNode.size === 0) byNode.delete(entry.node)
    size -= 1
  }

  for (const entry of known) {
    const twice = find(entry.node, entry.capability)
    if (twice !== undefined) forget(twice)
    add(entry)
    if (size > MAX_ENTRIES && newest !== undefined) forget((newest as Known).newer)
  }
  return Trust.of({
    get: Object.assign((node: NodeId, capability: string) => find(node, capability)?.value ?? INITIAL, {
      tried: () => byNode.keys(),
      rest: INITIAL
    }),
    learn: (node, capability, quality, why) => {
      const old = find(node, capability)
      const before = old?.value ?? INITIAL
      const bounded = quality >= 0 ? Math.min(quality, 1) : 0
      const after = before + RATE * (bounded - before)
      if (old === undefined) {
        add({ node, capability, value: after, samples: 1, why })
        if (size > MAX_ENTRIES && newest !== undefined) forget(newest.newer)
      } else {
        old.value = after
        old.samples += 1
        old.why = why
        if (old !== newest) {
          leave(old)
          join(old)
        }
      }
      return { node, capability, before, after, why }
    },
    entries: () => {
      const all: Array<Entry> = []
      let entry = newest?.newer
      for (let i = 0; i < size && entry !== undefined; i++) {
        const { node, capability, value, samples, why } = entry
        all.push({ node, capability, value, samples, why })
        entry = entry.newer
      }
      return all
    }
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
