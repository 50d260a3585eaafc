/**
 * The handlers of the evidence chain, and of the registry itself: counts and health.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import { Identity } from "@parley/core/Identity"
import { Api } from "./Api.ts"
import * as Answers from "./internal/Answers.ts"
import { Ledger } from "./Ledger.ts"
import { Presence } from "./Presence.ts"
import * as Problem from "./Problem.ts"
import { MAX_SESSIONS, SessionMemory } from "./SessionMemory.ts"
import { Store } from "./Store.ts"
import { type Knowledge, World } from "./World.ts"

/** Links of one answer where the query does not say. */
export const DEFAULT_LINKS = 100
/** How long counts over many agents hold, in milliseconds: each agent is looked at for them. */
export const STATS_MS = 1_000
/** So many agents are counted anew each time. */
const FEW_AGENTS = 1_000

const storeFailed = new Problem.Unavailable({ detail: "The registry's database does not answer: try again" })

/** The handlers of the evidence chain. */
export const layerChain = HttpApiBuilder.group(
  Api,
  "chain",
  Effect.fnUntraced(function* (handlers) {
    const store = yield* Store
    const world = yield* World
    return handlers.handleAll({
      links: ({ query }) =>
        store.chain(query.from ?? 1, query.limit ?? DEFAULT_LINKS).pipe(
          Effect.mapError(() => storeFailed),
          Effect.map((links) => Answers.json(JSON.stringify(links)))
        ),
      head: () => Effect.sync(() => world.link)
    })
  })
)

/** Counts over everything; the mean of trust with four digits, as in AgentMesh. */
export const statsOf = (world: Knowledge, sessions: number, now: number) => {
  const statuses: { [status: string]: number } = {}
  let trust = 0
  for (const agent of world.all()) {
    const status = world.status(agent, now)
    statuses[status] = (statuses[status] ?? 0) + 1
    trust += world.reputation.score(agent.id, "", now)
  }
  return {
    total_agents: world.size,
    agents_by_status: statuses,
    avg_trust: world.size === 0 ? 0 : Math.round((trust / world.size) * 10_000) / 10_000,
    total_tasks_completed: world.completed,
    active_sessions: sessions,
    active_task_counts: world.activeTasks()
  }
}

/** The handlers of the registry itself. */
export const layerService = HttpApiBuilder.group(
  Api,
  "service",
  Effect.fnUntraced(function* (handlers) {
    const clock = yield* Clock.Clock
    const identity = yield* Identity
    const ledger = yield* Ledger
    const memory = yield* SessionMemory
    const presence = yield* Presence
    const store = yield* Store
    const world = yield* World
    let counted = { at: 0, text: "" }
    return handlers.handleAll({
      stats: ({ request }) =>
        Effect.gen(function* () {
          const now = clock.currentTimeMillisUnsafe()
          if (now - counted.at >= STATS_MS || world.size <= FEW_AGENTS) {
            const sessions = yield* Effect.mapError(memory.sessions({ limit: MAX_SESSIONS }), () => storeFailed)
            counted = { at: now, text: JSON.stringify(statsOf(world, sessions.length, now)) }
          }
          return Answers.tagged(request, counted.text)
        }),
      health: () =>
        Effect.sync(() => {
          const ready = ledger.isReady()
          const { commits, facts, waiting } = ledger.counts()
          const health = {
            status: ready ? "ok" : "degraded",
            live: true,
            ready,
            parts: {
              registry: identity.nodeId,
              store: store.kind,
              memory: memory.kind,
              agents: world.size,
              online: presence.online(),
              ...(presence.sharing === undefined ? {} : { redis: presence.sharing() }),
              cursor: world.cursor,
              waiting,
              commits,
              facts
            }
          }
          return Answers.json(JSON.stringify(health), { status: ready ? 200 : 503 })
        })
    })
  })
)

/** Both. */
export const layer = Layer.mergeAll(layerChain, layerService)
