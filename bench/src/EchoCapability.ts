/** The capability that is called where a part measures calls beside something else. */
import * as Schema from "effect/Schema"
import * as Capability from "@parley/core/Capability"

const Shape = Schema.Struct({ text: Schema.String, n: Schema.Finite })

/** Answers what it was asked. */
export const Echo = Capability.make("bench.echo", {
  version: "1.2.0",
  description: "Answers what it was asked",
  tags: ["bench"],
  input: Shape,
  output: Shape
})
