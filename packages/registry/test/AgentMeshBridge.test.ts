/** Verifies: a bridge serves agents as they come and go, asks the next one where that is safe, and outlives its registry. */
import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Capability from "@parley/core/Capability"
import { Node } from "@parley/core/Node"
import * as AgentMeshBridge from "@parley/registry/AgentMeshBridge"
import * as Listener from "@parley/registry/AgentMeshListener"
import * as Registry from "@parley/registry/AgentMeshRegistry"
import { makeMesh, type Member, reasonOf } from "../../core/test/mesh.ts"
import { client, described, manifest, type Row, serving, until } from "./agentmesh.ts"

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(effect).pipe(Effect.timeout("25 seconds")))

const bridged = (node: Member, options: AgentMeshBridge.Options) =>
  Effect.map(
    Layer.build(
      Layer.fresh(AgentMeshBridge.layer({ pollMs: 40, ...options })).pipe(Layer.provide(Layer.succeed(Node, node)))
    ),
    (context) =>
      context.mapUnsafe.get(AgentMeshBridge.AgentMeshBridge.key) as AgentMeshBridge.AgentMeshBridge["Service"]
  )

const done = (agent: string): Listener.Outcome => ({ _tag: "Completed", output: { by: agent } })

/** An AgentMesh agent of this process: a task socket, a registration, a heartbeat. */
const agent = (url: string, id: string, work: Listener.Run = () => Effect.succeed(done(id)), more: object = {}) =>
  Effect.gen(function* () {
    const asked: Array<string> = []
    const { port } = yield* Listener.make({
      agentId: id,
      run: (request, accept) => {
        asked.push(request.capability)
        return work(request, accept)
      }
    })
    const registry = yield* Registry.make({ at: url, agentId: id })
    const capabilities = [
      { ...described("work"), input_schema: {}, output_schema: {}, avg_latency_ms: 50, cost_per_call_usd: null }
    ]
    yield* registry.register({
      ...manifest(),
      agent_id: id,
      version: "0.1.0",
      description: "",
      mcp_servers: [],
      max_concurrent_tasks: 3,
      tags: [],
      capabilities,
      endpoint: `ws://127.0.0.1:${port}`,
      ...more
    })
    const heartbeat = yield* registry.heartbeat
    yield* Effect.forkScoped(heartbeat.beat)
    return { asked, leave: registry.deregister }
  })
const trust = (url: string, id: string, quality: number) =>
  client(url).post(`/trust/update?agent_id=${id}&success=true&quality=${quality}`)
const agentsOf = (bridge: AgentMeshBridge.AgentMeshBridge["Service"]) =>
  Effect.sync(() =>
    bridge
      .served()
      .flatMap(({ agents }) => agents)
      .sort()
  )
const ground = Effect.gen(function* () {
  const { url } = yield* serving()
  const mesh = makeMesh()
  return { url, gate: yield* mesh.node("gate"), far: yield* mesh.node("far"), mesh }
})

