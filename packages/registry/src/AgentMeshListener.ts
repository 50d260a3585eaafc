/**
 * The task socket of an AgentMesh agent, served: other agents connect to it and send `task.request`.
 *
 * Unlike AgentMesh's own, it runs several tasks of one connection side by side, answers what it cannot read with an error frame
 * and goes on, and bounds connections, frames and tasks. There is no authentication in AgentMesh's protocol: whoever reaches the
 * port may ask. It listens on loopback unless told otherwise, and pages in a browser are turned away.
 */
import { createServer, type Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { AgentMeshError } from "./AgentMeshError.ts"
import {
  decodeRequest,
  DEFAULT_LATENCY_MS,
  encodeMalformed,
  encodeNegotiation,
  encodeResult,
  instant,
  MAX_FRAME_BYTES,
  type NegotiationResponse,
  type TaskRequest,
  type TaskResult
} from "./AgentMeshWire.ts"
import { CloseCode } from "./internal/WebSocketFrames.ts"
import { answer, refuse } from "./internal/WebSocketHandshake.ts"
import type { WebSocketLink } from "./internal/WebSocketLink.ts"

/** Most connections at once: AgentMesh's SDK opens one for each task. */
export const MAX_CONNECTIONS = 1_024
/** How long a client may take for its handshake, in milliseconds. */
export const HANDSHAKE_MS = 5_000
/** Tasks that run at once where nothing is said. */
export const DEFAULT_TASKS = 64
/** Frames of one connection that could not be read, after which it is closed: whoever sends these sends nothing else. */
export const MAX_MALFORMED = 32
/** How long running tasks may go on when the scope closes, in milliseconds. */
export const DRAIN_MS = 5_000

/** What is said to a request before it is run. */
export type Word =
  | { readonly _tag: "Accepted"; readonly estimateMs: number }
  | { readonly _tag: "Rejected"; readonly reason: string }
  | { readonly _tag: "Countered"; readonly deadlineMs: number; readonly reason: string; readonly queueDepth: number }

/** What came of a task. */
export type Outcome =
  | { readonly _tag: "Completed"; readonly output: Schema.Json }
  | { readonly _tag: "Failed"; readonly error: string }

/** Runs a task: it says `Accepted` once before it ends, or ends with another word in place of an outcome. */
export type Run = (
  request: TaskRequest,
  accept: (word: Word & { readonly _tag: "Accepted" }) => void
) => Effect.Effect<Outcome | Exclude<Word, { readonly _tag: "Accepted" }>>

/** How a task socket is served. */
export interface Options {
  /** Who answers. */
  readonly agentId: string
  /** Interface to listen on. Default: `127.0.0.1`. */
  readonly host?: string
  /** Default: 0, any free port. */
  readonly port?: number
  /** Tasks at once; one more is countered. Default: `DEFAULT_TASKS`. */
  readonly tasks?: number
  /** How long a task is taken to last, for counters. Default: AgentMesh's 5 s. */
  readonly latencyMs?: (capability: string) => number
  /** Hears of each task that begins, and that ends (then with how long it took, where it completed). */
  readonly onStart?: (taskId: string) => void
  readonly onEnd?: (taskId: string, elapsedMs: number | undefined) => void
  readonly run: Run
}

/** A served task socket. */
export interface Listener {
  readonly port: number
  /** Tasks that run now. */
  readonly running: () => number
}

const asObject = (output: Schema.Json): { readonly [key: string]: Schema.Json } =>
  typeof output === "object" && output !== null && !Array.isArray(output)
    ? (output as { readonly [key: string]: Schema.Json })
    : { result: output }

/** One connection, and its tasks. */
class Guest {
  readonly #link: WebSocketLink
  readonly #house: House
  readonly #tasks = new Set<Fiber.Fiber<void>>()
  #malformed = 0

  constructor(link: WebSocketLink, house: House) {
    this.#link = link
    this.#house = house
  }

  receive(frame: string): void {
    const request = decodeRequest(frame)
    if (!("_tag" in request)) return this.#begin(request)
    this.#link.send(encodeMalformed(request))
    this.#malformed += 1
    if (this.#malformed >= MAX_MALFORMED) {
      this.#link.close(CloseCode.PolicyViolation, `${MAX_MALFORMED} frames could not be read`)
    }
  }

  /** Nobody waits for its tasks any more. */
  leave(): void {
    for (const fiber of this.#tasks) fiber.interruptUnsafe()
  }

  close(): void {
    this.#link.close(CloseCode.GoingAway, "the agent is closing")
  }

  #say(request: TaskRequest, word: Word): void {
    const { options } = this.#house
    const response: NegotiationResponse = {
      task_id: request.task_id,
      responder_id: options.agentId,
      status: word._tag === "Accepted" ? "accepted" : word._tag === "Rejected" ? "rejected" : "countered",
      estimated_latency_ms: word._tag === "Accepted" ? Math.round(word.estimateMs) : null,
      counter_proposal:
        word._tag === "Countered"
          ? { deadline_ms: Math.round(word.deadlineMs), reason: word.reason, queue_depth: word.queueDepth }
          : null,
      reason: word._tag === "Rejected" ? word.reason : null
    }
    this.#link.send(encodeNegotiation(response))
  }

  #begin(request: TaskRequest): void {
    const house = this.#house
    const { options } = house
    if (house.closing) return this.#say(request, { _tag: "Rejected", reason: "the agent is closing" })
    if (house.running >= house.tasks) {
      const latencyMs = options.latencyMs?.(request.capability) ?? DEFAULT_LATENCY_MS
      const deadlineMs = request.deadline_ms + Math.round(latencyMs)
      return this.#say(request, { _tag: "Countered", deadlineMs, reason: "queue_full", queueDepth: house.running })
    }
    house.started()
    const startedAt = performance.now()
    let accepted = false
    const accept = (word: Word & { readonly _tag: "Accepted" }): void => {
      if (accepted) return
      accepted = true
      this.#say(request, word)
      options.onStart?.(request.task_id)
    }
    const work = Effect.suspend(() => options.run(request, accept)).pipe(
      Effect.catchCause((cause) =>
        Effect.as(Effect.logError("a task of an AgentMesh agent could not be run", cause), {
          _tag: "Failed" as const,
          error: "internal error"
        })
      ),
      Effect.map((outcome) => {
        const elapsedMs = Math.round(performance.now() - startedAt)
        if (outcome._tag === "Rejected" || outcome._tag === "Countered") {
          if (!accepted) return this.#say(request, outcome)
          return this.#result(request, elapsedMs, { _tag: "Failed", error: outcome.reason })
        }
        accept({ _tag: "Accepted", estimateMs: elapsedMs })
        this.#result(request, elapsedMs, outcome)
      }),
      Effect.onExit(() =>
        Effect.sync(() => {
          house.ended()
        })
      )
    )
    const fiber = house.fork(work)
    this.#tasks.add(fiber)
    fiber.addObserver((exit) => {
      this.#tasks.delete(fiber)
      if (accepted && exit._tag === "Failure") options.onEnd?.(request.task_id, undefined)
    })
  }

  #result(request: TaskRequest, elapsedMs: number, outcome: Outcome): void {
    const { options } = this.#house
    options.onEnd?.(request.task_id, outcome._tag === "Completed" ? elapsedMs : undefined)
    const result = (ended: Outcome): TaskResult => ({
      task_id: request.task_id,
      executor_id: options.agentId,
      status: ended._tag === "Completed" ? "completed" : "failed",
      output: ended._tag === "Completed" ? asObject(ended.output) : {},
      error: ended._tag === "Failed" ? ended.error : null,
      tokens_used: 0,
      execution_time_ms: elapsedMs,
      completed_at: instant()
    })
    if (this.#link.send(encodeResult(result(outcome))) || this.#link.closed) return
    const error = `the output is larger than a frame of ${MAX_FRAME_BYTES} bytes holds`
    this.#link.send(encodeResult(result({ _tag: "Failed", error })))
  }
}

