/**
 * Verifies: an AgentMesh agent in Python, with nothing changed in it, registers, heartbeats, is discovered, is called by nodes of the
 * mesh and calls them; over the wire protocol alone always, and with AgentMesh's own SDK where `PARLEY_AGENTMESH_SDK` names a checkout.
 */
import { describe, expect } from "bun:test"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Capability from "@parley/core/Capability"
import { Node } from "@parley/core/Node"
import * as AgentMeshBridge from "@parley/registry/AgentMeshBridge"
import { makeMesh, type Member, reasonOf } from "../../core/test/mesh.ts"
import { skipTest } from "../../../test-support/Skip.ts"
import { client, type Row, serving, until } from "./agentmesh.ts"
import { absent, type Kind, start } from "./pythonAgent.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(effect).pipe(
      Effect.timeout("20 seconds"),
      Effect.catch((error) => Effect.die(error instanceof Error ? error : new Error(JSON.stringify(error))))
    )
  )

/** What came of a task that an agent delegated. */
interface Delegated {
  readonly status: string
  readonly output: Schema.Json
  readonly error: string | null
  readonly executor_id: string
}

/** A bridge at a node, which says what happens. */
const bridged = (node: Member, options: AgentMeshBridge.Options) =>
  Effect.gen(function* () {
    const events: Array<AgentMeshBridge.BridgeEvent> = []
    const context = yield* Layer.build(
      Layer.fresh(AgentMeshBridge.layer({ pollMs: 50, onEvent: (event) => events.push(event), ...options })).pipe(
        Layer.provide(Layer.succeed(Node, node))
      )
    )
    const bridge = yield* Effect.provide(AgentMeshBridge.AgentMeshBridge, context)
    /** Serves this capability of somebody. */
    const serves = (id: string) =>
      until(
        Effect.sync(() => bridge.served().map((each) => each.id)),
        (ids) => ids.includes(id),
        `${id} at the bridge`
      )
    return { bridge, events, serves }
  })

/** A registry, a mesh of two nodes, and a bridge at one of them. */
const world = (secret?: string) =>
  Effect.gen(function* () {
    const { url } = yield* serving(secret === undefined ? {} : { agentSecret: Redacted.make(secret) })
    const mesh = makeMesh()
    const gate = yield* mesh.node("gate")
    const far = yield* mesh.node("far")
    return { url, gate, far, api: client(url), secret: secret === undefined ? {} : { secret } }
  })

const scoreOf = (url: string, id: string) =>
  Effect.map(client(url).get(`/agents/${id}`), ({ body }) => Number((body as Row)["trust_score"]))

const kinds: ReadonlyArray<readonly [Kind, string]> = [
  ["wire", "an agent that speaks AgentMesh's wire protocol"],
  ["sdk", "an agent of AgentMesh's own SDK"]
]

