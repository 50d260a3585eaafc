/**
 * Fills the page and keeps it up to date: first where the log ends, then the state of now, then all events from there on, so that
 * nothing falls between.
 */
import { signal } from "@preact/signals"
import * as Http from "../api/Http.ts"
import type { AgentRecord, AgentStatus, RegistryEvent, Stats, TraceEvent } from "../api/Types.ts"
import * as Log from "./Log.ts"
import * as Mesh from "./Mesh.ts"
import * as Stream from "./Stream.ts"

/** Agents asked for at a time. */
const PAGE = 1_000
/** Most agents that one page shows: past it, search finds the rest. */
export const MAX_AGENTS = 20_000
/** Traces that tell who worked with whom before this page was opened. */
export const FIRST_TRACES = 1_000
/** Events shown in the log from before this page was opened. */
const FIRST_EVENTS = 200
/** How often counts are asked for, in milliseconds. */
const STATS_MS = 10_000

export const stats = signal<Stats | undefined>(undefined)
/** What went wrong with the first answers, if something did. */
export const trouble = signal<string | undefined>(undefined)
/** Traces behind the pairs that are drawn; `undefined` where the registry does not show them. */
export const tracesSeen = signal<number | undefined>(undefined)
/** Verdicts are published seldom: counts up when one is. */
export const verdictVersion = signal(0)
/** Counts up with each trace, for views that show tasks. */
export const traceVersion = signal(0)
/** Called with each event, for views that follow one agent or task. */
export const listeners = new Set<(event: RegistryEvent) => void>()

/** Events that came while the state of now was asked for. */
let held: Array<RegistryEvent> | undefined
let loading = 0

const allAgents = async (): Promise<ReadonlyArray<AgentRecord>> => {
  const all: Array<AgentRecord> = []
  let cursor: string | undefined
  do {
    const page: Http.Page<AgentRecord> = await Http.agents({ limit: PAGE, ...(cursor === undefined ? {} : { cursor }) })
    all.push(...page.items)
    cursor = page.next
  } while (cursor !== undefined && all.length < MAX_AGENTS)
  return all
}

export const refreshStats = async (): Promise<void> => {
  try {
    const answer = await Http.stats()
    stats.value = answer
    Mesh.replaceLoads(answer.active_task_counts)
  } catch {
    // The connection's state says that the registry does not answer.
  }
}

/** Traces that were asked for: the stream may bring some of them again. */
let counted = new Set<string>()

const loadTraces = async (): Promise<void> => {
  try {
    const { items } = await Http.traces({ limit: FIRST_TRACES })
    counted = new Set(items.map(({ trace_id }) => trace_id))
    Mesh.clearEdges()
    for (const trace of items) Mesh.takeTrace(trace, false)
    tracesSeen.value = items.length
  } catch {
    tracesSeen.value = undefined
  }
}

const load = async (): Promise<void> => {
  held ??= []
  loading++
  try {
    Mesh.replaceAgents(await allAgents())
    trouble.value = undefined
  } catch (cause) {
    trouble.value = cause instanceof Error ? cause.message : String(cause)
  }
  await Promise.all([refreshStats(), loadTraces()])
  if (--loading > 0) return
  const missed = held ?? []
  held = undefined
  for (const event of missed) apply(event)
}

/** Agents to be asked for again, and from how many on all are asked for at once. */
const waitingFor = new Set<string>()
const MANY = 24
const REFRESH_MS = 300
let refreshing = false

const refreshWaiting = async (): Promise<void> => {
  const ids = [...waitingFor]
  waitingFor.clear()
  if (ids.length > MANY) {
    await allAgents().then(Mesh.replaceAgents, () => undefined)
    return
  }
  await Promise.all(
    ids.map((id) =>
      Http.agent(id).then(Mesh.putAgent, (cause: unknown) => {
        if (cause instanceof Http.ApiError && cause.status === 404) Mesh.removeAgent(id)
      })
    )
  )
}

/** Asks for an agent again, once for all that happens to it meanwhile. */
export const refreshAgent = (id: string): void => {
  waitingFor.add(id)
  if (refreshing) return
  refreshing = true
  setTimeout(async () => {
    await refreshWaiting()
    refreshing = false
    const next = waitingFor.values().next()
    if (next.done !== true) refreshAgent(next.value)
  }, REFRESH_MS)
}

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)
const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined)

/** The agent that an event is about. */
export const agentOf = ({ data }: RegistryEvent): string | undefined => text(data["agent_id"])

const apply = (event: RegistryEvent): void => {
  const { data, type } = event
  const id = agentOf(event)
  switch (type) {
    case "agent.registered": {
      if (id === undefined) break
      refreshAgent(id)
      break
    }
    case "agent.left":
      if (id !== undefined) Mesh.removeAgent(id)
      break
    case "status.changed":
      if (id !== undefined && text(data["status"]) !== undefined) Mesh.setStatus(id, data["status"] as AgentStatus)
      break
    case "trust.changed": {
      const score = number(data["trust_score"])
      if (id === undefined) break
      if (score !== undefined) Mesh.patchAgent(id, { trust_score: score })
      // Its counters have changed as well.
      refreshAgent(id)
      break
    }
    case "task.started":
      if (id !== undefined) Mesh.changeLoad(id, 1)
      break
    case "task.ended":
      if (id !== undefined) Mesh.changeLoad(id, -1)
      break
    case "trace": {
      const trace = data as unknown as TraceEvent
      if (text(trace.task_id) === undefined || text(trace.from_agent) === undefined) break
      if (counted.delete(trace.trace_id)) break
      Mesh.takeTrace(trace, Stream.state.peek() === "live")
      if (tracesSeen.peek() !== undefined) tracesSeen.value = tracesSeen.peek()! + 1
      traceVersion.value++
      break
    }
    case "verdict":
      verdictVersion.value++
      break
  }
}

/** Shows some of what happened before, once it is known where now is. */
const showEarlier = async (last: number): Promise<void> => {
  Log.recordEarlier(await Stream.earlier(last + 1, FIRST_EVENTS))
}

/** Asks where the log ends, so that the stream begins there, and nothing between is missed. */
const findBeginning = async (): Promise<void> => {
  try {
    const { cursor } = (await Http.health()).parts
    if (typeof cursor === "number") Stream.begin(cursor)
  } catch {
    // It begins where the registry lets it.
  }
}

/** Begins, once. */
export const start = async (): Promise<void> => {
  let askedForEarlier = false
  setInterval(() => {
    if (!document.hidden && Stream.state.peek() !== "reconnecting") void refreshStats()
  }, STATS_MS)
  await findBeginning()
  // Before the socket opens there is something to see already.
  void load()
  Stream.start({
    opened: (again) => {
      // With a cursor the stream itself brings what was missed; the counts of tasks are the registry's own.
      if (again) void refreshStats()
      if (again && tracesSeen.peek() === undefined) void loadTraces()
      const at = Stream.cursor.peek()
      if (!askedForEarlier && at !== undefined) {
        askedForEarlier = true
        void showEarlier(at)
      }
    },
    event: (event) => {
      Log.record(event)
      if (held === undefined) apply(event)
      else held.push(event)
      for (const listener of listeners) listener(event)
    },
    gap: () => void load()
  })
}
