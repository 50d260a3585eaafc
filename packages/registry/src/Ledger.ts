/**
 * Ledger: the one writer of an instance. It decides in memory, and writes a log.
 *
 * Commands queue; one commit at a time takes all that wait. Inside the commit, what other instances have committed meanwhile is
 * taken in first, so that each command is decided against everything there is; then its facts are applied, and written together
 * with those of the others. A command is answered when its facts are durable. Where the commit fails, nothing of it was done: the
 * world is loaded anew from the store, and those who wait hear `Unavailable`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type { Event, Fact } from "./Event.ts"
import { EventStream } from "./EventStream.ts"
import { Unavailable } from "./Problem.ts"
import { Store, type StoreError } from "./Store.ts"
import { type Knowledge, World } from "./World.ts"

/** Most commands of one commit: a few milliseconds' worth. */
export const MAX_BATCH = 1_024
/** Most commands that wait; one more is refused. Each is a request that is being answered. */
export const MAX_WAITING = 16_384
/** How many of the last events circuits and latencies are recalled from after a restart. */
export const RECALLED = 20_000
/** How often that is tried again where retention was faster. */
const RECALL_ATTEMPTS = 10
const RECALLED_TYPES = ["trust.changed", "task.ended", "status.changed"] as const
/** Events read at once while following other instances. */
const PAGE = 1_000
/** Pause before the world is loaded anew when that failed, in milliseconds. */
const RELOAD_MS = 250

/** What a command comes to. */
export interface Decision<A> {
  readonly facts: ReadonlyArray<Fact>
  readonly claims?: ReadonlyArray<string>
  /** The answer, made after the facts were applied and before they are durable; it is given when they are. */
  readonly value: (world: Knowledge) => A
}

/** Something to decide. Synchronous: it runs inside the commit. Where it throws it has changed nothing. */
export interface Command<A, E> {
  /** Keys of which it wants to know whether they are used up. */
  readonly claims?: ReadonlyArray<string>
  readonly decide: (world: Knowledge, taken: ReadonlySet<string>, now: number) => Result.Result<Decision<A>, E>
}

interface Waiting {
  readonly command: Command<unknown, unknown>
  readonly resume: (exit: Effect.Effect<unknown, unknown>) => void
}

/** The one writer of an instance. */
export class Ledger extends Context.Service<
  Ledger,
  {
    /** Decides a command, and answers when what it came to is durable. */
    readonly commit: <A, E>(command: Command<A, E>) => Effect.Effect<A, E | Unavailable>
    /** How many commands wait, and what was committed so far. */
    readonly counts: () => { readonly waiting: number; readonly commits: number; readonly facts: number }
    /** Whether the store took the last commit. */
    readonly isReady: () => boolean
  }
>()("@parley/registry/Ledger") {}

const unavailable = new Unavailable({ detail: "The registry's database does not answer: nothing was done, try again" })
const busy = new Unavailable({ detail: "Too much waits to be written: nothing was done, try again" })

/** Retention has taken events that are asked for. */
const isGone = ({ code }: StoreError): boolean => code === "Corrupt"

