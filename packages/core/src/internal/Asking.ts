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
import { explain, NodeError, type NodeErrorReason, type Tried } from "../NodeError.ts"
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
import type { Query } from "../Query.ts"
import type { Attempt } from "./Attempt.ts"
import type { Caller, Placed } from "./Caller.ts"
import type { Deadlines } from "./Deadlines.ts"
import { type Job, left } from "./Job.ts"
import { limited } from "./Limited.ts"
import type { Peers } from "./Peers.ts"

/** How many matches a selection chooses from. */
const MAX_CANDIDATES = 500
/** A query that was searched this recently is not searched again before an ask. */
const SEARCH_AGAIN_MS = 10_000
/** Queries remembered, besides those of definitions and names. */
const MAX_SEARCHED = 1_000
/** Selections remembered of one query. */
const MAX_TURNS = 64
/** How long after its deadline an ask waits for the word of its own timers, in ms. */
const GRACE_MS = 50

/** What asking needs of its node. */
export interface Deps {
  readonly nodeId: NodeId
  readonly caller: Caller
  readonly matcher: Matcher["Service"]
  readonly strategies: Strategies["Service"]
  readonly trust: Pick<Trust["Service"], "learn">
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

/** An agent that is being asked for a seat. */
interface Vote {
  /** Asks no more; not called once it has ended. */
  cancel: () => void
}

interface Seat {
  /** Who may still answer for the seat: nearly always one. */
  readonly holders: Array<Vote>
  /** Whose vote the seat is, as the count knows it. */
  invited: Invited
  taken: boolean
  /** Why nobody will answer for it any more. */
  failure: Failure | undefined
  hedged: boolean
}

/** An answer and how it came. */
interface Taken {
  readonly placed: Placed
  readonly answer: Answer
}

/** What is remembered of a query. */
interface Asked {
  searchedAt: number
  /** How many selections were made, by their names. */
  readonly turns: Map<string, number>
}

/** Asks several agents. */
export class Asking {
  readonly #deps: Deps
  readonly #asked = new Map<string, Asked>()
  #askedOfPlain = new WeakMap<Query, Asked>()

  constructor(deps: Deps) {
    this.#deps = deps
  }

  /** Asks, telling each answer and failure, and gives the verdict over wire values. */
  ask(
    job: Job,
    options: AskOptions<never, Shape>,
    emit: (event: AskEvent<never>) => void
  ): Effect.Effect<Verdict, NodeError | StrategyError> {
    const { caller, strategies } = this.#deps
    const { aggregate = "majority-vote", select = "top-5" } = options
    const began = (selection: Selection, aggregation: Aggregation) =>
      Effect.suspend(() => {
        const asked = this.#remember(job)
        const go = (tried: ReadonlyArray<Tried>): Effect.Effect<Verdict, NodeError | StrategyError> => {
          const plan = this.#plan(job, options, selection, aggregation, asked, tried)
          return plan instanceof NodeError || plan instanceof StrategyError ? Effect.fail(plan) : this.#run(plan, emit)
        }
        if (performance.now() - asked.searchedAt < SEARCH_AGAIN_MS) return go([])
        asked.searchedAt = performance.now()
        return Effect.flatMap(caller.search(job), go)
      })
    const selection = typeof select === "string" ? strategies.selection(select) : Effect.succeed(select)
    const aggregation = typeof aggregate === "string" ? strategies.aggregation(aggregate) : Effect.succeed(aggregate)
    return Effect.flatMap(selection, (one) => Effect.flatMap(aggregation, (other) => began(one, other)))
  }

