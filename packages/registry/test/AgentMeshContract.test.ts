/**
 * Verifies: AgentMesh's contract (`mesh/registry.py`, `mesh/models.py`), row by row: agents, discovery, trust, traces, stats. Where
 * AgentMesh's behaviour is a defect, `unlike` says what it does and what ours does instead (docs/agentmesh.md has the reasons).
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import { contract, described, freshId, instant, manifest, type Row, unlike, until } from "./agentmesh.ts"

const registry = contract()
const { present, record, registered, run } = registry
beforeAll(registry.open)
afterAll(registry.close)

const foundBy = (query: object) =>
  Effect.map(registry.api.post("/discover", query), ({ body }) =>
    (body as { agents: ReadonlyArray<{ manifest: { agent_id: string } }> }).agents.map((each) => each.manifest.agent_id)
  )

describe("POST /agents/register", () => {
  test("answers 200 with a record of exactly these fields and defaults", () =>
    run(
      Effect.gen(function* () {
        const { body, status } = yield* registry.api.post("/agents/register", {
          name: "Ada",
          endpoint: "ws://localhost:9000",
          capabilities: [{ name: "add", description: "Adds", more: 1 }],
          nobody: "knows this"
        })
        expect(status).toBe(200)
        const answered = body as Row
        const { agent_id, ...rest } = answered["manifest"] as { agent_id: string }
        expect(agent_id).toMatch(/^agent-[0-9a-f]{8}$/)
        expect(rest).toEqual({
          name: "Ada",
          version: "0.1.0",
          description: "",
          capabilities: [
            {
              name: "add",
              description: "Adds",
              input_schema: {},
              output_schema: {},
              avg_latency_ms: null,
              cost_per_call_usd: null
            }
          ],
          mcp_servers: [],
          max_concurrent_tasks: 3,
          endpoint: "ws://localhost:9000",
          tags: []
        })
        expect(Object.keys(answered)).toEqual([
          "manifest",
          "trust_score",
          "status",
          "registered_at",
          "last_heartbeat",
          "tasks_completed",
          "tasks_failed"
        ])
        expect([
          answered["trust_score"],
          answered["status"],
          answered["tasks_completed"],
          answered["tasks_failed"]
        ]).toEqual([0.5, "healthy", 0, 0])
        expect(String(answered["registered_at"])).toMatch(instant)
        expect(String(answered["last_heartbeat"])).toMatch(instant)
      })
    ))

  test("keeps every field it was given", () =>
    run(
      Effect.gen(function* () {
        const given = {
          agent_id: freshId(),
          name: "n".repeat(128),
          version: "2.1",
          description: "d".repeat(1_024),
          capabilities: [
            {
              name: "Any Text, ü",
              description: "x",
              input_schema: { type: "object", properties: { a: { type: "number" } } },
              output_schema: { type: "object" },
              avg_latency_ms: 12.5,
              cost_per_call_usd: 0
            }
          ],
          mcp_servers: ["brave-search"],
          max_concurrent_tasks: 7,
          endpoint: "wss://agents.example/tasks",
          tags: ["a", "b"]
        }
        const { body } = yield* registry.api.post("/agents/register", given)
        expect((body as Row)["manifest"]).toEqual(given)
      })
    ))

  test("is refused with 422 and FastAPI's array", () =>
    run(
      Effect.gen(function* () {
        const wrong = (more: object) =>
          Effect.map(registry.api.post("/agents/register", manifest(more)), ({ body, status }) => {
            const [first] = (body as { detail: ReadonlyArray<{ type: string; loc: unknown; msg: string }> }).detail
            return [status, Array.isArray(first?.loc) ? first.loc.slice(0, 2) : first?.loc, typeof first?.msg]
          })
        const bodyLoc = (name: string) => [422, ["body", name], "string"]
        expect(yield* wrong({ name: undefined })).toEqual(bodyLoc("name"))
        expect(yield* wrong({ endpoint: undefined })).toEqual(bodyLoc("endpoint"))
        expect(yield* wrong({ name: "n".repeat(129) })).toEqual(bodyLoc("name"))
        expect(yield* wrong({ description: "d".repeat(1_025) })).toEqual(bodyLoc("description"))
        expect(yield* wrong({ capabilities: [described("a", { cost_per_call_usd: -0.1 })] })).toEqual(
          bodyLoc("capabilities")
        )
        expect(yield* wrong({ capabilities: [{ name: "a" }] })).toEqual(bodyLoc("capabilities"))
        expect((yield* registry.api.post("/agents/register", "{")).status).toBe(422)
        expect((yield* registry.api.post("/agents/register", [])).status).toBe(422)
        const { body } = yield* registry.api.post("/agents/register", { endpoint: "ws://x" })
        const [first] = (body as { detail: ReadonlyArray<Row> }).detail
        expect([first?.["type"], first?.["loc"], first?.["input"]]).toEqual([
          "missing",
          ["body", "name"],
          { endpoint: "ws://x" }
        ])
      })
    ))

  test("takes no ids, counts or texts that serve nobody", () =>
    run(
      Effect.gen(function* () {
        const statusOf = (more: object) =>
          Effect.map(registry.api.post("/agents/register", manifest(more)), ({ status }) => status)
        expect(yield* statusOf({ agent_id: "" })).toBe(unlike(200, 422))
        expect(yield* statusOf({ agent_id: `a/${freshId()}` })).toBe(unlike(200, 422))
        expect(yield* statusOf({ agent_id: "x".repeat(5_000) + freshId() })).toBe(unlike(200, 422))
        expect(yield* statusOf({ max_concurrent_tasks: 0 })).toBe(unlike(200, 422))
        expect(yield* statusOf({ max_concurrent_tasks: -5 })).toBe(unlike(200, 422))
        expect(yield* statusOf({ tags: Array.from({ length: 1_000 }, String) })).toBe(unlike(200, 422))
      })
    ))

  test("answers 409 while the agent is there, and 200 once it is offline: trust and counters stay, the rest is new", () =>
    run(
      Effect.gen(function* () {
        const { heartbeat, id, made, record: before } = yield* present()
        const again = yield* registry.api.post("/agents/register", made)
        expect([again.status, (again.body as Row)["detail"]]).toEqual([409, `Agent ${id} already registered`])
        yield* registry.api.post(`/trust/update?agent_id=${id}&success=true&quality=1`)
        yield* registry.api.post(`/trust/update?agent_id=${id}&success=false&quality=0.5`)
        const { trust_score } = (yield* record(id)) as Row
        heartbeat.link.close()
        yield* until(record(id), (now) => (now["status"] as string) === "offline", "offline")
        const { body, status } = yield* registry.api.post("/agents/register", {
          ...made,
          endpoint: "ws://localhost:9001"
        })
        const back = body as Row
        expect([status, back["trust_score"], back["tasks_completed"], back["tasks_failed"]]).toEqual([
          200,
          trust_score,
          1,
          1
        ])
        expect((back["manifest"] as Row)["endpoint"]).toBe("ws://localhost:9001")
        expect(back["registered_at"] === before["registered_at"]).toBe(false)
      })
    ))
})

describe("agents", () => {
  test("GET /agents is an array of all, GET /agents/{id} one of them", () =>
    run(
      Effect.gen(function* () {
        const one = yield* registered()
        const two = yield* registered()
        const { body, status } = yield* registry.api.get("/agents")
        expect(status).toBe(200)
        const ids = (body as ReadonlyArray<{ manifest: { agent_id: string } }>).map((each) => each.manifest.agent_id)
        expect(ids).toContain(one.id)
        expect(ids).toContain(two.id)
        expect((yield* record(one.id))["manifest"]).toEqual(one.record["manifest"])
      })
    ))

  test("DELETE /agents/{id} says who left; whoever is not there is 404 everywhere", () =>
    run(
      Effect.gen(function* () {
        const { id } = yield* registered()
        const left = yield* registry.api.del(`/agents/${id}`)
        expect([left.status, left.body]).toEqual([200, { status: "deregistered", agent_id: id }])
        for (const answer of [
          yield* registry.api.del(`/agents/${id}`),
          yield* registry.api.get(`/agents/${id}`),
          yield* registry.api.get(`/agents/${id}/trust_history`),
          yield* registry.api.post(`/trust/update?agent_id=${id}&success=true`)
        ]) {
          expect([answer.status, (answer.body as Row)["detail"]]).toEqual([404, `Agent ${id} not found`])
        }
      })
    ))

  test("whoever leaves and comes back is who it was", () =>
    run(
      Effect.gen(function* () {
        const { id, made } = yield* registered()
        yield* registry.api.post(`/trust/update?agent_id=${id}&success=false&quality=0`)
        yield* registry.api.del(`/agents/${id}`)
        const { body } = yield* registry.api.post("/agents/register", made)
        const back = body as Row
        expect([back["trust_score"], back["tasks_failed"]]).toEqual(unlike([0.5, 0], [0.45, 1]))
      })
    ))
})

describe("POST /discover", () => {
  test("finds by exact name, echoes the query with its defaults, and says when", () =>
    run(
      Effect.gen(function* () {
        const name = `unique_${freshId()}`
        const { id, record: known } = yield* present({ capabilities: [described(name)] })
        const { body, status } = yield* registry.api.post("/discover", { capability_name: name })
        expect(status).toBe(200)
        const result = body as Row
        expect(Object.keys(result).sort()).toEqual(["agents", "matched_at", "query"])
        expect(result["query"]).toEqual({
          capability_name: name,
          capability_description: null,
          min_trust_score: 0,
          max_latency_ms: null,
          max_cost_usd: null,
          tags: [],
          top_k: 5
        })
        expect(String(result["matched_at"])).toMatch(instant)
        const [first] = result["agents"] as ReadonlyArray<Row>
        expect(Object.keys(first ?? {})).toEqual(Object.keys(known))
        expect((first?.["manifest"] as Row | undefined)?.["agent_id"]).toBe(id)
      })
    ))

  test("nothing asked for and nothing found are an empty list, not an error", () =>
    run(
      Effect.gen(function* () {
        yield* present()
        expect(yield* foundBy({})).toEqual([])
        expect(yield* foundBy({ capability_name: `no_${freshId()}` })).toEqual([])
      })
    ))

  test("finds by what a capability does", () =>
    run(
      Effect.gen(function* () {
        const word = `zebra${freshId().replaceAll("-", "")}`
        const { id } = yield* present({ capabilities: [{ name: "look", description: `Counts ${word} stripes` }] })
        expect(yield* foundBy({ capability_description: `${word} stripes` })).toEqual([id])
      })
    ))

  test("filters by trust and cost, gives at most top_k, and leaves out who is offline", () =>
    run(
      Effect.gen(function* () {
        const name = `shared_${freshId()}`
        const costs = [0.01, 0.02, 0.03]
        const agents = yield* Effect.forEach(costs, (cost) =>
          present({ capabilities: [described(name, { cost_per_call_usd: cost })] })
        )
        const ids = agents.map(({ id }) => id)
        expect((yield* foundBy({ capability_name: name })).length).toBe(3)
        expect((yield* foundBy({ capability_name: name, top_k: 2 })).length).toBe(2)
        expect((yield* foundBy({ capability_name: name, max_cost_usd: 0.02 })).sort()).toEqual(ids.slice(0, 2).sort())
        yield* registry.api.post(`/trust/update?agent_id=${ids[2]}&success=true&quality=1`)
        expect(yield* foundBy({ capability_name: name, min_trust_score: 0.54 })).toEqual(ids.slice(2))
        agents[0]?.heartbeat.link.close()
        yield* until(foundBy({ capability_name: name }), (ids) => ids.length === 2, "one less")
      })
    ))

  test("tags order, and exclude nobody", () =>
    run(
      Effect.gen(function* () {
        const name = `tagged_${freshId()}`
        const plain = yield* present({ capabilities: [described(name)] })
        const tagged = yield* present({ capabilities: [described(name)], tags: ["gpu"] })
        const found = yield* foundBy({ capability_name: name, tags: ["gpu"] })
        expect([...found].sort()).toEqual([plain.id, tagged.id].sort())
      })
    ))

  test("is 422 for what cannot be", () =>
    run(
      Effect.gen(function* () {
        for (const query of [{ top_k: 0 }, { top_k: 21 }, { max_cost_usd: -1 }, { top_k: "many" }]) {
          const { body, status } = yield* registry.api.post("/discover", { capability_name: "x", ...query })
          const [first] = (body as { detail: ReadonlyArray<{ loc: unknown }> }).detail
          expect([status, first?.loc]).toEqual([422, ["body", Object.keys(query)[0]]])
        }
        expect((yield* registry.api.post("/discover", { capability_name: "x", top_k: 20 })).status).toBe(200)
        const long = yield* registry.api.post("/discover", { capability_description: "x".repeat(1_001) })
        expect(long.status).toBe(unlike(200, 422))
      })
    ))
})

describe("trust", () => {
  const update = (id: string, query: string) =>
    Effect.map(registry.api.post(`/trust/update?agent_id=${id}&${query}`), ({ body }) => body as Row)

  test("moves by the published values", () =>
    run(
      Effect.gen(function* () {
        const { id } = yield* registered()
        const scores: Array<number> = []
        for (const query of ["success=true&quality=1.0", "success=false&quality=0.5", "success=true"]) {
          const answered = yield* update(id, query)
          expect(Object.keys(answered)).toEqual(["agent_id", "trust_score"])
          scores.push(Number(answered["trust_score"]))
        }
        expect(scores.map((score) => Math.round(score * 1e9) / 1e9)).toEqual([0.55, 0.515, 0.5135])
        const now = yield* record(id)
        expect([now["tasks_completed"], now["tasks_failed"]]).toEqual([2, 1])
        const other = yield* registered()
        let score = 0
        for (let round = 0; round < 5; round++)
          score = Number((yield* update(other.id, "success=False&quality=0"))["trust_score"])
        expect(Math.round(score * 1e9) / 1e9).toBe(0.295245)
      })
    ))

  test("history has score (4 digits) and time, oldest first, the last 50", () =>
    run(
      Effect.gen(function* () {
        const { id } = yield* registered()
        expect((yield* registry.api.get(`/agents/${id}/trust_history`)).body).toEqual({ agent_id: id, history: [] })
        for (let round = 0; round < 52; round++) yield* update(id, `success=true&quality=${round < 2 ? 0 : 1}`)
        const { body, status } = yield* registry.api.get(`/agents/${id}/trust_history`)
        const history = (body as { history: ReadonlyArray<{ score: number; timestamp: string }> }).history
        expect([status, history.length]).toEqual([200, 50])
        expect(history.map(({ score }) => score)[0]).toBe(0.4645)
        expect(history.every(({ score }, at) => at === 0 || score > (history[at - 1]?.score ?? 1))).toBe(true)
        expect(history.every(({ score }) => Math.round(score * 1e4) / 1e4 === score)).toBe(true)
        expect(history[0]?.timestamp ?? "").toMatch(instant)
      })
    ))

  test("takes query parameters alone; a quality outside 0 to 1 is 422 before anything else", () =>
    run(
      Effect.gen(function* () {
        const { id } = yield* registered()
        const body = { agent_id: id, success: true, quality: 1 }
        expect((yield* registry.api.post("/trust/update", body)).status).toBe(422)
        for (const quality of ["1.01", "-0.1", "nan", "inf"]) {
          for (const agent of [id, `no-${id}`]) {
            const answer = yield* registry.api.post(`/trust/update?agent_id=${agent}&success=true&quality=${quality}`)
            expect([answer.status, (answer.body as Row)["detail"]]).toEqual([
              422,
              "quality must be between 0.0 and 1.0"
            ])
          }
        }
        for (const query of [
          `agent_id=${id}`,
          "success=true",
          `agent_id=${id}&success=maybe`,
          `agent_id=${id}&success=1&quality=x`
        ]) {
          const answer = yield* registry.api.post(`/trust/update?${query}`)
          expect([answer.status, Array.isArray((answer.body as Row)["detail"])]).toEqual([422, true])
        }
      })
    ))

  test("three failures in a row make an agent degraded; a heartbeat heals nothing, a success does", () =>
    run(
      Effect.gen(function* () {
        const { heartbeat, id } = yield* present()
        for (let round = 0; round < 3; round++) yield* update(id, "success=false&quality=0")
        expect((yield* record(id))["status"]).toBe("degraded")
        heartbeat.send({ type: "heartbeat" })
        yield* heartbeat.next
        expect((yield* record(id))["status"]).toBe(unlike("healthy", "degraded"))
        // AgentMesh's closes at the success; ours when the pause is over and one probe has succeeded.
        yield* update(id, "success=true&quality=1")
        expect(["healthy", "degraded"]).toContain(String((yield* record(id))["status"]))
      })
    ))
})

describe("traces", () => {
  const trace = (more: object = {}) => ({
    task_id: `task-${freshId()}`,
    event_type: "request_sent",
    from_agent: "ada",
    to_agent: "bob",
    ...more
  })

  test("POST /traces is 201 with an id; GET gives them oldest first, by task, at most limit", () =>
    run(
      Effect.gen(function* () {
        const task = `task-${freshId()}`
        const ids: Array<string> = []
        for (const event_type of [
          "request_sent",
          "accepted",
          "rejected",
          "countered",
          "executing",
          "completed",
          "failed"
        ]) {
          const { body, status } = yield* registry.api.post(
            "/traces",
            trace({ task_id: task, event_type, payload: { event_type } })
          )
          expect([status, Object.keys(body as Row)]).toEqual([201, ["trace_id"]])
          ids.push((body as { trace_id: string }).trace_id)
        }
        const { body } = yield* registry.api.get(`/traces?task_id=${task}`)
        const events = body as ReadonlyArray<Row>
        expect(events.map((event) => event["trace_id"])).toEqual(ids)
        expect(Object.keys(events[0] ?? {}).sort()).toEqual([
          "event_type",
          "from_agent",
          "payload",
          "task_id",
          "timestamp",
          "to_agent",
          "trace_id"
        ])
        expect(events[0]?.["payload"]).toEqual({ event_type: "request_sent" })
        expect(String(events[0]?.["timestamp"])).toMatch(instant)
        const two = yield* registry.api.get(`/traces?task_id=${task}&limit=2`)
        expect((two.body as ReadonlyArray<Row>).map((event) => event["trace_id"])).toEqual(ids.slice(-2))
      })
    ))

  test("cuts ids, and knows no other kinds of events", () =>
    run(
      Effect.gen(function* () {
        const long = freshId() + "x".repeat(200)
        yield* registry.api.post("/traces", trace({ task_id: long, from_agent: long, to_agent: long }))
        const { body } = yield* registry.api.get(`/traces?task_id=${long.slice(0, 64)}`)
        const [event] = body as ReadonlyArray<Row>
        expect([event?.["task_id"], event?.["from_agent"], event?.["to_agent"]]).toEqual([
          long.slice(0, 64),
          long.slice(0, 128),
          long.slice(0, 128)
        ])
        expect((yield* registry.api.post("/traces", trace({ event_type: "exploded" }))).status).toBe(unlike(500, 422))
        expect((yield* registry.api.post("/traces", trace({ task_id: undefined }))).status).toBe(422)
        for (const limit of ["0", "1001", "many"])
          expect((yield* registry.api.get(`/traces?limit=${limit}`)).status).toBe(422)
        expect((yield* registry.api.get("/traces?limit=1000")).status).toBe(200)
      })
    ))
})

describe("GET /stats", () => {
  test("has exactly these fields, and counts successful reports and running tasks", () =>
    run(
      Effect.gen(function* () {
        const stats = Effect.map(registry.api.get("/stats"), ({ body }) => body as Row)
        const before = yield* stats
        expect(Object.keys(before)).toEqual([
          "total_agents",
          "agents_by_status",
          "avg_trust",
          "total_tasks_completed",
          "active_sessions",
          "active_task_counts"
        ])
        const { heartbeat, id } = yield* present()
        yield* registry.api.post(`/trust/update?agent_id=${id}&success=true`)
        yield* registry.api.post(`/trust/update?agent_id=${id}&success=false`)
        heartbeat.send({ type: "task_start", task_id: "t1" })
        heartbeat.send({ type: "task_start", task_id: "t2" })
        const counted = yield* until(stats, (now) => (now["active_task_counts"] as Row)[id] === 2, "two tasks")
        expect((counted["total_agents"] as number) - (before["total_agents"] as number)).toBe(1)
        expect((counted["total_tasks_completed"] as number) - (before["total_tasks_completed"] as number)).toBe(1)
        expect(Math.round((counted["avg_trust"] as number) * 1e4) / 1e4).toBe(counted["avg_trust"] as number)
        expect((counted["agents_by_status"] as Row)["healthy"] as number).toBeGreaterThan(0)
      })
    ))
})
