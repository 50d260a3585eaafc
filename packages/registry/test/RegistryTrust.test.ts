import { describe, expect, test } from "bun:test"
import * as Identity from "@parley/core/Identity"
import type { NodeId } from "@parley/core/NodeId"
import * as Trust from "@parley/core/Trust"
import * as RegistryTrust from "../src/RegistryTrust.ts"

const ada = Identity.generate().nodeId
const bob = Identity.generate().nodeId

const viewOf = (scores: ReadonlyMap<NodeId, number>) => ({
  stated: (node: NodeId) => scores.get(node),
  nodes: () => scores.keys()
})

describe("trust with a registry's view", () => {
  test("begins where the registry says, as far as it is believed", () => {
    const view = viewOf(new Map([[ada, 0.9]]))
    expect(RegistryTrust.wrap(Trust.make(), view).get(ada, "a")).toBeCloseTo(0.7, 10)
    expect(RegistryTrust.wrap(Trust.make(), view, 1).get(ada, "a")).toBeCloseTo(0.9, 10)
    expect(RegistryTrust.wrap(Trust.make(), view, 0).get(ada, "a")).toBe(0.5)
    expect(RegistryTrust.wrap(Trust.make(), view).get(bob, "a")).toBe(0.5)
  })

  test("is what the rule comes to from that beginning: a good answer raises it, and the registry fades", () => {
    const wrapped = RegistryTrust.wrap(Trust.make(), viewOf(new Map([[ada, 0.9]])))
    let value = 0.7
    for (const quality of [1, 1, 0, 0.5, 1]) {
      const move = wrapped.learn(ada, "a", quality, "answered")
      expect(move.before).toBeCloseTo(value, 10)
      value += Trust.RATE * (quality - value)
      expect(move.after).toBeCloseTo(value, 10)
      expect(wrapped.get(ada, "a")).toBeCloseTo(value, 10)
    }
    expect(wrapped.entries()).toMatchObject([{ node: ada, samples: 5 }])
    expect(wrapped.entries()[0]?.value).toBeCloseTo(value, 10)
  })

  test("leaves what the node has learned itself as it is", () => {
    const own = Trust.make()
    const wrapped = RegistryTrust.wrap(own, viewOf(new Map([[ada, 0]])), 1)
    wrapped.learn(ada, "a", 1, "answered")
    expect(own.get(ada, "a")).toBeCloseTo(0.55, 10)
    expect(wrapped.get(ada, "a")).toBeCloseTo(0.1, 10)
    const later = RegistryTrust.wrap(Trust.make(own.entries()), viewOf(new Map([[ada, 0]])), 1)
    expect(later.get(ada, "a")).toBeCloseTo(0.1, 10)
  })

  test("tells the matcher whom it may tell apart", () => {
    const own = Trust.make()
    own.learn(bob, "a", 1, "answered")
    const wrapped = RegistryTrust.wrap(own, viewOf(new Map([[ada, 0.9]])))
    expect(new Set(wrapped.get.tried?.())).toEqual(new Set([ada, bob]))
    expect(wrapped.get.rest).toBe(Trust.INITIAL)
  })
})
