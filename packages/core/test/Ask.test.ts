/** Verifies: several are asked, votes are counted as they come, and whoever is not needed any more is cancelled. */
import { describe, expect, test } from "bun:test"
import * as CanonicalJson from "@parley/core/CanonicalJson"
import * as Capability from "@parley/core/Capability"
import type { AskEvent } from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import * as Protocol from "@parley/core/Protocol"
import * as Receipt from "@parley/core/Receipt"
import { type Aggregation, type Answer, type Outcome, type Selection, StrategyError } from "@parley/core/Strategy"
import type { StreamHandler } from "@parley/core/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Envelope from "../src/internal/Envelope.ts"
import { idle, makeEndless, makeMesh, type Member, run } from "./mesh.ts"
import { announce } from "./records.ts"

const Work = Capability.untyped("work.do@1.0.0")
const all: Selection = { name: "all", select: (matches) => matches }
const first = (count: number): Selection => ({ name: `top-${count}`, select: (matches) => matches.slice(0, count) })

/** One answer's outcome, for aggregations of these tests. */
const outcomeOf = (
  status: Outcome["status"],
  value: Schema.Json | undefined,
  answers: ReadonlyArray<Answer>
): Outcome => ({
  status,
  ...(value === undefined ? {} : { value }),
  confidence: 1,
  rule: "a test's",
  votes: [],
  dissent: answers.filter((answer) => JSON.stringify(answer.value) !== JSON.stringify(value)).map(({ node }) => node)
})

/** More than half of those invited; decided as soon as that many agree. */
const majority: Aggregation<"answer"> = {
  name: "majority",
  shape: "answer",
  tally: (invited) => {
    const answers = new Map<NodeId, Answer>()
    const won = () => {
      const counts = new Map<string, number>()
      for (const { value } of answers.values()) {
        const key = JSON.stringify(value)
        const count = (counts.get(key) ?? 0) + 1
        counts.set(key, count)
        if (count * 2 > invited.length) return outcomeOf("reached", value, [...answers.values()])
      }
      return undefined
    }
    return {
      answer: (answer) => {
        if (invited.some(({ node }) => node === answer.node) && !answers.has(answer.node))
          answers.set(answer.node, answer)
      },
      failure: () => {},
      decided: won,
      outcome: () => won() ?? outcomeOf("undecided", undefined, [...answers.values()])
    }
  }
}

/** Whoever comes first. */
const firstResponse: Aggregation<"answer"> = {
  name: "first",
  shape: "answer",
  tally: () => {
    let one: Answer | undefined
    const outcome = () =>
      one === undefined ? outcomeOf("insufficient", undefined, []) : outcomeOf("reached", one.value, [one])
    return {
      answer: (answer) => {
        one ??= answer
      },
      failure: () => {},
      decided: () => (one === undefined ? undefined : outcome()),
      outcome
    }
  }
}

/** Nothing is decided before all have spoken. */
const patient: Aggregation<"answer"> = {
  ...majority,
  tally: (invited) => ({ ...majority.tally(invited), decided: () => undefined })
}

const team = Effect.fnUntraced(function* (names: ReadonlyArray<string>) {
  const mesh = makeMesh()
  const asker = yield* mesh.node("asker")
  const members: Array<Member> = []
  for (const name of names) members.push(yield* mesh.node(name))
  return { mesh, asker, members }
})

