/**
 * A job: one task as its caller means it, checked and encoded once, the same for every agent that is tried.
 */
import { createHash } from "node:crypto"
import { Buffer } from "node:buffer"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as CanonicalJson from "../CanonicalJson.ts"
import type { Capability } from "../Capability.ts"
import type { Settings } from "../Guardrails.ts"
import type { CallOptions, Task, TaskEvent } from "../Node.ts"
import type { NodeErrorReason } from "../NodeError.ts"
import * as Query from "../Query.ts"
import type { Address } from "../Transport.ts"
import { isBytes } from "./Bytes.ts"
import type { Trace } from "./Envelope.ts"
import * as JsonCodec from "./JsonCodec.ts"
import * as TaskId from "./TaskId.ts"

/** A task as the caller places it, the same for every agent tried. */
export interface Job {
  readonly wanted: string
  readonly query: Query.Query
  /** The query is what is wanted and nothing besides: the same object for each job that wants the same. */
  readonly isPlain: boolean
  readonly task: TaskId.TaskId
  readonly input: Schema.Json
  readonly body: string
  readonly output: JsonCodec.JsonCodec<unknown>
  readonly stream: boolean
  /** What is answered are bytes, which need no JSON. */
  readonly bytes: boolean
  /** What is asked are bytes; `body` is their JSON all the same. */
  readonly raw: boolean
  readonly receipt: boolean
  /** By `performance.now()`. */
  readonly startedAt: number
  readonly deadlineMs: number
  readonly hops: number
  readonly budget: number | undefined
  readonly trace: Trace | undefined
  readonly evaluate: ((output: never, latencyMs: number) => number) | undefined
  readonly emit: ((event: TaskEvent) => void) | undefined
  readonly via: Address | undefined
  /** One agent is named, and no other may do it. */
  readonly isPinned: boolean
  /** Whether an answer is judged at once, or later by the verdict that it is part of. */
  readonly judge: boolean
}

/** What is left of a job's deadline, in ms. */
export const left = (job: Job): number => job.deadlineMs - (performance.now() - job.startedAt)

/** What a string or a definition stands for. */
export type Wanted = Capability<never, unknown> | string

/** A task id of any text: itself when it is one, else the beginning of its SHA-256. */
const taskOf = (key: string): TaskId.TaskId =>
  TaskId.read(
    /^[0-9a-f]{32}$/.test(key) ? Buffer.from(key, "hex") : createHash("sha256").update(key, "utf8").digest(),
    0
  )

/** The query behind what is wanted: a definition is met by its own version and compatible later ones (`^version`). */
export const queryOf = (wanted: Wanted, kind: "call" | "stream", where: CallOptions["where"]): Query.Query => ({
  ...(typeof wanted === "string" ? Query.fromId(wanted) : { name: wanted.name, version: `^${wanted.version}` }),
  stream: kind === "stream",
  ...where
})

/** Texts whose query is kept. */
const MAX_TEXTS = 1_024

/** Checked queries of what is wanted without further conditions. */
class PlainQueries {
  readonly #kind: "call" | "stream"
  readonly #byDefinition = new WeakMap<object, Query.Query>()
  readonly #byText = new Map<string, Query.Query>()

