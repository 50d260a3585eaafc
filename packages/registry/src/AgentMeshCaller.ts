/**
 * Calls AgentMesh agents on their task sockets, as AgentMesh's own SDK does: ask, negotiate, wait for the result.
 *
 * An agent runs what comes on one connection one task after another, so each task has a connection to itself while it runs; what
 * is left over serves the next one. A counter within 1.5 times the deadline is taken up, after a pause: AgentMesh's SDK asks
 * again at once, when the place that it was countered for cannot be free yet.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { AgentMeshError } from "./AgentMeshError.ts"
import {
  COUNTER_FACTOR,
  decodeReply,
  encodeRequest,
  freshTaskId,
  instant,
  MAX_FRAME_BYTES,
  NEGOTIATION_MS,
  type Reply,
  type TaskResult
} from "./AgentMeshWire.ts"
import { dial, type Target } from "./internal/WebSocketHandshake.ts"
import type { WebSocketLink } from "./internal/WebSocketLink.ts"
import type { TraceEventType } from "./Model.ts"

/** Most tasks that one agent is given at once, whatever it says: each costs a connection. */
export const MAX_PLACES = 64
/** How long a connection that nobody uses is kept, in milliseconds. */
export const IDLE_MS = 30_000
/** Pauses before a countered task is asked for again, in milliseconds; after the last one it counts as countered. */
export const PAUSES_MS: ReadonlyArray<number> = [100, 300, 900]
/** Frames that nobody asked for, beyond which a connection is cut. */
const MAX_UNREAD = 8

/** An agent that can be called. */
export interface Callee {
  readonly id: string
  readonly endpoint: string
  /** Its `max_concurrent_tasks`. */
  readonly places: number
}

/** A task for an agent. */
export interface Order {
  /** The capability, by the name that the agent gave it. */
  readonly capability: string
  readonly input: { readonly [key: string]: Schema.Json }
  readonly deadlineMs: number
  /** Told to the agent, which shows it to nobody: who asks really. */
  readonly context?: string
  /** Hears what becomes of it. A countered task that is asked for again has a new id. */
  readonly onEvent?: (event: TraceEventType, taskId: string, payload: { readonly [key: string]: Schema.Json }) => void
}

/** Looks at an endpoint, and says where it may be dialled. */
export type Resolve = (agent: string, endpoint: string) => Effect.Effect<Target, AgentMeshError>

/** Calls AgentMesh agents. */
export interface Caller {
  /** The agent's result, which has the status `completed`. It is interruptible: the agent is then left to itself. */
  readonly call: (callee: Callee, order: Order) => Effect.Effect<TaskResult, AgentMeshError>
  /** Closes what is open to an agent and not in use. */
  readonly forget: (agent: string) => void
}

/** A connection, and what came on it that nobody has read. */
class Talk {
  readonly #link: WebSocketLink
  readonly #unread: Array<string> = []
  #wake: (() => void) | undefined
  #closed: string | undefined
  idle: ReturnType<typeof setTimeout> | undefined

