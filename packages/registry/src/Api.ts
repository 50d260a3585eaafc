/**
 * The registry's HTTP contract: AgentMesh's table with its JSON and status codes, and what is ours beside it.
 *
 * The server is built from this, the typed client follows from it, and `/openapi.json` (OpenAPI 3.1) and `/docs` show it. Sockets
 * (`/ws/heartbeat/{id}`, `/ws/dashboard`, `/ws/events`), the event stream (`/events`) and `/metrics` stand beside it.
 */
import * as Context from "effect/Context"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as HttpApiSecurity from "effect/http-api/HttpApiSecurity"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Query } from "@parley/core/Query"
import * as M from "./ApiModel.ts"
import { AgentManifest, AgentRecord, DiscoveryQuery, TraceEvent } from "./Model.ts"
import {
  BadRequest,
  Conflict,
  Forbidden,
  Full,
  NotFound,
  Readable,
  TooLarge,
  TooMany,
  Unauthorized,
  Unavailable,
  Unprocessable
} from "./Problem.ts"
import type { Principal } from "./Principal.ts"

/** Who asks, where an endpoint wants to know. */
export class Caller extends Context.Service<Caller, Principal>()("@parley/registry/Api/Caller") {}

/** Endpoints under this are for those who prove who they are (see `Principal`); in open mode for everybody on this machine. */
export class Identified extends HttpApiMiddleware.Service<Identified, { provides: Caller }>()(
  "@parley/registry/Api/Identified",
  { error: [Unauthorized, Forbidden, NotFound, TooMany, Unavailable], security: { bearer: HttpApiSecurity.bearer } }
) {}

const describe = (summary: string) => OpenApi.annotations({ summary })
const id = { id: Schema.String }

/** Agents, as AgentMesh knows them. */
export class Agents extends HttpApiGroup.make("agents")
  .add(
    HttpApiEndpoint.post("register", "/agents/register", {
      payload: AgentManifest,
      success: AgentRecord,
      error: [Unauthorized, Forbidden, NotFound, Conflict, TooMany, Unavailable]
    }).annotateMerge(describe("Register an agent, or register it again while it is offline: trust and counters stay")),
    HttpApiEndpoint.delete("deregister", "/agents/:id", {
      params: id,
      success: M.Deregistered,
      error: [NotFound, Unavailable]
    })
      .middleware(Identified)
      .annotateMerge(describe("Take leave; what the agent earned stays with its id")),
    HttpApiEndpoint.get("list", "/agents", {
      query: M.AgentsQuery,
      success: Schema.Array(AgentRecord),
      error: Unprocessable
    }).annotateMerge(describe("Agents by id; `Link: rel=next` where `limit` ends a page, `ETag` and 304")),
    HttpApiEndpoint.get("get", "/agents/:id", { params: id, success: AgentRecord, error: NotFound }).annotateMerge(
      describe("One agent")
    ),
    HttpApiEndpoint.get("trustHistory", "/agents/:id/trust_history", {
      params: id,
      query: M.TrustHistoryQuery,
      success: M.TrustHistory,
      error: [NotFound, Unavailable]
    }).annotateMerge(describe("An agent's score after each of its last reports, oldest first")),
    HttpApiEndpoint.get("trust", "/agents/:id/trust", {
      params: id,
      success: M.AgentTrust,
      error: NotFound
    }).annotateMerge(describe("What is known of an agent: standings with intervals, circuits, measured latencies")),
    HttpApiEndpoint.get("statement", "/agents/:id/statement", {
      params: id,
      success: Schema.Json,
      error: [NotFound, Unavailable]
    }).annotateMerge(describe("A signed statement of an agent's reputation, to show to others offline"))
  )
  .annotateMerge(OpenApi.annotations({ description: "Who there is" })) {}

/** Looking for somebody. */
export class Discover extends HttpApiGroup.make("discover")
  .add(
    HttpApiEndpoint.post("discover", "/discover", {
      payload: DiscoveryQuery,
      success: M.DiscoveryResult,
      error: TooMany
    }).annotateMerge(describe("Agents for a capability by name or by words, best first; with `explain` the reasons")),
    HttpApiEndpoint.get("capabilities", "/capabilities", {
      query: M.CapabilitiesQuery,
      success: Schema.Array(M.CapabilitySummary)
    }).annotateMerge(describe("Names of capabilities, and how many agents have each"))
  )
  .annotateMerge(OpenApi.annotations({ description: "Who can do something" })) {}