  constructor(kind: "call" | "stream") {
    this.#kind = kind
  }
  get(wanted: Wanted): Query.Query | undefined {
    return typeof wanted === "string" ? this.#byText.get(wanted) : this.#byDefinition.get(wanted)
  }
  /** Makes the query, and keeps it unless something is wrong with it. */
  make(wanted: Wanted): Query.Query {
    // Frozen, so that the matcher may keep what it finds.
    const query = Object.freeze(queryOf(wanted, this.#kind, undefined))
    if (Query.check(query) !== undefined) return query
    if (typeof wanted !== "string") this.#byDefinition.set(wanted, query)
    else {
      if (this.#byText.size >= MAX_TEXTS) this.#byText.clear()
      this.#byText.set(wanted, query)
    }
    return query
  }
}

const plain = { call: new PlainQueries("call"), stream: new PlainQueries("stream") }

/** Makes the job, or says why there is none. */
export const makeJob = (
  settings: Settings,
  wanted: Wanted,
  kind: "call" | "stream",
  input: unknown,
  options: CallOptions<never>,
  trace: Trace | undefined,
  judge: boolean,
  within: Task | undefined
): Job | NodeErrorReason => {
  const isPlain = options.where === undefined
  const known = isPlain ? plain[kind].get(wanted) : undefined
  const query = known ?? (isPlain ? plain[kind].make(wanted) : queryOf(wanted, kind, options.where))
  const wrong = known === undefined ? Query.check(query) : undefined
  if (wrong !== undefined) return { _tag: "BadQuery", detail: wrong }
  const budget = least(options.budget?.costUsd, within?.maxCostUsd)
  if (budget !== undefined && !(budget >= 0)) {
    return { _tag: "BadQuery", detail: `a budget of $${budget} is none: give zero or more` }
  }
  const name = typeof wanted === "string" ? wanted : wanted.id
  const json = typeof wanted === "string" ? (input as Schema.Json) : JsonCodec.of(wanted.input).encode(input as never)
  if (json instanceof JsonCodec.Unfit) return { _tag: "InputInvalid", capability: name, detail: json.detail }
  const body = JsonCodec.stringify(json)
  if (body === undefined) return { _tag: "InputInvalid", capability: name, detail: "it has no JSON form" }
  const limit = settings.maxPayloadBytes
  if (body.length * 3 > limit) {
    const bytes = Buffer.byteLength(body)
    if (bytes > limit) return { _tag: "TooLarge", bytes, limit }
  }
  if (options.receipt === true) {
    // Without a canonical form there is no hash that a receipt could be checked against.
    try {
      CanonicalJson.stringify(json)
    } catch (error) {
      return { _tag: "InputInvalid", capability: name, detail: error instanceof Error ? error.message : String(error) }
    }
  }
  const hops = Math.min(least(options.budget?.hops, within?.hops) ?? settings.hops, 255)
  if (!(hops >= 1)) {
    const detail = "the task has been passed on as often as it may"
    return { _tag: "BudgetExceeded", what: "hops", detail }
  }
  const asked = options.deadline === undefined ? settings.deadlineMs : Duration.toMillis(options.deadline)
  return {
    wanted: name,
    query,
    isPlain,
    task: options.idempotencyKey === undefined ? TaskId.fresh() : taskOf(options.idempotencyKey),
    input: json,
    body,
    output:
      typeof wanted === "string"
        ? (JsonCodec.asIs as JsonCodec.JsonCodec<unknown>)
        : JsonCodec.of(wanted.output as Capability<never, unknown>["output"]),
    stream: kind === "stream",
    bytes: typeof wanted !== "string" && isBytes(wanted.output),
    raw: typeof wanted !== "string" && isBytes(wanted.input),
    receipt: options.receipt ?? false,
    startedAt: performance.now(),
    deadlineMs: within === undefined ? asked : Math.min(asked, within.deadline - Date.now()),
    hops,
    budget,
    trace,
    evaluate: options.evaluate,
    emit: options.onEvent === undefined ? undefined : harmless(options.onEvent),
    via: options.via,
    isPinned: options.to !== undefined,
    judge
  }
}

const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/** A listener that may throw: it is called from within the byte path, and once it has thrown, no more. */
const harmless = (listen: (event: TaskEvent) => void): ((event: TaskEvent) => void) => {
  let broken = false
  return (event) => {
    if (broken) return
    try {
      listen(event)
    } catch (error) {
      broken = true
      Effect.runFork(Effect.logError("the listener of a task's events threw, and hears no more of it", error))
    }
  }
}
