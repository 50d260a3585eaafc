import { describe, expect, test } from "bun:test"
import type { Action, Event, Machine } from "@parley/core/Machine"
import { Agenda } from "@parley/core/testing/Agenda"
import { forRounds, fromSeed, seeded } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"

/** A machine that does what it is commanded, and writes down what happens to it. */
type Log = Array<Event<number, string, Action<number, string, string>>>

const obedient: Machine<Log, number, string, Action<number, string, string>, string> = {
  step: (log, event) => {
    log.push(event)
    return [log, event._tag === "Command" ? [event.command] : []]
  }
}

const send = (to: string, message: number) => ({ _tag: "Send", to, message }) as const

const world = (seed: number, names: ReadonlyArray<string>, delay = 10) => {
  const simulation = new Simulation({
    seed,
    machine: obedient,
    delay: (random) => delay + random.int(delay),
    silenceMs: 1_000,
    told: () => {}
  })
  const logs = new Map<string, Log>()
  for (const name of names) {
    const log: Log = []
    logs.set(name, log)
    simulation.add(name, log)
  }
  return { simulation, log: (name: string) => logs.get(name)!, logs }
}

/** What happened to a node but commands, in short: `up b`, `down b`, `1 of b`, `timer x`. */
const brief = (log: Log): ReadonlyArray<string> =>
  log.flatMap((event) => {
    switch (event._tag) {
      case "Message":
        return [`${event.message} of ${event.from}`]
      case "LinkUp":
        return [`up ${event.peer}`]
      case "LinkDown":
        return [`down ${event.peer}`]
      case "Timer":
        return [`timer ${event.timer}`]
      case "Command":
        return []
    }
  })

describe("the agenda", () => {
  test("gives what is due in the order of time, then of adding, at any distance", () => {
    const random = seeded(11)
    forRounds(random, 50, () => {
      const agenda = new Agenda<number>()
      const model: Array<{ readonly at: number; readonly item: number }> = []
      let now = 0
      for (let n = 0; n < 400; n++) {
        if (random.int(3) > 0) {
          const far = random.pick([0, 0.5, 1, 30, 5_000, 80_000, 300_000])
          const at = now + (random.int(2) === 0 ? far : random.next() * far)
          agenda.add(at, n)
          model.push({ at, item: n })
        } else {
          const until = now + random.pick([0, 0.3, 10, 100_000])
          const due = model.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at || a.item - b.item)[0]
          expect(agenda.take(until)).toBe(due?.item)
          if (due === undefined) now = until
          else {
            now = due.at
            model.splice(model.indexOf(due), 1)
          }
        }
        expect(agenda.size).toBe(model.length)
      }
    })
  })
})

