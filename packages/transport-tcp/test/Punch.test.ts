/**
 * Verifies: both ends begin at the same moment, give back what they took, try again after pauses that grow, and follow no more
 * offers than they should, whatever is lost and whatever the other end says. Broken machines are refused.
 */
import { describe, expect, test } from "bun:test"
import type { Action, Event } from "@parley/core/Machine"
import { forRounds, fromSeed, seeded } from "@parley/core/testing/Seeded"
import { Simulation } from "@parley/core/testing/Simulation"
import * as Punch from "@parley/transport-tcp/Punch"

type Machine = typeof Punch.machine
type Happening = Event<Punch.Message, Punch.Timer, Punch.Command>
type Deed = Action<Punch.Message, Punch.Timer, Punch.Told>

/** A pair of nodes, and what their sockets would do. */
interface Setting {
  readonly seed: number
  readonly machine?: Machine
  /** One way over the relay, in ms, and how much more it may take at random. */
  readonly delay: number
  readonly jitter: number
  /** Whether their routers let a direct connection come about. */
  readonly passable: boolean
  readonly runMs: number
  /** Things that break, at random. */
  readonly storm?: boolean
}

interface Outcome {
  readonly dials: { readonly [node: string]: ReadonlyArray<number> }
  readonly observes: { readonly [node: string]: ReadonlyArray<number> }
  readonly connected: boolean
}

/** Runs a pair, holding it to what must always be so. */
const play = (setting: Setting): Outcome => {
  const { delay, jitter, passable, runMs, seed } = setting
  const dials: Record<string, Array<number>> = { a: [], b: [] }
  const observes: Record<string, Array<number>> = { a: [], b: [] }
  const busy = new Set<string>()
  const dialling = new Map<string, number>()
  let connected = false
  const world: Simulation<Punch.State, Punch.Message, Punch.Timer, Punch.Command, Punch.Told> = new Simulation({
    seed,
    machine: setting.machine ?? Punch.machine,
    delay: (random) => delay + (jitter > 0 ? random.int(jitter + 1) : 0),
    dialWays: 1,
    silenceMs: 8_000,
    told: (node, told, now) => {
      const other = node === "a" ? "b" : "a"
      switch (told._tag) {
        case "Observe":
          if (busy.has(node)) throw new Error(`${node} took a second set of sockets`)
          busy.add(node)
          observes[node]!.push(now)
          return world.at(now + 2 * delay + 1, () => world.command(node, { _tag: "Observed", ok: true }))
        case "Dial":
          if (!busy.has(node)) throw new Error(`${node} dials without sockets`)
          if (told.port !== (node === "a" ? 2 : 1)) throw new Error(`${node} dials a port that nobody named`)
          dials[node]!.push(now)
          dialling.set(node, now)
          if (passable && dialling.has(other))
            world.at(now + 2 * delay, () => {
              if (!dialling.has("a") || !dialling.has("b")) return
              connected = true
              for (const end of ["a", "b"]) world.command(end, { _tag: "Connected" })
            })
          return
        case "Rest":
          if (!busy.delete(node)) throw new Error(`${node} gave back what it had not`)
          dialling.delete(node)
      }
    }
  })
  const random = fromSeed(seed)
  world.add(
    "a",
    Punch.make("b", true, () => 1, random.next)
  )
  world.add(
    "b",
    Punch.make("a", false, () => 2, random.next)
  )
  world.command("a", { _tag: "Start" })
  if (setting.storm === true) {
    for (let at = 200; at < runMs / 2; at += 500 + random.int(3_000)) {
      const what = random.int(3)
      world.at(at, () => {
        if (what === 0) world.partition((node) => (node === "a" ? 0 : 1))
        else if (what === 1) world.freeze(random.int(2) === 0 ? "a" : "b", random.int(4_000))
        else world.heal()
      })
    }
    world.at(runMs / 2, () => world.heal())
  }
  world.runFor(runMs)
  // Nothing is taken for longer than an attempt lasts.
  if (connected && busy.size > 0) throw new Error(`${[...busy].join()} holds sockets beside its direct connection`)
  return { dials, observes, connected }
}

