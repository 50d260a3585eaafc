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
