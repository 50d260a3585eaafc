/** Verifies: what is ours of the registry's HTTP: nodes, reports with receipts, lists, conditional requests, problems, pages. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Aggregation from "@parley/consensus/Aggregation"
import * as Certificate from "@parley/consensus/Certificate"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import type { Answer } from "@parley/core/Strategy"
import * as Chain from "@parley/registry/Chain"
import type { Report } from "@parley/registry/Event"
import type * as Server from "@parley/registry/Server"
import * as Statement from "@parley/registry/Statement"
import { client, type Client, serving } from "./agentmesh.ts"

const folder = mkdtempSync(join(tmpdir(), "parley-pages-"))
const scope = Scope.makeUnsafe()
let running: Server.Running
let api: Client
const go = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Scope.provide(effect, scope))

beforeAll(async () => {
  mkdirSync(join(folder, "assets"))
  writeFileSync(join(folder, "index.html"), "<!doctype html><title>Parley</title>")
  writeFileSync(join(folder, "assets", "index-Cd0253Cs.js"), "export const x = 1\n".repeat(200))
  running = await go(serving({ dashboard: folder, random: () => 0.999 }))
  api = client(running.url)
})
afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  rmSync(folder, { recursive: true })
})

type Body = { readonly [key: string]: unknown }
const bodyOf = async (answer: Promise<{ readonly body: unknown }>): Promise<Body> => (await answer).body as Body
const get = (path: string) => Effect.runPromise(api.get(path))
const post = (path: string, body?: unknown) => Effect.runPromise(api.post(path, body))
const put = (path: string, body?: unknown) => Effect.runPromise(api.put(path, body))
const del = (path: string) => Effect.runPromise(api.del(path))

const recordOf = (identity: Identity.Identity["Service"], seq: number, more: Partial<AgentRecord.Fields> = {}) =>
  AgentRecord.make(identity, {
    name: "nina",
    seq,
    issuedAt: Date.now(),
    addresses: ["tcp:127.0.0.1:7000"],
    capabilities: [
      { name: "csv.sum", version: "1.2.0", description: "Sums a column", tags: ["csv"], cost: { usdPerCall: 0.01 } }
    ],
    ...more
  })

describe("nodes", () => {
  test("a signed record is kept, shown as it was signed, seen by AgentMesh's clients, and found", async () => {
    const identity = Identity.generate()
    const node = identity.nodeId
    const record = recordOf(identity, 1)
    expect(await put(`/nodes/${node}`, record)).toMatchObject({
      status: 200,
      body: { lease_ms: 30_000, seq: 1, trust_score: 0.5 }
    })
    expect((await get(`/nodes/${node}`)).body).toEqual(record)
    const agent = await bodyOf(get(`/agents/${node}`))
    expect(agent).toMatchObject({ status: "healthy", trust_score: 0.5 })
    expect(agent["manifest"]).toMatchObject({
      agent_id: node,
      name: "nina",
      endpoint: "tcp:127.0.0.1:7000",
      tags: ["csv"]
    })
    expect((await get("/nodes?active=true")).body).toEqual([record])
    expect((await get("/nodes?active=false")).body).toEqual([])
    const found = await bodyOf(post("/nodes/search", { name: "csv.sum", version: "^1" }))
    expect(found["records"]).toEqual([record])
    expect(found["scores"]).toMatchObject([
      { agent_id: node, capability: "csv.sum", parts: { semantic: { value: 1 } } }
    ])
    expect((await bodyOf(post("/nodes/search", { name: "csv.sum", version: "^2" })))["records"]).toEqual([])
    expect(await post("/nodes/search", { name: "a*b" })).toMatchObject({ status: 422 })
    expect((await bodyOf(post("/discover", { capability_name: "csv.sum" })))["agents"]).toMatchObject([
      { manifest: { agent_id: node } }
    ])
  })

  test("the signature is the permission, the higher seq wins, and who has left does not come back by an old record", async () => {
    const identity = Identity.generate()
    const node = identity.nodeId
    const first = recordOf(identity, 5)
    const forged = { ...first, name: "mallory" }
    expect(await put(`/nodes/${node}`, forged)).toMatchObject({ status: 403 })
    expect(await put(`/nodes/${Identity.generate().nodeId}`, first)).toMatchObject({ status: 403 })
    expect(await put("/nodes/nobody", first)).toMatchObject({ status: 422 })
    expect(await put(`/nodes/${node}`, { ...first, capabilities: 3 })).toMatchObject({ status: 422 })
    expect(await put(`/nodes/${node}`, first)).toMatchObject({ status: 200 })
    // The same again renews the lease; an older one, or another one of the same seq, is refused.
    expect(await put(`/nodes/${node}`, first)).toMatchObject({ status: 200, body: { seq: 5 } })
    expect(await put(`/nodes/${node}`, recordOf(identity, 4))).toMatchObject({ status: 409 })
    expect(await put(`/nodes/${node}`, recordOf(identity, 5, { name: "other" }))).toMatchObject({ status: 409 })
    expect(await put(`/nodes/${node}`, AgentRecord.tombstone(identity, 6, Date.now()))).toMatchObject({
      status: 200,
      body: { lease_ms: 0, seq: 6 }
    })
    expect(await get(`/nodes/${node}`)).toMatchObject({ status: 404 })
    expect(await put(`/nodes/${node}`, first)).toMatchObject({ status: 409 })
    expect(await put(`/nodes/${node}`, recordOf(identity, 7))).toMatchObject({ status: 200 })
  })

  test("nobody registers under a node's id but the node", async () => {
    const { nodeId } = Identity.generate()
    const manifest = { agent_id: nodeId, name: "x", endpoint: "ws://x" }
    expect(await post("/agents/register", manifest)).toMatchObject({ status: 403 })
  })
})

describe("reports", () => {
  const executor = Identity.generate()
  const asker = Identity.generate()
  let count = 0
  const receiptOf = (by = executor, more: Partial<Receipt.Fields> = {}) =>
    Receipt.make(by, {
      task: (count++).toString(16).padStart(32, "0"),
      capability: "csv.sum@1.2.0",
      caller: asker.nodeId,
      inputHash: CanonicalJson.hash(1),
      outputHash: CanonicalJson.hash(2),
      startedAt: 1,
      finishedAt: 2,
      ...more
    })
  const reportOf = (receipt: Receipt.Receipt, more: Body = {}) => ({
    agent_id: executor.nodeId,
    capability: "csv.sum",
    task_id: receipt.task,
    success: true,
    quality: 1,
    latency_ms: 12,
    receipt,
    ...more
  })

  test("count once per task with the executor's receipt, and stand in the evidence chain", async () => {
    const node = executor.nodeId
    await put(`/nodes/${node}`, recordOf(executor, 1))
    const receipt = receiptOf()
    const reported = await post("/trust/reports", reportOf(receipt))
    expect(reported).toMatchObject({ status: 200, body: { agent_id: node } })
    expect((reported.body as Body)["standing"]).toMatchObject({ capability: "csv.sum", reports: 1, attested: 1 })
    expect(await post("/trust/reports", reportOf(receipt))).toMatchObject({ status: 409 })
    expect(await bodyOf(get(`/agents/${node}`))).toMatchObject({ tasks_completed: 1, tasks_failed: 0 })

    const trust = await bodyOf(get(`/agents/${node}/trust`))
    expect(trust["latencies"]).toEqual([{ capability: "csv.sum", p50_ms: 12, p95_ms: 12, samples: 1 }])
    const links = (await get("/chain")).body as ReadonlyArray<{ seq: number; hash: string; report: Report }>
    let head = Chain.START
    for (const link of links) {
      head = Chain.next(head, link.report)
      expect(link).toMatchObject(head)
    }
    expect((await get("/chain/head")).body).toEqual(head)
    expect(links.at(-1)!.report.receipt).toEqual(receipt)
    expect((await get(`/chain?from=${head.seq + 1}`)).body).toEqual([])

    const statement = (await get(`/agents/${node}/statement`)).body
    const read = Statement.verify(statement, { registry: running.nodeId, agent: node, now: Date.now() })
    expect(read instanceof Statement.StatementRefused).toBe(false)
    expect((read as Statement.Statement).chain).toEqual(head)
  })

  test("are refused where the receipt is for something else", async () => {
    const receipt = receiptOf()
    const wrong: ReadonlyArray<readonly [Body, number]> = [
      [{ task_id: "f".repeat(32) }, 422],
      [{ capability: "csv.other" }, 422],
      [{ receipt: { ...receipt, outputHash: "0".repeat(64) } }, 422],
      [{ receipt: receiptOf(Identity.generate(), { task: receipt.task }) }, 422],
      [{ receipt: "none" }, 422],
      [{ quality: 1.1 }, 422],
      [{ agent_id: "nobody", receipt: undefined }, 404]
    ]
    for (const [more, status] of wrong) {
      expect([more, (await post("/trust/reports", reportOf(receipt, more))).status]).toEqual([more, status])
    }
    const own = receiptOf(executor, { caller: executor.nodeId })
    expect(await post("/trust/reports", reportOf(own))).toMatchObject({ status: 409 })
  })

  test("of five hundred at once all are counted", async () => {
    await post("/agents/register", { agent_id: "counted", name: "c", endpoint: "ws://c" })
    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, i) => post(`/trust/update?agent_id=counted&success=${i % 5 !== 0}&quality=1`))
    )
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
    expect(await bodyOf(get("/agents/counted"))).toMatchObject({ tasks_completed: 400, tasks_failed: 100 })
    expect(((await bodyOf(get("/agents/counted/trust_history?limit=1000")))["history"] as Array<unknown>).length).toBe(
      500
    )
  })

  test("stay with the id of an agent that leaves and comes back", async () => {
    const before = await bodyOf(get("/agents/counted"))
    await del("/agents/counted")
    expect(await get("/agents/counted")).toMatchObject({ status: 404 })
    const again = await bodyOf(post("/agents/register", { agent_id: "counted", name: "new", endpoint: "ws://c" }))
    for (const member of ["trust_score", "tasks_completed", "tasks_failed"]) expect(again[member]).toBe(before[member])
  })
})

describe("verdicts", () => {
  const asker = Identity.generate()
  const task = "0123456789abcdef0123456789abcdef"
  const question = { table: "a,b" }
  /** The certificate of whoever asked. */
  const of = (asker: Identity.Identity["Service"]) => {
    const answers = [1, 2, 3].map((value): Answer => {
      const agent = Identity.generate()
      const fields = { task, capability: "csv.sum@1.2.0", caller: asker.nodeId, startedAt: 1, finishedAt: 2 }
      const hashes = { inputHash: CanonicalJson.hash(question), outputHash: CanonicalJson.hash(Math.min(value, 2)) }
      const receipt = Receipt.make(agent, { ...fields, ...hashes })
      return { node: agent.nodeId, capability: fields.capability, value: Math.min(value, 2), latencyMs: 5, receipt }
    })
    const invited = answers.map(({ node }) => ({ node, trust: 0.5, score: 0.9 }))
    const tally = Aggregation.majorityVote.tally(invited)
    for (const answer of answers) tally.answer(answer)
    const outcome = tally.outcome()
    const { confidence, rule, status, value, votes } = outcome
    return Certificate.make(asker, {
      ...{ status, value, confidence, rule, votes, outcome, task, invited, answers },
      ...{ dissent: [], failures: [], input: question, selection: "top-3", capability: "csv.sum@^1" },
      aggregation: Aggregation.majorityVote.name
    })
  }
  const certificate = of(asker)

  test("are shown when their certificate proves them, once per task", async () => {
    const published = await post("/verdicts", { certificate, question })
    expect(published).toMatchObject({ status: 201, body: { task } })
    expect(await post("/verdicts", { certificate, question })).toMatchObject({ status: 409 })
    const shown = (await get(`/verdicts/${task}`)).body
    // Somebody else who knows the task's id may say what came of his, and neither hinders nor hides the first.
    const other = Identity.generate()
    expect(await post("/verdicts", { certificate: of(other), question })).toMatchObject({ status: 201, body: { task } })
    expect((await get(`/verdicts/${task}`)).body).toEqual(shown)
    expect(shown).toMatchObject({ task, capability: "csv.sum@^1", published_by: asker.nodeId, question, certificate })
    expect((await get("/verdicts")).body).toMatchObject([{ published_by: other.nodeId, task }, shown])
    expect(await get("/verdicts/none")).toMatchObject({ status: 404 })
    const forged = { ...certificate, capability: "csv.sum@^2" }
    expect(await post("/verdicts", { certificate: forged, question })).toMatchObject({ status: 422 })
    expect(await post("/verdicts", { certificate: {}, question })).toMatchObject({ status: 422 })
    expect(await post("/verdicts", { certificate, question: "x".repeat(70_000) })).toMatchObject({ status: 413 })
  })
})

