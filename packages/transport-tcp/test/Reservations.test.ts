/**
 * Verifies: a node holds slots at the best of its relays, publishes none that is not honoured, is whole again within 3 s of the
 * return of relays that were restarted, asks nobody too often, and no relay's answers change that. Broken machines are refused.
 */
import { describe, expect, test } from "bun:test"
import { forRounds, fromSeed, seeded } from "@parley/core/testing/Seeded"
import type { NodeId } from "@parley/core/NodeId"
import * as Reservations from "@parley/transport-tcp/Reservations"
import { MOST_ASKED, type NodeMachine, type RelayTerms, storm, World, type WorldTerms } from "./reservation-world.ts"

const honest: RelayTerms = { leaseMs: 30_000 }
const many = (count: number): ReadonlyArray<RelayTerms> => Array.from({ length: count }, () => honest)

const restarts = (seed: number, machine?: NodeMachine): void =>
  storm(
    new World({ seed, nodes: 4, relays: many(3), ...(machine === undefined ? {} : { machine }) }),
    20,
    "process",
    3_000
  )
const everything = (seed: number, machine?: NodeMachine): void =>
  storm(
    new World({ seed, nodes: 4, relays: many(5), slots: 2, ...(machine === undefined ? {} : { machine }) }),
    30,
    "all",
    25_000
  )
const frugal = (seed: number, machine?: NodeMachine): void => {
  const world = new World({
    seed,
    nodes: 3,
    relays: many(8),
    slots: 2,
    ...(machine === undefined ? {} : { machine })
  })
  world.run(5_000)
  world.whole()
  for (const node of world.nodes) if (world.heldFor(node) > 2) throw new Error(`${node} holds more slots than it needs`)
}

