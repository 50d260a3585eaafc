import { describe, expect, test } from "bun:test"
import type { Event, Machine } from "@parley/core/Machine"
import { forRounds, fromSeed, seeded, type Seeded } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"
import * as AntiEntropy from "../src/AntiEntropy.ts"
import { Held, MAX_HELD } from "../src/internal/Held.ts"

const random = seeded(20_261_121)
console.log(`anti-entropy: PARLEY_SEED=${random.seed}`)

type State = AntiEntropy.State<string>
type Message = AntiEntropy.Message<string>
type Command = AntiEntropy.Command<string>
type Told = AntiEntropy.Told<string>
type Step = Machine<State, Message, AntiEntropy.Timer, Command, Told>

const TTL_MS = 600_000
const item = (key: string, version: number): AntiEntropy.Item<string> => ({
  key,
  version,
  payload: `${key} ${version}`,
  bytes: 100
})
const put = (key: string, version: number, spread = false): Command => ({
  _tag: "Put",
  item: item(key, version),
  ttlMs: TTL_MS,
  spread
})
const sound = AntiEntropy.machine<string>()

/** Nodes that put whatever comes to them, and offer it on. */
const mesh = (seed: number, names: ReadonlyArray<string>, machine: Step) => {
  const sent: { [tag: string]: number } = {}
  const world = new Simulation<State, Message, AntiEntropy.Timer, Command, Told>({
    seed,
    machine,
    delay: (dice) => 5 + dice.int(40),
    sent: (_, __, { _tag }) => void (sent[_tag] = (sent[_tag] ?? 0) + 1),
    told: (node, told) =>
      world.command(node, { _tag: "Put", item: told.item, ttlMs: TTL_MS, spread: true, from: told.from })
  })
  for (const [i, self] of names.entries()) world.add(self, AntiEntropy.make({ self, seed: seed + i }))
  return { world, sent }
}

const link = (world: ReturnType<typeof mesh>["world"], a: string, b: string, beside = true): void => {
  world.command(a, { _tag: "Beside", peer: b, beside })
  world.command(b, { _tag: "Beside", peer: a, beside })
}

/** What must hold, whatever machine it is: throws where it does not. */
const laws: { readonly [law: string]: (machine: Step, dice: Seeded) => void } = {
  "two that compare hold the newest of both, and ask no more": (machine, dice) => {
    const { sent, world } = mesh(dice.int(1e9), ["a", "b"], machine)
    const newest = new Map<string, number>()
    const most = dice.pick([1, 10, 300, 3_000])
    for (let i = 0; i < most; i++) {
      const key = `k${dice.int(most)}`
      const version = dice.pick([0, 1, 2, 3, 2 ** 40, 2 ** 40 + 1])
      newest.set(key, Math.max(newest.get(key) ?? 0, version))
      const node = dice.pick(["a", "b"])
      world.command(node, put(key, version))
    }
    world.command("a", { _tag: "Exchange", peer: "b" })
    world.runFor(3_000)
    for (const node of ["a", "b"])
      for (const [key, version] of newest)
        expect(`${node} ${key} ${world.state(node).get(key)?.version}`).toBe(`${node} ${key} ${version}`)
    for (const tag of Object.keys(sent)) sent[tag] = 0
    world.command("b", { _tag: "Exchange", peer: "a" })
    world.runFor(3_000)
    expect(Object.entries(sent).filter(([, count]) => count > 0)).toEqual([["Digest", 1]])
  },
  "what is put at one reaches all, though an exchange never comes": (machine, dice) => {
    const names = Array.from({ length: 30 }, (_, i) => `n${i}`)
    const { sent, world } = mesh(dice.int(1e9), names, machine)
    for (let i = 1; i < 30; i++) {
      link(world, `n${i}`, `n${dice.int(i)}`)
      link(world, `n${i}`, `n${dice.int(i)}`)
    }
    world.runFor(2_000)
    for (const tag of Object.keys(sent)) sent[tag] = 0
    for (let i = 0; i < 20; i++) world.command(dice.pick(names), put(`k${i}`, 1, true))
    world.runFor(6_000)
    for (const name of names)
      for (let i = 0; i < 20; i++) expect(`${name} ${world.state(name).get(`k${i}`)?.version}`).toBe(`${name} 1`)
    expect(sent["Digest"] ?? 0).toBe(0)
  },
  "who promises and does not deliver keeps nobody from others": (machine, dice) => {
    const { world } = mesh(dice.int(1e9), ["a", "b"], machine)
    link(world, "a", "b")
    world.runFor(1_000)
    // A stranger offers what it does not have, in a version that is not.
    const offer: Message = { _tag: "Offer", entries: [{ key: "k", version: 99 }] }
    const stepped = machine.step(world.state("a"), { _tag: "Message", now: world.now, from: "z", message: offer })
    expect(stepped[1]).toContainEqual({ _tag: "Send", to: "z", message: { _tag: "Want", keys: ["k"] } })
    world.command("b", put("k", 3, true))
    world.runFor(AntiEntropy.ASK_MS + 2_000)
    // Its wake was taken from the world by the step above, so that something has to happen to it.
    world.command("a", { _tag: "Drop", key: "nothing" })
    world.runFor(1_000)
    expect(world.state("a").get("k")?.version).toBe(3)
  }
}

