/**
 * The caller: places a task at an executor, learns from what comes of it, and finds the next one when it must.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Breaker } from "../Breaker.ts"
import type { CapabilityRecord } from "../Capability.ts"
import type { Connections } from "../Connections.ts"
import type { Settings } from "../Guardrails.ts"
import type { Identity } from "../Identity.ts"
import type { Match, MatchContext, Matcher } from "../Matcher.ts"
import type { CallOptions } from "../Node.ts"
import { NodeError, type NodeErrorReason, type Tried } from "../NodeError.ts"
import * as Query from "../Query.ts"
import type { Connection } from "../Transport.ts"
import type { Trust } from "../Trust.ts"
import { read } from "./Answer.ts"
import {
  type Attempt,
  type AttemptHost,
  Awaited,
  Cancelling,
  type Goal,
  type Outcome,
  type Placed,
  Told
} from "./Attempt.ts"
import type { Chunks } from "./Chunks.ts"
import { type Once, takeUp } from "./Counters.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Directory } from "./Directory.ts"
import { Experience } from "./Experience.ts"
import { type Job, left } from "./Job.ts"
import { limited } from "./Limited.ts"
import { type Deps as Streaming, openStream } from "./OpenStream.ts"
import type { Candidate } from "./Outgoing.ts"
import type { Peers } from "./Peers.ts"
import { Reach } from "./Reach.ts"
import type { Recovery } from "./Recovery.ts"

/** A call that had to search goes on this long after the first match, in ms: a round trip's worth of better ones. */
const CALL_SETTLE_MS = 50

/** What the caller needs of its node. */
export interface Deps {
  readonly identity: Identity["Service"]
  readonly connections: Connections["Service"]
  readonly matcher: Matcher["Service"]
  readonly directory: Directory
  readonly trust: Trust["Service"]
  readonly breaker: Breaker
  readonly peers: Peers
  readonly settings: Settings
  readonly deadlines: Deadlines
  readonly recovery: Recovery
  readonly context: () => MatchContext
  /** A connection of the node to itself. */
  readonly self: () => Connection
  /** Counts what came of tasks, for metrics. */
  readonly count: (outcome: "answered" | "failed" | "failedOver") => void
}

export type { Placed } from "./Attempt.ts"
export type { Candidate } from "./Outgoing.ts"

/** Tries to get a job done by one agent; `others` says whether there are more to try. */
export type Place<A, R> = (job: Job, candidate: Candidate, others: boolean) => Effect.Effect<A, NodeErrorReason, R>

/** What was placed, and what failed before. */
export type Found<A> = readonly [A, ReadonlyArray<NodeErrorReason>]

/** How a call ends: what is made of its answer, wherever that came from. */
export interface Ending<B> extends Goal<B, NodeError> {
  readonly finish: (job: Job, placed: Placed, attempts: ReadonlyArray<NodeErrorReason>) => B
}

/** Whether another agent may do better after this failure. */
const goesOn = (reason: NodeErrorReason): boolean => {
  switch (reason._tag) {
    case "HandlerFailed":
    case "InputInvalid":
    case "BadQuery":
    case "NoPeer":
    case "CannotServe":
      return false
    default:
      return true
  }
}

/** The one agent that a query found, which needs no comparing: good until the index changes or its record expires. */
interface Route {
  readonly revision: number
  readonly expiresAt: number
  readonly candidates: ReadonlyArray<Candidate>
}

/** Places tasks. */
export class Caller {
  readonly #deps: Deps
  readonly #experience: Experience
  readonly #reach: Reach
  readonly #host: AttemptHost
  readonly #streaming: Streaming
  readonly #routes = new WeakMap<Query.Query, Route>()
  /** What was made of matches, by what these offer. */
  readonly #candidates = new WeakMap<CapabilityRecord, Candidate>()