/** Reports, and what they come to. */
export class Trust extends HttpApiGroup.make("trust")
  .add(
    HttpApiEndpoint.post("update", "/trust/update", {
      query: M.TrustUpdateQuery,
      success: M.TrustUpdated,
      error: [NotFound, Forbidden, Conflict, Unprocessable, TooMany, Unavailable]
    })
      .middleware(Identified)
      .annotateMerge(
        describe("AgentMesh's report, as query parameters; it carries no receipt, and counts accordingly")
      ),
    HttpApiEndpoint.post("report", "/trust/reports", {
      payload: M.ReportBody,
      success: M.Reported,
      error: [NotFound, Forbidden, Conflict, Unprocessable, TooMany, Unavailable]
    })
      .middleware(Identified)
      .annotateMerge(describe("A report about one task, attested by the executor's receipt; once per task"))
  )
  .annotateMerge(OpenApi.annotations({ description: "Who did what how well" })) {}

/** What happened to tasks. */
export class Traces extends HttpApiGroup.make("traces")
  .add(
    HttpApiEndpoint.get("list", "/traces", {
      query: M.TracesQuery,
      success: Schema.Array(TraceEvent),
      error: [Unprocessable, Unavailable]
    })
      .middleware(Identified)
      .annotateMerge(describe("The last traces, oldest first; `Link: rel=next` leads to older ones")),
    HttpApiEndpoint.post("add", "/traces", {
      payload: M.TraceBody,
      success: M.TraceCreated.pipe(HttpApiSchema.status(201)),
      error: [Unauthorized, Forbidden, NotFound, TooMany, Unavailable]
    }).annotateMerge(describe("Say what happened to a task"))
  )
  .annotateMerge(OpenApi.annotations({ description: "Tasks as they went" })) {}

const session = { session: Schema.String }
const entry = { session: Schema.String, key: Schema.String }

/** What agents that work together share. */
export class Memory extends HttpApiGroup.make("memory")
  .add(
    HttpApiEndpoint.get("sessions", "/memory", {
      query: M.SessionsQuery,
      success: M.Sessions,
      error: Unavailable
    }).annotateMerge(describe("Sessions, by id")),
    HttpApiEndpoint.get("session", "/memory/:session", {
      params: session,
      success: M.Session,
      error: [Unprocessable, Unavailable]
    }).annotateMerge(describe("Everything of a session; empty where there is none")),
    HttpApiEndpoint.delete("clear", "/memory/:session", {
      params: session,
      success: M.Cleared,
      error: [Unprocessable, Unavailable]
    }).annotateMerge(describe("Forget a session")),
    HttpApiEndpoint.get("value", "/memory/:session/:key", {
      params: entry,
      success: M.Value,
      error: [Unprocessable, NotFound, Unavailable]
    }).annotateMerge(describe("One value")),
    HttpApiEndpoint.put("set", "/memory/:session/:key", {
      params: entry,
      payload: M.ValueBody,
      success: M.KeyDone,
      error: [Unprocessable, Full, TooLarge, TooMany, Unavailable]
    }).annotateMerge(describe("Set a value, for `ttl_ms` or a day; what stands makes no room for it")),
    HttpApiEndpoint.delete("remove", "/memory/:session/:key", {
      params: entry,
      success: M.KeyDone,
      error: [Unprocessable, Unavailable]
    }).annotateMerge(describe("Forget a value"))
  )
  .middleware(Identified)
  .annotateMerge(OpenApi.annotations({ description: "What agents that work together share" })) {}

/** Who is who. */
export class Auth extends HttpApiGroup.make("auth")
  .add(
    HttpApiEndpoint.post("token", "/auth/token", {
      payload: M.SecretBody,
      success: M.Token,
      error: [Unauthorized, Forbidden, NotFound, Conflict, TooMany, Unavailable]
    }).annotateMerge(describe("AgentMesh's shared secret for a token of one agent")),
    HttpApiEndpoint.post("challenge", "/auth/challenge", {
      payload: M.ChallengeBody,
      success: M.Challenge,
      error: [Unauthorized, Forbidden, NotFound, TooMany, Unavailable]
    }).annotateMerge(describe("Something to sign, for a minute")),
    HttpApiEndpoint.post("proof", "/auth/proof", {
      payload: M.ProofBody,
      success: M.Token,
      error: [Unauthorized, Forbidden, NotFound, TooMany, Unavailable]
    }).annotateMerge(describe("A signature over a challenge for a token")),
    HttpApiEndpoint.get("jwks", "/.well-known/jwks.json", { success: Schema.Json, error: Unavailable }).annotateMerge(
      describe("The public keys that tokens are signed with (RFC 7517)")
    )
  )
  .annotateMerge(OpenApi.annotations({ description: "Who is who" })) {}

