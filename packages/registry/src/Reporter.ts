/**
 * Reporter: tells a registry what a node has experienced, in the background.
 *
 * Whoever tells it something goes on at once: what is told waits in bounded queues, the oldest goes first when there is no more room,
 * and a registry that is away or slow costs the node nothing but that memory. So it is told as well as can be and no better:
 * what a registry has acknowledged is durable there, what still waits here ends with the process.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { ReportBody, TraceBody, VerdictBody } from "./ApiModel.ts"
import * as Client from "./Client.ts"
import { Outbox } from "./internal/Outbox.ts"
import { pauseAfter } from "./RegistryDiscovery.ts"
import type { RegistryError } from "./RegistryError.ts"

/** Traces that wait, about 0.5 KB each: a few seconds of a node that calls as fast as a registry takes them. */
export const MAX_TRACES = 2_048
/** Reports that wait, about 1 KB each with their receipts. */
export const MAX_REPORTS = 2_048
/** Verdicts that wait, and the characters of their certificates: each holds a question and all its answers. */
export const MAX_VERDICTS = 16
export const MAX_VERDICT_CHARACTERS = 8 * 1_048_576
/** What is taken from a queue at once. */
const BATCH = 64
/** Requests of one kind under way at once: enough to hide a long round trip, few enough to leave a registry to others. */
export const CONCURRENCY = 8
/** How long what waits may still be told when the scope closes, in milliseconds; not at all where the registry is away. */
export const FLUSH_MS = 1_000

/** What happened to a task. */
export type Trace = typeof TraceBody.Type
/** How a peer did a task. */
export type Report = typeof ReportBody.Type
/** A question and its verdict. */
export type Published = typeof VerdictBody.Type

/** How the telling goes. */
export interface Status {
  readonly waiting: { readonly traces: number; readonly reports: number; readonly verdicts: number }
  /** Taken by the registry. */
  readonly told: number
  /** Given up for want of room. */
  readonly dropped: number
  /** Not taken by the registry; `lastError` says why not. */
  readonly refused: number
  /** The registry cannot be reached now. */
  readonly away: boolean
  readonly lastError: RegistryError | undefined
}

/** Tells a registry what a node has experienced. */
export class Reporter extends Context.Service<
  Reporter,
  {
    /** These three return at once, and never fail. */
    readonly trace: (trace: Trace) => void
    readonly report: (report: Report) => void
    readonly verdict: (verdict: Published) => void
    readonly status: () => Status
    /** Waits until all was told, or the registry is away, at most `FLUSH_MS`. */
    readonly flush: Effect.Effect<void>
  }
>()("@parley/registry/Reporter") {}

const isPassing = ({ code }: RegistryError): boolean =>
  code === "Unreachable" || code === "Unavailable" || code === "TooMany"

/** Items of one task stay in order; several tasks go side by side. */
const inOrder = <A>(items: ReadonlyArray<A>, keyOf: (item: A) => string): ReadonlyArray<ReadonlyArray<A>> => {
  const groups = new Map<string, Array<A>>()
  for (const item of items) {
    const group = groups.get(keyOf(item))
    if (group === undefined) groups.set(keyOf(item), [item])
    else group.push(item)
  }
  return [...groups.values()]
}

/** A reporter to the registry of the client in context; it tells until its scope closes. */
export const make = Effect.fn("Reporter.make")(function* () {
  const client = yield* Client.Client
  const traces = new Outbox<Trace>(MAX_TRACES)
  const reports = new Outbox<Report>(MAX_REPORTS)
  const verdicts = new Outbox<{ readonly body: Published; readonly size: number }>(
    MAX_VERDICTS,
    MAX_VERDICT_CHARACTERS,
    ({ size }) => size
  )
  const counts = { told: 0, refused: 0, underWay: 0 }
  let failures = 0
  let lastError: RegistryError | undefined

  const failed = (error: RegistryError): Effect.Effect<void> => {
    const isFirst = lastError?.code !== error.code
    lastError = error
    return isFirst
      ? Effect.logWarning(`${error.message}; this node goes on without it`)
      : Effect.logDebug(error.message)
  }

  /** Tells one item; true when there is nothing more to do about it. */
  const tell = <A>(item: A, send: (item: A) => Effect.Effect<unknown, RegistryError>): Effect.Effect<boolean> =>
    send(item).pipe(
      Effect.matchEffect({
        onSuccess: () =>
          Effect.sync(() => {
            counts.told += 1
            failures = 0
            lastError = undefined
            return true
          }),
        onFailure: (error) => {
          // It was told before.
          if (error.code === "Conflict") return Effect.succeed(true)
          if (isPassing(error)) return Effect.as(failed(error), false)
          counts.refused += 1
          return Effect.as(failed(error), true)
        }
      })
    )

  const pump = <A>(
    outbox: Outbox<A>,
    keyOf: (item: A) => string,
    send: (item: A) => Effect.Effect<unknown, RegistryError>
  ) =>
    Effect.gen(function* () {
      yield* outbox.some
      const batch = outbox.take(BATCH)
      const left = new Set(batch)
      const group = Effect.fnUntraced(function* (items: ReadonlyArray<A>) {
        for (const item of items) {
          if (!(yield* tell(item, send))) return false
          left.delete(item)
        }
        return true
      })
      counts.underWay += batch.length
      const done = yield* Effect.forEach(inOrder(batch, keyOf), group, { concurrency: CONCURRENCY }).pipe(
        Effect.ensuring(Effect.sync(() => (counts.underWay -= batch.length)))
      )
      if (left.size > 0) outbox.putBack([...left])
      if (done.every(Boolean)) return
      failures += 1
      yield* Effect.sleep(Math.max(pauseAfter(failures, Math.random()), lastError?.retryAfterMs ?? 0))
    }).pipe(Effect.forever, Effect.forkScoped)

  const isBusy = (): boolean => failures === 0 && traces.length + reports.length + verdicts.length + counts.underWay > 0
  const flush = Effect.gen(function* () {
    while (isBusy()) yield* Effect.sleep("10 millis")
  }).pipe(Effect.timeoutOption(FLUSH_MS), Effect.asVoid)

  yield* pump(
    traces,
    ({ task_id }) => task_id,
    (payload) => client.use("tell a trace", (api) => api.traces.add({ payload }))
  )
  yield* pump(
    reports,
    ({ agent_id }) => agent_id,
    (payload) => client.use("report", (api) => api.trust.report({ payload }))
  )
  yield* pump(
    verdicts,
    ({ body }) => body.certificate.task,
    ({ body: payload }) => client.use("publish a verdict", (api) => api.verdicts.publish({ payload }))
  )
  yield* Effect.addFinalizer(() => flush)

  return Reporter.of({
    trace: (trace) => traces.push(trace),
    report: (report) => reports.push(report),
    verdict: (body) => verdicts.push({ body, size: JSON.stringify(body).length }),
    status: () => ({
      waiting: { traces: traces.length, reports: reports.length, verdicts: verdicts.length },
      told: counts.told,
      dropped: traces.dropped + reports.dropped + verdicts.dropped,
      refused: counts.refused,
      away: failures > 0,
      lastError
    }),
    flush
  })
})

/** Tells the registry of the client in context. */
export const layer: Layer.Layer<Reporter, never, Client.Client> = Layer.effect(Reporter, make())
