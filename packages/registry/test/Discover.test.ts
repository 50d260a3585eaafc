/** Verifies: who is found, and in which order: filters, tiers, ties, exploration. */
import { describe, expect, test } from "bun:test"
import * as Circuits from "@parley/registry/Circuits"
import { Finder } from "@parley/registry/Discover"
import * as Exploration from "@parley/registry/Exploration"
import { fromSeed } from "@parley/core/testing/Seeded"
import { capability, manifest, NOW, query, world } from "./knowledge.ts"

const never = () => 0.999
const make = (random: () => number = never) => {
  const one = world()
  const finder = new Finder(one.knowledge, random)
  const find = (asked: Parameters<typeof query>[0], now = NOW): ReadonlyArray<string> =>
    finder.discover(query(asked), now).map(({ agent }) => agent.id)
  return { ...one, finder, find }
}

describe("filters", () => {
  test("a query for nothing finds nothing, and so does an unknown name", () => {
    const { find, register } = make()
    register(manifest("ada", ["csv.describe"]))
    expect([find({}), find({ capability_description: "  " }), find({ tags: ["x"] })]).toEqual([[], [], []])
    expect(find({ capability_name: "csv" })).toEqual([])
    expect(find({ capability_name: "csv.describe" })).toEqual(["ada"])
  })

  test("names with blanks and capitals, as AgentMesh allows them, are compared exactly", () => {
    const { find, register } = make()
    register(manifest("ada", ["Describe a Table"]))
    expect(find({ capability_name: "Describe a Table" })).toEqual(["ada"])
    expect(find({ capability_name: "describe a table" })).toEqual([])
  })

  test("words are looked for where nobody has the name, and leave out nobody who has it", () => {
    const { find, register } = make()
    register(manifest("ada", [capability("csv.describe", { description: "Means of each column" })]))
    expect(find({ capability_name: "nobody.has", capability_description: "mean of a column" })).toEqual(["ada"])
    expect(find({ capability_name: "csv.describe", capability_description: "weather" })).toEqual(["ada"])
    expect(find({ capability_description: "weather" })).toEqual([])
  })

  test("an agent with many fitting capabilities is named once, by the best of them", () => {
    const { finder, register } = make()
    const all = Array.from({ length: 30 }, (_, i) => capability(`csv.c${i}`, { description: "csv table" }))
    register(manifest("ada", [...all, capability("csv.describe", { description: "describe a csv table" })]))
    register(manifest("bob", [capability("csv.other", { description: "csv" })]))
    const found = finder.discover(query({ capability_description: "describe csv table", top_k: 2 }), NOW)
    expect(found.map(({ agent, match }) => [agent.id, match.capability.name])).toEqual([
      ["ada", "csv.describe"],
      ["bob", "csv.other"]
    ])
  })

  test("cost is the matched capability's", () => {
    const { find, finder, register } = make()
    register(manifest("ada", [capability("a", { cost_per_call_usd: 0.01 }), capability("b", { cost_per_call_usd: 5 })]))
    register(manifest("bob", [capability("a", { cost_per_call_usd: 0.02 })]))
    expect(find({ capability_name: "a", max_cost_usd: 0.02 })).toEqual(["ada", "bob"])
    expect(find({ capability_name: "b", max_cost_usd: 0.02 })).toEqual([])
    expect(finder.discover(query({ capability_name: "a" }), NOW)[0]!.match.parts.cost.why).toBe("$0.01 a call")
  })

  test("latency is the measured p95, else what is stated; who does neither does not pass", () => {
    const { find, register, report } = make()
    register(manifest("stated", [capability("a", { avg_latency_ms: 50 })]))
    register(manifest("measured", [capability("a", { avg_latency_ms: 50 })]))
    register(manifest("silent", ["a"]))
    for (let i = 0; i < 20; i++) report("measured", "a", true, 0.5, 100 + i)
    expect(find({ capability_name: "a", max_latency_ms: 60 })).toEqual(["stated"])
    expect(find({ capability_name: "a", max_latency_ms: 118 }).toSorted()).toEqual(["measured", "stated"])
    expect(find({ capability_name: "a", max_latency_ms: -1 })).toEqual([])
    expect(find({ capability_name: "a" }).length).toBe(3)
  })

  test("least trust, in the capability", () => {
    const { find, register, report } = make()
    register(manifest("ada", ["a", "b"]))
    for (let i = 0; i < 10; i++) report("ada", "a", true)
    expect(find({ capability_name: "a", min_trust_score: 0.83 })).toEqual([])
    expect(find({ capability_name: "a", min_trust_score: 0.82 })).toEqual(["ada"])
    expect(find({ capability_name: "a", min_trust_score: -3 })).toEqual(["ada"])
    expect(find({ capability_name: "a", min_trust_score: 2 })).toEqual([])
  })

  test("who is away is not found, and is found again when it is back", () => {
    const { find, register, set } = make()
    register(manifest("ada", ["a"]), NOW - 60_000)
    set("ada", undefined)
    expect(find({ capability_name: "a" })).toEqual([])
    set("ada", 0)
    expect(find({ capability_name: "a" })).toEqual(["ada"])
  })
})