/** What all connections of a task socket share. */
class House {
  readonly options: Options
  readonly tasks: number
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  #running = 0
  #idle: Array<() => void> = []
  closing = false

  constructor(options: Options, fork: House["fork"]) {
    this.options = options
    this.tasks = Math.max(1, options.tasks ?? DEFAULT_TASKS)
    this.fork = fork
  }
  get running(): number {
    return this.#running
  }
  started(): void {
    this.#running += 1
  }
  ended(): void {
    this.#running -= 1
    if (this.#running === 0) for (const idle of this.#idle.splice(0)) idle()
  }
  /** When nothing runs any more. */
  readonly idle: Effect.Effect<void> = Effect.callback<void>((resume) => {
    if (this.#running === 0) return resume(Effect.void)
    this.#idle.push(() => resume(Effect.void))
  })
}

/** Serves a task socket until the scope closes; it listens when this returns. */
export const make = (options: Options): Effect.Effect<Listener, AgentMeshError, Scope.Scope> =>
  Effect.gen(function* () {
    const context = yield* Effect.context<never>()
    const house = new House(options, Effect.runForkWith(context))
    const guests = new Set<Guest>()
    const sockets = new Set<Socket>()

    const welcome = (socket: Socket): void => {
      if (house.closing) return void socket.destroy()
      if (sockets.size >= MAX_CONNECTIONS) {
        socket.on("error", () => socket.destroy())
        return refuse(socket, 503, `${MAX_CONNECTIONS} connections are open; try again later`)
      }
      sockets.add(socket)
      socket.once("close", () => sockets.delete(socket))
      void answer(socket, MAX_FRAME_BYTES, HANDSHAKE_MS).then((link) => {
        if (link === undefined) return
        const guest = new Guest(link, house)
        guests.add(guest)
        link.listen({
          onMessage: (frame) => guest.receive(frame),
          onClosed: () => {
            guests.delete(guest)
            guest.leave()
          }
        })
      })
    }

    const server = createServer({ noDelay: true }, welcome)
    const host = options.host ?? "127.0.0.1"
    yield* Effect.acquireRelease(
      Effect.callback<void, AgentMeshError>((resume) => {
        server.once("error", (error) =>
          resume(
            Effect.fail(
              new AgentMeshError({
                code: "Refused",
                who: options.agentId,
                detail: `cannot listen on ${host} port ${options.port ?? 0}: ${error.message}`
              })
            )
          )
        )
        server.listen(options.port ?? 0, host, () => resume(Effect.void))
      }),
      () =>
        Effect.gen(function* () {
          house.closing = true
          yield* Effect.timeoutOption(house.idle, DRAIN_MS)
          for (const guest of guests) guest.close()
          yield* Effect.callback<void>((resume) => {
            server.close(() => resume(Effect.void))
            setTimeout(() => {
              for (const socket of sockets) socket.destroy()
            }, 100)
          }).pipe(Effect.timeoutOption(1_000))
        })
    )
    const address = server.address()
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      running: () => house.running
    }
  })
