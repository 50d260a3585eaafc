/**
 * Guardrails: what a node allows of others and of itself. Each is a default that a layer can change:
 * `Layer.succeed(Guardrails.Guardrails, { ...Guardrails.defaults, concurrency: 8 })` or `Guardrails.layer({ concurrency: 8 })`.
 */
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"

/** What a node allows of others and of itself. */
export interface Settings {
  /** Deadline of a task whose caller names none, in ms. */
  readonly deadlineMs: number
  /** Longest deadline that an executor honours, in ms; a longer one is cut to it. */
  readonly maxDeadlineMs: number
  /** Largest input or output as JSON, in bytes. At most what a transport's message holds (16 MiB). */
  readonly maxPayloadBytes: number
  /** Deepest nesting of a JSON value from outside. */
  readonly maxJsonDepth: number
  /** Tasks run at once of a capability that does not say. */
  readonly concurrency: number
  /** Tasks that wait for a free place, per capability. One more is countered. */
  readonly queue: number
  /** Tasks a second taken from one authenticated peer; a burst may be one second's worth. */
  readonly ratePerSecond: number
  /** Queries a second answered for one authenticated peer. */
  readonly queriesPerSecond: number
  /** Answers kept for idempotency, by count, bytes and age. */
  readonly idempotency: { readonly entries: number; readonly bytes: number; readonly ms: number }
  /**
   * Tasks that go on after their caller's connection broke, so that it can come back for them: for how long (ms; 0 gives each up
   * at once), how many of one caller and in all, and how many bytes of the last chunks of all streams are kept to be sent again.
   */
  readonly resume: { readonly ms: number; readonly perCaller: number; readonly entries: number; readonly bytes: number }
  /**
   * Failures in a row that open a circuit, how long it stays open (ms; and where the peer could not be reached), and how many
   * circuits are remembered.
   */
  readonly circuit: {
    readonly failures: number
    readonly openMs: number
    readonly unreachableMs?: number
    readonly entries: number
  }
  /** A counter is taken up when its deadline is within this many times the caller's. */
  readonly counterFactor: number
  /** Agents tried for one call. */
  readonly attempts: number
  /** How far a query or a delegated task may travel. */
  readonly hops: number
  /** How long a search across the mesh may take, in ms. */
  readonly searchMs: number
  /** How long a search goes on after its first match, so that better ones may come, in ms. */
  readonly settleMs: number
  /** Records of other nodes that are kept. */
  readonly records: number
  /** How large these may be together, as JSON, in bytes. */
  readonly recordBytes: number
  /** Topics that one peer may subscribe to, and messages that wait for a slow local subscriber. */
  readonly topics: { readonly perPeer: number; readonly pending: number }
  /** How long a closing node lets running tasks go on, in ms. */
  readonly drainMs: number
}

/** The defaults, each with its reason in `docs/limits.md`. */
export const defaults: Settings = {
  deadlineMs: 30_000,
  maxDeadlineMs: 3_600_000,
  maxPayloadBytes: 4 * 1024 * 1024,
  maxJsonDepth: 64,
  concurrency: 256,
  queue: 4_096,
  ratePerSecond: 400_000,
  queriesPerSecond: 100,
  idempotency: { entries: 65_536, bytes: 32 * 1024 * 1024, ms: 300_000 },
  resume: { ms: 300_000, perCaller: 4_096, entries: 16_384, bytes: 64 * 1024 * 1024 },
  circuit: { failures: 3, openMs: 60_000, unreachableMs: 500, entries: 10_000 },
  counterFactor: 1.5,
  attempts: 5,
  hops: 3,
  searchMs: 5_000,
  settleMs: 250,
  records: 100_000,
  recordBytes: 256 * 1024 * 1024,
  topics: { perPeer: 1_024, pending: 1_024 },
  drainMs: 5_000
}

/** The guardrails in force; the defaults where a deployment gives none. */
export const Guardrails: Context.Reference<Settings> = Context.Reference<Settings>("@parley/core/Guardrails", {
  defaultValue: () => defaults
})

/** The defaults with some of them changed. */
export const layer = (changed: Partial<Settings>): Layer.Layer<never> =>
  Layer.succeed(Guardrails, { ...defaults, ...changed })