describe("lists", () => {
  test("come in pages that agents who come and go do not shift", async () => {
    const ids = Array.from({ length: 40 }, (_, i) => `page-${String(i).padStart(2, "0")}`)
    const register = (id: string) =>
      post("/agents/register", { agent_id: id, name: id, endpoint: "ws://p", tags: ["page"] })
    await Promise.all(ids.map(register))
    const seen: Array<string> = []
    let next: string | undefined = "/agents?tag=page&limit=7"
    let round = 0
    while (next !== undefined) {
      const response: Response = await fetch(running.url + next)
      const page = (await response.json()) as ReadonlyArray<{ manifest: { agent_id: string } }>
      seen.push(...page.map(({ manifest }) => manifest.agent_id))
      next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1]
      // Behind and ahead of the page some go and some come.
      await del(`/agents/${ids[round]}`)
      await del(`/agents/${ids[39 - round]}`)
      await register(`page-${String(10 + round).padStart(2, "0")}x`)
      round++
    }
    expect(new Set(seen).size).toBe(seen.length)
    expect(seen).toEqual(seen.toSorted())
    for (const id of ids.slice(8, 32)) expect(seen.includes(id)).toBe(true)
  })

  test("are filtered by status, capability, tag and words", async () => {
    await post("/agents/register", {
      agent_id: "filtered",
      name: "Filter",
      endpoint: "ws://f",
      tags: ["rare"],
      capabilities: [{ name: "rare.thing", description: "Polishes lenses" }]
    })
    const ids = async (query: string) =>
      ((await get(`/agents?${query}`)).body as ReadonlyArray<{ manifest: { agent_id: string } }>).map(
        ({ manifest }) => manifest.agent_id
      )
    for (const query of ["tag=rare", "capability=rare.thing", "q=LENSES%20polishes", "tag=rare&status=healthy"]) {
      expect([query, await ids(query)]).toEqual([query, ["filtered"]])
    }
    expect(await ids("tag=rare&status=offline")).toEqual([])
    expect((await get("/agents?status=dead")).status).toBe(422)
    expect((await get("/agents?limit=0")).status).toBe(422)
    expect((await get("/capabilities?q=lenses")).body).toEqual([
      { name: "rare.thing", description: "Polishes lenses", agents: 1, online: 1 }
    ])
  })

  test("are not sent again to who has them", async () => {
    const path = `${running.url}/agents?tag=rare`
    const etag = (await fetch(path)).headers.get("etag")!
    expect((await fetch(path, { headers: { "if-none-match": `"x", ${etag}` } })).status).toBe(304)
    await post("/trust/update?agent_id=filtered&success=true")
    expect((await fetch(path, { headers: { "if-none-match": etag } })).status).toBe(200)
  })
})

