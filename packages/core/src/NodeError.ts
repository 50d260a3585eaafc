/**
 * Why a node could not do what was asked, as the caller sees it. Every reason is data, so that it crosses the wire and a
 * script can read it.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { NodeId } from "./NodeId.ts"

/** One step of the search for somebody who serves. */
export const Tried = Schema.Struct({
  /** `known records`, `mDNS`, `query across the mesh`, `tracker z6Mk…`. */
  step: Schema.String,
  /** What came of it: `12 agents, none matches`, `5.0 s, no answer`. */
  detail: Schema.String
})
/** One step of the search for somebody who serves. */
export type Tried = typeof Tried.Type

/** Nobody serves what was asked for. */
export const NoPeer = Schema.TaggedStruct("NoPeer", {
  wanted: Schema.String,
  tried: Schema.Array(Tried),
  /** Ids that look like it, nearest first, with who serves them. */
  closest: Schema.Array(Schema.Struct({ id: Schema.String, node: NodeId }))
})
/** The peer cannot be connected to. */
export const Unreachable = Schema.TaggedStruct("Unreachable", { peer: Schema.String, detail: Schema.String })
/** The connection went before the answer came. */
export const Disconnected = Schema.TaggedStruct("Disconnected", { peer: NodeId })
/** The executor does not want the task. `code` is its word for why, such as `NotAllowed`. */
export const Rejected = Schema.TaggedStruct("Rejected", {
  peer: NodeId,
  code: Schema.String,
  detail: Schema.String
})
/** The executor would do it on other terms, which are beyond what the caller allows. */
export const Countered = Schema.TaggedStruct("Countered", {
  peer: NodeId,
  /** Milliseconds it would need. */
  deadlineMs: Schema.optionalKey(Schema.Finite),
  costUsd: Schema.optionalKey(Schema.Finite),
  retryAfterMs: Schema.optionalKey(Schema.Finite),
  detail: Schema.String
})
/** The executor is over its limits. */
export const Overloaded = Schema.TaggedStruct("Overloaded", {
  peer: NodeId,
  retryAfterMs: Schema.Finite,
  detail: Schema.String
})
/** No answer in time. `where`: at the caller, or reported by the executor, whose handler was interrupted. */
export const DeadlineExceeded = Schema.TaggedStruct("DeadlineExceeded", {
  peer: Schema.optionalKey(NodeId),
  deadlineMs: Schema.Finite,
  where: Schema.Literals(["caller", "executor"])
})
/** The input does not fit the capability's schema. */
export const InputInvalid = Schema.TaggedStruct("InputInvalid", {
  capability: Schema.String,
  /** Who says so; absent when the caller's own check did. */
  peer: Schema.optionalKey(NodeId),
  detail: Schema.String
})
/** The output does not fit the capability's schema. */
export const OutputInvalid = Schema.TaggedStruct("OutputInvalid", {
  capability: Schema.String,
  peer: NodeId,
  detail: Schema.String
})
/** The handler failed. `code` is the `_tag` of its error, or `Error`. */
export const HandlerFailed = Schema.TaggedStruct("HandlerFailed", {
  peer: NodeId,
  code: Schema.String,
  detail: Schema.String
})
/** The payload is larger than the guardrail of this node or of the peer. */
export const TooLarge = Schema.TaggedStruct("TooLarge", { bytes: Schema.Finite, limit: Schema.Finite })
/** The peer has failed too often, and is left alone for a while. */
export const CircuitOpen = Schema.TaggedStruct("CircuitOpen", { peer: NodeId, retryAfterMs: Schema.Finite })
/** It would cost more, or take more hops, than the budget that came with the task. */
export const BudgetExceeded = Schema.TaggedStruct("BudgetExceeded", {
  what: Schema.Literals(["cost", "hops"]),
  detail: Schema.String
})
/** The peer sent something that is not the protocol. */
export const BadAnswer = Schema.TaggedStruct("BadAnswer", { peer: NodeId, detail: Schema.String })
/** This node already serves a capability of that name and version, or the node is closing. */
export const CannotServe = Schema.TaggedStruct("CannotServe", { capability: Schema.String, detail: Schema.String })
/** The query makes no sense, such as a version range that cannot be read. */
export const BadQuery = Schema.TaggedStruct("BadQuery", { detail: Schema.String })