/** Waits until what has come in meanwhile was read: those who asked at the same time are written together. */
const gather = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const make = Effect.gen(function* () {
  const store = yield* Store
  const clock = yield* Clock.Clock
  const world = yield* World
  const stream = yield* EventStream
  let queue: Array<Waiting> = []
  let isBehind = false
  let isReady = true
  let wake: (() => void) | undefined
  let commits = 0
  let facts = 0
  /** The last event that was told. */
  let told = 0

  const load = Effect.gen(function* () {
    const snapshot = yield* store.load
    world.load(snapshot, clock.currentTimeMillisUnsafe())
    world.recall((yield* recent(snapshot.cursor)).filter((event) => event.cursor <= snapshot.cursor))
  })
  /** The last events that are kept. Where others write much, some of them may go while they are read. */
  const recent = (cursor: number): Effect.Effect<ReadonlyArray<Event>, StoreError> =>
    Effect.flatMap(store.bounds, ({ first }) =>
      store.eventsAfter(Math.max(first - 1, cursor - RECALLED), RECALLED, RECALLED_TYPES)
    ).pipe(Effect.retry({ times: RECALL_ATTEMPTS, while: isGone }))

  const tell = (events: ReadonlyArray<Event>): void => {
    const news = events.filter((event) => event.cursor > told)
    if (news.length === 0) return
    told = news.at(-1)!.cursor
    stream.publish(news)
  }

  const reload: Effect.Effect<void> = load.pipe(
    Effect.tap(() => Effect.sync(() => void (isReady = true))),
    Effect.catch((error) =>
      Effect.logWarning(error.message).pipe(
        Effect.andThen(Effect.sleep(RELOAD_MS)),
        Effect.andThen(Effect.suspend(() => reload))
      )
    )
  )

  /** Takes in what others have committed. */
  const follow: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const from = world.cursor
    return Effect.flatMap(store.eventsAfter(from, PAGE), (events) => {
      for (const event of events) world.apply(event)
      tell(events)
      return events.length < PAGE ? Effect.void : follow
    })
  })

  const commitBatch = Effect.fnUntraced(function* (batch: ReadonlyArray<Waiting>) {
    const answers: Array<Effect.Effect<unknown, unknown>> = []
    const missedEvents: Array<Event> = []
    const exit = yield* Effect.exit(
      store.append(
        batch.flatMap(({ command }) => command.claims ?? []),
        (missed, taken) => {
          for (const event of missed) world.apply(event)
          missedEvents.push(...missed)
          const used = new Set(taken)
          const decided: Array<Fact> = []
          const claims: Array<string> = []
          const now = clock.currentTimeMillisUnsafe()
          for (const { command } of batch) {
            let result: Result.Result<Decision<unknown>, unknown>
            try {
              result = command.decide(world, used, now)
            } catch (cause) {
              // The fault of who asked, or ours: in neither case that of those who are written with it.
              answers.push(Effect.die(cause))
              continue
            }
            if (Result.isFailure(result)) {
              answers.push(Effect.fail(result.failure))
              continue
            }
            for (const fact of result.success.facts) {
              decided.push(fact)
              world.apply({ cursor: world.cursor + 1, at: now, fact }, true)
            }
            for (const claim of result.success.claims ?? []) {
              used.add(claim)
              claims.push(claim)
            }
            answers.push(Effect.succeed(result.success.value(world)))
          }
          return { facts: decided, claims }
        },
        world.cursor
      )
    )
    if (Exit.isSuccess(exit)) {
      commits++
      facts += exit.value.length
      isReady = true
      tell(missedEvents)
      tell(exit.value)
      batch.forEach(({ resume }, i) => resume(answers[i]!))
      if (exit.value.length === 0 || exit.value.at(-1)!.cursor === world.cursor) return
      yield* Effect.logError(
        `The log is at ${exit.value.at(-1)!.cursor}, this instance at ${world.cursor}; it reads all anew`
      )
      return yield* reload
    }
    isReady = false
    yield* Effect.logError("The registry could not write; it reads its state anew", exit.cause)
    for (const { resume } of batch) resume(Effect.fail(unavailable))
    yield* reload
    yield* Effect.ignore(catchUpListeners)
  })

  /** Tells what was committed but not told: after a failed commit the world has skipped ahead. */
  const catchUpListeners: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    told >= world.cursor
      ? Effect.void
      : Effect.flatMap(store.eventsAfter(told, PAGE), (events) => {
          tell(events)
          return events.length === 0 ? Effect.void : catchUpListeners
        })
  )

  const work = Effect.gen(function* () {
    while (true) {
      if (queue.length === 0 && !isBehind) {
        yield* Effect.callback<void>((resume) => {
          wake = () => {
            wake = undefined
            resume(Effect.void)
          }
          return Effect.sync(() => void (wake = undefined))
        })
      }
      yield* gather
      if (isBehind) {
        isBehind = false
        // What others have written may be gone before it was followed: then all is read anew.
        yield* Effect.catch(follow, (error) => (isGone(error) ? reload : Effect.logWarning(error.message)))
      }
      if (queue.length === 0) continue
      const batch = queue.length <= MAX_BATCH ? queue : queue.slice(0, MAX_BATCH)
      queue = queue.length <= MAX_BATCH ? [] : queue.slice(MAX_BATCH)
      yield* commitBatch(batch)
    }
  })

  yield* load
  told = world.cursor
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const { resume } of queue) resume(Effect.fail(unavailable))
      queue = []
    })
  )
  yield* Effect.forkScoped(work)
  yield* store.news.pipe(
    Effect.andThen(
      Effect.sync(() => {
        isBehind = true
        wake?.()
      })
    ),
    Effect.forever,
    Effect.forkScoped
  )

  const commit = <A, E>(command: Command<A, E>): Effect.Effect<A, E | Unavailable> =>
    Effect.callback<A, E | Unavailable>((resume) => {
      if (queue.length >= MAX_WAITING) return resume(Effect.fail(busy))
      queue.push({
        command: command as Command<unknown, unknown>,
        // The queue holds commands of any kind; each hears an answer of its own kind.
        resume: resume as Waiting["resume"]
      })
      wake?.()
    })

  return Ledger.of({
    commit,
    counts: () => ({ waiting: queue.length, commits, facts }),
    isReady: () => isReady
  })
})

/** The one writer, after it has loaded the world. */
export const layer: Layer.Layer<Ledger, StoreError, Store | World | EventStream> = Layer.effect(Ledger, make)
