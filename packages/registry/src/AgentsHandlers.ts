/**
 * The handlers of agents: register, leave, list, and what is known of one.
 */
import { randomBytes } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import { Identity } from "@parley/core/Identity"
import { Admission, isNodes, nodesOwn } from "./Admission.ts"
import { Api, Caller } from "./Api.ts"
import * as Commands from "./Commands.ts"
import { FirstLeases } from "./FirstLeases.ts"
import * as Answers from "./internal/Answers.ts"
import { matches } from "./internal/AgentFilter.ts"
import * as Listing from "./internal/Listing.ts"
import { credentialsOf } from "./internal/Who.ts"
import { Ledger } from "./Ledger.ts"
import { MAX_MANIFEST_BYTES, type Manifest } from "./Model.ts"
import { NodeLeases } from "./NodeLeases.ts"
import { Presence } from "./Presence.ts"
import { Auth, mayActFor } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { instant, recordJson } from "./RecordJson.ts"
import * as Statement from "./Statement.ts"
import { Store } from "./Store.ts"
import { type Agent, World } from "./World.ts"

/** Points of a trust history where the query does not say: as in AgentMesh. */
export const DEFAULT_HISTORY = 50

const storeFailed = new Problem.Unavailable({ detail: "The registry's database does not answer: try again" })

/** The handlers of agents. */
export const layer = HttpApiBuilder.group(
  Api,
  "agents",
  Effect.fnUntraced(function* (handlers) {
    const admission = yield* Admission
    const auth = yield* Auth
    const clock = yield* Clock.Clock
    const identity = yield* Identity
    const ledger = yield* Ledger
    const firstLeases = yield* FirstLeases
    const nodeLeases = yield* NodeLeases
    const presence = yield* Presence
    const store = yield* Store
    const world = yield* World
    const list = Listing.make(world)
    const now = (): number => clock.currentTimeMillisUnsafe()
    const find = (id: string): Effect.Effect<Agent, Problem.NotFound> => {
      const agent = world.get(id)
      return agent === undefined ? Effect.fail(Commands.notFound(id)) : Effect.succeed(agent)
    }
    const written = (agent: Agent) => Answers.json(recordJson(world, agent, now()))

    return handlers.handleAll({
      register: Effect.fnUntraced(function* ({ payload, request }) {
        const id = payload.agent_id ?? `agent-${randomBytes(4).toString("hex")}`
        const manifest: Manifest = { ...payload, agent_id: id }
        const bytes = Buffer.byteLength(JSON.stringify(manifest))
        if (bytes > MAX_MANIFEST_BYTES) {
          return yield* new Problem.TooLarge({
            detail: `The manifest has ${bytes} bytes of JSON, at most ${MAX_MANIFEST_BYTES} are kept: shorten its schemas`
          })
        }
        const credentials = credentialsOf(request)
        if (auth.mode === "secret" && credentials.token === undefined) {
          // AgentMesh's SDK registers first and proves the secret after that.
          const known = world.get(id)
          if (known !== undefined && world.isOnline(known, now())) {
            return yield* new Problem.Conflict({ detail: `Agent ${id} already registered` })
          }
          yield* Effect.mapError(admission.hold(manifest, credentials.address), Problem.ofAuth)
          return pending(manifest)
        }
        const principal = yield* Effect.mapError(auth.identify(credentials), Problem.ofAuth)
        if (!mayActFor(principal, id)) {
          return yield* new Problem.Forbidden({ detail: "Token agent_id does not match manifest.agent_id" })
        }
        if (isNodes(id) && principal.kind === "local") return yield* Problem.ofAuth(nodesOwn)
        const agent = yield* ledger.commit(Commands.register(manifest))
        yield* firstLeases.open(id)
        return written(agent)
      }),
      deregister: Effect.fnUntraced(function* ({ params: { id } }) {
        if (!mayActFor(yield* Caller, id)) {
          return yield* new Problem.Forbidden({ detail: "Cannot deregister another agent" })
        }
        yield* ledger.commit(Commands.leave(id))
        nodeLeases.forget(id)
        yield* firstLeases.end(id)
        yield* presence.drop(id)
        yield* Effect.mapError(admission.revoke(id), () => storeFailed)
        return { status: "deregistered" as const, agent_id: id }
      }),
      list: Effect.fnUntraced(function* ({ query, request }) {
        const at = now()
        const { next, rows } = yield* list({
          cursor: query.cursor,
          limit: query.limit,
          wants: matches(world, query, at),
          row: (agent) => recordJson(world, agent, at)
        })
        return Answers.tagged(request, `[${rows.join(",")}]`, next === undefined ? {} : Answers.nextLink(request, next))
      }),
      get: ({ params }) => Effect.map(find(params.id), written),
      trustHistory: Effect.fnUntraced(function* ({ params, query }) {
        const { id } = yield* find(params.id)
        const points = yield* store
          .history(id, {
            limit: query.limit ?? DEFAULT_HISTORY,
            ...(query.capability === undefined ? {} : { capability: query.capability })
          })
          .pipe(Effect.mapError(() => storeFailed))
        const history = points.map(({ at, score }) => ({
          score: Math.round(score * 10_000) / 10_000,
          timestamp: instant(at)
        }))
        return { agent_id: id, history }
      }),
      trust: ({ params }) =>
        Effect.map(find(params.id), ({ id }) => ({
          agent_id: id,
          standings: world.reputation.standings(id, now()),
          circuits: world.circuits.all(id, now()).map(({ capability, failures, retryAfterMs, state }) => ({
            capability,
            state,
            failures,
            retry_after_ms: retryAfterMs
          })),
          latencies: world.latencies.all(id).map(({ capability, p50, p95, samples }) => ({
            capability,
            p50_ms: p50,
            p95_ms: p95,
            samples
          }))
        })),
      statement: ({ params }) =>
        Effect.flatMap(find(params.id), ({ id }) =>
          Effect.try({
            try: () => {
              const statement = Statement.make(identity, world.reputation, { agent: id, head: world.link, now: now() })
              return Answers.json(JSON.stringify(statement))
            },
            catch: () => new Problem.Unavailable({ detail: "The registry's evidence is being read: try again" })
          })
        )
    })

    /** How a registration looks while it waits for its secret: as it will be. */
    function pending(manifest: Manifest) {
      const at = now()
      const { completed, failed } = world.counters(manifest.agent_id)
      return {
        manifest,
        trust_score: world.reputation.score(manifest.agent_id, "", at),
        status: "healthy" as const,
        registered_at: instant(at),
        last_heartbeat: instant(at),
        tasks_completed: completed,
        tasks_failed: failed
      }
    }
  })
)
