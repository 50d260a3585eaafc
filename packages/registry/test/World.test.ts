/** Verifies: what a full registry does, and whom it misses after a restart. */
import { expect, test } from "bun:test"
import * as Result from "effect/Result"
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
