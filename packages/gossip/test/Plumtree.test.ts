import { describe, expect, test } from "bun:test"
import type { Action, Event } from "@parley/core/Machine"
import { forRounds, seeded } from "@parley/core/testing/Seeded"
import * as Plumtree from "@parley/gossip/Plumtree"
import { Carriage, MAX_BYTES_PER_ORIGIN, MAX_IDS_PER_ORIGIN } from "../src/internal/Carriage.ts"
import { broadcastFaults, copiesPerNode, faultsOfALife, mesh, parts } from "./overlay-world.ts"

type Happening = Event<Plumtree.Message, Plumtree.Timer, Plumtree.Command>
type Wanted = Action<Plumtree.Message, Plumtree.Timer, Plumtree.Told>

const says = (now: number, from: string, message: Plumtree.Message): Happening => ({
  _tag: "Message",
  now,
  from,
  message
})
const gossip = (
  id: string,
  round = 0,
  origin = "o",
  bytes = 10
): Extract<Plumtree.Message, { readonly _tag: "Gossip" }> => ({
  _tag: "Gossip",
  id,
  origin,
  round,
  payload: new Uint8Array(bytes)
})

/** A node with these neighbours; the first link is eager. */
const among = (...neighbours: ReadonlyArray<string>) => {
  const state = Plumtree.make("me", 1)
  const step = (event: Happening): ReadonlyArray<Wanted> => Plumtree.step(state, event)[1]
  const up = (peer: string, now = 0): ReadonlyArray<Wanted> =>
    step({ _tag: "Command", now, command: { _tag: "NeighborUp", peer } })
  for (const peer of neighbours) up(peer)
  return { state, step, up }
}

const sends = (actions: ReadonlyArray<Wanted>): ReadonlyArray<string> =>
  actions.flatMap((action) =>
    action._tag === "Send"
      ? [
          `${action.message._tag}${
            "id" in action.message && action.message.id !== undefined
              ? ` ${action.message.id}`
              : action.message._tag === "IHave"
                ? ` ${action.message.have.map(({ id, round }) => `${id}/${round}`).join(",")}`
                : ""
          } to ${action.to}`
        ]
      : []
  )

describe("a node of the tree", () => {
  test("hands a message on to eager neighbours, its id to lazy ones, and tells of it once", () => {
    const { step } = among("a", "b", "c")
    step(says(1, "b", { _tag: "Graft", id: undefined }))
    const first = step(says(10, "b", gossip("m", 3)))
    expect(first.filter(({ _tag }) => _tag === "Tell").length).toBe(1)
    expect(sends(first)).toEqual(["Gossip m to a"])
    expect(sends(step({ _tag: "Timer", now: 40, timer: { _tag: "LazyPush" } }))).toEqual(["IHave m/4 to c"])
    const again = step(says(50, "c", gossip("m", 5)))
    expect(again.map(({ _tag }) => _tag)).toEqual(["Send"])
    expect(sends(again)).toEqual(["Prune to c"])
  })

  test("asks who announced what did not come, one after the other", () => {
    const { step } = among("a", "b", "c")
    step(says(1, "b", { _tag: "IHave", have: [{ id: "m", round: 2 }] }))
    step(says(2, "c", { _tag: "IHave", have: [{ id: "m", round: 3 }] }))
    const missing: Happening = { _tag: "Timer", now: 500, timer: { _tag: "Missing", id: "m" } }
    expect(sends(step(missing))).toEqual(["Graft m to b"])
    expect(sends(step(missing))).toEqual(["Graft m to c"])
    expect(sends(step(missing))).toEqual([])
    // It may be announced anew, and comes late: whoever has it is not sent it.
    step(says(900, "b", { _tag: "IHave", have: [{ id: "m", round: 2 }] }))
    expect(sends(step(says(950, "a", gossip("m", 2))))).toEqual(["Gossip m to c"])
  })

  test("gives what is asked for, while it has it, and makes the link eager", () => {
    const { state, step } = among("a", "b")
    step(says(1, "a", gossip("m")))
    expect(sends(step(says(2, "b", { _tag: "Graft", id: "m" })))).toEqual(["Gossip m to b"])
    expect(Plumtree.eager(state)).toEqual(["a", "b"])
    expect(sends(step(says(3, "b", { _tag: "Graft", id: "unknown" })))).toEqual([])
    step({ _tag: "Timer", now: 60_000, timer: { _tag: "Expire" } })
    expect(sends(step(says(60_001, "b", { _tag: "Graft", id: "m" })))).toEqual([])
    // The id is remembered longer than the payload.
    expect(sends(step(says(60_002, "b", gossip("m"))))).toEqual(["Prune to b"])
  })

  test("takes a much shorter way when it hears of one", () => {
    const { state, step } = among("a", "b")
    step(says(1, "b", { _tag: "IHave", have: [{ id: "m", round: 3 }] }))
    expect(sends(step(says(20, "a", gossip("m", 9))))).toEqual([])
    step(says(21, "b", { _tag: "IHave", have: [{ id: "n", round: 3 }] }))
    expect(sends(step(says(40, "a", gossip("n", 10))))).toEqual(["Graft to b", "Prune to a"])
    expect(Plumtree.eager(state)).toEqual(["b"])
  })

  test("tells a new neighbour what it carried of late", () => {
    const { step, up } = among("a")
    step(says(1_000, "a", gossip("old")))
    step(says(40_000, "a", gossip("new")))
    step({ _tag: "Timer", now: 40_050, timer: { _tag: "LazyPush" } })
    up("b", 41_000)
    expect(sends(step({ _tag: "Timer", now: 41_030, timer: { _tag: "LazyPush" } }))).toEqual(["IHave new/1 to b"])
  })

  test("keeps a message no longer for late-comers than the nodes did that had it before", () => {
    const { step, up } = among("a")
    step(says(1_000, "a", { ...gossip("m"), age: 20_000 }))
    step({ _tag: "Timer", now: 1_025, timer: { _tag: "LazyPush" } })
    up("b", 5_000)
    expect(sends(step({ _tag: "Timer", now: 5_025, timer: { _tag: "LazyPush" } }))).toEqual(["IHave m/1 to b"])
    const [answer] = step(says(6_000, "b", { _tag: "Graft", id: "m" }))
    expect(answer?._tag === "Send" && answer.message._tag === "Gossip" && answer.message.age).toBe(25_000)
    up("c", 15_000)
    expect(sends(step({ _tag: "Timer", now: 15_025, timer: { _tag: "LazyPush" } }))).toEqual([])
  })

  test("has one eager link more for each that it lost, and none for one it dropped", () => {
    const { state, step, up } = among("a", "b", "c")
    const down = (peer: string, dropped: boolean): void =>
      void step({ _tag: "Command", now: 5, command: { _tag: "NeighborDown", peer, dropped } })
    expect(Plumtree.eager(state)).toEqual(["a"])
    step(says(1, "b", { _tag: "Graft", id: undefined }))
    down("a", false)
    expect(sends(up("d"))).toEqual(["Graft to d"])
    expect(sends(up("e"))).toEqual([])
    down("b", true)
    expect(sends(up("f"))).toEqual([])
    down("c", false)
    expect(sends(up("g"))).toEqual([])
  })
})

