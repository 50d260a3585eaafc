/** A store as simple as can be, which keeps every event and answers by looking at all of them, and facts to fill it with. */
import type { Seeded } from "@parley/core/testing/Seeded"
import type * as Schema from "effect/Schema"
import type { Event, Fact, Report, StoredAgent } from "../Event.ts"
import type { Manifest, TraceEvent } from "../Model.ts"
import type { HistoryPoint, Snapshot, TraceQuery } from "../Store.ts"

export const manifest = (id: string): Manifest => ({
  agent_id: id,
  name: `agent ${id}`,
  version: "0.1.0",
  description: "of a law",
  capabilities: [],
  mcp_servers: [],
  max_concurrent_tasks: 3,
  endpoint: "http://127.0.0.1:1/",
  tags: []
})

export const registered = (id: string, at = 0): Fact => ({
  type: "agent.registered",
  agent: { manifest: manifest(id), registeredAt: at }
})

/** A report's fact. The link follows on the number of links there were. */
export const trusted = (links: number, report: Partial<Report> = {}, edge: Schema.Json = { links }): Fact => ({
  type: "trust.changed",
  report: {
    agent: "a",
    capability: "cap",
    reviewer: "r",
    task: `task ${links}`,
    success: true,
    quality: 1,
    ...report
  },
  score: 0.5 + (links % 7) / 100,
  ema: 0.1 + 1 / (3 + links),
  edge,
  link: { seq: links + 1, hash: `hash ${links + 1}` }
})

export const traced = (trace: Partial<TraceEvent> = {}): Fact => ({
  type: "trace",
  trace: {
    trace_id: "trace",
    task_id: "task",
    event_type: "request_sent",
    from_agent: "a",
    to_agent: "b",
    payload: {},
    timestamp: "2026-11-21T06:00:00.000Z",
    ...trace
  }
})

const traceTypes = ["request_sent", "accepted", "completed", "failed"] as const
const statuses = ["healthy", "degraded", "offline"] as const
const ids = ["a", "b", "c", "agent\u0000", "agent\\0000", "ägent", "🦜", "\ud83e", "A"]
const capabilities = ["", "sum", "text.translate", "\u0000"]

/** A fact at random, of agents of whom there are few, so that facts meet. `links`: how many reports there were. */
export const randomFact = (random: Seeded, links: number): Fact => {
  const id = random.pick(ids)
  const task = `task${random.int(5)}`
  switch (random.int(10)) {
    case 0:
    case 1:
      return registered(id, random.int(1e9))
    case 2:
      return { type: "agent.left", id }
    case 3:
      return { type: "status.changed", id, status: random.pick(statuses), why: "a law" }
    case 4:
      return { type: "task.started", id, task }
    case 5:
      return { type: "task.ended", id, task, elapsedMs: random.int(1_000) }
    case 6:
    case 7:
      return traced({
        task_id: task,
        event_type: random.pick(traceTypes),
        from_agent: id,
        to_agent: random.pick(ids),
        payload: { n: random.next(), text: random.pick(ids), deep: [[{}], null, -0.5, 1e300] },
        timestamp: new Date(1_700_000_000_000 + random.int(10_000)).toISOString()
      })
    case 8:
      return {
        type: "verdict",
        verdict: {
          task,
          capability: "sum",
          publishedBy: id,
          question: { numbers: [1, 2] },
          certificate: { votes: random.int(9) }
        }
      }
    default:
      return trusted(
        links,
        {
          agent: id,
          capability: random.pick(capabilities),
          reviewer: random.pick(ids),
          success: random.int(3) > 0,
          quality: random.next(),
          ...(random.int(2) === 0 ? { latencyMs: random.int(5_000) } : {})
        },
        { weight: random.next() }
      )
  }
}

/** Facts at random that can follow each other. */
export const randomFacts = (random: Seeded, count: number, links: number): Array<Fact> => {
  const facts: Array<Fact> = []
  let next = links
  for (let n = 0; n < count; n++) {
    const fact = randomFact(random, next)
    if (fact.type === "trust.changed") next++
    facts.push(fact)
  }
  return facts
}