  #plan(
    job: Job,
    options: AskOptions<never, Shape>,
    selection: Selection,
    aggregation: Aggregation,
    asked: Asked,
    tried: ReadonlyArray<Tried>
  ): Plan | NodeError | StrategyError {
    const { caller } = this.#deps
    const matches = this.#candidates(job)
    if (matches.length === 0) {
      asked.searchedAt = Number.NEGATIVE_INFINITY
      return new NodeError({ reason: caller.noPeer(job, tried) })
    }
    if (job.emit !== undefined) {
      for (const match of matches) job.emit({ _tag: "Found", match, source: this.#deps.sourceOf(match.node) })
    }
    const turn = asked.turns.get(selection.name) ?? 0
    if (asked.turns.size > MAX_TURNS) asked.turns.clear()
    asked.turns.set(selection.name, turn + 1)
    const chosen = this.#select(selection, matches, turn)
    if (chosen instanceof StrategyError) return chosen
    if (chosen.length === 0) return new NodeError({ reason: caller.noPeer(job, tried) })
    const hedgeMs = options.hedge === undefined ? undefined : Duration.toMillis(options.hedge)
    const seated = new Set(chosen)
    const spares = hedgeMs === undefined ? [] : matches.filter((match) => !seated.has(match))
    return { job, selection, aggregation, hedgeMs, chosen, spares }
  }

  #remember(job: Job): Asked {
    const fresh = (): Asked => ({ searchedAt: Number.NEGATIVE_INFINITY, turns: new Map() })
    if (job.isPlain) {
      let asked = this.#askedOfPlain.get(job.query)
      if (asked === undefined) this.#askedOfPlain.set(job.query, (asked = fresh()))
      return asked
    }
    const key = JSON.stringify(job.query)
    let asked = this.#asked.get(key)
    if (asked === undefined) {
      if (this.#asked.size >= MAX_SEARCHED) this.#asked.clear()
      this.#asked.set(key, (asked = fresh()))
    }
    return asked
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
  #select(selection: Selection, matches: ReadonlyArray<Match>, turn: number): ReadonlyArray<Match> | StrategyError {
    const { peers, random } = this.#deps
    try {
      const chosen = selection.select(matches, { random, turn, load: (match) => peers.load(match.node) })
      return [...new Set(chosen)].filter((match) => matches.includes(match))
    } catch (error) {
      return new StrategyError({ code: "Failed", strategy: selection.name, detail: messageOf(error) })
    }
  }

  #run(plan: Plan, emit: (event: AskEvent<never>) => void): Effect.Effect<Verdict> {
    return Effect.callback<Verdict>((resume) => {
      const { caller, deadlines, fork } = this.#deps
      const { job, aggregation } = plan
      const { prepare } = aggregation
      const answers: Array<Taken> = []
      const failures: Array<Failure> = []
      const timers: Array<{ cancel(): void }> = []
      const invitedOf = (match: Match): Invited => ({
        node: match.node,
        trust: match.parts.trust.value,
        score: match.score
      })
      const seats = plan.chosen.map((match): Seat => ({
        holders: [],
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

      /** Nobody is asked for the seat any more. */
      const release = (seat: Seat): void => {
        for (const vote of seat.holders.splice(0)) vote.cancel()
      }

      /** The seat's vote is now this node's; the count begins anew with what has come so far. */
      const reseat = (seat: Seat, match: Match): void => {
        seat.invited = invitedOf(match)
        tally = count()
        for (const { answer } of answers) tally.answer(answer)
        for (const { failure } of seats) if (failure !== undefined) tally.failure(failure)
      }

      const invite = (seat: Seat, match: Match): void => {
        const candidate = caller.candidateOf(match)
        let attempt: Attempt | undefined = undefined
        const vote: Vote = { cancel: () => attempt?.cancel() }
        seat.holders.push(vote)
        /** Whether what has come of the vote counts. */
        const ended = (): boolean => {
          const at = seat.holders.indexOf(vote)
          if (at >= 0) seat.holders.splice(at, 1)
          return !seat.taken
        }
        const answered = (taken: Taken): void => {
          if (ended()) guarded(() => took(seat, match, taken))
        }
        const lost = (reason: string): void => {
          if (ended()) guarded(() => failed(seat, match, reason))
        }
        const slowly = (effect: Effect.Effect<Taken, string>): void => {
          const fiber = fork(Effect.result(effect))
          vote.cancel = () => fiber.interruptUnsafe()
          fiber.addObserver((exit) => {
            if (exit._tag === "Failure") lost(messageOf(Cause.squash(exit.cause)))
            else if (Result.isFailure(exit.value)) lost(exit.value.failure)
            else answered(exit.value.success)
          })
        }
        const placing = (effect: Effect.Effect<Placed, NodeErrorReason>): void =>
          slowly(Effect.flatMap(Effect.mapError(effect, explain), (placed) => this.#prepared(plan, placed)))
        attempt = caller.begin(job, candidate, false, {
          onPlaced: (placed) =>
            prepare === undefined
              ? answered({ placed, answer: answerOf(placed, job) })
              : slowly(this.#prepared(plan, placed)),
          onFailed: (reason) =>
            reason._tag === "Countered"
              ? placing(caller.afterwards(job, candidate, false, reason))
              : lost(explain(reason)),
          onDefect: (defect) => lost(messageOf(defect))
        })
        if (attempt === undefined) placing(caller.place(job, candidate, false))
      }

      const took = (seat: Seat, match: Match, taken: Taken): void => {
        seat.taken = true
        if (seat.invited.node !== match.node) reseat(seat, match)
        release(seat)
        answers.push(taken)
        tally.answer(taken.answer)
        emit({ _tag: "Answer", answer: taken.answer })
        check()
      }

      const failed = (seat: Seat, match: Match, reason: string): void => {
        const failure: Failure = { node: match.node, reason }
        failures.push(failure)
        emit({ _tag: "Failure", failure })
        if (seat.holders.length > 0) return
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
        if (seat.holders.length === 0) reseat(seat, spare)
        invite(seat, spare)
        return true
      }

      const check = (): void => {
        if (over || !begun) return
        const decided = tally.decided()
        if (decided !== undefined) return conclude(decided)
        if (seats.every((seat) => seat.holders.length === 0)) conclude(tally.outcome())
      }

      const stop = (): void => {
        over = true
        for (const timer of timers) timer.cancel()
        seats.forEach(release)
      }

      const conclude = (outcome: Outcome): void => {
        stop()
        this.#learn(plan, outcome, answers)
        const invited = seats.map((seat) => seat.invited)
        resume(Effect.succeed(verdictOf(plan, outcome, invited, answers, failures)))
      }

      guarded(() => {
        tally = count()
        emit({ _tag: "Invited", nodes: plan.chosen.map((match) => match.node) })
        // Counters may take an agent to 1.5 times the deadline; whoever is silent beyond that has failed.
        const longest = Math.max(0, left(job) * this.#deps.counterFactor + GRACE_MS)
        timers.push(deadlines.after(longest, () => guarded(() => conclude(tally.outcome()))))
        seats.forEach((seat, index) => void (over || invite(seat, plan.chosen[index] as Match)))
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

  /** An answer, prepared for the count; or why it does not count. */
  #prepared({ aggregation, job }: Plan, placed: Placed): Effect.Effect<Taken, string> {
    const answer = answerOf(placed, job)
    return Effect.suspend(() => aggregation.prepare?.(answer, job.input) ?? Effect.succeed(answer)).pipe(
      // What is prepared may change what is counted, never whose vote it is.
      Effect.map((prepared) => ({ placed, answer: { ...prepared, node: answer.node } })),
      Effect.mapError((error) => error.message)
    )
  }

  /**
   * Trust moves once for each answer, by the verdict. Where none was reached, nobody knows who was right: only the caller's
   * own evaluator can tell then.
   */
  #learn({ job }: Plan, { dissent, status }: Outcome, answers: ReadonlyArray<Taken>): void {
    if (status !== "reached" && job.evaluate === undefined) return
    for (const { answer, placed } of answers) {
      const against = status === "reached" && dissent.includes(answer.node)
      const why = against ? "dissented" : status === "reached" ? "agreed" : "answered"
      const name = answer.capability.slice(0, Math.max(0, answer.capability.indexOf("@")))
      const move = this.#deps.trust.learn(answer.node, name, against ? 0 : placed.quality, why)
      job.emit?.({ _tag: "Trust", move })
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

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
  taken: ReadonlyArray<Taken>,
  failures: ReadonlyArray<Failure>
): Verdict => {
  const answers = taken.map(({ answer }) => answer)
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
    task: plan.job.task.hex,
    input: plan.job.input,
    invited,
    answers,
    failures,
    outcome
  }
}
