/**
 * The caller: places a task at an executor, learns from what comes of it, and finds the next one when it must.
 */
import { Buffer } from "node:buffer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Breaker } from "../Breaker.ts"
import * as CanonicalJson from "../CanonicalJson.ts"
import { parseId } from "../Capability.ts"
import type { Connections } from "../Connections.ts"
import type { Settings } from "../Guardrails.ts"
import type { Identity } from "../Identity.ts"
import type { Match, MatchContext, Matcher } from "../Matcher.ts"
import type { Answered, CallOptions } from "../Node.ts"
import { NodeError, type NodeErrorReason, type Tried } from "../NodeError.ts"
import * as NodeId from "../NodeId.ts"
import * as Query from "../Query.ts"
import * as Receipt from "../Receipt.ts"
import type { Address, Connection, Target } from "../Transport.ts"
import type { Trust } from "../Trust.ts"
import type { Deadlines } from "./Deadlines.ts"
import type { Directory } from "./Directory.ts"
import { Attempt, type AttemptHost, type Candidate, noMoreStreams, type Placed, requestOf } from "./Attempt.ts"
import { Chunks } from "./Chunks.ts"
import type { Job } from "./Job.ts"
import * as JsonCodec from "./JsonCodec.ts"
import { Outgoing } from "./Outgoing.ts"
import type { Peers } from "./Peers.ts"

/** A call that had to search goes on this long after the first match, in ms: a round trip's worth of better ones. */
const CALL_SETTLE_MS = 50
/** Counters that one agent may make for one task before it counts as unwilling. */
const MAX_COUNTERS = 5

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
  readonly context: () => MatchContext
  /** A connection of the node to itself. */
  readonly self: () => Connection
  /** Counts what came of tasks, for metrics. */
  readonly count: (outcome: "answered" | "failed" | "failedOver") => void
}

export type { Candidate, Placed } from "./Attempt.ts"

/** Tries to get a job done by one agent; `others` says whether there are more to try. */
export type Place<A, R> = (job: Job, candidate: Candidate, others: boolean) => Effect.Effect<A, NodeErrorReason, R>

/** What was placed, and what failed before. */
export type Found<A> = readonly [A, ReadonlyArray<NodeErrorReason>]

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

/** Whether the peer is to blame: a caller that it refused does not punish it. */
const blames = (reason: NodeErrorReason): boolean => {
  switch (reason._tag) {
    case "Unreachable":
    case "Disconnected":
    case "DeadlineExceeded":
    case "HandlerFailed":
    case "OutputInvalid":
    case "BadAnswer":
      return true
    default:
      return false
  }
}