/** A question at random, of which many of `randomFact`'s traces are answers. */
export const randomTraceQuery = (random: Seeded, last: number): TraceQuery => ({
  limit: 1 + random.int(20),
  ...(random.int(3) === 0 ? { task: `task${random.int(5)}` } : {}),
  ...(random.int(3) === 0 ? { agent: random.pick(ids) } : {}),
  ...(random.int(3) === 0 ? { type: random.pick(traceTypes) } : {}),
  ...(random.int(3) === 0 ? { since: 1_700_000_000_000 + random.int(10_000) } : {}),
  ...(random.int(3) === 0 ? { until: 1_700_000_000_000 + random.int(10_000) } : {}),
  ...(random.int(3) === 0 ? { before: random.int(last + 2) } : {})
})

const sorted = <A>(items: Iterable<A>): Array<A> =>
  [...items].toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))

/** A snapshot in which order means nothing. */
export const comparable = (snapshot: Snapshot): Snapshot => ({
  ...snapshot,
  agents: sorted(snapshot.agents),
  departed: sorted(snapshot.departed ?? []),
  edges: sorted(snapshot.edges)
})

/** Every event, and what a store should say about them. */
export class StoreModel {
  readonly events: Array<Event> = []

  add(events: Iterable<Event>): void {
    this.events.push(...events)
  }

  get links(): number {
    return this.events.filter(({ fact }) => fact.type === "trust.changed").length
  }

  snapshot(): Snapshot {
    const agents = new Map<string, StoredAgent>()
    const counts = new Map<string, { completed: number; failed: number }>()
    const edges = new Map<string, Schema.Json>()
    let link = { seq: 0, hash: "" }
    for (const { fact } of this.events) {
      if (fact.type === "agent.registered") agents.set(fact.agent.manifest.agent_id, fact.agent)
      if (fact.type === "agent.left") agents.delete(fact.id)
      if (fact.type !== "trust.changed") continue
      const { agent, capability, reviewer, success } = fact.report
      const count = counts.get(agent) ?? { completed: 0, failed: 0 }
      count[success ? "completed" : "failed"]++
      counts.set(agent, count)
      edges.set(JSON.stringify([agent, capability, reviewer]), fact.edge)
      link = { ...fact.link }
    }
    return comparable({
      cursor: this.events.at(-1)?.cursor ?? 0,
      agents: [...agents].map(([id, agent]) => ({ ...agent, ...(counts.get(id) ?? { completed: 0, failed: 0 }) })),
      departed: [...counts].flatMap(([id, count]) => (agents.has(id) ? [] : [{ id, ...count }])),
      edges: [...edges.values()],
      link
    })
  }

  traces(query: TraceQuery): ReadonlyArray<TraceEvent & { readonly cursor: number }> {
    return this.events
      .flatMap(({ cursor, fact }) => (fact.type === "trace" ? [{ ...fact.trace, cursor }] : []))
      .filter((trace) => query.task === undefined || trace.task_id === query.task)
      .filter(({ from_agent, to_agent }) => query.agent === undefined || [from_agent, to_agent].includes(query.agent))
      .filter((trace) => query.type === undefined || trace.event_type === query.type)
      .filter(({ timestamp }) => query.since === undefined || Date.parse(timestamp) >= query.since)
      .filter(({ timestamp }) => query.until === undefined || Date.parse(timestamp) < query.until)
      .filter(({ cursor }) => query.before === undefined || cursor < query.before)
      .toReversed()
      .slice(0, query.limit)
  }

  history(agent: string, options: { limit: number; capability?: string; before?: number }): Array<HistoryPoint> {
    return this.events
      .flatMap(({ at, cursor, fact }) =>
        fact.type === "trust.changed" ? [{ cursor, at, score: fact.score, ema: fact.ema, report: fact.report }] : []
      )
      .filter(({ report }) => report.agent === agent)
      .filter(({ report }) => options.capability === undefined || report.capability === options.capability)
      .filter(({ cursor }) => options.before === undefined || cursor < options.before)
      .slice(-options.limit)
  }

  chain() {
    return this.events.flatMap(({ at, fact }) =>
      fact.type === "trust.changed" ? [{ ...fact.link, at, report: fact.report }] : []
    )
  }

  verdicts() {
    return this.events
      .flatMap(({ at, cursor, fact }) => (fact.type === "verdict" ? [{ ...fact.verdict, cursor, at }] : []))
      .toReversed()
  }
}