describe("memory", () => {
  test("set, get, list, forget", async () => {
    expect(await put("/memory/s%201/k", { value: { a: [1] }, ttl_ms: 60_000 })).toMatchObject({ status: 200 })
    expect((await get("/memory/s%201/k")).body).toEqual({ session_id: "s 1", key: "k", value: { a: [1] } })
    expect((await get("/memory")).body).toMatchObject({ sessions: ["s 1"], count: 1 })
    expect((await get("/stats")).body).toMatchObject({ active_sessions: 1 })
    expect(await get("/memory/s%201/none")).toMatchObject({ status: 404 })
    expect(await put("/memory/s/k", { value: "x".repeat(70_000) })).toMatchObject({ status: 413 })
    expect(await put(`/memory/s/${"k".repeat(129)}`, { value: 1 })).toMatchObject({ status: 422 })
    expect(await put("/memory/s/k", { value: 1, ttl_ms: 0 })).toMatchObject({ status: 422 })
    expect((await del("/memory/s%201/k")).body).toEqual({ session_id: "s 1", key: "k" })
    expect((await get("/memory/s%201")).body).toEqual({ session_id: "s 1", keys: [], data: {} })
  })
})

describe("problems", () => {
  const problem = (status: number) => ({ status, type: "application/problem+json" })

  test("say what is wrong, for whatever is", async () => {
    expect(await get("/nowhere")).toMatchObject(problem(404))
    expect(await get("/agents/nobody")).toMatchObject({ ...problem(404), body: { detail: "Agent nobody not found" } })
    const wrong = await post("/memory")
    expect(wrong).toMatchObject(problem(405))
    expect(await post("/discover", "{")).toMatchObject({
      ...problem(422),
      body: { title: "Unprocessable Content", detail: [{ type: "json_invalid", loc: ["body"] }] }
    })
    const deep = `${"[".repeat(100)}${"]".repeat(100)}`
    expect(await put("/memory/s/deep", `{"value":${deep}}`)).toMatchObject(problem(422))
    expect(await post("/discover", { capability_description: "x".repeat(1_100_000) })).toMatchObject(problem(413))
    const response = await fetch(`${running.url}/discover`, {
      method: "POST",
      body: "{}",
      headers: { "content-type": "text/plain" }
    })
    expect([response.status, response.headers.get("content-type")]).toEqual([415, "application/problem+json"])
    for (const path of ["/openapi.json", "/docs", "/metrics"])
      expect([path, (await post(path)).status]).toEqual([path, 405])
  })

  test("a body that never ends whole is not waited for by others", async () => {
    const { port } = running
    const socket = connect(port, "127.0.0.1")
    socket.write(
      "POST /discover HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    )
    expect(await get("/health")).toMatchObject({ status: 200, body: { live: true, ready: true } })
    socket.destroy()
  })
})

describe("pages", () => {
  test("the dashboard's files, its page below /ui, and nothing beside them", async () => {
    const fetched = async (path: string, headers: Record<string, string> = {}) => {
      const response = await fetch(running.url + path, { headers })
      return { status: response.status, headers: response.headers, text: await response.text() }
    }
    for (const path of ["/", "/ui", "/ui/agents/x?y=1"]) expect((await fetched(path)).text).toContain("<title>Parley")
    const asset = await fetched("/assets/index-Cd0253Cs.js", { "accept-encoding": "gzip" })
    expect(asset.text).toContain("export const x")
    expect(asset.headers.get("cache-control")).toContain("immutable")
    expect(asset.headers.get("content-security-policy")).toContain("script-src 'self'")
    const etag = asset.headers.get("etag")!
    expect((await fetched("/assets/index-Cd0253Cs.js", { "if-none-match": etag })).status).toBe(304)
    for (const path of ["/assets/..%2findex.html", "/assets/..%2f..%2fetc/passwd", "/assets/none.js"]) {
      expect([path, (await fetched(path)).status]).toEqual([path, 404])
    }
  })

  test("OpenAPI 3.1, a page to browse it that loads nothing from elsewhere, and metrics", async () => {
    const spec = (await get("/openapi.json")).body as { openapi: string; paths: Body }
    expect(spec.openapi).toBe("3.1.0")
    for (const path of ["/agents/register", "/discover", "/nodes/{node}", "/trust/reports", "/verdicts"]) {
      expect([path, path in spec.paths]).toEqual([path, true])
    }
    const docs = await fetch(`${running.url}/docs`)
    expect(docs.headers.get("content-security-policy")).toContain("default-src 'self'")
    expect(/<(script|link)[^>]+(src|href)="https?:/.test(await docs.text())).toBe(false)
    const metrics = (await get("/metrics")).body as string
    expect(metrics).toMatch(/^parley_registry_agents \d+$/m)
    expect(metrics).toMatch(/^parley_registry_requests_total\{method="POST",status="2xx"\} \d+$/m)
  })
})

test("a registry that asks nobody who they are listens on loopback only", async () => {
  const exit = await Effect.runPromiseExit(Effect.scoped(serving({ host: "0.0.0.0", mode: "open" })))
  expect(String(Exit.isFailure(exit) ? exit.cause : "")).toContain("listen on 127.0.0.1")
})
