/** What the registry's reputation costs: a report, a score, weighing reviewers anew, memory. */
import type { Receipt } from "@parley/core/Receipt"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as ReputationModel from "@parley/registry/ReputationModel"

export interface Cost {
  readonly applyMicros: number
  readonly scoreNanos: number
  readonly settleMillis: number
  readonly sliceMillis: number
  readonly bytesOfEdge: number
}

const START = Date.UTC(2026, 0, 1)
const SCORES = 1_000_000
/** Agents whose scores are asked for in turns. */
const CANDIDATES = 10_000

/** With so many edges between as many agents and a fifth as many reviewers. */
export const costOf = (edges: number): Cost => {
  const random = fromSeed(5)
  const agents = Array.from({ length: edges }, (_, i) => `agent-${i}`)
  const reviewers = Array.from({ length: edges / 5 }, (_, i) => `reviewer-${i}`)
  const receipt = {} as Receipt
  const reports = Array.from({ length: edges }, () => ({
    agent: random.pick(agents),
    capability: "work",
    reviewer: random.pick(reviewers),
    task: "",
    success: random.int(5) > 0,
    quality: random.next(),
    receipt
  }))
  const before = memory()
  const model = ReputationModel.make({ seeds: reviewers.slice(0, 8) })
  model.settle(START)
  const began = performance.now()
  for (const report of reports) model.apply(report, START)
  const applied = performance.now() - began
  const bytes = memory() - before
  let settled = 0
  let slice = 0
  while (model.settled() < model.reports()) {
    const since = performance.now()
    model.settle(START)
    const took = performance.now() - since
    settled += took
    slice = Math.max(slice, took)
  }
  const candidates = agents.slice(0, CANDIDATES)
  for (const id of candidates) model.score(id, "work", START)
  const asked = performance.now()
  let sum = 0
  for (let i = 0; i < SCORES; i++) sum += model.score(candidates[i % candidates.length]!, "work", START)
  const scored = performance.now() - asked
  if (!(sum > 0)) throw new Error("no agent has a score")
  return {
    applyMicros: (applied * 1_000) / edges,
    scoreNanos: (scored * 1e6) / SCORES,
    settleMillis: settled,
    sliceMillis: slice,
    bytesOfEdge: bytes / edges
  }
}

const memory = (): number => {
  if (typeof Bun !== "undefined") Bun.gc(true)
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}
