/**
 * A query with another limit: of a frozen query the same frozen object each time, so that what is kept of it is found again.
 */
import type { Query } from "../Query.ts"

/** Most limits of one query: callers have two or three. */
const MAX_LIMITS = 4

const limits = new WeakMap<Query, Map<number, Query>>()

/** The query with this limit in place of its own. */
export const limited = (query: Query, limit: number): Query => {
  if (query.limit === limit) return query
  if (!Object.isFrozen(query)) return { ...query, limit }
  let known = limits.get(query)
  if (known === undefined) limits.set(query, (known = new Map()))
  let found = known.get(limit)
  if (found === undefined) {
    if (known.size === MAX_LIMITS) known.clear()
    known.set(limit, (found = Object.freeze({ ...query, limit })))
  }
  return found
}
