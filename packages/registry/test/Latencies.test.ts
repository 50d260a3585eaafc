/** Verifies: measured latencies, in bounded windows, by agent and capability. */
import { expect, test } from "bun:test"
import * as Latencies from "@parley/registry/Latencies"

test("the last samples of a capability, by nearest rank", () => {
  const latencies = new Latencies.Latencies()
  for (let i = 1; i <= 100; i++) latencies.add("a", "csv", i)
  // The last twenty: 81 to 100.
  expect(latencies.of("a", "csv")).toEqual({ mean: 90.5, p50: 90, p95: 99, samples: Latencies.WINDOW })
  expect(latencies.of("b", "csv")).toBe(undefined)
})

test("samples without a capability speak for those that have none of their own", () => {
  const latencies = new Latencies.Latencies()
  latencies.add("a", "", 10)
  latencies.add("a", "csv", 30)
  expect([latencies.of("a", "text")?.p50, latencies.of("a", "csv")?.p50]).toEqual([10, 30])
  expect(latencies.all("a").map(({ capability }) => capability)).toEqual(["", "csv"])
})

test("what is no latency is bounded or passed over, and so is their number", () => {
  const latencies = new Latencies.Latencies()
  for (const value of [NaN, Infinity, -Infinity]) latencies.add("a", "csv", value)
  expect(latencies.has("a")).toBe(false)
  latencies.add("a", "csv", -5)
  latencies.add("a", "csv", 1e9)
  expect(latencies.of("a", "csv")).toEqual({
    mean: Latencies.MAX_LATENCY_MS / 2,
    p50: 0,
    p95: Latencies.MAX_LATENCY_MS,
    samples: 2
  })
  for (let i = 0; i < 2 * Latencies.MAX_OF_AGENT; i++) latencies.add("b", `c${i}`, i)
  expect(latencies.all("b").length).toBe(Latencies.MAX_OF_AGENT)
})

test("agents come and go, and what was measured of them is bounded: the one longest not measured goes", () => {
  const latencies = new Latencies.Latencies(10)
  for (const agent of ["a", "b", "c"]) for (let i = 0; i < 3; i++) latencies.add(agent, `c${i}`, i)
  latencies.add("a", "c0", 5)
  latencies.add("d", "c0", 1)
  latencies.add("d", "c1", 1)
  expect(["a", "b", "c", "d"].map((agent) => latencies.all(agent).length)).toEqual([3, 0, 3, 2])
  for (let i = 0; i < 1_000; i++) latencies.add(`stranger-${i}`, "", i)
  expect(latencies.size).toBe(10)
  // One alone may have more than all together, and no more than one may.
  for (let i = 0; i < 2 * Latencies.MAX_OF_AGENT; i++) latencies.add("e", `c${i}`, i)
  expect([latencies.size, latencies.has("stranger-999")]).toEqual([Latencies.MAX_OF_AGENT, false])
  latencies.clear()
  expect(latencies.size).toBe(0)
})
