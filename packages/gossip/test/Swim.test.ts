import { describe, expect, test } from "bun:test"
import type { Event } from "@parley/core/Machine"
import { forRounds, fromSeed, seeded } from "@parley/core/testing/Seeded"
import * as Swim from "../src/Swim.ts"
import * as Times from "../src/SwimTimes.ts"
import { timeout } from "../src/internal/Suspicion.ts"

const nobody = new Uint8Array(0)
const forged = new Uint8Array(1)
const random = seeded(20_261_121)
console.log(`failure detection: PARLEY_SEED=${random.seed}`)

type SwimEvent = Event<Swim.Message, Swim.Timer, Swim.Command>

const alive = (subject: string, incarnation: number, left = false): Swim.Alive => ({
  _tag: "Alive",
  subject,
  incarnation,
  left,
  evidence: nobody
})
const accusation = (subject: string, incarnation: number, accuser: string): Swim.Accusation => ({
  _tag: "Accusation",
  subject,
  incarnation,
  accuser,
  evidence: nobody
})

/** One node on a bench: what happens to it, and what it does. */
class Bench {
  readonly state = Swim.make({
    self: "me",
    seed: 7,
    incarnation: 100,
    sign: () => nobody,
    verify: ({ evidence }) => evidence !== forged
  })
  now = 0
  readonly told: Array<Swim.Told> = []
  readonly sent: Array<{ readonly to: string; readonly message: Swim.Message }> = []
  #wakes: Array<number> = []

  constructor(members: number) {
    this.command({ _tag: "SwimStart" })
    const statements = Array.from({ length: members }, (_, i) => alive(`n${i}`, 1))
    this.command({ _tag: "Hear", statements, from: "n0" })
  }

  step(event: SwimEvent): void {
    for (const action of Swim.machine.step(this.state, event)[1]) {
      if (action._tag === "Send") this.sent.push(action)
      else if (action._tag === "Tell") this.told.push(action.told)
      else if (action._tag === "After") this.#wakes.push(this.now + action.ms)
    }
  }
  command(command: Swim.Command): void {
    this.step({ _tag: "Command", now: this.now, command })
  }
  from(from: string, message: Swim.Message): void {
    this.step({ _tag: "Message", now: this.now, from, message })
  }
  news(from: string, ...statements: ReadonlyArray<Swim.Statement>): void {
    this.from(from, { _tag: "News", statements })
  }
  /** Lets time pass, with each wake at its time. */
  pass(ms: number): void {
    const end = this.now + ms
    for (;;) {
      this.#wakes.sort((a, b) => a - b)
      const next = this.#wakes[0]
      if (next === undefined || next > end) break
      this.#wakes.shift()
      this.now = Math.max(this.now, next)
      this.step({ _tag: "Timer", now: this.now, timer: { _tag: "SwimWake", at: next } })
    }
    this.now = end
  }
  to(peer: string): ReadonlyArray<Swim.Message> {
    return this.sent.flatMap(({ message, to }) => (to === peer ? [message] : []))
  }
}