const short: Partial<Record<NodeErrorReason["_tag"], string>> = {
  Unreachable: "unreachable",
  Disconnected: "connection lost",
  DeadlineExceeded: "too late",
  HandlerFailed: "failed",
  OutputInvalid: "invalid output",
  BadAnswer: "broke the protocol"
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
  readonly #host: AttemptHost
  readonly #routes = new WeakMap<Query.Query, Route>()

  constructor(deps: Deps) {
    this.#deps = deps
    this.#host = {
      deadlines: deps.deadlines,
      peers: deps.peers,
      receive: (job, candidate, connection, body, receipt, latencyMs) => {
        const placed = this.#receive(job, candidate, connection, body, receipt, latencyMs)
        if (!("_tag" in placed)) this.#praise(job, candidate, placed)
        return placed
      },
      blame: (job, candidate, reason) => this.#blame(job, candidate, reason)
    }
  }

  /** What is left of a job's deadline, in ms. */
  left(job: Job): number {
    return job.deadlineMs - (performance.now() - job.startedAt)
  }

  candidateOf(match: Match): Candidate {
    return {
      node: match.node,
      capability: `${match.capability.name}@${match.capability.version}`,
      name: match.capability.name,
      addresses: match.record.addresses
    }
  }

  known(job: Job, limit: number): ReadonlyArray<Candidate> {
    const { matcher } = this.#deps
    const context = this.#deps.context()
    const revision = matcher.revision()
    const route = job.isPlain ? this.#routes.get(job.query) : undefined
    if (route !== undefined && route.revision === revision && route.expiresAt > context.now) return route.candidates
    const matches = matcher.match({ ...job.query, limit }, context)
    const seen = new Set<string>()
    const candidates: Array<Candidate> = []
    for (const match of matches) {
      if (seen.has(match.node)) continue
      seen.add(match.node)
      candidates.push(this.candidateOf(match))
    }
    const [only] = matches
    if (job.isPlain && limit > 1 && only !== undefined && matches.length === 1) {
      this.#routes.set(job.query, { revision, expiresAt: only.record.expiresAt, candidates })
    }
    return candidates
  }

  /**
   * One answer, as `find` with `place`, and what the caller makes of it. An agent that is known, connected and in good
   * standing is asked at once, without an effect in between; whatever else happens takes the long way.
   */
  answer<B>(
    job: Job,
    to: CallOptions["to"],
    finish: (placed: Placed, attempts: ReadonlyArray<NodeErrorReason>) => B
  ): Effect.Effect<B, NodeError> {
    const long = (found: Effect.Effect<Found<Placed>, NodeError>): Effect.Effect<B, NodeError> =>
      Effect.map(found, ([placed, attempts]) => finish(placed, attempts))
    if (to !== undefined) return long(this.find(job, to, this.place))
    const first = this.known(job, this.#deps.settings.attempts)
    const [head] = first
    const deadlineMs = this.left(job)
    const connection =
      head === undefined || deadlineMs <= 0 || this.#deps.breaker.isOpen(head.node, head.name)
        ? undefined
        : this.#live(job, head)
    if (head === undefined || connection === undefined) return long(this.#inTurn(job, first, true, this.place))
    return Effect.callback<B, NodeError>((resume) => {
      const terms = { connection, deadlineMs, budget: job.budget, others: first.length > 1 }
      const attempt = new Attempt(this.#host, job, head, terms, {
        onPlaced: (placed) => resume(Effect.succeed(finish(placed, noAttempts))),
        onFailed: (reason) => {
          const taken = this.#placed(job, head, terms.others, Effect.fail(reason))
          resume(long(this.#inTurn(job, first, true, this.place, taken)))
        },
        onDefect: (defect) => resume(Effect.die(defect))
      })
      attempt.start()
      return Effect.sync(() => attempt.cancel())
    })
  }

  /** Finds somebody for a job, and one after the other tries to place it there; what failed before comes along. */
  find<A, R>(job: Job, to: CallOptions["to"], place: Place<A, R>): Effect.Effect<Found<A>, NodeError, R> {
    if (to !== undefined) {
      return Effect.flatMap(this.#direct(job, to), (candidate) => this.#inTurn(job, [candidate], false, place))
    }
    return Effect.suspend(() => this.#inTurn(job, this.known(job, this.#deps.settings.attempts), true, place))
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
          if (!mayBeOthers || searched !== undefined || this.left(job) <= 0) break
          if (last !== undefined && !goesOn(last)) break
          searched = yield* this.search(job)
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
        job.emit?.({ _tag: "Failed", peer: next.node, reason: result.failure, next: others })
        if (!goesOn(result.failure) || this.left(job) <= 0) break
      }
      return yield* this.#giveUp(job, failed, searched ?? [])
    })
    if (head === undefined) return slowly
    tried.add(head.node)
    return (headPlaced ?? place(job, head, first.length > 1)).pipe(
      Effect.map((placed) => [placed, noAttempts] as const),
      Effect.catch((reason) => {
        failed.push(reason)
        const next = goesOn(reason) && (first.length > 1 || mayBeOthers) && this.left(job) > 0
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
    if (this.left(job) <= 0 && last._tag !== "DeadlineExceeded") {
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
  search(job: Job): Effect.Effect<ReadonlyArray<Tried>> {
    const { directory, matcher, settings } = this.#deps
    return Effect.suspend(() => {
      job.emit?.({ _tag: "Searching", wanted: job.wanted })
      const withinMs = Math.min(settings.searchMs, Math.max(1, this.left(job)))
      // One answer needs one agent: only who asks several waits for more of them.
      const settleMs = job.judge ? Math.min(settings.settleMs, CALL_SETTLE_MS) : settings.settleMs
      return matcher
        .prepare(job.query)
        .pipe(Effect.andThen(directory.search(job.query, { withinMs, settleMs, hops: settings.hops })))
    })
  }

  #direct(job: Job, to: string): Effect.Effect<Candidate, NodeError> {
    const { connections, directory, matcher, settings } = this.#deps
    const wanted = job.query.name ?? ""
    const capability = job.query.version === undefined ? wanted : `${wanted}@${job.query.version}`
    const at = (node: NodeId.NodeId): Candidate => ({
      node,
      name: wanted,
      capability,
      addresses: matcher.get(node)?.addresses ?? []
    })
    const node = NodeId.parse(to)
    if (node === undefined) {
      const unreachable = (detail: string) => new NodeError({ reason: { _tag: "Unreachable", peer: to, detail } })
      return connections.connect({ addresses: [to] }).pipe(
        Effect.map((connection) => at(connection.peer)),
        Effect.mapError((error) => unreachable(error.message)),
        Effect.timeoutOrElse({
          duration: Math.max(1, this.left(job)),
          orElse: () => Effect.fail(unreachable("no connection before the deadline"))
        }),
        Effect.tapError(() => Effect.sync(() => this.#deps.count("failed")))
      )
    }
    if (connections.get(node) !== undefined || matcher.get(node) !== undefined) return Effect.succeed(at(node))
    return directory
      .search({ node }, { withinMs: Math.min(settings.searchMs, this.left(job)), settleMs: 0, hops: settings.hops })
      .pipe(Effect.map(() => at(node)))
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
      this.#openChunks(job, candidate, connection, deadlineMs, budget, others)
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
    const { breaker } = this.#deps
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
        const live = this.#live(job, candidate)
        const asked =
          live !== undefined
            ? ask(live, deadlineMs, budget)
            : Effect.flatMap(this.#connect(job, candidate), (connection) =>
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
    return (tried ?? Effect.suspend(() => once(this.left(job), job.budget))).pipe(
      Effect.catchTag("Countered", (terms) => this.#counter(job, candidate, terms, once))
    )
  }

  #live(job: Job, candidate: Candidate): Connection | undefined {
    if (candidate.node === this.#deps.identity.nodeId) return this.#deps.self()
    const live = this.#deps.connections.get(candidate.node)
    return live !== undefined && (job.via === undefined || live.relayed) ? live : undefined
  }

  #connect(job: Job, candidate: Candidate): Effect.Effect<Connection, NodeErrorReason> {
    const { connections } = this.#deps
    const target: Effect.Effect<Target, NodeErrorReason> =
      job.via === undefined
        ? Effect.succeed({ node: candidate.node, addresses: candidate.addresses })
        : this.#throughRelay(job.via, candidate.node)
    return target.pipe(
      Effect.flatMap((found) =>
        Effect.mapError(connections.connect(found), (error): NodeErrorReason => ({
          _tag: "Unreachable",
          peer: candidate.node,
          detail: error.message
        }))
      ),
      Effect.timeoutOrElse({
        duration: Math.max(1, this.left(job)),
        orElse: () =>
          Effect.fail<NodeErrorReason>({
            _tag: "Unreachable",
            peer: candidate.node,
            detail: "no connection before the deadline"
          })
      }),
      Effect.tapError((reason) =>
        Effect.sync(() => {
          // A relay that cannot be reached is not its node's fault.
          if (reason._tag === "Unreachable" && reason.peer === candidate.node) this.#blame(job, candidate, reason)
        })
      )
    )
  }

  #throughRelay(via: Address, node: NodeId.NodeId): Effect.Effect<Target, NodeErrorReason> {
    return this.#deps.connections.connect({ addresses: [via] }).pipe(
      Effect.map((tracker) => ({ node, addresses: [relayAddress(via, tracker.peer, node)] })),
      Effect.mapError((error): NodeErrorReason => ({
        _tag: "Unreachable",
        peer: via,
        detail: `it was to relay to ${node}: ${error.message}`
      }))
    )
  }

  #counter<A, R>(
    job: Job,
    candidate: Candidate,
    first: NodeErrorReason & { readonly _tag: "Countered" },
    once: Once<A, R>
  ): Effect.Effect<A, NodeErrorReason, R> {
    const { settings } = this.#deps
    return Effect.gen({ self: this }, function* () {
      let terms = first
      // Whoever names no budget takes up the cost that is asked, by sending it as the budget.
      let budget = job.budget
      for (let round = 0; round < MAX_COUNTERS; round++) {
        const longest = job.deadlineMs * settings.counterFactor
        const takenUp =
          (terms.costUsd === undefined || job.budget === undefined || terms.costUsd <= job.budget) &&
          (terms.deadlineMs ?? 0) <= longest &&
          (terms.retryAfterMs ?? 0) < longest - (performance.now() - job.startedAt)
        this.#busy(candidate, terms.retryAfterMs ?? terms.deadlineMs ?? 0)
        job.emit?.({ _tag: "Countered", peer: candidate.node, terms, takenUp })
        if (!takenUp) break
        yield* Effect.sleep(terms.retryAfterMs ?? 0)
        const left = longest - (performance.now() - job.startedAt)
        if (job.budget === undefined && terms.costUsd !== undefined) budget = terms.costUsd
        const result = yield* Effect.result(once(left, budget))
        if (Result.isSuccess(result)) return result.success
        if (result.failure._tag !== "Countered") return yield* Effect.fail(result.failure)
        terms = result.failure
      }
      return yield* Effect.fail<NodeErrorReason>(terms)
    })
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
      const attempt = new Attempt(this.#host, job, candidate, terms, {
        onPlaced: (placed) => resume(Effect.succeed(placed)),
        onFailed: (reason) => resume(Effect.fail(reason)),
        onDefect: (defect) => resume(Effect.die(defect))
      })
      attempt.start()
      return Effect.sync(() => attempt.cancel())
    })
  }

  #openChunks(
    job: Job,
    candidate: Candidate,
    connection: Connection,
    deadlineMs: number,
    budget: number | undefined,
    others: boolean
  ): Effect.Effect<Chunks, NodeErrorReason, Scope.Scope> {
    const { breaker, deadlines, peers, settings } = this.#deps
    const { node, name } = candidate
    return Effect.gen({ self: this }, function* () {
      const began = Deferred.makeUnsafe<void, NodeErrorReason>()
      const chunks = new Chunks()
      const sentAt = performance.now()
      let over = false
      const end = (): void => {
        if (over) return
        over = true
        timer.cancel()
        silence?.cancel()
        peers.ended(node)
      }
      const fail = (reason: NodeErrorReason): void => {
        end()
        this.#blame(job, candidate, reason)
        Deferred.doneUnsafe(began, Effect.fail(reason))
        chunks.end(reason)
      }
      const stop = (reason: NodeErrorReason): void => {
        outgoing.cancel()
        fail(reason)
      }
      const tooLate = (): void =>
        stop({ _tag: "DeadlineExceeded", peer: node, deadlineMs: job.deadlineMs, where: "caller" })
      const outgoing = new Outgoing(node, requestOf(job, candidate, deadlineMs, budget), {
        onAccepted: (estimateMs, waiting) => {
          silence?.cancel()
          job.emit?.({ _tag: "Accepted", peer: node, estimateMs, waiting })
        },
        onChunk: (body) => {
          silence?.cancel()
          const bytes = excess(body, settings.maxPayloadBytes)
          if (bytes > 0) return stop({ _tag: "TooLarge", bytes, limit: settings.maxPayloadBytes })
          const json = JsonCodec.parse(body, settings.maxJsonDepth)
          const output = Result.isFailure(json) ? json : job.output.decode(json.success)
          if (Result.isFailure(output)) {
            return stop({ _tag: "OutputInvalid", capability: candidate.capability, peer: node, detail: output.failure })
          }
          chunks.push(output.success, body.length)
          if (Deferred.doneUnsafe(began, Effect.void)) breaker.note(node, name, "success")
        },
        onEnd: () => {
          end()
          breaker.note(node, name, "success")
          this.#deps.count("answered")
          const latencyMs = performance.now() - sentAt
          if (node !== this.#deps.identity.nodeId) {
            const move = this.#deps.trust.learn(node, name, 1, "streamed")
            job.emit?.({ _tag: "Trust", move })
          }
          job.emit?.({ _tag: "Answered", peer: node, latencyMs })
          chunks.end(undefined)
          Deferred.doneUnsafe(began, Effect.void)
        },
        onResult: () => {},
        onFailure: fail
      })
      peers.began(node)
      const timer = deadlines.after(deadlineMs, tooLate)
      const silence = others ? deadlines.after(deadlineMs / 2, tooLate) : undefined
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          if (over) return
          end()
          outgoing.cancel()
          job.emit?.({ _tag: "Cancelled", peer: node })
        })
      )
      if (outgoing.start(connection, job.body)) {
        chunks.flow(outgoing)
        job.emit?.({ _tag: "Sent", peer: node, relayed: connection.relayed })
      } else {
        fail(noMoreStreams(connection))
      }
      yield* Deferred.await(began)
      return chunks
    })
  }

  #receive(
    job: Job,
    candidate: Candidate,
    connection: Connection,
    body: string,
    receiptText: string | undefined,
    latencyMs: number
  ): Placed | NodeErrorReason {
    const { settings, identity } = this.#deps
    const peer = candidate.node
    const bytes = excess(body, settings.maxPayloadBytes)
    if (bytes > 0) return { _tag: "TooLarge", bytes, limit: settings.maxPayloadBytes }
    const json = JsonCodec.parse(body, settings.maxJsonDepth)
    const output = Result.isFailure(json) ? json : job.output.decode(json.success)
    if (Result.isFailure(json) || Result.isFailure(output)) {
      const detail = Result.isFailure(output) ? output.failure : "not JSON"
      return { _tag: "OutputInvalid", capability: candidate.capability, peer, detail }
    }
    let receipt: Receipt.Receipt | undefined
    if (job.receipt) {
      const checked = checkReceipt(job, candidate, identity.nodeId, json.success, receiptText)
      if (typeof checked === "string") return { _tag: "BadAnswer", peer, detail: checked }
      receipt = checked
    }
    return {
      output: output.success,
      json: json.success,
      peer,
      capability: receipt?.capability ?? candidate.capability,
      latencyMs,
      relayed: connection.relayed,
      receipt,
      quality: job.evaluate === undefined ? 1 : job.evaluate(output.success as never, latencyMs)
    }
  }

  #praise(job: Job, candidate: Candidate, placed: Placed): void {
    const { breaker, trust } = this.#deps
    breaker.note(candidate.node, candidate.name, "success")
    if (!job.judge) return
    this.#deps.count("answered")
    if (candidate.node === this.#deps.identity.nodeId) return
    const move = trust.learn(candidate.node, candidate.name, placed.quality, "answered")
    job.emit?.({ _tag: "Trust", move })
  }

  #busy(candidate: Candidate, forMs: number): void {
    this.#deps.peers.busy(candidate.node, Date.now() + forMs)
  }

  #blame(job: Job, candidate: Candidate, reason: NodeErrorReason): void {
    const { breaker, trust } = this.#deps
    if (reason._tag === "Overloaded") this.#busy(candidate, reason.retryAfterMs)
    if (!blames(reason)) return
    breaker.note(candidate.node, candidate.name, "failure")
    if (candidate.node === this.#deps.identity.nodeId) return
    const move = trust.learn(candidate.node, candidate.name, 0, short[reason._tag] ?? reason._tag)
    job.emit?.({ _tag: "Trust", move })
  }
}