const together = (seed: number, machine?: Machine): void => {
  const random = fromSeed(seed)
  const [delay, jitter] = [1 + random.int(300), random.int(60)]
  const { connected, dials } = play({
    seed,
    delay,
    jitter,
    passable: true,
    runMs: 20_000,
    ...(machine === undefined ? {} : { machine })
  })
  const [a, b] = [dials["a"]!.at(-1), dials["b"]!.at(-1)]
  if (!connected || a === undefined || b === undefined) throw new Error("no direct connection came of it")
  if (dials["a"]!.length !== 1) throw new Error("it went on after it was connected")
  if (Math.abs(a - b) > 1.5 * jitter + 1)
    throw new Error(`they began ${Math.abs(a - b)} ms apart, with ${jitter} of jitter`)
}

const patient = (seed: number, machine?: Machine): void => {
  const { observes } = play({
    seed,
    delay: 30,
    jitter: 20,
    passable: false,
    runMs: 2 * 3_600_000,
    ...(machine === undefined ? {} : { machine })
  })
  const at = observes["a"]!
  for (let i = 1; i < at.length; i++) {
    const least = Math.min(Punch.PAUSE_MS.first * 2 ** (i - 1), Punch.PAUSE_MS.longest)
    const pause = at[i]! - at[i - 1]!
    if (pause < least) throw new Error(`attempt ${i} came ${pause} ms after the one before, and not ${least}`)
  }
  // 5 s, 10 s, … 10 min: 7 attempts in the first ten minutes, then at least one in 15 min and at most one in 10.
  if (at.length < 14 || at.length > 20) throw new Error(`${at.length} attempts in two hours`)
  if (observes["b"]!.length !== at.length) throw new Error("the other end did not follow each of them")
}

const stubborn = (seed: number, machine?: Machine): void => {
  const { connected } = play({
    seed,
    delay: 40,
    jitter: 40,
    passable: true,
    runMs: 1_800_000,
    storm: true,
    ...(machine === undefined ? {} : { machine })
  })
  if (!connected) throw new Error("it never came to be, though everything healed")
}

const messages: ReadonlyArray<Punch.Message> = [
  { _tag: "Offer", port: 2 },
  { _tag: "Answer", port: 2 },
  { _tag: "Ping" },
  { _tag: "Pong" },
  { _tag: "Go" }
]

/** An end whose peer says anything at any time. */
const besieged = (seed: number, machine: Machine = Punch.machine): void => {
  const random = fromSeed(seed)
  const leads = random.int(2) === 0
  let state = Punch.make("peer", leads, () => 1, random.next)
  let now = 1_000
  let [observes, dials, busy] = [0, 0, false]
  let isObserved = false
  const timers: Array<{ at: number; timer: Punch.Timer }> = []
  const happen = (event: Happening): void => {
    const [next, actions] = machine.step(state, event)
    state = next
    for (const action of actions) {
      if (action._tag === "After") timers.push({ at: now + action.ms, timer: action.timer })
      if (action._tag !== "Tell") continue
      if (action.told._tag === "Observe") {
        if (busy) throw new Error("it took a second set of sockets")
        ;[busy, isObserved] = [true, false]
        observes++
      } else if (action.told._tag === "Rest") {
        if (!busy) throw new Error("it gave back what it had not")
        busy = false
      } else {
        if (!busy || !isObserved) throw new Error("it dials before it knows where it is seen")
        dials++
      }
    }
  }
  const started = now
  if (leads) happen({ _tag: "Command", now, command: { _tag: "Start" } })
  for (let i = 0; i < 3_000; i++) {
    now += random.int(400)
    timers.sort((x, y) => x.at - y.at)
    while (timers.length > 0 && timers[0]!.at <= now) happen({ _tag: "Timer", now, timer: timers.shift()!.timer })
    const what = random.int(10)
    if (what === 0) happen({ _tag: "LinkDown", now, peer: "peer" })
    else if (what < 3 && busy && !isObserved) {
      isObserved = true
      happen({ _tag: "Command", now, command: { _tag: "Observed", ok: random.int(5) > 0 } })
    } else happen({ _tag: "Message", now, from: "peer", message: messages[random.int(messages.length)]! })
  }
  const most = leads
    ? 2 + Math.log2((now - started) / Punch.PAUSE_MS.first + 1)
    : Punch.OFFERS.atOnce + (now - started) / Punch.OFFERS.everyMs
  if (observes > most + 1) throw new Error(`it was made to open sockets ${observes} times in ${now - started} ms`)
  if (dials > observes) throw new Error("it dialled more often than it was ready")
}

