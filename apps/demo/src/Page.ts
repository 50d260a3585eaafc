/**
 * What the registry has seen of the demo: the same that its page shows.
 */
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import type { NodeId } from "@parley/core/NodeId"
import * as Client from "@parley/registry/Client"
import type { RegistryError } from "@parley/registry/RegistryError"

/** How long the last reports may be on their way, in milliseconds: they are told in the background. */
const TOLD_MS = 3_000

/** What one agent has earned. */
export interface Standing {
  readonly node: NodeId
  /** 0 to 1. */
  readonly score: number
  readonly low: number
  readonly high: number
  readonly reports: number
  readonly attested: number
}

/** What the registry has seen. */
export interface Seen {
  readonly url: string
  readonly online: number
  /** Events of the tasks. */
  readonly traces: number
  /** The verdict stands there, with its certificate. */
  readonly published: boolean
  /** Best first. */
  readonly standings: ReadonlyArray<Standing>
}

/** What to look for. */
export interface Wanted {
  readonly verdict: string
  readonly tasks: ReadonlyArray<string>
  /** Agents that answered the question. */
  readonly nodes: ReadonlyArray<NodeId>
}

const lookOnce = (client: Client.Client["Service"], { nodes, tasks, verdict }: Wanted) =>
  client.use("look at the demo", (api) =>
    Effect.gen(function* () {
      const healthy = yield* api.agents.list({ query: { status: "healthy" } })
      const degraded = yield* api.agents.list({ query: { status: "degraded" } })
      const traces = yield* Effect.forEach(tasks, (task_id) => api.traces.list({ query: { task_id } }))
      const published = yield* Effect.result(api.verdicts.get({ params: { task: verdict } }))
      const standings = yield* Effect.forEach(nodes, (id) =>
        Effect.map(api.agents.trust({ params: { id } }), ({ standings: [overall] }): Standing => ({
          node: id,
          score: overall?.score ?? 0.5,
          low: overall?.low ?? 0,
          high: overall?.high ?? 1,
          reports: overall?.reports ?? 0,
          attested: overall?.attested ?? 0
        }))
      )
      return {
        url: client.at,
        online: healthy.length + degraded.length,
        traces: traces.reduce((sum, each) => sum + each.length, 0),
        published: published._tag === "Success",
        standings: standings.toSorted((a, b) => b.score - a.score)
      } satisfies Seen
    })
  )

/** Looks until all reports have come, at most `TOLD_MS`. */
export const look = (url: string, wanted: Wanted) =>
  Effect.gen(function* () {
    const client = yield* Client.make({ at: url })
    const began = performance.now()
    for (;;) {
      const seen: Seen = yield* lookOnce(client, wanted)
      const isComplete = seen.published && seen.standings.every(({ reports }) => reports > 0)
      if (isComplete || performance.now() - began > TOLD_MS) return seen
      yield* Effect.sleep("50 millis")
    }
  }).pipe(
    Effect.mapError((error: RegistryError) => error),
    Effect.provide(FetchHttpClient.layer)
  )
