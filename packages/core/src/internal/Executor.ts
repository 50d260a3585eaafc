/**
 * The executor: takes tasks from streams, decides, runs handlers, and answers. Plain code; each handler is one fibre.
 *
 * A task goes through the same gates always: rate, size, capability, idempotency, hops and budget, input, negotiation,
 * place. Whoever is turned away is told why. A handler is interrupted at its deadline and when nobody waits for it any more.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as EffectStream from "effect/Stream"
import type { Settings } from "../Guardrails.ts"
import type { Identity } from "../Identity.ts"
import type { NodeId } from "../NodeId.ts"
import { type Connection, ResetCode, type Stream, type StreamHandler } from "../Transport.ts"
import { type CallerSpan, RecentSpans } from "./CallerSpan.ts"
import { CurrentTask } from "./CurrentTask.ts"
import type { Deadlines } from "./Deadlines.ts"
import * as Envelope from "./Envelope.ts"
import { Held } from "./Held.ts"
import * as JsonCodec from "./JsonCodec.ts"
import { Offers } from "./Offers.ts"
import { RateLimit } from "../RateLimit.ts"
import { type Finished, Repeats } from "./Repeats.ts"
import { Running } from "./Running.ts"
import { decide, full, type Served, TaskInfo } from "./Served.ts"
import { sendChunks } from "./SendChunks.ts"
import { broken, receiptOf, refusalOf, settle } from "./Settling.ts"
import type { Tail } from "./Tail.ts"
import { Tails } from "./Tails.ts"
import { TaskId } from "./TaskId.ts"
import { type Desk, Waiter, Work } from "./Work.ts"

/** An executor tells at once that it has accepted a task when it expects to take at least this long, in ms. */
const ACCEPT_FROM_MS = 50
/** It tells at the latest after this time, in ms, so that its caller knows that somebody is at work. */
export const ACCEPT_AFTER_MS = 250
/** How much of a new duration goes into a capability's average. */
const AVERAGE_RATE = 0.1

/** What the executor needs of its node. */
export interface Deps {
  readonly identity: Identity["Service"]
  readonly settings: Settings
  readonly deadlines: Deadlines
  readonly fork: <A, E>(effect: Effect.Effect<A, E>) => Fiber.Fiber<A, E>
  readonly now: () => number
  /** For whom a peer acts; itself where there is nothing else to say. */
  readonly actsFor?: (peer: NodeId) => NodeId
}

/** Runs what a node serves. */
export class Executor implements Desk {
  readonly #deps: Deps
  readonly #served = new Offers()
  readonly #rate: RateLimit
  readonly #running = new Running<Work>()
  readonly #settled: Repeats
  readonly #held: Held
  readonly #tails: Tails
  readonly #spans = new RecentSpans()
  #draining = false
  #idle: Array<() => void> = []

  constructor(deps: Deps) {
    this.#deps = deps
    this.#rate = new RateLimit(deps.settings.ratePerSecond)
    this.#settled = new Repeats(deps.settings.idempotency)
    const { resume } = deps.settings
    this.#held = new Held(resume, deps.deadlines, (work) => this.#giveUp(work))
    this.#tails = new Tails(resume)
  }

