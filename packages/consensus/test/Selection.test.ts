import { describe, expect, test } from "bun:test"
import * as Effect from "effect/Effect"
import type { Match } from "@parley/core/Matcher"
import { fromSeed } from "@parley/core/testing/Seeded"
import { selectionSuite, testMatch } from "@parley/core/testing/StrategySuite"
import * as Consensus from "../src/Consensus.ts"
import * as Selection from "../src/Selection.ts"

const api = { describe, expect, test }
selectionSuite(api, { name: "all", make: () => Selection.all, count: Infinity })
selectionSuite(api, { name: "top-5", make: () => Selection.topN(5), count: 5 })
selectionSuite(api, { name: "round-robin", make: () => Selection.roundRobin(), count: 1 })
selectionSuite(api, { name: "round-robin-4", make: () => Selection.roundRobin(4), count: 4 })
selectionSuite(api, { name: "random-3", make: () => Selection.random(3), count: 3 })
selectionSuite(api, { name: "weighted-3", make: () => Selection.weighted(3), count: 3 })
selectionSuite(api, { name: "least-loaded", make: () => Selection.leastLoaded(), count: 1 })
selectionSuite(api, { name: "least-loaded-2", make: () => Selection.leastLoaded(2), count: 2 })
selectionSuite(api, { name: "diverse-3", make: () => Selection.diverse(3), count: 3 })

const five = [0, 1, 2, 3, 4].map((number) => testMatch(number, 1 - number / 10))
const context = (seed: number, load: (match: Match) => number = () => 0, turn = 0) => ({
  random: fromSeed(seed).next,
  turn,
  load
})
const shares = (runs: number, choose: (run: number) => ReadonlyArray<Match>) => {
  const counts = five.map(() => 0)
  for (let run = 0; run < runs; run++) for (const match of choose(run)) counts[five.indexOf(match)]!++
  return counts
}

describe("Selection", () => {
  test("asks a node once, by its best match", () => {
    const again = { ...testMatch(0, 0.1), capability: { name: "test.echo", version: "0.9.0" } }
    for (const selection of [Selection.all, Selection.topN(6), Selection.random(6), Selection.diverse(6)]) {
      const chosen = selection.select([...five, again], context(1))
      expect(chosen.length).toEqual(5)
      expect(chosen.includes(again)).toEqual(false)
    }
  })

  test("top takes the best in their order", () => {
    expect(Selection.topN(2).select(five, context(1))).toEqual(five.slice(0, 2))
  })

  test("round-robin asks everyone equally often, also when scores change the ranking", () => {
    expect(shares(50, (turn) => Selection.roundRobin().select(five, context(1, undefined, turn)))).toEqual([
      10, 10, 10, 10, 10
    ])
    const shuffled = (turn: number) => Selection.random(5).select(five, context(turn))
    for (const each of [1, 2, 3]) {
      const counts = shares(50, (turn) =>
        Selection.roundRobin(each).select(shuffled(turn), context(1, undefined, turn))
      )
      expect(counts).toEqual([10, 10, 10, 10, 10].map((count) => count * each))
    }
    expect(Selection.roundRobin().select(five, context(1, undefined, 2 ** 40)).length).toEqual(1)
  })

  test("random is fair, and repeats with its seed", () => {
    const counts = shares(5_000, (seed) => Selection.random(2).select(five, context(seed)))
    for (const count of counts) expect(Math.abs(count - 2_000)).toBeLessThan(200)
    expect(Selection.random(3).select(five, context(7))).toEqual(Selection.random(3).select(five, context(7)))
  })

  test("weighted follows score and load, and leaves the worthless to the end", () => {
    const scored = [testMatch(0, 0.8), testMatch(1, 0.2), testMatch(2, 0)]
    let first = 0
    let busy = 0
    for (let seed = 0; seed < 5_000; seed++) {
      if (Selection.weighted(1).select(scored, context(seed))[0] === scored[0]) first++
      const loaded = context(seed, (match) => (match === scored[0] ? 3 : 0))
      if (Selection.weighted(1).select(scored, loaded)[0] === scored[0]) busy++
      expect(Selection.weighted(3).select(scored, context(seed))[2]).toEqual(scored[2])
    }
    // 0.8 of 1, and 0.2 of 0.4.
    expect(Math.abs(first - 4_000)).toBeLessThan(200)
    expect(Math.abs(busy - 2_500)).toBeLessThan(200)
  })

  test("least-loaded never takes the most loaded of all, and compares two at random", () => {
    const load = (match: Match) => five.indexOf(match)
    const counts = shares(5_000, (seed) => Selection.leastLoaded().select(five, context(seed, load)))
    // Of the ten pairs, 4 have the idlest as their better one, then 3, 2, 1 and 0.
    counts.forEach((count, i) => expect(Math.abs(count - (4 - i) * 500)).toBeLessThan(150))
    expect(counts[4]).toEqual(0)
    const reversed = shares(5_000, (seed) =>
      Selection.leastLoaded().select(
        five,
        context(seed, (match) => -load(match))
      )
    )
    reversed.forEach((count, i) => expect(Math.abs(count - i * 500)).toBeLessThan(150))
  })

  test("diverse takes no second of a host before every host has one", () => {
    const at = (number: number, address: string) => testMatch(number, 1 - number / 10, address)
    const matches = [
      at(0, "tcp://a.example:1"),
      at(1, "tcp://A.example:2"),
      at(2, "relay://relay.example:7878/z6MkA"),
      at(3, "relay://relay.example:7878/z6MkB"),
      at(4, "tcp://[2001:db8::1]:7878"),
      at(5, "tcp://[2001:db8::1]:7879"),
      at(6, "mem://ada")
    ]
    const numbers = (count: number) =>
      Selection.diverse(count)
        .select(matches, context(1))
        .map((match) => matches.indexOf(match))
    expect(numbers(4)).toEqual([0, 2, 4, 6])
    expect(numbers(6)).toEqual([0, 2, 4, 6, 1, 3])
    expect(Selection.hostOf({ ...five[0]!, record: { ...five[0]!.record, addresses: [] } })).toEqual(
      `node:${five[0]!.node}`
    )
  })
})

describe("Selections by name", () => {
  const find = (name: string) => Effect.runSync(Effect.result(Consensus.strategies.selection(name)))
  test("are found with and without an argument, and know their name", () => {
    for (const [name, full] of [
      ["all", "all"],
      ["top", "top-5"],
      ["top-7", "top-7"],
      ["top(3)", "top-3"],
      ["round-robin", "round-robin"],
      ["round-robin-2", "round-robin-2"],
      ["random-3", "random-3"],
      ["weighted:3", "weighted-3"],
      ["least-loaded", "least-loaded"],
      ["diverse-3", "diverse-3"]
    ] as const) {
      const found = find(name)
      expect(found._tag === "Success" ? found.success.name : found.failure.message).toEqual(full)
    }
  })
  test("say what is wrong with an argument or a name", () => {
    const messageOf = (name: string) => {
      const found = find(name)
      return found._tag === "Failure" ? `${found.failure.code} ${found.failure.message}` : "found"
    }
    expect(messageOf("top-0")).toEqual('BadArgument strategy "top": it takes a whole number from 1, not 0')
    expect(messageOf("top-2.5")).toContain("not 2.5")
    expect(messageOf("top:x")).toContain('was given "x"')
    expect(messageOf("all-3")).toContain("takes no argument")
    expect(messageOf("best")).toContain("Unknown")
    expect(() => Selection.topN(0)).toThrow(RangeError)
  })
})
