import { describe, expect, test } from "bun:test"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Certificate from "@parley/consensus/Certificate"
import * as Consensus from "@parley/consensus/Consensus"
import * as Capability from "@parley/core/Capability"
import * as Discovery from "@parley/core/Discovery"
import * as DiscoveryMemory from "@parley/core/DiscoveryMemory"
import * as Identity from "@parley/core/Identity"
import * as Matcher from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import { NodeError } from "@parley/core/NodeError"
import * as Receipt from "@parley/core/Receipt"
import * as Strategy from "@parley/core/Strategy"
import * as TransportMemory from "@parley/core/TransportMemory"
import type * as Reporter from "../src/Reporter.ts"
import * as ReportingNode from "../src/ReportingNode.ts"

const Number = Capability.make("number.double", {
  version: "1.0.0",
  description: "Doubles a number",
  input: Schema.Struct({ n: Schema.Finite }),
  output: Schema.Struct({ n: Schema.Finite })
})
const Count = Capability.stream("number.count", {
  version: "1.0.0",
  description: "Counts",
  input: Schema.Struct({ to: Schema.Finite }),
  output: Schema.Struct({ n: Schema.Finite })
})

/** A reporter that keeps what it is told. */
const makeEar = () => {
  const traces: Array<Reporter.Trace> = []
  const reports: Array<Reporter.Report> = []
  const verdicts: Array<Reporter.Published> = []
  const service: Reporter.Reporter["Service"] = {
    trace: (trace) => void traces.push(trace),
    report: (report) => void reports.push(report),
    verdict: (verdict) => void verdicts.push(verdict),
    status: () => ({
      waiting: { traces: 0, reports: 0, verdicts: 0 },
      told: 0,
      dropped: 0,
      refused: 0,
      away: false,
      lastError: undefined
    }),
    flush: Effect.void
  }
  const of = (peer: string): ReadonlyArray<string> =>
    traces.filter((trace) => [trace.from_agent, trace.to_agent].includes(peer)).map((trace) => trace.event_type)
  return { service, traces, reports, verdicts, of }
}

const makeWorld = () => {
  const hub = TransportMemory.makeHub()
  const board = DiscoveryMemory.makeBoard()
  const services = (name: string) =>
    Layer.build(
      Layer.fresh(
        Node.layer({ name }).pipe(
          Layer.provide([
            TransportMemory.layerHub(hub),
            Layer.succeed(Discovery.Discovery, DiscoveryMemory.make(board)),
            Matcher.layer
          ]),
          Layer.provideMerge(Layer.mergeAll(Strategy.layer(Consensus.registered), Identity.layerEphemeral))
        )
      )
    )
  const peer = (name: string, double: (n: number) => Effect.Effect<number, string>) =>
    Effect.gen(function* () {
      const node = Context.get(yield* services(name), Node.Node)
      yield* node.serve(Number, ({ n }) => Effect.map(double(n), (doubled) => ({ n: doubled })))
      yield* node.serve(Count, ({ to }) => Stream.map(Stream.range(1, to), (n) => ({ n })))
      return node.nodeId
    })
  const asker = (ear: ReturnType<typeof makeEar>, options?: ReportingNode.Options) =>
    Effect.map(services("asker"), (context) =>
      ReportingNode.wrap(
        Context.get(context, Node.Node),
        ear.service,
        { identity: Context.get(context, Identity.Identity), strategies: Context.get(context, Strategy.Strategies) },
        options
      )
    )
  return { peer, asker }
}

const run = <A>(effect: Effect.Effect<A, unknown, Scope.Scope>): Promise<A> => Effect.runPromise(Effect.scoped(effect))

