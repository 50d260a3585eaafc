/** Verifies: what is learned moves the right figure, the entry longest unused is forgotten first, and what is kept comes back. */
import { describe, expect, test } from "bun:test"
import type { NodeId } from "@parley/core/NodeId"
import * as Trust from "@parley/core/Trust"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

const node = (n: number): NodeId => `node-${n}` as NodeId

describe("trust", () => {
  test("is one figure for each peer and capability, and the one learned of last comes last", () => {
    const random = seeded(0x7257)
    const trust = Trust.make()
    const model = new Map<string, Trust.Entry>()
    forRounds(random, 5_000, () => {
      const peer = node(random.int(20))
      const capability = `work-${random.int(5)}`
      const quality = random.next() * 1.4 - 0.2
      const key = `${peer} ${capability}`
      const before = model.get(key)?.value ?? Trust.INITIAL
      const move = trust.learn(peer, capability, quality, "answered")
      const after = before + Trust.RATE * (Math.min(1, Math.max(0, quality)) - before)
      expect(move).toEqual({ node: peer, capability, before, after, why: "answered" })
      const samples = (model.get(key)?.samples ?? 0) + 1
      model.delete(key)
      model.set(key, { node: peer, capability, value: after, samples, why: "answered" })
      expect(trust.get(peer, capability)).toBe(after)
      expect(trust.get(peer, "other")).toBe(Trust.INITIAL)
    })
    expect(trust.entries()).toEqual([...model.values()])
    expect(Trust.make(trust.entries()).entries()).toEqual(trust.entries())
  })

  test("forgets the entry longest unused when there is one too many", () => {
    const known = Array.from({ length: Trust.MAX_ENTRIES + 2 }, (_, n) => ({
      node: node(n >> 1),
      capability: `work-${n & 1}`,
      value: 0.9,
      samples: 3,
      why: "answered"
    }))
    const trust = Trust.make(known)
    expect(trust.entries().length).toBe(Trust.MAX_ENTRIES)
    expect([trust.get(node(0), "work-0"), trust.get(node(0), "work-1"), trust.get(node(1), "work-0")]).toEqual([
      Trust.INITIAL,
      Trust.INITIAL,
      0.9
    ])
    trust.learn(node(1), "work-0", 1, "answered")
    trust.learn(node(-1), "work", 1, "answered")
    trust.learn(node(-2), "work", 1, "answered")
    expect(trust.entries().length).toBe(Trust.MAX_ENTRIES)
    expect(trust.get(node(1), "work-0")).toBeGreaterThan(0.9)
    expect([trust.get(node(1), "work-1"), trust.get(node(2), "work-0")]).toEqual([Trust.INITIAL, Trust.INITIAL])
  })
})