describe("anti-entropy", () => {
  for (const [law, holds] of Object.entries(laws))
    test(law, () => forRounds(random, 8, (round) => holds(sound, fromSeed(random.seed + round))))

  test("holds the newest of what is put, until it expires, against a model", () => {
    forRounds(random, 200, (round) => {
      const dice = fromSeed(random.seed + round)
      const state = AntiEntropy.make<string>({ self: "me", seed: round })
      const model = new Map<string, { version: number; until: number; ignored: boolean }>()
      let now = 0
      for (let n = 0; n < 60; n++) {
        const key = `k${dice.int(5)}`
        const version = dice.int(6)
        const ttlMs = 1_000 + dice.int(20_000)
        const held = model.get(key)
        const isNewer = held === undefined || held.until <= now || held.version < version
        let command: Command
        switch (dice.int(4)) {
          case 0:
            command = { _tag: "Drop", key }
            model.delete(key)
            break
          case 1:
            command = { _tag: "Ignore", key, version, ttlMs }
            if (isNewer) model.set(key, { version, until: now + ttlMs, ignored: true })
            break
          default:
            command = { _tag: "Put", item: item(key, version), ttlMs, spread: false }
            if (isNewer) model.set(key, { version, until: now + ttlMs, ignored: false })
        }
        state.step({ _tag: "Command", now, command })
        for (let i = 0; i < 5; i++) {
          const known = model.get(`k${i}`)
          const isThere = known !== undefined && known.until > now && !known.ignored
          expect(state.get(`k${i}`)?.version).toBe(isThere ? known.version : undefined)
        }
        now += dice.int(3_000)
      }
    })
  })

  test("asks nobody again for what it passed over, and offers it to nobody", () => {
    const { sent, world } = mesh(1, ["a", "b"], sound)
    world.command("a", put("k", 4))
    world.command("b", { _tag: "Ignore", key: "k", version: 4, ttlMs: TTL_MS })
    world.command("a", { _tag: "Exchange", peer: "b" })
    world.runFor(2_000)
    expect(sent).toEqual({ Digest: 1 })
    expect(world.state("b").get("k")).toBe(undefined)
  })

  test("answers one exchange of a peer in a second, and gives it no more than its share", () => {
    const state = AntiEntropy.make<string>({ self: "me", seed: 1 })
    const large = { ...item("k", 1), bytes: 8 * 1024 * 1024 }
    state.step({ _tag: "Command", now: 0, command: { _tag: "Put", item: large, ttlMs: TTL_MS, spread: false } })
    const buckets = Array.from({ length: 16 }, () => 0)
    const answers = [0, 10, 500, 999, 1_000].map(
      (now) =>
        state
          .step({ _tag: "Message", now, from: "p", message: { _tag: "Digest", salt: 1, buckets } })
          .filter(({ _tag }) => _tag === "Send").length
    )
    expect(answers).toEqual([1, 0, 0, 0, 1])
    const given = Array.from(
      { length: 10 },
      () =>
        state
          .step({ _tag: "Message", now: 2_000, from: "p", message: { _tag: "Want", keys: ["k"] } })
          .filter(({ _tag }) => _tag === "Send").length
    )
    expect(given.reduce((a, b) => a + b, 0)).toBe(2)
  })

  test("asks for no more at a time than it may, however much is offered", () => {
    const state = AntiEntropy.make<string>({ self: "me", seed: 1 })
    let wanted = 0
    for (let n = 0; n < 30; n++) {
      const entries = Array.from({ length: 2_000 }, (_, i) => ({ key: `k${n}-${i}`, version: 1 }))
      for (const action of state.step({ _tag: "Message", now: n, from: "p", message: { _tag: "Offer", entries } }))
        if (action._tag === "Send" && action.message._tag === "Want") wanted += action.message.keys.length
    }
    expect(wanted).toBe(AntiEntropy.MAX_WANTED)
  })

  test("gives nothing for an answer to what it did not ask, or asked long ago", () => {
    const state = AntiEntropy.make<string>({ self: "me", seed: 1 })
    const step = (now: number, event: { readonly command: Command } | { readonly message: Message }) =>
      "command" in event
        ? state.step({ _tag: "Command", now, command: event.command })
        : state.step({ _tag: "Message", now, from: "p", message: event.message })
    step(0, { command: put("k", 1) })
    const [asked] = step(0, { command: { _tag: "Exchange", peer: "p" } })
    const salt = asked?._tag === "Send" && asked.message._tag === "Digest" ? asked.message.salt : 0
    const buckets = Array.from({ length: 16 }, (_, i) => i)
    const answered = (now: number, salt: number): number =>
      step(now, { message: { _tag: "Entries", salt, of: 16, buckets, entries: [] } }).filter(
        (action) => action._tag === "Send" && action.message._tag === "Items"
      ).length
    expect([answered(10, salt + 1), answered(20, salt)]).toEqual([0, 1])
    expect(answered(AntiEntropy.ANSWER_MS + 1, salt)).toBe(0)
  })

  test("holds no more than it may", () => {
    const held = new Held<string>()
    for (let i = 0; i < MAX_HELD + 10; i++) held.put(item(`k${i}`, 1), TTL_MS, 0)
    expect(held.size).toBe(MAX_HELD)
    expect(held.put(item("k5", 2), TTL_MS, 0)).toBe(true)
    held.sweep(TTL_MS)
    expect(held.size).toBe(0)
  })

  test("no message makes it throw", () => {
    forRounds(random, 200, (round) => {
      const dice = fromSeed(random.seed + round)
      const state = AntiEntropy.make<string>({ self: "me", seed: round })
      const entries = () =>
        Array.from({ length: dice.int(6) }, () => ({
          key: `k${dice.int(9)}`,
          version: dice.pick([0, 1, 2, 2 ** 53 - 1, -1, Number.NaN])
        }))
      for (let n = 0; n < 100; n++) {
        const peer = `p${dice.int(4)}`
        const now = n * dice.int(1_000)
        const messages: ReadonlyArray<Message> = [
          { _tag: "Digest", salt: dice.int(9), buckets: Array.from({ length: dice.pick([0, 3, 16, 64]) }, () => 1) },
          { _tag: "Entries", salt: dice.int(9), of: dice.pick([0, 7, 16]), buckets: [0, 1, 99], entries: entries() },
          { _tag: "Offer", entries: entries() },
          { _tag: "Want", keys: entries().map(({ key }) => key) },
          { _tag: "Items", items: entries().map(({ key, version }) => item(key, version)) }
        ]
        const events: ReadonlyArray<Event<Message, AntiEntropy.Timer, Command>> = [
          { _tag: "Message", now, from: peer, message: dice.pick(messages) },
          { _tag: "LinkDown", now, peer },
          { _tag: "Timer", now, timer: { _tag: "EntropyWake", at: now } },
          { _tag: "Command", now, command: { _tag: "Exchange", peer } }
        ]
        state.step(dice.int(3) === 0 ? dice.pick(events) : events[0]!)
      }
    })
  })
})