describe("a mesh that broadcasts", () => {
  test("brings each message to each node once, over few copies, while nodes come and go", () => {
    const random = seeded(91)
    forRounds(random, 3, () => {
      const town = mesh(random.int(2 ** 31))
      for (let i = 0; i < 80; i++) {
        town.join()
        town.world.runFor(60)
      }
      town.world.runFor(10_000)
      const ids: Array<string> = []
      for (let i = 0; i < 60; i++) {
        if (i % 6 === 0) {
          town.kill(random.pick(town.world.alive()), i % 12 === 0 ? "process" : "machine")
          town.join()
        }
        ids.push(town.publish(random.pick(town.world.alive())))
        town.world.runFor(700)
      }
      town.world.runFor(15_000)
      expect(broadcastFaults(town, town.world.now, 5_000)).toEqual([])
      expect(copiesPerNode(town, ids, 80) <= 1.3).toBe(true)
    })
  })
})

describe("a planted bug is caught:", () => {
  const { broadcast } = parts
  const broken = (change: {
    readonly hears?: (event: Happening) => boolean
    readonly does?: (action: Wanted, event: Happening) => boolean
    readonly more?: (event: Happening) => ReadonlyArray<Wanted>
  }): typeof broadcast => ({
    step: (state, event) => {
      if (change.hears?.(event) === false) return [state, []]
      const [next, actions] = broadcast.step(state, event)
      return [
        next,
        [...actions.filter((action) => change.does?.(action, event) !== false), ...(change.more?.(event) ?? [])]
      ]
    }
  })
  const isMessage = (event: Happening, tag: Plumtree.Message["_tag"]): boolean =>
    event._tag === "Message" && event.message._tag === tag

  for (const [name, machine, fault] of [
    [
      "nobody asks for what is missing",
      broken({ hears: (event) => !(event._tag === "Timer" && event.timer._tag === "Missing") }),
      "a message that a node missed"
    ],
    [
      "grafts are not answered",
      broken({ hears: (event) => !isMessage(event, "Graft") }),
      "a message that a node missed"
    ],
    [
      "ids are not announced",
      broken({ hears: (event) => !(event._tag === "Timer" && event.timer._tag === "LazyPush") }),
      "a message that a node missed"
    ],
    ["links stay eager", broken({ hears: (event) => !isMessage(event, "Prune") }), "many copies"],
    [
      "a second copy is told as well",
      broken({
        more: (event) => {
          if (event._tag !== "Message" || event.message._tag !== "Gossip") return []
          const { id, origin, payload, round } = event.message
          return [{ _tag: "Tell", told: { _tag: "Deliver", id, origin, payload, round, from: event.from } }]
        }
      }),
      "a message told twice"
    ]
  ] as const)
    test(name, () => {
      expect(faultsOfALife(76, { ...parts, broadcast: machine }).includes(fault)).toBe(true)
    })
})

