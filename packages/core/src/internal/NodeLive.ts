/**
 * The node at work: joins executor, caller, directory, topics and asking over the services of its deployment.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Duration from "effect/Duration"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Breaker } from "../Breaker.ts"
import { Broadcast } from "../Broadcast.ts"
import type { Capability } from "../Capability.ts"
import { Connections } from "../Connections.ts"
import { Discovery, type Host } from "../Discovery.ts"
import { Guardrails } from "../Guardrails.ts"
import { Identity } from "../Identity.ts"
import { Matcher } from "../Matcher.ts"
import { Network } from "../Network.ts"
import type { AskEvent, AskOptions, CallOptions, Node, Options, Peer, ServeOptions } from "../Node.ts"
import { NodeError, type NodeErrorReason } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import * as Protocol from "../Protocol.ts"
import * as Query from "../Query.ts"
import { type Shape, Strategies, type StrategyError, type Verdict } from "../Strategy.ts"
import { type Connection, type Owner, ResetCode, TransportError } from "../Transport.ts"
import * as TransportMemory from "../TransportMemory.ts"
import * as TrustModule from "../Trust.ts"
import { Asking } from "./Asking.ts"
import { answered } from "./Answer.ts"
import { Cancelling } from "./Attempt.ts"
import { Caller, type Ending, type Placed } from "./Caller.ts"
import { CurrentTask } from "./CurrentTask.ts"
import { Deadlines } from "./Deadlines.ts"
import * as Directory from "./Directory.ts"
import type { Trace } from "./Envelope.ts"
import { Executor } from "./Executor.ts"
import * as JsonCodec from "./JsonCodec.ts"
import { type Job, makeJob, type Wanted } from "./Job.ts"
import { Outgoing } from "./Outgoing.ts"
import { Peers } from "./Peers.ts"
import { Recovery } from "./Recovery.ts"
import { type Run, Served } from "./Served.ts"
import * as Topics from "./Topics.ts"

/** How often counters are handed to Effect's metrics, in ms; the hot paths only add. */
const METRICS_EVERY_MS = 1_000

const metrics = {
  answered: Metric.counter("parley_tasks_answered", { description: "Tasks of this node that somebody answered" }),
  failed: Metric.counter("parley_tasks_failed", { description: "Tasks of this node that nobody answered" }),
  failedOver: Metric.counter("parley_tasks_failed_over", {
    description: "Tasks answered by another than the first agent"
  }),
  executed: Metric.counter("parley_tasks_executed", { description: "Tasks that this node ran for others" }),
  connections: Metric.gauge("parley_connections", { description: "Live connections to peers" })
} as const

const now = (): number => Date.now()

const fail = (reason: NodeErrorReason) => Effect.fail(new NodeError({ reason }))

/** A connection of a node to itself: its own capabilities are called like anybody else's. */
const loopback = (nodeId: NodeId, executor: Executor): Connection => {
  const refuse = new TransportError({ reason: { _tag: "NoAddress", node: nodeId } })
  const owner: Owner = {
    nodeId,
    onConnection: () => {},
    onStream: (connection, protocol, stream) =>
      protocol === Protocol.CALL ? executor.accept(connection, stream) : undefined,
    onClosed: () => {},
    onRefused: () => {},
    onAddresses: () => {},
    connect: () => Effect.fail(refuse),
    handle: () => Effect.fail(refuse)
  }
  return TransportMemory.pair(owner, owner)[0]
}

const noOptions: CallOptions<never> = {}
const outputOf = (_job: Job, placed: Placed): unknown => placed.output

