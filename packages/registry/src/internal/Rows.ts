/** Rows: what facts become in the database's tables, and back. Shared by SQLite and PostgreSQL. */
import type * as Schema from "effect/Schema"
import type { Event, Fact, PublishedVerdict, Report, StoredAgent } from "../Event.ts"
import type { TraceEvent } from "../Model.ts"
import { type Bytes, type HistoryPoint, type Snapshot, StoreError } from "../Store.ts"
import { sizeOf } from "./Kept.ts"
import { key, text } from "./Keys.ts"

/** Largest fact, in UTF-16 units of its JSON: a certificate of 8 MiB and its question, with room. */
export const MAX_FACT_LENGTH = 16 * 1_048_576
/** Most rows of one read. */
export const MAX_ROWS = 50_000
/** Most events that `append` hands to a caller who has missed them; one that missed more loads again. */
export const MAX_MISSED = 100_000

type Cell = string | number

/** What one commit writes. Where several facts write the same row, the last one does. */
export interface Rows {
  /** cursor, at, type, fact */
  readonly events: ReadonlyArray<ReadonlyArray<Cell>>
  /** id, agent */
  readonly agents: ReadonlyArray<ReadonlyArray<Cell>>
  readonly left: ReadonlyArray<string>
  /** agent, completed, failed: to be added */
  readonly counts: ReadonlyArray<ReadonlyArray<Cell>>
  /** agent, capability, reviewer, edge */
  readonly edges: ReadonlyArray<ReadonlyArray<Cell>>
  /** seq, hash, cursor, at, agent, capability, score, ema, report */
  readonly reports: ReadonlyArray<ReadonlyArray<Cell>>
  /** cursor, at, time, task, sender, receiver, type, trace */
  readonly traces: ReadonlyArray<ReadonlyArray<Cell>>
  /** cursor, at, task, publisher, verdict */
  readonly verdicts: ReadonlyArray<ReadonlyArray<Cell>>
  /** publisher, bytes: to be added */
  readonly publishers: ReadonlyArray<ReadonlyArray<Cell>>
  /** What they take of the budget. */
  readonly bytes: Bytes
}

const bounded = (written: string): string => {
  if (written.length > MAX_FACT_LENGTH)
    throw new RangeError(`a fact of ${written.length} characters is larger than the ${MAX_FACT_LENGTH} one may have`)
  return written
}

/** JSON text, which holds any string in well-formed UTF-16 without U+0000. */
const json = (value: unknown): string => bounded(JSON.stringify(value))

/** A report's fact, of parts that stand in rows of their own as well and are written once. */
const reported = ({ ema, link, score, type }: Told, report: string, edge: string): string =>
  bounded(
    `{"type":"${type}","report":${report},"score":${json(score)},"ema":${json(ema)},"edge":${edge},"link":${json(link)}}`
  )
type Told = Extract<Fact, { readonly type: "trust.changed" }>

/** The rows of facts that follow each other from a cursor on. Throws where something cannot be stored. */
export const rows = (facts: ReadonlyArray<Fact>, after: number, at: number): Rows => {
  const agents = new Map<string, string | undefined>()
  const counts = new Map<string, [completed: number, failed: number]>()
  const edges = new Map<string, Array<Cell>>()
  const made = {
    events: [] as Array<Array<Cell>>,
    reports: [] as Array<Array<Cell>>,
    traces: [] as Array<Array<Cell>>,
    verdicts: [] as Array<Array<Cell>>
  }
  const publishers = new Map<string, number>()
  const bytes = { events: 0, traces: 0, verdicts: 0 }
  let cursor = after
  const happened = (type: Fact["type"], fact: string): void => {
    made.events.push([cursor, at, type, fact])
    bytes.events += sizeOf.event(fact)
  }
  for (const fact of facts) {
    cursor++
    if (fact.type !== "trust.changed") happened(fact.type, json(fact))
    switch (fact.type) {
      case "agent.registered":
        agents.set(key(fact.agent.manifest.agent_id), json(fact.agent))
        break
      case "agent.left":
        agents.set(key(fact.id), undefined)
        break
      case "trust.changed": {
        const { edge, ema, link, report, score } = fact
        const [reportText, edgeText] = [json(report), json(edge)]
        happened(fact.type, reported(fact, reportText, edgeText))
        const [agent, capability, reviewer] = [key(report.agent), key(report.capability), key(report.reviewer)]
        const count = counts.get(agent) ?? [0, 0]
        count[report.success ? 0 : 1]++
        counts.set(agent, count)
        edges.set(JSON.stringify([agent, capability, reviewer]), [agent, capability, reviewer, edgeText])
        made.reports.push([link.seq, link.hash, cursor, at, agent, capability, score, ema, reportText])
        break
      }
      case "trace": {
        const { trace } = fact
        const [task, sender, receiver] = [key(trace.task_id), key(trace.from_agent), key(trace.to_agent)]
        const written = json(trace)
        const time = Math.floor(Date.parse(trace.timestamp)) || at
        made.traces.push([cursor, at, time, task, sender, receiver, trace.event_type, written])
        bytes.traces += sizeOf.trace(written, task, sender, receiver)
        break
      }
      case "verdict": {
        const [task, publisher] = [key(fact.verdict.task), key(fact.verdict.publishedBy)]
        const written = json(fact.verdict)
        const size = sizeOf.verdict(written, task, publisher)
        made.verdicts.push([cursor, at, task, publisher, written])
        publishers.set(publisher, (publishers.get(publisher) ?? 0) + size)
        bytes.verdicts += size
      }
    }
  }
  return {
    ...made,
    publishers: [...publishers],
    bytes,
    agents: [...agents].flatMap(([id, agent]) => (agent === undefined ? [] : [[id, agent]])),
    left: [...agents].flatMap(([id, agent]) => (agent === undefined ? [id] : [])),
    counts: [...counts].map(([agent, [completed, failed]]) => [agent, completed, failed]),
    edges: [...edges.values()]
  }
}

