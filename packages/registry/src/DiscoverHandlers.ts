/**
 * The handlers of discovery: AgentMesh's query, and what capabilities there are.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import { Api } from "./Api.ts"
import type { Score } from "./ApiModel.ts"
import { Finder, type Found } from "./Discover.ts"
import * as Answers from "./internal/Answers.ts"
import type { DiscoveryQuery } from "./Model.ts"
import { instant, recordJson } from "./RecordJson.ts"
import { type Knowledge, World } from "./World.ts"

/** Names of capabilities that one answer lists where the query does not say. */
export const DEFAULT_CAPABILITIES = 100

/** Finds agents in the world. */
export class Discovery extends Context.Service<Discovery, Finder>()("@parley/registry/DiscoverHandlers/Discovery") {}

/** Finds agents in the world; `random` decides when newcomers are tried. */
export const layerDiscovery = (random?: () => number): Layer.Layer<Discovery, never, World> =>
  Layer.effect(
    Discovery,
    Effect.map(World, (world) => new Finder(world, random))
  )

/** Why somebody stands where he stands. */
export const scoreOf = ({ agent, match }: Found): Score => ({
  agent_id: agent.id,
  capability: match.capability.name,
  score: match.score,
  parts: match.parts
})

const echo = (query: DiscoveryQuery): string => JSON.stringify(query)

const answer = (world: Knowledge, query: DiscoveryQuery, found: ReadonlyArray<Found>, now: number): string => {
  const agents = found.map(({ agent }) => recordJson(world, agent, now)).join(",")
  const scores = query.explain === true ? `,"scores":${JSON.stringify(found.map(scoreOf))}` : ""
  return `{"agents":[${agents}],"query":${echo(query)},"matched_at":"${instant(now)}"${scores}}`
}

interface Summary {
  description: string
  agents: number
  online: number
}

/** So many agents are counted anew each time; what there is of more holds for `SUMMARIES_MS`. */
const FEW_AGENTS = 1_000
/** How long capabilities of many agents hold, in milliseconds: each agent is looked at for them. */
export const SUMMARIES_MS = 1_000

/** The capabilities there are, by name. */
const summaries = (world: Knowledge, now: number): ReadonlyMap<string, Summary> => {
  const found = new Map<string, Summary>()
  for (const agent of world.all()) {
    const online = world.isOnline(agent, now) ? 1 : 0
    for (const name of new Set(agent.record.capabilities.map((capability) => capability.name))) {
      const summary = found.get(name)
      if (summary !== undefined) {
        summary.agents++
        summary.online += online
        continue
      }
      const description = agent.record.capabilities.find((capability) => capability.name === name)?.description ?? ""
      found.set(name, { description, agents: 1, online })
    }
  }
  return found
}

/** The handlers of discovery. */
export const layer = HttpApiBuilder.group(
  Api,
  "discover",
  Effect.fnUntraced(function* (handlers) {
    const clock = yield* Clock.Clock
    const finder = yield* Discovery
    const world = yield* World
    let counted: { readonly at: number; readonly all: ReadonlyMap<string, Summary> } | undefined
    const current = (now: number): ReadonlyMap<string, Summary> => {
      if (counted === undefined || now - counted.at >= SUMMARIES_MS || world.size <= FEW_AGENTS) {
        counted = { at: now, all: summaries(world, now) }
      }
      return counted.all
    }
    return handlers.handleAll({
      discover: ({ payload }) =>
        Effect.sync(() => {
          const now = clock.currentTimeMillisUnsafe()
          return Answers.json(answer(world, payload, finder.discover(payload, now), now))
        }),
      capabilities: ({ query, request }) =>
        Effect.sync(() => {
          const words = (query.q ?? "").toLowerCase().split(/\s+/).filter(Boolean)
          const all = [...current(clock.currentTimeMillisUnsafe())].filter(([name, { description }]) => {
            const text = `${name}\n${description}`.toLowerCase()
            return words.every((word) => text.includes(word))
          })
          // The most offered first; of equal ones by name.
          all.sort(([a, { agents: many }], [b, { agents: more }]) => more - many || (a < b ? -1 : 1))
          const listed = all.slice(0, query.limit ?? DEFAULT_CAPABILITIES)
          return Answers.tagged(request, JSON.stringify(listed.map(([name, summary]) => ({ name, ...summary }))))
        })
    })
  })
)