const node = { node: Schema.String }

/** Parley's nodes, by their signed records. */
export class Nodes extends HttpApiGroup.make("nodes")
  .add(
    HttpApiEndpoint.put("put", "/nodes/:node", {
      params: node,
      payload: M.SignedRecord,
      success: M.NodeKept,
      error: [BadRequest, Unauthorized, Forbidden, NotFound, Conflict, Unprocessable, TooLarge, TooMany, Unavailable]
    }).annotateMerge(
      describe(
        "Keep a node's signed record; its signature is the permission. With its token, renew its lease. A tombstone leaves"
      )
    ),
    HttpApiEndpoint.get("get", "/nodes/:node", {
      params: node,
      success: M.SignedRecord,
      error: NotFound
    }).annotateMerge(describe("A node's signed record")),
    HttpApiEndpoint.get("list", "/nodes", {
      query: M.NodesQuery,
      success: Schema.Array(M.SignedRecord),
      error: Unprocessable
    }).annotateMerge(describe("Signed records, by NodeId; with `active` of those that are online")),
    HttpApiEndpoint.post("search", "/nodes/search", {
      payload: Query,
      success: M.NodeMatches,
      error: [Unprocessable, TooMany]
    }).annotateMerge(describe("Signed records for a core query, best first, each with its reasons"))
  )
  .annotateMerge(OpenApi.annotations({ description: "Signed records" })) {}

/** What was decided. */
export class Verdicts extends HttpApiGroup.make("verdicts")
  .add(
    HttpApiEndpoint.post("publish", "/verdicts", {
      payload: M.VerdictBody,
      success: M.VerdictKept.pipe(HttpApiSchema.status(201)),
      error: [Forbidden, Conflict, Unprocessable, TooLarge, TooMany, Unavailable]
    })
      .middleware(Identified)
      .annotateMerge(describe("Show a question and its verdict; the certificate is checked first")),
    HttpApiEndpoint.get("list", "/verdicts", {
      query: M.VerdictsQuery,
      success: Schema.Array(M.Verdict),
      error: Unavailable
    }).annotateMerge(describe("Published verdicts, newest first")),
    HttpApiEndpoint.get("get", "/verdicts/:task", {
      params: { task: Schema.String },
      success: M.Verdict,
      error: [NotFound, Unavailable]
    }).annotateMerge(describe("One verdict"))
  )
  .annotateMerge(OpenApi.annotations({ description: "Questions, votes and certificates" })) {}

/** The evidence behind reputation. */
export class Chain extends HttpApiGroup.make("chain")
  .add(
    HttpApiEndpoint.get("links", "/chain", {
      query: M.ChainQuery,
      success: Schema.Array(M.Link),
      error: Unavailable
    }).annotateMerge(describe("Reports that counted, each with the hash that chains it to all before it")),
    HttpApiEndpoint.get("head", "/chain/head", { success: M.Head, error: Unavailable }).annotateMerge(
      describe("The last link")
    )
  )
  .annotateMerge(OpenApi.annotations({ description: "The evidence behind reputation" })) {}

/** How the registry itself is. */
export class Service extends HttpApiGroup.make("service")
  .add(
    HttpApiEndpoint.get("stats", "/stats", { success: M.Stats, error: Unavailable }).annotateMerge(
      describe("Counts over everything")
    ),
    HttpApiEndpoint.get("health", "/health", {
      success: M.Health,
      error: M.Health.pipe(HttpApiSchema.status(503))
    }).annotateMerge(describe("Whether the registry lives, and serves"))
  )
  .annotateMerge(OpenApi.annotations({ description: "The registry itself" })) {}

/** The registry's HTTP contract. */
export class Api extends HttpApi.make("registry")
  .add(Agents, Discover, Trust, Traces, Memory, Auth, Nodes, Verdicts, Chain, Service)
  .middleware(Readable)
  .annotate(HttpApi.ParseOptions, { errors: "all" })
  .annotateMerge(
    OpenApi.annotations({
      title: "Parley registry",
      version: "0.1.0",
      description:
        "The optional registry of a mesh: a phone book with search, a memory of who did what how well, and a window on it all. " +
        "It keeps AgentMesh's contract. Errors are RFC 9457 problems whose `detail` says what to do."
    })
  ) {}