const noAttempts: ReadonlyArray<NodeErrorReason> = []

/** Sends a job once, within a deadline and a budget. */
type Once<A, R> = (deadlineMs: number, budget: number | undefined) => Effect.Effect<A, NodeErrorReason, R>

/** Bytes of a text that has more than allowed, else zero. */
const excess = (text: string, limit: number): number => {
  if (text.length * 3 <= limit) return 0
  const bytes = Buffer.byteLength(text)
  return bytes > limit ? bytes : 0
}

const withoutKind = ({ stream: _stream, ...query }: Query.Query): Query.Query => query

/** `relay://HOST:PORT/TRACKER/NODE`, from the tracker's own address. */
export const relayAddress = (via: Address, tracker: NodeId.NodeId, node: NodeId.NodeId): Address =>
  `relay://${/^[a-z]+:\/\/([^/]+)/.exec(via)?.[1] ?? via}/${tracker}/${node}`

const checkReceipt = (
  job: Job,
  candidate: Candidate,
  caller: NodeId.NodeId,
  output: Schema.Json,
  text: string | undefined
): Receipt.Receipt | string => {
  if (text === undefined) return "it gave no receipt"
  let outputHash: string
  try {
    outputHash = CanonicalJson.hash(output)
  } catch {
    return "its output has no canonical form"
  }
  const receipt = Receipt.decode(text, {
    task: job.taskId(),
    executor: candidate.node,
    caller,
    inputHash: CanonicalJson.hash(job.input),
    outputHash
  })
  if (receipt instanceof Receipt.ReceiptRefused) return receipt.message
  return parseId(receipt.capability).name === candidate.name
    ? receipt
    : `its receipt is for ${receipt.capability}, and ${candidate.capability} was asked`
}

/** The answer as the caller sees it. */
export const answered = (job: Job, placed: Placed, attempts: ReadonlyArray<NodeErrorReason>): Answered<unknown> => ({
  output: placed.output,
  peer: placed.peer,
  capability: placed.capability,
  task: job.taskId(),
  latencyMs: placed.latencyMs,
  relayed: placed.relayed,
  receipt: placed.receipt,
  attempts
})
