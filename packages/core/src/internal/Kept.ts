/**
 * What passed the filters of a query, kept until the index changes: whoever asks the same again and again, as a caller of one
 * capability does, has only trust, load and time looked at again.
 *
 * It is kept by the query object itself, and only where nobody can change that: where it is frozen through and through.
 */
import type { Query } from "../Query.ts"
import type { CapabilityIndex } from "./CapabilityIndex.ts"
import type { Named } from "./Named.ts"
import type { Passed } from "./Ranking.ts"

/** Most offers kept of one query: with more of them, a match looks at all of them again. An ask looks at 500. */
export const MAX_KEPT = 512
/** Most offers kept of all queries together: about 2 MiB, and the records behind them. */
export const MAX_KEPT_IN_ALL = 16_384

/** What passed a query's filters, and how each is told. */
export interface Kept {
  /** Only what is offered under this name can change it; anything can where there is none. */
  readonly named: Named | undefined
  readonly revision: number
  /** Those that score best with equal trust and availability come first. */
  readonly passed: ReadonlyArray<Passed>
  readonly why: (passed: Passed) => string
}

/** Nothing behind this object can change. */
const isFixed = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null) return true
  if (!Object.isFrozen(value)) return false
  for (const part of Object.values(value)) if (!isFixed(part)) return false
  return true
}

/** What is kept of the queries of one index. */
export class Keeper {
  #kept = new WeakMap<Query, Kept>()
  #offers = 0

  /** What was kept of a query, unless the index has changed since. */
  get(index: CapabilityIndex, query: Query): Kept | undefined {
    const kept = this.#kept.get(query)
    if (kept === undefined) return undefined
    return kept.revision === (kept.named === undefined ? index.revision : kept.named.revision) ? kept : undefined
  }

  /** Whether what passes a query's filters may be kept. */
  takes(query: Query): boolean {
    return Object.isFrozen(query) && isFixed(query)
  }

  set(query: Query, kept: Kept): void {
    this.#offers += kept.passed.length
    if (this.#offers > MAX_KEPT_IN_ALL) {
      this.#kept = new WeakMap()
      this.#offers = kept.passed.length
    }
    this.#kept.set(query, kept)
  }
}