describe("agents behind one capability", () => {
  test("the most trusted is asked first; whoever refuses or is gone makes room for the next", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, url } = yield* ground
        const refuses = yield* agent(url, "a-refuses", () => Effect.succeed({ _tag: "Rejected", reason: "not today" }))
        const gone = manifest({
          agent_id: "b-gone",
          endpoint: "ws://127.0.0.1:1025",
          capabilities: [described("work")]
        })
        yield* client(url).post("/agents/register", gone)
        yield* agent(url, "c-works")
        yield* trust(url, "a-refuses", 1)
        yield* trust(url, "b-gone", 0.9)
        const bridge = yield* bridged(gate, { at: url, inbound: false })
        yield* until(agentsOf(bridge), (all) => all.length === 3, "three agents")
        expect(bridge.served().map(({ id }) => id)).toEqual(["work@0.1.0"])
        expect(yield* far.call("work", {})).toEqual({ by: "c-works" })
        expect(refuses.asked).toEqual(["work"])
        // Nobody was punished for a refusal.
        const record = (yield* client(url).get("/agents/a-refuses")).body as Row
        expect(record["tasks_failed"]).toBe(0)
      })
    ))

  test("a task that was taken is given to nobody else", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, url } = yield* ground
        yield* agent(url, "a-fails", (_request, accept) => {
          accept({ _tag: "Accepted", estimateMs: 1 })
          return Effect.succeed({ _tag: "Failed", error: "half done" })
        })
        const other = yield* agent(url, "b-works")
        yield* trust(url, "a-fails", 1)
        const bridge = yield* bridged(gate, { at: url, inbound: false })
        yield* until(agentsOf(bridge), (all) => all.length === 2, "two agents")
        expect(yield* reasonOf(far.call("work", {}))).toMatchObject({
          _tag: "HandlerFailed",
          code: "AgentFailed",
          detail: "a-fails: half done"
        })
        expect(other.asked).toEqual([])
      })
    ))

  test("when all refuse, the caller hears a refusal, and goes on to somebody who is no bridge", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, mesh, url } = yield* ground
        yield* agent(url, "a", () => Effect.succeed({ _tag: "Rejected", reason: "not today" }))
        const bridge = yield* bridged(gate, { at: url, inbound: false })
        yield* until(agentsOf(bridge), (all) => all.length === 1, "the agent")
        expect(yield* reasonOf(far.call("work", {}))).toMatchObject({
          _tag: "Rejected",
          code: "Rejected",
          detail: "a: not today"
        })
        const native = yield* mesh.node("native")
        yield* native.serve(Capability.untyped("work@0.1.0"), () => Effect.succeed("native"))
        const answer = yield* far.request("work", {}, { where: { preferPeers: [gate.nodeId] } })
        expect([answer.output, answer.attempts[0]?._tag]).toEqual(["native", "Rejected"])
      })
    ))

  test("an agent that takes a task and lets the deadline pass has failed", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, url } = yield* ground
        yield* agent(url, "sleeper", (_request, accept) => {
          accept({ _tag: "Accepted", estimateMs: 1 })
          return Effect.never
        })
        const bridge = yield* bridged(gate, { at: url, inbound: false })
        yield* until(agentsOf(bridge), (all) => all.length === 1, "the agent")
        const reason = yield* reasonOf(far.call("work", {}, { deadline: "1 second" }))
        expect(reason._tag).toBe("DeadlineExceeded")
        const failed = yield* until(
          Effect.map(client(url).get("/traces"), ({ body }) =>
            (body as ReadonlyArray<Row>).find((event) => event["event_type"] === "failed")
          ),
          (event) => event !== undefined,
          "a trace of the failure"
        )
        expect(failed?.["payload"]).toEqual({ error: "timeout" })
        yield* until(
          Effect.map(client(url).get("/agents/sleeper"), ({ body }) => (body as Row)["tasks_failed"]),
          (count) => count === 1,
          "the report"
        )
      })
    ))
})

describe("what is served", () => {
  test("follows agents as they come, change and go; names that would become one stay apart", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, url } = yield* ground
        const events: Array<string> = []
        const bridge = yield* bridged(gate, {
          at: url,
          inbound: false,
          onEvent: (event) => {
            if (event._tag === "Joined" || event._tag === "Left") events.push(`${event._tag} ${event.agent}`)
          }
        })
        expect(bridge.served()).toEqual([])
        const { leave } = yield* agent(url, "names", undefined, {
          capabilities: [described("Count Words"), described("count-words"), described("Ünïcode")],
          tags: ["text"]
        })
        const served = yield* until(
          Effect.sync(() => bridge.served().map(({ id, original }) => [id.replace(/-[0-9a-f]{6}@/, "-…@"), original])),
          (all) => all.length === 3,
          "three capabilities"
        )
        expect(served.sort()).toEqual([
          ["count-words-…@0.1.0", "Count Words"],
          ["count-words@0.1.0", "count-words"],
          ["n-code@0.1.0", "Ünïcode"]
        ])
        expect(yield* far.call("count-words", {})).toEqual({ by: "names" })
        yield* leave
        yield* until(agentsOf(bridge), (all) => all.length === 0, "nobody")
        expect((yield* reasonOf(far.call("count-words", {}, { deadline: "500 millis" })))._tag).toBe("NoPeer")
        expect(events).toEqual([..."JJJ"].map(() => "Joined names").concat([..."LLL"].map(() => "Left names")))
      })
    ))

  test("is nothing of other bridges, of what may not be dialled, or of what was not wanted", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, url } = yield* ground
        yield* far.serve(Capability.untyped("far.work@1.0.0"), () => Effect.succeed({}))
        const other = yield* bridged(far, { at: url, agentId: "other", outbound: false })
        yield* until(Effect.sync(other.isRegistered), Boolean, "the other bridge")
        for (const [id, endpoint] of [
          ["http", "http://127.0.0.1:9000"],
          ["metadata", "ws://169.254.169.254/"]
        ] as const) {
          yield* client(url).post(
            "/agents/register",
            manifest({ agent_id: id, endpoint, capabilities: [described(id)] })
          )
        }
        const wanted = yield* agent(url, "wanted", undefined, { capabilities: [described("yes"), described("no")] })
        const bridge = yield* bridged(gate, {
          at: url,
          inbound: false,
          outbound: { accepts: (name) => name !== "no" }
        })
        yield* until(agentsOf(bridge), (all) => all.includes("wanted"), "the agent")
        expect(
          bridge
            .served()
            .map(({ original }) => original)
            .sort()
        ).toEqual(["metadata", "yes"])
        expect(yield* reasonOf(far.call("metadata", {}))).toMatchObject({ _tag: "Rejected", code: "Forbidden" })
        expect(wanted.asked).toEqual([])
      })
    ))
})

