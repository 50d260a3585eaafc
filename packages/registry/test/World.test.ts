/** Verifies: what a full registry does, by number and by bytes, and whom it misses after a restart. */
import { expect, test } from "bun:test"
import * as Result from "effect/Result"
import * as AgentRecord from "@parley/core/AgentRecord"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Identity from "@parley/core/Identity"
import * as Receipt from "@parley/core/Receipt"
import * as Commands from "@parley/registry/Commands"
import type { Manifest } from "@parley/registry/Model"
import * as NodeManifest from "@parley/registry/NodeManifest"
import * as World from "@parley/registry/World"
import { capability, manifest, NOW, world } from "./knowledge.ts"

test("a full registry gives the place of one that is away, of one without a record first, and none of those online", () => {
  const { apply, knowledge, register, report, set } = world({ maxAgents: 3 })
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

/** An agent whose manifest has about so many bytes of JSON. */
const large = (id: string, bytes: number) => manifest(id, [capability("a", { description: "d".repeat(bytes - 300) })])

/** Registers as a commit does; says who left for it, or what it was refused with. */
const comes = (parts: ReturnType<typeof world>, one: Manifest, at = NOW): ReadonlyArray<string> | string => {
  const decided = Commands.register(one).decide(parts.knowledge, new Set(), at)
  if (Result.isFailure(decided)) return decided.failure.detail
  decided.success.facts.forEach((fact) => parts.apply(fact, at))
  return decided.success.facts.flatMap((fact) => (fact.type === "agent.left" ? [fact.id] : []))
}

test("however many large agents come, their bytes stay within the bound, and ordinary agents are not put out for them", () => {
  const bounds = { maxLargeBytes: 2 * 1_048_576 }
  const parts = world(bounds)
  const { knowledge } = parts
  const beyond = (): number =>
    [...knowledge.all()].reduce(
      (sum, { isNode, record, text }) =>
        sum + Math.max(0, World.bytesOf(text, isNode ? record : undefined) - World.ORDINARY_BYTES),
      0
    )
  // Each comes when those before are away: their first lease is not opened.
  let at = NOW - 3_600_000
  const next = (one: Manifest) => comes(parts, one, (at += World.ARRIVAL_MS))
  for (let n = 0; n < 50; n++) next(manifest(`ordinary ${n}`, ["a", "b", "c"]))
  let gone = 0
  for (let n = 0; n < 200; n++) {
    const left = next(large(`flood ${n}`, n % 3 === 0 ? 64_000 : 20_000 + n))
    expect(typeof left).toBe("object")
    gone += left.length
    expect([n, knowledge.largeBytes <= bounds.maxLargeBytes, knowledge.largeBytes]).toEqual([n, true, beyond()])
  }
  expect([gone > 100, knowledge.size]).toEqual([true, 250 - gone])
  expect(knowledge.ids.filter((id) => id.startsWith("ordinary")).length).toBe(50)
  // Who leaves, or comes with less, takes its bytes along.
  for (const id of [...knowledge.ids]) {
    if (id.endsWith("1")) parts.apply({ type: "agent.left", id })
    else if (id.endsWith("2")) next(manifest(id, ["a"]))
  }
  expect([knowledge.largeBytes, knowledge.largeBytes > 0]).toEqual([beyond(), true])
  const agents = [...knowledge.all()].map(({ registeredAt, text }) => ({
    manifest: JSON.parse(text),
    registeredAt,
    completed: 0,
    failed: 0
  }))
  const before = knowledge.largeBytes
  knowledge.load({ cursor: 900, agents, edges: [], link: { seq: 0, hash: "" } }, NOW)
  expect(knowledge.largeBytes).toBe(before)
  for (const id of [...knowledge.ids]) parts.apply({ type: "agent.left", id })
  expect(knowledge.largeBytes).toBe(0)
})

test("a node's record counts as well as its manifest", () => {
  const { apply, knowledge } = world()
  const node = Identity.generate()
  const record = AgentRecord.make(node, {
    name: "n",
    seq: 1,
    issuedAt: NOW,
    addresses: [],
    capabilities: [{ name: "a", version: "1.0.0", description: "", input: { enum: ["e".repeat(20_000)] } }]
  })
  const its = NodeManifest.of(record)
  apply({ type: "agent.registered", agent: { manifest: its, record, registeredAt: NOW } })
  const bytes = 2 * JSON.stringify(its).length + JSON.stringify(record).length
  expect(knowledge.largeBytes).toBe(bytes - World.ORDINARY_BYTES)
})

test("large agents take the places of large ones that are away, untried and larger ones first, and of none online", () => {
  const parts = world({ maxLargeBytes: 400_000 })
  const { knowledge, register, report, set } = parts
  const sizes = { online: 64_000, tried: 30_000, small: 10_000, big: 25_000 }
  for (const [id, bytes] of Object.entries(sizes)) register(large(id, bytes), NOW - 60_000)
  report("tried", "a", true)
  const refused = comes(parts, large("new", 60_000))
  expect(String(refused)).toContain("large agents that are online")
  // Who is ordinary finds a place all the same, and so does who is known and asks for no more.
  expect(comes(parts, manifest("ordinary", ["a"]))).toEqual([])
  for (const id of ["tried", "small", "big"]) set(id, undefined)
  expect(comes(parts, large("small", 9_000), NOW - 60_000)).toEqual([])
  set("small", undefined)
  expect(comes(parts, large("one", 25_000), NOW - 60_000)).toEqual(["big"])
  set("one", 0)
  expect(comes(parts, large("two", 30_000), NOW - 60_000)).toEqual(["small", "tried"])
  set("two", 0)
  expect(String(comes(parts, large("three", 30_000)))).toContain("large agents that are online")
  expect(knowledge.ids).toEqual(["one", "online", "ordinary", "two"])
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
