/**
 * The flags that place a task, as options of a call.
 */
import * as Effect from "effect/Effect"
import type { CallOptions, TaskEvent } from "@parley/core/Node"
import { parse } from "@parley/core/NodeId"
import { explain } from "@parley/core/NodeError"
import type { Move } from "@parley/core/Trust"
import * as Choosing from "./Choosing.ts"
import type * as Flags from "./Flags.ts"
import * as Names from "./Names.ts"
import * as Output from "./Output.ts"
import { usage } from "./Failure.ts"
import * as Settings from "./Settings.ts"

/** What happened while a task was placed: moves of trust, for the end. */
export interface Heard {
  readonly moves: Array<Move>
}

const line = (event: TaskEvent): string | undefined => {
  switch (event._tag) {
    case "Countered":
      return `${explain(event.terms)}${event.takenUp ? "; taken up" : ""}`
    case "Failed":
      return event.next ? `${explain(event.reason)}; trying the next` : undefined
    default:
      return undefined
  }
}

/** The options of a call, and what is heard while it is placed; failures and counters are told on stderr, with names. */
export const options = Effect.fnUntraced(function* (
  flags: Flags.Placing & Flags.Common & { readonly to?: string | undefined }
) {
  const where = yield* Choosing.query(flags)
  const deadline = yield* Settings.time("deadline", flags.deadline)
  const to = flags.to === undefined ? undefined : (parse(flags.to) ?? flags.to)
  if (to !== undefined && parse(to) === undefined && !/^[a-z][a-z0-9+.-]*:/.test(to)) {
    return yield* usage(
      "BadNode",
      `--to ${JSON.stringify(to)} is neither a NodeId (z6Mk…) nor an address (tcp://host:port): parley peers lists both by name`
    )
  }
  const heard: Heard = { moves: [] }
  const call = (nameOf: Names.NameOf): CallOptions => ({
    ...(Object.keys(where).length === 0 ? {} : { where }),
    ...(deadline === undefined ? {} : { deadline }),
    ...(to === undefined ? {} : { to }),
    ...(flags.via === undefined ? {} : { via: flags.via }),
    ...(flags.budget === undefined ? {} : { budget: { costUsd: flags.budget } }),
    ...(flags.key === undefined ? {} : { idempotencyKey: flags.key }),
    onEvent: (event) => {
      if (event._tag === "Trust") heard.moves.push(event.move)
      const told = line(event)
      if (told !== undefined) Output.noteNow(flags, Names.put(told, nameOf))
    }
  })
  return { call, heard }
})