describe("the registration", () => {
  test("follows what the node serves, and keeps its trust", () =>
    run(
      Effect.gen(function* () {
        const { gate, url } = yield* ground
        const bridge = yield* bridged(gate, { at: url, agentId: "bridge", outbound: false })
        yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration")
        yield* trust(url, "bridge", 1)
        yield* gate.serve(
          Capability.untyped("text.count@1.2.0", { description: "Counts", cost: { usdPerCall: 0.5 } }),
          () => Effect.succeed(1)
        )
        const record = yield* until(
          Effect.map(client(url).get("/agents/bridge"), ({ body }) => body as Row),
          (now) => ((now["manifest"] as Row)["capabilities"] as ReadonlyArray<unknown>).length === 1,
          "the new offer"
        )
        expect(record["trust_score"]).toBe(0.55)
        expect(record["manifest"]).toMatchObject({
          endpoint: bridge.endpoint,
          tags: ["parley"],
          capabilities: [{ name: "text.count", description: "Counts", cost_per_call_usd: 0.5 }]
        })
      })
    ))

  test(
    "comes back by itself after the registry was away, and agents are served meanwhile",
    () =>
      run(
        Effect.gen(function* () {
          const mesh = makeMesh()
          const gate = yield* mesh.node("gate")
          const life = yield* Scope.make()
          const { port, url } = yield* Scope.provide(serving(), life)
          const events: Array<string> = []
          const bridge = yield* bridged(gate, { at: url, onEvent: ({ _tag }) => events.push(_tag) })
          yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration")
          yield* agent(url, "steady")
          yield* until(agentsOf(bridge), (all) => all.length === 1, "the agent")
          yield* Scope.close(life, Exit.void)
          yield* until(Effect.sync(bridge.isRegistered), (is) => !is, "the absence")
          expect(yield* gate.call("work", {})).toEqual({ by: "steady" })
          yield* serving({ port })
          yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration again")
          expect(events.filter((tag) => tag === "Registered").length).toBe(2)
          expect((yield* client(url).get(`/agents/${bridge.agentId}`)).status).toBe(200)
        })
      ),
    30_000
  )

  test("waits for an id that is taken, and takes it when it is free", () =>
    run(
      Effect.gen(function* () {
        const { gate, url } = yield* ground
        const { leave } = yield* agent(url, "wanted-id")
        const bridge = yield* bridged(gate, { at: url, agentId: "wanted-id", outbound: false })
        expect(bridge.isRegistered()).toBe(false)
        yield* leave
        yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration")
      })
    ))

  test("fails where the registry lets nobody in, and where there is none to be", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const gate = yield* mesh.node("gate")
        const { url } = yield* serving({ agentSecret: Redacted.make("a secret of some length") })
        const codeOf = (options: AgentMeshBridge.Options) =>
          Effect.map(Effect.flip(bridged(gate, options)), ({ code }) => code)
        expect(yield* codeOf({ at: url, secret: "another secret of length" })).toBe("Denied")
        expect(yield* codeOf({ at: "ftp://127.0.0.1" })).toBe("Refused")
      })
    ))

  test("at a registry that asks for keys, the node's own key is what lets it in", () =>
    run(
      Effect.gen(function* () {
        const { identity } = yield* makeMesh().stranger()
        const gate = yield* makeMesh().node("gate")
        const { url } = yield* serving({ mode: "keys" })
        const token = Effect.map(Registry.proveKey(url, identity), (given) => given ?? "")
        const bridge = yield* bridged(gate, { at: url, agentId: identity.nodeId, token })
        yield* until(Effect.sync(bridge.isRegistered), Boolean, "the registration")
        const denied = yield* Effect.flip(bridged(gate, { at: url, agentId: "nobody", outbound: false }))
        expect(denied.code).toBe("Denied")
        expect((yield* client(url).get(`/agents/${identity.nodeId}`)).status).toBe(200)
      })
    ))
})

describe("load", () => {
  test("agents' places are all used, and no more", () =>
    run(
      Effect.gen(function* () {
        const { far, gate, url } = yield* ground
        let running = 0
        let most = 0
        const work: Listener.Run = (_request, accept) => {
          accept({ _tag: "Accepted", estimateMs: 1 })
          running += 1
          most = Math.max(most, running)
          return Effect.sleep("20 millis").pipe(
            Effect.map(() => {
              running -= 1
              return done("either")
            })
          )
        }
        yield* agent(url, "one", work, { max_concurrent_tasks: 2 })
        yield* agent(url, "two", work, { max_concurrent_tasks: 2 })
        const bridge = yield* bridged(gate, { at: url, inbound: false })
        yield* until(agentsOf(bridge), (all) => all.length === 2, "two agents")
        const all = yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 20 }), () => far.call("work", {}), { concurrency: "unbounded" })
        )
        expect((yield* Fiber.join(all)).length).toBe(20)
        expect(most).toBe(4)
      })
    ))
})
