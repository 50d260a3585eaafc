/**
 * Strategy: which matches are asked (selection), and how their answers become one verdict (aggregation).
 *
 * Both are data plus a pure function, so that they can be tested without a network and run again by whoever checks a
 * certificate. `Strategies` holds them by name, so that the command line and the wire can say which one.
 *
 * What every implementation MUST do (the laws are in `@parley/core/testing/StrategySuite`):
 * - a selection returns some of the given matches, none twice, and the same ones for the same context;
 * - an aggregation counts one answer per node, ignores whoever was not invited, gives the same verdict for any order of
 *   the same answers (unless its name says that order decides), and never takes back a decided verdict.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Match } from "./Matcher.ts"
import { NodeId } from "./NodeId.ts"
import { Receipt } from "./Receipt.ts"

/** What a selection may look at besides the matches. */
export interface SelectionContext {
  /** Uniform in [0, 1). Seedable, so that a selection can be repeated. */
  readonly random: () => number
  /** How many selections this node has made for the same question before: where a rotation stands. */
  readonly turn: number
  /** Tasks that this node has in flight at the match's peer. */
  readonly load: (match: Match) => number
}

/** Chooses whom to ask. */
export interface Selection {
  /** As registered, with its argument: `top-5`. */
  readonly name: string
  /** Some of the matches, which come best first; in the order in which they shall be asked. */
  readonly select: (matches: ReadonlyArray<Match>, context: SelectionContext) => ReadonlyArray<Match>
}

/** One agent that was asked. */
export const Invited = Schema.Struct({
  node: NodeId,
  /** Trust in it when it was asked, 0 to 1: the weight of its vote where votes are weighted. */
  trust: Schema.Finite,
  /** Score of the match, 0 to 1. */
  score: Schema.Finite
})
/** One agent that was asked. */
export type Invited = typeof Invited.Type

/** One agent's valid answer. It belongs to the node whose session it came on. */
export const Answer = Schema.Struct({
  node: NodeId,
  /** `name@version` that answered. */
  capability: Schema.String,
  /** The output as it came: canonical JSON data. */
  value: Schema.Json,
  latencyMs: Schema.Finite,
  /** Quality of the answer, 0 to 1, where an evaluator or judge has scored it. */
  quality: Schema.optionalKey(Schema.Finite),
  receipt: Schema.optionalKey(Receipt)
})
/** One agent's valid answer. */
export type Answer = typeof Answer.Type

/** One agent that gave no valid answer. */
export const Failure = Schema.Struct({ node: NodeId, reason: Schema.String })
/** One agent that gave no valid answer. */
export type Failure = typeof Failure.Type

/** A value and who stands behind it. */
export const Vote = Schema.Struct({
  value: Schema.Json,
  /** Sum of the voters' weights. */
  weight: Schema.Finite,
  nodes: Schema.Array(NodeId)
})
/** A value and who stands behind it. */
export type Vote = typeof Vote.Type

/**
 * `reached`: the rule was met. `tied`: two or more stand equal at the top. `undecided`: enough answered, but the rule was
 * not met. `insufficient`: too few answered for the rule to be met at all.
 */
export const Status = Schema.Literals(["reached", "tied", "undecided", "insufficient"])
/** How an aggregation ended. */
export type Status = typeof Status.Type

/** What an aggregation concludes from the answers it has seen. */
export const Outcome = Schema.Struct({
  status: Status,
  /** What was agreed; absent unless reached. */
  value: Schema.optionalKey(Schema.Json),
  /** Share of the invited weight that stands behind the value, 0 to 1. */
  confidence: Schema.Finite,
  /** The rule in a person's words: `3 of 5`, `60 % of the trust`. */
  rule: Schema.String,
  /** Largest weight first. */
  votes: Schema.Array(Vote),
  /** Who answered something else than the value; everyone who answered, where nothing was agreed. */
  dissent: Schema.Array(NodeId)
})
/** What an aggregation concludes from the answers it has seen. */
export type Outcome = typeof Outcome.Type

/** The count while answers come in. Owned by one ask; not shared. */
export interface Tally {
  /** Counts an answer. A second one of the same node, or one of a node that was not invited, changes nothing. */
  readonly answer: (answer: Answer) => void
  /** Notes that a node will not answer. */
  readonly failure: (failure: Failure) => void
  /** The outcome, if nothing that may still come can change its status or value. The rest need not be waited for. */
  readonly decided: () => Outcome | undefined
  /** The outcome if no more came. */
  readonly outcome: () => Outcome
}

/** What the value of a verdict is made of: `answer` (like one output), `answers` (a list of outputs), `other`. */
export type Shape = "answer" | "answers" | "other"

/** Makes one outcome of many answers. */
export interface Aggregation<out S extends Shape = Shape> {
  /** As registered, with its argument: `consensus-threshold:0.6`. Enough to run it again. */
  readonly name: string
  readonly shape: S
  /** Begins a count over the agents invited. */
  readonly tally: (invited: ReadonlyArray<Invited>) => Tally
  /**
   * Work to be done once per answer before it is counted, such as computing an embedding or asking a judge. Answers are
   * prepared side by side.
   */
  readonly prepare?: (answer: Answer, input: Schema.Json) => Effect.Effect<Answer, StrategyError>
}

