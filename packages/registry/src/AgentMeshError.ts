/** Why an AgentMesh agent, or its registry, did not do what was asked. */
import * as Schema from "effect/Schema"

/** Why an AgentMesh agent, or its registry, did not do what was asked. */
export class AgentMeshError extends Schema.TaggedError<AgentMeshError>()("AgentMeshError", {
  /**
   * `Forbidden`: its endpoint is none that may be dialled. `Unreachable`: nobody answers there. `Rejected`, `Countered`: it does not
   * want the task, or not so. `Late`: no answer in time. `Failed`: its handler failed. `Malformed`: it broke the protocol.
   * `TooLarge`: the frame would be larger than the protocol's. `Closed`: the connection went before the answer came.
   * `Conflict`: the agent id is taken. `Denied`: the registry does not let us. `Refused`: it says no for another reason.
   */
  code: Schema.Literals([
    "Forbidden",
    "Unreachable",
    "Rejected",
    "Countered",
    "Late",
    "Failed",
    "Malformed",
    "TooLarge",
    "Closed",
    "Conflict",
    "Denied",
    "Refused"
  ]),
  /** Whom it is about: an agent's id, or the registry's URL. */
  who: Schema.String,
  detail: Schema.String,
  /** The deadline it would take instead, in milliseconds, where it countered. */
  deadlineMs: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return `${this.who}: ${this.detail}`
  }
}
