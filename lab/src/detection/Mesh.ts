/** A simulated mesh whose members know each other, for the figures of failure detection. */
import { Simulation } from "@parley/core/testing/Simulation"
import type * as AntiEntropy from "@parley/gossip/AntiEntropy"
import * as Gossip from "@parley/gossip/GossipMachine"
import * as Swim from "@parley/gossip/Swim"

/** What happened to what a node believes of another. */
export type Heard = (node: string, kind: "up" | "suspect" | "down", peer: string, now: number) => void

export interface Mesh {
  readonly world: Pick<
    Simulation<never, never, never, never, never>,
    | "now"
    | "steps"
    | "random"
    | "alive"
    | "isAlive"
    | "kill"
    | "freeze"
    | "partition"
    | "heal"
    | "runFor"
    | "runUntil"
    | "at"
  >
  /** Whether a node holds another for alive, suspected or not. */
  readonly holdsAlive: (node: string, peer: string) => boolean
  /** A node publishes something that all are to have. */
  readonly publish: (node: string, key: string) => void
  readonly has: (node: string, key: string) => boolean
}

const kinds: { readonly [tag: string]: "up" | "suspect" | "down" } = {
  MemberUp: "up",
  MemberSuspect: "suspect",
  MemberDown: "down"
}

/** The whole machine that nodes run: HyParView, Plumtree, SWIM with Lifeguard, anti-entropy. */
export const build = (seed: number, count: number, heard: Heard): Mesh => {
  const world = new Simulation({
    seed,
    machine: Gossip.machine,
    delay: (random) => 5 + random.int(40),
    told: (node, told: Gossip.Told, now) => {
      if (told._tag === "Came") world.command(node, put(told.item, told.from))
      const kind = kinds[told._tag]
      if (kind !== undefined && "peer" in told) heard(node, kind, told.peer, now)
    }
  })
  const names = Array.from({ length: count }, (_, i) => `n${i}`)
  for (const [i, self] of names.entries())
    world.add(
      self,
      Gossip.make({ self, seed: seed * 100_003 + i, incarnation: 1, sign: () => nobody, verify: () => true })
    )
  const statements = names.map((subject): Swim.Statement => ({
    _tag: "Alive",
    subject,
    incarnation: 1,
    left: false,
    evidence: nobody
  }))
  for (const self of names) acquaint(world.state(self), statements)
  for (const [i, self] of names.entries()) {
    const contacts = Array.from({ length: Math.min(i, 3) }, () => names[world.random.int(i)]!)
    world.command(self, { _tag: "Join", contacts })
    world.runFor(5)
  }
  return {
    world,
    holdsAlive: (node, peer) => {
      const status = world.state(node).swim.status(peer)
      return status === "alive" || status === "suspect"
    },
    publish: (node, key) => world.command(node, put({ key, version: 1, payload: nobody, bytes: 300 })),
    has: (node, key) => world.state(node).entropy.get(key) !== undefined
  }
}

const nobody = new Uint8Array(0)
const TTL_MS = 600_000

const put = (item: AntiEntropy.Item<Uint8Array>, from?: string): Gossip.Command => ({
  _tag: "Put",
  item,
  ttlMs: TTL_MS,
  spread: true,
  ...(from === undefined ? {} : { from })
})

/** Tells a node that has not joined yet of the members, so that the figures need not wait until all have heard of all. */
const acquaint = ({ entropy, swim }: Gossip.State, statements: ReadonlyArray<Swim.Statement>): void => {
  const hear: Swim.Command = { _tag: "Hear", statements, from: "" }
  for (const action of Swim.machine.step(swim, { _tag: "Command", now: 0, command: hear })[1]) {
    if (action._tag !== "Tell" || action.told._tag !== "Hold") continue
    const { key, statement, version } = action.told
    const item = { key, version, payload: statement, bytes: 110 }
    entropy.step({ _tag: "Command", now: 0, command: { _tag: "Put", item, ttlMs: TTL_MS * 100, spread: false } })
  }
}
