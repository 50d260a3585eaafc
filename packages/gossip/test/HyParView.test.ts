import { describe, expect, test } from "bun:test"
import type { Action, Event } from "@parley/core/Machine"
import { forRounds, seeded } from "@parley/core/testing/Seeded"
import * as HyParView from "@parley/gossip/HyParView"
import { faultsOfALife, mesh, overlayFaults, parts, viewFaults, viewsOf } from "./overlay-world.ts"

type Happening = Event<HyParView.Message, HyParView.Timer, HyParView.Command>
type Wanted = Action<HyParView.Message, HyParView.Timer, HyParView.Told>

const says = (now: number, from: string, message: HyParView.Message): Happening => ({
  _tag: "Message",
  now,
  from,
  message
})

/** A node with so many neighbours of its own choice, `a0`…, and what it has sent since. */
const settled = (chosen: number, seed = 1) => {
  const state = HyParView.make("me", seed)
  const step = (event: Happening): ReadonlyArray<Wanted> => HyParView.step(state, event)[1]
  const contacts = Array.from({ length: chosen }, (_, i) => `a${i}`)
  step({ _tag: "Command", now: 0, command: { _tag: "Join", contacts } })
  for (const peer of contacts) {
    step(says(1, peer, { _tag: "NeighborReply", accepted: true }))
    step({ _tag: "Timer", now: 2, timer: { _tag: "Refill" } })
  }
  return { state, step }
}

const sends = (
  actions: ReadonlyArray<Wanted>
): ReadonlyArray<{ readonly to: string; readonly message: HyParView.Message }> =>
  actions.flatMap((action) => (action._tag === "Send" ? [action] : []))

describe("an overlay", () => {
  test("keeps its laws through growth, deaths and replacements", () => {
    const random = seeded(71)
    forRounds(random, 4, () => {
      expect(faultsOfALife(random.int(2 ** 31))).toEqual([])
    })
  })

  test("is whole again within ten seconds after a partition of thirty", () => {
    const random = seeded(72)
    forRounds(random, 2, () => {
      const { join, world } = mesh(random.int(2 ** 31))
      for (let i = 0; i < 40; i++) {
        join()
        world.runFor(50)
      }
      world.runFor(10_000)
      const side = (name: string): number => Number(name.slice(1)) % 2
      world.partition(side)
      world.runFor(30_000)
      expect(
        world.alive().some((name) => HyParView.active(viewsOf(world, name)).some((peer) => side(peer) !== side(name)))
      ).toBe(false)
      world.heal()
      const whole = world.runUntil(() => overlayFaults(world).length === 0, 10_000)
      expect([whole, overlayFaults(world)]).toEqual([true, []])
    })
  })

  test("lets a node back in whose whole network was gone", () => {
    const { join, world } = mesh(73)
    for (let i = 0; i < 20; i++) join()
    world.runFor(10_000)
    world.partition((name) => (name === "n7" ? 1 : 0))
    world.runFor(600_000)
    expect(viewsOf(world, "n7").active.size).toBe(0)
    world.heal()
    expect(world.runUntil(() => viewsOf(world, "n7").active.size >= 2, 20_000)).toBe(true)
  })

  test("keeps some who were neighbours for long as contacts, and leaves room for others", () => {
    const { state } = settled(5)
    for (let i = 0; i < 30; i++) state.passive.add(`old${i}`, `old${i}`, true)
    for (let i = 0; i < 30; i++) state.passive.add(`new${i}`, `new${i}`, false)
    const passive = HyParView.passive(state)
    expect([passive.filter((peer) => peer.startsWith("old")).length, passive.length]).toEqual([10, 30])
  })

  test("looks for a neighbour that was lost for a while, and not for ever", () => {
    const { state, step } = settled(5)
    step({ _tag: "LinkDown", now: 1_000, peer: "a4" })
    const asked: Array<number> = []
    for (let now = 2_000; now < 600_000; now += 2_000) {
      for (const { to } of sends(step({ _tag: "Timer", now, timer: { _tag: "Refill" } })))
        if (to === "a4") asked.push(now)
      step({ _tag: "LinkDown", now: now + 1, peer: "a4" })
    }
    expect(asked.length > 10).toBe(true)
    expect([asked.at(-1)! <= 200_000, state.lost.size]).toEqual([true, 0])
  })

  test("says goodbye: who leaves is nobody's neighbour at once", () => {
    const { join, kill, world } = mesh(74)
    for (let i = 0; i < 20; i++) join()
    world.runFor(10_000)
    world.command("n3", { _tag: "Leave" })
    world.runFor(100)
    kill("n3", "process")
    for (const name of world.alive()) {
      expect(HyParView.active(viewsOf(world, name)).includes("n3")).toBe(false)
      expect(viewsOf(world, name).lost.has("n3")).toBe(false)
    }
  })
})

