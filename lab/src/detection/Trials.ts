/** What is done to a mesh, and what its members then believe. */
import { build } from "./Mesh.ts"

const DAY_MS = 86_400_000
/** How long a mesh runs before anything is done to it, in ms. */
const SETTLE_MS = 15_000

/** How long each living member took to hold a dead one for dead, in ms; infinite where it never did. */
export const deaths = (
  seed: number,
  { apartMs, count, dead }: { readonly count: number; readonly dead: number; readonly apartMs: number }
): ReadonlyArray<number> => {
  const diedAt = new Map<string, number>()
  const delays: Array<number> = []
  let missing = 0
  const mesh = build(seed, count, (_, kind, peer, now) => {
    const at = diedAt.get(peer)
    if (kind !== "down" || at === undefined) return
    delays.push(now - at)
    missing -= 1
  })
  const { world } = mesh
  world.runFor(SETTLE_MS)
  for (let i = 0; i < dead; i++) {
    const victim = world.random.pick(world.alive())
    // Those who died before it will not hear of it.
    for (const earlier of diedAt.keys()) if (mesh.holdsAlive(victim, earlier)) missing -= 1
    world.kill(victim, "machine")
    diedAt.set(victim, world.now)
    missing += world.alive().length
    world.runFor(apartMs)
  }
  world.runFor(30_000)
  for (; missing > 0; missing--) delays.push(Number.POSITIVE_INFINITY)
  return delays
}

/** How slow nodes are: each freezes at random times for a random while. */
export interface Slowness {
  /** Share of the nodes. */
  readonly share: number
  /** Mean time between two freezes of one node, in ms; exponential. */
  readonly everyMs: number
  /** Shortest and longest freeze, in ms; uniform. */
  readonly leastMs: number
  readonly mostMs: number
}

export interface Slow {
  readonly nodeDays: number
  readonly freezes: number
  /** Suspicions that a member began to hold, of all members together. */
  readonly suspicions: number
  /** Living nodes that somebody held for dead; once for all who do within `ONE_MS`. */
  readonly falseDeaths: number
  /** Those of nodes that are not slow. */
  readonly falseDeathsOfSound: number
}

/** Declarations of one node's death within this time are one event. */
const ONE_MS = 5_000

/** What members believe of each other while some are slow, and none is dead. */
export const slowness = (
  seed: number,
  { count, forMs, slow }: { readonly count: number; readonly forMs: number; readonly slow: Slowness }
): Slow => {
  let suspicions = 0
  let freezes = 0
  let falseDeaths = 0
  let falseDeathsOfSound = 0
  const lastDown = new Map<string, number>()
  const isSlow = new Set<string>()
  const { world } = build(seed, count, (_, kind, peer, now) => {
    if (kind === "suspect") suspicions += 1
    if (kind !== "down") return
    if (now > (lastDown.get(peer) ?? Number.NEGATIVE_INFINITY) + ONE_MS) {
      falseDeaths += 1
      if (!isSlow.has(peer)) falseDeathsOfSound += 1
      lastDown.set(peer, now)
    }
  })
  const { random } = world
  world.runFor(SETTLE_MS)
  const from = world.now
  const freezeLater = (node: string): void =>
    world.at(world.now - Math.log(1 - random.next()) * slow.everyMs, () => {
      const ms = slow.leastMs + random.next() * (slow.mostMs - slow.leastMs)
      freezes += 1
      world.freeze(node, ms)
      world.at(world.now + ms, () => freezeLater(node))
    })
  for (const node of world.alive()) {
    if (isSlow.size < Math.round(count * slow.share)) {
      isSlow.add(node)
      freezeLater(node)
    }
  }
  world.runFor(forMs)
  return {
    nodeDays: (count * (world.now - from)) / DAY_MS,
    freezes,
    suspicions,
    falseDeaths,
    falseDeathsOfSound
  }
}

/** The share of freezes of this length after which somebody held the frozen node for dead. */
export const freezes = (
  seed: number,
  { count, ms, times }: { readonly count: number; readonly ms: number; readonly times: number }
): number => {
  const down = new Set<string>()
  const { world } = build(seed, count, (_, kind, peer) => {
    if (kind === "down") down.add(peer)
  })
  world.runFor(SETTLE_MS)
  for (let i = 0; i < times; i++) {
    world.freeze(`n${i % count}`, ms)
    world.runFor(2_000)
  }
  world.runFor(SETTLE_MS)
  return down.size / Math.min(times, count)
}

interface Healing {
  /** From the end of the partition until each member held all for alive and had all that was published, in ms; infinite where it took over a minute. */
  readonly healedMs: number
  /** Members held for dead at its end, by a member on average. */
  readonly heldForDead: number
  /** [s since the partition began, share of pairs of living nodes that hold each other for alive]. */
  readonly course: ReadonlyArray<readonly [number, number]>
}

const PARTITION_MS = 30_000

/** Half of the mesh is cut off from the other half for 30 s, while both publish. */
export const partition = (seed: number, count: number): Healing => {
  const mesh = build(seed, count, () => {})
  const { world } = mesh
  world.runFor(SETTLE_MS)
  const nodes = world.alive()
  const began = world.now
  world.partition((node) => Number(node.slice(1)) % 2)
  const keys: Array<string> = []
  const knowing = (): number => {
    let pairs = 0
    for (const node of nodes) for (const peer of nodes) if (node === peer || mesh.holdsAlive(node, peer)) pairs += 1
    return pairs / nodes.length ** 2
  }
  const course: Array<readonly [number, number]> = []
  const look = (): void => void course.push([(world.now - began) / 1_000, knowing()])
  look()
  for (let i = 0; i < PARTITION_MS / 1_000; i++) {
    const node = world.random.pick(nodes)
    keys.push(`m${i}`)
    mesh.publish(node, `m${i}`)
    world.runFor(1_000)
    look()
  }
  const heldForDead = (1 - knowing()) * nodes.length
  world.heal()
  const healedAt = world.now
  const isOver = (): boolean =>
    nodes.every((node) => keys.every((key) => mesh.has(node, key))) &&
    nodes.every((node) => nodes.every((peer) => node === peer || mesh.holdsAlive(node, peer)))
  let over = false
  for (let i = 0; i < 240 && !over; i++) {
    over = world.runUntil(isOver, 250, 50)
    if (i % 2 === 1 || over) look()
  }
  return { healedMs: over ? world.now - healedAt : Number.POSITIVE_INFINITY, heldForDead, course }
}
