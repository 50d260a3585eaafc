/** Verifies: failures in a row open a circuit, one probe may close it, and nothing else does. */
import { describe, expect, test } from "bun:test"
import * as Breaker from "@parley/core/Breaker"
import * as Capability from "@parley/core/Capability"
import * as Identity from "@parley/core/Identity"
import * as Guardrails from "@parley/core/Guardrails"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { makeEndless, makeMesh, meet, reasonOf, run, until } from "./mesh.ts"
import { announce } from "./records.ts"
import { forRounds, seeded } from "../src/testing/Seeded.ts"

const policy: Breaker.Policy = { failures: 3, openMs: 100, unreachableMs: 30 }
const Work = Capability.untyped("work.do@1.0.0")

/** The same in other words: a count, and the time before which nothing goes; `probing` while one does. */
class Model {
  failures = 0
  openUntil: number | undefined
  probing = false

  admits = (now: number): boolean => this.openUntil === undefined || now >= this.openUntil
  apply(event: Breaker.Event, now: number): void {
    const isOpen = this.openUntil !== undefined
    if (event === "probe" && isOpen) {
      this.probing = true
      this.openUntil = now + policy.openMs
    } else if (event === "success" && (!isOpen || this.probing)) {
      this.failures = 0
      this.probing = false
      this.openUntil = undefined
    } else if ((event === "failure" || event === "unreachable") && (!isOpen || this.probing)) {
      this.failures += 1
      const openMs = event === "failure" ? policy.openMs : policy.unreachableMs!
      if (this.probing || this.failures >= policy.failures) this.openUntil = now + openMs
      this.probing = false
    } else if (event === "abandoned" && this.probing) {
      this.probing = false
      this.openUntil = now
    }
  }
}

describe("Breaker.step", () => {
  test("agrees with a model over random events", () => {
    const random = seeded(0xb4ea)
    forRounds(random, 2_000, () => {
      const model = new Model()
      let circuit: Breaker.Circuit = { _tag: "Closed", failures: 0 }
      let now = 0
      const is: Array<unknown> = []
      const meant: Array<unknown> = []
      for (let i = 0; i < 60; i++) {
        now += random.int(60)
        is.push(Breaker.admits(circuit, now).ok)
        meant.push(model.admits(now))
        const admitted = model.admits(now) && model.openUntil !== undefined
        const event =
          admitted && random.int(2) === 0
            ? "probe"
            : random.pick(["success", "failure", "unreachable", "abandoned"] as const)
        circuit = Breaker.step(circuit, event, now, policy)
        model.apply(event, now)
        is.push(circuit._tag)
        meant.push(model.probing ? "HalfOpen" : model.openUntil === undefined ? "Closed" : "Open")
      }
      expect(is).toEqual(meant)
    })
  })

  test("a late answer to a task sent before the circuit opened does not close it", () => {
    const open: Breaker.Circuit = { _tag: "Open", until: 100 }
    expect(Breaker.step(open, "success", 50, policy)).toEqual(open)
    expect(Breaker.step(open, "failure", 50, policy)).toEqual(open)
  })
})

describe("Breaker", () => {
  const node = Identity.generate().nodeId
  const other = Identity.generate().nodeId

  test("opens after three failures in a row, lets one probe through, and closes on its success", () => {
    let now = 0
    const breaker = new Breaker.Breaker({ ...policy, entries: 10 }, () => now)
    breaker.note(node, "a", "failure")
    breaker.note(node, "a", "failure")
    breaker.note(node, "a", "success")
    for (let i = 0; i < 3; i++) {
      expect(breaker.admit(node, "a").ok).toBe(true)
      breaker.note(node, "a", "failure")
    }
    expect(breaker.admit(node, "a")).toEqual({ ok: false, probe: false, retryAfterMs: 100 })
    expect(breaker.admit(node, "b").ok).toBe(true)
    expect(breaker.admit(other, "a").ok).toBe(true)
    now = 100
    expect(breaker.admit(node, "a")).toEqual({ ok: true, probe: true, retryAfterMs: 0 })
    expect(breaker.admit(node, "a").ok).toBe(false)
    breaker.note(node, "a", "failure")
    now = 199
    expect(breaker.admit(node, "a").ok).toBe(false)
    now = 200
    expect(breaker.admit(node, "a").probe).toBe(true)
    breaker.note(node, "a", "success")
    expect(breaker.isOpen(node, "a")).toBe(false)
    expect(breaker.open()).toEqual([])
  })

  test("a probe that is abandoned, or never ends, leaves its place to the next one", () => {
    let now = 0
    const breaker = new Breaker.Breaker({ ...policy, entries: 10 }, () => now)
    for (let i = 0; i < 3; i++) breaker.note(node, "a", "failure")
    now = 100
    expect(breaker.admit(node, "a").probe).toBe(true)
    breaker.note(node, "a", "abandoned")
    expect(breaker.admit(node, "a").probe).toBe(true)
    now = 200
    expect(breaker.admit(node, "a").probe).toBe(true)
  })

  test("remembers only so many circuits, the one longest untouched going first", () => {
    const breaker = new Breaker.Breaker({ ...policy, failures: 1, entries: 3 }, () => 0)
    for (const name of ["a", "b", "c"]) breaker.note(node, name, "failure")
    breaker.note(node, "a", "failure")
    breaker.note(node, "d", "failure")
    expect(breaker.open().map(({ capability }) => capability)).toEqual(["c", "a", "d"])
  })
})

