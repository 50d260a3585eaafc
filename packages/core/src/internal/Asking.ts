/**
 * Asking: one question to several agents, counted as the answers come, and ended as soon as the outcome cannot change.
 *
 * Each invited agent has a seat. A seat whose agent fails, or is slower than the hedge allows, may be given to the next
 * match; whoever answers first has the seat's vote, so that the number of votes stays what the selection made it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type { Match, MatchContext, Matcher } from "../Matcher.ts"
import type { AskEvent, AskOptions } from "../Node.ts"
import { explain, NodeError } from "../NodeError.ts"
import type { NodeId } from "../NodeId.ts"
import type {
  Aggregation,
  Answer,
  Dissent,
  Failure,
  Invited,
  Outcome,
  Selection,
  Shape,
  StrategyError,
  Strategies,
  Tally,
  Verdict
} from "../Strategy.ts"
import type { Trust } from "../Trust.ts"
import { type Caller, type Candidate, type Job, type Placed, qualityOf } from "./Caller.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Peers } from "./Peers.ts"

/** How many matches a selection chooses from. */
const MAX_CANDIDATES = 500
/** A query that was searched this recently is not searched again before an ask. */
const SEARCH_AGAIN_MS = 10_000
/** Queries remembered as searched. */
const MAX_SEARCHED = 1_000

/** What asking needs of its node. */
export interface Deps {
  readonly nodeId: NodeId
  readonly caller: Caller
  readonly matcher: Matcher["Service"]
  readonly strategies: Strategies["Service"]
  readonly trust: Trust["Service"]
  readonly peers: Peers
  readonly deadlines: Deadlines
  readonly context: () => MatchContext
  readonly random: () => number
  /** Who told of a node. */
  readonly sourceOf: (node: NodeId) => string
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
}

interface Plan {
  readonly job: Job
  readonly selection: Selection
  readonly aggregation: Aggregation
  readonly hedgeMs: number | undefined
  readonly chosen: ReadonlyArray<Match>
  readonly spares: Array<Match>
}

interface Seat {
  /** Who may still answer for the seat. */
  readonly holders: Map<NodeId, { readonly fiber: Fiber.Fiber<unknown, unknown> }>
  readonly matches: Array<Match>
  taken: Answer | undefined
  hedged: boolean
}

