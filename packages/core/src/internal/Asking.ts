/**
 * Asking: one question to several agents, counted as the answers come, and ended as soon as the outcome cannot change.
 *
 * Each invited agent has a seat. A seat whose agent fails, or is slower than the hedge allows, may be given to the next
 * match; whoever answers first has the seat's vote, so that the number of votes stays what the selection made it.
 */
import * as Cause from "effect/Cause"
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
  Strategies,
  Tally,
  Verdict
} from "../Strategy.ts"
import { StrategyError } from "../Strategy.ts"
import type { Trust } from "../Trust.ts"
import type { Caller, Candidate, Placed } from "./Caller.ts"
import type { Deadlines } from "./Deadlines.ts"
import { type Job, left } from "./Job.ts"
import { limited } from "./Limited.ts"
import type { Peers } from "./Peers.ts"

/** How many matches a selection chooses from. */
const MAX_CANDIDATES = 500
/** A query that was searched this recently is not searched again before an ask. */
const SEARCH_AGAIN_MS = 10_000
/** Queries remembered as searched. */
const MAX_SEARCHED = 1_000
/** How long after its deadline an ask waits for the word of its own timers, in ms. */
const GRACE_MS = 50

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
  /** How many times the deadline a counter may take. */
  readonly counterFactor: number
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
  readonly holders: Map<NodeId, Fiber.Fiber<unknown, unknown>>
  /** Whose vote the seat is, as the count knows it. */
  invited: Invited
  taken: boolean
  /** Why nobody will answer for it any more. */
  failure: Failure | undefined
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
      const chosen = yield* this.#select(selection, matches, turn)
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
    return matcher.match(limited(job.query, MAX_CANDIDATES), context()).filter((match) => {
      if (seen.has(match.node)) return false
      seen.add(match.node)
      return true
    })
  }

  /** What a selection chose, held to its law: some of the matches, none twice. */
  #select(
    selection: Selection,
    matches: ReadonlyArray<Match>,
    turn: number
  ): Effect.Effect<ReadonlyArray<Match>, StrategyError> {
    const { peers, random } = this.#deps
    return Effect.try({
      try: () => {
        const chosen = selection.select(matches, { random, turn, load: (match) => peers.load(match.node) })
        return [...new Set(chosen)].filter((match) => matches.includes(match))
      },
      catch: (error) => new StrategyError({ code: "Failed", strategy: selection.name, detail: messageOf(error) })
    })
  }

  #run(plan: Plan, emit: (event: AskEvent<never>) => void): Effect.Effect<Verdict> {
    return Effect.callback<Verdict>((resume) => {
      const { caller, deadlines, fork, trust } = this.#deps
      const { job, aggregation } = plan
      const answers: Array<Answer> = []
      const placedBy = new Map<NodeId, Placed>()
      const failures: Array<Failure> = []
      const timers: Array<{ cancel(): void }> = []
      const invitedOf = (match: Match): Invited => ({
        node: match.node,
        trust: trust.get(match.node, match.capability.name),
        score: match.score
      })
      const seats = plan.chosen.map((match): Seat => ({
        holders: new Map(),
        invited: invitedOf(match),
        taken: false,
        failure: undefined,
        hedged: false
      }))
      const count = (): Tally => aggregation.tally(seats.map((seat) => seat.invited))
      let tally: Tally
      /** All seats have been offered; before that, an early failure must not end the ask. */
      let begun = false
      let over = false

      /** A plugin's exception ends the ask as a defect, and not whatever called us: the transport, or a timer. */
      const guarded = (step: () => void): void => {
        if (over) return
        try {
          step()
        } catch (defect) {
          stop()
          resume(Effect.die(defect))
        }
      }

      /** The seat's vote is now this node's; the count begins anew with what has come so far. */
      const reseat = (seat: Seat, match: Match): void => {
        seat.invited = invitedOf(match)
        tally = count()
        for (const answer of answers) tally.answer(answer)
        for (const { failure } of seats) if (failure !== undefined) tally.failure(failure)
      }

      const invite = (seat: Seat, match: Match): void => {
        const fiber = fork(Effect.result(this.#attempt(plan, caller.candidateOf(match))))
        seat.holders.set(match.node, fiber)
        fiber.addObserver((exit) => {
          seat.holders.delete(match.node)
          if (seat.taken) return
          guarded(() => {
            if (exit._tag === "Failure") return failed(seat, match, messageOf(Cause.squash(exit.cause)))
            if (Result.isFailure(exit.value)) return failed(seat, match, exit.value.failure)
            const { placed, answer } = exit.value.success
            placedBy.set(match.node, placed)
            took(seat, match, answer)
          })
        })
      }

      const took = (seat: Seat, match: Match, answer: Answer): void => {
        seat.taken = true
        if (seat.invited.node !== match.node) reseat(seat, match)
        for (const fiber of seat.holders.values()) fiber.interruptUnsafe()
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
        if (!next(seat)) {
          seat.failure = { node: seat.invited.node, reason }
          tally.failure(seat.failure)
        }
        check()
      }

      /** Gives the seat to the next match, if there is one. */
      const next = (seat: Seat): boolean => {
        if (left(job) <= 0) return false
        const spare = plan.spares.shift()
        if (spare === undefined) return false
        if (seat.holders.size === 0) reseat(seat, spare)
        invite(seat, spare)
        return true
      }

      const check = (): void => {
        if (over || !begun) return
        const decided = tally.decided()
        if (decided !== undefined) return conclude(decided)
        if (seats.every((seat) => seat.holders.size === 0)) conclude(tally.outcome())
      }

      const stop = (): void => {
        over = true
        for (const timer of timers) timer.cancel()
        for (const seat of seats) for (const fiber of seat.holders.values()) fiber.interruptUnsafe()
      }

      const conclude = (outcome: Outcome): void => {
        stop()
        this.#learn(plan, outcome, answers, placedBy)
        const invited = seats.map((seat) => seat.invited)
        resume(Effect.succeed(verdictOf(plan, outcome, invited, answers, failures)))
      }

      guarded(() => {
        tally = count()
        emit({ _tag: "Invited", nodes: plan.chosen.map((match) => match.node) })
        // Counters may take an agent to 1.5 times the deadline; whoever is silent beyond that has failed.
        const longest = Math.max(0, left(job) * this.#deps.counterFactor + GRACE_MS)
        timers.push(deadlines.after(longest, () => guarded(() => conclude(tally.outcome()))))
        seats.forEach((seat, index) => invite(seat, plan.chosen[index] as Match))
        if (plan.hedgeMs !== undefined) {
          const hedge = (): void => {
            for (const seat of seats) {
              if (over || seat.taken || seat.hedged) continue
              seat.hedged = true
              next(seat)
            }
          }
          timers.push(deadlines.after(plan.hedgeMs, () => guarded(hedge)))
        }
        begun = true
        check()
      })
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
          : Effect.suspend(() => aggregation.prepare?.(answer, job.input) ?? Effect.succeed(answer)).pipe(
              // What is prepared may change what is counted, never whose vote it is.
              Effect.map((prepared) => ({ placed, answer: { ...prepared, node: answer.node } })),
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
      const quality = against ? 0 : placed.quality
      const why = against ? "dissented" : outcome.status === "reached" ? "agreed" : "answered"
      const name = answer.capability.slice(0, Math.max(0, answer.capability.indexOf("@")))
      const move = this.#deps.trust.learn(answer.node, name, quality, why)
      plan.job.emit?.({ _tag: "Trust", move })
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const keyOf = (job: Job): string => JSON.stringify(job.query)

const answerOf = (placed: Placed, job: Job): Answer => ({
  node: placed.peer,
  capability: placed.capability,
  value: placed.json,
  latencyMs: placed.latencyMs,
  ...(job.evaluate === undefined ? {} : { quality: placed.quality }),
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
