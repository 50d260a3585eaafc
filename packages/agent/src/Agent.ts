/**
 * One agent on the mesh, for people who do not use Effect: promises, async iterables and abort signals.
 *
 * ```ts
 * const agent = await Agent.start({ name: "ada" })
 * agent.serve("text.summarize@1.2.0", async ({ text }) => ({ summary: text.slice(0, 80) }))
 * const { summary } = await agent.call("text.summarize@^1", { text: "…" })
 * ```
 *
 * What goes wrong on the mesh is thrown as a `NodeError`: `message` for people, `reason` (a tagged union) for programs. An
 * aborted `signal` cancels the task at whoever works on it, and throws the signal's reason.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Layer from "effect/Layer"
import type * as LogLevel from "effect/LogLevel"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Capability from "@parley/core/Capability"
import { Guardrails } from "@parley/core/Guardrails"
import type { Match } from "@parley/core/Matcher"
import * as Node from "@parley/core/Node"
import { NodeError } from "@parley/core/NodeError"
import { fingerprint, type NodeId, parse, toDid } from "@parley/core/NodeId"
import type { Query } from "@parley/core/Query"
import type { Shape, Verdict } from "@parley/core/Strategy"
import type { Address } from "@parley/core/Transport"
import * as Layers from "./Layers.ts"
import * as Wanted from "./Wanted.ts"

/** JSON whose shape only its reader knows, typed as `JSON.parse` types it. A `Capability` says the shape and has it checked. */
export type Untyped = ReturnType<typeof JSON.parse>

/** How an agent is started. */
export interface Options extends Layers.Options {
  /** What is logged, on stderr. Default: `Warn`. */
  readonly log?: LogLevel.LogLevel
  /** Who writes it. Default: Effect's own. */
  readonly loggers?: ReadonlySet<Logger.Logger<unknown, unknown>>
}

/** What every operation takes besides. */
export interface Abortable {
  /** Gives up, and cancels on the wire. */
  readonly signal?: AbortSignal
}

/** What a handler knows of its task. */
export interface Task extends Node.Task {
  /** Aborted at the deadline, when the caller goes, and when the agent closes. */
  readonly signal: AbortSignal
}

/** How a capability known by `name@version` alone is served and described. */
export interface ServeOptions extends Node.ServeOptions, Omit<NonNullable<UntypedOptions>, "kind" | "concurrency"> {
  /** The handler gives an async iterable of chunks. Default: true for an `async function*`. */
  readonly stream?: boolean
}
type UntypedOptions = Parameters<typeof Capability.untyped>[1]

/** A capability being served. */
export interface Serving extends AsyncDisposable {
  /** `name@version`. */
  readonly id: string
  /** Takes it out of the record; running tasks are interrupted. */
  readonly stop: () => Promise<void>
}

type Handler<In, Out> = (input: In, task: Task) => Promise<Out> | Out
type StreamHandler<In, Out> = (input: In, task: Task) => AsyncIterable<Out>

const isGenerator = (handler: unknown): boolean =>
  Object.prototype.toString.call(handler) === "[object AsyncGeneratorFunction]"

/** What a handler threw, as the caller sees it: under its own tag, or the name of its class. */
class Thrown extends Error {
  readonly _tag: string

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    const tag = typeof cause === "object" && cause !== null && "_tag" in cause ? cause._tag : undefined
    this._tag = typeof tag === "string" ? tag : cause instanceof Error ? cause.name : "Error"
  }
}

const toThrown = (cause: unknown): Thrown => new Thrown(cause)

const answered =
  <In, Out>(handler: Handler<In, Out>): Node.Handler<In, Out, never> =>
  (input, task) =>
    Effect.tryPromise({
      try: async (signal) => handler(input, { ...task, signal }),
      catch: toThrown
    })

const streamed =
  <In, Out>(handler: StreamHandler<In, Out>): Node.StreamHandler<In, Out, never> =>
  (input, task) =>
    Stream.unwrap(
      Effect.gen(function* () {
        const signal = yield* Effect.abortSignal
        const chunks = yield* Effect.try({ try: () => handler(input, { ...task, signal }), catch: toThrown })
        return Stream.fromAsyncIterable(chunks, toThrown)
      })
    )

const define = <K extends Capability.Kind>(id: string, kind: K, options: ServeOptions) => {
  const { stream: _stream, queue: _queue, negotiate: _negotiate, ...described } = options
  try {
    return Effect.succeed(Capability.untyped(id, { ...described, kind }))
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause)
    return Effect.fail(new NodeError({ reason: { _tag: "CannotServe", capability: id, detail } }))
  }
}