/** Machines with a bug each, and a law that finds it. */
const broken: { readonly [bug: string]: readonly [law: string, machine: Step] } = {
  "gives nothing that the other did not ask for": [
    "two that compare hold the newest of both, and ask no more",
    {
      step: (state, event) => {
        const [next, actions] = sound.step(state, event)
        const isAnswering = event._tag === "Message" && event.message._tag === "Entries"
        return [
          next,
          actions.filter((action) => !isAnswering || action._tag !== "Send" || action.message._tag !== "Items")
        ]
      }
    }
  ],
  "takes an older version for a newer one": [
    "two that compare hold the newest of both, and ask no more",
    {
      step: (state, event) => {
        if (event._tag === "Command" && event.command._tag === "Put")
          sound.step(state, { ...event, command: { _tag: "Drop", key: event.command.item.key } })
        return sound.step(state, event)
      }
    }
  ],
  "offers what comes to nobody": [
    "what is put at one reaches all, though an exchange never comes",
    {
      step: (state, event) => {
        const isHandedOn = event._tag === "Command" && event.command._tag === "Put" && event.command.from !== undefined
        if (isHandedOn && event.command._tag === "Put")
          return sound.step(state, { ...event, command: { ...event.command, spread: false } })
        return sound.step(state, event)
      }
    }
  ],
  "waits for ever for whom it asked first": [
    "who promises and does not deliver keeps nobody from others",
    {
      step: (state, event) =>
        event._tag === "Timer" || (event._tag === "Command" && event.command._tag === "Drop")
          ? [state, []]
          : sound.step(state, event)
    }
  ]
}

describe("the laws find", () => {
  for (const [bug, [law, machine]] of Object.entries(broken)) {
    test(`a machine that ${bug}`, () => {
      let found = false
      for (let round = 0; round < 8 && !found; round++) {
        try {
          laws[law]!(machine, fromSeed(random.seed + round))
        } catch {
          found = true
        }
      }
      expect(found).toBe(true)
    })
  }
})
