import { describe, expect, test } from "bun:test"
import { fromSeed, seeded } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"
import * as GossipMachine from "@parley/gossip/GossipMachine"
import * as HyParView from "@parley/gossip/HyParView"
import { LOST_MS } from "../src/HyParViewLimits.ts"
import { GUEST_MS } from "../src/SwimTimes.ts"

const nobody = new Uint8Array(0)

/** A mesh of so many nodes that have found each other, and what each was told. */
const town = (seed: number, nodes: number, machine = GossipMachine.machine) => {
  const random = fromSeed(seed + 1)
  const told = new Map<string, Array<GossipMachine.Told>>()
  const world = new Simulation<
    GossipMachine.State,
    GossipMachine.Message,
    GossipMachine.Timer,
    GossipMachine.Command,
    GossipMachine.Told
  >({
    seed,
    machine,
    delay: (dice) => 5 + dice.int(40),
    told: (node, event) => void told.get(node)!.push(event)
  })
  const join = (name: string, contacts: ReadonlyArray<string>): void => {
    told.set(name, [])
    const life = 1 + Math.floor(world.now)
    const terms = { self: name, seed: random.int(2 ** 32), incarnation: life, sign: () => nobody, verify: () => true }
    world.add(name, GossipMachine.make(terms))
    world.command(name, { _tag: "Join", contacts })
  }
  for (let i = 0; i < nodes; i++) {
    join(`n${i}`, i === 0 ? [] : [`n${random.int(i)}`, `n${random.int(i)}`])
    world.runFor(50)
  }
  const heard = (node: string, tag: GossipMachine.Told["_tag"]): ReadonlyArray<GossipMachine.Told> =>
    told.get(node)!.filter(({ _tag }) => _tag === tag)
  const neighbours = (node: string): ReadonlyArray<string> => HyParView.active(world.state(node).mesh.overlay)
  /** Every living node holds every other for alive. */
  const allKnowAll = (): boolean => {
    const alive = world.alive()
    return alive.every((node) =>
      alive.every((other) => other === node || world.state(node).swim.status(other) === "alive")
    )
  }
  /** Nodes that no path of neighbours joins to the first. */
  const apart = (): number => {
    const alive = world.alive()
    const reached = new Set(alive.slice(0, 1))
    for (const node of reached) for (const peer of neighbours(node)) if (world.isAlive(peer)) reached.add(peer)
    return alive.length - reached.size
  }
  return { world, join, told, heard, neighbours, allKnowAll, apart }
}

const seed = seeded(61)
console.log(`GossipMachine: PARLEY_SEED=${seed.seed}`)
const some = (): number => seed.int(2 ** 31)

/** What a node that lives to the end must hold of others, and whether all of it came to be: the laws of the composite. */
const brokenLaws = (seed: number, machine = GossipMachine.machine): ReadonlyArray<string> => {
  const { allKnowAll, apart, heard, neighbours, world } = town(seed, 30, machine)
  const broken: Array<string> = []
  const hold = (law: string, done: () => boolean, mostMs: number): void => {
    if (!world.runUntil(done, mostMs)) broken.push(law)
  }
  hold("all know all", allKnowAll, 20_000)
  world.command("n5", {
    _tag: "Put",
    item: { key: "r5", version: 1, payload: Uint8Array.of(5), bytes: 1 },
    ttlMs: 600_000,
    spread: false
  })
  world.command("n4", { _tag: "Publish", id: "m", payload: Uint8Array.of(1) })
  hold(
    "a message is told to each, once",
    () => world.alive().every((node) => heard(node, "Deliver").length === (node === "n4" ? 0 : 1)),
    5_000
  )
  world.kill("n7", "machine")
  const survivors = world.alive()
  hold(
    "a dead node is known dead, and nobody's neighbour",
    () => survivors.every((node) => world.state(node).swim.status("n7") === "dead" && !neighbours(node).includes("n7")),
    9_000
  )
  world.partition((node) => (Number(node.slice(1)) < 15 ? 0 : 1))
  world.runFor(30_000)
  world.heal()
  hold("after a partition all know all", allKnowAll, 10_000)
  hold("after a partition the overlay is whole", () => apart() === 0, 10_000)
  world.runFor(30_000)
  if (world.alive().some((node) => world.links(node).length > 10)) broken.push("links that nobody needs are closed")
  return broken
}

