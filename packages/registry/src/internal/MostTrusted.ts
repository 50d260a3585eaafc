/**
 * Who is trusted most, and how far everybody else at most: so that a discovery with many candidates looks at few of them.
 *
 * All who were ever reported on are walked, a few with each discovery. What was found holds until weights are settled anew or evidence
 * has faded by a step; whoever is reported on meanwhile is looked at again at the next discovery.
 */
import type { NodeId } from "@parley/core/NodeId"
import { stepOf } from "./Decay.ts"

/** How many of the most trusted are told apart from the others: each discovery with many candidates looks at all of these. */
export const MOST = 256
/** Agents walked with one discovery: some 50 µs. */
const SLICE = 64

/** What is asked of the rest of the registry. */
export interface Source {
  /** Everybody whose score may differ from that of one of whom nothing is known. */
  readonly tried: () => Iterable<string>
  /** An agent's node, and the most that it scores in any of its capabilities; `undefined` for one that is not registered. */
  readonly best: (id: string, now: number) => { readonly node: NodeId; readonly score: number } | undefined
  /** Score of one of whom nothing is known. */
  readonly initial: number
  /** Changes when weights do. */
  readonly settled: () => number
}

/** The most trusted, and bounds of trust. */
export interface Bounds {
  /** Those who may have more than `others`. */
  readonly nodes: ReadonlySet<NodeId>
  /** Most that anybody has. */
  readonly anybody: number
  /** Most that anybody has who is not among `nodes`. */
  readonly others: number
}

interface Walk {
  readonly ids: ReadonlyArray<string>
  at: number
  readonly found: Array<{ readonly node: NodeId; readonly score: number }>
}

/** Keeps bounds of trust. */
export class MostTrusted {
  readonly #source: Source
  readonly #changed = new Set<string>()
  #settled = -1
  #step = -1
  #walk: Walk | undefined
  #nodes = new Set<NodeId>()
  #anybody = 0
  #others = 0

  constructor(source: Source) {
    this.#source = source
  }

  /** An agent was reported on, or is new. */
  changed(id: string): void {
    this.#changed.add(id)
  }

  /** Begins anew. */
  clear(): void {
    this.#settled = -1
  }

  /** What is known of trust now; `undefined` until all have been looked at. */
  bounds(now: number): Bounds | undefined {
    const settled = this.#source.settled()
    const step = stepOf(now)
    if (settled !== this.#settled || step !== this.#step) {
      this.#settled = settled
      this.#step = step
      this.#walk = undefined
      this.#begin()
    }
    if (this.#walk !== undefined && !this.#goOn(this.#walk, now)) return undefined
    if (!this.#takeChanged(now)) return undefined
    return { nodes: this.#nodes, anybody: this.#anybody, others: this.#others }
  }

  #begin(): void {
    this.#walk = { ids: [...this.#source.tried()], at: 0, found: [] }
    this.#changed.clear()
  }

  /** True when everybody was looked at. */
  #goOn(walk: Walk, now: number): boolean {
    const { best, initial } = this.#source
    const end = Math.min(walk.at + SLICE, walk.ids.length)
    for (; walk.at < end; walk.at++) {
      const one = best(walk.ids[walk.at]!, now)
      if (one !== undefined && one.score > initial) walk.found.push(one)
    }
    if (end < walk.ids.length) return false
    walk.found.sort((a, b) => b.score - a.score)
    this.#nodes = new Set(walk.found.slice(0, MOST).map(({ node }) => node))
    this.#anybody = walk.found[0]?.score ?? initial
    this.#others = walk.found[MOST]?.score ?? initial
    this.#walk = undefined
    return true
  }

  /** False where too much has changed: then all are walked anew. */
  #takeChanged(now: number): boolean {
    let looked = 0
    for (const id of this.#changed) {
      if (looked++ === SLICE) return false
      this.#changed.delete(id)
      const one = this.#source.best(id, now)
      if (one === undefined) continue
      if (one.score > this.#anybody) this.#anybody = one.score
      if (one.score > this.#others) this.#nodes.add(one.node)
    }
    if (this.#nodes.size <= 2 * MOST) return true
    this.#begin()
    return false
  }
}
