/**
 * ReportingNode: a node that tells a registry what it experiences, made by wrapping a node: core knows nothing of it, and anybody
 * can write such a wrapper.
 *
 * Of each task it tells what happened to it (traces: who was asked for what, when, and how it ended; never inputs or outputs), and,
 * where the node's own trust has moved, how the peer did (a report, with the executor's receipt where there is one). Verdicts are
 * told only where `verdicts` says so: their certificates hold the question and every answer.
 *
 * Reports with receipts count for much more than those without, so receipts are asked for unless a call says `receipt: false`,
 * at about 100 µs an answer.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import type * as Schema from "effect/Schema"
import * as Certificate from "@parley/consensus/Certificate"
import type { Capability } from "@parley/core/Capability"
import { Identity } from "@parley/core/Identity"
import { type Answered, type AskEvent, type AskOptions, type CallOptions, Node } from "@parley/core/Node"
import type { NodeError } from "@parley/core/NodeError"
import { type Shape, Strategies, type StrategyError, type Verdict } from "@parley/core/Strategy"
import { TaskReport } from "./internal/TaskReport.ts"
import { Reporter } from "./Reporter.ts"

/** Longest question that is shown beside a verdict, in characters of JSON; the certificate has all of it. */
export const MAX_QUESTION_LENGTH = 1_000

/** What is told. */
export interface Options {
  /** Verdicts, with the question and every answer. Default: false. */
  readonly verdicts?: boolean
  /** Asks for receipts where the caller does not say. Default: true. */
  readonly receipts?: boolean
  /** The registry belongs to the node's private network, and may know what happens in it. Default: false. */
  readonly ofNetwork?: boolean
}

type Wanted = Capability<never, unknown> | string
/** The node's methods without their overloads, which lead to the same. */
interface Plain {
  readonly request: (
    wanted: Wanted,
    input: unknown,
    options: CallOptions<never>
  ) => Effect.Effect<Answered<unknown>, NodeError>
  readonly stream: (wanted: Wanted, input: unknown, options: CallOptions<never>) => Stream.Stream<unknown, NodeError>
  readonly ask: (
    wanted: Wanted,
    input: unknown,
    options: AskOptions<never, Shape>
  ) => Effect.Effect<Verdict, NodeError | StrategyError>
  readonly answers: (
    wanted: Wanted,
    input: unknown,
    options: AskOptions<never, Shape>
  ) => Stream.Stream<AskEvent, NodeError | StrategyError>
}

const nameOf = (wanted: Wanted): string => (typeof wanted === "string" ? wanted : wanted.id)

const questionOf = (input: Schema.Json): Schema.Json => {
  const text = JSON.stringify(input)
  return text.length <= MAX_QUESTION_LENGTH ? input : `${text.slice(0, MAX_QUESTION_LENGTH)}…`
}

/** The node, telling `reporter` what it experiences. */
export const wrap = (
  node: Node["Service"],
  reporter: Reporter["Service"],
  services: { readonly identity: Identity["Service"]; readonly strategies: Strategies["Service"] },
  { receipts = true, verdicts = false }: Options = {}
): Node["Service"] => {
  const plain = node as unknown as Plain
  const begin = (wanted: Wanted, options: CallOptions<never>, isAsk = false): TaskReport =>
    new TaskReport(reporter, node.nodeId, nameOf(wanted), options.idempotencyKey, isAsk)
  const atEnd =
    (task: TaskReport) =>
    <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.onExit(effect, (exit) => (exit._tag === "Success" ? Effect.void : Effect.sync(() => task.ended())))

  const publish = (verdict: Verdict, { aggregate }: AskOptions<never, Shape>): Effect.Effect<void> =>
    Effect.gen(function* () {
      const aggregation =
        typeof aggregate === "object" ? aggregate : yield* services.strategies.aggregation(verdict.aggregation)
      const certificate = Certificate.make(services.identity, verdict, { aggregation })
      if (certificate instanceof Certificate.CertificateError) return yield* Effect.logDebug(certificate.message)
      reporter.verdict({ certificate, question: questionOf(verdict.input) })
    }).pipe(Effect.catch((error) => Effect.logDebug(error.message)))

  const decided = (task: TaskReport, verdict: Verdict, options: AskOptions<never, Shape>): Effect.Effect<void> =>
    Effect.suspend(() => {
      task.decided(verdict)
      return verdicts ? publish(verdict, options) : Effect.void
    })

  const request: Plain["request"] = (wanted, input, options = {}) =>
    Effect.suspend(() => {
      const task = begin(wanted, options)
      return plain.request(wanted, input, task.options(options, receipts)).pipe(
        Effect.tap((answered) => Effect.sync(() => task.answered(answered))),
        atEnd(task)
      )
    })

  const wrapped: Plain & { readonly call: Plain["request"] | unknown } = {
    request,
    call: (wanted: Wanted, input: unknown, options: CallOptions<never>) =>
      Effect.map(request(wanted, input, options), ({ output }) => output),
    stream: (wanted, input, options = {}) =>
      Stream.suspend(() => {
        const task = begin(wanted, options)
        return plain
          .stream(wanted, input, task.options(options, false))
          .pipe(Stream.ensuring(Effect.sync(() => task.ended())))
      }),
    ask: (wanted, input, options = {}) =>
      Effect.suspend(() => {
        const task = begin(wanted, options, true)
        return plain.ask(wanted, input, task.options(options, receipts)).pipe(
          Effect.tap((verdict) => decided(task, verdict, options)),
          atEnd(task)
        )
      }),
    answers: (wanted, input, options = {}) =>
      Stream.suspend(() => {
        const task = begin(wanted, options, true)
        return plain.answers(wanted, input, task.options(options, receipts)).pipe(
          Stream.tap((event) => (event._tag === "Verdict" ? decided(task, event.verdict, options) : Effect.void)),
          Stream.ensuring(Effect.sync(() => task.ended()))
        )
      })
  }
  return {
    ...node,
    ...(wrapped as unknown as Pick<Node["Service"], "request" | "call" | "stream" | "ask" | "answers">)
  }
}

/**
 * Puts a node that tells the reporter in place of the node below it. A node of a private network tells nobody unless `ofNetwork` says
 * that the registry belongs to that network.
 */
export const layer = (options: Options = {}): Layer.Layer<Node, never, Node | Reporter | Identity | Strategies> =>
  Layer.effect(
    Node,
    Effect.gen(function* () {
      const node = yield* Node
      if (node.connections.isPrivate && options.ofNetwork !== true) return node
      return wrap(node, yield* Reporter, { identity: yield* Identity, strategies: yield* Strategies }, options)
    })
  )
