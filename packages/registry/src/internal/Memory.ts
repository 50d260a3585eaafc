/**
 * Session memory in tables: what SQLite and PostgreSQL share, which is all but how a statement is run.
 *
 * A session's row says what it holds; rows of `parley_memory_held` say what each identity holds, what strangers hold, and all. They
 * change in the transaction that changes entries. A transaction takes its locks in one order: session, entries, identities,
 * strangers, all.
 */
import { Buffer } from "node:buffer"
import type * as Schema from "effect/Schema"
import {
  type Bounds,
  DEFAULT_TTL_MS,
  ENTRY_BYTES,
  type Full,
  MAX_KEY_LENGTH,
  MAX_TTL_MS,
  MAX_VALUE_BYTES,
  type Writer
} from "../SessionMemory.ts"
import { key } from "./Keys.ts"
import { cursorOf, type Query } from "./Queries.ts"
import { MAX_ROWS, type Row } from "./Rows.ts"

/** Entries that one transaction of `sweep` takes out, so that others come in between. */
export const SWEEP_SLICE = 500
/**
 * Writers that may be at work at once without knowing of each other: within so many of the largest entries of a bound of all,
 * they come one after the other.
 */
export const MAX_TOGETHER = 256
/** What an entry may count at most: its value, and session and key thrice at six bytes a character. */
const MAX_ENTRY_BYTES = ENTRY_BYTES + MAX_VALUE_BYTES + 3 * 6 * (MAX_KEY_LENGTH + 1)

const bytesOf = (text: string): number => Buffer.byteLength(text)

/** An entry on its way into the table. */
export interface Entry {
  readonly session: string
  readonly name: string
  readonly value: string
  readonly expires: number
  readonly bytes: number
}

/** Throws where it is too large: those who let it in have said so more kindly. */
export const entry = (
  session: string,
  name: string,
  value: Schema.Json,
  now: number,
  ttlMs = DEFAULT_TTL_MS
): Entry => {
  if (session.length > MAX_KEY_LENGTH || name.length > MAX_KEY_LENGTH)
    throw new RangeError(`a session's id and its keys have at most ${MAX_KEY_LENGTH} characters`)
  const json = JSON.stringify(value)
  const size = bytesOf(json)
  if (size > MAX_VALUE_BYTES)
    throw new RangeError(`a value of session memory has at most ${MAX_VALUE_BYTES} bytes of JSON`)
  return {
    session: key(session),
    name: key(name),
    value: json,
    expires: now + Math.min(cursorOf(ttlMs), MAX_TTL_MS),
    // A session's answer names each key twice.
    bytes: ENTRY_BYTES + bytesOf(JSON.stringify(session)) + 2 * bytesOf(JSON.stringify(name)) + size
  }
}

/** Under what something is counted for whoever wrote it; `""` for nobody in particular. Who is a stranger no longer begins anew. */
export const holderOf = (writer: Writer | undefined): string =>
  writer === undefined ? "" : `${writer.isStranger ? STRANGER : "known:"}${key(writer.id)}`

const STRANGER = "stranger:"
export const isStranger = (holder: string): boolean => holder.startsWith(STRANGER)

export const full = (bounds: Bounds, of: Full["of"], what: Full["what"]): Full => ({
  _tag: "Full",
  of,
  what,
  limit: (bounds[of] as { readonly [what: string]: number })[what]!
})

/** A transaction, statement by statement: either database runs it, and hands back the rows. */
export type Steps<A> = Generator<
  readonly [sql: string, ...parameters: ReadonlyArray<string | number>],
  A,
  ReadonlyArray<Row>
>

/** What becomes more or less, by whose it is. */
class Changes {
  readonly #of = new Map<string, { sessions: number; bytes: number }>()

  add(account: string, sessions: number, bytes: number): void {
    const change = this.#of.get(account) ?? { sessions: 0, bytes: 0 }
    change.sessions += sessions
    change.bytes += bytes
    this.#of.set(account, change)
  }

  /** For whoever wrote it: sessions that it takes part in. All together take part in as many as there are. */
  addOf(holder: string, sessions: number, bytes: number): void {
    if (holder !== "") this.add(holder, sessions, bytes)
    if (isStranger(holder)) this.add("strangers", sessions, bytes)
    this.add("all", 0, bytes)
  }

  of(holder: string): { readonly sessions: number; readonly bytes: number } {
    return this.#of.get(holder) ?? { sessions: 0, bytes: 0 }
  }

