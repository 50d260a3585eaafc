/**
 * A capability being served: its definition, its handler, its places, and what is known of its durations.
 */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type * as EffectStream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { type Capability, parseId } from "../Capability.ts"
import type { Settings } from "../Guardrails.ts"
import type { Decision, ServeOptions, Task } from "../Node.ts"
import type { NodeId } from "../NodeId.ts"
import { isBytes } from "./Bytes.ts"
import type * as Envelope from "./Envelope.ts"
import { FairQueue, PLACES_PER_FREE } from "./FairQueue.ts"
import * as JsonCodec from "./JsonCodec.ts"
import type { CounteredBody } from "./Refusal.ts"
import * as VersionRange from "./VersionRange.ts"
import type { Work } from "./Work.ts"

/** When to come back to an agent that is full and has not yet learned how long its tasks take, in ms. */
const RETRY_AFTER_MS = 50

/** A handler in any of its forms. */
export type Run = (input: never, task: Task) => Effect.Effect<unknown, unknown> | EffectStream.Stream<unknown, unknown>

/** A capability being served. */
export class Served {
  readonly capability: Capability<unknown, unknown>
  readonly input: JsonCodec.JsonCodec<unknown>
  readonly output: JsonCodec.JsonCodec<unknown>
  /** Its output, or a chunk of it, are bytes. */
  readonly bytes: boolean
  readonly run: (input: unknown, task: Task) => Effect.Effect<unknown, unknown> | EffectStream.Stream<unknown, unknown>
  readonly concurrency: number
  readonly negotiate: ServeOptions["negotiate"]
  /** Nobody is named in a list: everybody may call it. */
  readonly open: boolean
  readonly #allow: ReadonlySet<NodeId> | undefined
  readonly #deny: ReadonlySet<NodeId>
  /** What the handler runs in. */
  readonly services: Context.Context<never>
  /** Somebody collects spans. */
  readonly traced: boolean
  readonly waiting: FairQueue
  running = 0
  done = 0
  failed = 0
  /** Tasks that run for callers who have been away for a while, the longest away first. */
  readonly away = new Set<Work>()
  /** The queue is being worked off: handlers that end at once must not begin it anew. */
  advancing = false
  /** Called when nothing runs or waits any more. */
  readonly idle: Array<() => void> = []
  averageMs: number

  constructor(
    capability: Capability<never, unknown>,
    run: Run,
    options: ServeOptions,
    settings: Settings,
    services: Context.Context<never>
  ) {
    const open = capability as unknown as Capability<unknown, unknown>
    this.capability = open
    this.input = JsonCodec.of(open.input)
    this.output = JsonCodec.of(open.output)
    this.bytes = isBytes(open.output)
    this.run = run as Served["run"]
    this.concurrency = options.concurrency ?? capability.record.concurrency ?? settings.concurrency
    this.waiting = new FairQueue(options.queue ?? settings.queue)
    this.negotiate = options.negotiate
    this.#allow = options.allow === undefined ? undefined : new Set(options.allow)
    this.#deny = new Set(options.deny)
    this.open = this.#allow === undefined && this.#deny.size === 0
    this.services = services
    this.traced = services.mapUnsafe.has(Tracer.Tracer.key)
    this.averageMs = capability.record.latencyMs ?? 0
  }

  /** Places that nobody has. */
  get free(): number {
    return this.concurrency - this.running
  }

  /** Whether one more task of a caller may begin at once. */
  hasPlace(caller: NodeId): boolean {
    const { free } = this
    // Mostly so many are free that it does not matter whose the others are.
    return free * PLACES_PER_FREE > this.running || this.waiting.lets(caller, free)
  }

  /** Whether a caller may have it, given whom it acts for. */
  lets(caller: NodeId, member: NodeId): boolean {
    if (this.#deny.has(caller) || this.#deny.has(member)) return false
    return this.#allow === undefined || this.#allow.has(caller) || this.#allow.has(member)
  }
}

/** A task as its handler sees it. */
export class TaskInfo implements Task {
  readonly #request: Envelope.ReceivedRequest
  readonly caller: NodeId
  readonly deadline: number
  readonly hops: number
  readonly maxCostUsd: number | undefined

  constructor(request: Envelope.ReceivedRequest, caller: NodeId, deadline: number) {
    this.#request = request
    this.caller = caller
    this.deadline = deadline
    this.hops = request.hops
    this.maxCostUsd = request.budget
  }
  get id(): string {
    return this.#request.hex
  }
}

/** What a capability's hook says to an offer; a hook that breaks rejects it. */
export const decide = (
  negotiate: NonNullable<ServeOptions["negotiate"]>,
  task: Task,
  input: Schema.Json,
  served: Served
): Decision => {
  try {
    const decision = negotiate({ task, input, running: served.running, waiting: served.waiting.length })
    // A hook in JavaScript may give anything; what it did not say clearly is no acceptance.
    if (decision._tag === "Accept" || decision._tag === "Reject" || decision._tag === "Counter") return decision
    return { _tag: "Reject", code: "NegotiationFailed", detail: "its negotiate gave no decision" }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return { _tag: "Reject", code: "NegotiationFailed", detail }
  }
}

/** The newest version that a caller's `name@range` names. */
export const bestInRange = (id: string, all: Iterable<Served>): Served | undefined => {
  const { name, version } = parseId(id)
  const range = VersionRange.parse(version === undefined || version === "" ? "*" : version)
  if (typeof range === "string") return undefined
  return [...all]
    .filter(({ capability }) => capability.name === name && range.has(capability.version))
    .sort((a, b) => VersionRange.newerFirst(a.capability.version, b.capability.version))[0]
}

/** What a caller is told when there is no place for its task. */
export const full = (served: Served, needMs: number): CounteredBody => {
  const retryAfterMs = Math.ceil(served.averageMs) || RETRY_AFTER_MS
  const { concurrency, free, running, waiting } = served
  const all = concurrency === 1 ? "its one place is" : `all ${concurrency} places are`
  const places = free > 0 ? `${running} of ${concurrency} places are` : all
  const detail = `${places} taken and ${waiting.length} tasks wait`
  return { deadlineMs: Math.max(needMs, retryAfterMs), retryAfterMs, detail }
}