/** Starts a node over the services in context; it lives as long as the scope. */
export const make = Effect.fnUntraced(function* (
  options: Options
): Effect.fn.Return<
  Node["Service"],
  TransportError,
  Connections | Discovery | Matcher | Strategies | Identity | Scope.Scope
> {
  const identity = yield* Identity
  const connections = yield* Connections
  const discovery = yield* Discovery
  const matcher = yield* Matcher
  const strategies = yield* Strategies
  const settings = yield* Guardrails
  const trust = Option.getOrElse(yield* Effect.serviceOption(TrustModule.Trust), () => TrustModule.make())
  const context = yield* Effect.context<never>()
  const fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E> = Effect.runForkWith(context)

  const startedAt = now()
  const name = options.name ?? identity.nodeId.slice(-8)
  const deadlines = new Deadlines()
  const breaker = new Breaker(settings.circuit, now)
  const peers = new Peers(breaker, settings)
  const counts = { answered: 0, failed: 0, failedOver: 0 }
  const network = Option.getOrUndefined(yield* Effect.serviceOption(Network))
  const executor = new Executor({
    identity,
    settings,
    deadlines,
    fork,
    now,
    ...(network === undefined ? {} : { actsFor: (peer: NodeId) => network.memberOf(peer) })
  })
  const matchContext = () => ({ now: now(), trust: trust.get, availability: peers.availability })

  const directory = yield* Directory.make({
    name,
    identity,
    connections,
    matcher,
    settings,
    context: matchContext,
    capabilities: () => executor.list().map((served) => served.capability.record)
  })
  const host: Host = {
    nodeId: identity.nodeId,
    record: directory.own,
    addresses: connections.addresses,
    connections,
    isPrivate: connections.isPrivate
  }
  const broadcast = yield* Effect.serviceOption(Broadcast)
  const joined = Option.isNone(broadcast) ? undefined : yield* Effect.result(broadcast.value.join(host))
  if (joined !== undefined && Result.isFailure(joined))
    yield* Effect.logWarning(`topics reach connected peers only: ${joined.failure.message}`)
  const carrier = joined === undefined || Result.isFailure(joined) ? undefined : joined.success
  peers.isDown = carrier?.isDown
  const scope = yield* Effect.scope
  const recovery = new Recovery({
    connections,
    addresses: (peer) => matcher.get(peer)?.addresses ?? [],
    fork: (effect) => void fork(Effect.forkIn(effect, scope))
  })
  const topics = yield* Topics.make(connections, settings, carrier, (connection) => recovery.wish(connection))

  yield* connections.observe({ onConnected: recovery.connected })
  // Whoever runs a task for this node is told that nobody waits for it any more.
  const leave = Effect.sync(() => {
    recovery.stop()
    for (const timed of deadlines.list()) {
      if (timed instanceof Outgoing) timed.giveUp({ _tag: "Disconnected", peer: timed.peer }, ResetCode.Cancelled)
    }
  })
  yield* Effect.addFinalizer(() => leave)

  const self = loopback(identity.nodeId, executor)
  const caller = new Caller({
    identity,
    connections,
    matcher,
    directory,
    trust,
    breaker,
    peers,
    settings,
    deadlines,
    recovery,
    context: matchContext,
    self: () => self,
    count: (outcome) => {
      counts[outcome] += 1
    }
  })
  const asking = new Asking({
    nodeId: identity.nodeId,
    caller,
    matcher,
    strategies,
    trust,
    peers,
    deadlines,
    context: matchContext,
    random: options.random ?? Math.random,
    counterFactor: settings.counterFactor,
    sourceOf: directory.sourceOf,
    fork
  })

  yield* connections.handle(Protocol.CALL, executor.accept)

  const membership = yield* Effect.result(discovery.join(host))
  if (Result.isSuccess(membership)) yield* directory.attach(membership.success, carrier?.meet)
  else yield* Effect.logWarning(`without discovery ${discovery.name}: ${membership.failure.message}`)

  const drain = Effect.suspend(() => {
    directory.withdraw()
    return Effect.callback<void>((resume) => executor.drain(() => resume(Effect.void))).pipe(
      Effect.timeoutOption(settings.drainMs),
      Effect.asVoid
    )
  })
  yield* Effect.addFinalizer(() => drain)

  let executed = 0
  const report = Effect.sync(() => {
    const done = executor.done
    metrics.executed.updateUnsafe(done - executed, context)
    executed = done
    for (const outcome of ["answered", "failed", "failedOver"] as const) {
      metrics[outcome].updateUnsafe(counts[outcome], context)
      counts[outcome] = 0
    }
    metrics.connections.updateUnsafe(connections.list().length, context)
    matcher.prune(now())
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(METRICS_EVERY_MS), report)))

  /**
   * Runs with the trace of the span it stands in: as a span of its own where somebody collects spans. Without a span there is
   * no trace.
   */
  const traced = <A, E, R>(
    kind: "call" | "stream",
    wanted: Wanted,
    run: (trace: Trace | undefined) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R> =>
    Effect.withFiber(({ cache }) =>
      cache.span === undefined || cache.tracer === undefined
        ? run(cache.span)
        : Effect.withSpan(
            Effect.withFiber((fiber) => run(fiber.cache.span)),
            `${kind} ${idOf(wanted)}`
          )
    )

  const idOf = (wanted: Wanted): string => (typeof wanted === "string" ? wanted : wanted.id)

  const withJob = <A, E, R>(
    wanted: Wanted,
    kind: "call" | "stream",
    input: unknown,
    callOptions: CallOptions<never>,
    judge: boolean,
    run: (job: Job) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | NodeError, R> =>
    traced(kind, wanted, (trace) =>
      Effect.withFiber((fiber): Effect.Effect<A, E | NodeError, R> => {
        const job = makeJob(settings, wanted, kind, input, callOptions, trace, judge, fiber.getRef(CurrentTask))
        return "_tag" in job ? fail(job) : run(job)
      })
    )

  /** One answer: all of a call that goes its usual way happens within one effect. */
  const place = <B>(
    ending: Ending<B>,
    wanted: Wanted,
    input: unknown,
    callOptions: CallOptions<never>,
    trace?: Trace
  ): Effect.Effect<B, NodeError> =>
    Effect.callback<B, NodeError>((resume) => {
      const fiber = Fiber.getCurrent()
      if (trace === undefined && fiber?.cache.span !== undefined && fiber.cache.tracer !== undefined) {
        return resume(traced("call", wanted, (own) => place(ending, wanted, input, callOptions, own)))
      }
      const within = fiber?.getRef(CurrentTask)
      const job = makeJob(settings, wanted, "call", input, callOptions, trace ?? fiber?.cache.span, true, within)
      if ("_tag" in job) return resume(fail(job))
      const attempt = caller.answer(job, callOptions.to, ending, resume)
      return attempt === undefined ? undefined : new Cancelling(attempt)
    })
  const toOutput = caller.ending(outputOf)
  const toAnswered = caller.ending(answered)

  const stream = (wanted: Wanted, input: unknown, callOptions: CallOptions<never> = {}) =>
    Stream.unwrap(
      withJob(wanted, "stream", input, callOptions, true, (job) =>
        Effect.map(caller.find(job, callOptions.to, caller.open), ([chunks]) =>
          Stream.fromPull(Effect.succeed(chunks.pull)).pipe(Stream.mapError((reason) => new NodeError({ reason })))
        )
      )
    )

  const ask = (
    wanted: Wanted,
    input: unknown,
    askOptions: AskOptions<never, Shape> = {},
    emit: (event: AskEvent<never>) => void = () => {}
  ): Effect.Effect<Verdict, NodeError | StrategyError> =>
    withJob(wanted, "call", input, askOptions, false, (job) =>
      Effect.map(asking.ask(job, askOptions, emit), (verdict) => decoded(verdict, job, shapeOf(askOptions)))
    )
  const shapeOf = (askOptions: AskOptions<never, Shape>): Shape | string =>
    typeof askOptions.aggregate === "object" ? askOptions.aggregate.shape : (askOptions.aggregate ?? "majority-vote")

  /** The verdict's value as the capability's own type, where it is made of outputs. */
  const decoded = (verdict: Verdict, job: Job, shape: Shape | string): Verdict => {
    if (verdict.value === undefined || shape === "other") return verdict
    const one = (value: unknown): unknown => {
      const output = job.output.decode(value as Schema.Json)
      return output instanceof JsonCodec.Unfit ? value : output
    }
    const isList = shape === "answers" || shape === "ensemble"
    return { ...verdict, value: isList && Array.isArray(verdict.value) ? verdict.value.map(one) : one(verdict.value) }
  }

  const answers = (wanted: Wanted, input: unknown, askOptions: AskOptions<never, Shape> = {}) =>
    Stream.callback<AskEvent, NodeError | StrategyError>((queue) =>
      Effect.matchCauseEffect(
        ask(wanted, input, askOptions, (event) => void Queue.offerUnsafe(queue, event)),
        {
          onFailure: (cause) => Queue.failCause(queue, cause),
          onSuccess: (verdict) =>
            Effect.andThen(Queue.offer(queue, { _tag: "Verdict" as const, verdict }), Queue.end(queue))
        }
      )
    )

  const serve = (capability: Capability<never, unknown>, handler: Run, serveOptions: ServeOptions = {}) =>
    Effect.gen(function* () {
      const services = Context.merge(context, yield* Effect.context<never>())
      const served = new Served(capability, handler, serveOptions, settings, services)
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          if (!executor.add(served)) {
            const detail = executor.draining ? "the node is closing" : "this node already serves it"
            return fail({ _tag: "CannotServe", capability: capability.id, detail })
          }
          const refused = directory.refresh()
          if (refused === undefined) return Effect.void
          executor.remove(served)
          return fail({ _tag: "CannotServe", capability: capability.id, detail: refused.message })
        }),
        () =>
          Effect.suspend(() => {
            executor.remove(served)
            directory.refresh()
            return Effect.callback<void>((resume) => {
              if (executor.pending(served) === 0) return resume(Effect.void)
              served.idle.push(() => resume(Effect.void))
            }).pipe(Effect.timeoutOption(settings.drainMs), Effect.andThen(Effect.sync(() => executor.abandon(served))))
          })
      )
    })

  const discover: Node["Service"]["discover"] = (query, { within, onTried } = {}) =>
    Effect.gen(function* () {
      const wrong = Query.check(query)
      if (wrong !== undefined) return yield* new NodeError({ reason: { _tag: "BadQuery", detail: wrong } })
      yield* matcher.prepare(query)
      const withinMs = within === undefined ? settings.searchMs : Duration.toMillis(within)
      if (withinMs > 0) {
        const settleMs = within === undefined ? settings.settleMs : undefined
        const tried = yield* directory.search(query, { withinMs, settleMs, hops: settings.hops })
        if (onTried !== undefined) for (const each of tried) onTried(each)
      }
      return matcher.match(query, matchContext()).filter((match) => match.node !== identity.nodeId)
    })

  const peerOf = (connection: Connection): Peer => {
    const record = matcher.get(connection.peer)
    return {
      node: connection.peer,
      name: record?.name,
      address: connection.address,
      relayed: connection.relayed,
      direction: connection.direction,
      capabilities: record?.capabilities.map((each) => `${each.name}@${each.version}`) ?? []
    }
  }

  yield* Effect.addFinalizer(() => Effect.sync(() => self.close("the node closed")))

  const service = {
    nodeId: identity.nodeId,
    name,
    connections,
    record: directory.own,
    serve,
    call: (wanted: Wanted, input: unknown, callOptions?: CallOptions<never>) =>
      place(toOutput, wanted, input, callOptions ?? noOptions),
    request: (wanted: Wanted, input: unknown, callOptions?: CallOptions<never>) =>
      place(toAnswered, wanted, input, callOptions ?? noOptions),
    stream,
    ask,
    answers,
    discover,
    publish: topics.publish,
    subscribe: topics.subscribe,
    peers: Effect.sync(() => connections.list().map(peerOf)),
    status: Effect.sync(() => ({
      node: identity.nodeId,
      name,
      addresses: connections.addresses(),
      peers: connections.list().length,
      known: matcher.size(),
      serving: executor.list().map((served) => ({
        id: served.capability.id,
        running: served.running,
        waiting: served.waiting.length,
        done: served.done,
        failed: served.failed
      })),
      trust: trust.entries(),
      openCircuits: breaker.open(),
      startedAt
    })),
    drain
  }
  return service as unknown as Node["Service"]
})
