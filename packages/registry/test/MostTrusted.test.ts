/** Verifies: knowing who is trusted most saves discoveries work, and changes no answer. */
import { describe, expect, test } from "bun:test"
import { fromSeed } from "@parley/core/testing/Seeded"
import * as Identity from "@parley/core/Identity"
import { Finder } from "@parley/registry/Discover"
import { stepOf } from "../src/internal/Decay.ts"
import { MostTrusted } from "../src/internal/MostTrusted.ts"
import { capability, manifest, NOW, query, world } from "./knowledge.ts"

const SEED = 4_177
const AGENTS = 1_500
const subjects = ["csv", "table", "text", "weather", "image", "sound", "market", "news"]
const verbs = ["describe", "compare", "merge", "clean", "draw", "rank"]

const make = () => {
  const { next: random, pick } = fromSeed(SEED)
  const one = world()
  const names: Array<ReadonlyArray<string>> = []
  for (let i = 0; i < AGENTS; i++) {
    // Words of its own, so that there are as many definitions as the shorter way begins with.
    const its = Array.from({ length: 2 }, () =>
      capability(`${pick(subjects)}.${pick(verbs)}`, {
        description: `Can ${pick(verbs)} a ${pick(subjects)}, number ${i}`,
        cost_per_call_usd: Math.floor(random() * 20) / 1_000
      })
    )
    names.push(its.map(({ name }) => name))
    one.register(manifest(`agent-${i}`, its))
  }
  let task = 0
  const report = (agent: number, quality: number): void => {
    one.knowledge.report(
      {
        agent: `agent-${agent}`,
        capability: names[agent]![task % 2]!,
        reviewer: `reviewer-${task % 7}`,
        task: `task-${task++}`,
        success: quality > 0.3,
        quality
      },
      NOW
    )
  }
  const asked = (n: number) =>
    n % 2 === 0
      ? query({ capability_name: `${pick(subjects)}.${pick(verbs)}` })
      : query({ capability_description: `${pick(verbs)} my ${pick(subjects)}, request ${n}` })
  const known = (): void => {
    for (let i = 0; i < AGENTS && one.knowledge.mostTrusted(NOW) === undefined; i++);
  }
  return { ...one, random, report, asked, known }
}

/** Who is found with and without bounds; one in so many queries has a least trust. */
const both = ({ asked, knowledge }: ReturnType<typeof make>, n: number) => {
  const given = n % 5 === 0 ? { ...asked(n), min_trust_score: 0.45 } : asked(n)
  const found = () =>
    new Finder(knowledge, () => 0.999).discover(given, NOW).map(({ agent, match }) => [agent.id, match.score])
  const bounded = found()
  const bounds = knowledge.mostTrusted
  knowledge.mostTrusted = () => undefined
  try {
    return { bounded, plain: found(), why: `seed ${SEED}, query ${n}: ${JSON.stringify(given)}` }
  } finally {
    knowledge.mostTrusted = bounds
  }
}

describe("who is trusted most", () => {
  test("is known at once where nobody was reported on, and changes no answer", () => {
    const one = make()
    expect(one.knowledge.mostTrusted(NOW)).toMatchObject({ anybody: 0.5, others: 0.5 })
    for (let n = 0; n < 100; n++) {
      const { bounded, plain, why } = both(one, n)
      expect([why, bounded]).toEqual([why, plain])
    }
  })

  test("is found out over some discoveries, and changes no answer as reports come in", () => {
    const one = make()
    const agents = Array.from({ length: AGENTS }, (_, i) => i)
    for (const agent of agents) for (let i = 0; i < 4; i++) one.report(agent, one.random())
    one.knowledge.reputation.settle(NOW)
    expect(one.knowledge.mostTrusted(NOW)).toBe(undefined)
    one.known()
    const bounds = one.knowledge.mostTrusted(NOW)!
    expect(bounds.nodes.size).toBeGreaterThan(100)
    expect(bounds.others).toBeLessThan(bounds.anybody)
    for (let n = 0; n < 200; n++) {
      // Some rise above all others meanwhile, some fall.
      if (n % 3 === 0) for (let i = 0; i < 8; i++) one.report((n * 31) % AGENTS, n % 2)
      const { bounded, plain, why } = both(one, n)
      expect([why, bounded]).toEqual([why, plain])
    }
  })

  test("counts who comes back with what it earned", () => {
    const one = make()
    for (let i = 0; i < 10; i++) one.report(3, 1)
    one.knowledge.reputation.settle(NOW)
    one.apply({ type: "agent.left", id: "agent-3" })
    one.known()
    expect(one.knowledge.mostTrusted(NOW)).toMatchObject({ anybody: 0.5 })
    one.register(manifest("agent-3", ["csv.describe"]))
    expect(one.knowledge.mostTrusted(NOW)!.anybody).toBeGreaterThan(0.5)
    expect(one.knowledge.mostTrusted(NOW)!.nodes.size).toBe(1)
  })

  test("is found out anew when weights were settled, and when evidence has faded by a step", () => {
    const node = Identity.generate().nodeId
    let [settled, score] = [1, 0.8]
    const most = new MostTrusted({
      tried: () => ["a"],
      best: () => ({ node, score }),
      initial: 0.5,
      settled: () => settled
    })
    const anybody = (now: number) => most.bounds(now)?.anybody
    expect(anybody(NOW)).toBe(0.8)
    score = 0.6
    expect(anybody(NOW)).toBe(0.8)
    settled++
    expect(anybody(NOW)).toBe(0.6)
    score = 0.55
    let later = NOW
    while (stepOf(later) === stepOf(NOW)) later += 3_600_000
    expect(anybody(later)).toBe(0.55)
  })
})
