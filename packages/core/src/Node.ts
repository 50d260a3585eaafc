/**
 * Node: one agent on the mesh. It serves capabilities, calls one agent, asks several, streams, publishes and subscribes.
 *
 * `call` finds its own way: the given peer, known records, a query across the mesh and every discovery, directly or through
 * a relay, and then a `NoPeer` that lists what was tried. On reject, counter beyond the deadline, time-out or a broken
 * connection it goes to the next match; a counter within 1.5 times the deadline is waited for and tried again.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { AgentRecord } from "./AgentRecord.ts"
import type { Capability } from "./Capability.ts"
import * as ConnectionsModule from "./Connections.ts"
import type { Connections } from "./Connections.ts"
import type { Discovery } from "./Discovery.ts"
import type { Identity } from "./Identity.ts"
import * as NodeLive from "./internal/NodeLive.ts"
import type { Match, Matcher } from "./Matcher.ts"
import type { NodeError, NodeErrorReason, Tried } from "./NodeError.ts"
import type { NodeId } from "./NodeId.ts"
import type { Query } from "./Query.ts"
import type { Receipt } from "./Receipt.ts"
import type { Aggregation, Answer, Failure, Selection, Shape, Strategies, StrategyError, Verdict } from "./Strategy.ts"
import type { Address, Transport, TransportError } from "./Transport.ts"
import type { Entry, Move } from "./Trust.ts"

/** What a handler may know of the task besides its input. */
export interface Task {
  /** 32 hex digits; the idempotency key. */
  readonly id: string
  /** Whose session the request came on. */
  readonly caller: NodeId
  /** When the answer is due: milliseconds since the epoch, by this machine's clock. */
  readonly deadline: number
  /** How many more hops the task may take when it is passed on. */
  readonly hops: number
  /** What the caller allows it to cost in all, in US dollars. */
  readonly maxCostUsd: number | undefined
}

/** What an executor says to an offer before it runs anything. */
export type Decision =
  | { readonly _tag: "Accept" }
  | { readonly _tag: "Reject"; readonly code: string; readonly detail: string }
  | {
      readonly _tag: "Counter"
      /** Milliseconds it would need from now. */
      readonly deadlineMs?: number
      readonly costUsd?: number
      readonly retryAfterMs?: number
      readonly detail: string
    }

/** How a capability is served. */
export interface ServeOptions {
  /** Tasks run at once; the capability's own figure, or the guardrail's. */
  readonly concurrency?: number
  /** Tasks that wait for a place; the guardrail's. */
  readonly queue?: number
  /**
   * Who alone may call it; default: everybody. In a network with a root these are members, and whoever acts for one counts as it. The
   * list is this node's own and travels nowhere: others see the capability, and are rejected with `NotAllowed`.
   */
  readonly allow?: ReadonlyArray<NodeId>
  /** Who may not call it, also where `allow` names it. */
  readonly deny?: ReadonlyArray<NodeId>
  /** Looks at an offer before it is accepted. Synchronous: it decides, it does not work. */
  readonly negotiate?: (offer: {
    readonly task: Task
    readonly input: Schema.Json
    readonly running: number
    readonly waiting: number
  }) => Decision
}

/** What happens to a task at the caller, for timelines and logs. */
export type TaskEvent =
  | { readonly _tag: "Searching"; readonly wanted: string }
  | { readonly _tag: "Found"; readonly match: Match; readonly source: string }
  | { readonly _tag: "Sent"; readonly peer: NodeId; readonly relayed: boolean }
  | { readonly _tag: "Accepted"; readonly peer: NodeId; readonly estimateMs: number; readonly waiting: number }
  /** Its connection broke, and it goes on, on another one. */
  | { readonly _tag: "Resumed"; readonly peer: NodeId; readonly relayed: boolean }
  | { readonly _tag: "Countered"; readonly peer: NodeId; readonly terms: NodeErrorReason; readonly takenUp: boolean }
  | { readonly _tag: "Failed"; readonly peer: NodeId; readonly reason: NodeErrorReason; readonly next: boolean }
  | { readonly _tag: "Answered"; readonly peer: NodeId; readonly latencyMs: number }
  | { readonly _tag: "Cancelled"; readonly peer: NodeId }
  | { readonly _tag: "Trust"; readonly move: Move }