  /** In the order of locks. */
  rows(): ReadonlyArray<readonly [holder: string, sessions: number, bytes: number]> {
    const rank = (holder: string): string => (holder === "all" ? "2" : holder === "strangers" ? "1" : `0${holder}`)
    return [...this.#of]
      .filter(([, { bytes, sessions }]) => sessions !== 0 || bytes !== 0)
      .toSorted(([a], [b]) => (rank(a) < rank(b) ? -1 : 1))
      .map(([holder, { bytes, sessions }]) => [holder, sessions, bytes])
  }
}

/** Puts changes into effect; gives what identities hold then. `part`: one of several rows that strangers and all are counted in. */
function* charge(changes: Changes, part: number): Steps<Map<string, { sessions: number; bytes: number }>> {
  const held = new Map<string, { sessions: number; bytes: number }>()
  const rows = changes.rows()
  if (rows.length === 0) return held
  const after = yield [
    `INSERT INTO parley_memory_held (holder, part, sessions, bytes) VALUES ${rows.map(() => "(?, ?, ?, ?)").join(", ")} ON CONFLICT (holder, part) DO UPDATE SET sessions = parley_memory_held.sessions + excluded.sessions, bytes = parley_memory_held.bytes + excluded.bytes RETURNING holder, sessions, bytes`,
    ...rows.flatMap(([holder, sessions, bytes]) => [holder, holder.includes(":") ? 0 : part, sessions, bytes])
  ]
  for (const row of after) {
    const [holder, sessions, bytes] = [String(row["holder"]), Number(row["sessions"]), Number(row["bytes"])]
    held.set(holder, { sessions, bytes })
    // Who holds nothing is forgotten: keys cost nothing.
    if (holder.includes(":") && sessions === 0 && bytes === 0)
      yield ["DELETE FROM parley_memory_held WHERE holder = ?", holder]
  }
  return held
}

/** How a write is done. */
export interface SetTo {
  readonly entry: Entry
  readonly holder: string
  readonly now: number
  readonly bounds: Bounds
  /** Nobody else writes. Where others may, `"Crowded"` says that it has to be known what they do. */
  readonly isAlone: boolean
  readonly part: number
}

/** Writes an entry. Where this gives anything, the transaction is to be rolled back. */
export function* set({ bounds, entry, holder, isAlone, now, part }: SetTo): Steps<Full | "Crowded" | undefined> {
  const { bytes, name, session } = entry
  const changes = new Changes()
  // Locks the session, and makes it where there is none; what is looked at after that, nobody else changes.
  const lock = yield [
    "INSERT INTO parley_memory_sessions (session, keys, bytes) VALUES (?, 0, 0) ON CONFLICT (session) DO UPDATE SET keys = parley_memory_sessions.keys RETURNING keys, bytes",
    session
  ]
  let of = sizeOf(lock[0])
  const isNew = of.keys === 0
  const [found] = isNew
    ? []
    : yield [
        "SELECT old.holder, old.bytes, EXISTS (SELECT 1 FROM parley_memory_entries e WHERE e.session = ? AND e.holder = ? AND e.name <> ?) AS mine, EXISTS (SELECT 1 FROM parley_memory_entries e WHERE e.session = old.session AND e.holder = old.holder AND e.name <> old.name) AS theirs FROM (SELECT 1) AS one LEFT JOIN parley_memory_entries old ON old.session = ? AND old.name = ?",
        session,
        holder,
        name,
        session,
        name
      ]
  const before = typeof found?.["holder"] === "string" ? found["holder"] : undefined
  const replaced = before === undefined ? 0 : Number(found?.["bytes"])
  const refused = (): Full["what"] | undefined =>
    before === undefined && of.keys >= bounds.session.keys
      ? "keys"
      : bytes > replaced && of.bytes + bytes - replaced > bounds.session.bytes
        ? "bytes"
        : undefined
  if (refused() !== undefined) {
    const gone = yield [`${DELETE} AND expires <= ? AND name <> ? ${RETURNING}`, session, now, name]
    yield* credit(changes, session, gone)
    of = less(of, gone)
    const what = refused()
    if (what !== undefined) return full(bounds, "session", what)
  }
  yield [
    "INSERT INTO parley_memory_entries (session, name, expires, holder, bytes, value) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (session, name) DO UPDATE SET expires = excluded.expires, holder = excluded.holder, bytes = excluded.bytes, value = excluded.value",
    session,
    name,
    entry.expires,
    holder,
    bytes,
    entry.value
  ]
  if (before === undefined || bytes !== replaced) {
    yield [
      "UPDATE parley_memory_sessions SET keys = ?, bytes = ? WHERE session = ?",
      of.keys + (before === undefined ? 1 : 0),
      of.bytes + bytes - replaced,
      session
    ]
  }
  if (isNew) changes.add("all", 1, 0)
  if (before !== undefined)
    changes.addOf(before, Number(found?.["theirs"]) === 1 || before === holder ? 0 : -1, -replaced)
  const joins = Number(found?.["mine"]) !== 1 && before !== holder
  changes.addOf(holder, joins ? 1 : 0, bytes)
  const held = yield* charge(changes, part)
  const over = (of: "identity" | "strangers" | "all", name: string, after: Row | undefined, room = 0) =>
    (["sessions", "bytes"] as const).find(
      (what) => changes.of(name)[what] > 0 && Number(after?.[what] ?? 0) > bounds[of][what] - room * UNITS[what]
    )
  const own = holder === "" ? undefined : over("identity", holder, held.get(holder))
  if (own !== undefined) return full(bounds, "identity", own)
  const pools = (["strangers", "all"] as const).filter(
    (pool) => changes.of(pool).sessions > 0 || changes.of(pool).bytes > 0
  )
  if (pools.length === 0) return undefined
  const sums = yield [
    "SELECT holder, sum(sessions) AS sessions, sum(bytes) AS bytes FROM parley_memory_held WHERE holder IN ('strangers', 'all') GROUP BY holder"
  ]
  for (const pool of pools) {
    const sum = sums.find((each) => each["holder"] === pool)
    const what = over(pool, pool, sum)
    if (what !== undefined) return full(bounds, pool, what)
    if (!isAlone && over(pool, pool, sum, MAX_TOGETHER) !== undefined) return "Crowded"
  }
  return undefined
}

const UNITS = { sessions: 1, bytes: MAX_ENTRY_BYTES }
const DELETE = "DELETE FROM parley_memory_entries WHERE session = ?"
const RETURNING = "RETURNING holder, bytes"

interface Size {
  readonly keys: number
  readonly bytes: number
}

const sizeOf = (row: Row | undefined): Size => ({ keys: Number(row?.["keys"]), bytes: Number(row?.["bytes"]) })
const less = ({ bytes, keys }: Size, gone: ReadonlyArray<Row>): Size => ({
  keys: keys - gone.length,
  bytes: gone.reduce((left, row) => left - Number(row["bytes"]), bytes)
})

/** What has gone from a session is counted for nobody any longer, and who has nothing left there takes no part in it. */
function* credit(changes: Changes, session: string, gone: ReadonlyArray<Row>): Steps<void> {
  for (const row of gone) changes.addOf(String(row["holder"]), 0, -Number(row["bytes"]))
  for (const holder of new Set(gone.map((row) => String(row["holder"])))) {
    if (holder === "") continue
    const [left] = yield [
      "SELECT 1 FROM parley_memory_entries WHERE session = ? AND holder = ? LIMIT 1",
      session,
      holder
    ]
    if (left === undefined) changes.addOf(holder, -1, 0)
  }
}

/** A session after entries have gone. Without a key it is none. */
function* shrink(changes: Changes, session: string, of: Size, gone: ReadonlyArray<Row>): Steps<void> {
  yield* credit(changes, session, gone)
  const { bytes, keys } = less(of, gone)
  if (keys > 0) {
    yield ["UPDATE parley_memory_sessions SET keys = ?, bytes = ? WHERE session = ?", keys, bytes, session]
  } else {
    changes.add("all", -1, 0)
    yield ["DELETE FROM parley_memory_sessions WHERE session = ?", session]
  }
}

/** Takes one entry out, or all of a session. */
export function* remove(session: string, name: string | undefined, part: number): Steps<void> {
  const [row] = yield ["UPDATE parley_memory_sessions SET keys = keys WHERE session = ? RETURNING keys, bytes", session]
  if (row === undefined) return
  const gone =
    name === undefined
      ? yield [`${DELETE} ${RETURNING}`, session]
      : yield [`${DELETE} AND name = ? ${RETURNING}`, session, name]
  const changes = new Changes()
  yield* shrink(changes, session, sizeOf(row), gone)
  yield* charge(changes, part)
}

/** Whether anything has expired. */
export const expired = (now: number): Query => ({
  sql: "SELECT 1 FROM parley_memory_entries WHERE expires <= ? LIMIT 1",
  parameters: [now]
})

/** Takes out some of what has expired; gives how many entries. Nobody else writes. */
export function* sweep(now: number): Steps<number> {
  const gone = yield [
    "DELETE FROM parley_memory_entries WHERE (session, name) IN (SELECT session, name FROM parley_memory_entries WHERE expires <= ? ORDER BY expires LIMIT ?) RETURNING session, holder, bytes",
    now,
    SWEEP_SLICE
  ]
  const bySession = new Map<string, Array<Row>>()
  for (const row of gone) {
    const session = String(row["session"])
    const rows = bySession.get(session)
    if (rows === undefined) bySession.set(session, [row])
    else rows.push(row)
  }
  const changes = new Changes()
  for (const [session, rows] of bySession) {
    const [row] = yield ["SELECT keys, bytes FROM parley_memory_sessions WHERE session = ?", session]
    if (row !== undefined) yield* shrink(changes, session, sizeOf(row), rows)
  }
  yield* charge(changes, 0)
  return gone.length
}

/** Sessions that hold something, in order. */
export const sessions = (now: number, limit: number, after: string | undefined): Query => ({
  sql: `SELECT session FROM parley_memory_sessions s WHERE ${
    after === undefined ? "" : "session > ? AND "
  }EXISTS (SELECT 1 FROM parley_memory_entries e WHERE e.session = s.session AND e.expires > ?) ORDER BY session LIMIT ?`,
  parameters: [...(after === undefined ? [] : [key(after)]), now, Math.min(cursorOf(limit), MAX_ROWS)]
})

export const all = (session: string, now: number): Query => ({
  sql: "SELECT name, value FROM parley_memory_entries WHERE session = ? AND expires > ?",
  parameters: [key(session), now]
})

export const one = (session: string, name: string, now: number): Query => ({
  sql: "SELECT value FROM parley_memory_entries WHERE session = ? AND name = ? AND expires > ?",
  parameters: [key(session), key(name), now]
})
