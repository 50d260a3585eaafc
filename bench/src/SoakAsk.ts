/**
 * The asking node of a soak, in a process of its own: `SoakAsk.ts FIRST MOST LOG`. It numbers its tasks from `FIRST`, at most so
 * many, and writes what it was answered, as number and agent, to its log.
 */
import { closeSync, openSync, writeSync } from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Layers from "@parley/agent/Layers"
import { Node } from "@parley/core/Node"
import type { NodeErrorReason } from "@parley/core/NodeError"
import type { NodeId } from "@parley/core/NodeId"
import { obey } from "./Obey.ts"
import { sample } from "./SoakSample.ts"
import { proofOf, Stay, TEXT, Work } from "./SoakTask.ts"

/** The longest a call may take, in ms: with it, a call that is forgotten shows. */
export const DEADLINE_MS = 10_000
/**
 * Failures that are told in full; beyond, they are only counted, and count as lost. Each death fails the calls to that agent alone:
 * about 25 of 64 in flight, so 4,000 in ten minutes.
 */
const TOLD = 50_000

/** A call that failed. */
export interface FailedCall {
  readonly n: number
  /** When it began and ended, in ms since the epoch. */
  readonly from: number
  readonly to: number
  /** What was tried, in order: `Disconnected`, and of whom. */
  readonly tried: ReadonlyArray<{ readonly tag: string; readonly peer: string | undefined; readonly detail: string }>
}

/** What came of all calls so far. */
export interface Totals {
  /** Tasks that were numbered. */
  readonly issued: number
  readonly answered: number
  /** Answered with something that is not the right answer. */
  readonly wrong: number
  readonly failed: number
  /** Answered by another agent than the first that was asked. */
  readonly failedOver: number
  readonly failures: ReadonlyArray<FailedCall>
  /** Some of those that another agent answered, and what came of the first. */
  readonly failovers: ReadonlyArray<FailedCall>
}

export type AskOrder =
  /** Connects to an agent. Answered by whether that worked. */
  | { readonly _tag: "Join"; readonly address: string; readonly stays: boolean }
  /** Keeps so many calls in flight from now on. */
  | { readonly _tag: "Start"; readonly inflight: number }
  /** Answered by a `Sample`. */
  | { readonly _tag: "Sample" }
  /** Answered by how many calls were answered so far. */
  | { readonly _tag: "Count" }
  /** Answered by the agent that was chosen last where anybody was asked. */
  | { readonly _tag: "Favourite" }
  /** Ends every call, and is answered by the `Totals`. */
  | { readonly _tag: "Stop" }

const [first = "", most = "", log = ""] = process.argv.slice(2)
const FIRST = Number(first)
const MOST = Number(most)
const file = openSync(log, "a")
const runtime = ManagedRuntime.make(
  Layers.layer({ host: "127.0.0.1", mdns: false, gossip: false }).pipe(
    // Its standard output is for the answers to orders.
    Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None"))
  )
)
const node = await runtime.runPromise(Node)

/** Answers that are not written yet: number and agent of each. */
const entries = new Uint32Array(16_384)
const bytes = new Uint8Array(entries.buffer)
let unwritten = 0
const flush = (): void => {
  writeSync(file, bytes, 0, unwritten * entries.BYTES_PER_ELEMENT)
  unwritten = 0
}

let issued = 0
let answered = 0
let wrong = 0
let failed = 0
let failedOver = 0
const failures: Array<FailedCall> = []
const failovers: Array<FailedCall> = []
const state = { stopped: false }
const now = (): number => Date.now()

const attemptOf = (reason: NodeErrorReason): FailedCall["tried"][number] => ({
  tag: reason._tag,
  peer: "peer" in reason ? reason.peer : undefined,
  detail: "detail" in reason ? reason.detail : ""
})

const note = (told: Array<FailedCall>, n: number, from: number, attempts: ReadonlyArray<NodeErrorReason>): void => {
  if (told.length < TOLD) told.push({ n, from, to: now(), tried: attempts.map(attemptOf) })
}

interface Joined {
  readonly to: NodeId
  readonly stays: boolean
}
let joined: ReadonlyArray<Joined> = []
let favourite = -1

/** One of those that are connected, each in its turn; undefined where nobody is. */
const oneOf = (n: number): Joined | undefined => {
  if (joined.some(({ to }) => node.connections.get(to) === undefined))
    joined = joined.filter(({ to }) => node.connections.get(to) !== undefined)
  return joined[n % joined.length]
}

/** Every other call may go to anybody, and on to the next when that one dies; the others are for one agent alone. */
const ask = (n: number) => {
  const one = n % 2 === 0 ? undefined : oneOf(Math.floor(n / 2))
  return one === undefined
    ? node.request(Work, { n, text: TEXT }, { deadline: DEADLINE_MS })
    : node.request(one.stays ? Stay : Work, { n, text: TEXT }, { deadline: DEADLINE_MS, to: one.to })
}

const lane = Effect.gen(function* () {
  while (!state.stopped && issued < MOST) {
    const n = FIRST + issued++
    const from = now()
    const result = yield* Effect.result(ask(n))
    if (Result.isFailure(result)) {
      const { attempts, reason } = result.failure
      failed += 1
      note(failures, n, from, attempts.length === 0 ? [reason] : attempts)
      continue
    }
    const { attempts, output } = result.success
    answered += 1
    if (output.n !== n || output.proof !== proofOf(n, output.by)) wrong += 1
    if (attempts.length > 0) {
      failedOver += 1
      note(failovers, n, from, attempts)
    }
    if (n % 2 === 0) favourite = output.by
    entries[unwritten++] = n
    entries[unwritten++] = output.by
    if (unwritten === entries.length) flush()
  }
})

let lanes: Promise<unknown> = Promise.resolve()

await obey<AskOrder>({ node: node.nodeId }, async (order) => {
  switch (order._tag) {
    case "Join": {
      const result = await Effect.runPromise(Effect.result(node.connections.connect({ addresses: [order.address] })))
      if (Result.isSuccess(result)) joined = [...joined, { to: result.success.peer, stays: order.stays }]
      return Result.isSuccess(result)
    }
    case "Start":
      lanes = Effect.runPromise(
        Effect.forEach(Array.from({ length: order.inflight }), () => lane, { concurrency: "unbounded", discard: true })
      )
      return null
    case "Sample":
      return sample(node)
    case "Count":
      return answered
    case "Favourite":
      return favourite
    case "Stop": {
      state.stopped = true
      // Whatever is still under way after its deadline is lost, and shows as neither answered nor failed.
      const late = new Promise((resolve) => setTimeout(resolve, DEADLINE_MS + 5_000))
      await Promise.race([lanes, late])
      flush()
      closeSync(file)
      return { issued, answered, wrong, failed, failedOver, failures, failovers } satisfies Totals
    }
  }
})