/** How a task is placed. */
export interface CallOptions<Out = unknown> {
  /** This agent: a NodeId, or an address (its key is then whatever it proves). Nobody else is tried. */
  readonly to?: NodeId | Address
  /** Through the relay of this tracker, `tcp://host:port`; with `to`, or for whichever agent matches. */
  readonly via?: Address
  /** Filters and preferences besides the capability's name and version. */
  readonly where?: Omit<Query, "name" | "version">
  /** How long the answer may take, all attempts together. Default: the guardrail's 30 s. */
  readonly deadline?: Duration.Input
  /**
   * Same key, same caller, same executor: runs once. Any text; default: a fresh random one. 32 hex digits are the task's id
   * themselves; of any other text it is the first 32 of its SHA-256.
   */
  readonly idempotencyKey?: string
  /** Asks for the executor's signed receipt, and checks it. Signing and checking cost about 100 µs an answer. Default: false. */
  readonly receipt?: boolean
  /** What it may cost, and how many hops it may take: this one, and each time that an executor passes it on. */
  readonly budget?: { readonly costUsd?: number; readonly hops?: number }
  /** Judges an answer, 0 to 1. Default: 1, since it came, on time, and fits the schema. Zero counts as failed. */
  readonly evaluate?: (output: Out, latencyMs: number) => number
  /** Hears what happens to the task. */
  readonly onEvent?: (event: TaskEvent) => void
}

/** An answer with all that came with it. */
export interface Answered<out Out> {
  readonly output: Out
  readonly peer: NodeId
  readonly capability: string
  readonly task: string
  readonly latencyMs: number
  readonly relayed: boolean
  readonly receipt: Receipt | undefined
  /** What failed before, in order. */
  readonly attempts: ReadonlyArray<NodeErrorReason>
}

/** How several agents are asked. */
export interface AskOptions<Out = unknown, S extends Shape = Shape> extends Omit<CallOptions<Out>, "to"> {
  /** Whom: a selection, or its name. Default: `top-5`. */
  readonly select?: Selection | string
  /** How the answers become one: an aggregation, or its name. Default: `majority-vote`. */
  readonly aggregate?: Aggregation<S> | string
  /** Asks one more of the matches when an invited one has not answered after this time, or has failed. */
  readonly hedge?: Duration.Input
}

/** The value of a verdict, by the shape that the aggregation makes. */
export type VerdictValue<Out, S extends Shape> = S extends "answer"
  ? Out
  : S extends "answers"
    ? ReadonlyArray<Out>
    : Schema.Json

/** What happens while several are asked: each answer and failure as it comes, and the verdict last. */
export type AskEvent<V = unknown> =
  | { readonly _tag: "Invited"; readonly nodes: ReadonlyArray<NodeId> }
  | { readonly _tag: "Answer"; readonly answer: Answer }
  | { readonly _tag: "Failure"; readonly failure: Failure }
  | { readonly _tag: "Verdict"; readonly verdict: Verdict<V> }

/** A message on a topic. */
export interface Message {
  readonly topic: string
  /** Who published it: whose session it came on, or whose signature it bears. */
  readonly from: NodeId
  readonly data: Schema.Json
}

/** A connected peer. */
export interface Peer {
  readonly node: NodeId
  readonly name: string | undefined
  readonly address: Address
  readonly relayed: boolean
  readonly direction: "outbound" | "inbound"
  readonly capabilities: ReadonlyArray<string>
}

/** What a node is doing. */
export interface Status {
  readonly node: NodeId
  readonly name: string
  readonly addresses: ReadonlyArray<Address>
  readonly peers: number
  readonly known: { readonly records: number; readonly capabilities: number }
  readonly serving: ReadonlyArray<{
    readonly id: string
    readonly running: number
    readonly waiting: number
    readonly done: number
    readonly failed: number
  }>
  readonly trust: ReadonlyArray<Entry>
  readonly openCircuits: ReadonlyArray<{
    readonly node: NodeId
    readonly capability: string
    readonly retryAfterMs: number
  }>
  readonly startedAt: number
}

/** Runs a task: the output, or a failure whose `_tag` and message the caller sees. */
export type Handler<In, Out, R> = (input: In, task: Task) => Effect.Effect<Out, unknown, R>
/** Runs a task whose answer comes in chunks. */
export type StreamHandler<In, Out, R> = (input: In, task: Task) => Stream.Stream<Out, unknown, R>