describe("overlay, broadcast, failure detection and anti-entropy together", () => {
  test("hold what they promise through a death and a partition", () => {
    expect(brokenLaws(some())).toEqual([])
    expect(brokenLaws(some())).toEqual([])
  })

  test("bring an item to a neighbour that lacks it, for the layer above to judge", () => {
    const { heard, world } = town(some(), 12)
    world.runFor(5_000)
    const item = { key: "r1", version: 3, payload: Uint8Array.of(1, 2), bytes: 2 }
    world.command("n1", { _tag: "Put", item, ttlMs: 600_000, spread: true })
    world.runFor(2_000)
    const came = world.alive().flatMap((node) => heard(node, "Came"))
    expect(came.length > 0).toBe(true)
    expect(came.every((told) => told._tag === "Came" && told.item.version === 3 && told.item.key === "r1")).toBe(true)
  })

  test("grow together again after a partition so long that lost neighbours are looked for no more", () => {
    const { allKnowAll, apart, world } = town(some(), 16)
    world.runFor(10_000)
    world.partition((node) => Number(node.slice(1)) % 2)
    world.runFor(LOST_MS + 60_000)
    expect(apart()).toBe(8)
    world.heal()
    expect(world.runUntil(() => apart() === 0 && allKnowAll(), 30_000)).toBe(true)
  })

  test("close no link while an answer may be on its way on it", () => {
    let state = GossipMachine.make({
      self: "me",
      seed: 1,
      incarnation: 1,
      sign: () => nobody,
      verify: () => true,
      overlay: { active: 0 }
    })
    const step = (event: Parameters<typeof GossipMachine.machine.step>[1]) => {
      const [next, actions] = GossipMachine.machine.step(state, event)
      state = next
      return actions
    }
    const isClosed = (actions: ReturnType<typeof step>): boolean => actions.some(({ _tag }) => _tag === "Close")
    step({ _tag: "Command", now: 0, command: { _tag: "Join", contacts: [] } })
    const ask = { _tag: "Neighbor", priority: "low" } as const
    expect(isClosed(step({ _tag: "Message", now: 1, from: "stranger", message: ask }))).toBe(true)
    step({ _tag: "Message", now: 100, from: "guest", message: { _tag: "Ping", seq: 1, about: [] } })
    const refused = step({ _tag: "Message", now: 200, from: "guest", message: ask })
    expect(isClosed(refused)).toBe(false)
    const later = refused.find((action) => action._tag === "After" && action.timer._tag === "CloseGuest")
    if (later?._tag !== "After") throw new Error("nothing closes the link")
    expect(later.ms).toBe(GUEST_MS - 100)
    expect(isClosed(step({ _tag: "Timer", now: 200 + later.ms, timer: later.timer }))).toBe(true)
  })

  test("let a node leave: the others hear it from the node itself, and watch it no more", () => {
    const { heard, neighbours, world } = town(some(), 20)
    world.runFor(10_000)
    world.command("n9", { _tag: "Leave" })
    world.runFor(200)
    world.kill("n9", "process")
    world.runFor(15_000)
    for (const node of world.alive()) {
      expect(heard(node, "MemberLeft").some((told) => told._tag === "MemberLeft" && told.peer === "n9")).toBe(true)
      expect(heard(node, "MemberDown")).toEqual([])
      expect(neighbours(node).includes("n9")).toBe(false)
    }
  })

  test("take back a node that starts again", () => {
    const { allKnowAll, join, neighbours, world } = town(some(), 20)
    world.runFor(10_000)
    world.kill("n3", "machine")
    world.runFor(2_000)
    join("n3", ["n1"])
    expect(world.runUntil(() => allKnowAll() && neighbours("n3").length >= 3, 15_000)).toBe(true)
  })

  test("one seed gives one run", () => {
    const text = (seed: number): string => {
      const { told, world } = town(seed, 15)
      world.kill("n2", "process")
      world.runFor(10_000)
      return JSON.stringify([...told])
    }
    const one = some()
    expect(text(one)).toBe(text(one))
  })
})

describe("a planted bug is caught:", () => {
  const { machine } = GossipMachine
  const broken = (
    hears: (event: Parameters<typeof machine.step>[1], state: GossipMachine.State) => boolean,
    does: (action: ReturnType<typeof machine.step>[1][number]) => boolean = () => true
  ): typeof machine => ({
    step: (state, event) => {
      if (!hears(event, state)) return [state, []]
      const [next, actions] = machine.step(state, event)
      return [next, actions.filter(does)]
    }
  })
  const always = (): boolean => true

  for (const [name, made, law] of [
    [
      "the news of failure detection are not heard",
      broken((event) => !(event._tag === "Message" && event.message._tag === "News")),
      "a dead node is known dead, and nobody's neighbour"
    ],
    [
      "nobody is looked for after a partition",
      broken(
        (event, state) => {
          state.mesh.overlay.lost.clear()
          return !(event._tag === "Message" && event.message._tag === "Digest")
        },
        (action) => !(action._tag === "Send" && action.message._tag === "Neighbor")
      ),
      "after a partition the overlay is whole"
    ],
    ["links are not closed", broken(always, (action) => action._tag !== "Close"), "links that nobody needs are closed"]
  ] as const)
    test(name, () => {
      expect(brokenLaws(62, made).includes(law)).toBe(true)
    })
})
