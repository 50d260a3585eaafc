import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as Identity from "@parley/core/Identity"
import * as Client from "../src/Client.ts"
import * as LimitsMemory from "../src/LimitsMemory.ts"
import * as PresenceMemory from "../src/PresenceMemory.ts"
import * as Reporter from "../src/Reporter.ts"
import * as Server from "../src/Server.ts"
import * as StoreSqlite from "../src/StoreSqlite.ts"

/** A registry of this process that asks for keys, and forgets everything with its scope. */
const registry = (port = 0) =>
  Effect.map(
    Layer.build(
      Layer.fresh(
        Server.layer({ port, mode: "keys" }).pipe(
          Layer.provide([StoreSqlite.layer(":memory:"), PresenceMemory.layer, LimitsMemory.layer])
        )
      )
    ),
    (context) => Context.get(context, Server.RegistryServer)
  )

const clientOf = (at: string, identity = Identity.generate()) =>
  Effect.map(
    Layer.build(Client.layer({ at }).pipe(Layer.provide(Layer.succeed(Identity.Identity, identity)))),
    (context) => Context.get(context, Client.Client)
  )

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(Effect.provideService(effect, References.MinimumLogLevel, "None")))

const traceOf = (client: Client.Client["Service"], task: string): Reporter.Trace => ({
  task_id: task,
  event_type: "request_sent",
  from_agent: client.nodeId,
  to_agent: "somebody",
  payload: {}
})

const keep = (client: Client.Client["Service"]) => {
  const record = AgentRecord.make(client.identity, {
    name: "ada",
    seq: 1,
    issuedAt: Date.now(),
    addresses: ["tcp://127.0.0.1:1"],
    capabilities: [{ name: "text.echo", version: "1.0.0" }]
  })
  return client.use("keep", (api) => api.nodes.put({ params: { node: client.nodeId }, payload: record }))
}

describe("a registry's client", () => {
  test("says what went wrong, where, and what to do", () =>
    run(
      Effect.gen(function* () {
        expect(yield* Effect.flip(clientOf("registry.example"))).toMatchObject({ code: "BadUrl" })
        expect(yield* Effect.flip(clientOf("http://user:secret@registry.example"))).toMatchObject({ code: "BadUrl" })
        const gone = yield* clientOf("http://127.0.0.1:1")
        const away = yield* Effect.flip(gone.use("look", (api) => api.service.stats()))
        expect(away).toMatchObject({ code: "Unreachable", operation: "look", at: "http://127.0.0.1:1" })
        const { url } = yield* registry()
        const client = yield* clientOf(`${url}/`)
        expect(client.at).toBe(url)
        const none = yield* Effect.flip(client.use("look", (api) => api.agents.get({ params: { id: "nobody" } })))
        expect(none).toMatchObject({ code: "NotFound", status: 404 })
        expect(none.message).toBe(`registry ${url}: look: it answered 404: Agent nobody not found`)
        const lying = { ...traceOf(client, "1"), from_agent: "somebody else" }
        const refused = yield* Effect.flip(client.use("tell", (api) => api.traces.add({ payload: lying })))
        expect(refused).toMatchObject({ code: "Refused", status: 403 })
      })
    ))

  test(
    "logs in by its key, and again at a registry that does not know its token any more",
    () =>
      run(
        Effect.gen(function* () {
          const first = yield* Scope.make()
          const { port, url } = yield* Scope.provide(registry(), first)
          const client = yield* clientOf(url)
          const tell = (task: string) => client.use("tell", (api) => api.traces.add({ payload: traceOf(client, task) }))
          yield* Effect.all([tell("1"), tell("2"), tell("3")], { concurrency: "unbounded" })
          yield* Scope.close(first, Exit.void)
          yield* registry(port)
          yield* tell("4")
          const traces = yield* client.use("look", (api) => api.traces.list({ query: {} }))
          expect(traces.map(({ from_agent, task_id }) => [from_agent, task_id])).toEqual([[client.nodeId, "4"]])
        })
      ),
    30_000
  )

  test(
    "follows events from a cursor on",
    () =>
      run(
        Effect.gen(function* () {
          const { url } = yield* registry()
          const [ada, bob, ear] = [yield* clientOf(url), yield* clientOf(url), yield* clientOf(url)]
          yield* keep(ada)
          const all = yield* Stream.runCollect(Stream.take(ear.events({ cursor: 0, types: ["agent.registered"] }), 1))
          const opened = yield* Deferred.make<void>()
          const heard = yield* Effect.forkChild(
            ear
              .events({
                cursor: all[0]?.cursor ?? 0,
                types: ["agent.registered"],
                onOpen: Deferred.succeed(opened, undefined)
              })
              .pipe(Stream.take(1), Stream.runCollect)
          )
          yield* Deferred.await(opened)
          yield* keep(bob)
          const [next] = yield* Fiber.join(heard)
          expect(all[0]?.data).toMatchObject({ agent_id: ada.nodeId, node: true })
          expect(next?.data).toMatchObject({ agent_id: bob.nodeId })
        })
      ),
    30_000
  )

  test(
    "tells in the background, also what came while the registry was away",
    () =>
      run(
        Effect.gen(function* () {
          const first = yield* Scope.make()
          const { port, url } = yield* Scope.provide(registry(), first)
          const client = yield* clientOf(url)
          yield* Scope.close(first, Exit.void)
          const context = yield* Layer.build(Reporter.layer.pipe(Layer.provide(Layer.succeed(Client.Client, client))))
          const reporter = Context.get(context, Reporter.Reporter)
          for (let task = 0; task < 20; task++) reporter.trace(traceOf(client, "one"))
          while (!reporter.status().away) yield* Effect.yieldNow
          yield* registry(port)
          while (reporter.status().told < 20) yield* Effect.sleep("5 millis")
          expect(reporter.status()).toMatchObject({ told: 20, dropped: 0, refused: 0, away: false })
          const traces = yield* client.use("look", (api) => api.traces.list({ query: { task_id: "one" } }))
          expect(traces.length).toBe(20)
        })
      ),
    30_000
  )
})
