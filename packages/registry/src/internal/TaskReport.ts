/**
 * One task of a node, as its registry is told of it: traces while it runs, and what the node made of each peer at the end.
 */
import { createHash, randomBytes } from "node:crypto"
import type * as Schema from "effect/Schema"
import { parseId } from "@parley/core/Capability"
import type { Answered, CallOptions, TaskEvent } from "@parley/core/Node"
import { explain, type NodeErrorReason } from "@parley/core/NodeError"
import type { NodeId } from "@parley/core/NodeId"
import type { Receipt } from "@parley/core/Receipt"
import type { Verdict } from "@parley/core/Strategy"
import type { TraceEventType } from "../Model.ts"
import type { Reporter } from "../Reporter.ts"

/** Longest reason in a trace, in characters. */
const MAX_REASON = 300

const isRefusal = ({ _tag }: NodeErrorReason): boolean => _tag === "Rejected" || _tag === "Overloaded"

/** The id of the task with an idempotency key, as the node makes it. */
const idOf = (key: string): string =>
  /^[0-9a-f]{32}$/.test(key) ? key : createHash("sha256").update(key, "utf8").digest("hex").slice(0, 32)

const rounded = (value: number): number => Math.round(Math.min(1, Math.max(0, value)) * 10_000) / 10_000

/** What one peer's part came to. */
interface Part {
  readonly capability: string
  readonly quality: number
  readonly latencyMs?: number
  readonly receipt?: Receipt
}

/** Hears one task, and tells of it. */
export class TaskReport {
  readonly #reporter: Reporter["Service"]
  readonly #self: NodeId
  readonly #isAsk: boolean
  readonly #wanted: string
  readonly #name: string
  readonly #key: string
  readonly #task: string
  /** Peers that the node's trust has moved for, with the capability. */
  readonly #moved = new Map<NodeId, string>()
  readonly #answered = new Map<NodeId, number>()
  /** Peers whose part in the task is over, as far as traces tell. */
  readonly #over = new Set<NodeId>()
  #quality = 1

  /** `isAsk`: several are asked at once, and who fails then does so without an event of its own. */
  constructor(reporter: Reporter["Service"], self: NodeId, wanted: string, key: string | undefined, isAsk: boolean) {
    this.#isAsk = isAsk
    this.#reporter = reporter
    this.#self = self
    this.#wanted = wanted
    this.#name = parseId(wanted).name
    this.#key = key ?? randomBytes(16).toString("hex")
    this.#task = idOf(this.#key)
  }

  /** The options with which the node shall be called, in place of the caller's. */
  options<O extends CallOptions<never>>(given: O, receipts: boolean): O {
    const { evaluate, onEvent } = given
    return {
      ...given,
      idempotencyKey: this.#key,
      receipt: given.receipt ?? receipts,
      ...(evaluate === undefined
        ? {}
        : {
            evaluate: (output: never, latencyMs: number) => {
              const quality = evaluate(output, latencyMs)
              this.#quality = quality
              return quality
            }
          }),
      onEvent: (event: TaskEvent) => {
        this.#hear(event)
        onEvent?.(event)
      }
    }
  }

  #trace(type: TraceEventType, peer: NodeId, payload: { readonly [key: string]: Schema.Json } = {}): void {
    this.#reporter.trace({
      task_id: this.#task,
      event_type: type,
      from_agent: type === "request_sent" ? this.#self : peer,
      to_agent: type === "request_sent" ? peer : this.#self,
      payload: { capability: this.#wanted, at_ms: Date.now(), ...payload }
    })
  }

  #hear(event: TaskEvent): void {
    switch (event._tag) {
      case "Sent":
        this.#over.delete(event.peer)
        return this.#trace("request_sent", event.peer, { relayed: event.relayed })
      case "Accepted":
        return this.#trace("accepted", event.peer, { estimate_ms: event.estimateMs, waiting: event.waiting })
      case "Countered":
        return this.#trace("countered", event.peer, { reason: reasonOf(event.terms), taken_up: event.takenUp })
      case "Answered":
        this.#answered.set(event.peer, event.latencyMs)
        this.#over.add(event.peer)
        return this.#trace("completed", event.peer, { latency_ms: Math.round(event.latencyMs * 1_000) / 1_000 })
      case "Failed":
        return this.#failed(event.peer, isRefusal(event.reason), reasonOf(event.reason))
      case "Cancelled":
        return this.#failed(event.peer, false, "not needed any more", true)
      case "Trust": {
        const { capability, node, why } = event.move
        this.#moved.set(node, capability)
        if (this.#isAsk && !this.#answered.has(node)) this.#failed(node, false, why)
        return
      }
    }
  }

  #failed(peer: NodeId, refused: boolean, reason: string, cancelled = false): void {
    if (this.#over.has(peer)) return
    this.#over.add(peer)
    this.#trace(refused ? "rejected" : "failed", peer, { reason, ...(cancelled ? { cancelled } : {}) })
  }

  #report(peer: NodeId, { capability, latencyMs, quality, receipt }: Part): void {
    this.#moved.delete(peer)
    this.#reporter.report({
      agent_id: peer,
      capability,
      task_id: this.#task,
      success: quality > 0,
      quality: rounded(quality),
      ...(latencyMs === undefined ? {} : { latency_ms: Math.max(0, latencyMs) }),
      ...(receipt === undefined ? {} : { receipt })
    })
  }

  /** One peer answered; those that failed before it did so. */
  answered({ capability, latencyMs, peer, receipt }: Answered<unknown>): void {
    if (this.#moved.has(peer)) {
      const part = { capability: parseId(capability).name, quality: this.#quality, latencyMs }
      this.#report(peer, receipt === undefined ? part : { ...part, receipt })
    }
    this.ended()
  }

  /** A verdict was made: whoever stands behind it did well, whoever dissents did not. */
  decided({ answers, dissent, failures, status }: Verdict): void {
    const different = new Set(dissent.filter(({ _tag }) => _tag === "Different").map(({ node }) => node))
    for (const { capability, latencyMs, node, quality = 1, receipt } of answers) {
      if (!this.#moved.has(node)) continue
      const part = {
        capability: parseId(capability).name,
        quality: status === "reached" && different.has(node) ? 0 : quality,
        latencyMs
      }
      this.#report(node, receipt === undefined ? part : { ...part, receipt })
    }
    for (const { node, reason } of failures) this.#failed(node, false, reason.slice(0, MAX_REASON))
    this.ended()
  }

  /** It is over; peers that the node thinks worse of since have failed, and the others have answered. */
  ended(): void {
    for (const [peer, capability] of this.#moved) {
      const latencyMs = this.#answered.get(peer)
      this.#report(
        peer,
        latencyMs === undefined
          ? { capability: capability || this.#name, quality: 0 }
          : { capability: capability || this.#name, quality: this.#quality, latencyMs }
      )
    }
  }
}

const reasonOf = (reason: NodeErrorReason): string => explain(reason).slice(0, MAX_REASON)
