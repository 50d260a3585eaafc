/**
 * Kept: how many bytes a store keeps of what is not state, and which of it goes first.
 *
 * What is written and what is taken away is counted in the row of the log's lock, in the same transaction: the sums are right after a
 * crash, and nobody has to look at all rows. Of events and traces the oldest goes; of verdicts, the oldest of whoever has most
 * bytes of them. What is to be done stands here once, as steps that yield statements and are given their rows.
 */
import { Buffer } from "node:buffer"
import type { Bytes } from "../Store.ts"
import type { Query } from "./Queries.ts"
import type { Row } from "./Rows.ts"

/** Rows that one transaction of retention takes out at most, so that commits come in between. */
export const TRIM_SLICE = 2_000
/** Bytes of them, beyond the first row: large rows take time by their bytes. */
export const TRIM_BYTES = 16 * 1_048_576
/** Verdicts of them: each goes by itself, by several statements. */
export const TRIM_VERDICTS = 200
/** Events dated further in the future than this, in milliseconds, do not hold up retention: some clock was wrong. */
export const MAX_SKEW_MS = 86_400_000
/** What a commit that does not fit takes away beyond what it needs, as a share of the budget: not every commit has to, then. */
const SPARE = 1 / 64

/** Where something goes by age. */
type Aging = "events" | "traces"
const tables = ["events", "traces", "verdicts"] as const

/** Statements one after another, each given its rows. */
export type Steps<A> = Generator<Query, A, ReadonlyArray<Row>>

const step = (sql: string, ...parameters: Query["parameters"]): Query => ({ sql, parameters })

/** What a row takes with its entries in indexes. `SIZE` says the same in SQL, of the row as it stands. */
export const sizeOf = {
  event: (fact: string): number => Buffer.byteLength(fact) + 128,
  trace: (trace: string, ...keys: ReadonlyArray<string>): number =>
    Buffer.byteLength(trace) + 2 * keys.reduce((sum, each) => sum + Buffer.byteLength(each), 0) + 256,
  verdict: (verdict: string, task: string, publisher: string): number =>
    Buffer.byteLength(verdict) + 2 * (Buffer.byteLength(task) + Buffer.byteLength(publisher)) + 256
}
const SIZE: { readonly [K in keyof Bytes]: string } = {
  events: "octet_length(fact) + 128",
  traces: "octet_length(trace) + 2 * (octet_length(task) + octet_length(sender) + octet_length(receiver)) + 256",
  verdicts: "octet_length(verdict) + 2 * (octet_length(task) + octet_length(publisher)) + 256"
}

/** The log's row: where the log stands, and how many bytes there are. */
export interface Head extends Bytes {
  readonly cursor: number
  /** The highest cursor that retention took. */
  readonly trimmed: number
}
export const HEAD = "SELECT cursor, trimmed, events, traces, verdicts FROM parley_log"
export const headOf = (row: Row | undefined): Head => ({
  cursor: Number(row?.["cursor"]),
  trimmed: Number(row?.["trimmed"]),
  events: Number(row?.["events"]),
  traces: Number(row?.["traces"]),
  verdicts: Number(row?.["verdicts"])
})

export const bytesOf = ({ events, traces, verdicts }: Bytes): Bytes => ({ events, traces, verdicts })

/** After rows were written: where the log stands now, and how many bytes they added. */
export const written = (cursor: number, bytes: Bytes): Query =>
  step(
    "UPDATE parley_log SET cursor = ?, events = events + ?, traces = traces + ?, verdicts = verdicts + ?",
    cursor,
    bytes.events,
    bytes.traces,
    bytes.verdicts
  )

/** Takes away the oldest rows while they are past, or fewer than `wanted` bytes were taken; a slice at most. */
function* takeOldest(table: Aging, wanted: number, isPast: (at: number) => boolean): Steps<number> {
  const rows = yield step(
    `SELECT cursor, at, ${SIZE[table]} AS size FROM parley_${table} ORDER BY cursor LIMIT ?`,
    TRIM_SLICE
  )
  let bytes = 0
  let to = 0
  for (const row of rows) {
    if (bytes >= TRIM_BYTES || (bytes >= wanted && !isPast(Number(row["at"])))) break
    bytes += Number(row["size"])
    to = Number(row["cursor"])
  }
  if (bytes === 0) return 0
  yield step(`DELETE FROM parley_${table} WHERE cursor <= ?`, to)
  yield table === "events"
    ? step("UPDATE parley_log SET events = events - ?, trimmed = ?", bytes, to)
    : step("UPDATE parley_log SET traces = traces - ?", bytes)
  return bytes
}

/** Takes away the oldest verdict of whoever has most bytes of them: a flood of one goes before what others have published. */
function* takeVerdict(): Steps<number> {
  const [most] = yield step("SELECT publisher FROM parley_publishers ORDER BY bytes DESC, publisher DESC LIMIT 1")
  if (most === undefined) return 0
  const publisher = String(most["publisher"])
  const [oldest] = yield step(
    `SELECT cursor, ${SIZE.verdicts} AS size FROM parley_verdicts WHERE publisher = ? ORDER BY cursor LIMIT 1`,
    publisher
  )
  const bytes = Number(oldest?.["size"])
  yield step("DELETE FROM parley_verdicts WHERE cursor = ?", Number(oldest?.["cursor"]))
  yield step("UPDATE parley_publishers SET bytes = bytes - ? WHERE publisher = ?", bytes, publisher)
  yield step("DELETE FROM parley_publishers WHERE bytes <= 0")
  yield step("UPDATE parley_log SET verdicts = verdicts - ?", bytes)
  return bytes
}

const never = (): boolean => false

/**
 * Before rows are written: takes away what does not fit beside them, or as much as they are where there was too much before. Where
 * they are more than the budget by themselves, they are all that is kept.
 */
export function* makeRoom(budget: Bytes, held: Bytes, more: Bytes): Steps<void> {
  for (const table of tables) {
    const over = held[table] + more[table] - budget[table]
    for (let taken = 0; taken < over && taken < more[table];) {
      const bytes: number =
        table === "verdicts"
          ? yield* takeVerdict()
          : yield* takeOldest(table, over - taken + Math.floor(budget[table] * SPARE), never)
      if (bytes === 0) break
      taken += bytes
    }
  }
}

/** One transaction of retention: of events or traces what is older than `since`, of anything what is beyond the budget. True: go on. */
export function* trim(table: keyof Bytes, held: Bytes, budget: Bytes, since: number, now: number): Steps<boolean> {
  const over = held[table] - budget[table]
  if (table !== "verdicts") {
    // What is dated in a far future goes with its neighbours.
    const isPast = (at: number): boolean => at < since || at > now + MAX_SKEW_MS
    return (yield* takeOldest(table, over, isPast)) > 0
  }
  let taken = 0
  for (let rows = 0; taken < Math.min(over, TRIM_BYTES) && rows < TRIM_VERDICTS; rows++) {
    const bytes = yield* takeVerdict()
    if (bytes === 0) break
    taken += bytes
  }
  return taken > 0
}
