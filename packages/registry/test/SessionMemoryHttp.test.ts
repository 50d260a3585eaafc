/** Verifies: over HTTP, who is a stranger to session memory, and what somebody is told for whom there is no room. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Identity from "@parley/core/Identity"
import type { Receipt } from "@parley/core/Receipt"
import * as Challenge from "@parley/registry/Challenge"
import type { Report } from "@parley/registry/Event"
import * as LimitsMemory from "@parley/registry/LimitsMemory"
import { writerOf } from "@parley/registry/MemoryHandlers"
import * as PresenceMemory from "@parley/registry/PresenceMemory"
import * as ReputationModel from "@parley/registry/ReputationModel"
import * as Server from "@parley/registry/Server"
import { BOUNDS, SessionMemory } from "@parley/registry/SessionMemory"
import * as StoreSqlite from "@parley/registry/StoreSqlite"
import * as MemorySqlite from "../src/internal/MemorySqlite.ts"
import * as Sqlite from "../src/internal/Sqlite.ts"
import { client } from "./agentmesh.ts"
import { OPERATOR } from "./identity.ts"

describe("a writer is", () => {
  const NOW = Date.UTC(2026, 0, 1)
  const report = (agent: string, reviewer: string, more: Partial<Report> = {}): Report => ({
    agent,
    reviewer,
    capability: "work",
    task: "t",
    success: true,
    quality: 1,
    ...more
  })
  const attested = (agent: string, reviewer: string, more: Partial<Report> = {}) =>
    report(agent, reviewer, { receipt: { executor: agent } as Receipt, ...more })
  const isStranger = (reports: ReadonlyArray<Report>, id: string, now = NOW) => {
    const reputation = ReputationModel.make({ seeds: ["seed"] })
    for (const each of reports) reputation.apply(each, NOW)
    reputation.settleAll(NOW)
    return writerOf({ kind: "node", id }, reputation, now)?.isStranger
  }

  test("nobody in particular, where it is the operator or on this machine", () => {
    const reputation = ReputationModel.make({ seeds: ["seed"] })
    expect(writerOf({ kind: "operator", id: "operator" }, reputation, NOW)).toBe(undefined)
    expect(writerOf({ kind: "local", id: "" }, reputation, NOW)).toBe(undefined)
    expect(writerOf({ kind: "agent", id: "ada" }, reputation, NOW)).toEqual({ id: "ada", isStranger: false })
  })

  test("no stranger, where somebody who is believed has had good work from it of late", () => {
    expect(isStranger([], "seed")).toBe(false)
    expect(isStranger([attested("ada", "seed")], "ada")).toBe(false)
    expect(isStranger([attested("ada", "seed")], "ada", NOW + 61 * 86_400_000)).toBe(true)
  })

  test("a stranger, whatever others of whom nobody knows say of it", () => {
    expect(isStranger([], "x")).toBe(true)
    expect(isStranger([report("x", "seed")], "x")).toBe(true)
    expect(isStranger([attested("x", "seed", { success: false, quality: 0 })], "x")).toBe(true)
    const ring = ["x", "y", "z"].flatMap((agent) =>
      ["x", "y", "z"].filter((each) => each !== agent).map((reviewer) => attested(agent, reviewer))
    )
    expect(isStranger([attested("ada", "seed"), ...ring, ...ring], "x")).toBe(true)
  })
})

describe("a registry with keys", () => {
  const scope = Scope.makeUnsafe()
  const seed = Identity.generate()
  let url = ""
  beforeAll(async () => {
    const small = {
      ...BOUNDS,
      identity: { ...BOUNDS.identity, sessions: 3 },
      strangers: { ...BOUNDS.strangers, sessions: 4 },
      all: { ...BOUNDS.all, sessions: 6 }
    }
    const memory = Layer.effect(
      SessionMemory,
      Effect.map(Sqlite.open(":memory:"), (database) => MemorySqlite.make(database, small))
    )
    const running = Effect.gen(function* () {
      const stores = yield* Layer.build(
        Layer.mergeAll(StoreSqlite.layer(":memory:"), PresenceMemory.layer, LimitsMemory.layer)
      )
      const its = yield* Layer.build(memory)
      const operatorToken = Redacted.make(OPERATOR)
      return yield* Server.make({ port: 0, mode: "keys", operatorToken, seeds: [seed.nodeId] }).pipe(
        Effect.provideContext(its),
        Effect.provideContext(stores)
      )
    })
    url = (await Effect.runPromise(Scope.provide(running, scope))).url
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const signedIn = async (identity = Identity.generate()) => {
    const anybody = client(url)
    const asked = await Effect.runPromise(anybody.post("/auth/challenge", { node: identity.nodeId }))
    const { challenge } = asked.body as { challenge: string }
    const signature = Challenge.sign(identity, url, challenge)
    const proof = { node: identity.nodeId, challenge, signature }
    const { body } = await Effect.runPromise(anybody.post("/auth/proof", proof))
    return client(url, (body as { access_token: string }).access_token)
  }
  const put = async (who: ReturnType<typeof client>, session: string, value: unknown = 1) => {
    const { body, status, type } = await Effect.runPromise(who.put(`/memory/${session}/k`, { value }))
    if (status === 200) return "kept"
    const { detail, limit, of, what } = body as { [member: string]: unknown }
    expect([status, type, typeof detail]).toEqual([507, "application/problem+json", "string"])
    return { of, what, limit }
  }

  test("tells whose bound was reached, and leaves what stands", async () => {
    const [one, two, trusted, operator] = [
      await signedIn(),
      await signedIn(),
      await signedIn(seed),
      client(url, OPERATOR)
    ]
    for (const session of ["a1", "a2", "a3"]) expect(await put(one, session)).toBe("kept")
    expect(await put(one, "a4")).toEqual({ of: "identity", what: "sessions", limit: 3 })
    expect(await put(two, "b1")).toBe("kept")
    expect(await put(two, "b2")).toEqual({ of: "strangers", what: "sessions", limit: 4 })
    expect(await put(await signedIn(), "b3")).toEqual({ of: "strangers", what: "sessions", limit: 4 })
    expect(await put(trusted, "c1")).toBe("kept")
    expect(await put(operator, "d1")).toBe("kept")
    expect(await put(trusted, "c2")).toEqual({ of: "all", what: "sessions", limit: 6 })
    expect(await put(operator, "d2")).toEqual({ of: "all", what: "sessions", limit: 6 })
    const { body } = await Effect.runPromise(operator.get("/memory"))
    expect(body).toEqual({ sessions: ["a1", "a2", "a3", "b1", "c1", "d1"], count: 6 })
    // Who removes something may write something else.
    expect((await Effect.runPromise(one.del("/memory/a1"))).status).toBe(200)
    expect(await put(one, "a4")).toBe("kept")
  })

  test("gives all of a session in one answer that is bounded, whoever filled it", async () => {
    const operator = client(url, OPERATOR)
    let full: unknown
    for (let n = 0; n < 20 && full === undefined; n++) {
      const { body, status } = await Effect.runPromise(operator.put(`/memory/a2/k${n}`, { value: "x".repeat(65_000) }))
      if (status !== 200) full = body
    }
    expect(full).toMatchObject({ status: 507, title: "Insufficient Storage", of: "session", what: "bytes" })
    const { body } = await Effect.runPromise(operator.get("/memory/a2"))
    expect(JSON.stringify(body).length <= BOUNDS.session.bytes).toBe(true)
  })
})
