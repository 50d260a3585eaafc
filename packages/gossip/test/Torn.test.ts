/** Overlays that are torn though nobody is gone: parts whose nodes have neighbours, and whom everybody else has no place for. */
import { describe, expect, test } from "bun:test"
import type { Action } from "@parley/core/Machine"
import { Simulation } from "@parley/core/testing/Simulation"
import * as GossipMachine from "@parley/gossip/GossipMachine"
import * as HyParView from "@parley/gossip/HyParView"

const nobody = new Uint8Array(0)

const make = (self: string, seed: number): GossipMachine.State =>
  GossipMachine.make({ self, seed, incarnation: 1, sign: () => nobody, verify: () => true })

const put = (key: string, from?: string): GossipMachine.Command => ({
  _tag: "Put",
  item: { key, version: 1, payload: nobody, bytes: 300 },
  ttlMs: 600_000,
  spread: from !== undefined,
  ...(from === undefined ? {} : { from })
})

/** Nodes that start so many at once, each with one contact, as those of one process do. */
const rush = (seed: number, nodes: number, atOnce: number) => {
  const world = new Simulation<
    GossipMachine.State,
    GossipMachine.Message,
    GossipMachine.Timer,
    GossipMachine.Command,
    GossipMachine.Told
  >({
    seed,
    machine: GossipMachine.machine,
    delay: (random) => 1 + random.int(20),
    told: (node, told) => {
      if (told._tag === "Came") world.command(node, put(told.item.key, told.from))
      if (told._tag === "Deliver") world.command(node, put(told.id))
    }
  })
  const names: Array<string> = []
  while (names.length < nodes) {
    const many = names.length === 0 ? 1 : Math.min(atOnce, nodes - names.length)
    const fresh = Array.from({ length: many }, (_, n) => `n${names.length + n}`)
    for (const name of fresh) {
      world.add(name, make(name, seed * 1_000 + Number(name.slice(1))))
      world.command(name, { _tag: "Join", contacts: [] })
      world.command(name, { _tag: "Publish", id: name, payload: nobody })
      world.command(name, put(name))
    }
    for (const name of fresh) {
      if (names.length === 0) break
      const contact = world.random.pick(names)
      // Each end of a connection has met the other.
      world.command(name, { _tag: "Join", contacts: [contact] })
      world.command(contact, { _tag: "Join", contacts: [name] })
    }
    world.runFor(50)
    names.push(...fresh)
  }
  /** Nodes that no path of neighbours joins to the first. */
  const apart = (): number => {
    const reached = new Set(names.slice(0, 1))
    for (const name of reached) for (const peer of HyParView.active(world.state(name).mesh.overlay)) reached.add(peer)
    return names.length - reached.size
  }
  return { world, apart }
}

describe("a torn overlay", () => {
  test("grows together where anti-entropy shows that broadcast misses somebody", () => {
    // Two of the few starts of which a part stays apart for minutes without that.
    for (const seed of [11, 47]) {
      const { apart, world } = rush(seed, 100, 20)
      world.runFor(1_000)
      expect(apart() > 0).toBe(true)
      world.runFor(40_000)
      expect(apart()).toBe(0)
    }
  })

  test("is looked for at who brought what broadcast missed, and at nobody else", () => {
    const state = make("a", 1)
    let now = 10_000
    const step = (command: GossipMachine.Command) =>
      GossipMachine.machine.step(state, { _tag: "Command", now: (now += 10_000), command })[1]
    const asked = (actions: ReadonlyArray<Action<GossipMachine.Message, GossipMachine.Timer, GossipMachine.Told>>) =>
      actions.flatMap((action) =>
        action._tag === "Send" && action.message._tag === "Neighbor" ? [[action.to, action.message.priority]] : []
      )
    step({ _tag: "Join", contacts: ["b"] })
    const reply = { _tag: "NeighborReply", accepted: true } as const
    GossipMachine.machine.step(state, { _tag: "Message", now, from: "b", message: reply })
    expect(HyParView.active(state.mesh.overlay)).toEqual(["b"])
    expect(asked(step(put("own")))).toEqual([])
    expect(asked(step(put("of a neighbour", "b")))).toEqual([])
    expect(asked(step(put("of somebody else", "c")))).toEqual([["c", "high"]])
  })

  test("is looked for at few, so that what strangers bring pushes no lost neighbour out", () => {
    const state = make("a", 1)
    for (let i = 0; i < 20; i++)
      GossipMachine.machine.step(state, { _tag: "Command", now: 0, command: put(`k${i}`, `stranger${i}`) })
    expect(state.mesh.overlay.lost.size).toBe(4)
  })
})