/** The events that facts are once they are committed. */
export const events = (facts: ReadonlyArray<Fact>, after: number, at: number): ReadonlyArray<Event> =>
  facts.map((fact, index) => ({ cursor: after + 1 + index, at, fact }))

/** A row of a table, by column. */
export type Row = Readonly<Record<string, unknown>>

const number = (row: Row, column: string): number => Number(row[column])
const parsed = (row: Row, column: string): unknown => JSON.parse(String(row[column]))

export const event = (row: Row): Event => ({
  cursor: number(row, "cursor"),
  at: number(row, "at"),
  fact: parsed(row, "fact") as Fact
})

export const secret = (row: Row): string => parsed(row, "value") as string

/** The events between what an instance has seen and where the log stands. Throws where they are not all there. */
export const missed = (found: ReadonlyArray<Row>, seen: number, cursor: number): ReadonlyArray<Event> => {
  if (cursor - seen > MAX_MISSED) throw new RangeError(`${cursor - seen} events were missed: load again`)
  if (found.length !== cursor - seen) throw new RangeError("events that were missed are no longer kept: load again")
  return found.map(event)
}

/** Edges as text, a page in one piece, until they are taken in: a million of them take 160 MB so. */
export class Edges implements Iterable<Schema.Json> {
  readonly #pages: Array<string> = []

  add(rows: ReadonlyArray<Row>): void {
    if (rows.length > 0) this.#pages.push(`[${rows.map((row) => String(row["edge"])).join(",")}]`)
  }

  *[Symbol.iterator](): Generator<Schema.Json> {
    for (const page of this.#pages) yield* JSON.parse(page) as ReadonlyArray<Schema.Json>
  }
}

const none = { completed: 0, failed: 0 }

/** Takes a snapshot's rows in, page by page: counts, then agents, then edges. */
export class Gathering {
  readonly agents: Array<Snapshot["agents"][number]> = []
  readonly edges = new Edges()
  readonly #counts = new Map<string, { readonly completed: number; readonly failed: number }>()

  readonly takeCounts = (page: ReadonlyArray<Row>): void => {
    for (const row of page)
      this.#counts.set(String(row["agent"]), { completed: number(row, "completed"), failed: number(row, "failed") })
  }

  readonly takeAgents = (page: ReadonlyArray<Row>): void => {
    for (const row of page) {
      const id = String(row["id"])
      this.agents.push({ ...(parsed(row, "agent") as StoredAgent), ...(this.#counts.get(id) ?? none) })
      this.#counts.delete(id)
    }
  }

  readonly takeEdges = (page: ReadonlyArray<Row>): void => this.edges.add(page)

  /** Whose agents there are not. */
  departed(): NonNullable<Snapshot["departed"]> {
    return Array.from(this.#counts, ([id, counts]) => ({ id: text(id), ...counts }))
  }
}

export const trace = (row: Row): TraceEvent & { readonly cursor: number } => ({
  ...(parsed(row, "trace") as TraceEvent),
  cursor: number(row, "cursor")
})

export const point = (row: Row): HistoryPoint => ({
  cursor: number(row, "cursor"),
  at: number(row, "at"),
  score: number(row, "score"),
  ema: number(row, "ema"),
  report: parsed(row, "report") as Report
})

export const verdict = (row: Row): PublishedVerdict & { readonly cursor: number; readonly at: number } => ({
  ...(parsed(row, "verdict") as PublishedVerdict),
  cursor: number(row, "cursor"),
  at: number(row, "at")
})

export const link = (row: Row) => ({
  seq: number(row, "seq"),
  hash: String(row["hash"]),
  at: number(row, "at"),
  report: parsed(row, "report") as Report
})

/** Events between a cursor and what is held are gone. */
export const gap = (after: number, trimmed: number): StoreError =>
  new StoreError({
    code: "Corrupt",
    operation: "read events",
    detail: `events ${after + 1} to ${trimmed} are no longer kept: begin after ${trimmed}`
  })