  constructor(deps: Deps) {
    const { breaker, count, deadlines, identity, peers, recovery, settings, trust } = deps
    const experience = new Experience(identity.nodeId, trust, breaker, peers)
    this.#deps = deps
    this.#experience = experience
    this.#reach = new Reach({ ...deps, self: identity.nodeId, loopback: deps.self, experience })
    this.#streaming = { deadlines, peers, recovery, settings, experience, count }
    this.#host = {
      deadlines,
      peers,
      recovery,
      experience,
      receive: (job, candidate, connection, body, receipt, latencyMs) => {
        const placed = read(settings, identity.nodeId, job, candidate, connection, body, receipt, latencyMs)
        if ("_tag" in placed) return placed
        experience.works(candidate)
        if (job.judge) {
          count("answered")
          experience.praise(job, candidate, placed.quality, "answered")
        }
        return placed
      }
    }
  }

  candidateOf(match: Match): Candidate {
    const { capability, node, record } = match
    const known = this.#candidates.get(capability)
    if (known !== undefined && known.node === node && known.addresses === record.addresses) return known
    const candidate: Candidate = {
      node,
      capability: `${capability.name}@${capability.version}`,
      name: capability.name,
      addresses: record.addresses
    }
    this.#candidates.set(capability, candidate)
    return candidate
  }

  known(job: Job, limit: number): ReadonlyArray<Candidate> {
    const { matcher } = this.#deps
    const revision = matcher.revision()
    const route = job.isPlain ? this.#routes.get(job.query) : undefined
    if (route !== undefined && route.revision === revision && route.expiresAt > Date.now()) return route.candidates
    const matches = matcher.match(limited(job.query, limit), this.#deps.context())
    const candidates: Array<Candidate> = []
    for (const match of matches) {
      if (!candidates.some(({ node }) => node === match.node)) candidates.push(this.candidateOf(match))
    }
    const [only] = matches
    if (job.isPlain && limit > 1 && only !== undefined && matches.length === 1) {
      this.#routes.set(job.query, { revision, expiresAt: only.record.expiresAt, candidates })
    }
    return candidates
  }

  /** One ending serves all calls of a kind. */
  ending<B>(finish: Ending<B>["finish"]): Ending<B> {
    return {
      finish,
      onPlaced: (job, placed) => Effect.succeed(finish(job, placed, noAttempts)),
      onFailed: (job, head, reason) => {
        const others = this.known(job, this.#deps.settings.attempts).filter(({ node }) => node !== head.node)
        const placed = this.#placed(job, head, others.length > 0, Effect.fail(reason))
        return finishing(job, this.#inTurn(job, [head, ...others], true, this.place, placed), finish)
      }
    }
  }

  /**
   * One answer, as `find` with `place`. An agent that is known, connected and in good standing is asked at once, without an
   * effect in between, and the attempt is given back; whatever else happens takes the long way. `resume` hears of either.
   */
  answer<B>(
    job: Job,
    to: CallOptions["to"],
    ending: Ending<B>,
    resume: (effect: Effect.Effect<B, NodeError>) => void
  ): Attempt | undefined {
    const { deadlineMs } = job
    const candidates = to === undefined ? this.known(job, this.#deps.settings.attempts) : noCandidates
    const head = candidates[0]
    const connection =
      head === undefined || deadlineMs <= 0 || this.#deps.breaker.isOpen(head.node, head.name)
        ? undefined
        : this.#reach.live(job, head)
    if (head === undefined || connection === undefined) {
      const found = to === undefined ? this.#inTurn(job, candidates, true, this.place) : this.find(job, to, this.place)
      resume(finishing(job, found, ending.finish))
      return undefined
    }
    const terms = { connection, deadlineMs, budget: job.budget, others: candidates.length > 1 }
    const attempt = new Awaited(this.#host, job, head, terms, ending, resume)
    attempt.start(job.startedAt)
    return attempt
  }

  /**
   * Asks one agent at once, without an effect in between, where it is connected and in good standing; `place` does it for all
   * others. What comes of it may be told before this returns.
   */
  begin(job: Job, candidate: Candidate, others: boolean, outcome: Outcome): Attempt | undefined {
    const deadlineMs = left(job)
    if (deadlineMs <= 0 || this.#deps.breaker.isOpen(candidate.node, candidate.name)) return undefined
    const connection = this.#reach.live(job, candidate)
    if (connection === undefined) return undefined
    const terms = { connection, deadlineMs, budget: job.budget, others }
    const attempt = new Told(this.#host, job, candidate, terms, outcome)
    attempt.start(performance.now())
    return attempt
  }

  /** Goes on where what `begin` began has failed: takes up a counter, or fails. */
  afterwards(
    job: Job,
    candidate: Candidate,
    others: boolean,
    reason: NodeErrorReason
  ): Effect.Effect<Placed, NodeErrorReason> {
    return this.#placed(job, candidate, others, Effect.fail(reason))
  }

  /** Finds somebody for a job, and one after the other tries to place it there; what failed before comes along. */
  find<A, R>(job: Job, to: CallOptions["to"], place: Place<A, R>): Effect.Effect<Found<A>, NodeError, R> {
    if (to !== undefined) {
      return Effect.flatMap(this.#named(job, to), (candidate) => this.#inTurn(job, [candidate], false, place))
    }
    return Effect.suspend(() => this.#inTurn(job, this.known(job, this.#deps.settings.attempts), true, place))
  }

  #named(job: Job, to: string): Effect.Effect<Candidate, NodeError> {
    return Effect.tapError(this.#reach.find(job, to), () => Effect.sync(() => this.#deps.count("failed")))
  }

  #inTurn<A, R>(
    job: Job,
    first: ReadonlyArray<Candidate>,
    mayBeOthers: boolean,
    place: Place<A, R>,
    headPlaced?: Effect.Effect<A, NodeErrorReason, R>
  ): Effect.Effect<Found<A>, NodeError, R> {
    const { settings } = this.#deps
    const head = first[0]
    const failed: Array<NodeErrorReason> = []
    const tried = new Set<string>()
    const slowly = Effect.gen({ self: this }, function* () {
      let queue = head === undefined ? [] : first.slice(1)
      let searched: ReadonlyArray<Tried> | undefined
      while (tried.size < settings.attempts) {
        const next = queue.find((candidate) => !tried.has(candidate.node))
        if (next === undefined) {
          const last = failed.at(-1)
          if (!mayBeOthers || searched !== undefined || left(job) <= 0) break
          if (last !== undefined && !goesOn(last)) break
          searched = yield* this.search(job, tried)
          queue = [...this.known(job, settings.attempts * 2)]
          continue
        }
        tried.add(next.node)
        const others = queue.some((candidate) => !tried.has(candidate.node))
        const result = yield* Effect.result(place(job, next, others))
        if (Result.isSuccess(result)) {
          if (failed.length > 0) this.#deps.count("failedOver")
          return [result.success, failed] as const
        }
        failed.push(result.failure)
        const goes = goesOn(result.failure) && left(job) > 0
        job.emit?.({ _tag: "Failed", peer: next.node, reason: result.failure, next: goes && others })
        if (!goes) break
      }
      return yield* this.#giveUp(job, failed, searched ?? [])
    })
    if (head === undefined) return slowly
    tried.add(head.node)
    return (headPlaced ?? place(job, head, first.length > 1)).pipe(
      Effect.map((placed) => [placed, noAttempts] as const),
      Effect.catch((reason) => {
        failed.push(reason)
        const next = goesOn(reason) && (first.length > 1 || mayBeOthers) && left(job) > 0
        job.emit?.({ _tag: "Failed", peer: head.node, reason, next })
        return next ? slowly : this.#giveUp(job, failed, [])
      })
    )
  }

  #giveUp(
    job: Job,
    failed: ReadonlyArray<NodeErrorReason>,
    searched: ReadonlyArray<Tried>
  ): Effect.Effect<never, NodeError> {
    this.#deps.count("failed")
    const last = failed.at(-1)
    if (last === undefined) return Effect.fail(new NodeError({ reason: this.noPeer(job, searched) }))
    if (left(job) <= 0 && last._tag !== "DeadlineExceeded") {
      const reason: NodeErrorReason = { _tag: "DeadlineExceeded", deadlineMs: job.deadlineMs, where: "caller" }
      return Effect.fail(new NodeError({ reason, attempts: [...failed] }))
    }
    return Effect.fail(new NodeError({ reason: last, attempts: failed.length > 1 ? [...failed] : [] }))
  }

  noPeer(job: Job, searched: ReadonlyArray<Tried>): NodeErrorReason {
    const { matcher } = this.#deps
    const known = Math.max(0, matcher.size().records - 1)
    return {
      _tag: "NoPeer",
      wanted: Query.describe(withoutKind(job.query)),
      tried: [{ step: "known records", detail: `${known} ${known === 1 ? "agent" : "agents"}` }, ...searched],
      closest: job.query.name === undefined ? [] : [...matcher.closest(job.query.name, 3)]
    }
  }

  /** Searches the mesh for a job; what is found is then among the known records. */
  search(job: Job, except: ReadonlySet<string> = new Set()): Effect.Effect<ReadonlyArray<Tried>> {
    const { directory, matcher, settings } = this.#deps
    return Effect.suspend(() => {
      job.emit?.({ _tag: "Searching", wanted: job.wanted })
      const withinMs = Math.min(settings.searchMs, Math.max(1, left(job)))
      // One answer needs one agent: only who asks several waits for more of them.
      const settleMs = job.judge ? Math.min(settings.settleMs, CALL_SETTLE_MS) : settings.settleMs
      return matcher
        .prepare(job.query)
        .pipe(Effect.andThen(directory.search(job.query, { withinMs, settleMs, hops: settings.hops, except })))
    })
  }

  /** Places a job at one agent for one answer. */
  readonly place: Place<Placed, never> = (job, candidate, others) => this.#placed(job, candidate, others, undefined)

  #placed(
    job: Job,
    candidate: Candidate,
    others: boolean,
    tried: Effect.Effect<Placed, NodeErrorReason> | undefined
  ): Effect.Effect<Placed, NodeErrorReason> {
    return this.#negotiated(
      job,
      candidate,
      (connection, deadlineMs, budget) => this.#attempt(job, candidate, connection, deadlineMs, budget, others),
      tried
    )
  }

  /** Places a job at one agent for an answer in chunks; it stands once the first chunk is there. */
  readonly open: Place<Chunks, Scope.Scope> = (job, candidate, others) =>
    this.#negotiated(job, candidate, (connection, deadlineMs, budget) =>
      openStream(this.#streaming, job, candidate, { connection, deadlineMs, budget, others })
    )

  /**
   * Asks the circuit, connects, asks the agent, and takes up counters as far as the caller allows. With `tried`, it has been
   * asked once already.
   */
  #negotiated<A, R>(
    job: Job,
    candidate: Candidate,
    ask: (
      connection: Connection,
      deadlineMs: number,
      budget: number | undefined
    ) => Effect.Effect<A, NodeErrorReason, R>,
    tried?: Effect.Effect<A, NodeErrorReason, R>
  ): Effect.Effect<A, NodeErrorReason, R> {
    const { breaker, settings } = this.#deps
    const { node, name } = candidate
    const once: Once<A, R> = (deadlineMs, budget) =>
      Effect.suspend(() => {
        if (deadlineMs <= 0) {
          return Effect.fail<NodeErrorReason>({
            _tag: "DeadlineExceeded",
            deadlineMs: job.deadlineMs,
            where: "caller"
          })
        }
        const { ok, probe, retryAfterMs } = breaker.admit(node, name)
        if (!ok) {
          const reason: NodeErrorReason = { _tag: "CircuitOpen", peer: node, retryAfterMs: Math.ceil(retryAfterMs) }
          return Effect.fail(reason)
        }
        const began = performance.now()
        const live = this.#reach.live(job, candidate)
        const asked =
          live !== undefined
            ? ask(live, deadlineMs, budget)
            : Effect.flatMap(this.#reach.connect(job, candidate), (connection) =>
                Effect.suspend(() => ask(connection, deadlineMs - (performance.now() - began), budget))
              )
        // A probe that came to neither success nor failure leaves its place to the next one.
        return probe
          ? Effect.ensuring(
              asked,
              Effect.sync(() => breaker.note(node, name, "abandoned"))
            )
          : asked
      })
    return (tried ?? Effect.suspend(() => once(left(job), job.budget))).pipe(
      Effect.catchTag("Countered", (terms) =>
        takeUp(job, candidate, terms, once, settings.counterFactor, this.#experience)
      )
    )
  }

  #attempt(
    job: Job,
    candidate: Candidate,
    connection: Connection,
    deadlineMs: number,
    budget: number | undefined,
    others: boolean
  ): Effect.Effect<Placed, NodeErrorReason> {
    return Effect.callback<Placed, NodeErrorReason>((resume) => {
      const terms = { connection, deadlineMs, budget, others }
      const attempt = new Awaited(this.#host, job, candidate, terms, asItCame, resume)
      attempt.start(performance.now())
      return new Cancelling(attempt)
    })
  }
}

const asItCame: Goal<Placed, NodeErrorReason> = {
  onPlaced: (_job, placed) => Effect.succeed(placed),
  onFailed: (_job, _candidate, reason) => Effect.fail(reason)
}

const finishing = <B>(
  job: Job,
  found: Effect.Effect<Found<Placed>, NodeError>,
  finish: Ending<B>["finish"]
): Effect.Effect<B, NodeError> => Effect.map(found, ([placed, attempts]) => finish(job, placed, attempts))

const noCandidates: ReadonlyArray<Candidate> = []
const noAttempts: ReadonlyArray<NodeErrorReason> = []

const withoutKind = ({ stream: _stream, ...query }: Query.Query): Query.Query => query