describe("the simulated network", () => {
  test("makes a link for the first message, tells both ends, and keeps the order", () => {
    const { log, simulation } = world(1, ["a", "b"])
    for (let n = 0; n < 20; n++) simulation.command("a", send("b", n))
    simulation.runFor(500)
    expect(brief(log("b"))).toEqual(["up a", ...Array.from({ length: 20 }, (_, n) => `${n} of a`)])
    expect(brief(log("a"))).toEqual(["up b"])
    expect(simulation.links("b")).toEqual(["a"])
  })

  test("gives timers back, and none to the next life of a node", () => {
    const { log, simulation } = world(2, ["a"])
    simulation.command("a", { _tag: "After", ms: 50, timer: "early" })
    simulation.command("a", { _tag: "After", ms: 500, timer: "late" })
    simulation.runFor(100)
    simulation.kill("a")
    const second: Log = []
    simulation.add("a", second)
    simulation.runFor(1_000)
    expect(brief(log("a"))).toEqual(["timer early"])
    expect(brief(second)).toEqual([])
  })

  test("closes a link behind what was sent on it", () => {
    const { log, simulation } = world(3, ["a", "b"])
    simulation.command("a", send("b", 1))
    simulation.command("a", { _tag: "Close", peer: "b" })
    simulation.command("b", send("a", 2))
    simulation.runFor(1_000)
    expect(brief(log("b"))).toEqual(["1 of a", "down a"])
    expect(brief(log("a"))).toEqual([])
  })

  test("resets a killed process's links at once, a dead machine's after a silence", () => {
    for (const [what, least, most] of [
      ["process", 10, 20],
      ["machine", 1_000, 1_000]
    ] as const) {
      const { log, simulation } = world(4, ["a", "b"])
      simulation.command("a", send("b", 1))
      simulation.runFor(500)
      simulation.kill("b", what)
      simulation.command("a", send("b", 2))
      simulation.runFor(3_000)
      expect(brief(log("a"))).toEqual(["up b", "down b"])
      const { now } = log("a").at(-1)!
      expect(now - 500 >= least && now - 500 <= most).toBe(true)
      // Nobody is there any more: one attempt, one answer, however much was to be sent.
      simulation.command("a", send("b", 3))
      simulation.command("a", send("b", 4))
      simulation.runFor(3_000)
      expect(brief(log("a"))).toEqual(["up b", "down b", "down b"])
    }
  })

  test("a node that starts again replaces the link of its life before", () => {
    const { log, simulation } = world(5, ["a", "b"])
    simulation.command("a", send("b", 1))
    simulation.runFor(500)
    simulation.kill("a", "machine")
    simulation.add("a", [])
    simulation.command("a", send("b", 2))
    simulation.runFor(5_000)
    expect(brief(log("b"))).toEqual(["up a", "1 of a", "down a", "up a", "2 of a"])
  })

  test("two that dial each other share one link", () => {
    const { log, simulation } = world(6, ["a", "b"])
    simulation.partition((name) => (name === "a" ? 0 : 1))
    simulation.heal()
    simulation.command("a", send("b", 1))
    simulation.command("b", send("a", 2))
    simulation.runFor(500)
    expect([...brief(log("a"))].sort()).toEqual(["2 of b", "up b"])
    simulation.partition((name) => (name === "a" ? 0 : 1))
    simulation.runFor(999)
    simulation.heal()
    simulation.command("b", send("a", 3))
    simulation.runFor(2)
    simulation.command("b", send("a", 4))
    simulation.command("a", send("b", 5))
    simulation.runFor(500)
    expect(brief(log("a")).filter((line) => line.includes("b"))).toEqual(["up b", "2 of b", "down b", "up b", "4 of b"])
    expect(brief(log("b"))).toEqual(["up a", "1 of a", "down a", "up a", "5 of a"])
  })

  test("lets nothing through between the sides of a partition, and all after it", () => {
    const { log, simulation } = world(7, ["a", "b", "c"])
    simulation.command("a", send("b", 1))
    simulation.command("a", send("c", 1))
    simulation.runFor(500)
    simulation.partition((name) => (name === "b" ? 1 : 0))
    simulation.command("a", send("b", 2))
    simulation.command("a", send("c", 2))
    simulation.runFor(2_000)
    expect(brief(log("b"))).toEqual(["up a", "1 of a", "down a"])
    expect(brief(log("c"))).toEqual(["up a", "1 of a", "2 of a"])
    simulation.heal()
    simulation.command("a", send("b", 3))
    simulation.runFor(500)
    expect(brief(log("b")).slice(3)).toEqual(["up a", "3 of a"])
  })

  test("a frozen node handles what came when it thaws, in order", () => {
    const { log, simulation } = world(8, ["a", "b"])
    simulation.freeze("b", 600)
    for (let n = 0; n < 5; n++) simulation.command("a", send("b", n))
    simulation.command("b", { _tag: "After", ms: 1, timer: "x" })
    simulation.runFor(599)
    expect(log("b")).toEqual([])
    simulation.runFor(100)
    expect(brief(log("b"))).toEqual(["up a", "0 of a", "1 of a", "2 of a", "3 of a", "4 of a", "timer x"])
    expect(log("b").every(({ now }) => now >= 600)).toBe(true)
  })

  test("a node that thaws handles what came while it was frozen before what comes at that moment", () => {
    const { log, simulation } = world(8, ["a"])
    simulation.command("a", { _tag: "After", ms: 600, timer: "second" })
    simulation.freeze("a", 600)
    simulation.command("a", { _tag: "After", ms: 0, timer: "third" })
    simulation.runFor(1_000)
    const events = log("a").map((event) => (event._tag === "Timer" ? event.timer : event._tag))
    expect(events).toEqual(["Command", "Command", "second", "third"])
  })

  test("waits until something is so, and says when it never was", () => {
    const { log, simulation } = world(9, ["a", "b"])
    simulation.command("a", send("b", 1))
    expect(simulation.runUntil(() => log("b").length > 0, 5_000)).toBe(true)
    expect(simulation.now < 300).toBe(true)
    expect(simulation.runUntil(() => false, 1_000)).toBe(false)
  })

  /** Random commands and faults; gives all logs. */
  const turmoil = (seed: number): ReadonlyMap<string, Log> => {
    const names = ["a", "b", "c", "d"]
    const { logs, simulation } = world(seed, names)
    const random = fromSeed(seed + 1)
    let message = 0
    for (let n = 0; n < 300; n++) {
      const name = random.pick(names)
      const peer = random.pick(names.filter((other) => other !== name))
      switch (random.int(12)) {
        case 0:
          simulation.command(name, { _tag: "Close", peer })
          break
        case 1:
          simulation.freeze(name, random.int(1_500))
          break
        case 2:
          simulation.partition((other) => (other === name ? 1 : 0))
          break
        case 3:
          simulation.heal()
          break
        default:
          simulation.command(name, send(peer, message++))
      }
      if (random.int(2) === 0) simulation.runFor(random.int(120))
    }
    simulation.heal()
    simulation.runFor(20_000)
    return logs
  }

  test("loses nothing between a link's up and its down, and never without saying so", () => {
    const random = seeded(21)
    forRounds(random, 60, () => {
      const logs = turmoil(random.int(2 ** 31))
      for (const [name, log] of logs) {
        for (const [peer, theirs] of logs) {
          const sent = theirs.flatMap((event) =>
            event._tag === "Command" && event.command._tag === "Send" && event.command.to === name
              ? [event.command.message]
              : []
          )
          const got = log.flatMap((event) => (event._tag === "Message" && event.from === peer ? [event.message] : []))
          // In order, and none twice.
          expect(got).toEqual(sent.filter((message) => got.includes(message)))
          // What is missing is missing at a break: the sender has heard of one, or has closed the link itself.
          const breaks = theirs.filter(
            (event) =>
              (event._tag === "LinkDown" && event.peer === name) ||
              (event._tag === "Command" && event.command._tag === "Close" && event.command.peer === name)
          ).length
          const closedHere = log.filter(
            (event) => event._tag === "Command" && event.command._tag === "Close" && event.command.peer === peer
          ).length
          if (got.length < sent.length) expect(breaks + closedHere > 0).toBe(true)
        }
      }
    })
  })

  test("one seed gives one run", () => {
    const text = (seed: number) => JSON.stringify([...turmoil(seed)])
    expect(text(5)).toBe(text(5))
    expect(text(5) === text(6)).toBe(false)
  })
})
