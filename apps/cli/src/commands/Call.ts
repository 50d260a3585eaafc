/** `parley call`: one answer from the best agent. */
import * as Effect from "effect/Effect"
import type * as Flags from "../Flags.ts"
import * as Input from "../Input.ts"
import * as Joined from "../Joined.ts"
import * as Output from "../Output.ts"
import * as Placing from "../Placing.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Call & Flags.Common) {
  const input = yield* Input.read(options.input, options.field)
  const { call } = yield* Placing.options(options)
  const answered = yield* Joined.asker({ ...options, kind: "call" }, (node, nameOf) =>
    node.request(options.capability, input, { ...call(nameOf), ...(options.receipt ? { receipt: true } : {}) })
  )
  const { output } = answered
  yield* Output.result(options, answered, typeof output === "string" ? output : JSON.stringify(output, undefined, 2))
})
