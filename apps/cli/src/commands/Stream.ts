/** `parley stream`: a long answer, a line for each chunk. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Flags from "../Flags.ts"
import * as Input from "../Input.ts"
import * as Joined from "../Joined.ts"
import * as Output from "../Output.ts"
import * as Placing from "../Placing.ts"

export const run = Effect.fnUntraced(function* (options: Flags.Stream & Flags.Common) {
  const input = yield* Input.read(options.input, options.field)
  const { call } = yield* Placing.options(options)
  yield* Joined.asker({ ...options, kind: "stream" }, (node, nameOf) =>
    Stream.runForEach(node.stream(options.capability, input, call(nameOf)), (chunk) =>
      Output.result(options, chunk, Output.plain(chunk))
    )
  )
})