describe("reservations", () => {
  test("are whole again within 3 s of the return of relays that were killed, over and over", () => {
    const random = seeded(51)
    forRounds(random, 60, () => restarts(random.int(2 ** 31)))
  })

  test("never point to a relay for long that does not honour them, whatever breaks", () => {
    const random = seeded(52)
    forRounds(random, 60, () => everything(random.int(2 ** 31)))
  })

  test("take no more than they need, though all relays were asked at first", () => frugal(9))

  test("end at the nearest relays, nearest first, and nobody else holds a slot", () => {
    const world = new World({ seed: 1, nodes: 5, relays: many(8), slots: 2 })
    world.kill("relay0", "process")
    world.run(60_000)
    for (const node of world.nodes) expect(world.published(node)).toEqual(["relay1", "relay2"])
    world.startRelay("relay0")
    // Exploring finds it in time.
    world.run(3 * 3_600_000)
    for (const node of world.nodes) {
      expect(world.published(node).includes("relay0")).toBe(true)
      expect(world.heldFor(node)).toBe(2)
    }
  })

  test("are moved at once when a relay dies", () => {
    const world = new World({ seed: 2, nodes: 5, relays: many(4), slots: 2 })
    world.run(5_000)
    world.kill("relay0", "process")
    world.run(700)
    for (const node of world.nodes) expect(world.published(node)).toEqual(["relay1", "relay2"])
  })

  test("a node that starts again is reachable at once, and the relay holds one slot for it", () => {
    const world = new World({ seed: 3, nodes: 1, relays: many(2) })
    world.run(1_000)
    world.kill("node0", "process")
    world.startNode("node0")
    world.run(1_000)
    expect([world.published("node0").length, world.heldFor("node0")]).toEqual([2, 2])
    world.whole()
  })

  test("a relay that was away for an hour is asked seldom, and comes back all the same", () => {
    const world = new World({ seed: 4, nodes: 2, relays: many(1) })
    world.run(20_000)
    world.kill("relay0", "process")
    world.run(3_600_000)
    for (const node of world.nodes) expect(world.asked(node, "relay0") <= 4).toBe(true)
    world.startRelay("relay0")
    world.run(31_000)
    world.whole()
  })

  test("go elsewhere when a relay forwards no more", () => {
    const world = new World({ seed: 5, nodes: 2, relays: [{ leaseMs: 30_000, bytes: 0 }, honest, honest], slots: 2 })
    world.run(10_000)
    for (const node of world.nodes) expect(world.published(node)).toEqual(["relay1", "relay2"])
  })

  const granted = (leaseMs: number): Reservations.Message => ({ _tag: "Granted", tracker: "x" as NodeId, leaseMs })
  const hostile: ReadonlyArray<readonly [string, NonNullable<RelayTerms["answer"]>]> = [
    ["grants no time", () => [granted(0)]],
    ["grants a moment", () => [granted(1)]],
    ["grants what is no number", () => [granted(Number.NaN)]],
    ["grants for ever", () => [granted(2 ** 32 - 1)]],
    ["grants again and again", () => Array.from({ length: 50 }, (_, i) => granted(i * 1_000))],
    ["understands nothing", () => [{ _tag: "Refused", reason: "?", understood: false }]],
    ["grants and takes away", () => [granted(30_000), { _tag: "Replaced" }]],
    ["asks", () => [{ _tag: "Ask" }, { _tag: "AskPlain" }]],
    ["says nothing", () => []]
  ]
  for (const [name, answer] of hostile) {
    test(`a relay that ${name} is not asked without pause, and the others are as good as before`, () => {
      const terms: WorldTerms = { seed: 6, nodes: 2, relays: [{ leaseMs: 0, answer }, honest, honest] }
      const world = new World(terms)
      // The hostile one honours nothing: that is its own affair, and the laws are about the rest.
      world.honours = (relay, node) => relay === "relay0" || World.prototype.honours.call(world, relay, node)
      world.run(900_000)
      for (const node of world.nodes) {
        expect(world.asked(node, "relay0") <= MOST_ASKED).toBe(true)
        for (const relay of ["relay1", "relay2"]) {
          expect([world.published(node).includes(relay), world.honours(relay, node)]).toEqual([true, true])
        }
      }
    })
  }

  test("renews a lease of ever within ten minutes", () => {
    const asked: Array<number> = []
    const answer = (now: number): ReadonlyArray<Reservations.Message> => {
      asked.push(now)
      return [granted(2 ** 32 - 1)]
    }
    const world = new World({ seed: 7, nodes: 1, relays: [{ leaseMs: 0, answer }] })
    world.honours = () => true
    world.run(3_600_000)
    expect([asked.length >= 12, asked.length <= 14]).toEqual([true, true])
  })

  test("hold one slot at a tracker that is given under two addresses", () => {
    const random = fromSeed(8)
    let state = Reservations.make(["a", "b"], random.next)
    const sent: Array<string> = []
    const told: Array<Reservations.Told> = []
    const happen = (event: Parameters<NodeMachine["step"]>[1]): void => {
      const [next, actions] = Reservations.machine.step(state, event)
      state = next
      for (const action of actions) {
        if (action._tag === "Send") sent.push(action.to)
        if (action._tag === "Tell") told.push(action.told)
      }
    }
    happen({ _tag: "Command", now: 0, command: "Start" })
    for (const from of ["a", "b"]) happen({ _tag: "Message", now: 5, from, message: granted(30_000) })
    // Each is asked again at once, to measure it; the tracker has given the slot to the latter by then.
    happen({ _tag: "Message", now: 8, from: "b", message: granted(30_000) })
    for (let now = 10; now < 10_000; now += 100) happen({ _tag: "Timer", now, timer: "Look" })
    expect(sent).toEqual(["a", "b", "a", "b"])
    expect(told.at(-1)).toEqual({ _tag: "Slots", slots: [{ via: "b", tracker: "x" as NodeId }] })
    expect(Reservations.heldAt(state, "x" as NodeId, 10_000)).toBe("b")
    expect(Reservations.heldAt(state, "x" as NodeId, 40_000)).toBe(undefined)
  })

  test("takes events of any kind in any order", () => {
    const random = seeded(53)
    forRounds(random, 300, () => {
      const vias = Array.from({ length: 1 + random.int(5) }, (_, i) => `r${i}`)
      let state = Reservations.make(vias, random.next, random.int(4))
      let now = 0
      for (let n = 0; n < 200; n++) {
        now += random.pick([0, 1, 100, 5_000, 40_000])
        const peer = random.pick([...vias, "stranger"])
        const message = random.pick<Reservations.Message>([
          { _tag: "Ask" },
          { _tag: "Replaced" },
          { _tag: "Refused", reason: "no", understood: random.int(2) === 0 },
          { _tag: "Granted", tracker: random.pick(vias) as NodeId },
          {
            _tag: "Granted",
            tracker: random.pick(vias) as NodeId,
            leaseMs: random.pick([-1, 0, 6_000, 30_000, Number.POSITIVE_INFINITY, Number.NaN]),
            quota: { circuits: random.int(2), bytes: random.int(2) }
          }
        ])
        const [next, actions] = Reservations.machine.step(
          state,
          random.pick<Parameters<NodeMachine["step"]>[1]>([
            { _tag: "Message", now, from: peer, message },
            { _tag: "LinkUp", now, peer },
            { _tag: "LinkDown", now, peer },
            { _tag: "Timer", now, timer: "Look" },
            { _tag: "Command", now, command: random.pick(["Start", "Hurry"] as const) }
          ])
        )
        state = next
        for (const action of actions) {
          const to = action._tag === "Send" ? action.to : action._tag === "Close" ? action.peer : vias[0]!
          expect(vias.includes(to)).toBe(true)
          if (action._tag === "After") expect(action.ms >= 1 && Number.isFinite(action.ms)).toBe(true)
        }
        expect(Reservations.health(state).length).toBe(vias.length)
      }
    })
  })
})

