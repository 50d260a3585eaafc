/** A simulated mesh of overlay and broadcast, and the laws that it must keep, whichever machines it is made of. */
import { fromSeed } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"
import * as HyParView from "@parley/gossip/HyParView"
import * as OverlayMachine from "@parley/gossip/OverlayMachine"
import * as Plumtree from "@parley/gossip/Plumtree"

export type World = Simulation<
  OverlayMachine.State,
  OverlayMachine.Message,
  OverlayMachine.Timer,
  OverlayMachine.Command,
  OverlayMachine.Told
>

/** Which machines a mesh is made of. */
export interface Parts {
  readonly overlay: typeof HyParView.machine
  readonly broadcast: typeof Plumtree.machine
}

export const parts: Parts = { overlay: HyParView.machine, broadcast: Plumtree.machine }

/** A mesh with its books. */
export interface Mesh {
  readonly world: World
  readonly seed: number
  /** How often each node was told of each message, and payloads sent of it. */
  readonly told: Map<string, Map<string, number>>
  readonly copies: Map<string, number>
  /** When each node came, and went. */
  readonly born: Map<string, number>
  readonly died: Map<string, number>
  /** When each message was published, and by whom. */
  readonly published: Map<string, { readonly at: number; readonly by: string }>
  /** Starts a node that knows up to three others. */
  readonly join: () => string
  readonly kill: (name: string, what: "process" | "machine") => void
  readonly publish: (by: string) => string
}

export const mesh = (seed: number, made: Parts = parts): Mesh => {
  const told = new Map<string, Map<string, number>>()
  const copies = new Map<string, number>()
  const born = new Map<string, number>()
  const died = new Map<string, number>()
  const published = new Map<string, { readonly at: number; readonly by: string }>()
  const random = fromSeed(seed ^ 0x1234)
  const world: World = new Simulation({
    seed,
    machine: OverlayMachine.over(made.overlay, made.broadcast),
    delay: (dice) => 5 + dice.int(40),
    silenceMs: 5_000,
    told: (node, event) => {
      if (event._tag !== "Deliver") return
      const nodes = told.get(event.id)!
      nodes.set(node, (nodes.get(node) ?? 0) + 1)
    },
    sent: (_from, _to, message) => {
      if (message._tag === "Gossip") copies.set(message.id, (copies.get(message.id) ?? 0) + 1)
    }
  })
  let names = 0
  let ids = 0
  return {
    world,
    seed,
    told,
    copies,
    born,
    died,
    published,
    join: () => {
      const alive = world.alive()
      const name = `n${names++}`
      const contacts = alive.length === 0 ? [] : [random.pick(alive), random.pick(alive), random.pick(alive)]
      world.add(name, OverlayMachine.make({ self: name, seed: random.int(2 ** 32) }))
      born.set(name, world.now)
      world.command(name, { _tag: "Join", contacts })
      return name
    },
    kill: (name, what) => {
      died.set(name, world.now)
      world.kill(name, what)
    },
    publish: (by) => {
      const id = `m${ids++}`
      told.set(id, new Map())
      published.set(id, { at: world.now, by })
      world.command(by, { _tag: "Publish", id, payload: new Uint8Array(16) })
      return id
    }
  }
}

export const viewsOf = (world: World, name: string): HyParView.State => world.state(name).overlay

/** What a node's views break at any time. */
export const viewFaults = (state: HyParView.State): ReadonlyArray<string> => {
  const active = HyParView.active(state)
  const passive = HyParView.passive(state)
  return [
    ...(active.length > state.settings.active ? ["too many neighbours"] : []),
    ...(passive.length > state.settings.passive ? ["too many contacts"] : []),
    ...([...active, ...passive].includes(state.self) ? ["a node in its own view"] : []),
    ...(active.some((peer) => passive.includes(peer)) ? ["a neighbour among the contacts"] : [])
  ]
}

/** What the overlay as a whole breaks when nothing has happened for a while. */
export const overlayFaults = (world: World): ReadonlyArray<string> => {
  const alive = world.alive()
  const faults = new Set<string>()
  for (const name of alive)
    for (const peer of viewsOf(world, name).active.keys())
      if (!world.isAlive(peer)) faults.add("a dead neighbour")
      else if (!viewsOf(world, peer).active.has(name)) faults.add("a neighbour on one side alone")
  const [first] = alive
  const reached = new Set(first === undefined ? [] : [first])
  for (const name of reached)
    for (const peer of viewsOf(world, name).active.keys()) if (world.isAlive(peer)) reached.add(peer)
  if (reached.size < alive.length) faults.add("an overlay in pieces")
  const links = alive.reduce((sum, name) => sum + viewsOf(world, name).active.size, 0)
  if (links / alive.length < Math.min(3.5, alive.length - 1)) faults.add("few neighbours")
  return [...faults]
}

/** What broadcast breaks: for all that was published before `before`, whoever was there `settledMs` earlier and still is, hears it once. */
export const broadcastFaults = (mesh: Mesh, before: number, settledMs: number): ReadonlyArray<string> => {
  const faults = new Set<string>()
  for (const [id, { at, by }] of mesh.published) {
    const told = mesh.told.get(id)!
    for (const times of told.values()) if (times > 1) faults.add("a message told twice")
    if (told.has(by)) faults.add("a message told to its publisher")
    const publisherDied = mesh.died.get(by)
    if (at > before || (publisherDied !== undefined && publisherDied < at + 1_000)) continue
    for (const [name, since] of mesh.born)
      if (name !== by && !mesh.died.has(name) && since <= at - settledMs && !told.has(name))
        faults.add("a message that a node missed")
  }
  return [...faults]
}

/** Payloads sent for each node and message. */
export const copiesPerNode = (mesh: Mesh, ids: ReadonlyArray<string>, nodes: number): number =>
  ids.reduce((sum, id) => sum + (mesh.copies.get(id) ?? 0), 0) / (ids.length * nodes)

/** A life of a mesh: it grows, works, loses a third of its nodes and gets as many, and settles. Gives all that was broken. */
export const faultsOfALife = (seed: number, made: Parts = parts, nodes = 48): ReadonlyArray<string> => {
  const faults = new Set<string>()
  const town = mesh(seed, made)
  const { world } = town
  const note = (found: ReadonlyArray<string>): void => found.forEach((fault) => faults.add(fault))
  const watch = (ms: number): void => {
    for (let spent = 0; spent < ms; spent += 250) {
      world.runFor(250)
      for (const name of world.alive()) note(viewFaults(viewsOf(world, name)))
    }
  }
  for (let i = 0; i < nodes; i++) {
    town.join()
    world.runFor(50)
  }
  watch(12_000)
  note(overlayFaults(world))
  for (let i = 0; i < 10; i++) {
    town.publish(world.random.pick(world.alive()))
    watch(500)
  }
  for (let i = 0; i < nodes / 3; i++) {
    town.kill(world.random.pick(world.alive()), i % 2 === 0 ? "process" : "machine")
    town.join()
    town.publish(world.random.pick(world.alive().slice(0, nodes / 2)))
    watch(1_000)
  }
  watch(12_000)
  const settled = Array.from({ length: 10 }, () => {
    const id = town.publish(world.random.pick(world.alive()))
    watch(1_500)
    return id
  })
  watch(8_000)
  note(overlayFaults(world))
  note(broadcastFaults(town, world.now - 5_000, 5_000))
  // A tree of n nodes has n - 1 edges.
  if (copiesPerNode(town, settled.slice(5), nodes) > 1.05) faults.add("many copies")
  return [...faults]
}