  add(served: Served): boolean {
    return !this.#draining && this.#served.add(served)
  }
  remove(served: Served): void {
    this.#served.remove(served)
    this.#held.giveUpAll(served)
  }
  /** Gives up what is still running or waiting of a capability, and tells whoever waits for it. */
  abandon(served: Served): void {
    for (const work of this.#running.list()) {
      if (work.served !== served) continue
      const { waiters } = work
      this.#giveUp(work)
      for (const waiter of waiters) {
        waiter.refuse("rejected", { code: "Draining", detail: "the agent serves this no more" })
      }
    }
  }
  get draining(): boolean {
    return this.#draining
  }
  get running(): number {
    return this.#running.size
  }
  /** Tasks run to an answer since the start. */
  done = 0
  /** Everything served. */
  list(): ReadonlyArray<Served> {
    return this.#served.list()
  }
  /** Tasks of a capability that run or wait. */
  pending(served: Served): number {
    return served.running + served.waiting.length
  }
  /** Tasks whose caller's connection broke, and that it may come back for. */
  get held(): number {
    return this.#held.size
  }
  /** Takes nothing new from now on, and waits for no caller; `idle` is called when the last task has ended. */
  drain(idle: () => void): void {
    this.#draining = true
    this.#held.giveUpAll(undefined)
    this.#tails.forget()
    if (this.#running.size === 0) idle()
    else this.#idle.push(idle)
  }

  /** Logs what must not happen: a defect of this node, or of a plugin. */
  report(defect: unknown): void {
    this.#deps.fork(Effect.logError("a task could not be handled", defect))
  }

  readonly accept = (connection: Connection, stream: Stream): StreamHandler => new Waiter(this, connection.peer, stream)

  dispatch(waiter: Waiter, message: Uint8Array): void {
    const { settings } = this.#deps
    const bodyBytes = Envelope.requestBodyBytes(message)
    if (bodyBytes < 0 && message[0] !== Envelope.Kind.Resume) return waiter.stream.reset(ResetCode.Malformed)
    const now = this.#deps.now()
    const retryAfterMs = this.#rate.take(waiter.peer, now)
    if (retryAfterMs > 0) {
      const detail = `more than ${settings.ratePerSecond} tasks a second from one peer`
      return waiter.refuse("rejected", { code: "Overloaded", retryAfterMs, detail })
    }
    if (bodyBytes < 0) return this.#resume(waiter, message, now)
    if (bodyBytes > settings.maxPayloadBytes) {
      const limit = settings.maxPayloadBytes
      return waiter.refuse("rejected", { code: "TooLarge", bytes: bodyBytes, limit, detail: `at most ${limit} bytes` })
    }
    const request = Envelope.decodeRequest(message, this.#spans)
    if (request === undefined) return waiter.stream.reset(ResetCode.Malformed)
    waiter.request = request
    const served = this.#served.find(request.capability)
    if (served === undefined) {
      const known = this.#served.ids().slice(0, 8).join(", ")
      const detail = `it does not serve ${request.capability}${known === "" ? "" : `; it serves ${known}`}`
      return waiter.refuse("rejected", { code: "UnknownCapability", detail })
    }
    if (!this.#lets(served, waiter.peer)) {
      const detail = `it does not serve ${served.capability.id} to this caller`
      return waiter.refuse("rejected", { code: "NotAllowed", detail })
    }
    if (request.stream !== (served.capability.kind === "stream")) {
      const detail =
        served.capability.kind === "stream" ? "it answers in chunks: use stream" : "it answers at once: use call"
      return waiter.refuse("rejected", { code: "WrongKind", detail })
    }
    const running = this.#running.get(waiter.peer, request)
    if (running !== undefined) return this.#join(running, waiter, request, served)
    const settled = this.#settledOf(waiter.peer, request, now)
    if (settled !== undefined) return this.#repeat(settled, waiter, request, served)
    if (this.#draining) {
      return waiter.refuse("rejected", { code: "Draining", detail: "the agent is closing and takes no new tasks" })
    }
    this.#admit(waiter, request, served, now)
  }

  /** A node always calls what it serves itself. */
  #lets(served: Served, peer: NodeId): boolean {
    const { actsFor, identity } = this.#deps
    return served.open || peer === identity.nodeId || served.lets(peer, actsFor?.(peer) ?? peer)
  }

  #join(work: Work, waiter: Waiter, request: Envelope.ReceivedRequest, served: Served): void {
    if (work.request.body !== request.body || work.served !== served || served.capability.kind === "stream") {
      return waiter.refuse("rejected", { code: "KeyReused", detail: "this idempotency key is in use for another task" })
    }
    waiter.work = work
    work.join(waiter)
    if (work.accepted !== undefined) this.#sendAccepted(work, work.accepted, waiter)
  }