describe("a hostile neighbour", () => {
  test("cannot make a node remember more ids than its share, nor ask for ever", () => {
    const { state, step } = among("a", "b")
    for (let i = 0; i < 20; i++) {
      const have = Array.from({ length: 500 }, (_, j) => ({ id: `x${i}-${j}`, round: 1 }))
      step(says(i, "b", { _tag: "IHave", have }))
    }
    expect(state.missing.size).toBe(1_024)
    step(says(30, "a", { _tag: "IHave", have: [{ id: "real", round: 1 }] }))
    expect(state.missing.size).toBe(1_025)
    for (const id of [...state.missing.keys()]) {
      step({ _tag: "Timer", now: 600, timer: { _tag: "Missing", id } })
      step({ _tag: "Timer", now: 900, timer: { _tag: "Missing", id } })
    }
    expect(state.missing.size).toBe(0)
  })

  test("is one of a few that are remembered as having what is missing", () => {
    const names = Array.from({ length: 30 }, (_, i) => `p${i}`)
    const { state, step } = among(...names)
    for (const name of names) step(says(1, name, { _tag: "IHave", have: [{ id: "m", round: 1 }] }))
    expect(state.missing.get("m")?.announcers.length).toBe(8)
  })

  test("is told of no more at once than it can have missed, the latest", () => {
    const { step } = among("a", "b")
    for (let i = 0; i < 5_000; i++) step(says(1, "a", gossip(`m${i}`, 0, `o${i % 7}`, 0)))
    const told = step({ _tag: "Timer", now: 30, timer: { _tag: "LazyPush" } }).flatMap((action) =>
      action._tag === "Send" && action.message._tag === "IHave" ? [action.message.have] : []
    )
    expect([told.length, told.flat().length, told.flat().at(-1)?.id]).toEqual([8, 4_096, "m4999"])
  })

  test("gets payloads at a bounded rate, however often it asks", () => {
    const { step } = among("a", "b")
    step(says(1, "a", gossip("big", 0, "o", 64 * 1024)))
    let got = 0
    for (let i = 0; i < 5_000; i++) got += sends(step(says(2 + i, "b", { _tag: "Graft", id: "big" }))).length
    expect(got > 0 && got <= 170).toBe(true)
  })

  test("that is none any more is neither asked nor answered", () => {
    const { step } = among("a", "b")
    step(says(1, "a", gossip("m")))
    expect(step(says(2, "stranger", { _tag: "Graft", id: "m" }))).toEqual([])
    expect(step(says(2, "stranger", { _tag: "IHave", have: [{ id: "n", round: 1 }] }))).toEqual([])
    expect(step(says(2, "stranger", { _tag: "Prune" }))).toEqual([])
  })
})

describe("what a node has carried", () => {
  test("is as a plain list says, bounded in all and for each origin", () => {
    const random = seeded(92)
    forRounds(random, 20, () => {
      const carriage = new Carriage()
      let model: Array<{ readonly id: string; readonly origin: string; readonly at: number; whole: boolean }> = []
      for (let n = 0, now = 0; n < 300; n++) {
        now += random.int(10)
        if (random.int(20) === 0) {
          const [payloads, ids] = [now - random.int(200), now - 200 - random.int(200)]
          carriage.expire(payloads, ids)
          model = model.filter(({ at }) => at >= ids)
          for (const one of model) if (one.at < payloads) one.whole = false
        } else {
          const id = `${random.int(250)}`
          const origin = random.pick(["p", "q", "r"])
          carriage.add({ id, origin, payload: new Uint8Array(5), round: 1, at: now })
          if (!model.some((one) => one.id === id)) model.push({ id, origin, at: now, whole: true })
        }
        expect(carriage.size).toBe(model.length)
        expect(carriage.bytes).toBe(5 * model.filter(({ whole }) => whole).length)
        const one = `${random.int(250)}`
        expect(carriage.has(one)).toBe(model.some(({ id }) => id === one))
        expect(carriage.get(one) !== undefined).toBe(model.some(({ id, whole }) => id === one && whole))
        expect(carriage.recent(now - 50, 10).map(({ id }) => id)).toEqual(
          model
            .filter(({ whole }) => whole)
            .slice(-10)
            .filter(({ at }) => at >= now - 50)
            .map(({ id }) => id)
        )
      }
    })
  })

  test("of one origin makes no room for itself among others'", () => {
    const carriage = new Carriage()
    carriage.add({ id: "honest", origin: "h", payload: new Uint8Array(100), round: 0, at: 0 })
    for (let i = 0; i < MAX_IDS_PER_ORIGIN + 500; i++)
      carriage.add({ id: `f${i}`, origin: "flood", payload: new Uint8Array(64 * 1024), round: 0, at: i })
    expect(carriage.get("honest") !== undefined).toBe(true)
    expect(carriage.size).toBe(MAX_IDS_PER_ORIGIN + 1)
    expect(carriage.bytes <= MAX_BYTES_PER_ORIGIN + 100).toBe(true)
    expect(carriage.has("f0")).toBe(false)
  })
})
