/** Verifies: what a full registry does, and whom it misses after a restart. */
import { expect, test } from "bun:test"
import * as Result from "effect/Result"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import * as Commands from "@parley/registry/Commands"
import { manifest, NOW, world } from "./knowledge.ts"

test("a full registry gives the place of one that is away, of one without a record first, and none of those online", () => {
  const { apply, knowledge, register, report, set } = world(3)
  for (const id of ["online", "tried", "away"]) register(manifest(id, ["a"]), NOW - 60_000)
  report("tried", "a", true)
  const decide = (id: string) => Commands.register(manifest(id, ["a"])).decide(knowledge, new Set(), NOW)
  const refused = decide("new")
  expect(Result.isFailure(refused) && refused.failure._tag).toBe("Unavailable")
  set("tried", undefined)
  set("away", undefined)
  for (const [id, left] of [
    ["new", "away"],
    ["newer", "tried"]
  ] as const) {
    const decided = decide(id)
    const facts = Result.isSuccess(decided) ? decided.success.facts : []
    expect(facts.map((fact) => (fact.type === "agent.left" ? fact.id : fact.type))).toEqual([left, "agent.registered"])
    facts.forEach((fact) => apply(fact, NOW - 60_000))
    set(id, 0)
  }
  expect(knowledge.ids).toEqual(["new", "newer", "online"])
  // What one that was put out had earned stands.
  expect(knowledge.counters("tried")).toEqual({ completed: 1, failed: 0 })
})

test("who was online before a restart and did not come back is missed, and nobody else", () => {
  const { knowledge, register, set } = world()
  for (const id of ["back", "gone", "left"]) register(manifest(id, ["a"]), NOW - 60_000)
  const said = (id: string, status: "healthy" | "offline") => ({
    cursor: 0,
    at: NOW,
    fact: { type: "status.changed" as const, id, status, why: "" }
  })
  set("left", undefined)
  knowledge.recall([said("back", "healthy"), said("gone", "healthy")])
  expect(knowledge.missing(NOW)).toEqual([])
  const agents = [...knowledge.all()].map(({ id, registeredAt, text }) => ({
    manifest: JSON.parse(text),
    registeredAt,
    completed: 0,
    failed: 0,
    id
  }))
  set("gone", undefined)
  knowledge.load({ cursor: 9, agents, edges: [], link: { seq: 0, hash: "" } }, NOW)
  knowledge.recall([said("back", "healthy"), said("gone", "healthy"), said("left", "offline")])
  expect(knowledge.missing(NOW)).toEqual(["gone"])
})

test("once there are receipts, a node that nobody believes neither opens an agent's circuit nor heals it, nor makes it slow", () => {
  const { apply, knowledge, register } = world()
  const [executor, caller] = [Identity.generate(), Identity.generate()]
  const hash = CanonicalJson.hash({ a: 1 })
  let task = 0
  const say = (reviewer: string, success: boolean, latencyMs: number, isAttested = false) => {
    const id = String(++task).padStart(32, "0")
    const receipt = Receipt.make(executor, {
      task: id,
      capability: "a@1.0.0",
      caller: caller.nodeId,
      inputHash: hash,
      outputHash: hash,
      startedAt: NOW - 5,
      finishedAt: NOW
    })
    const report = { agent: executor.nodeId, capability: "a", reviewer, task: id, success, quality: 1, latencyMs }
    apply({
      type: "trust.changed",
      report: isAttested ? { ...report, receipt } : report,
      score: 0,
      ema: 0,
      edge: null,
      link: { seq: task, hash: "" }
    })
  }
  const stranger = () => Identity.generate().nodeId
  register(manifest(executor.nodeId, ["a"]))
  say(caller.nodeId, true, 10, true)
  for (let n = 0; n < 30; n++) say(stranger(), false, 600_000)
  expect(knowledge.status(knowledge.get(executor.nodeId)!, NOW)).toBe("healthy")
  expect(knowledge.latencies.of(executor.nodeId, "a")).toEqual({ mean: 10, p50: 10, p95: 10, samples: 1 })
  // The first who showed a receipt is believed, whatever it says without one.
  for (let n = 0; n < 3; n++) say(caller.nodeId, false, 20)
  expect(knowledge.status(knowledge.get(executor.nodeId)!, NOW)).toBe("degraded")
  for (let n = 0; n < 3; n++) say(stranger(), true, 1)
  expect(knowledge.status(knowledge.get(executor.nodeId)!, NOW)).toBe("degraded")
  // AgentMesh's agents show no receipts, and are no strangers: they know the secret.
  const agent = { agent: "ada", capability: "a", reviewer: "bob", success: false, quality: 0 }
  register(manifest("ada", ["a"]))
  for (let n = 0; n < 3; n++) {
    const link = { seq: ++task, hash: "" }
    apply({ type: "trust.changed", report: { ...agent, task: `t${n}` }, score: 0, ema: 0, edge: null, link })
  }
  expect(knowledge.status(knowledge.get("ada")!, NOW)).toBe("degraded")
})