describe("one node", () => {
  test("asks a silent neighbour, then others, and then accuses it", () => {
    const bench = new Bench(5)
    for (const peer of ["n0", "n1", "n2"]) bench.command({ _tag: "Watch", peer, watched: true })
    for (let i = 0; i < 30; i++) {
      bench.pass(100)
      for (const peer of ["n1", "n2"]) bench.news(peer)
    }
    expect(bench.to("n0").some(({ _tag }) => _tag === "Ping")).toBe(true)
    for (const peer of ["n1", "n2"])
      expect(bench.to(peer).some((message) => message._tag === "PingRequest" && message.subject === "n0")).toBe(true)
    const accused = bench.to("n1").flatMap((message) => (message._tag === "News" ? message.statements : []))
    expect(accused).toContainEqual(accusation("n0", 1, "me"))
    expect(bench.state.status("n0")).toBe("suspect")
    expect(bench.state.status("n1")).toBe("alive")
  })

  test("does not accuse whom another reaches", () => {
    const bench = new Bench(5)
    for (const peer of ["n0", "n1"]) bench.command({ _tag: "Watch", peer, watched: true })
    for (let i = 0; i < 200; i++) {
      bench.pass(50)
      bench.news("n1")
      for (const message of bench.to("n1"))
        if (message._tag === "PingRequest")
          bench.from("n1", { _tag: "PingResult", seq: message.seq, subject: message.subject, reached: true })
    }
    expect(bench.state.status("n0")).toBe("alive")
  })

  test("notes no silence of those who never said that they live", () => {
    const bench = new Bench(1)
    for (let i = 0; i < 50; i++) {
      bench.command({ _tag: "Watch", peer: `s${i}`, watched: true })
      bench.pass(5_000)
      bench.command({ _tag: "Watch", peer: `s${i}`, watched: false })
    }
    bench.pass(30_000)
    expect(bench.state.silent).toBeLessThanOrEqual(1)
  })

  test("takes no more of what a member says of itself than it may refute", () => {
    const bench = new Bench(3)
    for (let incarnation = 2; incarnation < 200; incarnation++) bench.news("n1", alive("n2", incarnation))
    const taken = bench.state.incarnation("n2")!
    expect(taken > 2 && taken <= 1 + Times.SUBJECT_BURST).toBe(true)
    bench.pass(2_000)
    bench.news("n1", alive("n2", 1_000))
    expect(bench.state.incarnation("n2")).toBe(1_000)
  })

  test("accuses ever more rarely a member that it cannot reach, and that refutes", () => {
    const bench = new Bench(1)
    let accusations = 0
    for (let at = 0; at < 600_000; at += 1_000) {
      bench.pass(1_000)
      const { length } = bench.told.filter(({ _tag }) => _tag === "MemberSuspect")
      if (length === accusations) continue
      accusations = length
      bench.news("n1", alive("n0", 1 + accusations))
    }
    // After 10 s, 20 s, 40 s, …: some three times that often without.
    expect(accusations > 3 && accusations <= 8).toBe(true)
  })

  test("asks for no more at a time than it may, whoever wants it", () => {
    const bench = new Bench(200)
    const before = bench.sent.length
    for (let i = 0; i < 199; i++) bench.from("n199", { _tag: "PingRequest", seq: i, subject: `n${i}` })
    expect(bench.sent.slice(before).filter(({ message }) => message._tag === "Ping").length).toBe(Times.MAX_HELPING)
  })

  test("forgets who has been gone for long", () => {
    const bench = new Bench(3)
    bench.news("n1", alive("n2", 2, true))
    bench.pass(Times.FORGET_MS - 1_000)
    expect([bench.state.size, bench.state.status("n2")]).toEqual([3, "left"])
    bench.pass(30_000)
    expect(bench.state.status("n2")).toBe(undefined)
    expect(bench.told).toContainEqual({ _tag: "Release", key: "an2" })
  })

  test("refutes with the next incarnation, at most twice a second, and at once to whoever asks", () => {
    const bench = new Bench(5)
    bench.command({ _tag: "Watch", peer: "n1", watched: true })
    bench.pass(100)
    bench.from("n0", { _tag: "Ping", seq: 9, about: [accusation("me", 100, "n0")] })
    expect(bench.to("n0")).toEqual([{ _tag: "Ack", seq: 9, about: [alive("me", 101)] }])
    for (let i = 0; i < 100; i++) {
      bench.news("n3", accusation("me", bench.state.incarnation("me") ?? 0, "n2"))
      bench.pass(10)
    }
    expect(bench.state.incarnation("me")).toBe(103)
    bench.news("n3", accusation("me", 5_000, "n2"))
    expect(bench.state.incarnation("me")).toBe(103)
    const news = bench.to("n1").flatMap((message) => (message._tag === "News" ? message.statements : []))
    expect(news).toContainEqual(alive("me", 103))
  })

  test("takes over from an earlier life whose clock was ahead", () => {
    const bench = new Bench(2)
    bench.news("n0", alive("me", 900))
    expect(bench.state.incarnation("me")).toBe(901)
  })

  test("holds nobody for dead on the word of one before six times the least time", () => {
    const bench = new Bench(9)
    bench.news("n1", accusation("n0", 1, "n1"))
    bench.pass(Times.SUSPICION_MIN_MS * Times.SUSPICION_MAX_FACTOR - 100)
    expect(bench.state.status("n0")).toBe("suspect")
    bench.pass(200)
    expect(bench.state.status("n0")).toBe("dead")
    bench.news("n1", alive("n0", 2))
    expect(bench.state.status("n0")).toBe("alive")
  })

  test("counts confirmations of others, and none twice", () => {
    const bench = new Bench(9)
    for (let i = 0; i < 5; i++) bench.news("n1", accusation("n0", 1, "n1"))
    bench.pass(Times.SUSPICION_MIN_MS + 100)
    expect(bench.state.status("n0")).toBe("suspect")
    bench.news("n1", accusation("n0", 1, "n2"), accusation("n0", 1, "n3"))
    bench.pass(1)
    expect(bench.state.status("n0")).toBe("dead")
  })

  test("counts so many accusations of one accuser, and no more", () => {
    const bench = new Bench(200)
    for (let i = 0; i < 100; i++) bench.news("n150", accusation(`n${i}`, 1, "n150"))
    const suspects = Array.from({ length: 200 }, (_, i) => bench.state.status(`n${i}`)).filter((is) => is === "suspect")
    expect(suspects.length).toBe(Times.ACCUSER_BURST)
  })

  test("believes no forged statement, none about a stranger, of a stranger, or of another incarnation", () => {
    const bench = new Bench(4)
    bench.news("n1", { ...accusation("n0", 1, "n1"), evidence: forged }, { ...alive("n0", 2, true), evidence: forged })
    bench.news("n1", accusation("n0", 1, "nobody"), accusation("n0", 0, "n1"), accusation("n0", 2, "n1"))
    bench.news("n1", accusation("nobody", 1, "n1"))
    expect(bench.state.status("n0")).toBe("alive")
    expect(bench.state.status("nobody")).toBe(undefined)
  })

  test("holds no neighbour for dead that it hears itself, whoever accuses it", () => {
    const bench = new Bench(9)
    bench.command({ _tag: "Watch", peer: "n0", watched: true })
    bench.news("n1", ...[1, 2, 3, 4].map((i) => accusation("n0", 1, `n${i}`)))
    for (let i = 0; i < 200; i++) {
      bench.pass(100)
      bench.from("n0", { _tag: "Ack", seq: 0, about: [] })
      expect(bench.state.status("n0")).toBe("suspect")
    }
  })

  test("that slept gives what waits in its queues time before it judges", () => {
    const bench = new Bench(9)
    bench.command({ _tag: "Watch", peer: "n5", watched: true })
    bench.news("n1", accusation("n0", 1, "n1"))
    bench.now += 60_000
    // Everything that came meanwhile, oldest first.
    bench.news("n1", accusation("n0", 1, "n2"), accusation("n0", 1, "n3"))
    expect(bench.state.status("n0")).toBe("suspect")
    bench.news("n1", alive("n0", 2))
    expect(bench.state.status("n0")).toBe("alive")
    expect(bench.state.health).toBe(Times.MAX_HEALTH)
  })

  test("knows no more members than it may, and says what it does with the rest", () => {
    const bench = new Bench(10)
    bench.command({ _tag: "Hear", statements: [accusation("stranger", 3, "n1")], from: "n1" })
    expect(bench.told.at(-1)).toEqual({ _tag: "Pass", key: "xstranger", version: 3 })
    const statements = Array.from({ length: Times.MAX_MEMBERS + 10 }, (_, i) => alive(`s${i}`, 1))
    bench.command({ _tag: "Hear", statements, from: "n1" })
    expect(bench.state.size).toBe(Times.MAX_MEMBERS)
  })

  test("follows Lifeguard's formula for the time to refute", () => {
    const least = Times.SUSPICION_MIN_MS
    expect([0, 1, 2, 3].map((c) => Math.round(timeout(c, 2)))).toEqual(
      [6, 6 - 5 * (Math.log(2) / Math.log(3)), 1, 1].map((times) => Math.round(times * least))
    )
    expect(timeout(0, 0)).toBe(least)
  })
})

