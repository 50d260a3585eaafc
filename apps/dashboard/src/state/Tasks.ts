/**
 * Tasks, as their traces tell them: who asked whom, how long each part took, and how it ended. What no trace says stays unknown.
 */
import type { TraceEvent, TraceEventType } from "../api/Types.ts"

/** `open`: no trace says that it ended. */
export type Outcome = "completed" | "failed" | "rejected" | "open"

/** One agent asked by another. */
export interface Hop {
  readonly requester: string
  readonly executor: string
  /** In the order of time. */
  readonly events: ReadonlyArray<TraceEvent & { readonly at: number }>
  readonly outcome: Outcome
  readonly start: number
  /** When it ended; `undefined` while open. */
  readonly end: number | undefined
  /** Milliseconds of work: from the acceptance (else the request) to the end. */
  readonly worked: number | undefined
}

export interface Task {
  readonly id: string
  readonly hops: ReadonlyArray<Hop>
  readonly start: number
  readonly end: number | undefined
  readonly outcome: Outcome
  readonly events: number
  /** From the traces' payloads, where they name it. */
  readonly capability: string | undefined
}

const final: ReadonlySet<TraceEventType> = new Set(["completed", "failed", "rejected"])

const hopOf = (events: ReadonlyArray<TraceEvent & { readonly at: number }>): Hop => {
  const first = events.find(({ event_type }) => event_type === "request_sent") ?? events[0]!
  // Answers may name their sender first: who accepts is the executor.
  const answer = events.find(({ event_type }) => event_type === "accepted" || event_type === "executing")
  const asked = first.event_type === "request_sent"
  const requester = asked || answer === undefined ? first.from_agent : answer.to_agent
  const executor = requester === first.from_agent ? first.to_agent : first.from_agent
  const last = events.findLast(({ event_type }) => final.has(event_type))
  const begun =
    events.find(({ event_type }) => event_type === "executing") ??
    events.find(({ event_type }) => event_type === "accepted") ??
    (asked ? first : undefined)
  return {
    requester,
    executor,
    events,
    outcome: last === undefined ? "open" : (last.event_type as Outcome),
    start: events[0]!.at,
    end: last?.at,
    worked: last === undefined || begun === undefined || last.event_type === "rejected" ? undefined : last.at - begun.at
  }
}

const outcomeOf = (hops: ReadonlyArray<Hop>): Outcome => {
  for (const outcome of ["completed", "open", "failed", "rejected"] as const)
    if (hops.some((hop) => hop.outcome === outcome)) return outcome
  return "open"
}

const capabilityOf = (traces: ReadonlyArray<TraceEvent>): string | undefined => {
  for (const { payload } of traces) {
    const named = payload["capability"]
    if (typeof named === "string") return named
  }
  return undefined
}

/** One task of its traces. */
export const taskOf = (id: string, traces: ReadonlyArray<TraceEvent>): Task => {
  const pairs = new Map<string, Array<TraceEvent & { readonly at: number }>>()
  for (const trace of traces) {
    const key = [trace.from_agent, trace.to_agent].sort().join("\n")
    const timed = { ...trace, at: Date.parse(trace.timestamp) }
    const pair = pairs.get(key)
    if (pair === undefined) pairs.set(key, [timed])
    else pair.push(timed)
  }
  const hops = [...pairs.values()]
    .map((events) => hopOf(events.sort((a, b) => a.at - b.at)))
    .sort((a, b) => a.start - b.start)
  const ends = hops.map(({ end }) => end)
  return {
    id,
    hops,
    start: Math.min(...hops.map(({ start }) => start)),
    end: ends.includes(undefined) ? undefined : Math.max(...(ends as Array<number>)),
    outcome: outcomeOf(hops),
    events: traces.length,
    capability: capabilityOf(traces)
  }
}

/** Traces as tasks, the one that began last first. */
export const tasksOf = (traces: Iterable<TraceEvent>): Array<Task> => {
  const byTask = new Map<string, Array<TraceEvent>>()
  for (const trace of traces) {
    const known = byTask.get(trace.task_id)
    if (known === undefined) byTask.set(trace.task_id, [trace])
    else known.push(trace)
  }
  return [...byTask].map(([id, traces]) => taskOf(id, traces)).sort((a, b) => b.start - a.start)
}

/** A stretch of a hop for the waterfall: what was between two events. */
export interface Span {
  readonly what: "asking" | "waiting" | "working"
  readonly from: number
  readonly to: number
  readonly running: boolean
}

/** The stretches of a hop; `now` is where an open one ends for the time being. */
export const spansOf = (hop: Hop, now: number): ReadonlyArray<Span> => {
  const spans: Array<Span> = []
  hop.events.forEach((event, i) => {
    if (final.has(event.event_type)) return
    const next = hop.events[i + 1]
    spans.push({
      what: event.event_type === "request_sent" ? "asking" : event.event_type === "countered" ? "waiting" : "working",
      from: event.at,
      to: next?.at ?? Math.max(now, event.at),
      running: next === undefined
    })
  })
  return spans
}

/** Adds traces to those there are; each counts once. */
export const merged = (known: ReadonlyArray<TraceEvent>, more: ReadonlyArray<TraceEvent>): Array<TraceEvent> => {
  const byId = new Map(known.map((trace) => [trace.trace_id, trace]))
  for (const trace of more) byId.set(trace.trace_id, trace)
  return [...byId.values()]
}
