/**
 * The flags that place a task, as options of a call.
 */
import * as Effect from "effect/Effect"
import type { CallOptions, TaskEvent } from "@parley/core/Node"
import type { NodeId } from "@parley/core/NodeId"
import { explain } from "@parley/core/NodeError"
import type { Move } from "@parley/core/Trust"
import * as Choosing from "./Choosing.ts"
import type * as Flags from "./Flags.ts"
import * as Names from "./Names.ts"
import * as Output from "./Output.ts"
import * as Settings from "./Settings.ts"

/** What happened while a task was placed: moves of trust, for the end. */
export interface Heard {
  readonly moves: Array<Move>
}

/**
 * What is told while a task is placed. A failure is told when another agent has been asked instead: where nobody is, it is the
 * error, which is told at the end.
 */
const narrator = (nameOf: Names.NameOf, tell: (text: string) => void): ((event: TaskEvent) => void) => {
  let failed: Array<{ readonly peer: NodeId; readonly reason: string }> = []
  return (event) => {
    if (event._tag === "Countered") {
      tell(Names.put(`${explain(event.terms)}${event.takenUp ? "; taken up" : ""}`, nameOf))
    } else if (event._tag === "Resumed") {
      tell(Names.put(`the connection to ${event.peer} broke, and the task goes on there`, nameOf))
    } else if (event._tag === "Failed" && event.next) {
      failed.push({ peer: event.peer, reason: explain(event.reason) })
    } else if (event._tag === "Sent") {
      for (const { peer, reason } of failed) {
        if (peer !== event.peer) tell(Names.put(`${reason}; trying ${event.peer}`, nameOf))
      }
      failed = []
    }
  }
}

/** The options of a call, and what is heard while it is placed; failures and counters are told on stderr, with names. */
export const options = Effect.fnUntraced(function* (
  flags: Flags.Placing & Flags.Common & { readonly to?: string | undefined }
) {
  const where = yield* Choosing.query(flags)
  const deadline = yield* Settings.time("deadline", flags.deadline)
  const to = flags.to === undefined ? undefined : yield* Settings.target(flags.to, "--to ")
  const heard: Heard = { moves: [] }
  const call = (nameOf: Names.NameOf): CallOptions => {
    const narrate = narrator(nameOf, (text) => Output.noteNow(flags, text))
    return {
      ...(Object.keys(where).length === 0 ? {} : { where }),
      ...(deadline === undefined ? {} : { deadline }),
      ...(to === undefined ? {} : { to }),
      ...(flags.via === undefined ? {} : { via: flags.via }),
      ...(flags.budget === undefined ? {} : { budget: { costUsd: flags.budget } }),
      ...(flags.key === undefined ? {} : { idempotencyKey: flags.key }),
      onEvent: (event) => {
        if (event._tag === "Trust") heard.moves.push(event.move)
        narrate(event)
      }
    }
  }
  return { call, heard }
})