describe("a node's circuits", () => {
  test("three failures open it: CircuitOpen is typed, a new record does not heal it, a probe does", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const node = (name: string, openMs: number) =>
          mesh.node(name, { guardrails: { circuit: { failures: 3, openMs, entries: 10 } } })
        // One whose circuit stays open for as long as a test may take, and one whose circuit is soon tried again.
        const [bob, cal] = [yield* node("bob", 600_000), yield* node("cal", 100)]
        let broken = true
        let runs = 0
        yield* ada.serve(Work, () => {
          runs += 1
          return broken ? Effect.fail("broken") : Effect.succeed("well")
        })
        for (const caller of [bob, cal]) {
          for (let i = 0; i < 3; i++) {
            expect(yield* reasonOf(caller.call(Work, i))).toMatchObject({ _tag: "HandlerFailed", detail: "broken" })
          }
        }
        broken = false
        const open = yield* reasonOf(bob.call(Work, 4, { to: ada.nodeId }))
        expect(open).toMatchObject({ _tag: "CircuitOpen", peer: ada.nodeId })
        expect((yield* bob.status).openCircuits).toMatchObject([{ node: ada.nodeId, capability: "work.do" }])
        yield* ada.serve(Capability.untyped("work.new"), () => Effect.succeed(1))
        expect(yield* bob.call("work.new", 1)).toBe(1)
        expect(yield* reasonOf(bob.call(Work, 5, { to: ada.nodeId }))).toMatchObject({ _tag: "CircuitOpen" })
        expect(runs).toBe(6)
        const again = cal.call(Work, 6, { to: ada.nodeId })
        const answer = yield* Effect.catch(again, ({ reason }) =>
          reason._tag === "CircuitOpen" ? Effect.delay(again, reason.retryAfterMs + 1) : Effect.die(reason)
        )
        expect(answer).toBe("well")
        expect((yield* cal.status).openCircuits).toEqual([])
        expect((yield* bob.status).openCircuits.length).toBe(1)
      })
    ))

  test("an open circuit to a peer that has gone is not even dialled", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const { circuit } = Guardrails.defaults
        // Where a peer could not be reached it may be back in a moment; here, in a moment that no test takes.
        expect(circuit.unreachableMs).toBeLessThanOrEqual(500)
        const patient = { ...circuit, openMs: 1_200_000, unreachableMs: 600_000 }
        const bob = yield* mesh.node("bob", { guardrails: { searchMs: 20, circuit: patient } })
        const gone = yield* Effect.scoped(
          Effect.flatMap(mesh.stranger(), (stranger) =>
            Effect.as(announce(stranger, bob, [Work]), stranger.identity.nodeId)
          )
        )
        const here = Effect.map(bob.peers, (peers) => peers.every(({ node }) => node !== gone))
        yield* until("the peer has gone", here)
        for (let i = 0; i < 3; i++) {
          expect(yield* reasonOf(bob.call(Work, i, { to: gone }))).toMatchObject({ _tag: "Unreachable" })
        }
        const reason = yield* reasonOf(bob.call(Work, 3, { to: gone }))
        expect(reason).toMatchObject({ _tag: "CircuitOpen", peer: gone })
        if (reason._tag !== "CircuitOpen") throw new Error(reason._tag)
        expect(reason.retryAfterMs).toBeLessThanOrEqual(600_000)
      })
    ))

  test("a probe whose caller goes away does not keep the circuit from the next one", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada", { alone: true })
        // Open for a moment alone where it could not be reached; a probe keeps its place for as long as a test may take.
        const circuit = { failures: 1, openMs: 600_000, unreachableMs: 1, entries: 10 }
        const bob = yield* mesh.node("bob", { alone: true, guardrails: { searchMs: 20, circuit } })
        const endless = makeEndless()
        yield* ada.serve(Work, (input) => (input === "hang" ? endless.run : Effect.succeed("well")))
        expect(yield* reasonOf(bob.call(Work, "x", { to: ada.nodeId }))).toMatchObject({ _tag: "Unreachable" })
        expect((yield* bob.status).openCircuits.length).toBe(1)
        yield* meet(bob, ada)
        yield* Effect.sleep(circuit.unreachableMs + 1)
        const probe = yield* Effect.forkChild(bob.call(Work, "hang", { to: ada.nodeId }))
        yield* endless.began.wait
        expect(yield* reasonOf(bob.call(Work, "x", { to: ada.nodeId }))).toMatchObject({ _tag: "CircuitOpen" })
        yield* Fiber.interrupt(probe)
        expect(yield* bob.call(Work, "x", { to: ada.nodeId })).toBe("well")
      })
    ))
})