describe("order", () => {
  test("tags break ties, and filter where they are asked to", () => {
    const { find, register } = make()
    register(manifest("ada", ["a"]))
    register(manifest("bob", ["a"], { tags: ["eu"] }))
    expect(find({ capability_name: "a", tags: ["eu"] })).toEqual(["bob", "ada"])
    expect(find({ capability_name: "a", tags: ["eu"], require_tags: true })).toEqual(["bob"])
    expect(find({ tags: ["eu"], require_tags: true })).toEqual(["bob"])
  })

  test("the faster of two alike comes first", () => {
    const { find, finder, register, report } = make()
    for (const id of ["ada", "bob"]) register(manifest(id, ["a"]))
    report("ada", "a", true, 0.5, 900)
    report("bob", "a", true, 0.5, 20)
    expect(find({ capability_name: "a" })).toEqual(["bob", "ada"])
    expect(finder.discover(query({ capability_name: "a" }), NOW)[0]!.match.parts.availability.why).toBe(
      "free, p50 20 ms"
    )
  })

  test("a full agent is last, however good, and those with work wait behind the idle", () => {
    const { find, register, report, set } = make()
    for (const id of ["best", "busy", "idle"]) register(manifest(id, ["a"]))
    for (let i = 0; i < 30; i++) report("best", "a", true)
    expect(find({ capability_name: "a" })[0]).toBe("best")
    set("best", 3)
    set("busy", 2)
    expect(find({ capability_name: "a" })).toEqual(["idle", "busy", "best"])
    expect(find({ capability_name: "a", top_k: 2 })).toEqual(["idle", "busy"])
    set("idle", undefined)
    set("busy", undefined)
    expect(find({ capability_name: "a", top_k: 1 })).toEqual(["best"])
  })

  test("an open circuit is the last resort; when it is due, one discovery offers it as if it were well", () => {
    const { find, register, report, set } = make()
    for (const id of ["good", "full", "broken"]) register(manifest(id, ["a", "b"]))
    for (let i = 0; i < 20; i++) report("broken", "a", true)
    for (let i = 0; i < Circuits.FAILURES; i++) report("broken", "a", false, 1)
    set("full", 3)
    expect(find({ capability_name: "a" })).toEqual(["good", "full", "broken"])
    expect(find({ capability_name: "b" })[0]).not.toBe("full")
    set("good", undefined)
    set("full", undefined)
    expect(find({ capability_name: "a" })).toEqual(["broken"])
    set("good", 0)
    const due = NOW + Circuits.OPEN_MS
    expect(find({ capability_name: "a" }, due)).toEqual(["broken", "good"])
    expect(find({ capability_name: "a" }, due)).toEqual(["good", "broken"])
    set("broken", 0, due)
    expect(find({ capability_name: "a" }, due)).toEqual(["good", "broken"])
    report("broken", "a", true, 1, undefined, due + 1)
    expect(find({ capability_name: "a" }, due + 2)).toEqual(["broken", "good"])
  })

  test("newcomers stand first in a share of discoveries, each of them by chance; the same seed gives the same", () => {
    const run = (seed: number) => {
      const random = fromSeed(seed)
      const { find, register, report } = make(random.next)
      register(manifest("known", ["a"]))
      for (const id of ["new-1", "new-2", "new-3"]) register(manifest(id, ["a"]))
      for (let i = 0; i < 60; i++) report("known", "a", true)
      const firsts = Array.from({ length: 20_000 }, () => find({ capability_name: "a", top_k: 1 })[0]!)
      return { firsts, share: firsts.filter((id) => id !== "known").length / firsts.length }
    }
    const { firsts, share } = run(7)
    expect([Exploration.LEAST_SHARE * 0.7 < share, share < Exploration.MOST_SHARE]).toEqual([true, true])
    for (const id of ["new-1", "new-2", "new-3"]) expect(firsts.includes(id)).toBe(true)
    expect(run(7).firsts).toEqual(firsts)
  })
})