describe("a node that tells", () => {
  test("tells of a call: traces in order, and a report with a receipt that holds", () =>
    run(
      Effect.gen(function* () {
        const world = makeWorld()
        const ear = makeEar()
        const ada = yield* world.peer("ada", (n) => Effect.succeed(2 * n))
        const node = yield* world.asker(ear)
        expect(yield* node.call(Number, { n: 4 }, { to: ada, evaluate: () => 0.75 })).toEqual({ n: 8 })
        expect(ear.of(ada)).toEqual(["request_sent", "completed"])
        expect(ear.traces[0]?.payload["capability"]).toBe("number.double@1.0.0")
        expect(JSON.stringify(ear.traces)).not.toContain('"n":')
        const [report, ...more] = ear.reports
        expect(more).toEqual([])
        expect(report).toMatchObject({ agent_id: ada, capability: "number.double", success: true, quality: 0.75 })
        expect(report?.task_id).toBe(ear.traces[0]?.task_id ?? "")
        expect(
          Receipt.verify(report?.receipt, { task: report?.task_id ?? "", executor: ada, caller: node.nodeId })
        ).toBe(true)
      })
    ))

  test("keeps the caller's own events, key and wishes", () =>
    run(
      Effect.gen(function* () {
        const world = makeWorld()
        const ear = makeEar()
        const ada = yield* world.peer("ada", (n) => Effect.succeed(2 * n))
        const node = yield* world.asker(ear)
        const heard: Array<string> = []
        const answered = yield* node.request(
          Number,
          { n: 1 },
          { to: ada, idempotencyKey: "mine", receipt: false, onEvent: ({ _tag }) => heard.push(_tag) }
        )
        expect(answered.receipt).toBe(undefined)
        expect(heard).toEqual(["Sent", "Trust", "Answered"])
        expect(ear.reports.map(({ task_id, receipt }) => [task_id, receipt])).toEqual([[answered.task, undefined]])
        expect(ear.traces.every(({ task_id }) => task_id === answered.task)).toBe(true)
      })
    ))

  test("tells of a failure, and of the agent that did it instead", () =>
    run(
      Effect.gen(function* () {
        const world = makeWorld()
        const ear = makeEar()
        const bad = yield* world.peer("bad", () => Effect.fail("no"))
        const node = yield* world.asker(ear)
        const error = yield* Effect.flip(node.call(Number, { n: 1 }, { to: bad }))
        expect(error).toBeInstanceOf(NodeError)
        expect(ear.of(bad)).toEqual(["request_sent", "failed"])
        expect(ear.reports).toMatchObject([{ agent_id: bad, success: false, quality: 0 }])
        expect(ear.reports[0]?.receipt).toBe(undefined)
      })
    ))

  test("tells who agreed and who did not, and publishes the verdict where that is wished", () =>
    run(
      Effect.gen(function* () {
        const world = makeWorld()
        const ear = makeEar()
        // The honest wait until the liar has been heard, so that its lie counts.
        const heard = yield* Deferred.make<void>()
        const honest = (n: number) => Effect.as(Deferred.await(heard), 2 * n)
        const [ada, bob] = [yield* world.peer("ada", honest), yield* world.peer("bob", honest)]
        const liar = yield* world.peer("liar", (n) => Effect.succeed(3 * n))
        const node = yield* world.asker(ear, { verdicts: true })
        const verdict = yield* node.ask(
          Number,
          { n: 7 },
          {
            select: "all",
            aggregate: "majority-vote",
            onEvent: (event) => {
              if (event._tag === "Answered" && event.peer === liar) Deferred.doneUnsafe(heard, Effect.void)
            }
          }
        )
        expect(verdict.value).toEqual({ n: 14 })
        const told = new Map(ear.reports.map((report) => [report.agent_id, report]))
        expect(told.get(liar)).toMatchObject({ success: false, quality: 0 })
        expect(told.get(liar)?.receipt?.executor).toBe(liar)
        for (const agreeing of [ada, bob]) {
          expect(told.get(agreeing)).toMatchObject({ success: true, quality: 1, task_id: verdict.task })
          expect(told.get(agreeing)?.receipt?.executor).toBe(agreeing)
        }
        expect(told.size).toBe(3)
        for (const peer of [ada, bob]) expect(ear.of(peer).at(-1)).toBe("completed")
        const [published] = ear.verdicts
        const report = yield* Certificate.verify(JSON.stringify(published?.certificate), Consensus.strategies)
        expect(report).toMatchObject({ asker: node.nodeId, task: verdict.task, value: { n: 14 } })
        expect(published?.question).toEqual({ n: 7 })
      })
    ))

  test("publishes no verdict unless told to", () =>
    run(
      Effect.gen(function* () {
        const world = makeWorld()
        const ear = makeEar()
        yield* world.peer("ada", (n) => Effect.succeed(2 * n))
        const node = yield* world.asker(ear)
        const events = yield* Stream.runCollect(node.answers(Number, { n: 1 }, { select: "all" }))
        expect(events.at(-1)?._tag).toBe("Verdict")
        expect(ear.reports.length).toBe(1)
        expect(ear.verdicts).toEqual([])
      })
    ))

  test("tells of a stream when it has ended", () =>
    run(
      Effect.gen(function* () {
        const world = makeWorld()
        const ear = makeEar()
        const ada = yield* world.peer("ada", (n) => Effect.succeed(n))
        const node = yield* world.asker(ear)
        const chunks = yield* Stream.runCollect(node.stream(Count, { to: 3 }, { to: ada }))
        expect(chunks.map(({ n }) => n)).toEqual([1, 2, 3])
        expect(ear.of(ada)).toEqual(["request_sent", "completed"])
        expect(ear.reports).toMatchObject([{ agent_id: ada, capability: "number.count", success: true, quality: 1 }])
      })
    ))
})