describe("a planted bug is caught:", () => {
  const { overlay } = parts
  /** The machine with some of its events or actions changed. */
  const broken = (change: {
    readonly hears?: (event: Happening) => boolean
    readonly does?: (action: Wanted, event: Happening) => boolean
    readonly after?: (state: HyParView.State, event: Happening) => void
  }): typeof overlay => ({
    step: (state, event) => {
      if (change.hears?.(event) === false) return [state, []]
      const [next, actions] = overlay.step(state, event)
      change.after?.(next, event)
      return [next, actions.filter((action) => change.does?.(action, event) !== false)]
    }
  })
  const isSent = (action: Wanted, tag: HyParView.Message["_tag"]): boolean =>
    action._tag === "Send" && action.message._tag === tag

  for (const [name, machine, fault] of [
    [
      "links that go down are not heard of",
      broken({ hears: (event) => event._tag !== "LinkDown" }),
      "a dead neighbour"
    ],
    [
      "who is dropped is not told",
      broken({ does: (action) => !isSent(action, "Disconnect") && action._tag !== "Close" }),
      "a neighbour on one side alone"
    ],
    [
      "places are not looked for",
      broken({ does: (action) => !(isSent(action, "Neighbor") || isSent(action, "ForwardJoin")) }),
      "few neighbours"
    ],
    [
      "everybody is taken in",
      broken({
        after: (state, event) => {
          if (event._tag === "Message" && event.message._tag === "Neighbor")
            state.active.set(event.from, { since: event.now, chosen: false })
        }
      }),
      "too many neighbours"
    ],
    [
      "a neighbour stays a contact",
      broken({
        after: (state, event) => {
          if (event._tag === "Message" && state.active.has(event.from)) state.passive.add(event.from, "", false)
        }
      }),
      "a neighbour among the contacts"
    ]
  ] as const)
    test(name, () => {
      expect(faultsOfALife(75, { ...parts, overlay: machine }).includes(fault)).toBe(true)
    })
})