for (const [kind, what] of kinds) {
  const test = skipTest(absent(kind))
  describe(what, () => {
    test(
      "registers, heartbeats, is discovered, does a task for a node, calls one, and leaves",
      () =>
        run(
          Effect.gen(function* () {
            const { api, far, gate, url } = yield* world()
            yield* gate.serve(
              Capability.untyped("text.reverse@1.0.0", { description: "Reverses a text", latencyMs: 5 }),
              (input) => Effect.succeed([...(input as { text: string }).text].reverse().join(""))
            )
            const { bridge, serves } = yield* bridged(gate, { at: url })
            const agent = yield* start(kind, { registry_url: url, name: "Data Agent", tags: ["math"] })
            expect(agent.id).toBe("agent-data-agent")

            // It is there, and its heartbeat is what keeps it there.
            const seen = yield* until(
              Effect.map(api.get(`/agents/${agent.id}`), ({ body }) => body as Row),
              (record) => String(record["last_heartbeat"]) > String(record["registered_at"]),
              "a heartbeat"
            )
            expect([seen["status"], seen["trust_score"]]).toEqual(["healthy", 0.5])
            const found = (yield* agent.ask({ do: "discover", capability: "add_numbers" })) as ReadonlyArray<Row>
            expect(found.map(({ manifest }) => (manifest as Row)["agent_id"])).toEqual([agent.id])

            // A node far from the registry finds it on the mesh, and calls it like any other.
            yield* serves("add_numbers@0.1.0")
            const [match] = yield* far.discover({ text: "adds two numbers" })
            expect(match?.capability).toMatchObject({
              name: "add_numbers",
              version: "0.1.0",
              description: "Adds two numbers",
              tags: ["agentmesh", "math"],
              metadata: { agentmesh: "add_numbers" },
              cost: { usdPerCall: 0.001 },
              input: { type: "object", properties: { a: { type: "number" }, b: { type: "number" } } }
            })
            expect(yield* far.call("add_numbers", { a: 19, b: 23 })).toEqual({ sum: 42 })
            expect(yield* far.call("shout", { text: "hey" })).toEqual({ result: "HEY" })
            yield* until(scoreOf(url, agent.id), (score) => score > 0.54, "more trust")
            const traces = yield* until(
              Effect.map(api.get("/traces"), ({ body }) => body as ReadonlyArray<Row>),
              (all) => all.filter((each) => each["event_type"] === "completed").length === 2,
              "traces"
            )
            expect(
              traces.slice(0, 3).map((each) => [each["event_type"], each["from_agent"], each["to_agent"]])
            ).toEqual([
              ["request_sent", bridge.agentId, agent.id],
              ["accepted", bridge.agentId, agent.id],
              ["completed", bridge.agentId, agent.id]
            ])
            // Its own report of how long it took stands in its record.
            const capabilities = (
              (yield* api.get(`/agents/${agent.id}`)).body as { manifest: { capabilities: ReadonlyArray<Row> } }
            ).manifest.capabilities
            expect(capabilities.some((each) => typeof each["avg_latency_ms"] === "number")).toBe(true)

            // The other way: it finds the mesh's capability in its registry, and delegates to it.
            yield* until(Effect.sync(bridge.isRegistered), Boolean, "the bridge's registration")
            const input = { text: "stressed" }
            const done = (yield* agent.ask({
              do: "delegate",
              capability: "text.reverse",
              input,
              deadline_ms: 5_000
            })) as Delegated
            expect([done.status, done.output, done.executor_id]).toEqual([
              "completed",
              { result: "desserts" },
              bridge.agentId
            ])
            yield* until(scoreOf(url, bridge.agentId), (score) => score > 0.5, "trust in the bridge")

            yield* agent.ask({ do: "stop" })
            expect((yield* api.get(`/agents/${agent.id}`)).status).toBe(404)
            yield* until(Effect.sync(bridge.served), (served) => served.length === 0, "its leave at the bridge")
            expect((yield* reasonOf(far.call("add_numbers", { a: 1, b: 2 }, { deadline: "1 second" })))._tag).toBe(
              "NoPeer"
            )
          })
        ),
      30_000
    )

    test(
      "counters when it is full, rejects what it has not, fails where its handler does, and each is told for what it is",
      () =>
        run(
          Effect.gen(function* () {
            const { far, gate, url } = yield* world()
            const agent = yield* start(kind, { registry_url: url, name: "Slow", max_concurrent_tasks: 1 })
            const { serves } = yield* bridged(gate, { at: url })
            yield* serves("wait-a-while@0.1.0")
            const busy = yield* Effect.forkChild(far.call("wait-a-while", { ms: 700 }))
            const api = client(url)
            yield* until(
              Effect.map(
                api.get("/stats"),
                ({ body }) => (body as { active_task_counts: Row }).active_task_counts[agent.id]
              ),
              (running) => running === 1,
              "a running task"
            )
            // The bridge knows the agent's places: it counters itself, with the mesh's own word.
            const countered = yield* reasonOf(far.call("wait-a-while", { ms: 1 }, { deadline: "300 millis" }))
            expect(countered._tag).toBe("Countered")
            // Somebody else has the place: the agent counters, and its word is passed on.
            const { far: other, gate: gate2 } = yield* world()
            const second = yield* bridged(gate2, { at: url, agentId: "second" })
            yield* second.serves("wait-a-while@0.1.0")
            const passedOn = yield* reasonOf(other.call("wait-a-while", { ms: 1 }, { deadline: "350 millis" }))
            expect(passedOn).toMatchObject({ _tag: "Countered" })
            expect(JSON.stringify(passedOn)).toContain("queue_full")
            expect(yield* Fiber.join(busy)).toEqual({ waited: 700 })

            const failed = yield* reasonOf(far.call("break_down", {}))
            expect(failed).toMatchObject({ _tag: "HandlerFailed", code: "AgentFailed", detail: `${agent.id}: boom` })
            yield* until(scoreOf(url, agent.id), (score) => score < 0.55, "less trust")

            const missing = yield* Effect.flip(
              agent.ask({ do: "delegate", capability: "nothing", input: {}, deadline_ms: 500 })
            )
            expect(missing).toContain("No agents found for capability 'nothing'")
          })
        ),
      30_000
    )

    test(
      "is told when the mesh rejects, fails or has no place",
      () =>
        run(
          Effect.gen(function* () {
            const { far, gate, url } = yield* world()
            const tell = (say: () => Effect.Effect<Schema.Json, string>) => say
            yield* far.serve(
              Capability.untyped("far.fail@1.0.0"),
              tell(() => Effect.fail("no luck"))
            )
            yield* far.serve(
              Capability.untyped("far.refuse@1.0.0"),
              tell(() => Effect.succeed(1)),
              {
                negotiate: () => ({ _tag: "Reject", code: "NotToday", detail: "it is Sunday" })
              }
            )
            yield* far.serve(
              Capability.untyped("far.later@1.0.0"),
              tell(() => Effect.succeed(1)),
              {
                negotiate: () => ({ _tag: "Counter", deadlineMs: 60_000, detail: "busy" })
              }
            )
            const { bridge, events } = yield* bridged(gate, {
              at: url,
              inbound: { offer: ["far.*"] },
              outbound: false
            })
            yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration")
            expect(bridge.offered()).toEqual(["far.fail", "far.later", "far.refuse"])
            const agent = yield* start(kind, { registry_url: url, name: "Asker" })
            const delegate = (capability: string) =>
              agent.ask({ do: "delegate", capability, input: {}, deadline_ms: 2_000 })
            const failed = (yield* delegate("far.fail")) as Delegated
            expect([failed.status, failed.output]).toEqual(["failed", {}])
            expect(failed.error).toContain("no luck")
            expect(yield* Effect.flip(delegate("far.refuse"))).toContain("rejected")
            expect(yield* Effect.flip(delegate("far.later"))).toContain("Counter-proposal deadline too far: 60000")
            expect(events.some(({ _tag }) => _tag === "TaskEnded")).toBe(true)
          })
        ),
      30_000
    )

    test(
      "gets in with the shared secret as it is, and nobody does without",
      () =>
        run(
          Effect.gen(function* () {
            const { api, far, gate, secret, url } = yield* world("open sesame, please")
            const agent = yield* start(kind, { registry_url: url, name: "Keeper", secret: "open sesame, please" })
            yield* gate.serve(Capability.untyped("far.echo@1.0.0"), (input) => Effect.succeed(input))
            const { bridge, serves } = yield* bridged(gate, { at: url, ...secret })
            yield* serves("add_numbers@0.1.0")
            expect(yield* far.call("add_numbers", { a: 1, b: 2 })).toEqual({ sum: 3 })
            yield* until(scoreOf(url, agent.id), (score) => score > 0.5, "trust")
            yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration")
            const done = (yield* agent.ask({
              do: "delegate",
              capability: "far.echo",
              input: { n: 1 },
              deadline_ms: 5_000
            })) as Delegated
            expect(done.output).toEqual({ n: 1 })
            yield* until(scoreOf(url, bridge.agentId), (score) => score > 0.5, "trust in the bridge")
            const traces = yield* api.get("/traces")
            expect(traces.status).toBe(401)

            const thief = yield* start(kind, { registry_url: url, name: "Thief", secret: "guess" })
            expect((yield* api.get(`/agents/${thief.id}`)).status).toBe(404)
            yield* agent.ask({ do: "stop" })
            expect((yield* api.get(`/agents/${agent.id}`)).status).toBe(404)
          })
        ),
      30_000
    )
  })
}