/** Why a node could not do what was asked. */
export const NodeErrorReason = Schema.Union([
  NoPeer,
  Unreachable,
  Disconnected,
  Rejected,
  Countered,
  Overloaded,
  DeadlineExceeded,
  InputInvalid,
  OutputInvalid,
  HandlerFailed,
  TooLarge,
  CircuitOpen,
  BudgetExceeded,
  BadAnswer,
  CannotServe,
  BadQuery
])
/** Why a node could not do what was asked. */
export type NodeErrorReason = typeof NodeErrorReason.Type

/** Says a reason in a person's words. */
export const explain = (reason: NodeErrorReason): string => {
  switch (reason._tag) {
    case "NoPeer":
      return [
        `no peer serves ${reason.wanted}`,
        ...(reason.tried.length === 0
          ? []
          : [`  tried: ${reason.tried.map(({ step, detail }) => `${step} (${detail})`).join(", ")}`]),
        ...(reason.closest.length === 0
          ? []
          : [`  closest by name: ${reason.closest.map(({ id, node }) => `${id} at ${node}`).join(", ")}`])
      ].join("\n")
    case "Unreachable":
      return `${reason.peer} cannot be reached: ${reason.detail}`
    case "Disconnected":
      return `the connection to ${reason.peer} went before the answer came`
    case "Rejected":
      return `${reason.peer} rejected the task (${reason.code}): ${reason.detail}`
    case "Countered": {
      const terms = [
        ...(reason.deadlineMs === undefined ? [] : [`a deadline of ${Math.round(reason.deadlineMs)} ms`]),
        ...(reason.costUsd === undefined ? [] : [`a cost of $${reason.costUsd}`]),
        ...(reason.retryAfterMs === undefined ? [] : [`a retry after ${Math.round(reason.retryAfterMs)} ms`])
      ]
      return `${reason.peer} countered with ${terms.join(" and ") || "other terms"}: ${reason.detail}`
    }
    case "Overloaded":
      return `${reason.peer} is overloaded (${reason.detail}); it asks to retry after ${Math.round(reason.retryAfterMs)} ms`
    case "DeadlineExceeded":
      return `no answer ${reason.peer === undefined ? "" : `from ${reason.peer} `}within ${Math.round(reason.deadlineMs)} ms${
        reason.where === "executor" ? "; the executor stopped the task" : ""
      }`
    case "InputInvalid":
      return `the input does not fit ${reason.capability}${reason.peer === undefined ? "" : `, says ${reason.peer}`}: ${reason.detail}`
    case "OutputInvalid":
      return `the output of ${reason.peer} does not fit ${reason.capability}: ${reason.detail}`
    case "HandlerFailed":
      return `the handler at ${reason.peer} failed (${reason.code}): ${reason.detail}`
    case "TooLarge":
      return `${reason.bytes} bytes are more than the ${reason.limit} allowed (guardrail maxPayloadBytes)`
    case "CircuitOpen":
      return `${reason.peer} has failed repeatedly and is left alone for another ${Math.round(reason.retryAfterMs)} ms`
    case "BudgetExceeded":
      return `the ${reason.what} budget does not allow it: ${reason.detail}`
    case "BadAnswer":
      return `${reason.peer} sent something that is not the protocol: ${reason.detail}`
    case "CannotServe":
      return `cannot serve ${reason.capability}: ${reason.detail}`
    case "BadQuery":
      return `the query makes no sense: ${reason.detail}`
  }
}

/** A node could not do what was asked. */
export class NodeError extends Schema.TaggedError<NodeError>()("NodeError", {
  reason: NodeErrorReason,
  /** What was tried before, in order, when more than one agent was. */
  attempts: Schema.Array(NodeErrorReason).pipe(Schema.withConstructorDefault(Effect.succeed([])))
}) {
  override get message(): string {
    return this.attempts.length < 2
      ? explain(this.reason)
      : `${explain(this.reason)}\n  tried: ${this.attempts.map(explain).join("; ")}`
  }
}

/**
 * What a handler fails with that finds out while it works that the task is not to be done here, or not so: one that passes tasks on
 * to somebody who says no. Its caller sees `Rejected` or `Countered`, as if that had been said at once, and goes to the next agent.
 */
export class TaskRefused extends Schema.TaggedError<TaskRefused>()("TaskRefused", {
  terms: Schema.Union([
    Schema.TaggedStruct("Reject", { code: Schema.String, detail: Schema.String }),
    Schema.TaggedStruct("Counter", {
      /** Milliseconds it would need from now. */
      deadlineMs: Schema.optionalKey(Schema.Finite),
      costUsd: Schema.optionalKey(Schema.Finite),
      retryAfterMs: Schema.optionalKey(Schema.Finite),
      detail: Schema.String
    })
  ])
}) {
  override get message(): string {
    return this.terms.detail
  }
}