describe("broken reservations are noticed", () => {
  const { step } = Reservations.machine
  const broken: ReadonlyArray<readonly [string, NodeMachine]> = [
    [
      "one that never renews",
      {
        step: (state, event) => {
          for (const { standing } of state.relays.values()) {
            if (standing._tag === "Held") Object.assign(standing, { renewAt: event.now + 1e9, until: event.now + 1e9 })
          }
          return step(state, event)
        }
      }
    ],
    [
      "one that does not hear of losses",
      { step: (state, event) => (event._tag === "LinkDown" ? [state, []] : step(state, event)) }
    ],
    [
      "one that asks without pause",
      {
        step: (state, event) => {
          for (const relay of state.relays.values()) relay.pauseMs = 1
          return step(state, event)
        }
      }
    ],
    [
      "one that gives a restart too long",
      {
        step: (state, event) => {
          for (const relay of state.relays.values()) relay.pauseMs = Math.max(relay.pauseMs, 20_000)
          return step(state, event)
        }
      }
    ],
    [
      "one that takes any slot for good",
      {
        step: (state, event) => {
          const [next, actions] = step(state, event)
          return [next, actions.filter((action) => action._tag !== "Close")]
        }
      }
    ],
    [
      "one that keeps more than it may",
      {
        step: (state, event) => {
          Object.assign(state, { slots: 4 })
          return step(state, event)
        }
      }
    ]
  ]
  for (const [name, machine] of broken) {
    test(name, () => {
      const random = fromSeed(54)
      const outcomes: Array<string> = []
      for (let n = 0; n < 10 && outcomes.length === 0; n++) {
        for (const law of [restarts, everything, frugal]) {
          try {
            law(random.int(2 ** 31), machine)
          } catch (error) {
            outcomes.push(String(error))
          }
        }
      }
      expect(outcomes.length > 0).toBe(true)
    })
  }
})