/** A list that names nobody by mistake would let in, or keep out, others than was meant. */
const nodes = (listed: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<NodeId>, NodeError> =>
  Effect.forEach(listed, (text) => {
    const node = parse(text)
    const detail = `${JSON.stringify(text)} in its allow or deny list is no NodeId: write z6Mk… or did:key:z6Mk…`
    return node === undefined
      ? Effect.fail(new NodeError({ reason: { _tag: "BadQuery", detail } }))
      : Effect.succeed(node)
  })

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true

const whenAborted = (signal: AbortSignal): Effect.Effect<never, unknown> =>
  Effect.callback((resume) => {
    const fail = () => resume(Effect.fail(signal.reason))
    if (signal.aborted) return fail()
    signal.addEventListener("abort", fail, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", fail))
  })

/** An option object without its signal. */
const split = <A extends Abortable>(options: A): readonly [AbortSignal | undefined, Omit<A, "signal">] => {
  const { signal, ...rest } = options
  return [signal, rest]
}

/** One agent on the mesh. `Agent.start` makes one; `close`, or `await using`, ends it. */
export class Agent implements AsyncDisposable {
  /** The Effect face of the same node. */
  readonly node: Node.Node["Service"]
  readonly #runtime: ManagedRuntime.ManagedRuntime<Layers.Services, Layers.StartError>
  readonly #subscriptions = new Set<() => void>()
  #closed: Promise<void> | undefined

  private constructor(
    node: Node.Node["Service"],
    runtime: ManagedRuntime.ManagedRuntime<Layers.Services, Layers.StartError>
  ) {
    this.node = node
    this.#runtime = runtime
  }

  /** Starts an agent. See `start`. */
  static async start(options: Options & Abortable = {}): Promise<Agent> {
    const [signal, { log = "Warn", loggers, ...rest }] = split(options)
    const logging = Layer.mergeAll(
      Layer.succeed(References.MinimumLogLevel, log),
      Layer.succeed(Logger.LogToStderr, true),
      loggers === undefined ? Layer.empty : Layer.succeed(Logger.CurrentLoggers, loggers)
    )
    const runtime = ManagedRuntime.make(Layers.layer(rest).pipe(Layer.provideMerge(logging)))
    const exit = await runtime.runPromiseExit(Node.Node, signal === undefined ? {} : { signal })
    if (Exit.isSuccess(exit)) return new Agent(exit.value, runtime)
    await runtime.dispose()
    throw isAborted(signal) ? signal?.reason : Cause.squash(exit.cause)
  }

  /** Who this agent is: `z6Mk…`. */
  get nodeId(): NodeId {
    return this.node.nodeId
  }
  get name(): string {
    return this.node.name
  }
  /** `did:key:z6Mk…`. */
  get did(): string {
    return toDid(this.node.nodeId)
  }
  /** For people to compare: 8 groups of 4 hex digits. */
  get fingerprint(): string {
    return fingerprint(this.node.nodeId)
  }
  /** Where this agent can be reached now. */
  get addresses(): ReadonlyArray<Address> {
    return this.node.connections.addresses()
  }

  /**
   * Serves a capability, by definition or as `name@version`. It can be found when the promise is fulfilled. An
   * `async function*` serves chunks. What the handler throws, the caller sees as `HandlerFailed`.
   */
  serve<In, Out>(
    capability: Capability.Capability<In, Out, "call">,
    handler: Handler<In, Out>,
    options?: Node.ServeOptions
  ): Promise<Serving>
  serve<In, Out>(
    capability: Capability.Capability<In, Out, "stream">,
    handler: StreamHandler<In, Out>,
    options?: Node.ServeOptions
  ): Promise<Serving>
  serve(
    id: string,
    handler: Handler<Untyped, unknown> | StreamHandler<Untyped, unknown>,
    options?: ServeOptions
  ): Promise<Serving>
  async serve(
    capability: string | Capability.Capability<Untyped, Untyped>,
    handler: Handler<Untyped, Untyped> | StreamHandler<Untyped, Untyped>,
    options: ServeOptions = {}
  ): Promise<Serving> {
    const scope = Scope.makeUnsafe()
    const { node } = this
    const serving = Effect.gen(function* () {
      const kind =
        typeof capability === "string"
          ? (options.stream ?? isGenerator(handler))
            ? "stream"
            : "call"
          : capability.kind
      const { allow, concurrency, deny, queue, negotiate } = options
      const serveOptions: Node.ServeOptions = {
        ...(concurrency === undefined ? {} : { concurrency }),
        ...(queue === undefined ? {} : { queue }),
        ...(negotiate === undefined ? {} : { negotiate }),
        ...(allow === undefined ? {} : { allow: yield* nodes(allow) }),
        ...(deny === undefined ? {} : { deny: yield* nodes(deny) })
      }
      if (kind === "stream") {
        const defined = typeof capability === "string" ? yield* define(capability, "stream", options) : capability
        yield* node.serve(
          defined as Capability.Capability<Untyped, Untyped, "stream">,
          streamed(handler as StreamHandler<Untyped, Untyped>),
          serveOptions
        )
        return defined.id
      }
      const defined = typeof capability === "string" ? yield* define(capability, "call", options) : capability
      yield* node.serve(
        defined as Capability.Capability<Untyped, Untyped, "call">,
        answered(handler as Handler<Untyped, Untyped>),
        serveOptions
      )
      return defined.id
    })
    const id = await this.#run(
      Effect.onError(Scope.provide(serving, scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
    )
    const stop = () => Effect.runPromise(Scope.close(scope, Exit.void))
    return { id, stop, [Symbol.asyncDispose]: stop }
  }

  /** Gets one answer from the best agent that serves the capability, or from `to`. */
  call<In, Out>(
    capability: Capability.Capability<In, Out, "call">,
    input: In,
    options?: Node.CallOptions<Out> & Abortable
  ): Promise<Out>
  call(id: string, input: unknown, options?: Node.CallOptions<Untyped> & Abortable): Promise<Untyped>
  call(
    capability: string | Capability.Capability<Untyped, Untyped, "call">,
    input: Untyped,
    options: Node.CallOptions<Untyped> & Abortable = {}
  ): Promise<Untyped> {
    const [signal, rest] = split(options)
    return this.#run(
      typeof capability === "string"
        ? this.node.call(capability, input, rest)
        : this.node.call(capability, input, rest),
      signal
    )
  }

  /** `call` with who answered, how long it took, the receipt, and what failed before. */
  request<In, Out>(
    capability: Capability.Capability<In, Out, "call">,
    input: In,
    options?: Node.CallOptions<Out> & Abortable
  ): Promise<Node.Answered<Out>>
  request(id: string, input: unknown, options?: Node.CallOptions<Untyped> & Abortable): Promise<Node.Answered<Untyped>>
  request(
    capability: string | Capability.Capability<Untyped, Untyped, "call">,
    input: Untyped,
    options: Node.CallOptions<Untyped> & Abortable = {}
  ): Promise<Node.Answered<Untyped>> {
    const [signal, rest] = split(options)
    return this.#run(
      typeof capability === "string"
        ? this.node.request(capability, input, rest)
        : this.node.request(capability, input, rest),
      signal
    )
  }

  /** Asks several agents, and makes one verdict of their answers. Losers are cancelled. */
  ask<In, Out, S extends Shape = "answer">(
    capability: Capability.Capability<In, Out, "call">,
    input: In,
    options?: Node.AskOptions<Out, S> & Abortable
  ): Promise<Verdict<Node.VerdictValue<Out, S>>>
  ask<S extends Shape = "answer">(
    id: string,
    input: unknown,
    options?: Node.AskOptions<Untyped, S> & Abortable
  ): Promise<Verdict<Untyped>>
  ask(
    capability: string | Capability.Capability<Untyped, Untyped, "call">,
    input: Untyped,
    options: Node.AskOptions<Untyped> & Abortable = {}
  ): Promise<Verdict<Untyped>> {
    const [signal, rest] = split(options)
    return this.#run(
      typeof capability === "string" ? this.node.ask(capability, input, rest) : this.node.ask(capability, input, rest),
      signal
    )
  }

  /** `ask`, with each answer as it comes; the verdict is the last element. */
  answers<In, Out, S extends Shape = "answer">(
    capability: Capability.Capability<In, Out, "call">,
    input: In,
    options?: Node.AskOptions<Out, S> & Abortable
  ): AsyncIterable<Node.AskEvent<Node.VerdictValue<Out, S>>>
  answers<S extends Shape = "answer">(
    id: string,
    input: unknown,
    options?: Node.AskOptions<Untyped, S> & Abortable
  ): AsyncIterable<Node.AskEvent<Untyped>>
  answers(
    capability: string | Capability.Capability<Untyped, Untyped, "call">,
    input: Untyped,
    options: Node.AskOptions<Untyped> & Abortable = {}
  ): AsyncIterable<Node.AskEvent<Untyped>> {
    const [signal, rest] = split(options)
    return this.#iterate(
      typeof capability === "string"
        ? this.node.answers(capability, input, rest)
        : this.node.answers(capability, input, rest),
      signal
    )
  }

  /** A long answer, chunk by chunk. Leaving the loop cancels the rest on the wire. */
  stream<In, Out>(
    capability: Capability.Capability<In, Out, "stream">,
    input: In,
    options?: Node.CallOptions<Out> & Abortable
  ): AsyncIterable<Out>
  stream(id: string, input: unknown, options?: Node.CallOptions<Untyped> & Abortable): AsyncIterable<Untyped>
  stream(
    capability: string | Capability.Capability<Untyped, Untyped, "stream">,
    input: Untyped,
    options: Node.CallOptions<Untyped> & Abortable = {}
  ): AsyncIterable<Untyped> {
    const [signal, rest] = split(options)
    return this.#iterate(
      typeof capability === "string"
        ? this.node.stream(capability, input, rest)
        : this.node.stream(capability, input, rest),
      signal
    )
  }

  /** Searches by a query, by name (`csv.describe@^1`, `text.*`) or by plain words. Best first, with the reason for each part. */
  discover(
    wanted: Query | string,
    options: Parameters<Node.Node["Service"]["discover"]>[1] & Abortable = {}
  ): Promise<ReadonlyArray<Match>> {
    const [signal, rest] = split(options)
    return this.#run(this.node.discover(typeof wanted === "string" ? Wanted.parse(wanted) : wanted, rest), signal)
  }

  /** Sends a message to the peers that subscribed, and gives how many it was handed to. */
  publish(topic: string, data: Schema.Json): Promise<number> {
    return this.#run(this.node.publish(topic, data))
  }

  /**
   * Messages on a topic from now on, until the loop is left or the signal is aborted. A slow reader misses the oldest.
   */
  subscribe(topic: string, { signal }: Abortable = {}): AsyncIterable<Node.Message> {
    // Subscribed at once, not with the first turn of the loop.
    const pending = Effect.flatMap(Guardrails, ({ topics }) =>
      Queue.sliding<Node.Message, NodeError | Cause.Done>(topics.pending)
    )
    const queue = this.#runtime.runSync(pending)
    const pump = this.#runtime.runFork(
      Stream.runForEach(this.node.subscribe(topic), (message) => Queue.offer(queue, message)).pipe(
        Effect.onExit((exit) =>
          Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)
            ? Queue.failCause(queue, exit.cause)
            : Queue.end(queue)
        )
      )
    )
    const stop = () => {
      this.#subscriptions.delete(stop)
      this.#runtime.runFork(Fiber.interrupt(pump))
    }
    this.#subscriptions.add(stop)
    signal?.addEventListener("abort", stop, { once: true })
    return this.#iterate(Stream.ensuring(Stream.fromQueue(queue), Effect.sync(stop)), undefined)
  }

  /** The connected peers. */
  peers(): Promise<ReadonlyArray<Node.Peer>> {
    return this.#run(this.node.peers)
  }

  /** What the agent is doing. */
  status(): Promise<Node.Status> {
    return this.#run(this.node.status)
  }

  /** Takes no more tasks, lets running ones end, says goodbye and frees the port. Safe to call twice. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    for (const stop of this.#subscriptions) stop()
    await this.#runtime.runPromise(this.node.drain)
    await this.#runtime.dispose()
  }

  async #run<A, E>(effect: Effect.Effect<A, E, Layers.Services>, signal?: AbortSignal): Promise<A> {
    if (this.#closed !== undefined) throw new Error(`the agent ${this.name} is closed`)
    if (isAborted(signal)) throw signal?.reason
    const exit = await this.#runtime.runPromiseExit(effect, signal === undefined ? {} : { signal })
    if (Exit.isSuccess(exit)) return exit.value
    throw isAborted(signal) && Cause.hasInterruptsOnly(exit.cause) ? signal?.reason : Cause.squash(exit.cause)
  }

  #iterate<A, E>(stream: Stream.Stream<A, E>, signal: AbortSignal | undefined): AsyncIterable<A> {
    const abortable: Stream.Stream<A, unknown> =
      signal === undefined ? stream : Stream.interruptWhen(stream, whenAborted(signal))
    return Stream.toAsyncIterableWith(abortable, this.#runtime.runSync(Effect.context<Layers.Services>()))
  }
}

/** Starts an agent: a key, a port, and the local network, all by itself. See `Options` for what can be said. */
export const start = (options: Options & Abortable = {}): Promise<Agent> => Agent.start(options)