  constructor(link: WebSocketLink) {
    this.#link = link
    link.listen({
      onMessage: (text) => {
        if (this.#unread.length >= MAX_UNREAD) return link.destroy()
        this.#unread.push(text)
        this.#wake?.()
      },
      onClosed: (code, reason) => {
        this.#closed = `it closed the connection (${code}${reason === "" ? "" : `, ${reason.slice(0, 200)}`})`
        this.#wake?.()
      }
    })
  }
  get usable(): boolean {
    return !this.#link.closed && this.#unread.length === 0
  }
  send(text: string): boolean {
    return this.#link.send(text)
  }
  close(): void {
    clearTimeout(this.idle)
    this.#link.close()
  }
  destroy(): void {
    clearTimeout(this.idle)
    this.#link.destroy()
  }
  /** The next frame, or why there is none. */
  readonly next: Effect.Effect<Reply | string> = Effect.callback<Reply | string>((resume) => {
    const look = (): boolean => {
      const text = this.#unread.shift()
      if (text === undefined && this.#closed === undefined) return false
      this.#wake = undefined
      resume(Effect.succeed(text === undefined ? (this.#closed ?? "it closed the connection") : decodeReply(text)))
      return true
    }
    if (!look()) this.#wake = () => void look()
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })
}

/** What is kept of an agent. */
interface Line {
  readonly places: Semaphore.Semaphore
  readonly idle: Array<Talk>
}

/** Whether an agent said anything at all. */
interface Heard {
  anything: boolean
}

/** Calls agents as `requester` until the scope closes; connections are made as needed. */
export const make = (options: {
  readonly requester: string
  readonly resolve: Resolve
}): Effect.Effect<Caller, never, Scope.Scope> =>
  Effect.gen(function* () {
    const lines = new Map<string, Line>()
    const talks = new Set<Talk>()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const talk of talks) talk.close()
      })
    )

    const lineOf = (callee: Callee): Line => {
      const known = lines.get(callee.id)
      if (known !== undefined) return known
      const places = Semaphore.makeUnsafe(Math.max(1, Math.min(callee.places, MAX_PLACES)))
      const line: Line = { places, idle: [] }
      lines.set(callee.id, line)
      return line
    }

    const connect = Effect.fnUntraced(function* (callee: Callee) {
      const target = yield* options.resolve(callee.id, callee.endpoint)
      const link = yield* Effect.tryPromise({
        try: (signal) => dial(target, MAX_FRAME_BYTES, AbortSignal.any([signal, AbortSignal.timeout(NEGOTIATION_MS)])),
        catch: (fault) =>
          new AgentMeshError({
            code: "Unreachable",
            who: callee.id,
            detail: `its endpoint ${callee.endpoint} cannot be reached: ${fault instanceof Error ? fault.message : String(fault)}`
          })
      })
      const talk = new Talk(link)
      talks.add(talk)
      return talk
    })

    const discard = (talk: Talk): void => {
      talks.delete(talk)
      talk.destroy()
    }
    const keep = (line: Line, talk: Talk): void => {
      if (!talk.usable) return discard(talk)
      line.idle.push(talk)
      talk.idle = setTimeout(() => {
        const at = line.idle.indexOf(talk)
        if (at >= 0) line.idle.splice(at, 1)
        talks.delete(talk)
        talk.close()
      }, IDLE_MS)
      talk.idle.unref?.()
    }
    const reuse = (line: Line): Talk | undefined => {
      for (let talk = line.idle.pop(); talk !== undefined; talk = line.idle.pop()) {
        clearTimeout(talk.idle)
        if (talk.usable) return talk
        discard(talk)
      }
      return undefined
    }

    /** Whether a connection may serve another task after this. */
    const isClean = (exit: Exit.Exit<unknown, AgentMeshError>): boolean => {
      if (Exit.isSuccess(exit)) return true
      const reason = exit.cause.reasons[0]
      return reason?._tag === "Fail" && ["Rejected", "Countered", "Failed"].includes(reason.error.code)
    }

    const call: Caller["call"] = (callee, order) => {
      const fail = (code: AgentMeshError["code"], detail: string, deadlineMs?: number) =>
        Effect.fail(
          new AgentMeshError({ code, who: callee.id, detail, ...(deadlineMs === undefined ? {} : { deadlineMs }) })
        )
      const late = (what: string, ms: number) => () => fail("Late", `${what} within ${Math.round(ms)} ms`)
      const tell = order.onEvent ?? (() => undefined)

      /** One request, and what the agent says to it. */
      const negotiate = Effect.fnUntraced(function* (talk: Talk, taskId: string, deadlineMs: number, first: boolean) {
        const sent = talk.send(
          encodeRequest({
            task_id: taskId,
            capability: order.capability,
            input_data: order.input,
            requester_id: options.requester,
            target_id: callee.id,
            deadline_ms: deadlineMs,
            priority: 1,
            context: order.context ?? "",
            created_at: instant()
          })
        )
        if (!sent && talk.usable) {
          return yield* fail("TooLarge", `the input is larger than a frame of ${MAX_FRAME_BYTES} bytes holds`)
        }
        if (first) tell("request_sent", taskId, { capability: order.capability })
        const reply = yield* talk.next.pipe(
          Effect.timeoutOrElse({
            duration: Math.min(NEGOTIATION_MS, deadlineMs),
            orElse: late("it said nothing to the request", Math.min(NEGOTIATION_MS, deadlineMs))
          })
        )
        if (typeof reply === "string") return yield* fail("Closed", reply)
        if (reply._tag === "Malformed") return yield* fail("Malformed", reply.detail)
        if (reply._tag === "Error") return yield* fail("Malformed", `it could not read the request: ${reply.detail}`)
        if (reply._tag === "Result") return yield* fail("Malformed", "it sent a result before it took the task")
        if (reply.response.task_id !== taskId) return yield* fail("Malformed", "it answered for another task")
        return reply.response
      })

      const exchange = Effect.fnUntraced(function* (talk: Talk, heard: Heard) {
        const asked = Math.max(1, Math.floor(order.deadlineMs))
        let deadlineMs = asked
        let taskId = freshTaskId()
        for (let round = 0; ; round++) {
          const response = yield* negotiate(talk, taskId, deadlineMs, round === 0)
          heard.anything = true
          if (response.status === "accepted") break
          if (response.status === "rejected") {
            tell("rejected", taskId, { reason: response.reason })
            return yield* fail("Rejected", response.reason ?? "it rejected the task, and did not say why")
          }
          const terms = response.counter_proposal ?? {}
          tell("countered", taskId, terms)
          const proposed = typeof terms["deadline_ms"] === "number" ? terms["deadline_ms"] : asked * 2
          const why = typeof terms["reason"] === "string" ? terms["reason"] : "it countered"
          const pause = PAUSES_MS[round]
          if (!(proposed <= asked * COUNTER_FACTOR) || pause === undefined) {
            return yield* fail("Countered", `${why}: it would need ${proposed} ms, ${asked} were given`, proposed)
          }
          yield* Effect.sleep(Math.min(pause, asked / 4))
          deadlineMs = Math.max(1, Math.floor(proposed))
          taskId = freshTaskId()
        }
        tell("accepted", taskId, { capability: order.capability })
        const reply = yield* talk.next.pipe(
          Effect.timeoutOrElse({ duration: deadlineMs, orElse: late("it gave no result", deadlineMs) }),
          Effect.tapError(() => Effect.sync(() => tell("failed", taskId, { error: "timeout" })))
        )
        if (typeof reply === "string") {
          tell("failed", taskId, { error: "connection closed" })
          return yield* fail("Closed", reply)
        }
        if (reply._tag !== "Result" || reply.result.task_id !== taskId) {
          tell("failed", taskId, { error: "malformed" })
          const detail = reply._tag === "Malformed" || reply._tag === "Error" ? reply.detail : "it sent no result"
          return yield* fail("Malformed", detail)
        }
        const { result } = reply
        tell(result.status, taskId, { capability: order.capability })
        return result.status === "completed"
          ? result
          : yield* fail("Failed", result.error === null || result.error === "" ? "it did not say why" : result.error)
      })

      const on = (line: Line, talk: Talk, heard: Heard = { anything: false }) =>
        exchange(talk, heard).pipe(
          Effect.onExit((exit) => Effect.sync(() => (isClean(exit) ? keep(line, talk) : discard(talk))))
        )

      return Effect.suspend(() => {
        const line = lineOf(callee)
        const fresh = Effect.flatMap(connect(callee), (talk) => on(line, talk))
        const run = Effect.suspend(() => {
          const used = reuse(line)
          if (used === undefined) return fresh
          const heard: Heard = { anything: false }
          return on(line, used, heard).pipe(
            // The agent may have been closing it just then: it said nothing, so it began nothing.
            Effect.catchIf(
              (error) => error.code === "Closed" && !heard.anything,
              () => fresh
            )
          )
        })
        return line.places.withPermit(run)
      }).pipe(
        Effect.timeoutOrElse({
          duration: order.deadlineMs * COUNTER_FACTOR,
          orElse: late("it gave no result", order.deadlineMs * COUNTER_FACTOR)
        })
      )
    }

    const forget: Caller["forget"] = (agent) => {
      const line = lines.get(agent)
      if (line === undefined) return
      lines.delete(agent)
      for (const talk of line.idle.splice(0)) {
        talks.delete(talk)
        talk.close()
      }
    }

    return { call, forget }
  })