/** What an ask of several agents came to: the outcome, and all that it rests on. */
export interface Verdict<out A = unknown> {
  readonly status: Status
  readonly value: A | undefined
  readonly confidence: number
  readonly rule: string
  readonly votes: ReadonlyArray<Vote>
  /** Who said something else, and what; who failed, and why. */
  readonly dissent: ReadonlyArray<Dissent>
  readonly selection: string
  readonly aggregation: string
  readonly capability: string
  /** Task id, 32 hex digits, in every receipt. */
  readonly task: string
  /** The input as sent. */
  readonly input: Schema.Json
  readonly invited: ReadonlyArray<Invited>
  readonly answers: ReadonlyArray<Answer>
  readonly failures: ReadonlyArray<Failure>
  readonly outcome: Outcome
}

/** One voice that does not stand behind the value. */
export type Dissent =
  | { readonly _tag: "Different"; readonly node: NodeId; readonly value: Schema.Json }
  | { readonly _tag: "Failed"; readonly node: NodeId; readonly reason: string }

/** A strategy cannot be used as asked. */
export class StrategyError extends Schema.TaggedError<StrategyError>()("StrategyError", {
  /** `Unknown`: no strategy of that name. `BadArgument`: it takes another argument. `Failed`: its preparation failed. */
  code: Schema.Literals(["Unknown", "BadArgument", "Failed"]),
  strategy: Schema.String,
  detail: Schema.String
}) {
  override get message(): string {
    return `strategy ${JSON.stringify(this.strategy)}: ${this.detail}`
  }
}

/**
 * A way to make a strategy from the text after its name: `top` makes `top-5` of `5`, and `consensus-threshold` makes
 * `consensus-threshold:0.6` of `0.6`.
 */
export type Factory<A> = (argument: string | undefined) => Effect.Effect<A, StrategyError>

/** The strategies that a node knows by name. */
export class Strategies extends Context.Service<
  Strategies,
  {
    readonly selection: (name: string) => Effect.Effect<Selection, StrategyError>
    readonly aggregation: (name: string) => Effect.Effect<Aggregation, StrategyError>
    readonly names: { readonly selections: ReadonlyArray<string>; readonly aggregations: ReadonlyArray<string> }
  }
>()("@parley/core/Strategy/Strategies") {}

/** What a registry of strategies is made from: factories by name. */
export interface Registered {
  readonly selections?: { readonly [name: string]: Factory<Selection> }
  readonly aggregations?: { readonly [name: string]: Factory<Aggregation> }
}

const lookUp = <A>(
  kind: string,
  known: { readonly [name: string]: Factory<A> },
  text: string
): Effect.Effect<A, StrategyError> => {
  const exact = Object.hasOwn(known, text) ? known[text] : undefined
  if (exact !== undefined) return exact(undefined)
  const split = /^(?<name>.+?)(?:[:=](?<after>.*)|-(?<count>[0-9.]+)|\((?<inner>.*)\))$/.exec(text)
  const name = split?.groups?.["name"] ?? text
  const argument = split?.groups?.["after"] ?? split?.groups?.["count"] ?? split?.groups?.["inner"]
  const factory = Object.hasOwn(known, name) ? known[name] : undefined
  return factory === undefined
    ? Effect.fail(
        new StrategyError({
          code: "Unknown",
          strategy: text,
          detail: `no ${kind} of that name; there are ${Object.keys(known).sort().join(", ")}`
        })
      )
    : factory(argument)
}

/** Names, with their arguments, whose strategy is kept: they come from the command line and from code. */
const MAX_KEPT = 256

/** What a name stands for is made once: strategies are data and pure functions. */
const kept = <A>(look: (name: string) => Effect.Effect<A, StrategyError>): typeof look => {
  const known = new Map<string, Effect.Effect<A>>()
  return (name) =>
    known.get(name) ??
    Effect.tap(look(name), (strategy) =>
      Effect.sync(() => {
        if (known.size >= MAX_KEPT) known.clear()
        known.set(name, Effect.succeed(strategy))
      })
    )
}

/** A registry of strategies. Later parts win where names are equal, so that a plugin can replace one. */
export const makeStrategies = (...parts: ReadonlyArray<Registered>): Strategies["Service"] => {
  const selections: Record<string, Factory<Selection>> = Object.assign({}, ...parts.map((part) => part.selections))
  const aggregations: Record<string, Factory<Aggregation>> = Object.assign(
    {},
    ...parts.map((part) => part.aggregations)
  )
  return Strategies.of({
    selection: kept((name) => lookUp("selection", selections, name)),
    aggregation: kept((name) => lookUp("aggregation", aggregations, name)),
    names: { selections: Object.keys(selections).sort(), aggregations: Object.keys(aggregations).sort() }
  })
}

/** A layer of the given strategies. */
export const layer = (...parts: ReadonlyArray<Registered>): Layer.Layer<Strategies> =>
  Layer.succeed(Strategies, makeStrategies(...parts))