/** A leader whose peer takes the offer and never says a word. */
const ignored = (seed: number, machine: Machine = Punch.machine): void => {
  const random = fromSeed(seed)
  let state = Punch.make("peer", true, () => 1, random.next)
  let observes = 0
  const due: Array<Happening> = [{ _tag: "Command", now: 0, command: { _tag: "Start" } }]
  while (due.length > 0) {
    const event = due.toSorted((x, y) => x.now - y.now)[0]!
    due.splice(due.indexOf(event), 1)
    if (event.now > Punch.AGREE_MS + 1.5 * Punch.PAUSE_MS.first) break
    const [next, actions] = machine.step(state, event)
    state = next
    for (const action of actions) {
      if (action._tag === "After") due.push({ _tag: "Timer", now: event.now + action.ms, timer: action.timer })
      if (action._tag !== "Tell" || action.told._tag !== "Observe") continue
      observes++
      due.push({ _tag: "Command", now: event.now + 1, command: { _tag: "Observed", ok: true } })
    }
  }
  if (observes !== 2) throw new Error(`${observes} attempts where the first one had no answer`)
}

/** The machine with its actions or its state tampered with. */
const broken = (
  actions: (event: Happening, actions: ReadonlyArray<Deed>) => ReadonlyArray<Deed>,
  before: (state: Punch.State) => void = () => {}
): Machine => ({
  step: (state, event) => {
    before(state)
    const [next, done] = Punch.machine.step(state, event)
    return [next, actions(event, done)]
  }
})
const waiting = (what: Punch.Timer["what"], ms: (ms: number) => number): Machine =>
  broken((_event, actions) =>
    actions.map((action) =>
      action._tag === "After" && action.timer.what === what ? { ...action, ms: ms(action.ms) } : action
    )
  )

const many = (fallback: number, rounds: number, law: (seed: number) => void): void => {
  const random = seeded(fallback)
  forRounds(random, rounds, () => law(random.int(2 ** 31)))
}

describe("punching", () => {
  test("begins at both ends at once, over relays of any speed", () => many(81, 300, together))
  test("goes on with growing pauses where no direct path is to be had", () => many(82, 8, patient))
  test("comes to its end once what broke has healed", () => many(83, 60, stubborn))
  test("does no more than it should, whatever the other end says", () => many(84, 60, besieged))
  test("gives an attempt up that has no answer, and tries again", () => many(86, 20, ignored))

  const bugs: ReadonlyArray<readonly [string, (seed: number, machine?: Machine) => void, Machine]> = [
    ["that does not wait for half a round trip", together, waiting("Begin", () => 0)],
    ["that waits for a whole round trip", together, waiting("Begin", (ms) => 2 * ms)],
    ["whose pauses do not grow", patient, waiting("Retry", () => Punch.PAUSE_MS.first)],
    ["that does not try again", patient, waiting("Retry", () => 1e12)],
    ["that waits for an answer for ever", ignored, waiting("Late", () => 1e12)],
    [
      "that follows every offer",
      besieged,
      broken(
        (_event, actions) => actions,
        (state) => void (state.offers = Punch.OFFERS.atOnce)
      )
    ],
    [
      "that keeps its sockets when the stream breaks",
      stubborn,
      broken((event, actions) => (event._tag === "LinkDown" ? actions.filter(({ _tag }) => _tag !== "Tell") : actions))
    ],
    [
      "that begins before it knows where it is seen",
      besieged,
      broken(
        (_event, actions) => actions,
        (state) => {
          if (state.phase === "Agreeing") state.observed = true
        }
      )
    ]
  ]
  for (const [name, law, machine] of bugs)
    test(`is refused of a machine ${name}`, () => {
      const random = fromSeed(85)
      expect(() => {
        for (let round = 0; round < 60; round++) law(random.int(2 ** 31), machine)
      }).toThrow()
    })
})
