/** Queries: what both databases are asked, with `?` for each parameter. Every one walks an index, and ends at its limit. */
import type { EventType } from "../Event.ts"
import type { TraceQuery } from "../Store.ts"
import { key } from "./Keys.ts"
import { MAX_ROWS } from "./Rows.ts"

/** A statement and its parameters. */
export interface Query {
  readonly sql: string
  readonly parameters: ReadonlyArray<string | number>
}

/** A cursor as both databases take it: a whole number from 0 to 2⁵³ − 1. */
export const cursorOf = (value: number): number =>
  Math.min(Math.max(0, Math.floor(Number.isNaN(value) ? 0 : value)), Number.MAX_SAFE_INTEGER)

const limitOf = (limit: number): number => Math.min(cursorOf(limit), MAX_ROWS)

export const eventsAfter = (cursor: number, limit: number, types?: ReadonlyArray<EventType>): Query => {
  const most = limitOf(limit)
  const after = cursorOf(cursor)
  if (types === undefined)
    return {
      sql: "SELECT cursor, at, fact FROM parley_events WHERE cursor > ? ORDER BY cursor LIMIT ?",
      parameters: [after, most]
    }
  // One walk of the index for each type: a rare type is found without reading all others.
  const distinct = [...new Set(types)]
  const parts = distinct.map(
    (_, index) =>
      `SELECT * FROM (SELECT cursor, at, fact FROM parley_events WHERE type = ? AND cursor > ? ORDER BY cursor LIMIT ?) AS t${index}`
  )
  return {
    sql: `SELECT * FROM (${parts.join(" UNION ALL ")}) AS t ORDER BY cursor LIMIT ?`,
    parameters: [...distinct.flatMap((type) => [type, after, most]), most]
  }
}

export const traces = (query: TraceQuery): Query => {
  const most = limitOf(query.limit)
  const conditions: Array<string> = []
  const parameters: Array<string | number> = []
  const must = (condition: string, value: string | number | undefined) => {
    if (value === undefined) return
    conditions.push(condition)
    parameters.push(value)
  }
  must("task = ?", query.task === undefined ? undefined : key(query.task))
  must("type = ?", query.type)
  must("time >= ?", query.since === undefined ? undefined : cursorOf(query.since))
  must("time < ?", query.until === undefined ? undefined : cursorOf(query.until))
  must("cursor < ?", query.before === undefined ? undefined : cursorOf(query.before))
  const select = (more: ReadonlyArray<string>) => {
    const all = [...more, ...conditions]
    return `SELECT cursor, trace FROM parley_traces ${all.length === 0 ? "" : `WHERE ${all.join(" AND ")}`} ORDER BY cursor DESC LIMIT ?`
  }
  if (query.agent === undefined) return { sql: select([]), parameters: [...parameters, most] }
  const agent = key(query.agent)
  // What it sent and what it received, each by its own index; what it sent to itself once.
  return {
    sql: `SELECT * FROM (SELECT * FROM (${select(["sender = ?"])}) AS s UNION ALL SELECT * FROM (${select(["receiver = ?", "sender <> ?"])}) AS r) AS t ORDER BY cursor DESC LIMIT ?`,
    parameters: [agent, ...parameters, most, agent, agent, ...parameters, most, most]
  }
}

/** Newest first; the caller turns it round. */
export const history = (
  agent: string,
  options: { readonly limit: number; readonly capability?: string; readonly before?: number }
): Query => ({
  sql: `SELECT cursor, at, score, ema, report FROM parley_reports WHERE agent = ? ${
    options.capability === undefined ? "" : "AND capability = ? "
  }AND cursor < ? ORDER BY cursor DESC LIMIT ?`,
  parameters: [
    key(agent),
    ...(options.capability === undefined ? [] : [key(options.capability)]),
    cursorOf(options.before ?? Number.MAX_SAFE_INTEGER),
    limitOf(options.limit)
  ]
})

export const verdicts = (options: {
  readonly limit: number
  readonly before?: number
  readonly task?: string
  readonly oldestFirst?: boolean
}): Query => ({
  sql: `SELECT cursor, at, verdict FROM parley_verdicts WHERE ${
    options.task === undefined ? "" : "task = ? AND "
  }cursor < ? ORDER BY cursor ${options.oldestFirst === true ? "ASC" : "DESC"} LIMIT ?`,
  parameters: [
    ...(options.task === undefined ? [] : [key(options.task)]),
    cursorOf(options.before ?? Number.MAX_SAFE_INTEGER),
    limitOf(options.limit)
  ]
})

export const chain = (seq: number, limit: number): Query => ({
  sql: "SELECT seq, hash, at, report FROM parley_reports WHERE seq >= ? ORDER BY seq LIMIT ?",
  parameters: [cursorOf(seq), limitOf(limit)]
})

/** The rows of a snapshot, page by page in the order of their primary keys. */
export const COUNTS_PAGE = "SELECT agent, completed, failed FROM parley_counts WHERE agent > ? ORDER BY agent LIMIT ?"
export const AGENTS_PAGE = "SELECT id, agent FROM parley_agents WHERE id > ? ORDER BY id LIMIT ?"
export const EDGES_PAGE =
  "SELECT agent, capability, reviewer, edge FROM parley_edges WHERE (agent, capability, reviewer) > (?, ?, ?) ORDER BY agent, capability, reviewer LIMIT ?"
/** Rows of a page of a snapshot. */
export const PAGE = 2_000
