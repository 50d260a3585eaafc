/** Verifies: AgentMesh's contract, row by row: memory, tokens, the heartbeat and dashboard sockets, and the shared secret. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import {
  client,
  type Client,
  contract,
  freshId,
  instant,
  manifest,
  type Row,
  serving,
  theirs,
  unlike,
  until
} from "./agentmesh.ts"

const registry = contract()
const { present, record, registered, run } = registry
beforeAll(registry.open)
afterAll(registry.close)

describe("memory", () => {
  test("is listed, shown and cleared; what is not there is empty, and there is no POST", () =>
    run(
      Effect.gen(function* () {
        const session = `session-${freshId()}`
        const all = yield* registry.api.get("/memory")
        expect([all.status, Object.keys(all.body as Row)]).toEqual([200, ["sessions", "count"]])
        const one = yield* registry.api.get(`/memory/${session}`)
        expect([one.status, one.body]).toEqual([200, { session_id: session, keys: [], data: {} }])
        const cleared = yield* registry.api.del(`/memory/${session}`)
        expect([cleared.status, cleared.body]).toEqual([200, { session_id: session, cleared: true }])
        expect((yield* registry.api.post(`/memory/${session}`, {})).status).toBe(405)
        expect((yield* registry.api.put(`/memory/${session}`, {})).status).toBe(405)
        // Ours may be written to over HTTP; AgentMesh has no way to.
        const written = yield* registry.api.put(`/memory/${session}/plan`, { value: [1] })
        expect(written.status).toBe(unlike(404, 200))
        const shown = yield* registry.api.get(`/memory/${session}`)
        expect((shown.body as Row)["data"]).toEqual(unlike({}, { plan: [1] }))
      })
    ))
})

describe("POST /auth/token, without a secret", () => {
  test("is 401 for any, and 422 for none", () =>
    run(
      Effect.gen(function* () {
        const { id } = yield* registered()
        const wrong = yield* registry.api.post("/auth/token", { agent_id: id, secret: "guess" })
        expect([wrong.status, (wrong.body as Row)["detail"]]).toEqual([401, "Invalid secret"])
        expect((yield* registry.api.post("/auth/token", { agent_id: id, secret: null })).status).toBe(422)
        expect((yield* registry.api.post("/auth/token", { agent_id: id })).status).toBe(422)
      })
    ))
})

describe("the heartbeat socket", () => {
  test("of somebody unknown is refused with 403", () =>
    run(
      Effect.gen(function* () {
        const fault = yield* Effect.flip(registry.api.socket(`/ws/heartbeat/no-${freshId()}`))
        expect(fault.status).toBe(403)
      })
    ))

  test("acknowledges heartbeats, and renews last_heartbeat", () =>
    run(
      Effect.gen(function* () {
        const { heartbeat, id, record: before } = yield* present()
        heartbeat.send({ type: "heartbeat" })
        expect(yield* heartbeat.next).toEqual({ type: "heartbeat_ack" })
        const now = yield* record(id)
        expect(now["status"]).toBe("healthy")
        expect(String(now["last_heartbeat"]) > String(before["last_heartbeat"])).toBe(true)
      })
    ))

  test("a clean end is offline at once", () =>
    run(
      Effect.gen(function* () {
        const { heartbeat, id } = yield* present()
        heartbeat.link.close()
        yield* until(record(id), (now) => (now["status"] as string) === "offline", "offline")
      })
    ))

  test("measures tasks: the mean of the last ones, to a digit, in avg_latency_ms", () =>
    run(
      Effect.gen(function* () {
        const { heartbeat, id } = yield* present()
        for (const [task, elapsed_ms] of [
          ["t1", 10],
          ["t2", 25]
        ]) {
          heartbeat.send({ type: "task_start", task_id: task })
          heartbeat.send({ type: "task_end", task_id: task, elapsed_ms })
        }
        const latency = Effect.map(record(id), (now) => {
          const [capability] = (now["manifest"] as Row)["capabilities"] as ReadonlyArray<Row>
          return capability?.["avg_latency_ms"] as number | null | undefined
        })
        const measured = yield* until(latency, (now) => typeof now === "number" && now > 10, "a latency")
        expect(measured).toBe(17.5)
      })
    ))

  test("stores and passes on traces; what it does not know it ignores", () =>
    run(
      Effect.gen(function* () {
        const { heartbeat, id } = yield* present()
        const dashboard = yield* registry.api.socket("/ws/dashboard")
        const task = `task-${freshId()}`
        heartbeat.send({ type: "nonsense" })
        heartbeat.send({ kind: "nothing" })
        heartbeat.send({
          type: "trace",
          payload: { task_id: task, event_type: "executing", from_agent: id, to_agent: "bob", payload: { n: 1 } }
        })
        heartbeat.send({ type: "heartbeat" })
        expect(yield* heartbeat.next).toEqual({ type: "heartbeat_ack" })
        const pushed = (yield* dashboard.next) as Row
        expect(Object.keys(pushed).sort()).toEqual([
          "event_type",
          "from_agent",
          "payload",
          "task_id",
          "timestamp",
          "to_agent",
          "trace_id"
        ])
        const { body } = yield* registry.api.get(`/traces?task_id=${task}`)
        expect((body as ReadonlyArray<Row>).map((event) => event["payload"])).toEqual([{ n: 1 }])
      })
    ))

  test("one bad frame gets an error frame, and costs neither the connection nor the agent its place", () =>
    theirs !== undefined
      ? Promise.resolve()
      : run(
          Effect.gen(function* () {
            const { heartbeat, id } = yield* present()
            for (const bad of [
              "no JSON",
              "[1]",
              { type: "trace", payload: { task_id: 1 } },
              { type: "task_end", elapsed_ms: "x" }
            ]) {
              heartbeat.send(bad)
              expect(JSON.stringify(yield* heartbeat.next)).toContain("error")
            }
            heartbeat.send({ type: "heartbeat" })
            expect(yield* heartbeat.next).toEqual({ type: "heartbeat_ack" })
            expect((yield* record(id))["status"]).toBe("healthy")
          })
        ))
})

describe("the dashboard socket", () => {
  test("pushes traces, each as it is, and nothing else", () =>
    run(
      Effect.gen(function* () {
        const dashboard = yield* registry.api.socket("/ws/dashboard")
        dashboard.send("hello")
        const { id } = yield* present()
        yield* registry.api.post(`/trust/update?agent_id=${id}&success=true`)
        const task = `task-${freshId()}`
        const { body } = yield* registry.api.post("/traces", {
          task_id: task,
          event_type: "completed",
          from_agent: "ada",
          to_agent: "bob",
          payload: { capability: "add" }
        })
        const { timestamp, ...event } = (yield* dashboard.next) as { timestamp: string }
        expect(event).toEqual({
          trace_id: (body as Row)["trace_id"],
          task_id: task,
          event_type: "completed",
          from_agent: "ada",
          to_agent: "bob",
          payload: { capability: "add" }
        })
        expect(timestamp).toMatch(instant)
      })
    ))
})

describe("with a secret", () => {
  const secret = "correct horse battery staple"
  test("the SDK's order gets in: register, prove, act for oneself and nobody else", () =>
    theirs !== undefined
      ? Promise.resolve()
      : run(
          Effect.gen(function* () {
            const { url } = yield* serving({ agentSecret: Redacted.make(secret) })
            const stranger = client(url)
            const one = manifest()
            const answer = yield* stranger.post("/agents/register", one)
            expect(answer.status).toBe(200)
            expect((answer.body as Row)["status"] as string).toBeDefined()
            // It waits, seen by nobody, until the secret is proven.
            expect((yield* stranger.get(`/agents/${one.agent_id}`)).status).toBe(404)
            const wrong = yield* stranger.post("/auth/token", { agent_id: one.agent_id, secret: "guess" })
            expect([wrong.status, (wrong.body as Row)["detail"]]).toEqual([401, "Invalid secret"])
            const given = yield* stranger.post("/auth/token", { agent_id: one.agent_id, secret })
            const token = given.body as { access_token: string; token_type: string }
            expect([given.status, token.token_type, typeof token.access_token]).toEqual([200, "bearer", "string"])
            expect((yield* stranger.get(`/agents/${one.agent_id}`)).status).toBe(200)
            const nobody = yield* stranger.post("/auth/token", { agent_id: `no-${freshId()}`, secret })
            expect(nobody.status).toBe(404)

            const own = client(url, token.access_token)
            const other = manifest()
            const foreign = yield* own.post("/agents/register", other)
            expect([foreign.status, (foreign.body as Row)["detail"]]).toEqual([
              403,
              "Token agent_id does not match manifest.agent_id"
            ])
            for (const send of [
              (who: Client) => who.del(`/agents/${one.agent_id}`),
              (who: Client) => who.get("/memory"),
              (who: Client) => who.post(`/trust/update?agent_id=${one.agent_id}&success=true`)
            ]) {
              const missing = yield* send(stranger)
              expect([missing.status, typeof (missing.body as Row)["detail"]]).toEqual([401, "string"])
              const forged = yield* send(client(url, "forged.token.here"))
              expect([forged.status, typeof (forged.body as Row)["detail"]]).toEqual([401, "string"])
            }
            expect((yield* stranger.get("/agents")).status).toBe(200)
            expect((yield* stranger.get("/stats")).status).toBe(200)
            expect((yield* stranger.post("/discover", { capability_name: "add_numbers" })).status).toBe(200)
            const cannot = yield* own.del("/agents/somebody-else")
            expect([cannot.status, (cannot.body as Row)["detail"]]).toEqual([403, "Cannot deregister another agent"])
            expect((yield* own.del(`/agents/${one.agent_id}`)).status).toBe(200)
          })
        ))
})