  #repeat(settled: Finished, waiter: Waiter, request: Envelope.ReceivedRequest, served: Served): void {
    if (settled.input !== request.body || settled.capability !== served.capability.id) {
      return waiter.refuse("rejected", { code: "KeyReused", detail: "this idempotency key was used for another input" })
    }
    this.#answer(waiter, settled, served.bytes)
  }

  /** The answer of a task, as long as it is repeated. */
  #settledOf(caller: NodeId, id: TaskId, now: number): Finished | undefined {
    const settled = this.#settled.get(caller, id)
    return settled === undefined || now - settled.finishedAt > this.#deps.settings.idempotency.ms ? undefined : settled
  }

  /** A caller comes back for its task. */
  #resume(waiter: Waiter, message: Uint8Array, now: number): void {
    const resume = Envelope.decodeResume(message)
    if (resume === undefined) return waiter.stream.reset(ResetCode.Malformed)
    const { peer } = waiter
    const work = this.#running.get(peer, resume)
    if (work !== undefined) {
      if (this.#rejoin(work, waiter, resume)) return
    } else if (resume.stream) {
      const tail = this.#tails.get(peer, resume, now)
      if (tail?.has(resume.next) === true) {
        waiter.tail = tail
        tail.attach(waiter.stream, resume.next)
        return
      }
    } else {
      const settled = this.#settledOf(peer, resume, now)
      if (settled !== undefined) {
        waiter.request = resume
        return this.#answer(waiter, settled, this.#served.get(settled.capability)?.bytes === true)
      }
    }
    const what = resume.stream ? `the task from chunk ${resume.next} on` : "the task"
    waiter.refuse("rejected", { code: "UnknownTask", detail: `it does not have ${what}, or not any more` })
  }

  #rejoin(work: Work, waiter: Waiter, resume: Envelope.ReceivedResume): boolean {
    const { served, tail } = work
    if (resume.stream !== (served.capability.kind === "stream")) return false
    if (resume.stream) {
      if (tail === undefined ? resume.next !== 0 : !tail.has(resume.next)) return false
      // There is one reader: whoever read before does so on a connection of which its end has not been heard yet.
      for (const before of work.waiters) {
        work.leave(before)
        before.release()
        tail?.detach(before.stream)
        before.stream.reset(ResetCode.Cancelled)
      }
    }
    // An acceptance tells that the task is still there; nobody hears another one.
    work.accept?.cancel()
    if (work.accepted === undefined) this.#tellAccepted(work, 0)
    waiter.request = resume
    waiter.work = work
    work.join(waiter)
    this.#held.drop(work)
    this.#sendAccepted(work, work.accepted ?? 0, waiter)
    waiter.tail = tail
    tail?.attach(waiter.stream, resume.next)
    return true
  }

  #admit(waiter: Waiter, request: Envelope.ReceivedRequest, served: Served, now: number): void {
    const { settings } = this.#deps
    const cost = served.capability.record.cost?.usdPerCall ?? 0
    if (request.budget !== undefined && cost > request.budget) {
      return waiter.refuse("countered", { costUsd: cost, detail: `it costs $${cost} a call` })
    }
    const json = JsonCodec.parse(request.body, settings.maxJsonDepth)
    const input = json instanceof JsonCodec.Unfit ? json : served.input.decode(json)
    if (json instanceof JsonCodec.Unfit || input instanceof JsonCodec.Unfit) {
      return waiter.refuse("rejected", { code: "InputInvalid", detail: (input as JsonCodec.Unfit).detail })
    }
    const deadlineMs = Math.min(request.deadlineMs, settings.maxDeadlineMs)
    const task = new TaskInfo(request, waiter.peer, now + deadlineMs)
    if (served.negotiate !== undefined) {
      const decision = decide(served.negotiate, task, json, served)
      if (decision._tag === "Reject") {
        return waiter.refuse("rejected", { code: decision.code, detail: decision.detail })
      }
      if (decision._tag === "Counter") {
        const { _tag, ...terms } = decision
        return waiter.refuse("countered", terms)
      }
    }
    const queued = !served.hasPlace(waiter.peer)
    const before = queued ? served.waiting.before(waiter.peer) : 0
    const waitMs = queued ? Math.ceil((before + 1) / served.concurrency) * served.averageMs : 0
    const needMs = Math.ceil(waitMs + served.averageMs)
    if (queued) {
      const waits = needMs <= deadlineMs && served.waiting.fits(waiter.peer, request.body.length)
      const displaced = waits && served.waiting.displaced(waiter.peer)
      if (displaced === false) return waiter.refuse("countered", full(served, needMs))
      if (displaced !== undefined) this.#displace(displaced)
    }
    const work = new Work(served, request, input, task, waiter, now)
    waiter.work = work
    this.#running.add(work)
    if (queued || needMs >= ACCEPT_FROM_MS) this.#tellAccepted(work, queued ? before + 1 : 0)
    if (queued) {
      served.waiting.push(work)
      this.#limit(work)
      this.#held.makeWay(served)
    } else {
      this.#start(work, now)
    }
  }

  #tellAccepted(work: Work, waiting: number): void {
    work.accepted = waiting
    for (const waiter of work.waiters) this.#sendAccepted(work, waiting, waiter)
  }

  #sendAccepted(work: Work, waiting: number, waiter: Waiter): void {
    const estimateMs = work.served.averageMs * (1 + waiting / work.served.concurrency)
    waiter.stream.send(Envelope.encodeAccepted(estimateMs, waiting), undefined, false)
  }

  #start(work: Work, now: number): void {
    const { served } = work
    served.running += 1
    work.startedAt = now
    let effect: Effect.Effect<unknown, unknown>
    if (served.capability.kind === "stream") this.#openTail(work)
    try {
      const made = served.run(work.input, work.task)
      effect = EffectStream.isStream(made) ? sendChunks(work, made, this.#deps.settings.maxPayloadBytes) : made
    } catch (error) {
      effect = Effect.fail(error)
    }
    let { services } = served
    const { trace } = work.request
    if (trace !== undefined) {
      if (served.traced) effect = inSpan(effect, trace, work)
      else services = trace.within(services)
    }
    // What has ended before it began needs no fibre.
    if (Exit.isExit(effect)) return this.#finish(work, effect)
    const fiber = Effect.runForkWith(Context.add(services, CurrentTask, work.task))(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#finish(work, exit)
    work.fiber = fiber
    served.waiting.took(work.caller)
    fiber.addObserver((ended) => {
      try {
        this.#finish(work, ended)
      } catch (defect) {
        this.report(defect)
      }
    })
    this.#held.started(work)
    // Whoever waited for it may have gone while it began.
    if (!this.#running.has(work)) return fiber.interruptUnsafe()
    if (work.deadline === undefined) this.#limit(work)
    if (work.accepted === undefined) {
      work.accept = this.#deps.deadlines.after(ACCEPT_AFTER_MS, () => this.#tellAccepted(work, 0))
    }
  }

  #openTail(work: Work): void {
    const { waiter } = work
    const tail = this.#tails.open(work.caller)
    work.tail = tail
    if (waiter === undefined) return
    waiter.tail = tail
    tail.attach(waiter.stream, 0)
  }

  #finish(work: Work, exit: Exit.Exit<unknown, unknown>): void {
    this.#conclude(work, exit)
    const { served } = work
    if (served.idle.length > 0 && this.pending(served) === 0) for (const idle of served.idle.splice(0)) idle()
  }

  #conclude(work: Work, exit: Exit.Exit<unknown, unknown>): void {
    const { served } = work
    const now = this.#deps.now()
    served.running -= 1
    // What ended as it began had no place that anybody could have had.
    if (work.fiber !== undefined) served.waiting.gaveBack(work.caller)
    served.averageMs += AVERAGE_RATE * (now - work.startedAt - served.averageMs)
    if (served.waiting.length > 0) this.#next(served)
    if (!this.#forget(work)) return
    const refusal = refusalOf(work, exit)
    if (refusal !== undefined) {
      const { _tag, ...body } = refusal
      for (const waiter of work.waiters) {
        if (!waiter.closed) waiter.refuse(_tag === "Reject" ? "rejected" : "countered", body)
      }
      if (work.tail !== undefined) this.#tails.close(work.tail)
      return
    }
    const settled = settle(work, exit, this.#deps.settings.maxPayloadBytes, now)
    this.done += 1
    if (settled.kind === "result") served.done += 1
    else served.failed += 1
    if (work.tail !== undefined) return this.#endTail(work, work.tail, settled)
    this.#settled.set(work.task.caller, settled)
    for (let { waiter } = work; waiter !== undefined; waiter = waiter.behind)
      this.#answer(waiter, settled, served.bytes)
  }

  /** The end goes the way of the chunks, and may be asked for again. */
  #endTail(work: Work, tail: Tail, settled: Finished): void {
    for (const waiter of work.waiters) waiter.release()
    const { a, b, c, d } = work.id
    // A request is not kept for the sake of its id.
    this.#tails.ended(work.caller, new TaskId(a, b, c, d), tail, this.#deps.now())
    if (settled.kind === "failed") tail.end(Envelope.heads.failed, settled.body)
    else tail.end(Envelope.encodeEnd, undefined)
  }

  #answer(waiter: Waiter, settled: Finished, bytes: boolean): void {
    if (waiter.closed) return
    if (settled.kind === "failed") {
      waiter.stream.send(Envelope.heads.failed, settled.body, true)
    } else {
      let receipt: string | undefined
      try {
        receipt = waiter.request?.receipt === true ? receiptOf(this.#deps.identity, waiter.peer, settled) : undefined
      } catch (error) {
        // Input or output without a canonical form, such as a lone surrogate: there is nothing to sign.
        const detail = error instanceof Error ? error.message : String(error)
        return waiter.refuse("failed", { by: "executor", code: "NoReceipt", detail })
      }
      const raw = bytes && waiter.request?.bytes === true
      const body = raw ? Envelope.bytesOf(settled.body) : settled.body
      waiter.stream.send(Envelope.encodeResult(receipt, raw), body, true)
    }
    waiter.release()
  }

  /** Sees to it that a task ends at its deadline. One whose handler ends at once needs no timer. */
  #limit(work: Work): void {
    const { deadlines, now, settings } = this.#deps
    const most = Math.min(work.request.deadlineMs, settings.maxDeadlineMs)
    const left = work.task.deadline - now() + 1
    work.deadline = deadlines.after(Math.max(0, Math.min(most, left)), () => this.#expire(work))
  }

  #expire(work: Work): void {
    if (!this.#running.has(work)) return
    work.expired = true
    if (work.fiber !== undefined) return work.fiber.interruptUnsafe()
    work.served.waiting.remove(work)
    this.#forget(work)
    const settled = broken(work, "DeadlineExceeded", "it was still waiting for a place", this.#deps.now())
    for (const waiter of work.waiters) this.#answer(waiter, settled, work.served.bytes)
  }

  /** A caller has gone. Without anyone left to answer, the handler is interrupted; with a chance that it comes back, later. */
  leave(work: Work, waiter: Waiter, broken: boolean): void {
    if (!this.#running.has(work)) return
    work.leave(waiter)
    if (work.waiter !== undefined) return
    if (broken && !this.#draining && this.#held.add(work)) return
    this.#giveUp(work)
  }

  /** Nobody is to have an answer of it. */
  #giveUp(work: Work): void {
    work.served.waiting.remove(work)
    this.#forget(work)
    if (work.tail !== undefined) this.#tails.close(work.tail)
    work.fiber?.interruptUnsafe()
  }

  /** A task that waits gives its place to another caller's, and its own caller is told to come back. */
  #displace(work: Work): void {
    const { served, waiters } = work
    served.waiting.remove(work)
    this.#forget(work)
    for (const waiter of waiters) waiter.refuse("countered", full(served, Math.ceil(served.averageMs)))
  }

  #next(served: Served): void {
    if (served.advancing) return
    served.advancing = true
    try {
      for (let next = served.waiting.shift(served.free); next !== undefined; next = served.waiting.shift(served.free)) {
        this.#start(next, this.#deps.now())
      }
    } finally {
      served.advancing = false
    }
  }

  #forget(work: Work): boolean {
    work.deadline?.cancel()
    work.accept?.cancel()
    this.#held.drop(work)
    if (!this.#running.delete(work)) return false
    if (this.#draining && this.#running.size === 0) {
      const idle = this.#idle
      this.#idle = []
      queueMicrotask(() => {
        for (const each of idle) each()
      })
    }
    return true
  }
}

/** A handler in a span of its own, for a node that has a tracer. */
const inSpan = <A, E>(effect: Effect.Effect<A, E>, parent: CallerSpan, { served, task }: Work): Effect.Effect<A, E> =>
  Effect.withSpan(effect, `serve ${served.capability.id}`, {
    parent,
    attributes: { "parley.caller": task.caller, "parley.task": task.id },
    captureStackTrace: false
  })