describe("a stranger", () => {
  test("cannot break a node's views, whatever it says, nor make it say more than it may", () => {
    const random = seeded(81)
    forRounds(random, 40, () => {
      const { state, step } = settled(random.int(6), random.int(2 ** 31))
      const names = ["me", "", ...Array.from({ length: 30 }, (_, i) => `s${i}`), ...HyParView.active(state)]
      const name = (): string => random.pick(names)
      const many = (): ReadonlyArray<string> => Array.from({ length: random.pick([0, 1, 8, 500]) }, name)
      const number = (): number => random.pick([-1, 0, 1, 6, 255, 1e9, Number.NaN, Infinity])
      for (let now = 10, n = 0; n < 400; n++, now += random.int(300)) {
        const event: Happening = random.pick<() => Happening>([
          () => says(now, name(), { _tag: "Join" }),
          () => says(now, name(), { _tag: "ForwardJoin", peer: name(), ttl: number() }),
          () => says(now, name(), { _tag: "Neighbor", priority: random.pick(["high", "low"]) }),
          () => says(now, name(), { _tag: "NeighborReply", accepted: random.int(2) === 0 }),
          () => says(now, name(), { _tag: "Disconnect", leaving: random.int(2) === 0 }),
          () => says(now, name(), { _tag: "Shuffle", origin: name(), ttl: number(), peers: many() }),
          () => says(now, name(), { _tag: "ShuffleReply", peers: many() }),
          () => ({ _tag: "LinkDown", now, peer: name() }),
          () => ({ _tag: "Timer", now, timer: { _tag: "Refill" } }),
          () => ({ _tag: "Timer", now, timer: { _tag: "Shuffle" } }),
          () => ({ _tag: "Command", now, command: { _tag: "Reunite", peer: name() } }),
          () => ({ _tag: "Command", now, command: { _tag: "Forget", peer: name() } })
        ])()
        const actions = step(event)
        expect(viewFaults(state)).toEqual([])
        expect(state.lost.size <= 8).toBe(true)
        expect(actions.length <= 40).toBe(true)
        for (const { message, to } of sends(actions)) {
          expect(to === "me").toBe(false)
          if (message._tag === "Shuffle" || message._tag === "ForwardJoin") expect(message.ttl <= 6).toBe(true)
          if (message._tag === "Shuffle" || message._tag === "ShuffleReply")
            expect(message.peers.length <= 8).toBe(true)
        }
      }
    })
  })

  test("cannot take a node over: a thousand keys leave it the neighbours it chose, and its contacts", () => {
    const { state, step } = settled(5)
    for (let i = 0; i < 20; i++) state.passive.add(`honest${i}`, "", i < 6)
    let down = 0
    for (let i = 0; i < 1_000; i++) {
      const now = 1_000 + i * 10
      for (const message of [{ _tag: "Join" }, { _tag: "Neighbor", priority: "high" }] as const)
        for (const action of step(says(now, `sybil${i}`, message)))
          if (action._tag === "Tell" && action.told._tag === "NeighborDown") down++
    }
    const active = HyParView.active(state)
    expect(active.slice(0, 2)).toEqual(["a0", "a1"])
    // Ten at once, and one in three seconds of the ten.
    expect(down <= 14).toBe(true)
    const proven = HyParView.passive(state).filter((peer) => peer.startsWith("honest"))
    expect(proven.length >= 6).toBe(true)
  })

  test("that asks again and again is answered a few times", () => {
    const { step } = settled(5)
    let answers = 0
    for (let i = 0; i < 1_000; i++)
      answers += sends(step(says(1_000 + i * 10, "stranger", { _tag: "Neighbor", priority: "low" }))).length
    // Five at once, and one in five seconds of the ten.
    expect(answers > 0 && answers <= 8).toBe(true)
  })

  test("and a thousand more make a node begin walks at a bounded rate", () => {
    const { step } = settled(5)
    const walkers = new Set<string>()
    for (let i = 0; i < 1_000; i++)
      for (const { message } of sends(step(says(1_000 + i * 10, `sybil${i}`, { _tag: "Join" }))))
        if (message._tag === "ForwardJoin") walkers.add(message.peer)
    // Fifty at once, and five in each of the ten seconds.
    expect(walkers.size > 0 && walkers.size <= 101).toBe(true)
  })

  test("fills no more than its share of the contacts, however it shuffles", () => {
    const { state, step } = settled(5)
    for (let i = 0; i < 16; i++) state.passive.add(`honest${i}`, `h${i}`, false)
    let at = 0
    for (let i = 0; i < 200; i++) {
      const peers = Array.from({ length: 8 }, () => `sybil${at++}`)
      step(says(1_000 + i * 500, "a3", { _tag: "Shuffle", origin: `o${i}`, ttl: 0, peers }))
    }
    const passive = HyParView.passive(state)
    expect(passive.filter((peer) => peer.startsWith("honest")).length).toBe(16)
    expect(passive.filter((peer) => peer.startsWith("sybil") || peer.startsWith("o")).length <= 8).toBe(true)
  })

  test("that is no neighbour starts no walks, and answers no shuffle that was not made", () => {
    const { step } = settled(5)
    expect(step(says(5, "stranger", { _tag: "ForwardJoin", peer: "x", ttl: 6 }))).toEqual([])
    expect(step(says(5, "stranger", { _tag: "Shuffle", origin: "x", ttl: 6, peers: ["y"] }))).toEqual([])
    const { state, step: fresh } = settled(5)
    fresh(says(5, "stranger", { _tag: "ShuffleReply", peers: ["y"] }))
    expect(HyParView.passive(state).includes("y")).toBe(false)
  })

  test("makes a node dial others at a bounded rate, and hand on walks at another", () => {
    const { step } = settled(5)
    let dials = 0
    let walks = 0
    for (let i = 0; i < 1_000; i++) {
      const now = 10 + i * 10
      dials += sends(step(says(now, "a4", { _tag: "ForwardJoin", peer: `x${i}`, ttl: 0 }))).length
      walks += sends(step(says(now, "a3", { _tag: "ForwardJoin", peer: `y${i}`, ttl: 6 }))).length
    }
    expect(dials > 0 && dials <= 36).toBe(true)
    expect(walks > 0 && walks <= 152).toBe(true)
  })
})
