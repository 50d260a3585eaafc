/**
 * The handlers of nodes: signed records, kept and found.
 *
 * A record's own signature is the permission to keep it. The higher `seq` wins; a tombstone takes the node out, and its `seq` is
 * remembered, so that an older record that is still alive does not bring the node back. The same record again renews the lease,
 * which wants the node's token: everybody can read a record, and could keep a node that is gone alive with it.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as AgentRecord from "@parley/core/AgentRecord"
import { NodeId } from "@parley/core/NodeId"
import * as Query from "@parley/core/Query"
import * as Schema from "effect/Schema"
import { Api } from "./Api.ts"
import * as Commands from "./Commands.ts"
import { Discovery, scoreOf } from "./DiscoverHandlers.ts"
import * as Answers from "./internal/Answers.ts"
import * as Listing from "./internal/Listing.ts"
import { credentialsOf } from "./internal/Who.ts"
import { Ledger } from "./Ledger.ts"
import * as NodeManifest from "./NodeManifest.ts"
import { NodeLeases } from "./NodeLeases.ts"
import { LEASE_MS, Presence } from "./Presence.ts"
import { Auth, mayActFor } from "./Principal.ts"
import * as Problem from "./Problem.ts"
import { Store } from "./Store.ts"
import { World } from "./World.ts"

/** Records of one answer where the query does not say. */
export const DEFAULT_NODES = 100

const isNodeId = Schema.is(NodeId)
const storeFailed = new Problem.Unavailable({ detail: "The registry's database does not answer: try again" })
const tombstoneKey = (node: string): string => `tombstone/${node}`

const refusalOf = (refused: AgentRecord.RecordRefused) => {
  const detail = refused.message
  switch (refused.reason._tag) {
    case "WrongSigner":
    case "BadSignature":
      return new Problem.Forbidden({ detail })
    case "NotNewer":
      return new Problem.Conflict({ detail })
    case "Oversized":
      return new Problem.TooLarge({ detail })
    case "Expired":
    case "FromFuture":
    case "LifetimeTooLong":
    case "Malformed":
      return new Problem.Unprocessable({ detail })
  }
}

/** The handlers of nodes. */
export const layer = HttpApiBuilder.group(
  Api,
  "nodes",
  Effect.fnUntraced(function* (handlers) {
    const auth = yield* Auth
    const clock = yield* Clock.Clock
    const finder = yield* Discovery
    const ledger = yield* Ledger
    const leases = yield* NodeLeases
    const presence = yield* Presence
    const store = yield* Store
    const world = yield* World
    const list = Listing.make(world)
    const now = (): number => clock.currentTimeMillisUnsafe()

    /** Only the node says that it is still there; in open mode everybody is believed. */
    const itself = Effect.fnUntraced(function* (node: string, request: HttpServerRequest) {
      const credentials = credentialsOf(request)
      if (auth.mode === "open" && credentials.token === undefined) return
      const principal = yield* Effect.mapError(auth.identify(credentials), Problem.ofAuth)
      if (mayActFor(principal, node)) return
      return yield* new Problem.Forbidden({ detail: `The token is not ${node}'s, which alone renews its lease` })
    })

    return handlers.handleAll({
      put: Effect.fnUntraced(function* ({ params: { node }, payload, request }) {
        if (!isNodeId(node)) return yield* new Problem.Unprocessable({ detail: "The path names no NodeId: z6Mk…" })
        const agent = world.get(node)
        const known = agent?.isNode === true ? agent.record : undefined
        const record = AgentRecord.verify(payload, { now: now(), known, expect: node })
        if (record instanceof AgentRecord.RecordRefused) return yield* refusalOf(record)
        const trust_score = world.reputation.score(node, "", now())
        if (AgentRecord.isTombstone(record)) {
          yield* store.putSecret(tombstoneKey(node), String(record.seq), true).pipe(Effect.mapError(() => storeFailed))
          if (agent !== undefined) {
            yield* Effect.catchTag(ledger.commit(Commands.leave(node)), "NotFound", () => Effect.void)
          }
          leases.forget(node)
          yield* presence.drop(node)
          return { lease_ms: 0, seq: record.seq, trust_score }
        }
        if (known === undefined) {
          const buried = yield* Effect.mapError(store.getSecret(tombstoneKey(node)), () => storeFailed)
          if (buried !== undefined && record.seq <= Number(buried)) {
            return yield* new Problem.Conflict({
              detail: `The node has taken leave with seq ${buried}: issue a record with a higher one`
            })
          }
        }
        if (record === known) yield* itself(node, request)
        // The same record again renews the lease, and nothing is written.
        const seq = record === known ? record.seq : yield* ledger.commit(Commands.keep(NodeManifest.of(record), record))
        yield* leases.renew(node)
        return { lease_ms: LEASE_MS, seq, trust_score }
      }),
      get: ({ params: { node }, request }) =>
        Effect.suspend(() => {
          const agent = world.get(node)
          return agent?.isNode === true
            ? Effect.succeed(Answers.tagged(request, JSON.stringify(agent.record)))
            : Effect.fail(new Problem.NotFound({ detail: `Node ${node} is not known here` }))
        }),
      list: Effect.fnUntraced(function* ({ query, request }) {
        const at = now()
        const { next, rows } = yield* list({
          cursor: query.cursor,
          limit: query.limit ?? DEFAULT_NODES,
          wants: (agent) => agent.isNode && (query.active === undefined || world.isOnline(agent, at) === query.active),
          row: (agent) => JSON.stringify(agent.record)
        })
        return Answers.tagged(request, `[${rows.join(",")}]`, next === undefined ? {} : Answers.nextLink(request, next))
      }),
      search: Effect.fnUntraced(function* ({ payload }) {
        const wrong = Query.check(payload)
        if (wrong !== undefined) return yield* new Problem.Unprocessable({ detail: wrong })
        const found = finder.search(payload, now(), true)
        const records = found.map(({ agent }) => JSON.stringify(agent.record)).join(",")
        return Answers.json(`{"records":[${records}],"scores":${JSON.stringify(found.map(scoreOf))}}`)
      })
    })
  })
)