/** One agent on the mesh. */
export class Node extends Context.Service<
  Node,
  {
    readonly nodeId: NodeId
    readonly name: string
    readonly connections: Connections["Service"]
    /** The node's own record, as signed last. */
    readonly record: () => AgentRecord
    /**
     * Serves a capability until the scope closes; it stands in the record when this returns. The handler's input and
     * output are validated, it is interrupted at the deadline and when the caller goes. What it calls in turn inherits what
     * is left of its deadline, hops and budget. When the scope closes, running tasks have the guardrail's 5 s to end.
     */
    readonly serve: {
      <In, Out, R>(
        capability: Capability<In, Out, "call">,
        handler: Handler<In, Out, R>,
        options?: ServeOptions
      ): Effect.Effect<void, NodeError, R | Scope.Scope>
      <In, Out, R>(
        capability: Capability<In, Out, "stream">,
        handler: StreamHandler<In, Out, R>,
        options?: ServeOptions
      ): Effect.Effect<void, NodeError, R | Scope.Scope>
    }
    /**
     * Gets one answer from the best agent that serves the capability in a compatible version (same major, at least this
     * one), or from whoever serves `name@range`.
     */
    readonly call: {
      <In, Out>(
        capability: Capability<In, Out, "call">,
        input: In,
        options?: CallOptions<Out>
      ): Effect.Effect<Out, NodeError>
      (id: string, input: Schema.Json, options?: CallOptions<Schema.Json>): Effect.Effect<Schema.Json, NodeError>
    }
    /** `call` with who answered, how long it took, the receipt, and what failed before. */
    readonly request: {
      <In, Out>(
        capability: Capability<In, Out, "call">,
        input: In,
        options?: CallOptions<Out>
      ): Effect.Effect<Answered<Out>, NodeError>
      (
        id: string,
        input: Schema.Json,
        options?: CallOptions<Schema.Json>
      ): Effect.Effect<Answered<Schema.Json>, NodeError>
    }
    /** A long answer, chunk by chunk, with back-pressure. Fails over only before the first chunk. */
    readonly stream: {
      <In, Out>(
        capability: Capability<In, Out, "stream">,
        input: In,
        options?: CallOptions<Out>
      ): Stream.Stream<Out, NodeError>
      (id: string, input: Schema.Json, options?: CallOptions<Schema.Json>): Stream.Stream<Schema.Json, NodeError>
    }
    /** Asks several agents and makes one verdict of their answers. Whoever is not needed any more is cancelled. */
    readonly ask: {
      <In, Out, S extends Shape = "answer">(
        capability: Capability<In, Out, "call">,
        input: In,
        options?: AskOptions<Out, S>
      ): Effect.Effect<Verdict<VerdictValue<Out, S>>, NodeError | StrategyError>
      <S extends Shape = "answer">(
        id: string,
        input: Schema.Json,
        options?: AskOptions<Schema.Json, S>
      ): Effect.Effect<Verdict<Schema.Json>, NodeError | StrategyError>
    }
    /** `ask`, with each answer as it comes; the verdict is the last element. */
    readonly answers: {
      <In, Out, S extends Shape = "answer">(
        capability: Capability<In, Out, "call">,
        input: In,
        options?: AskOptions<Out, S>
      ): Stream.Stream<AskEvent<VerdictValue<Out, S>>, NodeError | StrategyError>
      <S extends Shape = "answer">(
        id: string,
        input: Schema.Json,
        options?: AskOptions<Schema.Json, S>
      ): Stream.Stream<AskEvent<Schema.Json>, NodeError | StrategyError>
    }
    /**
     * Searches: known records at once, then what peers and discoveries answer. Best first. `within` is how long to search
     * (default: until a match has settled, at most the guardrail's 5 s); zero looks at known records only.
     */
    readonly discover: (
      query: Query,
      options?: { readonly within?: Duration.Input; readonly onTried?: (tried: Tried) => void }
    ) => Effect.Effect<ReadonlyArray<Match>, NodeError>
    /**
     * Sends a message to all who subscribed to the topic, and gives how many peers it was handed to. At most once, in order
     * per publisher. It reaches every node that has a broadcast where this one has, and connected peers else.
     */
    readonly publish: (topic: string, data: Schema.Json) => Effect.Effect<number, NodeError>
    /** Messages that are published from now on, this node's own included. A slow reader misses the oldest. */
    readonly subscribe: (topic: string) => Stream.Stream<Message, NodeError>
    readonly peers: Effect.Effect<ReadonlyArray<Peer>>
    readonly status: Effect.Effect<Status>
    /** Takes no new tasks (each is rejected, so that its caller goes on), withdraws its record, and waits for running ones, at most the guardrail's 5 s. */
    readonly drain: Effect.Effect<void>
  }
>()("@parley/core/Node") {}

/** What may be said of a node besides the services it is composed of. */
export interface Options {
  /** For people; not unique. Default: the end of the NodeId. */
  readonly name?: string
  /** Uniform in [0, 1), for selections that draw; a seeded one makes them repeatable. */
  readonly random?: () => number
}

/** A node over given connections. */
export const layerNoDeps = (
  options: Options = {}
): Layer.Layer<Node, TransportError, Connections | Discovery | Matcher | Strategies | Identity> =>
  Layer.effect(Node, NodeLive.make(options))

/**
 * A node, and its connections over the deployment's transport. Trust begins empty unless the deployment has a `Trust`
 * layer; guardrails are the defaults unless it has a `Guardrails` layer.
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Node | Connections, TransportError, Transport | Discovery | Matcher | Strategies | Identity> =>
  Layer.provideMerge(layerNoDeps(options), ConnectionsModule.layer)