/** Asks several agents. */
export class Asking {
  readonly #deps: Deps
  readonly #turns = new Map<string, number>()
  readonly #searched = new Map<string, number>()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Asks, telling each answer and failure, and gives the verdict over wire values. */
  ask(
    job: Job,
    options: AskOptions<never, Shape>,
    emit: (event: AskEvent<never>) => void
  ): Effect.Effect<Verdict, NodeError | StrategyError> {
    return Effect.flatMap(this.#plan(job, options), (plan) => this.#run(plan, emit))
  }

  readonly #plan = (job: Job, options: AskOptions<never, Shape>): Effect.Effect<Plan, NodeError | StrategyError> =>
    Effect.gen({ self: this }, function* () {
      const { caller, strategies } = this.#deps
      const select = options.select ?? "top-5"
      const aggregate = options.aggregate ?? "majority-vote"
      const selection = typeof select === "string" ? yield* strategies.selection(select) : select
      const aggregation = typeof aggregate === "string" ? yield* strategies.aggregation(aggregate) : aggregate
      const tried = this.#isFresh(job) ? [] : yield* caller.search(job)
      const matches = this.#candidates(job)
      if (matches.length === 0) {
        this.#searched.delete(keyOf(job))
        return yield* new NodeError({ reason: caller.noPeer(job, tried) })
      }
      for (const match of matches) job.emit?.({ _tag: "Found", match, source: this.#deps.sourceOf(match.node) })
      const turnKey = `${selection.name} ${keyOf(job)}`
      const turn = this.#turns.get(turnKey) ?? 0
      if (this.#turns.size > MAX_SEARCHED) this.#turns.clear()
      this.#turns.set(turnKey, turn + 1)
      const chosen = selection.select(matches, {
        random: this.#deps.random,
        turn,
        load: (match) => this.#deps.peers.load(match.node)
      })
      if (chosen.length === 0) return yield* new NodeError({ reason: caller.noPeer(job, tried) })
      const nodes = new Set(chosen.map((match) => match.node))
      return {
        job,
        selection,
        aggregation,
        hedgeMs: options.hedge === undefined ? undefined : Duration.toMillis(options.hedge),
        chosen,
        spares: options.hedge === undefined ? [] : matches.filter((match) => !nodes.has(match.node))
      }
    })

  #isFresh(job: Job): boolean {
    const key = keyOf(job)
    const now = performance.now()
    const at = this.#searched.get(key)
    if (at !== undefined && now - at < SEARCH_AGAIN_MS) return true
    if (this.#searched.size > MAX_SEARCHED) this.#searched.clear()
    this.#searched.set(key, now)
    return false
  }

  /** One match per node, the best: an identity has one vote. */
  #candidates(job: Job): ReadonlyArray<Match> {
    const { context, matcher, nodeId } = this.#deps
    const seen = new Set<NodeId>([nodeId])
    return matcher.match({ ...job.query, limit: MAX_CANDIDATES }, context()).filter((match) => {
      if (seen.has(match.node)) return false
      seen.add(match.node)
      return true
    })
  }

  #run(plan: Plan, emit: (event: AskEvent<never>) => void): Effect.Effect<Verdict> {
    return Effect.callback<Verdict>((resume) => {
      const { caller, deadlines, fork, trust } = this.#deps
      const { job, aggregation } = plan
      const answers: Array<Answer> = []
      const placedBy = new Map<NodeId, Placed>()
      const failures: Array<Failure> = []
      const invitedOf = (match: Match): Invited => ({
        node: match.node,
        trust: trust.get(match.node, match.capability.name),
        score: match.score
      })
      const seats = plan.chosen.map((match): Seat => ({
        holders: new Map(),
        matches: [match],
        taken: undefined,
        hedged: false
      }))
      const timers: Array<{ cancel(): void }> = []
      const invitedBySeat = new Map(seats.map((seat, index) => [seat, invitedOf(plan.chosen[index] as Match)]))
      let tally: Tally = aggregation.tally([...invitedBySeat.values()])
      let over = false

      /** The seat's vote is now this node's; the count begins anew with what has come so far. */
      const reseat = (seat: Seat, match: Match): void => {
        invitedBySeat.set(seat, invitedOf(match))
        tally = aggregation.tally([...invitedBySeat.values()])
        for (const answer of answers) tally.answer(answer)
        for (const failure of failures) tally.failure(failure)
      }

      const invite = (seat: Seat, match: Match): void => {
        const candidate = caller.candidateOf(match)
        const fiber = fork(Effect.result(this.#attempt(plan, candidate)))
        seat.holders.set(match.node, { fiber })
        fiber.addObserver((exit) => {
          seat.holders.delete(match.node)
          if (over || seat.taken !== undefined) return
          if (exit._tag === "Failure") return failed(seat, match, "it was interrupted")
          if (Result.isFailure(exit.value)) return failed(seat, match, exit.value.failure)
          const { placed, answer } = exit.value.success
          placedBy.set(match.node, placed)
          took(seat, match, answer)
        })
      }

      const took = (seat: Seat, match: Match, answer: Answer): void => {
        seat.taken = answer
        if (invitedBySeat.get(seat)?.node !== match.node) reseat(seat, match)
        for (const { fiber } of seat.holders.values()) fiber.interruptUnsafe()
        answers.push(answer)
        tally.answer(answer)
        emit({ _tag: "Answer", answer })
        check()
      }

      const failed = (seat: Seat, match: Match, reason: string): void => {
        const failure: Failure = { node: match.node, reason }
        failures.push(failure)
        emit({ _tag: "Failure", failure })
        if (seat.holders.size > 0) return
        if (!next(seat)) tally.failure(failure)
        check()
      }

      /** Gives the seat to the next match, if there is one. */
      const next = (seat: Seat): boolean => {
        const spare = plan.spares.shift()
        if (spare === undefined || caller.left(job) <= 0) return false
        seat.matches.push(spare)
        if (seat.holders.size === 0) reseat(seat, spare)
        invite(seat, spare)
        return true
      }

      const check = (): void => {
        if (over) return
        const decided = tally.decided()
        if (decided !== undefined) return conclude(decided)
        if (seats.every((seat) => seat.holders.size === 0)) conclude(tally.outcome())
      }

      const stop = (): void => {
        over = true
        for (const timer of timers) timer.cancel()
        for (const seat of seats) for (const { fiber } of seat.holders.values()) fiber.interruptUnsafe()
      }

      const conclude = (outcome: Outcome): void => {
        stop()
        this.#learn(plan, outcome, answers, placedBy)
        const verdict = verdictOf(plan, outcome, [...invitedBySeat.values()], answers, failures)
        resume(Effect.succeed(verdict))
      }

      emit({ _tag: "Invited", nodes: plan.chosen.map((match) => match.node) })
      timers.push(deadlines.after(Math.max(0, caller.left(job) * 1.5 + 50), () => over || conclude(tally.outcome())))
      seats.forEach((seat, index) => {
        if (over) return
        const match = plan.chosen[index]
        if (match !== undefined) invite(seat, match)
      })
      if (plan.hedgeMs !== undefined) {
        timers.push(
          deadlines.after(plan.hedgeMs, () => {
            for (const seat of seats) {
              if (over || seat.taken !== undefined || seat.hedged) continue
              seat.hedged = true
              next(seat)
            }
          })
        )
      }
      return Effect.sync(stop)
    })
  }

  /** One agent's answer, prepared for the count; or why there is none. */
  #attempt(
    plan: Plan,
    candidate: Candidate
  ): Effect.Effect<{ readonly placed: Placed; readonly answer: Answer }, string> {
    const { aggregation, job } = plan
    return this.#deps.caller.place(job, candidate, false).pipe(
      Effect.mapError(explain),
      Effect.flatMap((placed) => {
        const answer = answerOf(placed, job)
        return aggregation.prepare === undefined
          ? Effect.succeed({ placed, answer })
          : aggregation.prepare(answer, job.input).pipe(
              Effect.map((prepared) => ({ placed, answer: prepared })),
              Effect.mapError((error) => error.message)
            )
      })
    )
  }

  /** Trust moves once for each answer: with the verdict where one was reached, else by the answer's own worth. */
  #learn(plan: Plan, outcome: Outcome, answers: ReadonlyArray<Answer>, placedBy: Map<NodeId, Placed>): void {
    const dissent = new Set(outcome.dissent)
    for (const answer of answers) {
      const placed = placedBy.get(answer.node)
      if (placed === undefined) continue
      const against = outcome.status === "reached" && dissent.has(answer.node)
      const quality = against ? 0 : qualityOf(plan.job, placed)
      const why = against ? "dissented" : outcome.status === "reached" ? "agreed" : "answered"
      const name = answer.capability.slice(0, Math.max(0, answer.capability.indexOf("@")))
      const move = this.#deps.trust.learn(answer.node, name, quality, why)
      plan.job.emit?.({ _tag: "Trust", move })
    }
  }
}

const keyOf = (job: Job): string => JSON.stringify(job.query)

const answerOf = (placed: Placed, job: Job): Answer => ({
  node: placed.peer,
  capability: placed.capability,
  value: placed.json,
  latencyMs: placed.latencyMs,
  ...(job.evaluate === undefined ? {} : { quality: qualityOf(job, placed) }),
  ...(placed.receipt === undefined ? {} : { receipt: placed.receipt })
})

const verdictOf = (
  plan: Plan,
  outcome: Outcome,
  invited: ReadonlyArray<Invited>,
  answers: ReadonlyArray<Answer>,
  failures: ReadonlyArray<Failure>
): Verdict => {
  const valueOf = new Map(answers.map((answer): [NodeId, Schema.Json] => [answer.node, answer.value]))
  const different = outcome.dissent.flatMap((node): ReadonlyArray<Dissent> => {
    const value = valueOf.get(node)
    return value === undefined ? [] : [{ _tag: "Different", node, value }]
  })
  return {
    status: outcome.status,
    value: outcome.value,
    confidence: outcome.confidence,
    rule: outcome.rule,
    votes: outcome.votes,
    dissent: [...different, ...failures.map(({ node, reason }): Dissent => ({ _tag: "Failed", node, reason }))],
    selection: plan.selection.name,
    aggregation: plan.aggregation.name,
    capability: plan.job.wanted,
    task: plan.job.taskId(),
    input: plan.job.input,
    invited,
    answers,
    failures,
    outcome
  }
}