describe("Node.ask", () => {
  test("a majority is reached over a dissenter, who loses trust while the others gain", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["a", "b", "liar"])
        for (const node of members) yield* node.serve(Work, () => Effect.succeed(node.name === "liar" ? 13 : 12))
        const verdict = yield* asker.ask(Work, { sum: [5, 7] }, { select: all, aggregate: patient, receipt: true })
        const liar = members[2]?.nodeId
        expect(verdict).toMatchObject({ status: "reached", value: 12, selection: "all", aggregation: "majority" })
        expect(verdict.dissent).toEqual([{ _tag: "Different", node: liar as NodeId, value: 13 }])
        expect(verdict.invited.length).toBe(3)
        expect(verdict.answers.every(({ node, receipt }) => receipt?.executor === node)).toBe(true)
        expect(new Set(verdict.answers.map(({ receipt }) => receipt?.task))).toEqual(new Set([verdict.task]))
        const { trust } = yield* asker.status
        const told = trust.map(({ node, value, why }) => [node === liar, value, why])
        expect(told.filter(([lied]) => lied)).toEqual([[true, 0.45, "dissented"]])
        expect(told.filter(([lied]) => !lied)).toEqual([
          [false, 0.55, "agreed"],
          [false, 0.55, "agreed"]
        ])
      })
    ))

  test("the first response comes in the time of the fastest, and the slow one's handler is interrupted", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["slow", "fast"])
        const endless = makeEndless()
        yield* members[0]!.serve(Work, () => Effect.as(Effect.timeoutOption(endless.run, "10 seconds"), "slow"))
        yield* members[1]!.serve(Work, () => Effect.as(endless.began.wait, "fast"))
        const began = performance.now()
        const verdict = yield* asker.ask(Work, 1, { select: all, aggregate: firstResponse })
        expect(verdict.value).toBe("fast")
        expect(performance.now() - began).toBeLessThan(9_000)
        yield* endless.interrupted.wait
        yield* idle(members[0]!)
      })
    ))

  test("once the outcome cannot change, the rest are cancelled on the wire, and nobody blames them", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["a", "b", "slow"])
        const endless = makeEndless()
        for (const node of members.slice(0, 2)) {
          yield* node.serve(Work, () => Effect.as(endless.began.wait, "same"))
        }
        yield* members[2]!.serve(Work, () => endless.run)
        const verdict = yield* asker.ask(Work, 1, { select: all, aggregate: majority })
        expect(verdict).toMatchObject({ status: "reached", value: "same", failures: [] })
        yield* endless.interrupted.wait
        expect((yield* asker.status).trust.map(({ node }) => node)).not.toContain(members[2]!.nodeId)
      })
    ))

  test("when the asker goes, everybody asked is interrupted", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["a", "b"])
        const handlers = members.map(makeEndless)
        for (const [index, node] of members.entries()) yield* node.serve(Work, () => handlers[index]!.run)
        const asking = yield* Effect.forkChild(asker.ask(Work, 1, { select: all, aggregate: patient }))
        for (const { began } of handlers) yield* began.wait
        yield* Fiber.interrupt(asking)
        for (const { interrupted } of handlers) yield* interrupted.wait
      })
    ))

  test("answers and failures are told as they come, all of them, and the verdict last", () =>
    run(
      Effect.gen(function* () {
        const names = Array.from({ length: 24 }, (_, n) => (n % 4 === 3 ? `broken${n}` : `n${n}`))
        const { asker, members } = yield* team(names)
        for (const node of members) {
          yield* node.serve(Work, () =>
            node.name.startsWith("broken") ? Effect.fail("broken") : Effect.succeed(node.name)
          )
        }
        const events: Array<AskEvent> = []
        yield* Stream.runForEach(asker.answers(Work, 1, { select: all, aggregate: patient }), (event) =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => void events.push(event))
          )
        )
        const count = (tag: string) => events.filter(({ _tag }) => _tag === tag).length
        expect([events[0]?._tag, events.at(-1)?._tag]).toEqual(["Invited", "Verdict"])
        expect([count("Answer"), count("Failure")]).toEqual([18, 6])
        const last = events.at(-1)
        if (last?._tag !== "Verdict") throw new Error("no verdict")
        expect(last.verdict.failures.length).toBe(6)
        expect(last.verdict.failures[0]?.reason).toContain("broken")
      })
    ))

  test("a reader of answers who has enough cancels the rest", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["fast", "slow"])
        const endless = makeEndless()
        yield* members[0]!.serve(Work, () => Effect.as(endless.began.wait, 1))
        yield* members[1]!.serve(Work, () => endless.run)
        const answer = (event: AskEvent) => event._tag === "Answer"
        yield* Stream.runDrain(Stream.takeUntil(asker.answers(Work, 1, { select: all, aggregate: patient }), answer))
        yield* endless.interrupted.wait
      })
    ))

  test("a hedge gives the seat of a slow agent to the next match, and the vote to who answers", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["slow", "spare"])
        const endless = makeEndless()
        yield* members[0]!.serve(Work, () => endless.run)
        yield* members[1]!.serve(Work, () => Effect.succeed("spare"))
        const verdict = yield* asker.ask(Work, 1, {
          select: first(1),
          aggregate: majority,
          hedge: 30,
          where: { preferPeers: [members[0]!.nodeId] }
        })
        expect(verdict.value).toBe("spare")
        expect(verdict.invited.map(({ node }) => node)).toEqual([members[1]!.nodeId])
        yield* endless.interrupted.wait
      })
    ))

  test("an agent that fails gives its seat away at once when there is a hedge, and not without one", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["broken", "spare"])
        yield* members[0]!.serve(Work, () => Effect.fail("broken"))
        yield* members[1]!.serve(Work, () => Effect.succeed("spare"))
        const options = { select: first(1), aggregate: majority, where: { preferPeers: [members[0]!.nodeId] } }
        const hedged = yield* asker.ask(Work, 1, { ...options, hedge: "20 seconds" })
        expect(hedged).toMatchObject({ status: "reached", value: "spare" })
        expect(hedged.failures.map(({ node }) => node)).toEqual([members[0]!.nodeId])
        const alone = yield* asker.ask(Work, 1, options)
        expect(alone).toMatchObject({ status: "undecided", value: undefined, answers: [] })
      })
    ))

  test("agents that fail at once do not end the ask before all have been asked", () =>
    run(
      Effect.gen(function* () {
        const mesh = makeMesh()
        const asker = yield* mesh.node("asker", {
          guardrails: { circuit: { failures: 1, openMs: 60_000, entries: 10 } }
        })
        const broken = yield* mesh.node("broken")
        const well = yield* mesh.node("well")
        yield* broken.serve(Work, () => Effect.fail("broken"))
        yield* well.serve(Work, () => Effect.succeed("well"))
        yield* Effect.flip(asker.call(Work, 1, { to: broken.nodeId }))
        // Its circuit is open now, so that asking it fails before the next one is asked.
        const order: Selection = {
          name: "broken-first",
          select: (matches) => [...matches].sort((a) => (a.node === broken.nodeId ? -1 : 1))
        }
        const verdict = yield* asker.ask(Work, 1, { select: order, aggregate: firstResponse })
        expect(verdict.value).toBe("well")
      })
    ))

  test("nobody can answer for another: a forged receipt counts nothing, and each session has one vote", () =>
    run(
      Effect.gen(function* () {
        const { asker, members, mesh } = yield* team(["a", "b"])
        for (const node of members) yield* node.serve(Work, () => Effect.succeed("true"))
        const accomplice = yield* mesh.stranger()
        const forgers = yield* Effect.replicateEffect(mesh.stranger(), 4)
        for (const [kind, forger] of forgers.entries()) {
          yield* forger.connections.handle(Protocol.CALL, (_, stream): StreamHandler => ({
            onMessage: (message) => {
              const request = Envelope.decodeRequest(message)
              if (request === undefined) return stream.reset(3)
              // One has the receipt signed by another node, one gives none, one signs another output, one another work.
              const signer = kind === 0 ? accomplice.identity : forger.identity
              const receipt = Receipt.make(signer, {
                task: request.hex,
                capability: kind === 3 ? "work.less@1.0.0" : Work.id,
                caller: asker.nodeId,
                inputHash: CanonicalJson.hash(JSON.parse(request.body)),
                outputHash: CanonicalJson.hash(kind === 2 ? "true" : "false"),
                startedAt: 1,
                finishedAt: 2
              })
              stream.send(Envelope.encodeResult(kind === 1 ? undefined : JSON.stringify(receipt)), '"false"', true)
            },
            onWritable: () => {},
            onClosed: () => {}
          }))
          yield* announce(forger, asker, [Work])
        }
        const verdict = yield* asker.ask(Work, 1, { select: all, aggregate: patient, receipt: true })
        expect(verdict.answers.map(({ value }) => value)).toEqual(["true", "true"])
        const said = ["another executor", "no receipt", "another outputHash", "its receipt is for work.less@1.0.0"]
        const reasons = verdict.failures.map(({ reason }) => said.findIndex((words) => reason.includes(words)))
        expect([...reasons].sort()).toEqual([0, 1, 2, 3])
        expect(verdict.invited.map(({ node }) => node)).not.toContain(accomplice.identity.nodeId)
        const { trust } = yield* asker.status
        for (const { identity } of forgers) {
          expect(trust.find(({ node }) => node === identity.nodeId)).toMatchObject({ value: 0.45 })
        }
      })
    ))

  test("a selection cannot name an agent twice, nor one that did not match", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["a"])
        yield* members[0]!.serve(Work, () => Effect.succeed(1))
        const greedy: Selection = {
          name: "greedy",
          select: (matches) => [...matches, ...matches, { ...matches[0]!, node: asker.nodeId }]
        }
        const verdict = yield* asker.ask(Work, 1, { select: greedy, aggregate: patient })
        expect(verdict.invited.map(({ node }) => node)).toEqual([members[0]!.nodeId])
      })
    ))

  test("strategies that break are errors of this ask alone", () =>
    run(
      Effect.gen(function* () {
        const { asker, members } = yield* team(["a", "b"])
        for (const node of members) yield* node.serve(Work, () => Effect.succeed(1))
        const broken = (): never => {
          throw new TypeError("broken strategy")
        }
        const selecting = yield* Effect.flip(
          asker.ask(Work, 1, { select: { name: "bad", select: broken }, aggregate: majority })
        )
        expect(selecting).toMatchObject({ _tag: "StrategyError", code: "Failed", strategy: "bad" })
        for (const part of ["answer", "decided"] as const) {
          const aggregate: Aggregation<"answer"> = {
            ...majority,
            tally: (invited) => ({ ...majority.tally(invited), [part]: broken })
          }
          const exit = yield* Effect.exit(asker.ask(Work, 1, { select: all, aggregate }))
          expect(String(exit)).toContain("broken strategy")
        }
        const unprepared: Aggregation<"answer"> = {
          ...patient,
          prepare: (answer) =>
            answer.node === members[0]!.nodeId
              ? Effect.fail(new StrategyError({ code: "Failed", strategy: "judge", detail: "no judge" }))
              : Effect.succeed({ ...answer, node: members[0]!.nodeId, value: "prepared" })
        }
        const verdict = yield* asker.ask(Work, 1, { select: all, aggregate: unprepared })
        expect(verdict.answers.map(({ node, value }) => [node, value])).toEqual([[members[1]!.nodeId, "prepared"]])
        expect(verdict.failures).toMatchObject([{ node: members[0]!.nodeId, reason: 'strategy "judge": no judge' }])
        const unknown = yield* Effect.flip(asker.ask(Work, 1, { select: "nobody-knows", aggregate: majority }))
        expect(unknown).toMatchObject({ _tag: "StrategyError", code: "Unknown" })
        expect((yield* asker.ask(Work, 1, { select: all, aggregate: majority })).value).toBe(1)
      })
    ))
})
