/** Verifies: the part `registry` measures what it says, and every request of it is answered. */
import { expect, test } from "bun:test"
import { current } from "../../test-support/Runtime.ts"
import type { Goal } from "../src/Part.ts"
import { bench } from "./Bench.ts"

test("every goal of the part has a figure", async () => {
  const { code, err, out } = await bench("registry", "--brief", "--json", "--runtime", current)
  expect(err).not.toContain("rror")
  expect(code).toBe(0)
  const { goals } = JSON.parse(out) as { readonly goals: ReadonlyArray<Goal> }
  expect(goals.map(({ id }) => id)).toEqual([
    "registry-discover-exact-p95",
    "registry-discover-words-p95",
    "registry-discoveries",
    "registry-reports",
    `registry-memory-${current}`
  ])
  for (const { id, measured } of goals) expect([id, (measured ?? 0) > 0]).toEqual([id, true])
}, 120_000)