describe("what is believed of members, against a model", () => {
  test("the highest statement of a subject counts, and accusations of that incarnation alone", () => {
    forRounds(random, 300, (round) => {
      const dice = fromSeed(random.seed + round)
      const bench = new Bench(6)
      /** What each member last said: twice its incarnation, and one more where it left. */
      const said = new Map<string, number>(Array.from({ length: 6 }, (_, i) => [`n${i}`, 2] as const))
      const accusers = new Map<string, Set<string>>()
      for (let n = 0; n < 60; n++) {
        const subject = `n${dice.int(6)}`
        const from = `n${dice.int(6)}`
        const known = said.get(subject)!
        const incarnation = Math.max(1, (known >> 1) - 1 + dice.int(3))
        if (dice.int(3) === 0) {
          const left = dice.int(8) === 0
          bench.news(from, alive(subject, incarnation, left))
          if (2 * incarnation + (left ? 1 : 0) > known) {
            said.set(subject, 2 * incarnation + (left ? 1 : 0))
            accusers.delete(subject)
          }
        } else {
          bench.news(from, accusation(subject, incarnation, from))
          if (known === 2 * incarnation) accusers.set(subject, (accusers.get(subject) ?? new Set()).add(from))
        }
        // Slowly enough for the bounds per accuser and per subject.
        bench.pass(5)
        for (const [peer, is] of said) {
          const status = bench.state.status(peer)
          expect(status === "left").toBe(is % 2 === 1)
          expect(bench.state.incarnation(peer)).toBe(is >> 1)
          if (!accusers.has(peer) && is % 2 === 0) expect(status).toBe("alive")
          // The burst of one accuser may be spent, so that some of its accusations do not count.
          if (status === "suspect" || status === "dead") expect(accusers.has(peer)).toBe(true)
        }
      }
    })
  })

  test("no event makes it throw, and its wakes go on", () => {
    forRounds(random, 100, (round) => {
      const dice = fromSeed(random.seed + 1_000 + round)
      const bench = new Bench(8)
      const peer = () => (dice.int(12) === 0 ? "me" : `n${dice.int(12)}`)
      const statement = (): Swim.Statement => {
        const number = dice.pick([0, 1, 2, 100, 101, -1, 2 ** 47, Number.NaN])
        return dice.int(2) === 0 ? alive(peer(), number, dice.int(9) === 0) : accusation(peer(), number, peer())
      }
      for (let n = 0; n < 200; n++) {
        const statements = Array.from({ length: dice.int(4) }, statement)
        const seq = dice.int(20)
        const messages: ReadonlyArray<Swim.Message> = [
          { _tag: "Ping", seq, about: statements },
          { _tag: "Ack", seq, about: statements },
          { _tag: "News", statements },
          { _tag: "PingRequest", seq, subject: peer() },
          { _tag: "PingResult", seq, subject: peer(), reached: dice.int(2) === 0 }
        ]
        switch (dice.int(5)) {
          case 0:
            bench.command({ _tag: "Watch", peer: peer(), watched: dice.int(3) > 0 })
            break
          case 1:
            bench.step({ _tag: "LinkDown", now: bench.now, peer: peer() })
            break
          default:
            bench.from(peer(), dice.pick(messages))
        }
        bench.pass(dice.int(20) === 0 ? 5_000 : dice.int(300))
      }
      const before = bench.sent.length
      bench.command({ _tag: "Watch", peer: "n0", watched: true })
      bench.pass(3_000)
      expect(bench.sent.length > before).toBe(true)
    })
  })
})
