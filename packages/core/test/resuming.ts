/** Two nodes whose connections are cut, for tests of what goes on afterwards. */
import * as Capability from "@parley/core/Capability"
import type { Settings } from "@parley/core/Guardrails"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { type Member, pair } from "./mesh.ts"

export const Work = Capability.untyped("work.do@1.0.0")
export const Count = Capability.stream("work.count", { version: "1.0.0", input: Schema.Int, output: Schema.Int })

/** A node that waits for callers as these settings say, and a plain one. */
export const resumingPair = (changed: Partial<Settings["resume"]> = {}, drainMs = 10) =>
  pair({ drainMs, resume: { ms: 10_000, perCaller: 64, entries: 64, bytes: 8 * 1024 * 1024, ...changed } })

/** Breaks all connections of a node, as a network does: nobody meant to. */
export const cut = (member: Member): number => {
  const connections = member.connections.list()
  for (const connection of connections) connection.close("cut by a test")
  return connections.length
}

/** Numbers from 0 on, each when it is asked for, with a turn of the loop in between. */
export const numbers = (count: number) =>
  Stream.range(0, count - 1).pipe(
    Stream.rechunk(1),
    Stream.tap(() => Effect.yieldNow)
  )
