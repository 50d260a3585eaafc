/** Verifies: a request is accepted, rejected or countered, and the caller does with each what it should. */
import { describe, expect, test } from "bun:test"
import * as Capability from "@parley/core/Capability"
import type { Decision, TaskEvent } from "@parley/core/Node"
import { TaskRefused } from "@parley/core/NodeError"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { makeEndless, makeMesh, makeSignal, type Member, reasonOf, run } from "./mesh.ts"
import { announce } from "./records.ts"

const Work = Capability.untyped("work.do@1.0.0")

/** Serves with a tag in the answer; `decide` says what to do with the n-th offer. */
const serve = (node: Member, decide: (offer: number) => Decision) => {
  let offers = 0
  return Effect.as(
    node.serve(Work, () => Effect.succeed(node.name), { negotiate: () => decide(offers++) }),
    () => offers
  )
}
const accept: Decision = { _tag: "Accept" }
const listener = () => {
  const events: Array<TaskEvent> = []
  return { events, onEvent: (event: TaskEvent) => void events.push(event) }
}
const tags = (events: ReadonlyArray<TaskEvent>) => events.map((event) => event._tag)

describe("negotiation", () => {
  test("an executor that will take its time says so at once, with an estimate", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Capability.untyped("work.slow", { latencyMs: 400 }), () => Effect.succeed("done"))
        const { events, onEvent } = listener()
        yield* bob.call("work.slow", 1, { onEvent })
        expect(events.find(({ _tag }) => _tag === "Accepted")).toEqual({
          _tag: "Accepted",
          peer: ada.nodeId,
          estimateMs: 400,
          waiting: 0
        })
      })
    ))

  test("who is rejected by one goes on to the next, and nobody is punished", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        const offers = yield* serve(ada, () => ({ _tag: "Reject", code: "NotToday", detail: "it is Sunday" }))
        yield* serve(bob, () => accept)
        const { events, onEvent } = listener()
        const answer = yield* cal.request("work.do", 1, { onEvent, where: { preferPeers: [ada.nodeId] } })
        expect(answer.output).toBe("bob")
        expect(offers()).toBe(1)
        expect(answer.attempts).toEqual([
          { _tag: "Rejected", peer: ada.nodeId, code: "NotToday", detail: "it is Sunday" }
        ])
        const { trust } = yield* cal.status
        expect(trust.map(({ node }) => node)).toEqual([bob.nodeId])
        expect(tags(events)).toContain("Failed")
      })
    ))

  test("a handler that finds out late refuses like one that knew, and the next agent is asked", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        let runs = 0
        const late = (terms: TaskRefused["terms"]) =>
          Effect.andThen(
            Effect.sleep("5 millis"),
            Effect.suspend(() => {
              runs += 1
              return Effect.fail(new TaskRefused({ terms }))
            })
          )
        yield* ada.serve(Work, () => late({ _tag: "Reject", code: "Behind", detail: "nobody behind it" }))
        yield* serve(bob, () => accept)
        const where = { preferPeers: [ada.nodeId] }
        const answer = yield* cal.request("work.do", 1, { where })
        expect(answer.output).toBe("bob")
        expect(answer.attempts).toEqual([
          { _tag: "Rejected", peer: ada.nodeId, code: "Behind", detail: "nobody behind it" }
        ])
        expect((yield* cal.status).trust.map(({ node }) => node)).toEqual([bob.nodeId])

        yield* ada.serve(Capability.untyped("work.far@1.0.0"), () =>
          late({ _tag: "Counter", deadlineMs: 90_000, detail: "full" })
        )
        const countered = yield* reasonOf(cal.call("work.far", 1, { deadline: "1 second", idempotencyKey: "k" }))
        expect(countered).toEqual({ _tag: "Countered", peer: ada.nodeId, deadlineMs: 90_000, detail: "full" })
        // A refusal is no answer: the same task may be asked for again.
        yield* Effect.flip(cal.call("work.far", 1, { deadline: "1 second", idempotencyKey: "k" }))
        expect(runs).toBe(3)
      })
    ))

  test("the reject of the only agent is the caller's error", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* serve(ada, () => ({ _tag: "Reject", code: "NotToday", detail: "\u001b[31mred\u0000" }))
        const reason = yield* reasonOf(bob.call("work.do", 1))
        // Control characters of a peer's text do not reach a terminal.
        expect(reason).toEqual({ _tag: "Rejected", peer: ada.nodeId, code: "NotToday", detail: "\ufffd[31mred\ufffd" })
      })
    ))

  test("a counter within 1.5 times the deadline is waited for and tried again", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const offers = yield* serve(ada, (offer) =>
          offer < 2 ? { _tag: "Counter", deadlineMs: 1_400, retryAfterMs: 10, detail: "soon" } : accept
        )
        const { events, onEvent } = listener()
        expect(yield* bob.call("work.do", 1, { deadline: 1_000, onEvent })).toBe("ada")
        expect(offers()).toBe(3)
        expect(events.filter((event) => event._tag === "Countered").map((event) => event.takenUp)).toEqual([true, true])
      })
    ))

  test("a counter beyond 1.5 times the deadline is left for the next match", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const cal = yield* mesh.node("cal")
        const offers = yield* serve(ada, () => ({ _tag: "Counter", deadlineMs: 1_501, detail: "later" }))
        yield* serve(bob, () => accept)
        const { events, onEvent } = listener()
        const where = { preferPeers: [ada.nodeId] }
        expect(yield* cal.call("work.do", 1, { deadline: 1_000, onEvent, where })).toBe("bob")
        expect(offers()).toBe(1)
        expect(events.find((event) => event._tag === "Countered")).toMatchObject({ peer: ada.nodeId, takenUp: false })
      })
    ))

  test("an agent that counters without end is given up", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const offers = yield* serve(ada, () => ({ _tag: "Counter", retryAfterMs: 0, detail: "once more" }))
        expect(yield* reasonOf(bob.call("work.do", 1))).toMatchObject({ _tag: "Countered", peer: ada.nodeId })
        expect(offers()).toBe(6)
      })
    ))

  test("a negotiate hook that throws or gives nonsense rejects, and the executor goes on", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const nonsense = [undefined, {}, { _tag: "Maybe" }] as unknown as ReadonlyArray<Decision>
        yield* serve(ada, (offer) => {
          if (offer === 3) throw new Error("broken hook")
          return offer < 3 ? (nonsense[offer] as Decision) : accept
        })
        for (let offer = 0; offer < 4; offer++) {
          const reason = yield* reasonOf(bob.call("work.do", offer))
          expect(reason).toMatchObject({ _tag: "Rejected", code: "NegotiationFailed" })
        }
        expect(yield* bob.call("work.do", 4)).toBe("ada")
      })
    ))

  test("a price above the budget is refused, with the price; within it the task runs and the handler sees the budget", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const dear = Capability.untyped("work.dear", { cost: { usdPerCall: 0.5 } })
        yield* ada.serve(dear, (_, task) => Effect.succeed(task.maxCostUsd ?? null))
        const reason = yield* reasonOf(bob.call("work.dear", 1, { budget: { costUsd: 0.4 } }))
        expect(reason).toMatchObject({ _tag: "Countered", peer: ada.nodeId, costUsd: 0.5 })
        expect(yield* bob.call("work.dear", 1, { budget: { costUsd: 0.6 } })).toBe(0.6)
        expect(yield* bob.call("work.dear", 1)).toBe(null)
        const negative = yield* reasonOf(bob.call("work.dear", 1, { budget: { costUsd: Number.NaN } }))
        expect(negative).toMatchObject({ _tag: "BadQuery" })
      })
    ))

  test("a cost counter is taken up without a budget, by sending the cost as the budget", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, (_, task) => Effect.succeed(task.maxCostUsd ?? null), {
          negotiate: ({ task }) =>
            (task.maxCostUsd ?? 0) >= 2 ? accept : { _tag: "Counter", costUsd: 2, detail: "two dollars" }
        })
        expect(yield* bob.call("work.do", 1)).toBe(2)
        expect(yield* reasonOf(bob.call("work.do", 1, { budget: { costUsd: 1 } }))).toMatchObject({
          _tag: "Countered",
          costUsd: 2
        })
      })
    ))

  test("a full agent counters, and takes the task when it has a place", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const began = makeSignal()
        const gate = makeSignal()
        yield* ada.serve(
          Work,
          (input) =>
            input === "first" ? Effect.as(Effect.andThen(Effect.sync(began.tell), gate.wait), 1) : Effect.succeed(2),
          { concurrency: 1, queue: 0 }
        )
        const first = yield* Effect.forkChild(bob.call("work.do", "first"), { startImmediately: true })
        yield* began.wait
        const countered: Array<TaskEvent> = []
        const second = yield* bob.call("work.do", "second", {
          onEvent: (event) => {
            if (event._tag !== "Countered") return
            countered.push(event)
            gate.tell()
          }
        })
        expect(second).toBe(2)
        expect(yield* Fiber.join(first)).toBe(1)
        expect(countered[0]).toMatchObject({ terms: { _tag: "Countered", retryAfterMs: 50 }, takenUp: true })
      })
    ))

  test("silence for half the deadline goes to the next match while there is one", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const mute = yield* mesh.stranger()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        yield* ada.serve(Work, () => Effect.succeed("ada"))
        const heard = makeSignal()
        yield* mute.connections.handle(1, () => ({
          onMessage: () => heard.tell(),
          onWritable: () => {},
          onClosed: () => {}
        }))
        yield* announce(mute, bob, [Work])
        const answer = yield* bob.request("work.do", 1, {
          deadline: 2_000,
          where: { preferPeers: [mute.identity.nodeId] }
        })
        expect(heard.happened()).toBe(true)
        expect(answer.output).toBe("ada")
        expect(answer.attempts).toMatchObject([{ _tag: "DeadlineExceeded", peer: mute.identity.nodeId }])
      })
    ))

  test("a handler that never ends is waited for no longer than the deadline", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const ada = yield* mesh.node("ada")
        const bob = yield* mesh.node("bob")
        const endless = makeEndless()
        yield* ada.serve(Work, () => endless.run)
        expect(yield* reasonOf(bob.call("work.do", 1, { deadline: 1_000 }))).toMatchObject({ _tag: "DeadlineExceeded" })
        yield* endless.interrupted.wait
      })
    ))
})
